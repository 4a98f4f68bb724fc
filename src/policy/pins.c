#include "policy/pins.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"

#define SETS (PINS_MAX / PINS_PER_SET)
#define LOCKS 64U
#define UNTIL_MAX_MS (UINT64_MAX >> 1)

struct pin {
	uint64_t id;
	uint64_t resource;
	uint64_t until_ms : 63; /* 0: never used */
	uint64_t is_item : 1;
};

struct pin_table {
	pthread_mutex_t locks[LOCKS]; /* lock n guards the sets whose number modulo LOCKS is n */
	struct pin pins[SETS][PINS_PER_SET];
};

struct pin_table *
pin_table_new(void)
{
	struct pin_table *table = memory_take_zeroed(1, sizeof(*table));

	for (size_t i = 0; i < LOCKS; i++) {
		if (pthread_mutex_init(&table->locks[i], NULL) != 0)
			fatal("pins: no mutex can be made");
	}
	return table;
}

void
pin_table_free(struct pin_table **table)
{
	if (*table == NULL)
		return;
	for (size_t i = 0; i < LOCKS; i++)
		(void)pthread_mutex_destroy(&(*table)->locks[i]);
	free(*table);
	*table = NULL;
}

static pthread_mutex_t *
lock_set(struct pin_table *table, size_t set)
{
	pthread_mutex_t *lock = &table->locks[set % LOCKS];

	(void)pthread_mutex_lock(lock);
	return lock;
}

/* Where the id stands in its set, or whose place it may take. */
static struct pin *
place_for(struct pin *set, uint64_t id, bool is_item, uint64_t now_ms)
{
	struct pin *place = NULL;
	unsigned items = 0;
	bool from_items;

	for (size_t i = 0; i < PINS_PER_SET; i++) {
		if (set[i].id == id && set[i].until_ms != 0)
			return &set[i];
		if (set[i].until_ms <= now_ms)
			place = &set[i];
		items += set[i].is_item;
	}
	if (place != NULL)
		return place;
	/* Whoever has more than its half gives way; where both have theirs, its own kind does. */
	from_items = items > PINS_PER_SET / 2 || (is_item && items == PINS_PER_SET / 2);
	for (size_t i = 0; i < PINS_PER_SET; i++) {
		if ((set[i].is_item != 0) == from_items && (place == NULL || set[i].until_ms < place->until_ms))
			place = &set[i];
	}
	return place;
}

void
pins_learn(struct pin_table *table, uint64_t id, enum pin_kind kind, uint64_t resource, uint64_t now_ms)
{
	size_t set = id % SETS;
	pthread_mutex_t *lock = lock_set(table, set);
	bool is_item = kind == PIN_ITEM;
	struct pin *place = place_for(table->pins[set], id, is_item, now_ms);
	bool known = place->id == id && place->until_ms > now_ms;

	place->is_item = is_item && (!known || place->is_item);
	place->id = id;
	place->resource = resource;
	place->until_ms = (now_ms + PIN_LIFETIME_MS) & UNTIL_MAX_MS;
	(void)pthread_mutex_unlock(lock);
}

uint64_t
pins_find(struct pin_table *table, uint64_t id, uint64_t now_ms)
{
	size_t set = id % SETS;
	pthread_mutex_t *lock = lock_set(table, set);
	uint64_t resource = PIN_UNKNOWN;

	for (size_t i = 0; i < PINS_PER_SET; i++) {
		const struct pin *pin = &table->pins[set][i];

		if (pin->id == id && pin->until_ms > now_ms)
			resource = pin->resource;
	}
	(void)pthread_mutex_unlock(lock);
	return resource;
}
