#include "net/timer.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#define SLOT_WORDS (TIMER_SLOTS / 64)
#define NEVER UINT64_MAX

struct timer_wheel {
	struct event wake;
	uint64_t next_tick;        /* the first tick whose slot has not been looked at */
	uint64_t armed_tick;       /* when `wake` fires; NEVER: it is not set */
	uint64_t used[SLOT_WORDS]; /* one bit a slot that holds timers */
	struct timer *slots[TIMER_SLOTS];
};

/* The first tick that begins at or after the moment: a timer never fires early. */
static uint64_t
tick_of(uint64_t moment_ms)
{
	return (moment_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS;
}

static void
slot_put(struct timer_wheel *wheel, struct timer *timer, uint64_t tick)
{
	size_t slot = tick % TIMER_SLOTS;

	timer->next = wheel->slots[slot];
	if (timer->next != NULL)
		timer->next->link = &timer->next;
	timer->link = &wheel->slots[slot];
	wheel->slots[slot] = timer;
	wheel->used[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void
slot_take(struct timer *timer)
{
	*timer->link = timer->next;
	if (timer->next != NULL)
		timer->next->link = timer->link;
	timer->next = NULL;
	timer->link = NULL;
}

/* The first tick at or after `from` whose slot is in use, looking one turn of the wheel ahead; NEVER if none is. */
static uint64_t
next_used_tick(const struct timer_wheel *wheel, uint64_t from)
{
	for (uint64_t distance = 0; distance < TIMER_SLOTS;) {
		size_t slot = (from + distance) % TIMER_SLOTS;
		uint64_t word = wheel->used[slot / 64] >> (slot % 64);

		if (word != 0)
			return from + distance + (uint64_t)__builtin_ctzll(word);
		distance += 64 - slot % 64;
	}
	return NEVER;
}

static void
arm(struct timer_wheel *wheel, uint64_t tick, uint64_t now_ms)
{
	uint64_t moment_ms = tick * TIMER_TICK_MS;
	uint64_t wait_ms = moment_ms > now_ms ? moment_ms - now_ms : 0;
	struct timeval wait = { .tv_sec = (time_t)(wait_ms / 1000), .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000) };

	wheel->armed_tick = tick;
	event_add(&wheel->wake, &wait);
}

/* Fires what is due in one slot. Timers of a later turn of the wheel stay. */
static void
fire_slot(struct timer_wheel *wheel, uint64_t tick, uint64_t now_ms)
{
	size_t slot = tick % TIMER_SLOTS;
	struct timer *due = wheel->slots[slot];

	/* The list moves to a head of its own, so that callbacks may set and clear any timer meanwhile. */
	wheel->slots[slot] = NULL;
	wheel->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	if (due != NULL)
		due->link = &due;
	while (due != NULL) {
		struct timer *timer = due;

		slot_take(timer);
		if (timer->deadline_ms > now_ms)
			slot_put(wheel, timer, tick_of(timer->deadline_ms));
		else
			timer->fire(timer->owner, now_ms);
	}
}

static void
wake(evutil_socket_t unused_fd, short unused_events, void *context)
{
	struct timer_wheel *wheel = context;
	uint64_t now_ms = clock_now_ms();
	uint64_t now_tick = now_ms / TIMER_TICK_MS;
	uint64_t tick;

	(void)unused_fd;
	(void)unused_events;
	wheel->armed_tick = 0; /* nobody re-arms while we fire */
	while ((tick = next_used_tick(wheel, wheel->next_tick)) <= now_tick) {
		/* A timer that a callback sets in the past goes to a slot after this one: no endless loop. */
		wheel->next_tick = tick + 1;
		fire_slot(wheel, tick, now_ms);
	}
	if (wheel->next_tick <= now_tick)
		wheel->next_tick = now_tick + 1;
	wheel->armed_tick = NEVER;
	tick = next_used_tick(wheel, wheel->next_tick);
	if (tick != NEVER)
		arm(wheel, tick, now_ms);
}

struct timer_wheel *
timer_wheel_new(struct event_base *base)
{
	struct timer_wheel *wheel = memory_take_zeroed(1, sizeof(*wheel));

	wheel->next_tick = clock_now_ms() / TIMER_TICK_MS;
	wheel->armed_tick = NEVER;
	if (event_assign(&wheel->wake, base, -1, 0, wake, wheel) != 0)
		fatal("timer wheel: event_assign failed");
	return wheel;
}

void
timer_wheel_free(struct timer_wheel **wheel)
{
	if (*wheel == NULL)
		return;
	event_del(&(*wheel)->wake);
	free(*wheel);
	*wheel = NULL;
}

void
timer_init(struct timer *timer, timer_fn *fire, void *owner)
{
	*timer = (struct timer){ .fire = fire, .owner = owner };
}

void
timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms)
{
	uint64_t tick = tick_of(deadline_ms);

	timer_clear(wheel, timer);
	timer->deadline_ms = deadline_ms;
	if (tick < wheel->next_tick)
		tick = wheel->next_tick;
	slot_put(wheel, timer, tick);
	/* Further than one turn ahead, its slot comes up early and it is put back. */
	if (wheel->armed_tick == 0)
		return;
	if (tick >= wheel->next_tick + TIMER_SLOTS)
		tick = wheel->next_tick + (tick - wheel->next_tick) % TIMER_SLOTS;
	if (tick < wheel->armed_tick)
		arm(wheel, tick, clock_now_ms());
}

void
timer_clear(struct timer_wheel *wheel, struct timer *timer)
{
	(void)wheel; /* an empty slot's bit is cleared when its tick comes */
	if (timer->link != NULL)
		slot_take(timer);
}

bool
timer_is_set(const struct timer *timer)
{
	return timer->link != NULL;
}
