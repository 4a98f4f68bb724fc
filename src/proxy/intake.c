/* From the bytes of a head to a request that knows where it may go: the READING and ROUTING states of an exchange. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "http/json.h"
#include "http/multipart.h"
#include "http/target.h"
#include "proxy/answer.h"
#include "proxy/attempt.h"
#include "proxy/client.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* The body of a refused request is read to its end, so that the connection can go on, if no more than this is left. */
#define DISCARD_MAX_BYTES 65536U

/* Alike in all processes, so that replicas agree where a conversation belongs; nobody gains by a collision but company. */
#define AFFINITY_SEED 0x616f61692d6c62U

static const char malformed_json[] = "The request's body is no JSON object, so its model cannot be read.";

/* ---- refusals -------------------------------------------------------------------------------------------------- */

void
exchange_refuse(struct exchange *exchange, unsigned status, const char *code, const char *message)
{
	const struct body_reader *reader = &exchange->body_reader;
	bool worth_reading = exchange->keep_alive && !exchange->expects_continue && !exchange->client->close_after &&
	    reader->kind == BODY_LENGTH && reader->remaining <= DISCARD_MAX_BYTES;

	if (exchange->body_complete || !worth_reading) {
		answer_error(exchange, status, code, message, status == 503 ? 1000 : 0, false, clock_now_ms());
		return;
	}
	exchange->refused_status = status;
	exchange->refused_code = code;
	exchange->refused_message = message;
}

