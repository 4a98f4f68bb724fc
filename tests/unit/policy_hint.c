/* What throttled answers say about the wait, and what is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "policy/hint.h"

#define DEFAULT_MS 10000U
#define MIN_MS 1000U
#define MAX_MS 60000U

/* 2026-11-22T10:15:30Z, a Sunday. */
#define NOW_UNIX_MS INT64_C(1795342530000)

static const struct hint_limits usual_limits = { DEFAULT_MS, MIN_MS, MAX_MS };

static void
add_header(struct headers *headers, const char *name, const char *value)
{
	struct header *header = &headers->items[headers->count++];

	header->name = slice_from(name);
	header->value = slice_from(value);
	header->id = header_identify(header->name);
}

static struct hint
read_one(const char *name, const char *value, const struct hint_limits *limits)
{
	struct headers headers = { 0 };

	add_header(&headers, name, value);
	return hint_read(&headers, SLICE_EMPTY, NOW_UNIX_MS, limits);
}

static const struct {
	const char *behaviour, *name, *value;
	uint64_t want_ms;
	enum hint_source want_source;
	bool want_clamped;
} one_header[] = {
	{ "milliseconds are taken as they are", "retry-after-ms", "400", 400, HINT_RETRY_AFTER_MS, false },
	{ "a fraction rounds up", "retry-after-ms", "43.2", 44, HINT_RETRY_AFTER_MS, false },
	{ "the tiniest fraction rounds up", "retry-after-ms", "43.00000000000000000001", 44, HINT_RETRY_AFTER_MS,
	    false },
	{ "a fraction of zeros is whole", "retry-after-ms", "43.000000000000000000000", 43, HINT_RETRY_AFTER_MS,
	    false },
	{ "nines carry over", "retry-after-ms", "43.99999999999", 44, HINT_RETRY_AFTER_MS, false },
	{ "white space around it is passed over", "Retry-After-Ms", " \t400 ", 400, HINT_RETRY_AFTER_MS, false },
	{ "a short wait has a floor", "retry-after-ms", "3", HINT_FLOOR_MS, HINT_RETRY_AFTER_MS, true },
	{ "a fraction of a millisecond is positive", "retry-after-ms", "0.01", HINT_FLOOR_MS, HINT_RETRY_AFTER_MS,
	    true },
	{ "a short wait is not lengthened to the minimum", "retry-after-ms", "43", 43, HINT_RETRY_AFTER_MS, false },
	{ "the other spelling", "x-ms-retry-after-ms", "400", 400, HINT_RETRY_AFTER_MS, false },
	{ "zero makes no storm", "retry-after-ms", "0", MIN_MS, HINT_RETRY_AFTER_MS, true },
	{ "zero with a fraction of zeros", "retry-after-ms", "0.000", MIN_MS, HINT_RETRY_AFTER_MS, true },
	{ "less than zero is zero", "retry-after-ms", "-1", MIN_MS, HINT_RETRY_AFTER_MS, true },
	{ "minus nothing is zero", "retry-after-ms", "-0.5", MIN_MS, HINT_RETRY_AFTER_MS, true },
	{ "a huge negative one is zero", "retry-after", "-99999999999999999999999", MIN_MS, HINT_RETRY_AFTER, true },

	{ "seconds", "retry-after", "12", 12000, HINT_RETRY_AFTER, false },
	{ "seconds with a fraction", "retry-after", "0.5", 500, HINT_RETRY_AFTER, false },
	{ "seconds with a long fraction round up", "retry-after", "1.2345", 1235, HINT_RETRY_AFTER, false },
	{ "a fraction without a whole part", "retry-after", ".5", 500, HINT_RETRY_AFTER, false },
	{ "a point without a fraction", "retry-after", "2.", 2000, HINT_RETRY_AFTER, false },
	{ "a day is capped", "retry-after", "86400", MAX_MS, HINT_RETRY_AFTER, true },
	{ "a day of milliseconds is capped", "retry-after-ms", "86400000", MAX_MS, HINT_RETRY_AFTER_MS, true },
	{ "exactly the cap is not clamped", "retry-after", "60", MAX_MS, HINT_RETRY_AFTER, false },
	{ "what overflows 64 bits is capped", "retry-after", "18446744073709551616", MAX_MS, HINT_RETRY_AFTER, true },
	{ "what overflows once multiplied is capped", "retry-after", "18446744073709551615", MAX_MS, HINT_RETRY_AFTER,
	    true },
	{ "forty digits are capped", "retry-after", "9999999999999999999999999999999999999999", MAX_MS,
	    HINT_RETRY_AFTER, true },
	{ "leading zeros", "retry-after", "0000000000000000000000000000012", 12000, HINT_RETRY_AFTER, false },

	{ "not a number", "retry-after-ms", "NaN", DEFAULT_MS, HINT_NONE, false },
	{ "infinity", "retry-after", "inf", DEFAULT_MS, HINT_NONE, false },
	{ "minus infinity", "retry-after", "-Infinity", DEFAULT_MS, HINT_NONE, false },
	{ "hexadecimal", "retry-after", "0x10", DEFAULT_MS, HINT_NONE, false },
	{ "an exponent", "retry-after", "1e3", DEFAULT_MS, HINT_NONE, false },
	{ "a plus sign", "retry-after", "+5", DEFAULT_MS, HINT_NONE, false },
	{ "a comma for the point", "retry-after", "1,5", DEFAULT_MS, HINT_NONE, false },
	{ "two points", "retry-after", "1.5.2", DEFAULT_MS, HINT_NONE, false },
	{ "a lone sign", "retry-after", "-", DEFAULT_MS, HINT_NONE, false },
	{ "a lone point", "retry-after", ".", DEFAULT_MS, HINT_NONE, false },
	{ "two signs", "retry-after", "--1", DEFAULT_MS, HINT_NONE, false },
	{ "a space inside", "retry-after", "1 2", DEFAULT_MS, HINT_NONE, false },
	{ "nothing", "retry-after", "", DEFAULT_MS, HINT_NONE, false },
	{ "white space alone", "retry-after", " \t ", DEFAULT_MS, HINT_NONE, false },
	{ "words", "retry-after", "soon", DEFAULT_MS, HINT_NONE, false },
	{ "a unit is no part of seconds", "retry-after", "4s", DEFAULT_MS, HINT_NONE, false },

	{ "a date", "retry-after", "Sun, 22 Nov 2026 10:15:42 GMT", 12000, HINT_RETRY_AFTER, false },
	{ "a date with white space around it", "retry-after", " Sun, 22 Nov 2026 10:15:42 GMT ", 12000,
	    HINT_RETRY_AFTER, false },
	{ "a date of RFC 850", "retry-after", "Sunday, 22-Nov-26 10:15:42 GMT", 12000, HINT_RETRY_AFTER, false },
	{ "a date of asctime", "retry-after", "Sun Nov 22 10:15:42 2026", 12000, HINT_RETRY_AFTER, false },
	{ "a date that is now", "retry-after", "Sun, 22 Nov 2026 10:15:30 GMT", MIN_MS, HINT_RETRY_AFTER, true },
	{ "a date in the past", "retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", MIN_MS, HINT_RETRY_AFTER, true },
	{ "a date of RFC 850 in the past", "retry-after", "Sunday, 06-Nov-94 08:49:37 GMT", MIN_MS, HINT_RETRY_AFTER,
	    true },
	{ "a date of asctime with one digit", "retry-after", "Sun Nov  6 08:49:37 1994", MIN_MS, HINT_RETRY_AFTER,
	    true },
	{ "a date far ahead is capped", "retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", MAX_MS, HINT_RETRY_AFTER,
	    true },
	{ "a leap second", "retry-after", "Sun, 22 Nov 2026 10:15:60 GMT", 30000, HINT_RETRY_AFTER, false },
	{ "the year 0", "retry-after", "Sat, 01 Jan 0000 00:00:00 GMT", MIN_MS, HINT_RETRY_AFTER, true },
	{ "a date in another zone", "retry-after", "Sun, 22 Nov 2026 10:15:42 CET", DEFAULT_MS, HINT_NONE, false },
	{ "a date without its zone", "retry-after", "Sun, 22 Nov 2026 10:15:42", DEFAULT_MS, HINT_NONE, false },
	{ "a date and more", "retry-after", "Sun, 22 Nov 2026 10:15:42 GMT!", DEFAULT_MS, HINT_NONE, false },
	{ "a thirteenth month", "retry-after", "Sun, 22 Foo 2026 10:15:42 GMT", DEFAULT_MS, HINT_NONE, false },
	{ "a day 32", "retry-after", "Sun, 32 Nov 2026 10:15:42 GMT", DEFAULT_MS, HINT_NONE, false },
	{ "a day 0", "retry-after", "Sun, 00 Nov 2026 10:15:42 GMT", DEFAULT_MS, HINT_NONE, false },
	{ "an hour 24", "retry-after", "Sun, 22 Nov 2026 24:15:42 GMT", DEFAULT_MS, HINT_NONE, false },
	{ "a weekday alone", "retry-after", "Sun", DEFAULT_MS, HINT_NONE, false },
	{ "a long weekday with a short date", "retry-after", "Sunday, 22 Nov 2026 10:15:42 GMT", DEFAULT_MS, HINT_NONE,
	    false },
	{ "an ISO date", "retry-after", "2026-11-22T10:15:42Z", DEFAULT_MS, HINT_NONE, false },

	{ "resets in seconds", "x-ratelimit-reset-requests", "4", 4000, HINT_RESET_REQUESTS, false },
	{ "the odd spelling that Azure once used", "x-rate-limit-reset-tokens", "55", 55000, HINT_RESET_TOKENS, false },
	{ "the odd spelling of requests", "x-rate-limit-reset-requests", "5", 5000, HINT_RESET_REQUESTS, false },
	{ "resets with a unit", "x-ratelimit-reset-tokens", "4s", 4000, HINT_RESET_TOKENS, false },
	{ "resets in milliseconds", "x-ratelimit-reset-tokens", "400ms", 400, HINT_RESET_TOKENS, false },
	{ "resets in two units", "x-ratelimit-reset-tokens", "0m30s", 30000, HINT_RESET_TOKENS, false },
	{ "resets in fractions", "x-ratelimit-reset-tokens", "1.5s", 1500, HINT_RESET_TOKENS, false },
	{ "resets in minutes and seconds are capped", "x-ratelimit-reset-tokens", "1m30s", MAX_MS, HINT_RESET_TOKENS,
	    true },
	{ "an hour is capped", "x-ratelimit-reset-tokens", "1h", MAX_MS, HINT_RESET_TOKENS, true },
	{ "six minutes are capped", "x-ratelimit-reset-tokens", "6m0s", MAX_MS, HINT_RESET_TOKENS, true },
	{ "a day is capped", "x-ratelimit-reset-tokens", "1d2h", MAX_MS, HINT_RESET_TOKENS, true },
	{ "ages of days are capped", "x-ratelimit-reset-tokens", "99999999999999999999d", MAX_MS, HINT_RESET_TOKENS,
	    true },
	{ "resets of -1", "x-ratelimit-reset-requests", "-1", MIN_MS, HINT_RESET_REQUESTS, true },
	{ "resets of 0", "x-ratelimit-reset-tokens", "0", MIN_MS, HINT_RESET_TOKENS, true },
	{ "resets of 0s", "x-ratelimit-reset-tokens", "0s", MIN_MS, HINT_RESET_TOKENS, true },
	{ "resets of -1s", "x-ratelimit-reset-tokens", "-1s", MIN_MS, HINT_RESET_TOKENS, true },
	{ "an unknown unit", "x-ratelimit-reset-tokens", "4y", DEFAULT_MS, HINT_NONE, false },
	{ "a unit without a number", "x-ratelimit-reset-tokens", "s", DEFAULT_MS, HINT_NONE, false },
	{ "a number without its unit", "x-ratelimit-reset-tokens", "1m30", DEFAULT_MS, HINT_NONE, false },
	{ "a sign in the middle", "x-ratelimit-reset-tokens", "1m-30s", DEFAULT_MS, HINT_NONE, false },
	{ "empty resets", "x-ratelimit-reset-tokens", "", DEFAULT_MS, HINT_NONE, false },

	{ "other fields say nothing", "x-ratelimit-remaining-tokens", "4", DEFAULT_MS, HINT_NONE, false },
};

