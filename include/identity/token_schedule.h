/* identity/token_schedule.h: when a token is asked for again.
 *
 * Pure: moments are parameters, on the clock of base/clock.h; safe from any thread.
 */
#ifndef IDENTITY_TOKEN_SCHEDULE_H
#define IDENTITY_TOKEN_SCHEDULE_H

#include <stdint.h>

#include "identity/token_answer.h"

/* No token is fetched again sooner than this, however short it lives. */
#define TOKEN_REFRESH_LEAST_MS 500U
/* The longest wait between two tries, and the longest Retry-After that is believed. */
#define TOKEN_RETRY_MOST_MS 60000U
#define TOKEN_RETRY_AFTER_MOST_MS 300000U
/* What somebody has to mend is not asked for more often than this. */
#define TOKEN_REFUSED_LEAST_MS 30000U
/* 410 lasts for at most 70 s: it is asked often. */
#define TOKEN_SOON_MOST_MS 5000U

/* When a token that came at now_ms and lives until expires_ms is fetched anew: after half its life when that is over two
 * hours or under ten minutes, else five minutes before its end. */
uint64_t token_refresh_at_ms(uint64_t now_ms, uint64_t expires_ms);

/* How long to wait after the failures-th failure in a row (from 1 on): twice as long each time, a fifth more or less by
 * chance, and at least retry_after_ms (0: none was given). random: any number. */
uint64_t token_retry_wait_ms(enum token_verdict verdict, unsigned failures, uint64_t retry_after_ms, uint64_t random);

#endif
