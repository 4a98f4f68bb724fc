#include "policy/state.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"

/* A power of two, and so many that probes stay short when the table is full. */
#define SLOTS 8192U

_Static_assert((SLOTS & (SLOTS - 1)) == 0 && SLOTS > 2 * DEPLOYMENTS_MAX, "room to spare in the hash");

enum origin { CONFIGURED, LEARNED, SUPPOSED };

/* Never changes and is never freed before the table, but for origin, which writers change. */
struct deployment {
	uint64_t hash;
	unsigned number;
	_Atomic uint8_t origin; /* enum origin */
	size_t name_length;
	char name[];
};

/* Readers take no lock: a deployment is written first and published in its slot afterwards (release, acquire); slots are
 * filled once and never emptied. The lock is the writers' own. */
struct deployment_table {
	_Atomic(struct deployment *) slots[SLOTS];
	_Atomic(struct deployment *) by_number[DEPLOYMENTS_MAX];
	_Atomic unsigned count; /* DEPLOYMENT_OTHER included */
	uint64_t seed;
	pthread_mutex_t lock;
	unsigned used[SUPPOSED + 1]; /* by origin; under the lock */
};

struct deployment_table *
deployment_table_new(void)
{
	struct deployment_table *table = memory_take_zeroed(1, sizeof(*table));
	struct random random;

	random_seed_from_system(&random);
	table->seed = random_next(&random);
	pthread_mutex_init(&table->lock, NULL);
	atomic_init(&table->count, 1);
	return table;
}

void
deployment_table_free(struct deployment_table **table)
{
	struct deployment_table *freed = *table;

	*table = NULL;
	if (!freed)
		return;
	for (unsigned i = 0; i < DEPLOYMENTS_MAX; i++)
		free(atomic_load_explicit(&freed->by_number[i], memory_order_relaxed));
	pthread_mutex_destroy(&freed->lock);
	free(freed);
}

static bool
name_fits(struct slice name)
{
	return name.length > 0 && name.length <= DEPLOYMENT_NAME_MAX_BYTES;
}

/* The deployment of that name, or NULL; *slot is where it is or belongs. Ends, since the table is never full. */
static struct deployment *
look_up(const struct deployment_table *table, struct slice name, uint64_t hash, size_t *slot)
{
	struct deployment *deployment;

	for (size_t at = hash & (SLOTS - 1);; at = (at + 1) & (SLOTS - 1)) {
		deployment = atomic_load_explicit(&table->slots[at], memory_order_acquire);
		*slot = at;
		if (!deployment)
			return NULL;
		if (deployment->hash == hash && slice_equals(slice_of(deployment->name, deployment->name_length), name))
			return deployment;
	}
}

unsigned
deployment_find(const struct deployment_table *table, struct slice name)
{
	struct deployment *deployment;
	size_t slot;

	if (!name_fits(name))
		return DEPLOYMENT_OTHER;
	deployment = look_up(table, name, hash_bytes(name, table->seed), &slot);
	return deployment ? deployment->number : DEPLOYMENT_OTHER;
}

static enum origin
origin_of(const struct deployment *deployment)
{
	return (enum origin)atomic_load_explicit(&deployment->origin, memory_order_relaxed);
}

/* Under the lock. */
static bool
has_place(const struct deployment_table *table, enum origin origin)
{
	const unsigned *used = table->used;

	if (origin == CONFIGURED)
		return used[CONFIGURED] < DEPLOYMENTS_CONFIGURED_MAX;
	return used[LEARNED] + used[SUPPOSED] < DEPLOYMENTS_LEARNED_MAX &&
	    (origin == LEARNED || used[SUPPOSED] < DEPLOYMENTS_SUPPOSED_MAX);
}

/* Adds a deployment that is not there. Under the lock. */
static unsigned
append(struct deployment_table *table, struct slice name, uint64_t hash, size_t slot, enum origin origin)
{
	unsigned number = atomic_load_explicit(&table->count, memory_order_relaxed);
	struct deployment *deployment;

	if (!has_place(table, origin))
		return DEPLOYMENT_OTHER;
	deployment = memory_take(sizeof(*deployment) + name.length);
	deployment->hash = hash;
	deployment->number = number;
	atomic_init(&deployment->origin, (uint8_t)origin);
	deployment->name_length = name.length;
	memcpy(deployment->name, name.data, name.length);
	table->used[origin]++;

	/* The name by its number before the number: whoever counts or finds it can name it. */
	atomic_store_explicit(&table->by_number[number], deployment, memory_order_release);
	atomic_store_explicit(&table->count, number + 1, memory_order_release);
	atomic_store_explicit(&table->slots[slot], deployment, memory_order_release);
	return number;
}

/* A name that turns out to be more than was known gives its place among the lesser ones back. Under the lock. */
static void
promote(struct deployment_table *table, struct deployment *deployment, enum origin origin)
{
	enum origin before = origin_of(deployment);

	if (origin >= before || (origin == CONFIGURED && !has_place(table, CONFIGURED)))
		return;
	table->used[before]--;
	table->used[origin]++;
	atomic_store_explicit(&deployment->origin, (uint8_t)origin, memory_order_relaxed);
}

static unsigned
add(struct deployment_table *table, struct slice name, enum origin origin)
{
	struct deployment *deployment;
	unsigned number;
	uint64_t hash;
	size_t slot;

	if (!name_fits(name))
		return DEPLOYMENT_OTHER;
	hash = hash_bytes(name, table->seed);

	pthread_mutex_lock(&table->lock);
	deployment = look_up(table, name, hash, &slot);
	if (deployment)
		promote(table, deployment, origin);
	number = deployment ? deployment->number : append(table, name, hash, slot, origin);
	pthread_mutex_unlock(&table->lock);
	return number;
}

unsigned
deployment_add_configured(struct deployment_table *table, struct slice name)
{
	return add(table, name, CONFIGURED);
}

unsigned
deployment_learn(struct deployment_table *table, struct slice name)
{
	/* Mostly the name is known, and no lock is needed to see it. */
	unsigned number = deployment_find(table, name);

	if (number != DEPLOYMENT_OTHER && !deployment_is_supposed(table, number))
		return number;
	return add(table, name, LEARNED);
}

unsigned
deployment_suppose(struct deployment_table *table, struct slice name)
{
	unsigned number = deployment_find(table, name);

	return number != DEPLOYMENT_OTHER ? number : add(table, name, SUPPOSED);
}

bool
deployment_is_supposed(const struct deployment_table *table, unsigned number)
{
	const struct deployment *deployment = NULL;

	if (number != DEPLOYMENT_OTHER && number < DEPLOYMENTS_MAX)
		deployment = atomic_load_explicit(&table->by_number[number], memory_order_acquire);
	return deployment != NULL && origin_of(deployment) == SUPPOSED;
}

struct slice
deployment_name(const struct deployment_table *table, unsigned number)
{
	const struct deployment *deployment = NULL;

	if (number != DEPLOYMENT_OTHER && number < DEPLOYMENTS_MAX)
		deployment = atomic_load_explicit(&table->by_number[number], memory_order_acquire);
	return deployment ? slice_of(deployment->name, deployment->name_length) : SLICE("other");
}

unsigned
deployment_count(const struct deployment_table *table)
{
	return atomic_load_explicit(&table->count, memory_order_acquire);
}