static void
refuse_head(struct exchange *exchange, enum head_status status, const char *fault)
{
	exchange->keep_alive = false;
	switch (status) {
	case HEAD_INCOMPLETE:
		exchange_refuse(exchange, 408, "request_timeout", "The request's head did not come in time.");
		return;
	case HEAD_TOO_LARGE:
		exchange_refuse(exchange, 431, "header_fields_too_large", "The request's header fields are too large.");
		return;
	case HEAD_TARGET_TOO_LONG:
		exchange_refuse(exchange, 414, "uri_too_long", "The request's target is too long.");
		return;
	case HEAD_VERSION_UNSUPPORTED:
		exchange_refuse(exchange, 505, "http_version_not_supported",
		    "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
		return;
	case HEAD_CODING_UNSUPPORTED: /* as nginx and HAProxy do: what a lenient parser might read differently is refused */
	case HEAD_COMPLETE:
	case HEAD_MALFORMED:
		exchange_refuse(exchange, 400, "malformed_request",
		    fault != NULL ? fault : "The request is malformed.");
		return;
	}
}

/* ---- who calls ------------------------------------------------------------------------------------------------- */

static bool
key_equals(const char *key, struct slice given)
{
	return strlen(key) == given.length && CRYPTO_memcmp(key, given.data, given.length) == 0;
}

/* The key that the caller shows: api-key, else a Bearer token. */
static struct slice
shown_key(const struct headers *headers)
{
	const struct header *header = headers_find(headers, HEADER_API_KEY);
	struct slice bearer = SLICE("bearer ");

	if (header != NULL)
		return header->value;
	header = headers_find(headers, HEADER_AUTHORIZATION);
	if (header != NULL && slice_starts_with_nocase(header->value, bearer))
		return slice_trim(slice_skip(header->value, bearer.length));
	return SLICE_EMPTY;
}

/* Finds which configured client calls. True as well where no clients are configured: then everybody may. */
static bool
identify_caller(struct exchange *exchange, const struct headers *headers)
{
	const struct config *config = exchange->fleet->config;
	struct slice key = shown_key(headers);
	bool found = config->client_count == 0;

	/* All are compared, so that the time taken tells nothing. */
	for (size_t i = 0; i < config->client_count; i++) {
		if (key_equals(config->clients[i].key, key) && key.length > 0) {
			exchange->client_index = (uint16_t)(i + 1);
			found = true;
		}
	}
	return found;
}

static bool
caller_may_use(const struct exchange *exchange)
{
	const struct config_client *client;

	if (exchange->client_index == 0)
		return true;
	client = &exchange->fleet->config->clients[exchange->client_index - 1];
	if (client->deployments == NULL)
		return true;
	if (exchange->route.resource && !client->resource_paths)
		return false;
	if (exchange->deployment_length == 0)
		return exchange->route.resource || exchange->route.kind == ROUTE_MODELS;
	for (char **name = client->deployments; *name != NULL; name++)
		if (slice_equals(slice_from(*name), slice_of(exchange->deployment, exchange->deployment_length)))
			return true;
	return false;
}

/* What the path alone tells of the caller's rights, before its body is read. */
static bool
caller_may_use_path(const struct exchange *exchange)
{
	const struct config_client *client;

	if (exchange->client_index == 0)
		return true;
	client = &exchange->fleet->config->clients[exchange->client_index - 1];
	if (exchange->deployment_length > 0)
		return caller_may_use(exchange);
	return client->deployments == NULL || client->resource_paths;
}

static void
refuse_caller(struct exchange *exchange)
{
	exchange_refuse(exchange, 403, "deployment_not_allowed",
	    exchange->deployment_length > 0 ? "This client may not use this deployment."
					    : "This client may not use this path.");
}

/* Sets the deployment from its unescaped name. False, with a refusal, for one that is unfit. */
static bool
set_deployment(struct exchange *exchange, struct slice name)
{
	if (!route_deployment_name_ok(name)) {
		exchange_refuse(exchange, 400, "invalid_model",
		    "The deployment's name is empty, too long, or has characters that a name may not have.");
		return false;
	}
	memcpy(exchange->deployment, name.data, name.length);
	exchange->deployment_length = name.length;
	exchange->deployment_number = deployment_find(exchange->fleet->table, name);
	return true;
}

static bool
route_by_path(struct exchange *exchange)
{
	char *decoded = memory_take(exchange->route.deployment.length + 1);
	size_t length = 0;
	bool ok = percent_decode(exchange->route.deployment, decoded, &length) &&
	    set_deployment(exchange, slice_of(decoded, length));

	free(decoded);
	return ok;
}

/* ---- heads ----------------------------------------------------------------------------------------------------- */

/* Copies the target: the head's bytes do not outlive this call. False, with the fault, for a malformed one. */
static bool
take_target(struct exchange *exchange, struct slice raw, const char **fault)
{
	struct target target;

	exchange->target_text = memory_take(2 * raw.length + 2);
	if (target_parse(raw, exchange->target_text, &target, fault) != TARGET_OK)
		return false;
	if (target.query.length > 0)
		memcpy(exchange->target_text + raw.length + 1, target.query.data, target.query.length);
	exchange->query = slice_of(exchange->target_text + raw.length + 1, target.query.length);
	route_find(target.path, slice_from(exchange->fleet->config->listen.base_path), exchange->method,
	    &exchange->route);
	route_settle_style(&exchange->route, exchange->method, exchange->query);
	return true;
}

static void
take_head_fields(struct exchange *exchange, const struct request_head *head)
{
	const struct header *type = headers_find(&head->headers, HEADER_CONTENT_TYPE);
	const struct header *coding = headers_find(&head->headers, HEADER_CONTENT_ENCODING);
	struct slice boundary;

	exchange->method = head->method_id;
	memcpy(exchange->method_text, head->method.data,
	    head->method.length < sizeof(exchange->method_text) ? head->method.length
								: sizeof(exchange->method_text) - 1);
	exchange->http_1_0 = head->minor_version == 0;
	exchange->keep_alive = head->keep_alive;
	exchange->content_coded = coding != NULL && !slice_equals_nocase(coding->value, SLICE("identity"));
	if (type != NULL && multipart_boundary(type->value, &boundary) &&
	    boundary.length <= MULTIPART_BOUNDARY_MAX_BYTES)
		memcpy(exchange->boundary, boundary.data, boundary.length);
	body_reader_init_request(&exchange->body_reader, head);
	exchange->body_complete = exchange->body_reader.kind == BODY_NONE;
}

static void
refuse_stranger(struct exchange *exchange)
{
	exchange_refuse(exchange, 401, "invalid_api_key",
	    "The key is missing or not one of this load balancer's clients'.");
}

/* Methods and features that are refused whatever the path. */
static bool
refuse_by_method(struct exchange *exchange, const struct request_head *head)
{
	const struct header *upgrade = head->upgrade ? headers_find(&head->headers, HEADER_UPGRADE) : NULL;
	/* Other upgrades (h2c) may be ignored (RFC 9110, 7.8). */
	bool websocket = upgrade != NULL && header_list_has(upgrade->value, SLICE("websocket"));
	bool refused = head->method_id == METHOD_CONNECT || head->method_id == METHOD_TRACE ||
	    head->method_id == METHOD_OTHER || websocket || head->expect_unknown;

	if (refused && !identify_caller(exchange, &head->headers)) {
		refuse_stranger(exchange);
	} else if (head->method_id == METHOD_CONNECT || head->method_id == METHOD_TRACE) {
		exchange->keep_alive = false;
		exchange_refuse(exchange, 405, "method_not_allowed", "This method is not allowed.");
	} else if (head->method_id == METHOD_OTHER) {
		exchange_refuse(exchange, 501, "not_implemented", "This method is not known here.");
	} else if (websocket) {
		exchange_refuse(exchange, 501, "not_implemented", "WebSockets are not supported.");
	} else if (head->expect_unknown) {
		exchange_refuse(exchange, 417, "expectation_failed", "The only expectation supported is 100-continue.");
	} else {
		return false;
	}
	return true;
}

/* Whether the path is one of the daemon's own and has been answered. */
static bool
answer_own_path(struct exchange *exchange, uint64_t now_ms)
{
	bool ready = !atomic_load_explicit(&proxy_worker_of(exchange->worker)->proxy->draining, memory_order_relaxed);

	if (exchange->route.kind != ROUTE_HEALTH && exchange->route.kind != ROUTE_READY)
		return false;
	if (exchange->method != METHOD_GET && exchange->method != METHOD_HEAD)
		exchange_refuse(exchange, 405, "method_not_allowed", "Only GET and HEAD are allowed here.");
	else if (exchange->route.kind == ROUTE_READY && !ready)
		answer_error(exchange, 503, "draining", "The daemon is about to stop.", 1000, false, now_ms);
	else
		answer_ok(exchange, "text/plain", SLICE("ok\n"), now_ms);
	return true;
}

/* The longest body that is kept: what the configuration says, and no more than all of them together may have. */
static uint64_t
body_cap(const struct exchange *exchange)
{
	uint64_t configured = exchange->fleet->config->max_body_bytes;
	uint64_t budget = exchange_budget(exchange);

	return configured < budget ? configured : budget;
}

/* What can be refused before the body has been read. */
static bool
refuse_by_head(struct exchange *exchange, const struct request_head *head)
{
	if (!identify_caller(exchange, &head->headers)) {
		refuse_stranger(exchange);
	} else if (exchange->route.kind == ROUTE_UNKNOWN) {
		exchange_refuse(exchange, 404, "not_found", "There is nothing at this path.");
	} else if (exchange->route.kind == ROUTE_DEPLOYMENT && !route_by_path(exchange)) {
		return true; /* it has said why */
	} else if ((exchange->route.kind == ROUTE_DEPLOYMENT || exchange->route.resource) &&
	    !caller_may_use_path(exchange)) {
		refuse_caller(exchange);
	} else if (exchange->content_coded && (exchange->route.needs_model || exchange->route.may_have_model)) {
		exchange_refuse(exchange, 415, "unsupported_media_type",
		    "A compressed body cannot be read here: send it without Content-Encoding.");
	} else if (head->content_length != NO_CONTENT_LENGTH && !exchange->route.upload &&
	    head->content_length > body_cap(exchange)) {
		exchange_refuse(exchange, 413, "request_too_large", "The request's body is too large.");
	} else {
		return false;
	}
	return true;
}

static struct exchange *
exchange_new(struct client *client, uint64_t now_ms)
{
	struct proxy_worker *own = proxy_worker_of(client->worker);
	struct exchange *exchange = memory_take_zeroed(1, sizeof(*exchange));

	exchange->client = client;
	exchange->worker = client->worker;
	exchange->fleet = fleet_share(own->fleet);
	exchange->started_ms = now_ms;
	client->exchange = exchange;
	atomic_fetch_add_explicit(&own->proxy->requests_in_flight, 1, memory_order_relaxed);
	return exchange;
}

/* The body is to come: say so to a caller that waits to hear it, unless it has sent some already. */
static void
invite_body(struct exchange *exchange, const struct request_head *head, uint64_t now_ms)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec part = { .iov_base = (void *)(uintptr_t)text, .iov_len = sizeof(text) - 1 };

	exchange->expects_continue = false;
	if (head->expect_continue && head->minor_version == 1 && exchange->body_reader.kind != BODY_NONE)
		(void)!client_send(exchange->client, &part, 1,
		    now_ms); /* a broken connection shows itself at the next read */
}

