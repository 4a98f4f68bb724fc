/* proxy/client.h: one connection from a caller.
 *
 * Reads request heads and bodies, sends answers, one request after another; pipelined requests wait in `input`. While a
 * request is being served reading goes on, so that the caller's leaving is noticed at once. What the caller does not take
 * is queued in `output`; the exchange stops reading from its backend until the queue is empty.
 *
 * Ended by client_close() alone; freed by the worker's graveyard. Belongs to its worker's thread.
 */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "http/head.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/worker.h"

struct exchange;

/* Most bytes of pipelined requests that are taken before the current one is answered. */
#define PIPELINE_MAX_BYTES 65536U
/* After a refusal the caller's unread bytes are dropped for this long and this many, so that it can read the answer. */
#define LINGER_MS 2000U
#define LINGER_MAX_BYTES (4U * 1024U * 1024U)

enum client_phase {
	CLIENT_IDLE,    /* between requests */
	CLIENT_HEAD,    /* a head has begun */
	CLIENT_BODY,    /* its body follows */
	CLIENT_WAITING, /* the body waits, unread, for room in the budget or for the backend of an upload */
	CLIENT_BUSY,    /* the request is being served */
	CLIENT_SENDING, /* the answer is complete but not all taken */
	CLIENT_LINGER,  /* answered; what still comes is dropped */
	CLIENT_CLOSED,
};

struct client {
	struct grave grave;
	struct stream stream;
	struct worker *worker;
	struct client *next, **link; /* the worker's list */
	enum client_phase phase;
	struct exchange *exchange; /* NULL between requests */
	struct buffer input;
	struct head_search search;
	struct buffer output;
	struct timer timer;
	uint64_t phase_since_ms;
	uint64_t progress_ms; /* last byte read (body) or taken (answer) */
	uint64_t linger_bytes;
	bool close_after; /* the connection ends with this answer */
	bool abort_after; /* … and so that the caller can tell that it was cut short */
	bool first_request;
	bool draining;              /* closed soon if no request comes */
	uint64_t body_bytes_before; /* of the body, when the current client_body_ms began */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} peer;
};

/* worker_accept_fn */
void client_accept(struct worker *worker, int fd, const struct sockaddr_storage *peer);

/* Sends, or queues what the caller does not take now. Returns false when the connection is broken: whoever called
 * gives it up with client_leave(). */
bool client_send(struct client *client, const struct iovec *parts, int part_count, uint64_t now_ms) MUST_CHECK;
bool client_is_blocked(const struct client *client);

/* The body may be read on, after CLIENT_WAITING. */
void client_read_body_on(struct client *client, uint64_t now_ms);
/* Stops reading the body. */
void client_wait(struct client *client);

/* The exchange is over. close: the connection ends once its output has been taken; abort: in a way that cannot be
 * mistaken for a clean end. */
void client_answered(struct client *client, bool close, bool abort, uint64_t now_ms);

/* The caller has gone, or is taken for gone: its exchange is cancelled and the connection closed. */
void client_leave(struct client *client, const char *reason);
void client_close(struct client *client);
/* Connections without a request end; others after their answer. */
void client_drain_all(struct worker *worker);

/* "10.0.0.7" into out. */
#define CLIENT_ADDRESS_SIZE 64
const char *client_address(const struct client *client, char *out, size_t size);

#endif