static void
reads_one_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(one_header); i++) {
		struct hint hint = read_one(one_header[i].name, one_header[i].value, &usual_limits);

		if (hint.wait_ms != one_header[i].want_ms || hint.source != one_header[i].want_source ||
		    hint.clamped != one_header[i].want_clamped)
			fail_msg("%s: \"%s\" gives %llu ms from %s%s", one_header[i].behaviour, one_header[i].value,
			    (unsigned long long)hint.wait_ms, hint_source_name(hint.source),
			    hint.clamped ? ", clamped" : "");
	}
}

static const struct {
	const char *behaviour, *body;
	uint64_t want_ms;
	enum hint_source want_source;
} bodies[] = {
	{ "the classic one",
	    "{\"error\":{\"code\":\"429\",\"message\":\"Requests to the ChatCompletions_Create Operation under Azure "
	    "OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. "
	    "Please retry after 7 seconds. Please go here: https://aka.ms/oai/quotaincrease\"}}",
	    7000, HINT_BODY },
	{ "one second", "retry after 1 second.", 1000, HINT_BODY },
	{ "no letter case", "PLEASE RETRY AFTER 45 SECONDS", 45000, HINT_BODY },
	{ "milliseconds", "retry after 400 milliseconds", 400, HINT_BODY },
	{ "ms", "retry after 400ms", 400, HINT_BODY },
	{ "minutes", "retry after 0.5 minutes", 30000, HINT_BODY },
	{ "a day", "Please retry after 86400 seconds", MAX_MS, HINT_BODY },
	{ "zero", "Please retry after 0 seconds", MIN_MS, HINT_BODY },
	{ "the second phrase has the number", "You may retry after a while; retry after 6 seconds", 6000, HINT_BODY },
	{ "a number of something else", "retry after 20 requests, or retry after 6 seconds", 6000, HINT_BODY },
	{ "a date", "retry after 2026-11-22", DEFAULT_MS, HINT_NONE },
	{ "no unit", "retry after 6", DEFAULT_MS, HINT_NONE },
	{ "no number", "retry after", DEFAULT_MS, HINT_NONE },
	{ "cut off", "Please retry after 4", DEFAULT_MS, HINT_NONE },
	{ "nothing of the kind", "{\"error\":{\"message\":\"no\"}}", DEFAULT_MS, HINT_NONE },
	{ "empty", "", DEFAULT_MS, HINT_NONE },
};

