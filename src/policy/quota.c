#include "policy/quota.h"

#include <stdlib.h>

#include "base/memory.h"

#define MINUTE_US UINT64_C(60000000)

/* No debt grows beyond this, whatever a backend claims to have used. */
#define DEBT_MAX_US (60 * MINUTE_US)

struct quota *
quota_new(const char *name)
{
	struct quota *quota = memory_take_zeroed(1, sizeof(*quota));

	quota->name = memory_copy_string(name);
	quota->references = 1;
	return quota;
}

struct quota *
quota_share(struct quota *quota)
{
	atomic_fetch_add_explicit(&quota->references, 1, memory_order_relaxed);
	return quota;
}

void
quota_release(struct quota **quota)
{
	struct quota *gone = *quota;

	*quota = NULL;
	if (gone == NULL || atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) > 1)
		return;
	free(gone->name);
	free(gone);
}

/* How long until a bucket holds room for cost_us more, in microseconds; 0: it does now. */
static uint64_t
wait_us(uint64_t full_us, uint64_t cost_us, uint64_t now_us)
{
	uint64_t owed_us = full_us > now_us ? full_us - now_us : 0;

	return owed_us + cost_us > MINUTE_US ? owed_us + cost_us - MINUTE_US : 0;
}

static uint64_t
to_ms(uint64_t us)
{
	return (us + 999) / 1000;
}

static uint64_t
take_request(struct quota *quota, uint64_t per_minute, uint64_t now_us)
{
	/* A limit above one a microsecond is none. */
	uint64_t cost_us = MINUTE_US / per_minute;
	uint64_t full_us = atomic_load_explicit(&quota->requests_full_us, memory_order_relaxed);
	uint64_t next_us;

	/* Relaxed order: the word stands for itself, nothing else is published with it. */
	do {
		uint64_t wait = wait_us(full_us, cost_us, now_us);

		if (wait > 0)
			return to_ms(wait);
		next_us = (full_us > now_us ? full_us : now_us) + cost_us;
	} while (!atomic_compare_exchange_weak_explicit(&quota->requests_full_us, &full_us, next_us,
	    memory_order_relaxed, memory_order_relaxed));
	return 0;
}

uint64_t
quota_take(struct quota *quota, uint64_t requests_per_minute, uint64_t tokens_per_minute, uint64_t now_ms)
{
	uint64_t now_us = now_ms * 1000;

	if (tokens_per_minute > 0) {
		/* One token must be left. */
		uint64_t wait = wait_us(atomic_load_explicit(&quota->tokens_full_us, memory_order_relaxed), 1, now_us);

		if (wait > 0)
			return to_ms(wait);
	}
	return requests_per_minute > 0 ? take_request(quota, requests_per_minute, now_us) : 0;
}

/* What tokens cost in microseconds of the bucket's time, without overflow. */
static uint64_t
token_cost_us(uint64_t tokens, uint64_t per_minute)
{
	if (tokens / per_minute >= DEBT_MAX_US / MINUTE_US)
		return DEBT_MAX_US;
	return tokens / per_minute * MINUTE_US + tokens % per_minute * MINUTE_US / per_minute;
}

void
quota_spend_tokens(struct quota *quota, uint64_t tokens_per_minute, uint64_t tokens, uint64_t now_ms)
{
	uint64_t now_us = now_ms * 1000, full_us, next_us;

	if (tokens_per_minute == 0 || tokens == 0)
		return;
	full_us = atomic_load_explicit(&quota->tokens_full_us, memory_order_relaxed);
	do {
		next_us = (full_us > now_us ? full_us : now_us) + token_cost_us(tokens, tokens_per_minute);
		if (next_us > now_us + DEBT_MAX_US)
			next_us = now_us + DEBT_MAX_US;
	} while (!atomic_compare_exchange_weak_explicit(&quota->tokens_full_us, &full_us, next_us, memory_order_relaxed,
	    memory_order_relaxed));
}