void
exchange_begin(struct client *client, struct slice head_bytes, enum head_status status, uint64_t now_ms)
{
	struct exchange *exchange = exchange_new(client, now_ms);
	struct request_head *head = &proxy_worker_of(client->worker)->request_head;
	const char *fault = "a line ends in a bare line feed or carriage return";

	if (status == HEAD_COMPLETE) {
		status = head_parse_request(head_bytes, head);
		fault = head->fault;
	}
	if (status != HEAD_COMPLETE) {
		refuse_head(exchange, status, fault);
		return;
	}
	take_head_fields(exchange, head);
	exchange->expects_continue = head->expect_continue;
	if (refuse_by_method(exchange, head))
		return;
	if (!take_target(exchange, head->target, &fault)) {
		refuse_head(exchange, HEAD_MALFORMED, fault);
		return;
	}
	if (headers_connection_names_vital(&head->headers)) {
		refuse_head(exchange, HEAD_MALFORMED, "Connection names a field that may not be removed");
		return;
	}
	if (answer_own_path(exchange, now_ms) || refuse_by_head(exchange, head))
		return;
	buffer_reserve(&exchange->upstream_lines, head_bytes.length);
	headers_write_upstream(&head->headers, &exchange->upstream_lines);
	if (exchange->fleet->has_passthrough)
		headers_write_credentials(&head->headers, &exchange->credential_lines);
	invite_body(exchange, head, now_ms);
}

