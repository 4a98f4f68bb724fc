#include "policy/missing.h"

#include <stddef.h>

void
missing_note(struct missing_table *table, uint64_t key, uint64_t until_ms)
{
	size_t place = key % MISSING_ENTRIES;

	atomic_store_explicit(&table->entries[place].key, key, memory_order_relaxed);
	atomic_store_explicit(&table->entries[place].until_ms, until_ms, memory_order_relaxed);
}

uint64_t
missing_until(const struct missing_table *table, uint64_t key)
{
	size_t place = key % MISSING_ENTRIES;

	if (atomic_load_explicit(&table->entries[place].key, memory_order_relaxed) != key)
		return 0;
	return atomic_load_explicit(&table->entries[place].until_ms, memory_order_relaxed);
}
