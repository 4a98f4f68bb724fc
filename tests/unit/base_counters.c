/* Counters are found again by their keys, grow by pages, and what finds no room is told. */
#include "unit.h"

#include <pthread.h>

#include "base/counters.h"

struct seen {
	uint64_t count, total, largest;
};

static void
look(uint64_t key, uint64_t value, void *context)
{
	struct seen *seen = context;

	assert_true(key != 0);
	seen->count++;
	seen->total += value;
	seen->largest = value > seen->largest ? value : seen->largest;
}

static void
test_amounts_add_up_under_their_key(void **state)
{
	struct counters *counters = counters_new();
	struct seen seen = { 0 };

	(void)state;
	counters_add(counters, 7, 1);
	counters_add(counters, UINT64_MAX, 10);
	counters_add(counters, 7, 2);
	counters_each(counters, look, &seen);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.total, 13);
	assert_int_equal(seen.largest, 10);
	counters_free(&counters);
	assert_null(counters);
}

static void
test_many_keys_take_more_pages(void **state)
{
	const uint64_t keys = 10 * COUNTERS_PAGE_SLOTS;
	struct counters *counters = counters_new();
	struct seen seen = { 0 };

	(void)state;
	for (unsigned round = 0; round < 3; round++)
		for (uint64_t key = 1; key <= keys; key++)
			counters_add(counters, key << 14, 1);
	counters_each(counters, look, &seen);
	assert_int_equal(seen.count, keys);
	assert_int_equal(seen.total, 3 * keys);
	assert_int_equal(seen.largest, 3);
	assert_int_equal(counters_lost(counters), 0);
	counters_free(&counters);
}

static void
test_what_finds_no_room_is_counted_as_lost(void **state)
{
	const uint64_t keys = 2ULL * COUNTERS_PAGES_MAX * COUNTERS_PAGE_SLOTS;
	struct counters *counters = counters_new();
	struct seen seen = { 0 };

	(void)state;
	for (uint64_t key = 1; key <= keys; key++)
		counters_add(counters, key, 2);
	counters_each(counters, look, &seen);
	assert_true(seen.count <= (uint64_t)COUNTERS_PAGES_MAX * COUNTERS_PAGE_SLOTS);
	assert_true(seen.count > (uint64_t)COUNTERS_PAGES_MAX * COUNTERS_PAGE_SLOTS / 2);
	assert_int_equal(seen.total + counters_lost(counters), 2 * keys);
	counters_free(&counters);
}

#define ROUNDS 20000U

static void *
count_up(void *context)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		counters_add(context, 1 + i % 3000, 1);
	return NULL;
}

static void
test_a_reader_sees_counters_that_only_grow(void **state)
{
	struct counters *counters = counters_new();
	struct seen seen = { 0 };
	uint64_t before = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, count_up, counters), 0);
	while (before < ROUNDS) {
		seen = (struct seen){ 0 };
		counters_each(counters, look, &seen);
		assert_true(seen.total >= before);
		before = seen.total;
	}
	pthread_join(writer, NULL);
	assert_int_equal(before, ROUNDS);
	counters_free(&counters);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_amounts_add_up_under_their_key),
		cmocka_unit_test(test_many_keys_take_more_pages),
		cmocka_unit_test(test_what_finds_no_room_is_counted_as_lost),
		cmocka_unit_test(test_a_reader_sees_counters_that_only_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
