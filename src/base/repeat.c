#include "base/repeat.h"

#define SETS (REPEAT_ENTRIES / REPEAT_WAYS)

/* The key's entry; where it has none, a free one of its set, or that whose period began first. */
static struct repeat_entry *
find_entry(struct repeat_table *table, uint64_t key)
{
	struct repeat_entry *set = &table->entries[key % SETS * REPEAT_WAYS], *place = set;

	for (unsigned i = 0; i < REPEAT_WAYS; i++) {
		if (set[i].key == key && set[i].passed > 0)
			return &set[i];
		if (place->passed > 0 && (set[i].passed == 0 || set[i].since_ms < place->since_ms))
			place = &set[i];
	}
	return place;
}

bool
repeat_passes(struct repeat_table *table, uint64_t key, uint64_t now_ms, uint64_t *left_out)
{
	struct repeat_entry *entry = find_entry(table, key);
	bool known = entry->key == key && entry->passed > 0;

	*left_out = 0;
	if (!known || now_ms - entry->since_ms >= REPEAT_PERIOD_MS) {
		if (known)
			*left_out = entry->left_out;
		*entry = (struct repeat_entry){ .key = key, .since_ms = now_ms, .passed = 1 };
		return true;
	}
	if (entry->passed < REPEAT_BURST) {
		entry->passed++;
		return true;
	}
	entry->left_out++;
	return false;
}
