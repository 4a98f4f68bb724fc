/* How much a client may use in a minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "policy/quota.h"

#define NOW_MS UINT64_C(1000000)

static void
test_a_full_bucket_gives_a_minutes_worth_at_once(void **state)
{
	struct quota *quota = quota_new("app");

	(void)state;
	for (int i = 0; i < 600; i++)
		assert_int_equal(quota_take(quota, 600, 0, NOW_MS), 0);
	assert_int_equal(quota_take(quota, 600, 0, NOW_MS), 100);
	quota_release(&quota);
	assert_null(quota);
}

static void
test_it_is_filled_evenly(void **state)
{
	struct quota *quota = quota_new("app");

	(void)state;
	for (int i = 0; i < 60; i++)
		assert_int_equal(quota_take(quota, 60, 0, NOW_MS), 0);
	assert_int_equal(quota_take(quota, 60, 0, NOW_MS + 400), 600);
	assert_int_equal(quota_take(quota, 60, 0, NOW_MS + 1000), 0);
	assert_int_not_equal(quota_take(quota, 60, 0, NOW_MS + 1000), 0);
	/* A long rest fills it, and no more than that. */
	for (int i = 0; i < 60; i++)
		assert_int_equal(quota_take(quota, 60, 0, NOW_MS + 3600000), 0);
	assert_int_equal(quota_take(quota, 60, 0, NOW_MS + 3600000), 1000);
	quota_release(&quota);
}

static void
test_a_refused_request_takes_nothing(void **state)
{
	struct quota *quota = quota_new("app");

	(void)state;
	assert_int_equal(quota_take(quota, 1, 0, NOW_MS), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(quota_take(quota, 1, 0, NOW_MS), 60000);
	assert_int_equal(quota_take(quota, 1, 0, NOW_MS + 60000), 0);
	quota_release(&quota);
}

static void
test_tokens_are_paid_for_afterwards_and_debt_is_waited_off(void **state)
{
	struct quota *quota = quota_new("app");

	(void)state;
	assert_int_equal(quota_take(quota, 0, 1000, NOW_MS), 0);
	quota_spend_tokens(quota, 1000, 999, NOW_MS);
	assert_int_equal(quota_take(quota, 0, 1000, NOW_MS), 0); /* one is left */
	quota_spend_tokens(quota, 1000, 501, NOW_MS);
	assert_in_range(quota_take(quota, 0, 1000, NOW_MS), 30000, 30001); /* 500 in debt: half a minute */
	assert_int_equal(quota_take(quota, 0, 1000, NOW_MS + 30100), 0);
	quota_release(&quota);
}

static void
test_absurd_usage_bars_a_client_for_an_hour_at_most(void **state)
{
	struct quota *quota = quota_new("app");

	(void)state;
	quota_spend_tokens(quota, 1, UINT64_MAX, NOW_MS);
	quota_spend_tokens(quota, 1, UINT64_MAX, NOW_MS);
	assert_in_range(quota_take(quota, 0, 1, NOW_MS), 1, 3600000);
	quota_release(&quota);
}

static void
test_without_limits_everything_is_allowed(void **state)
{
	struct quota *quota = quota_new("app");

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(quota_take(quota, 0, 0, NOW_MS), 0);
	quota_spend_tokens(quota, 0, 1000000, NOW_MS);
	assert_int_equal(quota_take(quota, 0, 0, NOW_MS), 0);
	quota_release(&quota);
}

struct taker {
	struct quota *quota;
	unsigned granted;
};

static void *
take_many(void *context)
{
	struct taker *taker = context;

	for (int i = 0; i < 1000; i++)
		taker->granted += quota_take(taker->quota, 1500, 0, NOW_MS) == 0;
	return NULL;
}

static void
test_workers_together_take_no_more_than_the_limit(void **state)
{
	struct taker takers[4] = { 0 };
	pthread_t threads[4];
	struct quota *quota = quota_new("app");
	unsigned granted = 0;

	(void)state;
	for (int i = 0; i < 4; i++) {
		takers[i].quota = quota;
		assert_int_equal(pthread_create(&threads[i], NULL, take_many, &takers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		granted += takers[i].granted;
	}
	assert_int_equal(granted, 1500);
	quota_release(&quota);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_bucket_gives_a_minutes_worth_at_once),
		cmocka_unit_test(test_it_is_filled_evenly),
		cmocka_unit_test(test_a_refused_request_takes_nothing),
		cmocka_unit_test(test_tokens_are_paid_for_afterwards_and_debt_is_waited_off),
		cmocka_unit_test(test_absurd_usage_bars_a_client_for_an_hour_at_most),
		cmocka_unit_test(test_without_limits_everything_is_allowed),
		cmocka_unit_test(test_workers_together_take_no_more_than_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
