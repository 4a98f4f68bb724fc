#include "proxy/access.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "http/target.h"
#include "proxy/attempt.h"
#include "proxy/client.h"
#include "proxy/exchange.h"

void
access_proxying(const struct attempt *attempt, struct slice target)
{
	static const struct slice secret[] = { { "api-key", 7 }, { "subscription-key", 16 } };
	const struct config_backend *config = attempt->via->config;
	struct buffer url = { 0 };
	char safe[4 * 1024];
	const char *question;
	size_t path_length = target.length;

	if (!attempt->exchange->fleet->config->log_requests || !log_wants(LOG_INFO))
		return;
	buffer_append_string(&url, config->secure ? "https://" : "http://");
	buffer_append_string(&url, config->authority);
	question = memchr(target.data, '?', target.length);
	if (question != NULL)
		path_length = (size_t)(question - target.data);
	if (path_length > 2 * LOG_TEXT_MAX_BYTES)
		path_length = 2 * LOG_TEXT_MAX_BYTES;
	buffer_append(&url, target.data, path_length);
	if (question != NULL) {
		struct buffer query = { 0 };

		if (query_write_without(slice_of(question + 1, target.length - (size_t)(question + 1 - target.data)),
			secret, ARRAY_COUNT(secret), &query) > 0) {
			buffer_append_byte(&url, '?');
			buffer_append_string(&url, log_text_safe(buffer_slice(&query), safe, sizeof(safe)));
		}
		buffer_free(&query);
	}
	log_record(LOG_INFO, "proxying",
	    LOG_FIELDS(LOG_STRING("backend", config->name), LOG_SLICE("url", buffer_slice(&url)),
		LOG_NUMBER("attempt", attempt->exchange->tally.attempts)),
	    "Proxying to %.*s", SLICE_PRINT(buffer_slice(&url)));
	buffer_free(&url);
}

/* " deployment gpt-4o", or nothing for a backend as a whole. */
static const char *
of_deployment(const struct attempt *attempt, bool whole, char *out, size_t size)
{
	char safe[LOG_TEXT_SAFE_SIZE];
	const struct exchange *exchange = attempt->exchange;

	if (whole || exchange->deployment_length == 0)
		return "";
	snprintf(out, size, " deployment %s",
	    log_text_safe(slice_of(exchange->deployment, exchange->deployment_length), safe, sizeof(safe)));
	return out;
}

/* Whether one more record of that kind about the attempt's backend is to be written. */
static bool
may_repeat(const struct attempt *attempt, const char *kind, bool whole, uint64_t *left_out)
{
	const struct exchange *exchange = attempt->exchange;
	uint64_t key = hash_bytes(slice_from(kind), attempt->via->resource);

	key = hash_bytes(slice_from(attempt->via->config->name), key);
	if (!whole)
		key = hash_bytes(slice_of(exchange->deployment, exchange->deployment_length), key);
	return log_may_repeat(key, left_out);
}

/* What to mend, without what is secret about it. */
static void
credentials_remedy(const struct attempt *attempt)
{
	const struct config_backend *config = attempt->via->config;
	const struct config_auth *auth = &config->auth;
	char remedy[512] = "see its auth";

	if (auth->type == AUTH_API_KEY && auth->key_file[0] != '\0')
		snprintf(remedy, sizeof(remedy), "put a key of this resource into %s (auth.key_file) and reload",
		    auth->key_file);
	else if (auth->type == AUTH_API_KEY)
		snprintf(remedy, sizeof(remedy), "set auth.key to a key of this resource and reload");
	log_record(LOG_ERROR, "credentials_refused",
	    LOG_FIELDS(LOG_STRING("backend", config->name), LOG_NUMBER("status", attempt->status),
		LOG_STRING("remedy", remedy)),
	    "Backend %s (%s) refuses its credentials (%u): %s; it rests meanwhile", config->name, config->authority,
	    attempt->status, remedy);
}

