/* proxy/measure.h: what is counted of requests and attempts, for the metrics.
 *
 * Each worker counts in a set of its own (base/counters.h). A counter's key is its family and up to four numbers: those
 * of names (clients, backends, deployments; see the tables in proxy.h, whose numbers outlive reloads), a code, a bucket.
 * Reading them is the admin port's job (admin/metrics.c).
 */
#ifndef PROXY_MEASURE_H
#define PROXY_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "policy/retry.h"

struct attempt;
struct exchange;

enum measure_family {
	MEASURE_REQUESTS = 1,        /* client, deployment, code */
	MEASURE_REQUEST_SECONDS,     /* deployment, bucket */
	MEASURE_FIRST_EVENT_SECONDS, /* deployment, bucket */
	MEASURE_ATTEMPTS,            /* backend, deployment, code */
	MEASURE_ATTEMPT_SECONDS,     /* backend, bucket */
	MEASURE_THROTTLED,           /* backend, deployment */
	MEASURE_FAILOVERS,           /* backend, code */
	MEASURE_COOLDOWN,            /* backend, deployment; in ms */
	MEASURE_TOKENS,              /* client, backend, deployment, enum measure_tokens */
	MEASURE_DISCONNECTS,
	MEASURE_RETRIES,    /* enum measure_budget */
	MEASURE_SPILLOVERS, /* backend, deployment */
	MEASURE_FAMILIES
};

/* Of the attempt before: surely not executed, or maybe so. */
enum measure_budget { BUDGET_SAFE, BUDGET_UNSAFE };

enum measure_tokens { TOKENS_PROMPT, TOKENS_CACHED, TOKENS_COMPLETION };

#define MEASURE_BITS 14U
/* In a name's place: there is none (a call without a deployment, a daemon without clients). */
#define MEASURE_NONE ((1U << MEASURE_BITS) - 1)
/* In a bucket's place: the sum of all that was observed, in ms. */
#define MEASURE_SUM MEASURE_NONE

static inline uint64_t
measure_key(enum measure_family family, unsigned a, unsigned b, unsigned c, unsigned d)
{
	return (uint64_t)family << 56 | (uint64_t)a << 3 * MEASURE_BITS | (uint64_t)b << 2 * MEASURE_BITS |
	    (uint64_t)c << MEASURE_BITS | d;
}

/* The n-th number of a key, 0 to 3. */
static inline unsigned
measure_part(uint64_t key, unsigned n)
{
	return (unsigned)(key >> (3 - n) * MEASURE_BITS) & MEASURE_NONE;
}

/* Upper bounds in ms of the buckets of all histograms; one more holds what is longer. */
#define MEASURE_BOUNDS 14U
extern const uint32_t measure_bounds_ms[MEASURE_BOUNDS];

/* How an attempt ended, as a number and as in x-aoai-lb-attempts. */
#define MEASURE_CANCELLED 2000U
unsigned measure_code(const struct outcome *outcome);
/* out has at least OUTCOME_NAME_SIZE bytes. */
const char *measure_code_name(unsigned code, char *out);

/* A request has ended; its tokens are counted with it. Health and readiness are nobody's requests. */
void measure_request(const struct exchange *exchange, uint64_t now_ms);
/* Its caller left, or took nothing any more. */
void measure_disconnect(const struct exchange *exchange);
/* The first content-bearing event of a stream is on its way. */
void measure_first_event(const struct exchange *exchange, uint64_t now_ms);
/* It is known how an attempt ended; the same for its whole length. */
void measure_attempt(const struct attempt *attempt, unsigned code);
void measure_attempt_length(const struct attempt *attempt, uint64_t now_ms);
void measure_throttled(const struct attempt *attempt);
/* Azure has served it from another deployment. */
void measure_spillover(const struct attempt *attempt);
/* Somebody rests for so much longer. */
void measure_cooldown(const struct attempt *attempt, bool whole, uint64_t more_ms);
/* The same for one that shares the quota of a throttled backend. */
void measure_group_cooldown(const struct exchange *exchange, size_t backend, uint64_t more_ms);
/* Another attempt takes over from the exchange's last one. */
void measure_failover(const struct exchange *exchange);

#endif