/* ---- routing --------------------------------------------------------------------------------------------------- */

/* Whether a request may go on though its body cannot be read: where the path belongs to a resource, and the caller may
 * use every deployment. Elsewhere the backend might read a model that was not seen here. */
static bool
may_be_unread(const struct exchange *exchange)
{
	const struct config *config = exchange->fleet->config;

	return exchange->route.resource && !exchange->route.needs_model &&
	    (exchange->client_index == 0 || config->clients[exchange->client_index - 1].deployments == NULL);
}

/* Refuses for want of a readable model, where one is needed. Returns whether the request goes on. */
static bool
without_model(struct exchange *exchange, const char *message)
{
	if (may_be_unread(exchange))
		return true;
	exchange_refuse(exchange, 400, "invalid_model", message);
	return false;
}

static bool
route_by_json(struct exchange *exchange)
{
	struct json_want wants[ESTIMATE_MEMBERS];
	struct slice body = buffer_slice(&exchange->body);
	char *name;
	size_t length = 0;
	bool ok;

	estimate_wants(wants);
	if (json_scan(body, wants, ESTIMATE_MEMBERS) != JSON_OK)
		return without_model(exchange, malformed_json);
	estimate_from(wants, body, AFFINITY_SEED, &exchange->estimate);
	struct json_want model = wants[ESTIMATE_MODEL];
	if (model.found == 0 && !exchange->route.needs_model)
		return true;
	if (model.found == 0)
		return without_model(exchange, "The request's body names no model.");
	if (model.found > 1) {
		exchange_refuse(exchange, 400, "invalid_model", "The request's body names its model more than once.");
		return false;
	}
	if (model.kind != JSON_STRING)
		return without_model(exchange, "The model is no string.");
	name = memory_take(model.value.length);
	ok = json_string_decode(model.value, name, &length) && set_deployment(exchange, slice_of(name, length));
	free(name);
	exchange->model_value = model.value;
	exchange->model_is_json = true;
	if (!ok && exchange->state == ROUTING && exchange->refused_status == 0)
		exchange_refuse(exchange, 400, "invalid_model", "The model is no valid string.");
	return ok;
}