/* Where a deployment has its own name on the backend, an operator has to know it. */
static void
remedy(const struct attempt *attempt, enum rest_reason reason)
{
	const struct config_backend *config = attempt->via->config;
	const struct exchange *exchange = attempt->exchange;
	char safe[LOG_TEXT_SAFE_SIZE], safe_own[LOG_TEXT_SAFE_SIZE];
	struct slice name = slice_of(exchange->deployment, exchange->deployment_length), own = name;

	if (reason == REST_CREDENTIALS && attempt->via->identity != NULL) {
		log_record(LOG_ERROR, "credentials_refused",
		    LOG_FIELDS(LOG_STRING("backend", config->name),
			LOG_STRING("identity", identity_describe(attempt->via->identity))),
		    "Backend %s refuses the token of %s (%u): give it the role \"Cognitive Services OpenAI User\" on "
		    "that "
		    "resource, and check backends[].auth.client_id and .scope of %s; it rests meanwhile",
		    config->name, identity_describe(attempt->via->identity), attempt->status, config->name);
		return;
	}
	if (reason == REST_CREDENTIALS) {
		credentials_remedy(attempt);
		return;
	}
	if (reason != REST_MISSING_DEPLOYMENT || !config_map_deployment(config, name, &own))
		return;
	log_record(LOG_ERROR, "deployment_missing",
	    LOG_FIELDS(LOG_STRING("backend", config->name), LOG_SLICE("deployment", name)),
	    "Backend %s has no deployment %s (404 DeploymentNotFound; callers ask for %s): create it there, or correct "
	    "backends[].deployments of %s",
	    config->name, log_text_safe(own, safe_own, sizeof(safe_own)), log_text_safe(name, safe, sizeof(safe)),
	    config->name);
}

void
access_resting(const struct attempt *attempt, bool whole, enum rest_reason reason, uint64_t rest_ms, const char *source)
{
	char deployment[LOG_TEXT_SAFE_SIZE + 16];
	const char *why = source[0] != '\0' ? source : rest_reason_name(reason);
	const struct exchange *exchange = attempt->exchange;
	char more[LOG_LEFT_OUT_SIZE];
	uint64_t left_out;

	if (!may_repeat(attempt, why, whole, &left_out))
		return;
	remedy(attempt, reason);
	log_record(LOG_WARNING, "cooling_down",
	    LOG_FIELDS(LOG_STRING("backend", attempt_backend_name(attempt)),
		LOG_SLICE("deployment", slice_of(exchange->deployment, whole ? 0 : exchange->deployment_length)),
		LOG_NUMBER("cooldown_ms", rest_ms), LOG_STRING("reason", rest_reason_name(reason)),
		LOG_STRING("source", why), LOG_NUMBER("left_out", left_out)),
	    "Backend %s%s cooling down for %llu ms (%s)%s", attempt_backend_name(attempt),
	    of_deployment(attempt, whole, deployment, sizeof(deployment)), (unsigned long long)rest_ms, why,
	    log_left_out(left_out, more));
}

void
access_available(const struct attempt *attempt, bool whole)
{
	char deployment[LOG_TEXT_SAFE_SIZE + 16];
	const struct exchange *exchange = attempt->exchange;
	char more[LOG_LEFT_OUT_SIZE];
	uint64_t left_out;

	if (!may_repeat(attempt, "available", whole, &left_out))
		return;
	log_record(LOG_INFO, "available",
	    LOG_FIELDS(LOG_STRING("backend", attempt_backend_name(attempt)),
		LOG_SLICE("deployment", slice_of(exchange->deployment, whole ? 0 : exchange->deployment_length)),
		LOG_NUMBER("left_out", left_out)),
	    "Backend %s%s available again%s", attempt_backend_name(attempt),
	    of_deployment(attempt, whole, deployment, sizeof(deployment)), log_left_out(left_out, more));
}