static void
reads_the_body(void **state)
{
	const struct headers none = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		struct hint hint = hint_read(&none, slice_from(bodies[i].body), NOW_UNIX_MS, &usual_limits);

		if (hint.wait_ms != bodies[i].want_ms || hint.source != bodies[i].want_source)
			fail_msg("%s: %llu ms from %s", bodies[i].behaviour, (unsigned long long)hint.wait_ms,
			    hint_source_name(hint.source));
	}
}

static const struct {
	const char *behaviour;
	const char *fields[5][2];
	const char *body;
	uint64_t want_ms;
	enum hint_source want_source;
} together[] = {
	{ "retry-after-ms beats retry-after", { { "retry-after", "9" }, { "retry-after-ms", "400" } }, "", 400,
	    HINT_RETRY_AFTER_MS },
	{ "x-ms-retry-after-ms beats retry-after", { { "retry-after", "9" }, { "x-ms-retry-after-ms", "400" } }, "",
	    400, HINT_RETRY_AFTER_MS },
	{ "retry-after-ms beats its sister", { { "x-ms-retry-after-ms", "300" }, { "retry-after-ms", "400" } }, "", 400,
	    HINT_RETRY_AFTER_MS },
	{ "retry-after beats the resets", { { "x-ratelimit-reset-tokens", "20" }, { "retry-after", "9" } }, "", 9000,
	    HINT_RETRY_AFTER },
	{ "the longer reset: tokens", { { "x-ratelimit-reset-requests", "3" }, { "x-ratelimit-reset-tokens", "20" } },
	    "", 20000, HINT_RESET_TOKENS },
	{ "the longer reset: requests", { { "x-ratelimit-reset-requests", "20" }, { "x-ratelimit-reset-tokens", "3" } },
	    "", 20000, HINT_RESET_REQUESTS },
	{ "the positive reset", { { "x-ratelimit-reset-requests", "-1" }, { "x-ratelimit-reset-tokens", "3" } }, "",
	    3000, HINT_RESET_TOKENS },
	{ "the readable reset", { { "x-ratelimit-reset-requests", "4" }, { "x-ratelimit-reset-tokens", "?" } }, "",
	    4000, HINT_RESET_REQUESTS },
	{ "the longer of both spellings",
	    { { "x-ratelimit-reset-tokens", "3" }, { "x-rate-limit-reset-tokens", "20" } }, "", 20000,
	    HINT_RESET_TOKENS },
	{ "the resets beat the body", { { "x-ratelimit-reset-tokens", "20" } }, "retry after 5 seconds", 20000,
	    HINT_RESET_TOKENS },
	{ "a positive hint beats a zero before it", { { "retry-after-ms", "0" }, { "retry-after", "9" } }, "", 9000,
	    HINT_RETRY_AFTER },
	{ "even one in the body", { { "retry-after-ms", "0" }, { "x-ratelimit-reset-requests", "-1" } },
	    "retry after 5 seconds", 5000, HINT_BODY },
	{ "of zeros the first in precedence is named", { { "x-ratelimit-reset-tokens", "0" }, { "retry-after", "0" } },
	    "retry after 0 seconds", MIN_MS, HINT_RETRY_AFTER },
	{ "garbage is no zero", { { "retry-after-ms", "NaN" }, { "x-ratelimit-reset-tokens", "0" } }, "", MIN_MS,
	    HINT_RESET_TOKENS },
	{ "a field given twice: the readable one", { { "retry-after", "soon" }, { "retry-after", "9" } }, "", 9000,
	    HINT_RETRY_AFTER },
	{ "a field given twice: the positive one", { { "retry-after", "0" }, { "retry-after", "9" } }, "", 9000,
	    HINT_RETRY_AFTER },
	{ "a field given twice: the first", { { "retry-after", "8" }, { "retry-after", "9" } }, "", 8000,
	    HINT_RETRY_AFTER },
	{ "nothing at all", { { NULL, NULL } }, "", DEFAULT_MS, HINT_NONE },
};

