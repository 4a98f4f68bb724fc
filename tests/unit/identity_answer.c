/* What token endpoints answer, and what is made of it. */
#include "unit.h"

#include "identity/token_answer.h"

/* 2026-11-28T05:00:00Z */
#define NOW_S INT64_C(1795842000)

static const struct {
	const char *behaviour, *body;
	uint64_t lifetime_s;
} grants[] = {
	{ "a moment in a string, as Container Apps have it",
	    "{\"access_token\":\"a.b-c_d\",\"expires_on\":\"1795845600\",\"resource\":\"x\",\"token_type\":\"Bearer\"}",
	    3600 },
	{ "a moment as a number", "{\"access_token\":\"a\",\"expires_on\":1795845600}", 3600 },
	{ "a moment with a fraction", "{\"access_token\":\"a\",\"expires_on\":1795845600.25}", 3600 },
	{ "seconds as a number, as Entra ID has them",
	    "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"ext_expires_in\":3599,\"access_token\":\"a\"}", 3599 },
	{ "seconds in a string", "{\"access_token\":\"a\",\"expires_in\":\"3599\"}", 3599 },
	{ "the moment beats the seconds, which may count from the token's making",
	    "{\"access_token\":\"a\",\"expires_in\":\"86400\",\"expires_on\":\"1795842060\"}", 60 },
	{ "an empty moment leaves the seconds", "{\"access_token\":\"a\",\"expires_on\":\"\",\"expires_in\":60}", 60 },
	{ "a date", "{\"access_token\":\"a\",\"expires_on\":\"2026-11-28T06:00:00Z\"}", 3600 },
	{ "a date with a fraction and an offset",
	    "{\"access_token\":\"a\",\"expires_on\":\"2026-11-28T07:00:00.1234567+01:00\"}", 3600 },
	{ "a date west of Greenwich", "{\"access_token\":\"a\",\"expires_on\":\"2026-11-28T05:00:00-01:30\"}", 5400 },
	{ "a date as App Service had it", "{\"access_token\":\"a\",\"expires_on\":\"11/28/2026 06:00:00 +00:00\"}",
	    3600 },
	{ "an American date before noon", "{\"access_token\":\"a\",\"expires_on\":\"11/28/2026 6:00:00 AM +00:00\"}",
	    3600 },
	{ "an American date after noon", "{\"access_token\":\"a\",\"expires_on\":\"11/28/2026 1:00:00 PM +00:00\"}",
	    8 * 3600 },
	{ "a leap day is counted", "{\"access_token\":\"a\",\"expires_on\":\"2026-11-29T05:00:00Z\"}", 86400 },
	{ "an absurd life is cut", "{\"access_token\":\"a\",\"expires_in\":99999999999}", 604800 },
	{ "a bearer in small letters", "{\"access_token\":\"a\",\"expires_in\":60,\"token_type\":\"bearer\"}", 60 },
	{ "an escaped slash", "{\"access_token\":\"a\\/b\",\"expires_in\":60}", 60 },
};

static void
test_a_grant_is_read_in_all_its_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(grants); i++) {
		size_t length = strlen(grants[i].body);
		char *body = exact_copy(grants[i].body, length);
		struct token_answer answer;

		token_answer_read(200, slice_of(body, length), NOW_S * 1000, 0, SLICE_EMPTY, &answer);
		CHECK_TEXT(grants[i].behaviour, slice_from(answer.reason), "");
		CHECK_NUMBER(grants[i].behaviour, answer.verdict, TOKEN_GRANTED);
		CHECK_NUMBER(grants[i].behaviour, answer.lifetime_ms, grants[i].lifetime_s * 1000);
		CHECK(grants[i].behaviour, answer.token.length > 0 && answer.token.data[0] == 'a');
		token_answer_free(&answer);
		free(body);
	}
}

