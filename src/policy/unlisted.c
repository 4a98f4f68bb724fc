#include "policy/unlisted.h"

#include <stddef.h>

#define REASON_BITS 8

static uint64_t
load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

void
unlisted_begin(struct unlisted_table *table, uint64_t key, uint64_t until_ms, enum rest_reason reason)
{
	struct unlisted_entry *row = table->rows[key % UNLISTED_ROWS], *chosen = row;

	/* Its own, or the one that is over first; one that has never been used is over. */
	for (size_t i = 0; i < UNLISTED_PLACES && load(&chosen->key) != key; i++)
		if (load(&row[i].key) == key || load(&row[i].word) < load(&chosen->word))
			chosen = &row[i];
	/* A late, short failure never shortens a rest. */
	if (load(&chosen->key) == key && load(&chosen->word) >> REASON_BITS > until_ms)
		return;
	atomic_store_explicit(&chosen->key, key, memory_order_relaxed);
	atomic_store_explicit(&chosen->word, until_ms << REASON_BITS | (uint64_t)reason, memory_order_relaxed);
}

bool
unlisted_rests(const struct unlisted_table *table, uint64_t key, uint64_t now_ms, struct unlisted_rest *out)
{
	const struct unlisted_entry *row = table->rows[key % UNLISTED_ROWS];
	uint64_t word = 0;

	for (size_t i = 0; i < UNLISTED_PLACES && word == 0; i++)
		if (load(&row[i].key) == key)
			word = load(&row[i].word);
	*out = (struct unlisted_rest){
		.until_ms = word >> REASON_BITS,
		.reason = (enum rest_reason)(word & ((UINT64_C(1) << REASON_BITS) - 1)),
	};
	return out->until_ms > now_ms;
}