static void
weighs_several_places(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(together); i++) {
		struct headers headers = { 0 };
		struct hint hint;

		for (size_t j = 0; j < ARRAY_COUNT(together[i].fields) && together[i].fields[j][0]; j++)
			add_header(&headers, together[i].fields[j][0], together[i].fields[j][1]);
		hint = hint_read(&headers, slice_from(together[i].body), NOW_UNIX_MS, &usual_limits);
		if (hint.wait_ms != together[i].want_ms || hint.source != together[i].want_source)
			fail_msg("%s: %llu ms from %s", together[i].behaviour, (unsigned long long)hint.wait_ms,
			    hint_source_name(hint.source));
	}
}

static const struct {
	const char *behaviour, *value;
	struct hint_limits limits;
	uint64_t want_ms;
} odd_limits[] = {
	{ "the cap beats the minimum", "0", { 10000, 5000, 2000 }, 2000 },
	{ "the cap beats the default", "?", { 10000, 5000, 2000 }, 2000 },
	{ "the cap beats the floor", "1", { 10, 10, 5 }, 5 },
	{ "never 0 by the cap", "9", { 10, 10, 0 }, 1 },
	{ "never 0 by the minimum", "0", { 10, 0, 60000 }, 1 },
	{ "never 0 by the default", "?", { 0, 10, 60000 }, 1 },
	{ "no cap to speak of", "99999999999999999999999", { 10, 10, UINT64_MAX }, UINT64_MAX },
};

