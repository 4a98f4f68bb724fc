/* policy/hint.h: how long a backend asks to be left alone.
 *
 * A throttled answer carries its wait in any of half a dozen places, some of them absent, zero or absurd. hint_read()
 * looks at all of them and returns one sane wait. Pure: no I/O, no clock; safe from any thread.
 *
 *	struct hint hint = hint_read(&answer->headers, answer_body, now_unix_ms, &config->cooldown);
 *	rest_begin(rest, now_ms + hint.wait_ms, REST_THROTTLED);
 */
#ifndef POLICY_HINT_H
#define POLICY_HINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "http/headers.h"

enum hint_source {
	HINT_NONE,
	HINT_RETRY_AFTER_MS,
	HINT_RETRY_AFTER,
	HINT_RESET_REQUESTS,
	HINT_RESET_TOKENS,
	HINT_BODY,
};

/* All in milliseconds. */
struct hint_limits {
	uint64_t default_ms; /* when there is no readable hint */
	uint64_t min_ms;     /* for a hint of zero or less */
	uint64_t max_ms;     /* none is longer */
};

/* A positive hint shorter than this counts as this. */
#define HINT_FLOOR_MS 10U

struct hint {
	uint64_t wait_ms; /* never 0, never above limits->max_ms */
	enum hint_source source;
	bool clamped; /* the backend asked for less or more than wait_ms */
};

/* Reads the wait that a 429 or 503 asks for.
 *
 * headers	the answer's, borrowed for the call
 * body		its first bytes, possibly empty; only searched for "retry after N seconds" (also milliseconds)
 * now_unix_ms	wall clock, for HTTP dates (RFC 9110, 10.2.3; all three forms)
 * limits	default, floor and cap
 *
 * retry-after-ms and x-ms-retry-after-ms (decimals allowed, as SDKs read them as floats) beat retry-after (seconds,
 * decimals allowed, or a date), which beats the resets (the longer of requests and tokens; "4", "4s", "400ms", "1m30s",
 * both spellings), which beat the body. A hint of zero or less counts as min_ms, but only if no other place has a
 * positive one. Never fails: what cannot be read counts as absent. */
struct hint hint_read(const struct headers *headers, struct slice body, int64_t now_unix_ms,
    const struct hint_limits *limits);

/* A duration as the resets have it ("4", "4s", "400ms", "1m30s"; 0 for less than none); false for what is none. */
bool hint_duration_ms(struct slice text, uint64_t *ms) MUST_CHECK;

/* As the log shows it: "retry-after-ms", "retry-after", "x-ratelimit-reset-requests", …, "default". */
const char *hint_source_name(enum hint_source source);

/* The hints that go to a caller: retry-after-ms within 1..60000, retry-after in seconds, rounded up, within 1..60. */
#define HINT_CALLER_MAX_MS 60000U
uint64_t hint_for_caller_ms(uint64_t wait_ms);
uint64_t hint_for_caller_seconds(uint64_t wait_ms);

#endif
