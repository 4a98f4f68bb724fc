#include "policy/pins.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"

#define SETS (PINS_MAX / PINS_PER_SET)
#define LOCKS 64U

struct pin {
	uint64_t id;
	uint64_t resource;
	uint64_t until_ms; /* 0: never used */
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

void
pins_learn(struct pin_table *table, uint64_t id, uint64_t resource, uint64_t now_ms)
{
	size_t set = id % SETS;
	pthread_mutex_t *lock = lock_set(table, set);
	struct pin *place = &table->pins[set][0];

	for (size_t i = 0; i < PINS_PER_SET; i++) {
		struct pin *pin = &table->pins[set][i];

		if (pin->id == id && pin->until_ms != 0) {
			place = pin;
			break;
		}
		if (pin->until_ms < place->until_ms)
			place = pin;
	}
	*place = (struct pin){ .id = id, .resource = resource, .until_ms = now_ms + PIN_LIFETIME_MS };
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
