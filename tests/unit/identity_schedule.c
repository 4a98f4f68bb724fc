/* When tokens are asked for again. */
#include "unit.h"

#include "identity/token_schedule.h"

#define NOW_MS UINT64_C(1000000)
#define MINUTE_MS UINT64_C(60000)

static const struct {
	const char *behaviour;
	uint64_t life_ms, refresh_ms;
} lives[] = {
	{ "a day: at half of it", 1440 * MINUTE_MS, 720 * MINUTE_MS },
	{ "just over two hours: at half", 120 * MINUTE_MS + 2, 60 * MINUTE_MS + 1 },
	{ "two hours: five minutes early", 120 * MINUTE_MS, 115 * MINUTE_MS },
	{ "an hour: five minutes early", 60 * MINUTE_MS, 55 * MINUTE_MS },
	{ "ten minutes: five minutes early", 10 * MINUTE_MS, 5 * MINUTE_MS },
	{ "under ten minutes: at half", 8 * MINUTE_MS, 4 * MINUTE_MS },
	{ "seconds: at half", 2000, 1000 },
	{ "no time at all makes no storm", 0, TOKEN_REFRESH_LEAST_MS },
};

static void
test_a_token_is_refreshed_ahead(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(lives); i++)
		CHECK_NUMBER(lives[i].behaviour, token_refresh_at_ms(NOW_MS, NOW_MS + lives[i].life_ms),
		    NOW_MS + lives[i].refresh_ms);
	CHECK_NUMBER("an end in the past", token_refresh_at_ms(NOW_MS, NOW_MS - 5), NOW_MS + TOKEN_REFRESH_LEAST_MS);
}

static const struct {
	const char *behaviour;
	enum token_verdict verdict;
	unsigned failures;
	uint64_t retry_after_ms, least_ms, most_ms;
} waits[] = {
	{ "the first is short", TOKEN_LATER, 1, 0, 400, 600 },
	{ "then twice as long", TOKEN_LATER, 2, 0, 800, 1200 },
	{ "and again", TOKEN_LATER, 4, 0, 3200, 4800 },
	{ "up to a minute", TOKEN_LATER, 1000000, 0, 48000, 72000 },
	{ "what is asked for is given", TOKEN_LATER, 1, 7000, 7000, 7000 },
	{ "a shorter wish changes nothing", TOKEN_LATER, 8, 1, 48000, 72000 },
	{ "a day is cut", TOKEN_LATER, 1, 86400000, 300000, 300000 },
	{ "an update is over soon", TOKEN_SOON, 100, 0, 4000, 6000 },
	{ "what must be mended is not pressed for", TOKEN_REFUSED, 1, 0, 24000, 36000 },
};

static void
test_failures_are_followed_by_longer_and_longer_waits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(waits); i++) {
		for (uint64_t random = 0; random < 100; random++) {
			uint64_t wait_ms = token_retry_wait_ms(waits[i].verdict, waits[i].failures,
			    waits[i].retry_after_ms, random * UINT64_C(0x9e3779b97f4a7c15));

			CHECK(waits[i].behaviour, wait_ms >= waits[i].least_ms && wait_ms <= waits[i].most_ms);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_token_is_refreshed_ahead),
		cmocka_unit_test(test_failures_are_followed_by_longer_and_longer_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
