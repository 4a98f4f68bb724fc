/* net/worker.h: one event loop and what belongs to it.
 *
 * A worker owns its event base, its timers, its pool of idle upstream connections and the connections handed to it; no
 * other thread touches those. Other threads talk to it through worker_post() and worker_hand_over() alone. Objects that
 * end inside a callback are buried: freed once the loop's turn is over, so that no callback ever returns into freed
 * memory. Made and freed by the main thread; runs in a thread of its own between worker_start() and worker_join().
 */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/compiler.h"
#include "base/random.h"
#include "net/timer.h"

/* The shared read buffer. */
#define WORKER_READ_BYTES 65536U

struct upstream_pool;
struct worker;

/* Embedded as the first member of whatever is buried. */
struct grave {
	struct grave *next;
	void (*destroy)(struct grave *grave);
};

/* A message from another thread; fn runs in the worker's thread and frees argument if need be. */
typedef void worker_message_fn(struct worker *worker, void *argument);
/* A connection that was handed over: the callee owns fd. */
typedef void worker_accept_fn(struct worker *worker, int fd, const struct sockaddr_storage *peer);

struct worker {
	unsigned index;
	struct event_base *base;
	struct timer_wheel *wheel;
	struct random random;
	struct upstream_pool *pool;
	char *read_buffer; /* WORKER_READ_BYTES; for one callback at a time */
	worker_accept_fn *on_accept;
	void *context; /* the proxy's or the simulator's own */
	struct grave *graves;
	bool stop;
	pthread_t thread;
	bool running;
	struct event mail_event;
	int mail_fd;
	pthread_mutex_t mail_mutex; /* guards mail */
	struct worker_mail *mail, **mail_tail;
	_Atomic unsigned connections; /* client connections it serves; read by the acceptor */
};

struct worker *worker_new(unsigned index, worker_accept_fn *on_accept, void *context) MUST_CHECK;
/* Starts the worker's thread. False when no thread can be had. */
bool worker_start(struct worker *worker) MUST_CHECK;
/* Asks the loop to end; from any thread. */
void worker_stop(struct worker *worker);
void worker_join(struct worker *worker);
/* The loop must have ended. Runs what is still in the mail, frees, and nulls the caller's pointer. */
void worker_free(struct worker **worker);

/* From any thread. */
void worker_post(struct worker *worker, worker_message_fn *fn, void *argument);
void worker_hand_over(struct worker *worker, int fd, const struct sockaddr_storage *peer);

/* Frees the object behind grave with destroy() once the current turn of the loop is over. */
void worker_bury(struct worker *worker, struct grave *grave, void (*destroy)(struct grave *grave));

#endif
