/* policy/retry.h: what an attempt's outcome means: try elsewhere or pass on, who rests and for how long, and what the
 * caller gets when nothing succeeded. Pure; safe from any thread.
 */
#ifndef POLICY_RETRY_H
#define POLICY_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "policy/state.h"

enum outcome_kind {
	OUTCOME_ANSWERED, /* a whole head came; see status */
	OUTCOME_CONNECT,  /* no name, no route, refused, or not within connect_ms */
	OUTCOME_TLS,
	OUTCOME_TIMEOUT, /* response_ms, first_event_ms or request_ms ran out after the request was sent */
	OUTCOME_RESET,   /* the connection ended before a whole answer, or the answer was cut short before the commit */
	OUTCOME_GARBLED, /* the answer broke the rules of HTTP/1.1 */
	OUTCOME_STREAM,  /* an error event or a break inside a 200 stream, before the commit; see status */
	OUTCOME_NO_TOKEN, /* no credential could be had for the backend */
};

struct outcome {
	enum outcome_kind kind;
	unsigned status;           /* ANSWERED and STREAM */
	bool request_sent;         /* at least one byte of the request left for the backend */
	bool injected_credentials; /* auth is not passthrough */
	bool mapped;               /* the backend has a deployments map */
	bool deployment_not_found; /* the answer's error code is DeploymentNotFound */
	bool inference;            /* a call on a deployment, not a resource path */
	bool asks_around;          /* a harmless question after something that any of the backends may have */
};

enum rest_scope { REST_NOBODY, REST_PAIR, REST_BACKEND };

struct verdict {
	bool retry;   /* another backend may be tried */
	bool unsafe;  /* … and that spends max_unsafe_retries: the backend may have executed the request */
	bool success; /* the backend did its work (also where it refused the caller's own fault) */
	enum rest_scope scope;
	enum rest_reason reason;
	bool use_hint;    /* the rest's length comes from hint_read(), else from rest_ms */
	uint64_t rest_ms; /* 0 with use_hint */
};

#define REST_MISSING_DEPLOYMENT_MS 60000U

/* server_error_ms: how long errors rest (config cooldown.server_error_ms). */
struct verdict retry_judge(const struct outcome *outcome, uint64_t server_error_ms);

/* As in x-aoai-lb-attempts: "429", "connect", "tls", "timeout", "reset", "garbled", "stream:500", "token".
 * out has at least OUTCOME_NAME_SIZE bytes. */
#define OUTCOME_NAME_SIZE 16
const char *outcome_name(const struct outcome *outcome, char *out);

/* What has happened to one request so far. */
struct tally {
	unsigned attempts;
	unsigned unsafe_retries; /* attempts that followed one the backend may have executed */
	bool throttled;          /* an attempt was throttled, or a backend rested because of its quota */
	bool answered;           /* an error answer was kept that may be passed on */
	bool timed_out;
	bool request_was_sent; /* to anybody */
};

enum conclusion { CONCLUDE_THROTTLED, CONCLUDE_PASS_ANSWER, CONCLUDE_TIMEOUT, CONCLUDE_BAD_GATEWAY };

/* Which of the errors the caller gets: any throttled → 429; else the last answered error; else 504 if any timed out;
 * else 502. */
enum conclusion retry_conclude(const struct tally *tally);

#endif