static void
keeps_to_odd_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(odd_limits); i++) {
		struct hint hint = read_one("retry-after-ms", odd_limits[i].value, &odd_limits[i].limits);

		if (hint.wait_ms != odd_limits[i].want_ms)
			fail_msg("%s: %llu ms", odd_limits[i].behaviour, (unsigned long long)hint.wait_ms);
	}
}

static void
survives_odd_clocks(void **state)
{
	static const int64_t clocks[] = { INT64_MIN, -1, 0, INT64_MAX };
	static const char *const dates[] = { "Sat, 01 Jan 0000 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
		"Friday, 31-Dec-99 23:59:59 GMT", "Thu Jan  1 00:00:00 1970" };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(clocks); i++) {
		for (size_t j = 0; j < ARRAY_COUNT(dates); j++) {
			struct headers headers = { 0 };
			struct hint hint;

			add_header(&headers, "retry-after", dates[j]);
			hint = hint_read(&headers, SLICE_EMPTY, clocks[i], &usual_limits);
			assert_int_equal(hint.source, HINT_RETRY_AFTER);
			assert_true(hint.wait_ms >= HINT_FLOOR_MS && hint.wait_ms <= MAX_MS);
		}
	}
}

/* Against dates whose Unix time is known. */
static void
counts_days_rightly(void **state)
{
	static const struct {
		const char *date;
		int64_t unix_s;
	} dates[] = {
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
		{ "Tue, 29 Feb 2000 12:00:00 GMT", 951825600 },
		{ "Wed, 01 Mar 2000 00:00:00 GMT", 951868800 },
		{ "Sat, 31 Dec 2022 23:59:59 GMT", 1672531199 },
		{ "Thu, 29 Feb 2024 00:00:00 GMT", 1709164800 },
		{ "Mon, 01 Mar 2100 00:00:00 GMT", 4107542400 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(dates); i++) {
		struct headers headers = { 0 };
		struct hint hint;

		add_header(&headers, "retry-after", dates[i].date);
		hint = hint_read(&headers, SLICE_EMPTY, dates[i].unix_s * 1000 - 12345, &usual_limits);
		if (hint.wait_ms != 12345)
			fail_msg("%s: %llu ms", dates[i].date, (unsigned long long)hint.wait_ms);
	}
}

static void
tells_callers_sane_waits(void **state)
{
	static const struct {
		uint64_t wait_ms, want_ms, want_seconds;
	} cases[] = {
		{ 0, 1, 1 },
		{ 1, 1, 1 },
		{ 999, 999, 1 },
		{ 1000, 1000, 1 },
		{ 1001, 1001, 2 },
		{ 59001, 59001, 60 },
		{ 60000, 60000, 60 },
		{ 86400000, 60000, 60 },
		{ UINT64_MAX, 60000, 60 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		assert_int_equal(hint_for_caller_ms(cases[i].wait_ms), cases[i].want_ms);
		assert_int_equal(hint_for_caller_seconds(cases[i].wait_ms), cases[i].want_seconds);
	}
}

static void
names_its_sources(void **state)
{
	(void)state;
	assert_string_equal(hint_source_name(HINT_NONE), "default");
	assert_string_equal(hint_source_name(HINT_RETRY_AFTER_MS), "retry-after-ms");
	assert_string_equal(hint_source_name(HINT_RETRY_AFTER), "retry-after");
	assert_string_equal(hint_source_name(HINT_RESET_REQUESTS), "x-ratelimit-reset-requests");
	assert_string_equal(hint_source_name(HINT_RESET_TOKENS), "x-ratelimit-reset-tokens");
	assert_string_equal(hint_source_name(HINT_BODY), "body");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_one_header),
		cmocka_unit_test(reads_the_body),
		cmocka_unit_test(weighs_several_places),
		cmocka_unit_test(keeps_to_odd_limits),
		cmocka_unit_test(survives_odd_clocks),
		cmocka_unit_test(counts_days_rightly),
		cmocka_unit_test(tells_callers_sane_waits),
		cmocka_unit_test(names_its_sources),
	};

	return cmocka_run_group_tests_name("policy/hint", tests, NULL, NULL);
}
