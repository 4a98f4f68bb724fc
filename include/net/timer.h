/* net/timer.h: many deadlines on one event loop, each set and cleared in constant time.
 *
 * A wheel of TIMER_SLOTS slots, TIMER_TICK_MS apart, is driven by a single libevent timer that sleeps until the next slot
 * in use: an idle worker does not wake. A timer fires at its deadline or up to one tick later, never before. Setting a
 * timer again moves it. A timer is embedded in its owner, which clears it before it goes away. One thread a wheel.
 *
 *	timer_init(&client->idle, client_idle_too_long, client);
 *	timer_set(wheel, &client->idle, now_ms + keep_alive_ms);
 */
#ifndef NET_TIMER_H
#define NET_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define TIMER_TICK_MS 4U
#define TIMER_SLOTS 2048U

struct event;
struct event_base;
struct timer_wheel;

/* Called from the loop; may set, clear or free any timer, its own included. */
typedef void timer_fn(void *owner, uint64_t now_ms);

struct timer {
	struct timer *next, **link; /* link: the pointer that points here; NULL when not set */
	uint64_t deadline_ms;
	timer_fn *fire;
	void *owner;
};

struct timer_wheel *timer_wheel_new(struct event_base *base) MUST_CHECK;
/* All timers must have been cleared. Nulls the caller's pointer. */
void timer_wheel_free(struct timer_wheel **wheel);

void timer_init(struct timer *timer, timer_fn *fire, void *owner);
/* deadline_ms: on the clock of base/clock.h; one in the past fires in the next turn of the loop. */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms);
/* Harmless when it is not set. */
void timer_clear(struct timer_wheel *wheel, struct timer *timer);
bool timer_is_set(const struct timer *timer);

#endif
