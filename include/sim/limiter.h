/* sim/limiter.h: the quota of one deployment, as Azure counts it.
 *
 * Standard deployments count requests and estimated tokens in fixed windows, which begin with the first request after
 * the last window's end. Provisioned deployments have a leaky bucket: above 100 % utilisation requests are refused until
 * it has drained; one that is let in adds its estimate and is corrected when the real count is known. Pure: time is a
 * parameter. One thread.
 */
#ifndef SIM_LIMITER_H
#define SIM_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct sim_quota {
	uint64_t tokens_per_minute;   /* 0: no limit */
	uint64_t requests_per_minute; /* 0: no limit */
	uint64_t token_window_ms;
	uint64_t request_window_ms;
	uint64_t ptu;            /* 0: a standard deployment */
	uint64_t tokens_per_ptu; /* input tokens a minute that one PTU is worth */
	uint64_t output_weight;  /* input tokens that one output token counts as */
};

struct sim_limiter {
	struct sim_quota quota;
	uint64_t request_window_start_ms;
	uint64_t requests_used;
	uint64_t token_window_start_ms;
	uint64_t tokens_used;
	double level; /* weighted tokens in the bucket */
	uint64_t drained_at_ms;
};

enum sim_limit { SIM_LIMIT_NONE, SIM_LIMIT_REQUESTS, SIM_LIMIT_TOKENS, SIM_LIMIT_UTILISATION };

struct sim_verdict {
	enum sim_limit exceeded; /* SIM_LIMIT_NONE: the request is let in */
	uint64_t wait_ms;        /* when it is not: until it could be */
	uint64_t limit_requests; /* of one window; 0: no such limit */
	uint64_t remaining_requests;
	uint64_t reset_requests_ms;
	uint64_t limit_tokens;
	uint64_t remaining_tokens;
	uint64_t reset_tokens_ms;
	double utilisation; /* 1.0 is 100 % */
};

void sim_limiter_init(struct sim_limiter *limiter, const struct sim_quota *quota);

/* Sets tokens_per_ptu and output_weight as published for the model. */
void sim_quota_set_rates(struct sim_quota *quota, struct slice model);

/* Asks for room for a request of so many prompt tokens and at most so many output tokens; takes it if it is there. */
void sim_limiter_admit(struct sim_limiter *limiter, uint64_t now_ms, uint64_t prompt_tokens, uint64_t output_tokens,
    struct sim_verdict *verdict);

/* A request that was let in has ended: what was estimated is replaced by what was used (provisioned only). */
void sim_limiter_correct(struct sim_limiter *limiter, uint64_t now_ms, uint64_t estimated_output_tokens,
    uint64_t output_tokens);

/* Forgets all that was used. */
void sim_limiter_reset(struct sim_limiter *limiter);

#endif
