/* net/upstream.h: connections to backends, and the pool of idle ones.
 *
 * upstream_acquire() gives a pooled connection, or begins a new one: name, address (each in turn within the time given),
 * TLS. The owner hears of success or failure through its callbacks, then reads and writes upstream->stream itself. When
 * done it gives the connection back (upstream_release) or ends it (upstream_close). While pooled a connection is watched:
 * a close or a stray byte by the backend ends it. Pools are per worker; the owner and the connection live in its thread.
 */
#ifndef NET_UPSTREAM_H
#define NET_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "net/endpoint.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/worker.h"

/* Most idle connections that one worker keeps to one endpoint. */
#define UPSTREAM_IDLE_MAX 1024

enum upstream_failure {
	UPSTREAM_UNREACHABLE, /* no name, no route, refused, or not connected in time */
	UPSTREAM_TLS_FAILED,  /* the handshake failed or took too long */
};

struct upstream_callbacks {
	void (*on_ready)(void *owner);
	/* reason: in words, for the log; borrowed for the call. The connection is closed by the callee. */
	void (*on_failed)(void *owner, enum upstream_failure failure, const char *reason);
	void (*on_readable)(void *owner);
	void (*on_writable)(void *owner);
};

struct upstream {
	struct grave grave;
	struct stream stream;
	struct worker *worker;
	struct endpoint *endpoint;
	const struct upstream_callbacks *callbacks;
	void *owner;
	bool reused;   /* taken from the pool: the backend may have closed it meanwhile */
	uint8_t state; /* private to upstream.c */
	uint8_t address_at;
	uint8_t address_count;
	struct address *addresses; /* while connecting */
	uint64_t created_ms;
	uint64_t deadline_ms;          /* of the whole connecting */
	struct timer timer;            /* connecting: this address's time; pooled: its idle time */
	struct upstream *next, **link; /* in the pool, or among those that wait for a name */
};

struct upstream_limits {
	uint64_t connect_ms;
	uint64_t idle_ms;
	uint64_t max_age_ms;
};

struct upstream_pool *upstream_pool_new(void) MUST_CHECK;
/* Ends all pooled connections and nulls the caller's pointer. */
void upstream_pool_free(struct worker *worker, struct upstream_pool **pool);

/* Never fails at once. *ready: the connection came from the pool and may be written to; no on_ready follows. */
struct upstream *upstream_acquire(struct worker *worker, struct endpoint *endpoint,
    const struct upstream_limits *limits, const struct upstream_callbacks *callbacks, void *owner, uint64_t now_ms,
    bool *ready) MUST_CHECK;
/* A pooled connection turned out to be dead before it could do anything: a fresh one in its place. */
struct upstream *upstream_connect(struct worker *worker, struct endpoint *endpoint,
    const struct upstream_limits *limits, const struct upstream_callbacks *callbacks, void *owner,
    uint64_t now_ms) MUST_CHECK;

/* Back to the pool, or closed when it is too old or the pool is full. Nulls the caller's pointer. */
void upstream_release(struct upstream **upstream, const struct upstream_limits *limits, uint64_t now_ms);
/* Ends it, whatever it was doing. Nulls the caller's pointer. Harmless on NULL. */
void upstream_close(struct upstream **upstream);

/* A name has been looked up: goes on with the connections of this worker that wait for it. */
void upstream_resolved(struct worker *worker, struct endpoint *endpoint);

/* Closes all pooled connections: the configuration changed, or the daemon drains. */
void upstream_pool_clear(struct worker *worker);

#endif
