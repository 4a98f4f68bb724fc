#include "sim/pacing.h"

#define JITTER_STEPS 2048U

void
sim_pacing_init(struct sim_pacing *pacing, const struct sim_latency *latency, struct random *random)
{
	pacing->latency = latency;
	pacing->random = random;
	pacing->at_us = 0;
}

static uint64_t
vary(struct sim_pacing *pacing, uint64_t interval_us)
{
	double shift;

	if (interval_us == 0 || pacing->latency->jitter <= 0)
		return interval_us;
	shift =
	    ((double)random_below(pacing->random, JITTER_STEPS + 1) / JITTER_STEPS * 2 - 1) * pacing->latency->jitter;
	return (uint64_t)((double)interval_us * (1 + shift));
}

uint64_t
sim_pacing_first(struct sim_pacing *pacing)
{
	pacing->at_us = vary(pacing, pacing->latency->first_token_us);
	return pacing->at_us;
}

uint64_t
sim_pacing_next(struct sim_pacing *pacing)
{
	pacing->at_us += vary(pacing, pacing->latency->per_token_us);
	return pacing->at_us;
}