static bool
route_by_multipart(struct exchange *exchange)
{
	struct slice value = SLICE_EMPTY;
	bool found = false;

	switch (multipart_find(buffer_slice(&exchange->body), slice_from(exchange->boundary), SLICE("model"), &value,
	    &found)) {
	case MULTIPART_OK:
		if (!found && !exchange->route.needs_model)
			return true;
		if (!found)
			return without_model(exchange, "The request's body names no model.");
		exchange->model_value = value;
		return set_deployment(exchange, value);
	case MULTIPART_DUPLICATE:
		exchange_refuse(exchange, 400, "invalid_model", "The request's body names its model more than once.");
		return false;
	case MULTIPART_MALFORMED:
		break;
	}
	return without_model(exchange, "The request's multipart body is malformed.");
}

static bool
find_deployment(struct exchange *exchange)
{
	const struct route *route = &exchange->route;

	if (route->kind == ROUTE_DEPLOYMENT) {
		/* Found with the head. */
		if (exchange->boundary[0] == '\0' && exchange->body.length > 0 && !exchange->uploading)
			estimate_read(buffer_slice(&exchange->body), exchange->fleet->config->prompt_cache_affinity,
			    AFFINITY_SEED, &exchange->estimate);
		return true;
	}
	if (!(route->needs_model || route->may_have_model) || exchange->uploading)
		return true;
	if (exchange->boundary[0] != '\0')
		return route_by_multipart(exchange);
	return route_by_json(exchange);
}

/* The names that the caller may use, where every backend says which it serves. */
static void
answer_models(struct exchange *exchange, uint64_t now_ms)
{
	const struct config *config = exchange->fleet->config;
	struct buffer body = { 0 };
	struct slice seen[DEPLOYMENTS_CONFIGURED_MAX];
	size_t seen_count = 0;

	buffer_append_string(&body, "{\"object\":\"list\",\"data\":[");
	for (size_t b = 0; b < config->backend_count; b++) {
		for (size_t d = 0; d < config->backends[b].deployment_count; d++) {
			struct slice name = slice_from(config->backends[b].deployments[d].name);
			size_t i = 0;

			while (i < seen_count && !slice_equals(seen[i], name))
				i++;
			memcpy(exchange->deployment, name.data, name.length);
			exchange->deployment_length = name.length;
			if (i < seen_count || seen_count == ARRAY_COUNT(seen) || !caller_may_use(exchange))
				continue;
			buffer_append_string(&body, seen_count > 0 ? ",{\"id\":\"" : "{\"id\":\"");
			buffer_append_json_text(&body, name);
			buffer_append_string(&body,
			    "\",\"object\":\"model\",\"created\":0,\"owned_by\":\"azure-openai\"}");
			seen[seen_count++] = name;
		}
	}
	exchange->deployment_length = 0;
	buffer_append_string(&body, "]}");
	answer_ok(exchange, "application/json", buffer_slice(&body), now_ms);
	buffer_free(&body);
}

