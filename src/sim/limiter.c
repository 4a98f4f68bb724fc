#include "sim/limiter.h"

#include <string.h>

#define MINUTE_MS 60000U

/* Published input tokens a minute and PTU, and how many input tokens one output token weighs. The first prefix that fits
 * counts, so longer names come first. */
static const struct {
	const char *prefix;
	uint64_t tokens_per_ptu;
	uint64_t output_weight;
} model_rates[] = {
	{ "gpt-5", 4750, 8 },
	{ "gpt-4.1-mini", 14900, 4 },
	{ "gpt-4.1-nano", 59400, 4 },
	{ "gpt-4.1", 3000, 4 },
	{ "o4-mini", 5400, 4 },
	{ "o3", 3000, 4 },
	{ "gpt-4o-mini", 37000, 3 },
	{ "gpt-4o", 2500, 3 },
	{ "", 2500, 3 },
};

void
sim_quota_set_rates(struct sim_quota *quota, struct slice model)
{
	for (size_t i = 0; i < ARRAY_COUNT(model_rates); i++) {
		if (!slice_starts_with(model, slice_from(model_rates[i].prefix)))
			continue;
		quota->tokens_per_ptu = model_rates[i].tokens_per_ptu;
		quota->output_weight = model_rates[i].output_weight;
		return;
	}
}

void
sim_limiter_init(struct sim_limiter *limiter, const struct sim_quota *quota)
{
	memset(limiter, 0, sizeof(*limiter));
	limiter->quota = *quota;
}

void
sim_limiter_reset(struct sim_limiter *limiter)
{
	struct sim_quota quota = limiter->quota;

	sim_limiter_init(limiter, &quota);
}

/* What a window of window_ms gets of a quota per minute, rounded up. */
static uint64_t
share(uint64_t per_minute, uint64_t window_ms)
{
	return (per_minute * window_ms + MINUTE_MS - 1) / MINUTE_MS;
}

static void
roll(uint64_t *start_ms, uint64_t *used, uint64_t window_ms, uint64_t now_ms)
{
	if (*start_ms != 0 && now_ms - *start_ms < window_ms)
		return;
	*start_ms = now_ms;
	*used = 0;
}

static uint64_t
left(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

static void
describe(const struct sim_limiter *limiter, uint64_t now_ms, struct sim_verdict *verdict)
{
	const struct sim_quota *quota = &limiter->quota;

	verdict->limit_requests = share(quota->requests_per_minute, quota->request_window_ms);
	verdict->remaining_requests = left(verdict->limit_requests, limiter->requests_used);
	verdict->reset_requests_ms = limiter->request_window_start_ms + quota->request_window_ms - now_ms;
	verdict->limit_tokens = share(quota->tokens_per_minute, quota->token_window_ms);
	verdict->remaining_tokens = left(verdict->limit_tokens, limiter->tokens_used);
	verdict->reset_tokens_ms = limiter->token_window_start_ms + quota->token_window_ms - now_ms;
}

static void
admit_standard(struct sim_limiter *limiter, uint64_t now_ms, uint64_t tokens, struct sim_verdict *verdict)
{
	const struct sim_quota *quota = &limiter->quota;

	roll(&limiter->request_window_start_ms, &limiter->requests_used, quota->request_window_ms, now_ms);
	roll(&limiter->token_window_start_ms, &limiter->tokens_used, quota->token_window_ms, now_ms);
	describe(limiter, now_ms, verdict);
	if (quota->requests_per_minute != 0 && verdict->remaining_requests == 0) {
		verdict->exceeded = SIM_LIMIT_REQUESTS;
		verdict->wait_ms = verdict->reset_requests_ms;
	}
	if (quota->tokens_per_minute != 0 && verdict->remaining_tokens < tokens &&
	    verdict->reset_tokens_ms > verdict->wait_ms) {
		verdict->exceeded = SIM_LIMIT_TOKENS;
		verdict->wait_ms = verdict->reset_tokens_ms;
	}
	/* Refused requests count as requests too, as they do at Azure. */
	limiter->requests_used++;
	if (verdict->exceeded == SIM_LIMIT_NONE)
		limiter->tokens_used += tokens;
	describe(limiter, now_ms, verdict);
}

/* Weighted tokens that drain in a millisecond. */
static double
drain_rate(const struct sim_quota *quota)
{
	return (double)quota->ptu * (double)quota->tokens_per_ptu / (double)MINUTE_MS;
}

static void
drain(struct sim_limiter *limiter, uint64_t now_ms)
{
	double drained = (double)(now_ms - limiter->drained_at_ms) * drain_rate(&limiter->quota);

	limiter->level = limiter->level > drained ? limiter->level - drained : 0;
	limiter->drained_at_ms = now_ms;
}

static void
admit_provisioned(struct sim_limiter *limiter, uint64_t now_ms, uint64_t prompt_tokens, uint64_t output_tokens,
    struct sim_verdict *verdict)
{
	const struct sim_quota *quota = &limiter->quota;
	double full = drain_rate(quota) * (double)quota->token_window_ms;

	drain(limiter, now_ms);
	if (limiter->level > full) {
		verdict->exceeded = SIM_LIMIT_UTILISATION;
		verdict->wait_ms = (uint64_t)((limiter->level - full) / drain_rate(quota)) + 1;
	} else {
		limiter->level += (double)prompt_tokens + (double)output_tokens * (double)quota->output_weight;
	}
	verdict->utilisation = limiter->level / full;
}

void
sim_limiter_admit(struct sim_limiter *limiter, uint64_t now_ms, uint64_t prompt_tokens, uint64_t output_tokens,
    struct sim_verdict *verdict)
{
	memset(verdict, 0, sizeof(*verdict));
	if (limiter->quota.ptu != 0)
		admit_provisioned(limiter, now_ms, prompt_tokens, output_tokens, verdict);
	else
		admit_standard(limiter, now_ms, prompt_tokens + output_tokens, verdict);
}

void
sim_limiter_correct(struct sim_limiter *limiter, uint64_t now_ms, uint64_t estimated_output_tokens,
    uint64_t output_tokens)
{
	if (limiter->quota.ptu == 0)
		return;
	drain(limiter, now_ms);
	limiter->level +=
	    ((double)output_tokens - (double)estimated_output_tokens) * (double)limiter->quota.output_weight;
	if (limiter->level < 0)
		limiter->level = 0;
}
