/* sim/limiter.h and sim/pacing.h */
#include "unit.h"

#include "sim/limiter.h"
#include "sim/pacing.h"

#define START_MS 1000000U

static struct sim_quota
standard(uint64_t tokens, uint64_t requests)
{
	return (struct sim_quota){
		.tokens_per_minute = tokens,
		.requests_per_minute = requests,
		.token_window_ms = 60000,
		.request_window_ms = 10000,
	};
}

static void
requests_are_counted_in_slices_of_ten_seconds(void **state)
{
	struct sim_quota quota = standard(20000, 120);
	struct sim_limiter limiter;
	struct sim_verdict verdict;

	(void)state;
	sim_limiter_init(&limiter, &quota);
	for (unsigned i = 0; i < 20; i++) {
		sim_limiter_admit(&limiter, START_MS + i, 1, 16, &verdict);
		CHECK_NUMBER("the slice's share is let in", verdict.exceeded, SIM_LIMIT_NONE);
		CHECK_NUMBER("as published for 20,000 tokens", verdict.limit_requests, 20);
		CHECK_NUMBER("what is left is told", verdict.remaining_requests, 19 - i);
	}
	sim_limiter_admit(&limiter, START_MS + 3000, 1, 16, &verdict);
	CHECK_NUMBER("one more is refused", verdict.exceeded, SIM_LIMIT_REQUESTS);
	CHECK_NUMBER("until the slice ends", verdict.wait_ms, 7000);
	sim_limiter_admit(&limiter, START_MS + 9999, 1, 16, &verdict);
	CHECK_NUMBER("to its last millisecond", verdict.exceeded, SIM_LIMIT_REQUESTS);
	CHECK_NUMBER("which is waited for", verdict.wait_ms, 1);
	sim_limiter_admit(&limiter, START_MS + 10000, 1, 16, &verdict);
	CHECK_NUMBER("the next slice is a new one", verdict.exceeded, SIM_LIMIT_NONE);
	CHECK_NUMBER("with its whole share", verdict.remaining_requests, 19);
}

static void
tokens_are_counted_by_the_minute(void **state)
{
	struct sim_quota quota = standard(1000, 0);
	struct sim_limiter limiter;
	struct sim_verdict verdict;

	(void)state;
	sim_limiter_init(&limiter, &quota);
	sim_limiter_admit(&limiter, START_MS, 500, 400, &verdict);
	CHECK_NUMBER("within the quota", verdict.exceeded, SIM_LIMIT_NONE);
	CHECK_NUMBER("prompt and output are charged", verdict.remaining_tokens, 100);
	CHECK_NUMBER("no limit of requests is told", verdict.limit_requests, 0);
	sim_limiter_admit(&limiter, START_MS + 15000, 50, 51, &verdict);
	CHECK_NUMBER("beyond it", verdict.exceeded, SIM_LIMIT_TOKENS);
	CHECK_NUMBER("until the minute ends", verdict.wait_ms, 45000);
	CHECK_NUMBER("a refused request costs no tokens", verdict.remaining_tokens, 100);
	sim_limiter_admit(&limiter, START_MS + 15000, 50, 50, &verdict);
	CHECK_NUMBER("one that fits is let in", verdict.exceeded, SIM_LIMIT_NONE);
	sim_limiter_admit(&limiter, START_MS + 60000, 900, 100, &verdict);
	CHECK_NUMBER("the next minute is a new one", verdict.exceeded, SIM_LIMIT_NONE);
	sim_limiter_admit(&limiter, START_MS + 200000, 900, 101, &verdict);
	CHECK_NUMBER("more than a whole minute's never fits", verdict.exceeded, SIM_LIMIT_TOKENS);
	sim_limiter_reset(&limiter);
	sim_limiter_admit(&limiter, START_MS + 200001, 900, 100, &verdict);
	CHECK_NUMBER("reset forgets", verdict.exceeded, SIM_LIMIT_NONE);
}

static void
the_longer_of_two_waits_is_told(void **state)
{
	struct sim_quota quota = standard(100, 6);
	struct sim_limiter limiter;
	struct sim_verdict verdict;

	(void)state;
	sim_limiter_init(&limiter, &quota);
	sim_limiter_admit(&limiter, START_MS, 50, 40, &verdict);
	CHECK_NUMBER("the first", verdict.exceeded, SIM_LIMIT_NONE);
	sim_limiter_admit(&limiter, START_MS + 1, 50, 40, &verdict);
	CHECK_NUMBER("tokens last longer", verdict.exceeded, SIM_LIMIT_TOKENS);
	CHECK_NUMBER("than requests", verdict.wait_ms, 59999);
}

