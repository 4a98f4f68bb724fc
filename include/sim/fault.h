/* sim/fault.h: what can be made to go wrong, when, and how often.
 *
 * A fault is a JSON object, from the configuration's "faults" or POST /faults:
 *
 *	{ "fault": "stall", "stage": "at_event", "at": 3,                    what
 *	  "resource": "openai1", "deployment": "gpt-4o", "path": "chat",     where: names or "*", part of the path
 *	  "stream": true,                                                    only streams, or (false) only the rest
 *	  "skip": 0, "count": 1, "probability": 1 }                          how often: all matches when count is absent
 *
 * Where a stage is asked for: "before_head", "mid_head", "after_head", "at_event" and "in_event" ("at": events that have
 * gone before), "at_byte" ("at": body bytes on the wire), "before_end".
 *
 *	status		"status": 500, "headers": {}, "body": any JSON or a string, "early": true answers before the
 *			request's body is read, and closes
 *	throttle	429; "ms": 1000, "form": both | ms | x_ms | seconds | date | zero | minus | huge | missing | garbage |
 *			reset_requests | reset_tokens | odd | body | capacity
 *	headers		adds "headers": {} to whatever the answer is
 *	stream_error	inside a 200 stream, "at" events on: "status": 429 | 500, "form": chunk | event | response_failed
 *	stall		at a stage (default before_head, or "request": the body is never read); "ms": 0 is for ever
 *	truncate	at a stage (default before_end); "form": close | quiet (no close_notify) | final_chunk
 *	reset		RST at a stage, or "accept", or "request": before the body is read
 *	slow_head	"ms": 10 a step of "bytes": 1
 *	slow_body	the same for the body
 *	garbled_head	"form": not_http | bare_lf | obs_fold | two_lengths | length_and_chunked | nul | space_before_colon |
 *			signed_length | bad_status | no_end | gzip_chunked; or "raw": any text instead of the head
 *	wrong_length	"delta": how many bytes Content-Length is off (-10: the body is longer)
 *	no_done		a stream without its terminal event
 *	close_after	the connection ends after the answer, which did not say so
 *	keepalive	{"type":"keepalive"} events, "every": 1 events
 *	comments	": comment" lines, "every": 1 events
 *	huge_header	one more field, of "bytes": 100000
 *	informational	103 Early Hints before the answer
 *	odd_chunks	chunk extensions, leading zeros, trailers: valid all the same
 *	until_close	neither length nor chunks: the body ends with the connection
 *	line_ends	events with "form": crlf | cr line ends
 *	content_coding	says Content-Encoding: "form" without doing it
 *
 * One thread.
 */
#ifndef SIM_FAULT_H
#define SIM_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/random.h"
#include "base/slice.h"
#include "sim/answer.h"
#include "sim/wire.h"

/* Jansson's; its header and http/json.h cannot be had in one file. */
struct json_t;

#define SIM_FAULTS_MAX 256U
#define SIM_STATUS_CODE_MAX 599

enum sim_fault_kind {
	SIM_FAULT_STATUS,
	SIM_FAULT_THROTTLE,
	SIM_FAULT_HEADERS,
	SIM_FAULT_STREAM_ERROR,
	SIM_FAULT_STALL,
	SIM_FAULT_TRUNCATE,
	SIM_FAULT_RESET,
	SIM_FAULT_SLOW_HEAD,
	SIM_FAULT_SLOW_BODY,
	SIM_FAULT_GARBLED_HEAD,
	SIM_FAULT_WRONG_LENGTH,
	SIM_FAULT_NO_DONE,
	SIM_FAULT_CLOSE_AFTER,
	SIM_FAULT_KEEPALIVE,
	SIM_FAULT_COMMENTS,
	SIM_FAULT_HUGE_HEADER,
	SIM_FAULT_INFORMATIONAL,
	SIM_FAULT_ODD_CHUNKS,
	SIM_FAULT_UNTIL_CLOSE,
	SIM_FAULT_LINE_ENDS,
	SIM_FAULT_CONTENT_CODING,
};

/* When a fault strikes. */
enum sim_moment {
	SIM_MOMENT_ACCEPT,  /* as soon as the connection is there */
	SIM_MOMENT_REQUEST, /* once the request's head is read, not its body */
	SIM_MOMENT_ANSWER,
};

