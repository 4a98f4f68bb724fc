/* bench/canned.h: the messages of the benchmark. Load and backend make the same ones, so that each answer can be compared
 * with what it has to be, byte by byte.
 *
 * The deployment's name in the path says what is asked for: json (2 KB up, 1.5 KB down), request_40k, answer_40k,
 * stream-EVENTS-GAP_MS, and d0, d1, …: json under many names, each of which may be throttled. Pure.
 */
#ifndef BENCH_CANNED_H
#define BENCH_CANNED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"

enum canned_kind { CANNED_JSON, CANNED_REQUEST_40K, CANNED_ANSWER_40K, CANNED_STREAM };

#define CANNED_NAME_MAX_BYTES 64U
#define CANNED_EVENTS_MAX 1000000U
#define CANNED_GAP_MAX_MS 60000U

struct canned_call {
	enum canned_kind kind;
	struct slice name; /* the deployment; borrowed */
	unsigned events;   /* of a stream, before the one that finishes it */
	unsigned gap_ms;   /* between two events */
};

/* Reads a deployment's name. False: none of ours. */
bool canned_read_name(struct slice name, struct canned_call *out) MUST_CHECK;
/* The same from a request's target. */
bool canned_read_target(struct slice target, struct canned_call *out) MUST_CHECK;

/* Appends a request as an SDK sends it: 14 fields and a body. */
void canned_write_request(const struct canned_call *call, struct buffer *out);
/* Appends the head of a 200: 13 fields, Content-Length or (streams) chunked among them. */
void canned_write_head(const struct canned_call *call, struct buffer *out);
/* Appends the body of an answer that is no stream. */
void canned_write_body(const struct canned_call *call, struct buffer *out);
/* Appends event number `event` of a stream. call->events is the one with finish_reason, call->events + 1 is [DONE], the
 * last. */
void canned_write_event(const struct canned_call *call, unsigned event, struct buffer *out);
/* Appends the whole answer of a throttled or failing backend: 429 with a wait, or 503. */
void canned_write_refusal(unsigned status, unsigned wait_ms, struct buffer *out);

#endif
