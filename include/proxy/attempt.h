/* proxy/attempt.h: one try of a request on one backend: connect, send, read the answer's head, hand the body to the relay.
 *
 * An attempt ends in exactly one way: succeeded (its answer was relayed whole), failed (exchange_attempt_failed()), broken
 * after the commit, or cancelled. attempt_end() is its only destructor; the backend's counters are settled there.
 * Belongs to its exchange; freed by the worker's graveyard.
 */
#ifndef PROXY_ATTEMPT_H
#define PROXY_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "http/framing.h"
#include "http/head.h"
#include "http/sse.h"
#include "net/timer.h"
#include "net/upstream.h"
#include "net/worker.h"
#include "policy/headroom.h"
#include "policy/hint.h"
#include "policy/ramp.h"
#include "policy/retry.h"
#include "proxy/fleet.h"

struct exchange;

/* The body of an error answer gets this long before the next backend is tried without it. */
#define ERROR_BODY_MS 2000U
/* A stream that has said all gets this long for its final chunk before the caller's is ended without it. */
#define FINAL_CHUNK_MS 1000U
/* Most bytes of interim answers (1xx) before the answer. */
#define INTERIM_MAX_BYTES 65536U

/* TOKEN: it waits for a token to send. */
enum attempt_phase { ATTEMPT_TOKEN, ATTEMPT_CONNECTING, ATTEMPT_SENDING, ATTEMPT_AWAITING, ATTEMPT_BODY, ATTEMPT_OVER };

/* What is done with the body. */
enum body_mode {
	MODE_ERROR,  /* kept: the attempt will be judged when it is whole */
	MODE_WHOLE,  /* held until whole or HELD_MAX_BYTES, then relayed */
	MODE_EVENTS, /* an event stream: held until the first content-bearing event */
};

struct attempt {
	struct grave grave;
	struct exchange *exchange;
	struct worker *worker;
	size_t backend;
	const struct fleet_backend *via;
	struct rest *pair;     /* NULL: a call without a deployment, or one of an unlisted name */
	struct headroom *room; /* of the pair; NULL without one */
	struct headroom_ticket ticket;
	bool probes_pair, probes_whole;
	ramp_ticket ramped; /* it went while the pair is just coming back, and may yet be refused; 0: neither */
	bool settled;       /* counters and probes have been given back */
	enum attempt_phase phase;
	struct upstream *upstream;
	uint64_t started_ms;

	/* The request. */
	struct buffer head;  /* request line and the fields that differ between backends */
	struct buffer model; /* the model's value for this backend, when it differs */
	size_t sent, total;  /* bytes of head, fields and kept body */
	bool sent_any;
	bool request_done;
	bool write_failed; /* no more can be sent; an early answer may still be read */
	bool replaced;     /* a dead pooled connection has been replaced once */

	/* The identity's token in head. */
	uint64_t token_generation;                      /* 0: none */
	uint64_t token_until_ms;                        /* while it waits for one: how long */
	bool renewed;                                   /* it follows one whose token was refused */
	uint64_t news_round;                            /* the round in which it came into the worker's queue */
	struct attempt *next_awaiting, **awaiting_link; /* in the worker's queue; NULL: not in it */

	/* The answer. */
	struct buffer input; /* bytes of an incomplete head */
	struct head_search search;
	size_t interim_bytes; /* of the interim answers so far */
	struct body_reader body_reader;
	unsigned status;
	enum body_mode mode;
	bool reusable;
	bool coded; /* Content-Encoding: passes unread */
	bool is_json;
	bool has_request_id;
	uint64_t declared_length; /* Content-Length, or NO_CONTENT_LENGTH */
	bool has_hint;            /* the head held a readable hint */
	bool passes_hint;         /* … and the caller gets it, made sane */
	struct hint hint;
	struct sse_scanner scanner;
	uint8_t dialect; /* enum openai_dialect */
	bool saw_done;   /* [DONE], the terminal event of Responses, or an error event */
	bool said_all;   /* [DONE] or the terminal event: nothing that matters can follow */
	bool saw_content;
	bool blameless;  /* it ran out of the request's own time */
	uint32_t events; /* with data, so far: the next one's sequence number in the Responses dialect */
	bool cut_inside; /* the stream ended inside an event */

	/* Clocks: all in ms, 0: not running. They stand still while the caller blocks. */
	struct timer timer;
	uint64_t request_done_ms, head_ms, last_read_ms, said_all_ms, blocked_ms;
};

/* Begins the attempt; it goes on by itself. */
void attempt_begin(struct exchange *exchange, size_t backend, bool probes_pair, bool probes_whole, uint64_t now_ms);

/* For proxy/token.h: the head is complete, the request goes out; or it cannot. */
void attempt_connect(struct attempt *attempt, uint64_t now_ms);
void attempt_fail_without_token(struct attempt *attempt, uint64_t now_ms);

/* reuse: the connection may go back to the pool. Nulls exchange->attempt. */
void attempt_end(struct attempt *attempt, bool reuse, uint64_t now_ms);

/* The backend did its work: rests that have run out are over. */
void attempt_succeeded(struct attempt *attempt, uint64_t now_ms);

/* The caller takes bytes again. */
void attempt_resume(struct attempt *attempt, uint64_t now_ms);
/* More of an upload is there. */
void attempt_upload(struct attempt *attempt, uint64_t now_ms);

/* Sets the timer to the next deadline that applies. */
void attempt_watch(struct attempt *attempt, uint64_t now_ms);

/* What is known of the attempt, as far as the policy asks; status is that of the head, 0 before it. */
void attempt_outcome(const struct attempt *attempt, enum outcome_kind kind, struct outcome *out);

/* In words for the log: "openai2". */
const char *attempt_backend_name(const struct attempt *attempt);

#endif
