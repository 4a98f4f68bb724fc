/* proxy/exchange.h: one request's life, from its head to its access line.
 *
 *	READING ──▶ ROUTING ──▶ TRYING ──▶ RELAYING ──▶ CLOSED
 *	   │           │          │  ▲
 *	   └───────────┴──────────┴──┴──▶ ANSWERING ──▶ CLOSED
 *
 * READING takes the head and body in. ROUTING finds the deployment. TRYING holds one attempt after another; nothing has
 * gone to the caller yet. RELAYING: an answer is committed and passes through; nothing is retried any more. ANSWERING:
 * the daemon's own answer, or a kept error answer, is on its way.
 *
 * Belongs to its client connection and that connection's worker. Ended by exchange_end() alone; freed by the graveyard.
 */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"
#include "http/framing.h"
#include "http/head.h"
#include "http/openai.h"
#include "net/timer.h"
#include "net/worker.h"
#include "policy/estimate.h"
#include "policy/retry.h"
#include "policy/route.h"
#include "policy/state.h"
#include "proxy/explain.h"
#include "proxy/fleet.h"
#include "proxy/hold.h"
#include "proxy/pinning.h"

struct attempt;
struct client;

/* Error answers kept for passing on later, and bodies looked at for a hint. */
#define KEPT_BODY_MAX_BYTES 65536U
#define MULTIPART_BOUNDARY_MAX_BYTES 70
/* Bytes of an answer held back before the commit. */
#define HELD_MAX_BYTES 65536U
/* A streamed upload: bytes between the caller and the backend. */
#define UPLOAD_WINDOW_BYTES 262144U

enum exchange_state { READING, ROUTING, TRYING, RELAYING, ANSWERING, CLOSED };

/* An error answer of a backend that is passed on if nothing better comes. */
struct kept_answer {
	unsigned status; /* 0: none */
	struct buffer head_lines;
	struct buffer body;
	bool complete;
	size_t backend;
};

struct exchange {
	struct grave grave;
	enum exchange_state state;
	struct client *client;
	struct worker *worker;
	struct fleet *fleet; /* this request's own reference */
	uint64_t started_ms;

	/* The request. Slices of route point into target_text; those of model into body. */
	enum http_method method;
	char method_text[24];
	bool http_1_0;
	bool keep_alive;
	char *target_text; /* the normalised path, then the query */
	struct slice query;
	struct route route;
	struct buffer upstream_lines;                    /* the fields that go to any backend */
	struct buffer credential_lines;                  /* the caller's own, for passthrough */
	char boundary[MULTIPART_BOUNDARY_MAX_BYTES + 1]; /* of a multipart/form-data body; "" for any other */
	bool content_coded;                              /* Content-Encoding */
	bool expects_continue;                           /* waits for 100 Continue before it sends its body */
	struct body_reader body_reader;
	struct buffer body;
	uint64_t body_bytes;     /* seen so far */
	uint64_t reserved_bytes; /* of the global budget */
	uint64_t growing_bytes;  /* of these, what counts in the proxy's growing_bytes */
	bool is_grower;
	bool body_complete;
	bool uploading;          /* the body is streamed once and not kept */
	unsigned refused_status; /* the body is dropped, and this answered once it has been read; 0: not refused */
	const char *refused_code;
	const char *refused_message;
	uint16_t client_index; /* into config->clients, + 1; 0: none */

	/* Where it goes. */
	char deployment[DEPLOYMENT_NAME_MAX_BYTES + 1]; /* unescaped; "" for calls without one */
	size_t deployment_length;
	unsigned deployment_number;
	struct slice model_value; /* the raw value in the body, to be replaced where a map changes the name */
	struct estimate estimate; /* how large it is; zeros where that was not read */
	bool model_is_json;       /* raw JSON string; else a multipart part's content */
	struct pinning pinning;   /* … and where it must go */

