#include "policy/retry.h"

#include <stdio.h>

#include "base/log.h"

/* The backend did its work, or refused what the caller did wrong: the answer passes. */
static const struct verdict pass = { .success = true };

static struct verdict
rest_and_retry(enum rest_scope scope, enum rest_reason reason, uint64_t rest_ms)
{
	return (struct verdict){ .retry = true, .scope = scope, .reason = reason, .rest_ms = rest_ms };
}

static struct verdict
throttled(void)
{
	return (struct verdict){ .retry = true, .scope = REST_PAIR, .reason = REST_THROTTLED, .use_hint = true };
}

/* 505 to 519 say what the backend cannot do, and resting would not teach it; 529 is an overload in the dialect of some
 * gateways, and the rest from 520 up are failures between one of them and its origin. */
static bool
is_server_error(unsigned status)
{
	return status == 408 || status == 500 || (status >= 502 && status <= 504) || status >= 520;
}

static struct verdict
judge_answer(const struct outcome *outcome, uint64_t server_error_ms)
{
	struct verdict verdict;

	if (outcome->status == 429)
		return throttled();
	if (is_server_error(outcome->status)) {
		verdict = rest_and_retry(REST_PAIR, REST_SERVER_ERROR, server_error_ms);
		if (outcome->status == 503) {
			verdict.use_hint = true;
			verdict.rest_ms = 0;
		}
		return verdict;
	}
	if (outcome->status == 501) /* it cannot, another may; resting would not teach it */
		return rest_and_retry(REST_NOBODY, REST_NONE, 0);
	if ((outcome->status == 401 || outcome->status == 403) && outcome->injected_credentials) {
		/* A 403 on a file may be that resource's policy; on a deployment it is the role that is missing. */
		if (outcome->inference)
			return rest_and_retry(REST_BACKEND, REST_CREDENTIALS, server_error_ms);
		return rest_and_retry(REST_NOBODY, REST_NONE, 0);
	}
	if (outcome->status == 404 && outcome->asks_around) /* another resource may have it */
		return rest_and_retry(REST_NOBODY, REST_NONE, 0);
	if (outcome->status == 404 && outcome->deployment_not_found) {
		/* With a map it is the operator's fault, without one perhaps the caller's: others may know the name in
		 * both cases, and this backend does not for a while. */
		if (outcome->inference)
			return rest_and_retry(REST_PAIR, REST_MISSING_DEPLOYMENT, REST_MISSING_DEPLOYMENT_MS);
		return rest_and_retry(REST_NOBODY, REST_NONE, 0);
	}
	return pass;
}

/* An error event is an answer, and nothing is billed for it; after a break the backend may well have gone on. */
static struct verdict
judge_stream(const struct outcome *outcome, uint64_t server_error_ms)
{
	struct verdict verdict;

	if (outcome->status == 429)
		return throttled();
	verdict = rest_and_retry(REST_PAIR, REST_SERVER_ERROR, server_error_ms);
	verdict.unsafe = outcome->status == 0;
	return verdict;
}

struct verdict
retry_judge(const struct outcome *outcome, uint64_t server_error_ms)
{
	struct verdict verdict;

	switch (outcome->kind) {
	case OUTCOME_ANSWERED:
		return judge_answer(outcome, server_error_ms);
	case OUTCOME_STREAM:
		return judge_stream(outcome, server_error_ms);
	case OUTCOME_CONNECT:
	case OUTCOME_TLS:
		return rest_and_retry(REST_BACKEND, REST_UNREACHABLE, server_error_ms);
	case OUTCOME_NO_TOKEN:
		return rest_and_retry(REST_BACKEND, REST_NO_TOKEN, server_error_ms);
	case OUTCOME_TIMEOUT:
	case OUTCOME_RESET:
	case OUTCOME_GARBLED:
		verdict = rest_and_retry(REST_PAIR, REST_SERVER_ERROR, server_error_ms);
		verdict.unsafe = outcome->request_sent;
		return verdict;
	}
	fatal("retry_judge: no outcome of kind %d", (int)outcome->kind);
}

const char *
outcome_name(const struct outcome *outcome, char *out)
{
	const char *name = "reset";

	switch (outcome->kind) {
	case OUTCOME_ANSWERED:
		snprintf(out, OUTCOME_NAME_SIZE, "%u", outcome->status % 1000);
		return out;
	case OUTCOME_STREAM:
		if (outcome->status == 0)
			break;
		snprintf(out, OUTCOME_NAME_SIZE, "stream:%u", outcome->status % 1000);
		return out;
	case OUTCOME_CONNECT:
		name = "connect";
		break;
	case OUTCOME_TLS:
		name = "tls";
		break;
	case OUTCOME_TIMEOUT:
		name = "timeout";
		break;
	case OUTCOME_RESET:
		break;
	case OUTCOME_GARBLED:
		name = "garbled";
		break;
	case OUTCOME_NO_TOKEN:
		name = "token";
		break;
	}
	snprintf(out, OUTCOME_NAME_SIZE, "%s", name);
	return out;
}

enum conclusion
retry_conclude(const struct tally *tally)
{
	if (tally->throttled)
		return CONCLUDE_THROTTLED;
	if (tally->answered)
		return CONCLUDE_PASS_ANSWER;
	return tally->timed_out ? CONCLUDE_TIMEOUT : CONCLUDE_BAD_GATEWAY;
}
