/* Ids are remembered with the resource that made them, for a time, and in a table that never grows. */
#include "unit.h"

#include "base/compiler.h"
#include "policy/pins.h"

#define NOW_MS 1000000U

static int
make(void **state)
{
	*state = pin_table_new();
	return 0;
}

static int
unmake(void **state)
{
	pin_table_free((struct pin_table **)state);
	assert_null(*state);
	return 0;
}

static void
test_what_was_never_seen_is_unknown(void **state)
{
	assert_int_equal(pins_find(*state, 42, NOW_MS), PIN_UNKNOWN);
	assert_int_equal(pins_find(*state, 0, NOW_MS), PIN_UNKNOWN);
}

static void
test_what_was_learned_is_found_until_its_time_is_over(void **state)
{
	pins_learn(*state, 42, PIN_THING, 7, NOW_MS);
	assert_int_equal(pins_find(*state, 42, NOW_MS), 7);
	assert_int_equal(pins_find(*state, 42, NOW_MS + PIN_LIFETIME_MS - 1), 7);
	assert_int_equal(pins_find(*state, 42, NOW_MS + PIN_LIFETIME_MS), PIN_UNKNOWN);
	assert_int_equal(pins_find(*state, 43, NOW_MS), PIN_UNKNOWN);
}

static void
test_learning_again_renews_and_moves(void **state)
{
	pins_learn(*state, 42, PIN_THING, 7, NOW_MS);
	pins_learn(*state, 42, PIN_THING, 8, NOW_MS + PIN_LIFETIME_MS / 2);
	assert_int_equal(pins_find(*state, 42, NOW_MS + PIN_LIFETIME_MS + 1), 8);
}

static void
test_a_full_set_gives_up_what_would_end_first(void **state)
{
	const uint64_t step = PINS_MAX / PINS_PER_SET;

	for (uint64_t i = 0; i < PINS_PER_SET; i++)
		pins_learn(*state, 42 + i * step, PIN_THING, 1 + i, NOW_MS + i);
	for (uint64_t i = 0; i < PINS_PER_SET; i++)
		assert_int_equal(pins_find(*state, 42 + i * step, NOW_MS + 100), 1 + i);
	pins_learn(*state, 42, PIN_THING, 1, NOW_MS + 50); /* the oldest has been used again */
	pins_learn(*state, 42 + PINS_PER_SET * step, PIN_THING, 99, NOW_MS + 60);
	assert_int_equal(pins_find(*state, 42, NOW_MS + 100), 1);
	assert_int_equal(pins_find(*state, 42 + step, NOW_MS + 100), PIN_UNKNOWN);
	assert_int_equal(pins_find(*state, 42 + PINS_PER_SET * step, NOW_MS + 100), 99);
}

/* A stranger's flood of one kind, behind so many of the other: how many of these are left? */
static const struct {
	const char *behaviour;
	enum pin_kind kept, flooded;
	unsigned before, left;
} floods[] = {
	{ "items do not drive out things", PIN_THING, PIN_ITEM, 4, 4 },
	{ "but take the room that is above their half", PIN_THING, PIN_ITEM, 8, 4 },
	{ "things do not drive out items", PIN_ITEM, PIN_THING, 4, 4 },
	{ "but take the room that is above theirs", PIN_ITEM, PIN_THING, 7, 4 },
	{ "items drive out the oldest items", PIN_ITEM, PIN_ITEM, 8, 0 },
	{ "things drive out the oldest things", PIN_THING, PIN_THING, 8, 0 },
};

static void
test_a_flood_leaves_half_to_the_other_kind(void **state)
{
	const uint64_t step = PINS_MAX / PINS_PER_SET;

	for (size_t row = 0; row < ARRAY_COUNT(floods); row++) {
		unsigned left = 0;
		uint64_t set = 100 + row;

		for (uint64_t i = 0; i < floods[row].before; i++)
			pins_learn(*state, set + i * step, floods[row].kept, 7, NOW_MS + i);
		for (uint64_t i = 100; i < 200; i++)
			pins_learn(*state, set + i * step, floods[row].flooded, 8, NOW_MS + i);
		for (uint64_t i = 0; i < floods[row].before; i++)
			left += pins_find(*state, set + i * step, NOW_MS + 1000) == 7;
		CHECK_NUMBER(floods[row].behaviour, left, floods[row].left);
		/* The newest of the flood is there in any case. */
		CHECK_NUMBER(floods[row].behaviour, pins_find(*state, set + 199 * step, NOW_MS + 1000), 8);
	}
}

static void
test_what_is_over_gives_way_whatever_it_was(void **state)
{
	const uint64_t step = PINS_MAX / PINS_PER_SET;
	const uint64_t later_ms = NOW_MS + PIN_LIFETIME_MS;

	for (uint64_t i = 0; i < PINS_PER_SET; i++)
		pins_learn(*state, 42 + i * step, i < 4 ? PIN_THING : PIN_ITEM, 7, i == 6 ? NOW_MS : later_ms - 1);
	pins_learn(*state, 42 + 100 * step, PIN_THING, 8, later_ms);
	for (uint64_t i = 0; i < PINS_PER_SET; i++)
		assert_int_equal(pins_find(*state, 42 + i * step, later_ms), i == 6 ? PIN_UNKNOWN : 7);
	assert_int_equal(pins_find(*state, 42 + 100 * step, later_ms), 8);
}

static void
test_a_thing_that_is_seen_among_items_stays_a_thing(void **state)
{
	const uint64_t step = PINS_MAX / PINS_PER_SET;

	pins_learn(*state, 42, PIN_THING, 7, NOW_MS);
	pins_learn(*state, 42, PIN_ITEM, 7, NOW_MS);
	for (uint64_t i = 1; i < 100; i++)
		pins_learn(*state, 42 + i * step, PIN_ITEM, 8, NOW_MS + i);
	assert_int_equal(pins_find(*state, 42, NOW_MS + 1000), 7);
}

static void
test_a_million_ids_take_no_more_room_than_the_table_has(void **state)
{
	unsigned kept = 0;

	for (uint64_t i = 1; i <= 1000000; i++)
		pins_learn(*state, i * UINT64_C(0x9e3779b97f4a7c15), PIN_THING, 5, NOW_MS + i);
	for (uint64_t i = 1; i <= 1000000; i++)
		kept += pins_find(*state, i * UINT64_C(0x9e3779b97f4a7c15), NOW_MS + 1000000) == 5;
	assert_true(kept <= PINS_MAX);
	assert_true(kept > PINS_MAX * 9 / 10);
	assert_int_equal(pins_find(*state, 1000000 * UINT64_C(0x9e3779b97f4a7c15), NOW_MS + 1000000), 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_never_seen_is_unknown, make, unmake),
		cmocka_unit_test_setup_teardown(test_what_was_learned_is_found_until_its_time_is_over, make, unmake),
		cmocka_unit_test_setup_teardown(test_learning_again_renews_and_moves, make, unmake),
		cmocka_unit_test_setup_teardown(test_a_full_set_gives_up_what_would_end_first, make, unmake),
		cmocka_unit_test_setup_teardown(test_a_flood_leaves_half_to_the_other_kind, make, unmake),
		cmocka_unit_test_setup_teardown(test_what_is_over_gives_way_whatever_it_was, make, unmake),
		cmocka_unit_test_setup_teardown(test_a_thing_that_is_seen_among_items_stays_a_thing, make, unmake),
		cmocka_unit_test_setup_teardown(test_a_million_ids_take_no_more_room_than_the_table_has, make, unmake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
