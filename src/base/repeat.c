#include "base/repeat.h"

bool
repeat_passes(struct repeat_table *table, uint64_t key, uint64_t now_ms, uint64_t *left_out)
{
	unsigned place = (unsigned)(key % REPEAT_ENTRIES);
	bool known = table->entries[place].key == key && table->entries[place].passed > 0;

	*left_out = 0;
	if (!known || now_ms - table->entries[place].since_ms >= REPEAT_PERIOD_MS) {
		if (known)
			*left_out = table->entries[place].left_out;
		table->entries[place].key = key;
		table->entries[place].since_ms = now_ms;
		table->entries[place].passed = 1;
		table->entries[place].left_out = 0;
		return true;
	}
	if (table->entries[place].passed < REPEAT_BURST) {
		table->entries[place].passed++;
		return true;
	}
	table->entries[place].left_out++;
	return false;
}
