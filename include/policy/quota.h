/* policy/quota.h: how much one configured client may still use: requests and tokens a minute.
 *
 * Each of the two limits is a bucket that holds one minute's worth and is filled evenly (GCRA: one atomic word says when
 * the bucket will be full again). A request is paid for when it comes; tokens are paid for when the answer has told how
 * many they were, so that a client may run into debt once and then waits until it is paid off. Shared by all workers without locks;
 * outlives configurations. Pure: time is a parameter. Safe from any thread.
 *
 *	wait_ms = quota_take(quota, config->requests_per_minute, config->tokens_per_minute, now_ms);
 *	if (wait_ms > 0)
 *		... 429, with that hint ...
 *	quota_spend_tokens(quota, config->tokens_per_minute, usage.total_tokens, now_ms);
 */
#ifndef POLICY_QUOTA_H
#define POLICY_QUOTA_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/compiler.h"

struct quota {
	_Atomic uint64_t requests_full_us; /* when the bucket of requests will be full; in the past: it is */
	_Atomic uint64_t tokens_full_us;
	char *name; /* the client's */
	_Atomic uint32_t references;
};

/* With one reference. */
struct quota *quota_new(const char *name) MUST_CHECK;
struct quota *quota_share(struct quota *quota) MUST_CHECK;
/* Gives one reference back and nulls the caller's pointer; the last one frees. */
void quota_release(struct quota **quota);

/* Takes one request, if both limits (0: none) allow it. Returns 0, or for how many milliseconds the client has to wait; then
 * nothing was taken. */
uint64_t quota_take(struct quota *quota, uint64_t requests_per_minute, uint64_t tokens_per_minute,
    uint64_t now_ms) MUST_CHECK;
/* Books tokens that were used, even beyond the limit. */
void quota_spend_tokens(struct quota *quota, uint64_t tokens_per_minute, uint64_t tokens, uint64_t now_ms);

#endif
