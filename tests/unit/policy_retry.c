/* What an attempt's outcome means, and what the caller gets when nothing succeeded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "policy/retry.h"

#define SERVER_ERROR_MS 10000U

#define ELSEWHERE \
	{ \
		.retry = true \
	}
#define PASS \
	{ \
		.success = true \
	}
#define SERVER_ERROR \
	{ \
		.retry = true, .scope = REST_PAIR, .reason = REST_SERVER_ERROR, .rest_ms = SERVER_ERROR_MS \
	}
#define UNSAFE \
	{ \
		.retry = true, .unsafe = true, .scope = REST_PAIR, .reason = REST_SERVER_ERROR, \
		.rest_ms = SERVER_ERROR_MS \
	}
#define THROTTLED \
	{ \
		.retry = true, .scope = REST_PAIR, .reason = REST_THROTTLED, .use_hint = true \
	}
#define UNAVAILABLE \
	{ \
		.retry = true, .scope = REST_PAIR, .reason = REST_SERVER_ERROR, .use_hint = true \
	}
#define UNREACHABLE \
	{ \
		.retry = true, .scope = REST_BACKEND, .reason = REST_UNREACHABLE, .rest_ms = SERVER_ERROR_MS \
	}
#define NO_TOKEN \
	{ \
		.retry = true, .scope = REST_BACKEND, .reason = REST_NO_TOKEN, .rest_ms = SERVER_ERROR_MS \
	}
#define CREDENTIALS \
	{ \
		.retry = true, .scope = REST_BACKEND, .reason = REST_CREDENTIALS, .rest_ms = SERVER_ERROR_MS \
	}
#define MISSING \
	{ \
		.retry = true, .scope = REST_PAIR, .reason = REST_MISSING_DEPLOYMENT, \
		.rest_ms = REST_MISSING_DEPLOYMENT_MS \
	}
#define ELSEWHERE \
	{ \
		.retry = true \
	}

/* Answered: a call on a deployment, and one on a resource path. */
#define ANSWER(code, ...) \
	{ \
		.kind = OUTCOME_ANSWERED, .status = (code), .request_sent = true, .inference = true, __VA_ARGS__ \
	}
#define RESOURCE_ANSWER(code, ...) \
	{ \
		.kind = OUTCOME_ANSWERED, .status = (code), .request_sent = true, __VA_ARGS__ \
	}

static const struct {
	const char *behaviour;
	struct outcome outcome;
	struct verdict want;
} cases[] = {
	{ "a good answer passes", ANSWER(200), PASS },
	{ "another good one", ANSWER(204), PASS },
	{ "a redirect passes as it is", ANSWER(307), PASS },
	{ "a throttled one is free to retry", ANSWER(429), THROTTLED },
	{ "a time-out that the backend answers", ANSWER(408), SERVER_ERROR },
	{ "500", ANSWER(500), SERVER_ERROR },
	{ "502", ANSWER(502), SERVER_ERROR },
	{ "503 says how long", ANSWER(503), UNAVAILABLE },
	{ "504", ANSWER(504), SERVER_ERROR },
	{ "520", ANSWER(520), SERVER_ERROR },
	{ "529, overloaded", ANSWER(529), SERVER_ERROR },
	{ "599", ANSWER(599), SERVER_ERROR },
	{ "a status beyond all sense", ANSWER(999), SERVER_ERROR },
	{ "501 is tried elsewhere, and nobody rests", ANSWER(501), ELSEWHERE },
	{ "505 passes", ANSWER(505), PASS },
	{ "511 passes", ANSWER(511), PASS },
	{ "519 passes", ANSWER(519), PASS },
	{ "a content filter's 400 passes", ANSWER(400), PASS },
	{ "413 passes", ANSWER(413), PASS },
	{ "409 passes", ANSWER(409), PASS },
	{ "431 passes", ANSWER(431), PASS },
	{ "401 on the daemon's credentials", ANSWER(401, .injected_credentials = true), CREDENTIALS },
	{ "403 on the daemon's credentials", ANSWER(403, .injected_credentials = true), CREDENTIALS },
	{ "401 on the caller's own credentials passes", ANSWER(401), PASS },
	{ "403 on the caller's own credentials passes", ANSWER(403), PASS },
	{ "404 on a question that goes round is the next one's turn", RESOURCE_ANSWER(404, .asks_around = true),
	    ELSEWHERE },
	{ "404 on any other question passes", RESOURCE_ANSWER(404), PASS },
	{ "401 on a resource path rests nobody", RESOURCE_ANSWER(401, .injected_credentials = true), ELSEWHERE },
	{ "403 on a resource path rests nobody", RESOURCE_ANSWER(403, .injected_credentials = true), ELSEWHERE },
	{ "a missing deployment that the map names", ANSWER(404, .deployment_not_found = true, .mapped = true),
	    MISSING },
	{ "a missing deployment that the caller names", ANSWER(404, .deployment_not_found = true), MISSING },
	{ "a missing deployment on a resource path rests nobody", RESOURCE_ANSWER(404, .deployment_not_found = true),
	    ELSEWHERE },
	{ "another 404 passes", ANSWER(404), PASS },
	{ "a 400 whose code says DeploymentNotFound passes", ANSWER(400, .deployment_not_found = true), PASS },

	{ "no connection", { .kind = OUTCOME_CONNECT }, UNREACHABLE },
	{ "no TLS", { .kind = OUTCOME_TLS }, UNREACHABLE },
	{ "no token", { .kind = OUTCOME_NO_TOKEN, .injected_credentials = true }, NO_TOKEN },
	{ "a reset before anything was sent is safe", { .kind = OUTCOME_RESET }, SERVER_ERROR },
	{ "a reset after the request is not", { .kind = OUTCOME_RESET, .request_sent = true }, UNSAFE },
	{ "a time-out before anything was sent is safe", { .kind = OUTCOME_TIMEOUT }, SERVER_ERROR },
	{ "a time-out after the request is not", { .kind = OUTCOME_TIMEOUT, .request_sent = true }, UNSAFE },
	{ "garbage before anything was sent is safe", { .kind = OUTCOME_GARBLED }, SERVER_ERROR },
	{ "a garbled answer is not", { .kind = OUTCOME_GARBLED, .request_sent = true }, UNSAFE },
	{ "a 429 inside a stream", { .kind = OUTCOME_STREAM, .status = 429, .request_sent = true }, THROTTLED },
	{ "an error inside a stream is answered", { .kind = OUTCOME_STREAM, .status = 500, .request_sent = true },
	    SERVER_ERROR },
	{ "a broken stream may have been billed", { .kind = OUTCOME_STREAM, .request_sent = true }, UNSAFE },
};