static bool
somebody_serves(const struct exchange *exchange)
{
	for (size_t i = 0; i < exchange->fleet->count; i++)
		if (fleet_serves(exchange->fleet, i, exchange->deployment_number) != FLEET_NOT_SERVED)
			return true;
	return false;
}

/* Whether the client has used up its own minute; then it has been told so. */
static bool
over_its_limit(struct exchange *exchange, uint64_t now_ms)
{
	const struct config_client *client;
	uint64_t wait_ms;

	if (exchange->client_index == 0)
		return false;
	client = &exchange->fleet->config->clients[exchange->client_index - 1];
	wait_ms = quota_take(exchange->fleet->quotas[exchange->client_index - 1], client->requests_per_minute,
	    client->tokens_per_minute, now_ms);
	if (wait_ms == 0)
		return false;
	answer_error(exchange, 429, "rate_limit_exceeded",
	    "This client has reached its own limit at the load balancer. Please retry after the time given.", wait_ms,
	    false, now_ms);
	return true;
}

/* The request is complete (or an upload has begun): where does it go? */
static void
route(struct exchange *exchange, uint64_t now_ms)
{
	exchange_enter(exchange, ROUTING);
	if (!find_deployment(exchange))
		return;
	if (exchange->route.kind == ROUTE_MODELS && exchange->fleet->config->models_listed) {
		answer_models(exchange, now_ms);
		return;
	}
	if (!caller_may_use(exchange)) {
		refuse_caller(exchange);
		return;
	}
	if (exchange->deployment_length > 0 && !somebody_serves(exchange)) {
		exchange_refuse(exchange, 404, "DeploymentNotFound",
		    "The API deployment for this resource does not exist: no backend serves it.");
		return;
	}
	if (over_its_limit(exchange, now_ms))
		return;
	pinning_route(exchange, now_ms);
	exchange_enter(exchange, TRYING);
	exchange_next(exchange, now_ms);
}

/* ---- bodies ---------------------------------------------------------------------------------------------------- */

static void
body_ended(struct exchange *exchange, uint64_t now_ms)
{
	struct client *client = exchange->client;

	exchange->body_complete = true;
	exchange_stop_growing(exchange);
	client->phase = CLIENT_BUSY;
	if (exchange->refused_status != 0)
		answer_error(exchange, exchange->refused_status, exchange->refused_code, exchange->refused_message, 0,
		    false, now_ms);
	else if (exchange->uploading && exchange->attempt != NULL)
		attempt_upload(exchange->attempt, now_ms);
	else if (exchange->state == READING)
		route(exchange, now_ms);
}

/* An upload's bytes wait in `body`, framed as they will be sent, until the backend takes them. */
static void
add_upload(struct exchange *exchange, const char *data, size_t length, bool last)
{
	char prefix[CHUNK_PREFIX_MAX_BYTES];

	if (exchange->body_reader.kind != BODY_CHUNKED) {
		buffer_append(&exchange->body, data, length);
		return;
	}
	if (length > 0) {
		size_t size = chunk_prefix_before(prefix + sizeof(prefix), length);

		buffer_append(&exchange->body, prefix + sizeof(prefix) - size, size);
		buffer_append(&exchange->body, data, length);
		buffer_append(&exchange->body, "\r\n", 2);
	}
	if (last)
		buffer_append_slice(&exchange->body, CHUNK_LAST);
}

/* The body outgrew max_body_bytes. True when it may be streamed: what is there so far becomes the upload's beginning. */
static bool
begin_upload(struct exchange *exchange, uint64_t now_ms)
{
	struct buffer begun = exchange->body;

	if (!exchange->route.upload)
		return false;
	exchange->uploading = true;
	exchange->body = (struct buffer){ 0 };
	exchange_unreserve(exchange); /* the window is bounded by itself */
	if (begun.length > 0)
		add_upload(exchange, begun.data, begun.length, false);
	buffer_free(&begun);
	route(exchange, now_ms);
	return true;
}

