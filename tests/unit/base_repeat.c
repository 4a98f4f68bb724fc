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
test_keys_that_share_a_set_do_not_wear_each_other_out(void **state)
{
	uint64_t left_out, passed = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		for (unsigned k = 0; k < REPEAT_WAYS; k++)
			passed += repeat_passes(&table, 42 + k * REPEAT_ENTRIES, 1000 + i, &left_out);
	assert_int_equal(passed, REPEAT_WAYS * REPEAT_BURST);
}

static void
test_where_a_set_is_full_the_oldest_goes(void **state)
{
	uint64_t left_out;

	(void)state;
	for (unsigned k = 0; k < REPEAT_WAYS; k++)
		assert_int_equal(storm(42 + k * REPEAT_ENTRIES, 1000 + 10 * k, 10), REPEAT_BURST);
	assert_true(repeat_passes(&table, 42 + REPEAT_WAYS * REPEAT_ENTRIES, 1200, &left_out));
	assert_int_equal(left_out, 0);
	for (unsigned k = 1; k < REPEAT_WAYS; k++)
		assert_int_equal(storm(42 + k * REPEAT_ENTRIES, 1300, 10), 0);
	assert_int_equal(storm(42, 1300, 10), REPEAT_BURST);
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
		cmocka_unit_test_setup(test_keys_that_share_a_set_do_not_wear_each_other_out, empty),
		cmocka_unit_test_setup(test_where_a_set_is_full_the_oldest_goes, empty),
		cmocka_unit_test_setup(test_the_key_of_nought_is_a_key, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