static const struct {
	const char *behaviour;
	unsigned status;
	const char *body;
	enum token_verdict verdict;
	const char *reason;
} failures[] = {
	{ "nothing", 200, "", TOKEN_LATER, "without a JSON object" },
	{ "a page", 200, "<html>", TOKEN_LATER, "without a JSON object" },
	{ "JSON cut short", 200, "{\"access_token\":\"a\",\"expires_in\":60", TOKEN_LATER, "without a JSON object" },
	{ "no token", 200, "{\"expires_in\":60}", TOKEN_LATER, "access_token" },
	{ "an empty token", 200, "{\"access_token\":\"\",\"expires_in\":60}", TOKEN_LATER, "access_token" },
	{ "two tokens", 200, "{\"access_token\":\"a\",\"access_token\":\"b\",\"expires_in\":60}", TOKEN_LATER,
	    "access_token" },
	{ "a token that is a number", 200, "{\"access_token\":12,\"expires_in\":60}", TOKEN_LATER, "access_token" },
	{ "a line end in the token", 200, "{\"access_token\":\"a\\r\\nb: c\",\"expires_in\":60}", TOKEN_LATER,
	    "access_token" },
	{ "a space in the token", 200, "{\"access_token\":\"a b\",\"expires_in\":60}", TOKEN_LATER, "access_token" },
	{ "a NUL in the token", 200, "{\"access_token\":\"a\\u0000b\",\"expires_in\":60}", TOKEN_LATER,
	    "access_token" },
	{ "a token of another type", 200, "{\"access_token\":\"a\",\"expires_in\":60,\"token_type\":\"pop\"}",
	    TOKEN_LATER, "no Bearer token" },
	{ "no end", 200, "{\"access_token\":\"a\"}", TOKEN_LATER, "expired already" },
	{ "an end in the past", 200, "{\"access_token\":\"a\",\"expires_on\":1795842000}", TOKEN_LATER,
	    "expired already" },
	{ "no seconds left", 200, "{\"access_token\":\"a\",\"expires_in\":0}", TOKEN_LATER, "expired already" },
	{ "negative seconds", 200, "{\"access_token\":\"a\",\"expires_in\":-60}", TOKEN_LATER, "expired already" },
	{ "an end beyond all numbers", 200, "{\"access_token\":\"a\",\"expires_on\":99999999999999999999}", TOKEN_LATER,
	    "expired already" },
	{ "a month of letters", 200, "{\"access_token\":\"a\",\"expires_on\":\"2026-Nov-28T06:00:00Z\"}", TOKEN_LATER,
	    "expired already" },
	{ "a thirteenth month", 200, "{\"access_token\":\"a\",\"expires_on\":\"2026-13-28T06:00:00Z\"}", TOKEN_LATER,
	    "expired already" },
	{ "a day without a month", 200, "{\"access_token\":\"a\",\"expires_on\":\"2027-00-28T06:00:00Z\"}", TOKEN_LATER,
	    "expired already" },
	{ "a day beyond its month", 200, "{\"access_token\":\"a\",\"expires_on\":\"2026-12-280T06:00:00Z\"}",
	    TOKEN_LATER, "expired already" },
	{ "an error that comes as 200", 200, "{\"error\":\"invalid_scope\",\"error_description\":\"AADSTS70011: no\"}",
	    TOKEN_LATER, "access_token: invalid_scope: AADSTS70011: no" },
	{ "an error that is cut", 503, "{\"message\":\"boo", TOKEN_LATER, "it answered 503" },
	{ "too many requests", 429, "{\"error\":{\"code\":\"429\",\"message\":\"slow down\"}}", TOKEN_LATER,
	    "it answered 429: 429: slow down" },
	{ "not found yet", 404, "", TOKEN_LATER, "it answered 404" },
	{ "broken", 500, "{\"message\":\"boom\",\"correlationId\":\"1\"}", TOKEN_LATER, "it answered 500: boom" },
	{ "being updated", 410, "", TOKEN_SOON, "it answered 410" },
	{ "a wrong secret", 401,
	    "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret.\\r\\nTrace "
	    "ID: 1\"}",
	    TOKEN_REFUSED, "it answered 401: invalid_client: AADSTS7000215: Invalid client secret." },
	{ "no such identity", 400, "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}",
	    TOKEN_REFUSED, "Identity not found" },
	{ "a redirect", 302, "", TOKEN_REFUSED, "it answered 302" },
	{ "control bytes are escaped", 400, "{\"error\":\"a\\u001b[31mb\"}", TOKEN_REFUSED, "a\\x1b[31mb" },
};

static void
test_a_failure_says_what_it_was(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(failures); i++) {
		size_t length = strlen(failures[i].body);
		char *body = exact_copy(failures[i].body, length);
		struct token_answer answer;

		token_answer_read(failures[i].status, slice_of(body, length), NOW_S * 1000, 0, SLICE_EMPTY, &answer);
		CHECK_NUMBER(failures[i].behaviour, answer.verdict, failures[i].verdict);
		if (slice_find(slice_from(answer.reason), slice_from(failures[i].reason)) < 0)
			fail_msg("%s: \"%s\" does not say \"%s\"", failures[i].behaviour, answer.reason,
			    failures[i].reason);
		CHECK_NUMBER(failures[i].behaviour, answer.token.length, 0);
		CHECK(failures[i].behaviour, answer.token.data == NULL);
		token_answer_free(&answer);
		free(body);
	}
}

