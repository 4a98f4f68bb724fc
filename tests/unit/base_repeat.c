/* Storms of like records are cut to a few, and what was left out is told. */
#include "unit.h"

#include "base/repeat.h"

static struct repeat_table table;

static int
empty(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	return 0;
}

static unsigned
storm(uint64_t key, uint64_t from_ms, unsigned count)
{
	unsigned passed = 0;
	uint64_t left_out;

	for (unsigned i = 0; i < count; i++)
		passed += repeat_passes(&table, key, from_ms + i, &left_out);
	return passed;
}

static void
test_the_first_few_of_a_period_pass(void **state)
{
	(void)state;
	assert_int_equal(storm(42, 1000, 100), REPEAT_BURST);
	assert_int_equal(storm(42, 1000 + REPEAT_PERIOD_MS - 100, 100), 0);
}

static void
test_the_next_period_tells_how_many_did_not(void **state)
{
	uint64_t left_out;

	(void)state;
	(void)storm(42, 1000, 100);
	assert_true(repeat_passes(&table, 42, 1000 + REPEAT_PERIOD_MS, &left_out));
	assert_int_equal(left_out, 100 - REPEAT_BURST);
	assert_true(repeat_passes(&table, 42, 1001 + REPEAT_PERIOD_MS, &left_out));
	assert_int_equal(left_out, 0);
}

static void
test_keys_are_counted_apart(void **state)
{
	(void)state;
	assert_int_equal(storm(42, 1000, 100), REPEAT_BURST);
	assert_int_equal(storm(43, 1000, 100), REPEAT_BURST);
	assert_int_equal(storm(42, 1200, 100), 0);
}

static void
test_a_key_in_anothers_place_displaces_it(void **state)
{
	uint64_t left_out;

	(void)state;
	(void)storm(42, 1000, 100);
	assert_true(repeat_passes(&table, 42 + REPEAT_ENTRIES, 1100, &left_out));
	assert_int_equal(left_out, 0);
	assert_int_equal(storm(42, 1101, 100), REPEAT_BURST);
}

static void
test_the_key_of_nought_is_a_key(void **state)
{
	(void)state;
	assert_int_equal(storm(0, 0, 100), REPEAT_BURST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_first_few_of_a_period_pass, empty),
		cmocka_unit_test_setup(test_the_next_period_tells_how_many_did_not, empty),
		cmocka_unit_test_setup(test_keys_are_counted_apart, empty),
		cmocka_unit_test_setup(test_a_key_in_anothers_place_displaces_it, empty),
		cmocka_unit_test_setup(test_the_key_of_nought_is_a_key, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