static bool
exceeds_cap(const struct exchange *exchange, uint64_t more)
{
	uint64_t cap = body_cap(exchange), known = exchange->body_bytes;

	if (exchange->body_reader.kind != BODY_LENGTH)
		known += more;
	/* A chunk's size is told ahead as well, as far as its digits have come. */
	return known > cap || exchange->body_reader.remaining > cap - known;
}

/* Keeps payload for replay, or passes it on. */
static void
take_payload(struct exchange *exchange, const char *data, size_t length, bool last, uint64_t now_ms)
{
	exchange->body_bytes += length;
	if (exchange->refused_status != 0)
		return;
	if (!exchange->uploading) {
		if (exchange->body_reader.kind == BODY_LENGTH && exchange->body.capacity == 0)
			buffer_reserve_exactly(&exchange->body,
			    length +
				(size_t)(exchange->body_reader.remaining < UPLOAD_WINDOW_BYTES
					? exchange->body_reader.remaining
					: 0));
		buffer_append(&exchange->body, data, length);
		return;
	}
	add_upload(exchange, data, length, last);
	if (exchange->attempt != NULL && !last)
		attempt_upload(exchange->attempt, now_ms);
	if (exchange->state != CLOSED && exchange->body.length >= UPLOAD_WINDOW_BYTES && !last)
		client_wait(exchange->client);
}

/* Takes room in the global budget: for a body of known length all of it at its first byte, so that two half-read bodies
 * never wait for each other. */
static bool
reserve_body(struct exchange *exchange, size_t length)
{
	switch (exchange->body_reader.kind) {
	case BODY_LENGTH:
		return length == 0 || exchange->reserved_bytes > 0 ||
		    exchange_reserve(exchange, exchange->body_reader.remaining);
	case BODY_CHUNKED:
		return exchange_reserve_growing(exchange, length, body_cap(exchange));
	case BODY_NONE:
	case BODY_UNTIL_CLOSE:
		break;
	}
	return true;
}

void
exchange_body(struct exchange *exchange, char *data, size_t length, size_t *consumed, uint64_t now_ms)
{
	size_t payload = 0;
	enum body_status status;
	bool keeping = !exchange->uploading && exchange->refused_status == 0;

	*consumed = 0;
	if (keeping && length > 0 && exceeds_cap(exchange, 0) && !begin_upload(exchange, now_ms)) {
		exchange_refuse(exchange, 413, "request_too_large", "The request's body is too large.");
		return;
	}
	if (exchange->state == CLOSED || exchange->state == ANSWERING)
		return;
	keeping = keeping && !exchange->uploading;
	if (keeping && !reserve_body(exchange, length)) {
		client_wait(exchange->client);
		return;
	}
	status = body_read(&exchange->body_reader, data, length, &payload, consumed);
	if (status == BODY_MALFORMED) {
		exchange->keep_alive = false;
		if (exchange_abandon_attempt(exchange))
			answer_error(exchange, 400, "malformed_request",
			    "The request's body is not framed as HTTP/1.1 has it.", 0, false, now_ms);
		else
			client_leave(exchange->client, "its upload was malformed");
		return;
	}
	if (keeping && exceeds_cap(exchange, payload)) {
		if (!begin_upload(exchange, now_ms)) {
			exchange_refuse(exchange, 413, "request_too_large", "The request's body is too large.");
			return;
		}
		if (exchange->state == CLOSED || exchange->state == ANSWERING)
			return;
	}
	take_payload(exchange, data, payload, status == BODY_DONE, now_ms);
	if (status == BODY_DONE && exchange->state != CLOSED)
		body_ended(exchange, now_ms);
}
