/* Rests of names without a number are remembered, each by itself, and displaced rather than piled up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policy/unlisted.h"

static struct unlisted_table table;

static int
empty(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	return 0;
}

static void
expect(uint64_t key, uint64_t now_ms, uint64_t until_ms, enum rest_reason reason)
{
	struct unlisted_rest rest;

	assert_true(unlisted_rests(&table, key, now_ms, &rest));
	assert_int_equal(rest.until_ms, until_ms);
	assert_int_equal(rest.reason, reason);
}

static void
nothing_rests_at_first(void **state)
{
	struct unlisted_rest rest;

	(void)state;
	assert_false(unlisted_rests(&table, 42, 0, &rest));
	assert_false(unlisted_rests(&table, 0, 0, &rest));
}

static void
each_rests_for_its_own_reason_until_its_time_is_over(void **state)
{
	struct unlisted_rest rest;

	(void)state;
	unlisted_begin(&table, 42, 1000, REST_MISSING_DEPLOYMENT);
	unlisted_begin(&table, 43, 2000, REST_THROTTLED);
	expect(42, 0, 1000, REST_MISSING_DEPLOYMENT);
	expect(42, 999, 1000, REST_MISSING_DEPLOYMENT);
	assert_false(unlisted_rests(&table, 42, 1000, &rest));
	expect(43, 1999, 2000, REST_THROTTLED);
	assert_false(unlisted_rests(&table, 44, 0, &rest));
}

static void
a_newer_rest_displaces_the_one_that_is_over_first(void **state)
{
	struct unlisted_rest rest;

	(void)state;
	for (uint64_t i = 0; i < UNLISTED_PLACES; i++)
		unlisted_begin(&table, 42 + i * UNLISTED_ROWS, i == 2 ? 500 : 1000 + i, REST_SERVER_ERROR);
	for (uint64_t i = 0; i < UNLISTED_PLACES; i++)
		expect(42 + i * UNLISTED_ROWS, 0, i == 2 ? 500 : 1000 + i, REST_SERVER_ERROR);
	unlisted_begin(&table, 42 + 9 * UNLISTED_ROWS, 2000, REST_THROTTLED);
	expect(42 + 9 * UNLISTED_ROWS, 0, 2000, REST_THROTTLED);
	assert_false(unlisted_rests(&table, 42 + 2 * UNLISTED_ROWS, 0, &rest));
	expect(42, 0, 1000, REST_SERVER_ERROR);
}

static void
a_rest_that_begins_anew_takes_no_second_place(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < UNLISTED_PLACES; i++)
		unlisted_begin(&table, 42 + i * UNLISTED_ROWS, 1000 + i, REST_SERVER_ERROR);
	for (uint64_t until_ms = 2000; until_ms < 2010; until_ms++)
		unlisted_begin(&table, 42 + 3 * UNLISTED_ROWS, until_ms, REST_THROTTLED);
	for (uint64_t i = 0; i < 3; i++)
		expect(42 + i * UNLISTED_ROWS, 0, 1000 + i, REST_SERVER_ERROR);
	expect(42 + 3 * UNLISTED_ROWS, 0, 2009, REST_THROTTLED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_rests_at_first, empty),
		cmocka_unit_test_setup(each_rests_for_its_own_reason_until_its_time_is_over, empty),
		cmocka_unit_test_setup(a_newer_rest_displaces_the_one_that_is_over_first, empty),
		cmocka_unit_test_setup(a_rest_that_begins_anew_takes_no_second_place, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
