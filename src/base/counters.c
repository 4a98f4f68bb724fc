#include "base/counters.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/memory.h"

/* Slots looked at in one page before the next one is: a page is left when it is about full. */
#define PROBES_MAX 16U

_Static_assert((COUNTERS_PAGE_SLOTS & (COUNTERS_PAGE_SLOTS - 1)) == 0, "a power of two");

/* A key is written once, after its page was published and before its first amount is of interest to anybody. */
struct slot {
	_Atomic uint64_t key; /* 0: free */
	_Atomic uint64_t value;
};

struct page {
	struct slot slots[COUNTERS_PAGE_SLOTS];
};

struct counters {
	_Atomic(struct page *) pages[COUNTERS_PAGES_MAX];
	_Atomic uint64_t lost;
};

struct counters *
counters_new(void)
{
	return memory_take_zeroed(1, sizeof(struct counters));
}

void
counters_free(struct counters **counters)
{
	if (*counters == NULL)
		return;
	for (size_t i = 0; i < COUNTERS_PAGES_MAX; i++)
		free(atomic_load_explicit(&(*counters)->pages[i], memory_order_relaxed));
	free(*counters);
	*counters = NULL;
}

/* There is one writer: a load and a store do, where an atomic addition would lock the line. */
static void
add_to(_Atomic uint64_t *value, uint64_t amount)
{
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + amount, memory_order_relaxed);
}

/* The key's slot in the page, or a free one for it; NULL when neither is near. */
static struct slot *
find_slot(struct page *page, uint64_t key)
{
	uint64_t at = key * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	for (unsigned i = 0; i < PROBES_MAX; i++) {
		struct slot *slot = &page->slots[(at + i) & (COUNTERS_PAGE_SLOTS - 1)];
		uint64_t owner = atomic_load_explicit(&slot->key, memory_order_relaxed);

		if (owner == key)
			return slot;
		if (owner == 0) {
			atomic_store_explicit(&slot->key, key, memory_order_release);
			return slot;
		}
	}
	return NULL;
}

void
counters_add(struct counters *counters, uint64_t key, uint64_t amount)
{
	for (size_t i = 0; i < COUNTERS_PAGES_MAX; i++) {
		struct page *page = atomic_load_explicit(&counters->pages[i], memory_order_relaxed);
		struct slot *slot;

		if (page == NULL) {
			page = memory_take_zeroed(1, sizeof(*page));
			atomic_store_explicit(&counters->pages[i], page, memory_order_release);
		}
		slot = find_slot(page, key);
		if (slot != NULL) {
			add_to(&slot->value, amount);
			return;
		}
	}
	add_to(&counters->lost, amount);
}

void
counters_each(const struct counters *counters, counters_fn *each, void *context)
{
	for (size_t i = 0; i < COUNTERS_PAGES_MAX; i++) {
		const struct page *page = atomic_load_explicit(&counters->pages[i], memory_order_acquire);

		if (page == NULL)
			return;
		for (size_t k = 0; k < COUNTERS_PAGE_SLOTS; k++) {
			uint64_t key = atomic_load_explicit(&page->slots[k].key, memory_order_acquire);

			if (key != 0)
				each(key, atomic_load_explicit(&page->slots[k].value, memory_order_relaxed), context);
		}
	}
}

uint64_t
counters_lost(const struct counters *counters)
{
	return atomic_load_explicit(&counters->lost, memory_order_relaxed);
}
