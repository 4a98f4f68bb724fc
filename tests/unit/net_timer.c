/* The timer wheel: nothing fires early, nothing is lost, whatever is set, moved and cleared from within callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "net/timer.h"

struct world {
	struct event_base *base;
	struct timer_wheel *wheel;
	unsigned pending;
};

struct probe {
	struct timer timer;
	struct world *world;
	struct probe *other; /* set or cleared by the callback */
	uint64_t set_to_ms;
	unsigned fired;
};

static int
set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->base = event_base_new();
	world->wheel = timer_wheel_new(world->base);
	*state = world;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *world = *state;

	timer_wheel_free(&world->wheel);
	event_base_free(world->base);
	free(world);
	return 0;
}

static void
run(struct world *world)
{
	while (world->pending > 0)
		assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
}

static void
fire(void *owner, uint64_t now_ms)
{
	struct probe *probe = owner;

	assert_true(now_ms >= probe->set_to_ms);
	assert_false(timer_is_set(&probe->timer));
	probe->fired++;
	probe->world->pending--;
}

static void
begin(struct world *world, struct probe *probe, uint64_t deadline_ms)
{
	probe->world = world;
	probe->set_to_ms = deadline_ms;
	timer_set(world->wheel, &probe->timer, deadline_ms);
	world->pending++;
}

static void
test_hundreds_of_timers_each_fire_once_and_never_early(void **state)
{
	struct world *world = *state;
	struct probe *probes = calloc(500, sizeof(*probes));
	struct random random;
	uint64_t now_ms = clock_now_ms();

	random_seed(&random, 7);
	for (int i = 0; i < 500; i++) {
		timer_init(&probes[i].timer, fire, &probes[i]);
		begin(world, &probes[i], now_ms + random_below(&random, 120));
	}
	run(world);
	for (int i = 0; i < 500; i++)
		assert_int_equal(probes[i].fired, 1);
	free(probes);
}

static void
test_a_deadline_in_the_past_fires_in_the_next_turn(void **state)
{
	struct world *world = *state;
	struct probe probe = { 0 };

	timer_init(&probe.timer, fire, &probe);
	begin(world, &probe, 0);
	run(world);
	assert_int_equal(probe.fired, 1);
}

static void
test_a_timer_that_is_moved_fires_at_its_new_time_alone(void **state)
{
	struct world *world = *state;
	struct probe probe = { 0 };
	uint64_t now_ms = clock_now_ms();

	timer_init(&probe.timer, fire, &probe);
	begin(world, &probe, now_ms + 5);
	probe.set_to_ms = now_ms + 60;
	timer_set(world->wheel, &probe.timer, now_ms + 60);
	run(world);
	assert_int_equal(probe.fired, 1);
	assert_true(clock_now_ms() >= now_ms + 60);
}

static void
test_a_timer_further_than_one_turn_of_the_wheel_does_not_fire_early(void **state)
{
	struct world *world = *state;
	struct probe far = { 0 }, near = { 0 };
	uint64_t now_ms = clock_now_ms();

	timer_init(&far.timer, fire, &far);
	timer_init(&near.timer, fire, &near);
	/* The same slot as one 20 ms away, a turn later. */
	begin(world, &far, now_ms + 20 + (uint64_t)TIMER_TICK_MS * TIMER_SLOTS);
	begin(world, &near, now_ms + 60);
	world->pending = 1;
	run(world);
	assert_int_equal(near.fired, 1);
	assert_int_equal(far.fired, 0);
	assert_true(timer_is_set(&far.timer));
	timer_clear(world->wheel, &far.timer);
}

static void
clear_other(void *owner, uint64_t now_ms)
{
	struct probe *probe = owner;

	(void)now_ms;
	timer_clear(probe->world->wheel, &probe->other->timer);
	probe->world->pending = 0;
	probe->fired++;
}

static void
test_a_callback_may_clear_another_timer_of_the_same_moment(void **state)
{
	struct world *world = *state;
	struct probe a = { .world = world }, b = { .world = world };
	uint64_t deadline_ms = clock_now_ms() + 10;

	a.other = &b;
	b.other = &a;
	timer_init(&a.timer, clear_other, &a);
	timer_init(&b.timer, clear_other, &b);
	timer_set(world->wheel, &a.timer, deadline_ms);
	timer_set(world->wheel, &b.timer, deadline_ms);
	world->pending = 1;
	run(world);
	assert_int_equal(a.fired + b.fired, 1);
}

static void
set_again(void *owner, uint64_t now_ms)
{
	struct probe *probe = owner;

	probe->fired++;
	if (probe->fired < 20)
		timer_set(probe->world->wheel, &probe->timer, now_ms);
	else
		probe->world->pending = 0;
}

static void
test_a_callback_that_sets_its_timer_to_now_does_not_hold_the_loop(void **state)
{
	struct world *world = *state;
	struct probe probe = { .world = world };
	unsigned turns = 0;

	timer_init(&probe.timer, set_again, &probe);
	timer_set(world->wheel, &probe.timer, clock_now_ms());
	world->pending = 1;
	for (; world->pending > 0; turns++)
		assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
	assert_true(turns >= 10); /* a late turn may serve it twice, not more */
}

static void
test_clearing_a_timer_that_is_not_set_is_harmless(void **state)
{
	struct world *world = *state;
	struct probe probe = { 0 };

	timer_init(&probe.timer, fire, &probe);
	timer_clear(world->wheel, &probe.timer);
	assert_false(timer_is_set(&probe.timer));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hundreds_of_timers_each_fire_once_and_never_early, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_a_deadline_in_the_past_fires_in_the_next_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_timer_that_is_moved_fires_at_its_new_time_alone, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_a_timer_further_than_one_turn_of_the_wheel_does_not_fire_early,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_callback_may_clear_another_timer_of_the_same_moment, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_a_callback_that_sets_its_timer_to_now_does_not_hold_the_loop,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clearing_a_timer_that_is_not_set_is_harmless, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
