/* Ids are remembered with the resource that made them, for a time, and in a table that never grows. */
#include "unit.h"

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
	pins_learn(*state, 42, 7, NOW_MS);
	assert_int_equal(pins_find(*state, 42, NOW_MS), 7);
	assert_int_equal(pins_find(*state, 42, NOW_MS + PIN_LIFETIME_MS - 1), 7);
	assert_int_equal(pins_find(*state, 42, NOW_MS + PIN_LIFETIME_MS), PIN_UNKNOWN);
	assert_int_equal(pins_find(*state, 43, NOW_MS), PIN_UNKNOWN);
}

static void
test_learning_again_renews_and_moves(void **state)
{
	pins_learn(*state, 42, 7, NOW_MS);
	pins_learn(*state, 42, 8, NOW_MS + PIN_LIFETIME_MS / 2);
	assert_int_equal(pins_find(*state, 42, NOW_MS + PIN_LIFETIME_MS + 1), 8);
}

static void
test_a_full_set_gives_up_what_would_end_first(void **state)
{
	const uint64_t step = PINS_MAX / PINS_PER_SET;

	for (uint64_t i = 0; i < PINS_PER_SET; i++)
		pins_learn(*state, 42 + i * step, 1 + i, NOW_MS + i);
	for (uint64_t i = 0; i < PINS_PER_SET; i++)
		assert_int_equal(pins_find(*state, 42 + i * step, NOW_MS + 100), 1 + i);
	pins_learn(*state, 42, 1, NOW_MS + 50); /* the oldest has been used again */
	pins_learn(*state, 42 + PINS_PER_SET * step, 99, NOW_MS + 60);
	assert_int_equal(pins_find(*state, 42, NOW_MS + 100), 1);
	assert_int_equal(pins_find(*state, 42 + step, NOW_MS + 100), PIN_UNKNOWN);
	assert_int_equal(pins_find(*state, 42 + PINS_PER_SET * step, NOW_MS + 100), 99);
}

static void
test_a_million_ids_take_no_more_room_than_the_table_has(void **state)
{
	unsigned kept = 0;

	for (uint64_t i = 1; i <= 1000000; i++)
		pins_learn(*state, i * UINT64_C(0x9e3779b97f4a7c15), 5, NOW_MS + i);
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
		cmocka_unit_test_setup_teardown(test_a_million_ids_take_no_more_room_than_the_table_has, make, unmake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