enum sim_stream_filter { SIM_ANY, SIM_STREAMS, SIM_NO_STREAMS };

struct sim_fault {
	enum sim_fault_kind kind;
	enum sim_moment moment;
	char *resource;   /* NULL: any */
	char *deployment; /* NULL: any */
	char *path;       /* NULL: any */
	enum sim_stream_filter streams;
	double probability;
	uint64_t skip;
	uint64_t left; /* how often it may still strike; UINT64_MAX: always */
	uint64_t struck;
	struct json_t *source; /* as it was installed */

	enum sim_stage stage;
	enum sim_wire_end end;
	uint64_t at;
	uint64_t ms;
	uint64_t bytes;
	int64_t delta;
	unsigned status;
	bool final_chunk;
	int form;             /* an index into the forms of its kind */
	struct buffer fields; /* "name: value\r\n" lines */
	struct buffer text;   /* body, raw head or coding */
};

struct sim_faults {
	struct sim_fault *items[SIM_FAULTS_MAX];
	size_t count;
};

/* What a request is, for matching. */
struct sim_fault_place {
	struct slice resource;
	struct slice deployment; /* empty: none, or not known yet */
	struct slice path;
	bool stream;
};

/* Adds one fault, or each of an array. False on the first that is wrong (the ones before stay), with the reason. */
bool sim_faults_add(struct sim_faults *faults, struct json_t *description, char *fault, size_t fault_size) MUST_CHECK;
void sim_faults_clear(struct sim_faults *faults);
/* A new array of what is installed, with "left" and "struck"; the caller's. */
struct json_t *sim_faults_describe(const struct sim_faults *faults) MUST_CHECK;

/* Collects those that strike now into struck (SIM_FAULTS_MAX of room) and counts them; returns how many. Borrowed until
 * the next change. */
size_t sim_faults_strike(struct sim_faults *faults, enum sim_moment moment, const struct sim_fault_place *place,
    struct random *random, struct sim_fault **struck);

/* The faults that make, or change, the answer. now_unix_ms: for dates. */
void sim_faults_change_answer(struct sim_fault *const *struck, size_t count, int64_t now_unix_ms,
    struct sim_answer *answer);
/* The faults of the transport, after framing. */
void sim_faults_change_wire(struct sim_fault *const *struck, size_t count, struct sim_wire *wire);

/* Parsing (fault_parse.c). A fault, or NULL with the reason. */
struct sim_fault *sim_fault_parse(struct json_t *description, char *reason, size_t reason_size) MUST_CHECK;
void sim_fault_free(struct sim_fault **fault);

/* Indices into the forms of a throttle. */
enum sim_throttle_form {
	SIM_THROTTLE_BOTH,
	SIM_THROTTLE_MS,
	SIM_THROTTLE_X_MS,
	SIM_THROTTLE_SECONDS,
	SIM_THROTTLE_DATE,
	SIM_THROTTLE_ZERO,
	SIM_THROTTLE_MINUS,
	SIM_THROTTLE_HUGE,
	SIM_THROTTLE_MISSING,
	SIM_THROTTLE_GARBAGE,
	SIM_THROTTLE_RESET_REQUESTS,
	SIM_THROTTLE_RESET_TOKENS,
	SIM_THROTTLE_ODD,
	SIM_THROTTLE_BODY,
	SIM_THROTTLE_CAPACITY,
};
enum sim_stream_error_form { SIM_STREAM_ERROR_CHUNK, SIM_STREAM_ERROR_EVENT, SIM_STREAM_ERROR_RESPONSE_FAILED };
enum sim_garbled_form {
	SIM_GARBLED_NOT_HTTP,
	SIM_GARBLED_BARE_LF,
	SIM_GARBLED_OBS_FOLD,
	SIM_GARBLED_TWO_LENGTHS,
	SIM_GARBLED_LENGTH_AND_CHUNKED,
	SIM_GARBLED_NUL,
	SIM_GARBLED_SPACE_BEFORE_COLON,
	SIM_GARBLED_SIGNED_LENGTH,
	SIM_GARBLED_BAD_STATUS,
	SIM_GARBLED_NO_END,
	SIM_GARBLED_GZIP_CHUNKED,
	SIM_GARBLED_RAW,
};
enum sim_line_end_form { SIM_LINE_END_CRLF, SIM_LINE_END_CR };

#endif
