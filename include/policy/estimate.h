/* policy/estimate.h: what a request's body tells about its size, and which others share its prompt. Pure; no allocation.
 *
 * Members are found in the one pass over the body that looks for the model. Where no such pass is needed, a long body is
 * not read for the sake of an estimate: only its beginning and end are searched, which is where the members are that
 * client libraries write beside the messages.
 */
#ifndef POLICY_ESTIMATE_H
#define POLICY_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/json.h"

enum estimate_member {
	ESTIMATE_MODEL, /* for the caller; the estimate makes no use of it */
	ESTIMATE_MAX_TOKENS,
	ESTIMATE_MAX_COMPLETION_TOKENS,
	ESTIMATE_MAX_OUTPUT_TOKENS,
	ESTIMATE_CACHE_KEY,
	ESTIMATE_MESSAGES,
	ESTIMATE_INPUT,
	ESTIMATE_MEMBERS,
};

/* Bodies up to this are scanned whole, longer ones in two windows of this many bytes. */
#define ESTIMATE_SCAN_MAX_BYTES 512U
#define ESTIMATE_WINDOW_BYTES 256U
/* Azure caches prompts from 1024 tokens up; shorter ones have nothing to lose. */
#define ESTIMATE_PREFIX_BYTES 4096U

struct estimate {
	uint64_t prompt_bytes;
	uint64_t output_tokens; /* what the caller allows; 0: it does not say */
	uint64_t affinity;      /* same key or same long prefix: same number; 0: neither */
};

/* Prepares the wants for json_scan(). */
void estimate_wants(struct json_want wants[ESTIMATE_MEMBERS]);
/* From what the scan has found; seed: the same for all requests. */
void estimate_from(const struct json_want wants[ESTIMATE_MEMBERS], struct slice body, uint64_t seed,
    struct estimate *out);
/* From a body that nobody has scanned. whole: it is to be read to its end, for the sake of affinity. */
void estimate_read(struct slice body, bool whole, uint64_t seed, struct estimate *out);

#endif
