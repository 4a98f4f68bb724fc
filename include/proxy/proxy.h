/* proxy/proxy.h: the data port as a whole: what all workers share, and what each has of its own.
 *
 * Made, started and stopped by the main thread. Workers reach it through worker->context.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "base/compiler.h"
#include "base/counters.h"
#include "config/config.h"
#include "http/head.h"
#include "net/listener.h"
#include "net/worker.h"
#include "policy/pins.h"
#include "policy/unlisted.h"
#include "proxy/fleet.h"
#include "proxy/hold.h"

struct attempt;
struct client;

struct proxy {
	struct fleet_tables tables;
	struct identities *identities;
	struct fleet *fleet; /* the main thread's reference to the current one */
	struct worker **workers;
	unsigned worker_count;
	struct listener *listener;
	_Atomic bool draining;           /* /readyz says 503; answers carry Connection: close */
	uint64_t memory_cap;             /* half of what the container may use: bounds buffered_bytes as well */
	_Atomic uint64_t buffered_bytes; /* of request bodies, against limits.max_buffered_bytes */
	_Atomic uint64_t growing_bytes;  /* of them, by chunked bodies that still come: they hold some and want more */
	_Atomic bool grower_taken;       /* one of these goes on though growing_bytes is at its limit */
	_Atomic uint32_t requests_in_flight;
	uint64_t lowered_from;             /* the limits.max_connections that was last said to be too high for nofile */
	uint64_t reloads[2];               /* refused and taken; the main thread's own */
	_Atomic uint32_t held_requests;    /* that wait for a throttled backend */
	struct unlisted_table unlisted;    /* rests of deployments that have no number */
	_Atomic unsigned workers_to_drain; /* of a drain: workers that have not yet emptied the backlog into clients */
	struct pin_table *pins;            /* which resource keeps what */
	uint64_t pin_seed;
	_Atomic bool files_seen; /* some pin is a file's, which chat completions may name */
};

/* One for each worker, touched by its thread alone. */
struct proxy_worker {
	struct proxy *proxy;
	struct worker *worker;
	struct fleet *fleet;    /* its own reference to the current one */
	struct client *clients; /* all of them, in no order */
	/* Those that wait for a token, the longest first, and how often they have been gone through: proxy/token.h. */
	struct attempt *awaiting_token, **awaiting_tail;
	uint64_t news_round;
	struct hold_queue hold;
	uint64_t request_prefix;          /* for request ids: random, then counted up */
	struct counters *counters;        /* for the metrics; read by the main thread as well */
	struct request_head request_head; /* scratch for one callback */
	struct response_head response_head;
};

static inline struct proxy_worker *
proxy_worker_of(const struct worker *worker)
{
	return worker->context;
}

/* Takes the configuration over. NULL with the reason in fault. */
struct proxy *proxy_new(struct config *config, char *fault, size_t fault_size) MUST_CHECK;
/* Starts workers and listens. False with the reason in fault: the port is taken, or no thread can be had. */
bool proxy_start(struct proxy *proxy, struct event_base *main_base, char *fault, size_t fault_size) MUST_CHECK;
uint16_t proxy_port(const struct proxy *proxy);

/* Swaps the configuration (taken over); requests in flight keep theirs. False with the reason in fault. */
bool proxy_reload(struct proxy *proxy, struct config *config, char *fault, size_t fault_size) MUST_CHECK;

/* The drain: readiness first, then the listener and idle connections. */
void proxy_fail_readiness(struct proxy *proxy);
void proxy_stop_accepting(struct proxy *proxy);
/* Client connections that are still open. */
unsigned proxy_connections(const struct proxy *proxy);
/* Whether, after proxy_stop_accepting(), nobody is left to be served: neither a connection nor, in a listener that a
 * worker has yet to close, one that waits to be accepted. */
bool proxy_is_drained(const struct proxy *proxy) MUST_CHECK;

/* Ends everything still running, joins the workers, frees, and nulls the caller's pointer. */
void proxy_free(struct proxy **proxy);

#endif
