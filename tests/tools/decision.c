/* decision.c: makes a number of decisions on which backend takes a request, so that decision.py can count what one costs.
 *
 * usage: decision DEPLOYMENTS DECISIONS
 *
 * Ten backends of one priority that have told what they have room for; each decision finds the deployment by its name,
 * judges all backends and chooses one, as proxy/exchange.c does.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "base/random.h"
#include "policy/headroom.h"
#include "policy/select.h"
#include "policy/state.h"

#define BACKENDS 10
#define NOW_MS 1000U

static void
name_deployment(char out[32], unsigned index)
{
	snprintf(out, 32, "deployment-%u", index);
}

static void
tell_room(struct backend_state *state, unsigned deployments)
{
	struct header items[2] = { { .id = HEADER_X_RATELIMIT_REMAINING_TOKENS, .value = SLICE("100000") },
		{ .id = HEADER_X_RATELIMIT_REMAINING_REQUESTS, .value = SLICE("100") } };
	struct headers headers = { .count = ARRAY_COUNT(items) };

	for (unsigned i = 0; i < ARRAY_COUNT(items); i++)
		headers.items[i] = items[i];
	for (unsigned number = 1; number <= deployments; number++) {
		struct headroom_ticket ticket;

		headroom_sent(&state->rooms[number], 1, NOW_MS, &ticket);
		headroom_told(&state->rooms[number], &ticket, &headers, NOW_MS, 60000);
	}
}

static size_t
decide(struct backend_state *const *states, const struct deployment_table *table, struct slice name, uint64_t random)
{
	struct candidate candidates[BACKENDS];
	unsigned number = deployment_find(table, name);

	for (unsigned i = 0; i < BACKENDS; i++) {
		const struct headroom *room = &states[i]->rooms[number];

		candidates[i] = (struct candidate){ .priority = 1, .weight = 1, .affinity = hash_mix(random, i) };
		candidate_judge(&candidates[i], &states[i]->whole, &states[i]->deployments[number], room,
		    headroom_estimate(room, 2048, 200), NOW_MS);
	}
	return select_backend(candidates, BACKENDS, NOW_MS, random, true).index;
}

int
main(int argc, char **argv)
{
	unsigned deployments = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	unsigned decisions = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	struct deployment_table *table = deployment_table_new();
	struct backend_state *states[BACKENDS];
	unsigned chosen[BACKENDS] = { 0 };
	struct random random;
	char name[32];

	if (deployments == 0 || deployments > DEPLOYMENTS_CONFIGURED_MAX)
		return 2;
	random_seed(&random, 1);
	for (unsigned i = 0; i < deployments; i++) {
		name_deployment(name, i);
		if (deployment_add_configured(table, slice_from(name)) == DEPLOYMENT_OTHER)
			return 1;
	}
	for (unsigned i = 0; i < BACKENDS; i++) {
		states[i] = backend_state_new("backend", "https://example");
		tell_room(states[i], deployments);
	}
	/* The last deployment is as good as any; writing names would cost more than the decision. */
	for (unsigned i = 0; i < decisions; i++)
		chosen[decide(states, table, slice_from(name), random_next(&random))]++;
	for (unsigned i = 0; i < BACKENDS; i++) {
		if (decisions >= 1000 && chosen[i] < decisions / (4 * BACKENDS))
			return 1; /* not what was to be measured */
		backend_state_release(&states[i]);
	}
	deployment_table_free(&table);
	return 0;
}
