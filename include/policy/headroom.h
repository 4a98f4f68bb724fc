/* policy/headroom.h: what each (backend, deployment) still has room for. Shared by all workers.
 *
 * Every answer tells what is left of the minute (x-ratelimit-remaining-tokens and -requests, with their resets) or how
 * full a provisioned deployment is (azure-openai-deployment-utilization). What has been sent since is subtracted, so that
 * the next request need not run into the 429. All that is kept is when the room will be used up, counted in tokens ever
 * sent: `sent` grows with every attempt, and an answer to the attempt that left it at `mark` and says that R are left
 * means that the room ends at mark + R. Attempts that the backend had not seen by then are thereby subtracted.
 *
 * A provisioned deployment is a bucket that drains. How fast is learned from refusals, which say how far above full it is and
 * how long to wait; what a token fills of it, from how much fuller it has become between two answers. What was sent since
 * the last one is added in the same way; an answer that ends takes out what its estimate was too large by.
 *
 * Nothing here closes a backend: without news, with −1 or once the news is old, what is left is unknown, and unknown
 * counts as room. News is as old as the request that it came for: the head may have had to wait for the whole answer. What
 * comes with a refusal holds hardly longer than the refusal's hint.
 *
 * Pure: time is a parameter. Safe from any thread, without locks: a figure that two workers write at once may be a moment old.
 *
 *	headroom_sent(room, tokens, now_ms, &ticket);                    the attempt begins
 *	headroom_told(room, &ticket, &head->headers, now_ms, max_ms);    its head has come
 *	headroom_give_back(room, &ticket);                               or it failed, and was not counted
 */
#ifndef POLICY_HEADROOM_H
#define POLICY_HEADROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/headers.h"

/* News of what is left, without a reset, holds this long; so does a utilisation. */
#define HEADROOM_FRESH_MS 10000U
/* Whoever was served from another deployment's quota shows for so long that this one is full. */
#define HEADROOM_SPILLED_MS 1000U
/* A utilisation in units of 1/10000: 100 %, above which a provisioned deployment refuses. */
#define HEADROOM_FULL 10000U
/* From here on it counts as full. It works off as much at 99 % as at 100 %, so nothing is lost by keeping a little away. */
#define HEADROOM_NEARLY_FULL 9950U

/* Two cache lines; all zero: nothing is known. */
struct headroom {
	_Alignas(64) _Atomic uint64_t tokens_sent;
	_Atomic uint64_t tokens_end;      /* of tokens_sent, when the room is used up */
	_Atomic uint64_t tokens_mark;     /* what tokens_sent was for the attempt that brought the news */
	_Atomic uint64_t tokens_until_ms; /* the news holds until then; 0: none */
	_Atomic uint64_t requests_sent;
	_Atomic uint64_t requests_end;
	_Atomic uint64_t requests_mark;
	_Atomic uint64_t requests_until_ms;
	_Alignas(64) _Atomic uint64_t utilisation_ms; /* when the attempt that brought it was sent; 0: never */
	_Atomic uint64_t utilisation_mark;            /* what was booked then: tokens_sent less tokens_unused */
	_Atomic uint64_t tokens_unused;               /* by which all estimates together were too large so far */
	_Atomic uint32_t lesson_ms,
	    lesson_mark;         /* the same two, cut short, of the news that the next lesson starts from */
	_Atomic uint32_t lesson; /* and its utilisation; 0: there is none */
	_Atomic uint32_t fill;   /* 1/10000 for 2^20 tokens, learned; 0: unknown */
	_Atomic uint32_t drain_excess,
	    drain_wait;                /* sums of what was above full in 1/10000, and of how long to wait in ms */
	_Atomic uint32_t utilisation;  /* in 1/10000 */
	_Atomic uint32_t prompt_ratio; /* tokens per 1024 bytes of prompt, learned; 0: unknown */
	_Atomic uint32_t completion;   /* tokens of an answer, on the average; 0: unknown */
	_Atomic uint32_t full_ms;      /* it counts as full until so long after utilisation_ms, by a refusal's hint, and
					  then no more; with FULL_SPILLED, as a spillover shows; 0: neither */
};

/* What an attempt has booked. */
struct headroom_ticket {
	uint64_t tokens; /* 0: nothing is booked any more */
	uint64_t tokens_mark;
	uint64_t requests_mark;
	uint64_t booked_mark; /* tokens_mark less tokens_unused */
	uint64_t sent_ms;
};

/* The tokens that a request is likely to be counted as: of the prompt by the learned ratio (else 4 bytes a token), and of
 * the answer by what the caller allows (0: it does not say; then the learned average). */
uint64_t headroom_estimate(const struct headroom *room, uint64_t prompt_bytes, uint64_t output_tokens);

/* Whether a request of so many tokens would be let in, as far as is known, and by this quota. */
bool headroom_fits(const struct headroom *room, uint64_t tokens, uint64_t now_ms);

/* When such a request will be let in, if nothing else is sent: now_ms where it fits, or is served by another deployment
 * that it would spill over to; UINT64_MAX where nothing says. */
uint64_t headroom_fits_at_ms(const struct headroom *room, uint64_t tokens, uint64_t now_ms);
/* Whether it is full, and Azure serves from another deployment what it has no room for. */
bool headroom_spills(const struct headroom *room, uint64_t now_ms);

/* An attempt sends a request of so many tokens (at least 1 is booked). */
void headroom_sent(struct headroom *room, uint64_t tokens, uint64_t now_ms, struct headroom_ticket *ticket);

/* A head has come: its news, if it has any and none newer is there. Resets and hints count up to max_ms. Returns true when
 * another deployment's quota has paid for it (x-ms-spillover-from-deployment): then it is given back here. */
bool headroom_told(struct headroom *room, struct headroom_ticket *ticket, const struct headers *headers,
    uint64_t now_ms, uint64_t max_ms);

/* The backend did not count the request: it failed, or was refused. Once a ticket. */
void headroom_give_back(struct headroom *room, struct headroom_ticket *ticket);

/* The request is over and was as large as tokens: what the estimate was wrong by is put right, unless younger news has
 * done so. Once a ticket. */
void headroom_correct(struct headroom *room, struct headroom_ticket *ticket, uint64_t tokens);

/* What the request really was: improves later estimates. Where the caller set no limit, completion_tokens counts as well. */
void headroom_learn(struct headroom *room, uint64_t prompt_bytes, uint64_t prompt_tokens, uint64_t completion_tokens);

/* Tokens left; false: unknown. For metrics. */
bool headroom_tokens_left(const struct headroom *room, uint64_t now_ms, uint64_t *left);
/* Requests left; false: unknown. */
bool headroom_requests_left(const struct headroom *room, uint64_t now_ms, uint64_t *left);
/* Utilisation in 1/10000 as it was told last; false: unknown or old. For metrics. */
bool headroom_utilisation(const struct headroom *room, uint64_t now_ms, uint32_t *utilisation);

#endif