void
access_failed(const struct attempt *attempt, const char *outcome, const char *reason)
{
	char more[LOG_LEFT_OUT_SIZE];
	uint64_t left_out;

	if (reason[0] == '\0')
		return; /* an answered error is in the attempts of the access line */
	if (!may_repeat(attempt, outcome, true, &left_out))
		return;
	log_record(LOG_WARNING, "attempt_failed",
	    LOG_FIELDS(LOG_STRING("backend", attempt_backend_name(attempt)), LOG_STRING("outcome", outcome),
		LOG_STRING("reason", reason), LOG_NUMBER("left_out", left_out)),
	    "Backend %s (%s): %s: %s%s", attempt_backend_name(attempt), attempt->via->config->authority, outcome,
	    reason, log_left_out(left_out, more));
}

/* Health checks come every few seconds and say nothing; one that was refused is logged. */
static bool
is_probe(const struct exchange *exchange)
{
	return (exchange->route.kind == ROUTE_HEALTH || exchange->route.kind == ROUTE_READY) &&
	    (exchange->status == 200 || exchange->status == 503);
}

void
access_request(const struct exchange *exchange, uint64_t now_ms, const char *note)
{
	const struct config *config = exchange->fleet->config;
	char address[CLIENT_ADDRESS_SIZE], path[LOG_TEXT_SAFE_SIZE], deployment[LOG_TEXT_SAFE_SIZE];
	uint64_t all_ms = now_ms - exchange->started_ms;
	uint64_t first_ms = exchange->first_byte_ms != 0 ? exchange->first_byte_ms - exchange->started_ms : all_ms;
	struct buffer cut = { 0 };
	struct slice attempts;
	char held[sizeof(" held_ms=18446744073709551615")] = "";
	const char *client = "-";

	if (!config->log_requests || !log_wants(LOG_INFO) || is_probe(exchange))
		return;
	attempts = explain_line(&exchange->explanation, &cut);
	client_address(exchange->client, address, sizeof(address));
	log_text_safe(exchange->route.path, path, sizeof(path));
	log_text_safe(slice_of(exchange->deployment, exchange->deployment_length), deployment, sizeof(deployment));
	if (exchange->client_index > 0)
		client = config->clients[exchange->client_index - 1].name;
	if (exchange->hold.until_ms != 0)
		snprintf(held, sizeof(held), " held_ms=%llu", (unsigned long long)hold_waited_ms(exchange, now_ms));
	log_record(LOG_INFO, "request",
	    LOG_FIELDS(LOG_STRING("address", address), LOG_STRING("client", client),
		LOG_STRING("method", exchange->method_text), LOG_STRING("path", path),
		LOG_STRING("deployment", deployment), LOG_NUMBER("status", exchange->status),
		LOG_SLICE("attempts", attempts), LOG_NUMBER("request_bytes", exchange->body_bytes),
		LOG_NUMBER("bytes", exchange->answer_bytes), LOG_NUMBER("first_byte_ms", first_ms),
		LOG_NUMBER("duration_ms", all_ms), LOG_NUMBER("held_ms", hold_waited_ms(exchange, now_ms)),
		LOG_NUMBER("prompt_tokens", exchange->usage.prompt_tokens),
		LOG_NUMBER("cached_tokens", exchange->usage.cached_tokens),
		LOG_NUMBER("completion_tokens", exchange->usage.completion_tokens), LOG_STRING("note", note)),
	    "%s %s %s %s %s %u %.*s bytes=%llu first_byte_ms=%llu duration_ms=%llu%s tokens=%llu/%llu%s%s%s", address,
	    client, exchange->method_text[0] != '\0' ? exchange->method_text : "-", path[0] != '\0' ? path : "-",
	    deployment[0] != '\0' ? deployment : "-", exchange->status, attempts.length > 0 ? (int)attempts.length : 1,
	    attempts.length > 0 ? attempts.data : "-", (unsigned long long)exchange->answer_bytes,
	    (unsigned long long)first_ms, (unsigned long long)all_ms, held,
	    (unsigned long long)exchange->usage.prompt_tokens, (unsigned long long)exchange->usage.completion_tokens,
	    note != NULL ? " (" : "", note != NULL ? note : "", note != NULL ? ")" : "");
	buffer_free(&cut);
}
