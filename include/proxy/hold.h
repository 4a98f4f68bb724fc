/* proxy/hold.h: requests that wait for a throttled backend instead of being refused.
 *
 * When all backends that serve a request are throttled, or have no room for it as far as is known, and one of them is back
 * within retry.hold_ms, the request waits in its worker's queue: first come, first served, bounded in number and bytes. Who comes while others wait for the same lines
 * up behind them; who goes and is throttled again has its old place back. Requests leave as backends can take them: the
 * first is the probe of a backend whose time is over, and the more are taken the more may go (policy/ramp.h). A request
 * waits hold_ms in all, however often it is queued.
 *
 * Nothing is polled: the queue sleeps until a rest is over, and where a probe is out, until that has ended, on whatever
 * worker (hold_wake()).
 *
 * Belongs to the worker and its thread. An exchange that ends leaves the queue by itself (hold_leave() in its end).
 */
#ifndef PROXY_HOLD_H
#define PROXY_HOLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "net/timer.h"

struct exchange;
struct worker;

/* Of one worker: for one deployment, so that it cannot keep the others from waiting, and in all. */
#define HOLD_MAX_OF_DEPLOYMENT 256U
#define HOLD_MAX_BYTES_OF_DEPLOYMENT 67108864U
#define HOLD_MAX_REQUESTS 1024U
#define HOLD_MAX_BYTES 134217728U
/* No more leave in one turn, whatever the backends may take, and the next turn is so much later. */
#define HOLD_RELEASED_AT_ONCE 32U
#define HOLD_TURN_MS 4U
/* While a probe is out the queue looks for itself this often, should an end ever be missed. */
#define HOLD_LOOK_MS 1000U

struct hold_queue {
	struct exchange *first, *last;
	unsigned count;
	uint64_t bytes;
	uint64_t tickets; /* given out */
	struct worker *worker;
	struct timer timer;
	uint64_t next_turn_ms; /* not before that: the last turn let its number go */
	_Atomic bool listens;  /* it has looked, and wants to know when a probe ends; cleared by who tells it */
};

/* An exchange's place in it. */
struct hold_place {
	struct exchange *next, *previous;
	bool queued;
	uint64_t ticket;    /* its place among all of the worker's: in the order in which they were first to be sent */
	uint64_t bytes;     /* counted for it */
	uint64_t until_ms;  /* it waits no longer; 0: it has never waited */
	uint64_t since_ms;  /* queued since then */
	uint64_t waited_ms; /* … and before that */
};

void hold_init(struct hold_queue *queue, struct worker *worker);

enum hold_line {
	HOLD_FIRST,    /* nobody waits for what it needs, or it has waited: it goes on */
	HOLD_BEHIND,   /* others do, and it has been queued */
	HOLD_TOO_MANY, /* … and there is no room behind them */
};

/* Asked before each choice of a backend: nobody overtakes those who wait. */
enum hold_line hold_line_up(struct exchange *exchange, uint64_t now_ms) MUST_CHECK;

/* Queues an exchange that nobody can serve now but somebody will in time. False when it cannot wait: switched off, no
 * backend is back in time, or the queue is full. Its state stays TRYING. */
bool hold_enter(struct exchange *exchange, uint64_t now_ms) MUST_CHECK;

/* For how long it has waited in all; 0: not at all. */
uint64_t hold_waited_ms(const struct exchange *exchange, uint64_t now_ms);

/* A probe has ended, or a rest before its time: the queues of all workers look again, each in its own next turn of the loop.
 * from: the worker whose thread this is. */
void hold_wake(const struct worker *from);

/* Takes it out of the queue; harmless when it is not there. */
void hold_leave(struct exchange *exchange);

#endif
