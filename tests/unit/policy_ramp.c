/* How many may go to a backend that was throttled: growth, setbacks, silence, and what runs that are over may not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/ramp.h"

#define TICKETS_MAX 256

/* Lets go as many as may; returns how many. */
static unsigned
let_go(struct ramp *ramp, ramp_ticket *tickets)
{
	unsigned count = 0;

	while (ramp_has_room(ramp) && count < TICKETS_MAX)
		tickets[count++] = ramp_enter(ramp);
	return count;
}

static unsigned
round_trip(struct ramp *ramp, bool silent)
{
	ramp_ticket tickets[TICKETS_MAX];
	unsigned count = let_go(ramp, tickets);

	for (unsigned i = 0; i < count; i++)
		ramp_taken(ramp, tickets[i], silent);
	return count;
}

static void
it_is_open_at_first_and_counts_nothing(void **state)
{
	struct ramp ramp = { 0 };

	(void)state;
	assert_true(ramp_is_open(&ramp));
	assert_true(ramp_has_room(&ramp));
	assert_int_equal(ramp_enter(&ramp), 0);
	ramp_taken(&ramp, 0, false);
	ramp_left(&ramp, 0);
	assert_int_equal(ramp.unproven, 0);
	assert_true(ramp_is_open(&ramp));
}

static void
it_doubles_with_every_round_trip_until_it_is_open(void **state)
{
	static const unsigned want[] = { 1, 1, 2, 4, 8, 16, 32 };
	struct ramp ramp = { 0 };

	(void)state;
	ramp_restart(&ramp);
	for (unsigned i = 0; i < ARRAY_COUNT(want); i++) {
		assert_false(ramp_is_open(&ramp));
		assert_int_equal(round_trip(&ramp, false), want[i]);
	}
	assert_int_equal(round_trip(&ramp, false), TICKETS_MAX);
	assert_true(ramp_is_open(&ramp));
	assert_int_equal(ramp.unproven, 0);
}

static void
a_refusal_sets_it_back_to_one(void **state)
{
	struct ramp ramp = { 0 };

	(void)state;
	ramp_restart(&ramp);
	for (unsigned i = 0; i < 4; i++)
		(void)round_trip(&ramp, false);
	ramp_restart(&ramp);
	assert_int_equal(round_trip(&ramp, false), 1);
	assert_int_equal(round_trip(&ramp, false), 1);
}

static void
who_left_makes_room_but_proves_nothing(void **state)
{
	ramp_ticket ticket;
	struct ramp ramp = { 0 };

	(void)state;
	ramp_restart(&ramp);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(let_go(&ramp, &ticket), 1);
		ramp_left(&ramp, ticket);
	}
}

static void
silence_proves_less_than_an_answer(void **state)
{
	struct ramp ramp = { 0 };

	(void)state;
	ramp_restart(&ramp);
	for (unsigned i = 0; i < 100; i++)
		assert_in_range(round_trip(&ramp, true), 1, RAMP_SILENT_STEPS);
	assert_int_equal(round_trip(&ramp, true), RAMP_SILENT_STEPS);
	assert_int_equal(round_trip(&ramp, false), RAMP_SILENT_STEPS);
	assert_int_equal(round_trip(&ramp, false), 2 * RAMP_SILENT_STEPS);
}

static void
an_earlier_run_tells_nothing_of_this_one(void **state)
{
	ramp_ticket tickets[TICKETS_MAX];
	struct ramp ramp = { 0 };
	unsigned count;

	(void)state;
	ramp_restart(&ramp);
	for (unsigned i = 0; i < 5; i++)
		(void)round_trip(&ramp, false);
	count = let_go(&ramp, tickets);
	assert_int_equal(count, 16);
	ramp_restart(&ramp);
	assert_false(ramp_has_room(&ramp)); /* they are out still */
	for (unsigned i = 0; i < count; i++)
		ramp_taken(&ramp, tickets[i], false);
	assert_int_equal(round_trip(&ramp, false), 1);
	assert_int_equal(round_trip(&ramp, false), 1);
}

static void
patience_is_some_round_trips_of_a_refusal(void **state)
{
	static const struct {
		const char *behaviour;
		uint64_t took_ms[3];
		uint64_t want_ms;
	} cases[] = {
		{ "nobody has timed one", { UINT64_MAX }, RAMP_PATIENCE_UNKNOWN_MS },
		{ "three of them", { 60, UINT64_MAX }, 180 },
		{ "no less than the least", { 0, UINT64_MAX }, RAMP_PATIENCE_MIN_MS },
		{ "no more than the most", { 9000, UINT64_MAX }, RAMP_PATIENCE_MAX_MS },
		{ "a slower one counts at once", { 50, 100, UINT64_MAX }, 300 },
		{ "a quicker one by and by", { 120, 80, UINT64_MAX }, 330 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
		struct ramp ramp = { 0 };

		for (unsigned k = 0; k < 3 && cases[i].took_ms[k] != UINT64_MAX; k++)
			ramp_time_refusal(&ramp, cases[i].took_ms[k]);
		if (ramp_patience_ms(&ramp) != cases[i].want_ms)
			fail_msg("%s: %u", cases[i].behaviour, (unsigned)ramp_patience_ms(&ramp));
	}
}

static void
a_long_quick_spell_shortens_it_to_the_least(void **state)
{
	struct ramp ramp = { 0 };

	(void)state;
	ramp_time_refusal(&ramp, 400);
	for (unsigned i = 0; i < 40; i++)
		ramp_time_refusal(&ramp, 1);
	assert_int_equal(ramp.refusal_ms, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_open_at_first_and_counts_nothing),
		cmocka_unit_test(it_doubles_with_every_round_trip_until_it_is_open),
		cmocka_unit_test(a_refusal_sets_it_back_to_one),
		cmocka_unit_test(who_left_makes_room_but_proves_nothing),
		cmocka_unit_test(silence_proves_less_than_an_answer),
		cmocka_unit_test(an_earlier_run_tells_nothing_of_this_one),
		cmocka_unit_test(patience_is_some_round_trips_of_a_refusal),
		cmocka_unit_test(a_long_quick_spell_shortens_it_to_the_least),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