static void
no_quota_refuses_nothing(void **state)
{
	struct sim_quota quota = standard(0, 0);
	struct sim_limiter limiter;
	struct sim_verdict verdict;

	(void)state;
	sim_limiter_init(&limiter, &quota);
	for (unsigned i = 0; i < 10000; i++) {
		sim_limiter_admit(&limiter, START_MS, 1000000, 1000000, &verdict);
		CHECK_NUMBER("any number of any size", verdict.exceeded, SIM_LIMIT_NONE);
	}
}

static void
provisioned_throughput_is_a_leaky_bucket(void **state)
{
	/* 15 PTU of 4000 tokens a minute: 60,000 a minute, one a millisecond; the bucket holds ten seconds. */
	struct sim_quota quota = { .ptu = 15, .tokens_per_ptu = 4000, .output_weight = 4, .token_window_ms = 10000 };
	struct sim_limiter limiter;
	struct sim_verdict verdict;

	(void)state;
	sim_limiter_init(&limiter, &quota);
	sim_limiter_admit(&limiter, START_MS, 1000, 1000, &verdict);
	CHECK_NUMBER("the first is let in", verdict.exceeded, SIM_LIMIT_NONE);
	CHECK("output weighs four times", verdict.utilisation > 0.499 && verdict.utilisation < 0.501);
	sim_limiter_correct(&limiter, START_MS, 1000, 500);
	sim_limiter_admit(&limiter, START_MS, 2000, 2000, &verdict);
	CHECK_NUMBER("up to and beyond 100 %", verdict.exceeded, SIM_LIMIT_NONE);
	CHECK("what was estimated too high came back", verdict.utilisation > 1.299 && verdict.utilisation < 1.301);
	sim_limiter_admit(&limiter, START_MS + 1000, 1, 1, &verdict);
	CHECK_NUMBER("above it all are refused", verdict.exceeded, SIM_LIMIT_UTILISATION);
	CHECK_NUMBER("until it is below again", verdict.wait_ms, 2001);
	sim_limiter_admit(&limiter, START_MS + 3001, 1, 1, &verdict);
	CHECK_NUMBER("which the wait promised", verdict.exceeded, SIM_LIMIT_NONE);
	sim_limiter_admit(&limiter, START_MS + 900000, 0, 0, &verdict);
	CHECK("it drains to nothing, not below", verdict.utilisation >= 0 && verdict.utilisation < 0.001);
}

static void
models_have_their_published_rates(void **state)
{
	static const struct {
		const char *model;
		uint64_t tokens, weight;
	} cases[] = {
		{ "gpt-4o-2024-11-20", 2500, 3 },
		{ "gpt-4o-mini-2024-07-18", 37000, 3 },
		{ "gpt-4.1-nano", 59400, 4 },
		{ "gpt-4.1-mini", 14900, 4 },
		{ "gpt-4.1", 3000, 4 },
		{ "gpt-5-mini", 4750, 8 },
		{ "unheard-of", 2500, 3 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sim_quota quota = { 0 };

		sim_quota_set_rates(&quota, slice_from(cases[i].model));
		CHECK_NUMBER(cases[i].model, quota.tokens_per_ptu, cases[i].tokens);
		CHECK_NUMBER(cases[i].model, quota.output_weight, cases[i].weight);
	}
}

static void
tokens_are_paced_and_repeat_with_the_seed(void **state)
{
	struct sim_latency even = { .first_token_us = 1000, .per_token_us = 10 };
	struct sim_latency uneven = { .first_token_us = 1000000, .per_token_us = 1000, .jitter = 0.5 };
	struct random first, second;
	struct sim_pacing a, b;
	uint64_t before;

	(void)state;
	random_seed(&first, 7);
	random_seed(&second, 7);
	sim_pacing_init(&a, &even, &first);
	CHECK_NUMBER("the first token", sim_pacing_first(&a), 1000);
	CHECK_NUMBER("the next", sim_pacing_next(&a), 1010);
	CHECK_NUMBER("and the next", sim_pacing_next(&a), 1020);
	sim_pacing_init(&a, &uneven, &first);
	sim_pacing_init(&b, &uneven, &second);
	before = sim_pacing_first(&a);
	CHECK("within half of itself", before >= 500000 && before <= 1500000);
	CHECK_NUMBER("the same from the same seed", sim_pacing_first(&b), before);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t next = sim_pacing_next(&a);

		CHECK("intervals vary within half", next - before >= 499 && next - before <= 1500);
		CHECK_NUMBER("repeatably", sim_pacing_next(&b), next);
		before = next;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_counted_in_slices_of_ten_seconds),
		cmocka_unit_test(tokens_are_counted_by_the_minute),
		cmocka_unit_test(the_longer_of_two_waits_is_told),
		cmocka_unit_test(no_quota_refuses_nothing),
		cmocka_unit_test(provisioned_throughput_is_a_leaky_bucket),
		cmocka_unit_test(models_have_their_published_rates),
		cmocka_unit_test(tokens_are_paced_and_repeat_with_the_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
