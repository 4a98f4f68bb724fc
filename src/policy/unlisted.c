#include "policy/unlisted.h"

#include <stddef.h>

#define REASON_BITS 8

void
unlisted_begin(struct unlisted_table *table, uint64_t key, uint64_t until_ms, enum rest_reason reason)
{
	size_t place = key % UNLISTED_ENTRIES;

	atomic_store_explicit(&table->entries[place].key, key, memory_order_relaxed);
	atomic_store_explicit(&table->entries[place].word, until_ms << REASON_BITS | (uint64_t)reason,
	    memory_order_relaxed);
}

bool
unlisted_rests(const struct unlisted_table *table, uint64_t key, uint64_t now_ms, struct unlisted_rest *out)
{
	size_t place = key % UNLISTED_ENTRIES;
	uint64_t word;

	if (atomic_load_explicit(&table->entries[place].key, memory_order_relaxed) != key)
		return false;
	word = atomic_load_explicit(&table->entries[place].word, memory_order_relaxed);
	*out = (struct unlisted_rest){
		.until_ms = word >> REASON_BITS,
		.reason = (enum rest_reason)(word & ((UINT64_C(1) << REASON_BITS) - 1)),
	};
	return out->until_ms > now_ms;
}