	/* What was tried. */
	uint64_t tried[(CONFIG_BACKENDS_MAX + 63) / 64];
	uint64_t throttled_by[(CONFIG_BACKENDS_MAX + 63) / 64]; /* of those tried: they answered 429 */
	struct hold_place hold;
	struct tally tally;
	bool forced_once;
	uint64_t throttled_until_ms; /* of attempts that no state could be booked for; 0: none */
	struct attempt *attempt;     /* the one under way */
	uint64_t token_until_ms;     /* it has begun to wait for a token, and does so no longer than this; 0: not yet */
	uint64_t refused_token;      /* its generation; 0: no backend has refused one */
	size_t refused_backend;
	struct kept_answer kept;
	uint16_t last_label;    /* the last attempt's backend, for the metrics */
	uint16_t failed_code;   /* … and how it failed; 0: it did not */
	bool retries_unsafely;  /* … having maybe been executed */
	const char *stopped_by; /* the setting that forbids further attempts; NULL: none does */
	struct explanation explanation;

	/* The answer. */
	struct buffer answer_lines; /* the backend's fields, before the commit */
	struct buffer held;         /* payload held back before the commit */
	unsigned status;            /* sent to the caller; 0: none yet */
	bool chunked;               /* framing towards the caller; neither: until close */
	bool delimited;             /* the caller can tell a whole answer from one cut short */
	bool broken;                /* cut short after the commit */
	uint64_t first_byte_ms;
	uint64_t answer_bytes; /* payload sent */
	uint64_t last_sent_ms;
	struct openai_usage usage;
	bool usage_booked; /* on the client's quota */
};

/* A head has been read, or was too bad to be read (status not HEAD_COMPLETE). Copies what it needs. The exchange is
 * client->exchange from then on; its body follows with exchange_body(). */
void exchange_begin(struct client *client, struct slice head_bytes, enum head_status status, uint64_t now_ms);

/* Body bytes from the caller; rewritten in place. *consumed: how many were this request's. */
void exchange_body(struct exchange *exchange, char *data, size_t length, size_t *consumed, uint64_t now_ms);
/* Refuses the request with an answer of the daemon's own. code and message are static text. */
void exchange_refuse(struct exchange *exchange, unsigned status, const char *code, const char *message);

/* The next backend, or the end: called by the attempt that failed (already detached). */
void exchange_next(struct exchange *exchange, uint64_t now_ms);

/* An attempt failed before the commit. Books it, lets backends rest, and goes on. Ends the attempt. */
void exchange_attempt_failed(struct attempt *attempt, const struct outcome *outcome, const char *reason,
    uint64_t now_ms);

/* Adds to the explanation: outcome, or NULL for the answer's status, and how long the backend rests for it. */
void exchange_note_attempt(struct exchange *exchange, const struct attempt *attempt, const char *outcome,
    uint64_t rest_ms);

/* Books the tokens used, as far as they are known and once, on the client's quota: before the last of the answer goes
 * out, so that the client's next request meets them. */
void exchange_book_usage(struct exchange *exchange);

/* The deployment's name has proved to be one: it gets a number, and with it a state on each backend. */
void exchange_learn(struct exchange *exchange, uint64_t now_ms);

/* The caller has gone, or does not take its answer: everything is cancelled. */
void exchange_cancel(struct exchange *exchange, const char *reason);
/* Before an answer of the daemon's own: ends the attempt under way, which is nobody's fault. False when an answer has been
 * committed, so that none can be given any more. */
bool exchange_abandon_attempt(struct exchange *exchange) MUST_CHECK;
/* The caller's connection has taken everything that was queued. */
void exchange_drained(struct exchange *exchange, uint64_t now_ms);

/* The answer has been handed over whole, or been cut short: access line, then the client's next request. */
void exchange_end(struct exchange *exchange);

void exchange_enter(struct exchange *exchange, enum exchange_state next);

/* It was held and has left the queue: the next attempt, or the refusal. */
void exchange_hold_over(struct exchange *exchange, uint64_t now_ms);

/* What all bodies together may have, in bytes: as configured, and no more than the container has to give. */
uint64_t exchange_budget(const struct exchange *exchange);
/* Body memory: takes bytes of the global budget; false when there are not so many left. */
bool exchange_reserve(struct exchange *exchange, uint64_t bytes) MUST_CHECK;
/* The same for a chunked body, whose end nobody knows. cap: the most that it may become. */
bool exchange_reserve_growing(struct exchange *exchange, uint64_t bytes, uint64_t cap) MUST_CHECK;
/* The body has come in full, or is given up: it will want no more. */
void exchange_stop_growing(struct exchange *exchange);
void exchange_unreserve(struct exchange *exchange);

#endif