static void
judges_outcomes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct verdict got = retry_judge(&cases[i].outcome, SERVER_ERROR_MS), want = cases[i].want;

		if (got.retry != want.retry || got.unsafe != want.unsafe || got.success != want.success ||
		    got.scope != want.scope || got.reason != want.reason || got.use_hint != want.use_hint ||
		    got.rest_ms != want.rest_ms)
			fail_msg("%s: retry %d unsafe %d success %d scope %d reason %s use_hint %d rest_ms %llu",
			    cases[i].behaviour, got.retry, got.unsafe, got.success, (int)got.scope,
			    rest_reason_name(got.reason), got.use_hint, (unsigned long long)got.rest_ms);
	}
}

/* Whatever the outcome: a success is never retried and rests nobody, and who rests has a reason and a length. */
static void
never_contradicts_itself(void **state)
{
	(void)state;
	for (unsigned kind = OUTCOME_ANSWERED; kind <= OUTCOME_NO_TOKEN; kind++) {
		for (unsigned bits = 0; bits < 64; bits++) {
			for (unsigned status = 0; status < 1000; status++) {
				struct outcome outcome = { (enum outcome_kind)kind, status, bits & 1, bits & 2,
					bits & 4, bits & 8, bits & 16, bits & 32 };
				struct verdict verdict = retry_judge(&outcome, SERVER_ERROR_MS);

				assert_true(verdict.success != verdict.retry);
				assert_true(verdict.scope == REST_NOBODY || verdict.retry);
				assert_true((verdict.scope == REST_NOBODY) == (verdict.reason == REST_NONE));
				assert_true(
				    (verdict.scope == REST_NOBODY) == (!verdict.use_hint && verdict.rest_ms == 0));
				assert_true(!verdict.use_hint || verdict.rest_ms == 0);
				assert_true(!verdict.unsafe || (kind != OUTCOME_ANSWERED && verdict.retry));
			}
		}
	}
}

static void
names_outcomes(void **state)
{
	static const struct {
		struct outcome outcome;
		const char *want;
	} names[] = {
		{ { .kind = OUTCOME_ANSWERED, .status = 429 }, "429" },
		{ { .kind = OUTCOME_ANSWERED, .status = 200 }, "200" },
		{ { .kind = OUTCOME_CONNECT }, "connect" },
		{ { .kind = OUTCOME_TLS }, "tls" },
		{ { .kind = OUTCOME_TIMEOUT }, "timeout" },
		{ { .kind = OUTCOME_RESET }, "reset" },
		{ { .kind = OUTCOME_GARBLED }, "garbled" },
		{ { .kind = OUTCOME_STREAM, .status = 429 }, "stream:429" },
		{ { .kind = OUTCOME_STREAM, .status = 500 }, "stream:500" },
		{ { .kind = OUTCOME_STREAM }, "reset" },
		{ { .kind = OUTCOME_NO_TOKEN }, "token" },
	};
	char out[OUTCOME_NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		assert_ptr_equal(outcome_name(&names[i].outcome, out), out);
		assert_string_equal(out, names[i].want);
	}
}

static void
concludes(void **state)
{
	static const struct {
		const char *behaviour;
		struct tally tally;
		enum conclusion want;
	} tallies[] = {
		{ "throttling says most", { .throttled = true, .answered = true, .timed_out = true },
		    CONCLUDE_THROTTLED },
		{ "throttled alone", { .throttled = true }, CONCLUDE_THROTTLED },
		{ "an answered error beats a time-out", { .answered = true, .timed_out = true }, CONCLUDE_PASS_ANSWER },
		{ "a time-out", { .timed_out = true, .request_was_sent = true }, CONCLUDE_TIMEOUT },
		{ "nobody could be reached", { .attempts = 3 }, CONCLUDE_BAD_GATEWAY },
		{ "nobody was tried", { 0 }, CONCLUDE_BAD_GATEWAY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(tallies); i++) {
		if (retry_conclude(&tallies[i].tally) != tallies[i].want)
			fail_msg("%s", tallies[i].behaviour);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges_outcomes),
		cmocka_unit_test(never_contradicts_itself),
		cmocka_unit_test(names_outcomes),
		cmocka_unit_test(concludes),
	};

	return cmocka_run_group_tests_name("policy/retry", tests, NULL, NULL);
}
