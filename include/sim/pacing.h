/* sim/pacing.h: when each token of an answer is due.
 *
 * Pure: moments are microseconds after the request; the random state is the caller's.
 */
#ifndef SIM_PACING_H
#define SIM_PACING_H

#include <stdint.h>

#include "base/random.h"

struct sim_latency {
	uint64_t first_token_us;
	uint64_t per_token_us;
	double jitter; /* 0 to 1: each interval varies by so much of itself, both ways */
};

struct sim_pacing {
	const struct sim_latency *latency;
	struct random *random;
	uint64_t at_us; /* moment of the token that was asked for last */
};

void sim_pacing_init(struct sim_pacing *pacing, const struct sim_latency *latency, struct random *random);
/* The moment at which the model begins to write. */
uint64_t sim_pacing_first(struct sim_pacing *pacing);
/* The moment of the next token after it. */
uint64_t sim_pacing_next(struct sim_pacing *pacing);

#endif