static const struct {
	const char *behaviour, *secret, *text, *reason;
} echoes[] = {
	{ "nothing of it", "abcdefghijkl", "no", "it answered 400: no" },
	{ "all of it", "abcdefghijkl", "is abcdefghijkl right?", "it answered 400: a text that repeats" },
	{ "its first eight bytes", "abcdefghijkl", "abcdefgh", "it answered 400: a text that repeats" },
	{ "its last eight bytes", "abcdefghijkl", "efghijkl", "it answered 400: a text that repeats" },
	{ "seven bytes in a row may be chance", "abcdefghijkl", "bcdefgh", "it answered 400: bcdefgh" },
	{ "a short secret, whole", "abc", "xabcx", "it answered 400: a text that repeats" },
	{ "a short secret, in part", "abc", "ab", "it answered 400: ab" },
	{ "with percents", "a/b/c/d/e/f", "a%2Fb%2fc%2Fd%2Fe%2Ff", "it answered 400: a text that repeats" },
	{ "with percents beside one that is none", "a/b/c/d/e/f", "100% sure: a%2Fb%2fc%2Fd%2Fe%2Ff%2",
	    "it answered 400: a text that repeats" },
	{ "with escapes of JSON", "a/b/c/d/e/f", "a\\/b\\u002fc/d/e/f", "it answered 400: a text that repeats" },
	{ "no secret at all", "", "anything", "it answered 400: anything" },
};

static void
test_a_reason_does_not_repeat_the_secret(void **state)
{
	struct buffer body = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(echoes); i++) {
		struct token_answer answer;

		buffer_clear(&body);
		buffer_append_format(&body, "{\"error\":\"%s\"}", echoes[i].text);
		token_answer_read(400, buffer_slice(&body), NOW_S * 1000, 0, slice_from(echoes[i].secret), &answer);
		if (!slice_starts_with_nocase(slice_from(answer.reason), slice_from(echoes[i].reason)))
			fail_msg("%s: \"%s\"", echoes[i].behaviour, answer.reason);
		token_answer_free(&answer);
	}
	buffer_free(&body);
}

static void
test_the_longest_token_is_taken_and_a_longer_one_is_not(void **state)
{
	struct buffer body = { 0 };
	struct token_answer answer;

	(void)state;
	for (size_t longer = 0; longer < 2; longer++) {
		buffer_clear(&body);
		buffer_append_string(&body, "{\"expires_in\":60,\"access_token\":\"");
		for (size_t i = 0; i < TOKEN_MAX_BYTES - 2 + longer; i++)
			buffer_append_byte(&body, 'a');
		buffer_append_string(&body, "\"}");
		token_answer_read(200, buffer_slice(&body), NOW_S * 1000, 0, SLICE_EMPTY, &answer);
		assert_int_equal(answer.verdict, longer ? TOKEN_LATER : TOKEN_GRANTED);
		token_answer_free(&answer);
	}
	buffer_free(&body);
}

static void
test_a_long_reason_is_cut(void **state)
{
	struct buffer body = { 0 };
	struct token_answer answer;

	(void)state;
	buffer_append_string(&body, "{\"message\":\"");
	for (size_t i = 0; i < 100000; i++)
		buffer_append_byte(&body, i % 2 ? 'x' : '\\');
	buffer_append_string(&body, "\"}");
	token_answer_read(500, buffer_slice(&body), NOW_S * 1000, 0, SLICE_EMPTY, &answer);
	assert_true(strlen(answer.reason) < TOKEN_REASON_SIZE);
	token_answer_free(&answer);
	buffer_free(&body);
}

static void
test_a_span_counts_from_the_question_and_a_moment_does_not(void **state)
{
	struct token_answer answer;

	(void)state;
	token_answer_read(200, SLICE("{\"access_token\":\"a\",\"expires_in\":60}"), NOW_S * 1000, 1500, SLICE_EMPTY,
	    &answer);
	assert_int_equal(answer.lifetime_ms, 58500);
	token_answer_free(&answer);
	token_answer_read(200, SLICE("{\"access_token\":\"a\",\"expires_on\":1795842060}"), NOW_S * 1000, 1500,
	    SLICE_EMPTY, &answer);
	assert_int_equal(answer.lifetime_ms, 60000);
	token_answer_free(&answer);
}

static void
a_token_that_cannot_be_used_is_not_shown(void **state)
{
	static const char body[] = "{\"access_token\":\"TOKENTOKENTOKEN\",\"expires_in\":\"soon\",\"error\":\"e\","
				   "\"error_description\":\"TOKENTOKENTOKEN\",\"message\":\"TOKENTOKENTOKEN\"}";
	struct token_answer answer;

	(void)state;
	token_answer_read(200, slice_from(body), 0, 0, SLICE_EMPTY, &answer);
	assert_int_equal(answer.verdict, TOKEN_LATER);
	assert_null(strstr(answer.reason, "TOKEN"));
	token_answer_free(&answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_grant_is_read_in_all_its_forms),
		cmocka_unit_test(test_a_failure_says_what_it_was),
		cmocka_unit_test(test_a_reason_does_not_repeat_the_secret),
		cmocka_unit_test(test_the_longest_token_is_taken_and_a_longer_one_is_not),
		cmocka_unit_test(test_a_long_reason_is_cut),
		cmocka_unit_test(test_a_span_counts_from_the_question_and_a_moment_does_not),
		cmocka_unit_test(a_token_that_cannot_be_used_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
