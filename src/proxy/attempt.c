#include "proxy/attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "http/json.h"
#include "http/openai.h"
#include "proxy/access.h"
#include "proxy/client.h"
#include "proxy/exchange.h"
#include "proxy/measure.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"
#include "proxy/token.h"

static void on_ready(void *owner);
static void on_failed(void *owner, enum upstream_failure failure, const char *reason);
static void on_readable(void *owner);
static void on_writable(void *owner);

static const struct upstream_callbacks upstream_callbacks = {
	.on_ready = on_ready,
	.on_failed = on_failed,
	.on_readable = on_readable,
	.on_writable = on_writable,
};

const char *
attempt_backend_name(const struct attempt *attempt)
{
	return attempt->via->config->name;
}

/* ---- ends ------------------------------------------------------------------------------------------------------ */

void
attempt_outcome(const struct attempt *attempt, enum outcome_kind kind, struct outcome *out)
{
	*out = (struct outcome){
		.kind = kind,
		.status = attempt->status,
		.request_sent = attempt->sent_any,
		.injected_credentials = attempt->via->config->auth.type != AUTH_PASSTHROUGH,
		.mapped = attempt->via->config->has_map,
		.inference = attempt->exchange->deployment_length > 0,
		.asks_around = attempt->exchange->pinning.asks_around,
	};
}

static void
fail(struct attempt *attempt, enum outcome_kind kind, const char *reason, uint64_t now_ms)
{
	struct outcome outcome;

	attempt_outcome(attempt, kind, &outcome);
	exchange_attempt_failed(attempt, &outcome, reason, now_ms);
}

static void
destroy(struct grave *grave)
{
	struct attempt *attempt = CONTAINER_OF(grave, struct attempt, grave);

	buffer_free(&attempt->head);
	buffer_free(&attempt->model);
	buffer_free(&attempt->input);
	sse_free(&attempt->scanner);
	free(attempt);
}

/* The probe has ended, however it did: whoever waited for it looks again. */
static void
give_probes_back(struct attempt *attempt)
{
	if (!attempt->probes_pair && !attempt->probes_whole)
		return;
	if (attempt->probes_pair)
		rest_end_probe(attempt->pair);
	if (attempt->probes_whole)
		rest_end_probe(&attempt->via->state->whole);
	attempt->probes_pair = attempt->probes_whole = false;
	hold_wake(attempt->worker);
}

/* Whether the backend takes it is known, as far as it will ever be: the next ones may go. */
static void
settle_ramp(struct attempt *attempt, bool taken, bool is_silent)
{
	ramp_ticket ticket = attempt->ramped;

	if (LIKELY(ticket == 0))
		return;
	attempt->ramped = 0;
	if (taken)
		ramp_taken(&attempt->pair->ramp, ticket, is_silent);
	else
		ramp_left(&attempt->pair->ramp, ticket);
	hold_wake(attempt->worker);
}

void
attempt_succeeded(struct attempt *attempt, uint64_t now_ms)
{
	bool whole_is_back = rest_succeeded(&attempt->via->state->whole, now_ms);
	bool pair_is_back = attempt->pair != NULL && rest_succeeded(attempt->pair, now_ms);

	if (whole_is_back)
		access_available(attempt, true);
	if (pair_is_back)
		access_available(attempt, false);
	if (UNLIKELY(whole_is_back || pair_is_back)) /* perhaps before its probe has ended */
		hold_wake(attempt->worker);
	settle_ramp(attempt, true, false);
	give_probes_back(attempt);
}

/* The head of a good event stream: the backend is there and has taken the request. Whether its answer is one is another
 * question: rests for errors go on until attempt_succeeded(), but somebody else may probe. */
static void
stream_began(struct attempt *attempt, uint64_t now_ms)
{
	if (rest_succeeded(&attempt->via->state->whole, now_ms))
		access_available(attempt, true);
	if (attempt->pair != NULL && rest_admitted(attempt->pair, now_ms))
		access_available(attempt, false);
	settle_ramp(attempt, true, false);
	give_probes_back(attempt);
}

/* Its refusal would end what others wait for: it may be the probe of a throttled backend. A 429 comes at once, where an
 * answer can take minutes to be made. */
static bool
may_be_refused(const struct attempt *attempt)
{
	return attempt->ramped != 0 || (attempt->probes_pair && rest_reason(attempt->pair) == REST_THROTTLED);
}

/* No 429 has come for so long that none will. */
static void
silent(struct attempt *attempt, uint64_t now_ms)
{
	settle_ramp(attempt, true, true);
	if (attempt->probes_pair && rest_reason(attempt->pair) == REST_THROTTLED) {
		if (rest_admitted(attempt->pair, now_ms))
			access_available(attempt, false);
		rest_end_probe(attempt->pair);
		attempt->probes_pair = false;
		hold_wake(attempt->worker);
	}
	attempt_watch(attempt, now_ms);
}

/* From now on the request counts as one that takes room. */
static void
book_room(struct attempt *attempt, uint64_t now_ms)
{
	const struct exchange *exchange = attempt->exchange;
	const struct estimate *estimate = &exchange->estimate;

	attempt->room = fleet_room(exchange->fleet, attempt->backend, exchange->deployment_number);
	headroom_sent(attempt->room, headroom_estimate(attempt->room, estimate->prompt_bytes, estimate->output_tokens),
	    now_ms, &attempt->ticket);
}

/* What the backend will not have counted is given back; what it did count improves the next estimate. */
static void
settle_room(struct attempt *attempt)
{
	const struct exchange *exchange = attempt->exchange;

	if (attempt->room == NULL)
		return;
	if (attempt->status == 0 || attempt->status >= 300) {
		headroom_give_back(attempt->room, &attempt->ticket);
	} else if (exchange->usage.known && exchange->estimate.prompt_bytes > 0) {
		headroom_correct(attempt->room, &attempt->ticket,
		    exchange->usage.prompt_tokens + exchange->usage.completion_tokens);
		headroom_learn(attempt->room, exchange->estimate.prompt_bytes, exchange->usage.prompt_tokens,
		    exchange->estimate.output_tokens == 0 ? exchange->usage.completion_tokens : 0);
	}
	/* Somebody may wait for what has been given back. */
	if (UNLIKELY(atomic_load_explicit(&proxy_worker_of(attempt->worker)->proxy->held_requests,
			 memory_order_relaxed) > 0))
		hold_wake(attempt->worker);
}

void
attempt_end(struct attempt *attempt, bool reuse, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	if (attempt->phase == ATTEMPT_OVER)
		return;
	attempt->phase = ATTEMPT_OVER;
	timer_clear(attempt->worker->wheel, &attempt->timer);
	if (attempt->via->identity != NULL)
		token_forget(attempt);
	settle_ramp(attempt, false, false);
	give_probes_back(attempt);
	measure_attempt_length(attempt, now_ms);
	settle_room(attempt);
	rest_attempt_ended(&attempt->via->state->whole);
	if (attempt->pair != NULL)
		rest_attempt_ended(attempt->pair);
	if (attempt->upstream != NULL && reuse)
		upstream_release(&attempt->upstream, &exchange->fleet->limits, now_ms);
	else
		upstream_close(&attempt->upstream);
	exchange->attempt = NULL;
	worker_bury(attempt->worker, &attempt->grave, destroy);
}

/* ---- clocks ---------------------------------------------------------------------------------------------------- */

static uint64_t
sooner(uint64_t a, uint64_t since_ms, uint64_t span_ms)
{
	uint64_t b = since_ms + span_ms;

	return since_ms == 0 || span_ms == 0 || (a != 0 && a <= b) ? a : b;
}

static uint64_t
first_event_ms(const struct exchange *exchange)
{
	return config_first_event_ms(exchange->fleet->config,
	    slice_of(exchange->deployment, exchange->deployment_length));
}

/* When something has to happen next if nothing else does; 0: never. */
static uint64_t
next_deadline(const struct attempt *attempt)
{
	const struct exchange *exchange = attempt->exchange;
	const struct config_timeouts *timeouts = &exchange->fleet->config->timeouts;
	uint64_t deadline_ms = 0;

	if (attempt->blocked_ms != 0)
		return 0; /* the caller's own clock runs */
	if (exchange->state == TRYING)
		deadline_ms = sooner(deadline_ms, exchange->started_ms, timeouts->request_ms);
	switch (attempt->phase) {
	case ATTEMPT_TOKEN:
		return deadline_ms == 0 || attempt->token_until_ms < deadline_ms ? attempt->token_until_ms
										 : deadline_ms;
	case ATTEMPT_CONNECTING: /* the connection has its own clock */
	case ATTEMPT_OVER:
		return deadline_ms;
	case ATTEMPT_SENDING:
	case ATTEMPT_AWAITING:
		if (UNLIKELY(may_be_refused(attempt)))
			deadline_ms =
			    sooner(deadline_ms, attempt->request_done_ms, ramp_patience_ms(&attempt->pair->ramp));
		return sooner(deadline_ms, attempt->request_done_ms, timeouts->response_ms);
	case ATTEMPT_BODY:
		break;
	}
	deadline_ms = sooner(deadline_ms, attempt->last_read_ms, timeouts->stream_idle_ms);
	deadline_ms = sooner(deadline_ms, attempt->said_all_ms, FINAL_CHUNK_MS);
	if (exchange->state == TRYING && attempt->mode == MODE_ERROR)
		deadline_ms = sooner(deadline_ms, attempt->head_ms, ERROR_BODY_MS);
	if (exchange->state == TRYING && attempt->mode != MODE_ERROR) {
		if (attempt->mode == MODE_EVENTS || !attempt->is_json)
			deadline_ms = sooner(deadline_ms, attempt->head_ms, timeouts->commit_ms);
		if (!attempt->saw_content && attempt->mode == MODE_EVENTS)
			deadline_ms = sooner(deadline_ms, attempt->head_ms, first_event_ms(exchange));
	}
	if (exchange->state == RELAYING && attempt->mode == MODE_EVENTS && !attempt->coded)
		deadline_ms = sooner(deadline_ms, exchange->last_sent_ms, timeouts->heartbeat_ms);
	return deadline_ms;
}

void
attempt_watch(struct attempt *attempt, uint64_t now_ms)
{
	uint64_t deadline_ms = next_deadline(attempt);

	(void)now_ms;
	if (deadline_ms == 0 || (timer_is_set(&attempt->timer) && attempt->timer.deadline_ms <= deadline_ms))
		return; /* an earlier timer looks again when it fires */
	timer_set(attempt->worker->wheel, &attempt->timer, deadline_ms);
}

static bool
is_over(uint64_t since_ms, uint64_t span_ms, uint64_t now_ms)
{
	return since_ms != 0 && span_ms != 0 && now_ms >= since_ms + span_ms;
}

static void
body_deadline(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	const struct config_timeouts *timeouts = &exchange->fleet->config->timeouts;
	bool trying = exchange->state == TRYING;

	if (!trying && is_over(attempt->said_all_ms, FINAL_CHUNK_MS, now_ms)) {
		relay_cut(attempt, "its final chunk did not come", false, now_ms);
	} else if (is_over(attempt->last_read_ms, timeouts->stream_idle_ms, now_ms)) {
		if (trying)
			fail(attempt, OUTCOME_TIMEOUT, "its answer stalled", now_ms);
		else
			relay_cut(attempt, "the backend was silent for stream_idle_ms", false, now_ms);
	} else if (trying && attempt->mode == MODE_ERROR && is_over(attempt->head_ms, ERROR_BODY_MS, now_ms)) {
		attempt->reusable = false;
		fail(attempt, OUTCOME_ANSWERED, "its error answer stalled", now_ms);
	} else if (trying && attempt->mode == MODE_EVENTS && !attempt->saw_content &&
	    is_over(attempt->head_ms, first_event_ms(exchange), now_ms)) {
		fail(attempt, OUTCOME_TIMEOUT, "no event within first_event_ms", now_ms);
	} else if (trying && (attempt->mode == MODE_EVENTS || (attempt->mode == MODE_WHOLE && !attempt->is_json)) &&
	    is_over(attempt->head_ms, timeouts->commit_ms, now_ms)) {
		relay_commit_now(attempt, now_ms);
	} else if (!trying && attempt->mode == MODE_EVENTS && !attempt->coded &&
	    is_over(exchange->last_sent_ms, timeouts->heartbeat_ms, now_ms)) {
		relay_heartbeat(attempt, now_ms);
	} else {
		attempt_watch(attempt, now_ms);
	}
}

static void
on_timer(void *owner, uint64_t now_ms)
{
	struct attempt *attempt = owner;
	struct exchange *exchange = attempt->exchange;
	const struct config_timeouts *timeouts = &exchange->fleet->config->timeouts;

	if (attempt->phase == ATTEMPT_OVER || attempt->blocked_ms != 0)
		return;
	attempt->blameless = exchange->state == TRYING && is_over(exchange->started_ms, timeouts->request_ms, now_ms);
	if (attempt->blameless)
		fail(attempt, OUTCOME_TIMEOUT, "request_ms is over", now_ms);
	else if (attempt->phase == ATTEMPT_TOKEN)
		token_deadline(attempt, now_ms);
	else if (attempt->phase == ATTEMPT_BODY)
		body_deadline(attempt, now_ms);
	else if (is_over(attempt->request_done_ms, timeouts->response_ms, now_ms))
		fail(attempt, OUTCOME_TIMEOUT, "no answer within response_ms", now_ms);
	else if (may_be_refused(attempt) &&
	    is_over(attempt->request_done_ms, ramp_patience_ms(&attempt->pair->ramp), now_ms))
		silent(attempt, now_ms);
	else
		attempt_watch(attempt, now_ms);
}

void
attempt_resume(struct attempt *attempt, uint64_t now_ms)
{
	uint64_t stood_ms = attempt->blocked_ms != 0 ? now_ms - attempt->blocked_ms : 0;

	if (attempt->blocked_ms == 0)
		return;
	attempt->blocked_ms = 0;
	if (attempt->last_read_ms != 0)
		attempt->last_read_ms += stood_ms;
	if (attempt->said_all_ms != 0)
		attempt->said_all_ms += stood_ms;
	attempt->exchange->last_sent_ms = now_ms;
	stream_want_read(&attempt->upstream->stream, true);
	attempt_watch(attempt, now_ms);
}

/* ---- the request ----------------------------------------------------------------------------------------------- */

static void
write_head(struct attempt *attempt)
{
	struct exchange *exchange = attempt->exchange;
	const struct config_backend *config = attempt->via->config;
	struct slice name = slice_of(exchange->deployment, exchange->deployment_length);
	struct upstream_target target = {
		.prefix = slice_from(config->prefix),
		.deployment = name,
		.api_version = slice_from(config->api_version),
		.keep_api_key_query = config->auth.type == AUTH_PASSTHROUGH,
	};
	struct buffer *head = &attempt->head;
	size_t target_start;

	if (name.length > 0 && !config_map_deployment(config, name, &target.deployment))
		fatal("attempt: backend %s was chosen for a deployment that it does not serve", config->name);
	buffer_reserve(head, 512 + attempt->via->own_lines.length);
	buffer_append_string(head, exchange->method_text);
	buffer_append_byte(head, ' ');
	target_start = head->length;
	route_write_upstream(&exchange->route, exchange->query, &target, head);
	access_proxying(attempt, slice_of(head->data + target_start, head->length - target_start));
	buffer_append_string(head, " HTTP/1.1\r\n");
	buffer_append_slice(head, buffer_slice(&attempt->via->own_lines));
	if (config->auth.type == AUTH_PASSTHROUGH)
		buffer_append_slice(head, buffer_slice(&exchange->credential_lines));
	if (exchange->model_value.length == 0 || slice_equals(target.deployment, name))
		return;
	if (exchange->model_is_json)
		buffer_append_byte(&attempt->model, '"');
	if (exchange->model_is_json)
		buffer_append_json_text(&attempt->model, target.deployment);
	else
		buffer_append_slice(&attempt->model, target.deployment);
	if (exchange->model_is_json)
		buffer_append_byte(&attempt->model, '"');
}

/* The length of the body as this backend gets it. */
static size_t
body_length(const struct attempt *attempt)
{
	const struct exchange *exchange = attempt->exchange;

	if (attempt->model.length == 0)
		return exchange->body.length;
	return exchange->body.length - exchange->model_value.length + attempt->model.length;
}

static void
write_framing(struct attempt *attempt)
{
	const struct exchange *exchange = attempt->exchange;
	struct buffer *head = &attempt->head;
	bool has_body = exchange->body_reader.kind != BODY_NONE || exchange->method == METHOD_POST ||
	    exchange->method == METHOD_PUT || exchange->method == METHOD_PATCH;

	if (exchange->uploading && exchange->body_reader.kind == BODY_CHUNKED) {
		buffer_append_string(head, "transfer-encoding: chunked\r\n");
		return;
	}
	if (!has_body)
		return;
	buffer_append_string(head, "content-length: ");
	buffer_append_u64(head,
	    exchange->uploading ? exchange->body_bytes + exchange->body_reader.remaining : body_length(attempt));
	buffer_append_string(head, "\r\n");
}

/* Adds a part, without what of all parts has been sent already. */
static void
add_part(struct iovec *parts, int *count, size_t *skip, const char *data, size_t length)
{
	if (*skip >= length) {
		*skip -= length;
		return;
	}
	parts[(*count)++] = (struct iovec){ .iov_base = (void *)(uintptr_t)(data + *skip), .iov_len = length - *skip };
	*skip = 0;
}

static int
gather(const struct attempt *attempt, struct iovec parts[6])
{
	const struct exchange *exchange = attempt->exchange;
	const struct buffer *body = &exchange->body;
	size_t skip = attempt->sent, before;
	int count = 0;

	add_part(parts, &count, &skip, attempt->head.data, attempt->head.length);
	add_part(parts, &count, &skip, exchange->upstream_lines.data, exchange->upstream_lines.length);
	add_part(parts, &count, &skip, "\r\n", 2);
	if (exchange->uploading)
		return count;
	if (attempt->model.length == 0) {
		add_part(parts, &count, &skip, body->data, body->length);
		return count;
	}
	before = (size_t)(exchange->model_value.data - body->data);
	add_part(parts, &count, &skip, body->data, before);
	add_part(parts, &count, &skip, attempt->model.data, attempt->model.length);
	before += exchange->model_value.length;
	add_part(parts, &count, &skip, body->data + before, body->length - before);
	return count;
}

static void
request_done(struct attempt *attempt, uint64_t now_ms)
{
	attempt->request_done = true;
	attempt->request_done_ms = now_ms;
	if (attempt->phase == ATTEMPT_SENDING)
		attempt->phase = ATTEMPT_AWAITING;
	stream_want_write(&attempt->upstream->stream, false);
	attempt_watch(attempt, now_ms);
}

/* Writing failed. An answer may have come all the same (a refusal of a long body), so reading decides what it was. */
static void
stop_sending(struct attempt *attempt, uint64_t now_ms)
{
	attempt->write_failed = true;
	attempt->reusable = false;
	attempt->request_done_ms = now_ms;
	stream_want_write(&attempt->upstream->stream, false);
	attempt_watch(attempt, now_ms);
	event_active(&attempt->upstream->stream.read_event, EV_READ, 0);
}

/* An upload's bytes leave the window as the backend takes them. False when no more can be sent now. */
static bool
send_window(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	struct iovec part = { .iov_base = exchange->body.data, .iov_len = exchange->body.length };
	size_t done = 0;

	if (exchange->body.length > 0) {
		if (stream_write(&attempt->upstream->stream, &part, 1, &done) == STREAM_ERROR) {
			stop_sending(attempt, now_ms);
			return false;
		}
		buffer_consume(&exchange->body, done);
		attempt->request_done_ms = 0; /* while the caller is slow no clock of the backend's runs */
	}
	if (exchange->body.length > 0) {
		if (done > 0 || attempt->request_done_ms == 0)
			attempt->request_done_ms = now_ms;
		stream_want_write(&attempt->upstream->stream, true);
		attempt_watch(attempt, now_ms);
		return false;
	}
	if (exchange->body_complete) {
		request_done(attempt, now_ms);
		return false;
	}
	stream_want_write(&attempt->upstream->stream, false);
	return true;
}

void
attempt_upload(struct attempt *attempt, uint64_t now_ms)
{
	if (attempt->phase < ATTEMPT_SENDING || attempt->phase == ATTEMPT_OVER || attempt->request_done ||
	    attempt->write_failed || attempt->sent < attempt->total)
		return;
	if (send_window(attempt, now_ms) && attempt->exchange->client->phase == CLIENT_WAITING)
		client_read_body_on(attempt->exchange->client, now_ms);
}

/* The pooled connection was closed before anything of the request can have been executed: a fresh one, and nothing is
 * counted (RFC 9112, 9.3.1). */
static void
replace_connection(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	upstream_close(&attempt->upstream);
	attempt->replaced = true;
	attempt->sent = 0;
	attempt->sent_any = false;
	attempt->write_failed = false;
	attempt->request_done_ms = 0;
	attempt->phase = ATTEMPT_CONNECTING;
	attempt->upstream = upstream_connect(attempt->worker, attempt->via->endpoint, &exchange->fleet->limits,
	    &upstream_callbacks, attempt, now_ms);
}

static void
send_request(struct attempt *attempt, uint64_t now_ms)
{
	while (attempt->sent < attempt->total) {
		struct iovec parts[6];
		int count = gather(attempt, parts);
		size_t done = 0;
		enum stream_result result = stream_write(&attempt->upstream->stream, parts, count, &done);

		attempt->sent += done;
		attempt->sent_any = attempt->sent_any || done > 0;
		if (result == STREAM_ERROR && !attempt->sent_any && attempt->upstream->reused && !attempt->replaced) {
			replace_connection(attempt, now_ms);
			return;
		}
		if (result == STREAM_ERROR) {
			stop_sending(attempt, now_ms);
			return;
		}
		if (attempt->sent < attempt->total) {
			/* A backend that does not take the request has response_ms since it last took some. */
			attempt->request_done_ms = now_ms;
			stream_want_write(&attempt->upstream->stream, true);
			attempt_watch(attempt, now_ms);
			return;
		}
	}
	if (attempt->exchange->uploading)
		attempt_upload(attempt, now_ms);
	else
		request_done(attempt, now_ms);
}

/* A connection disproves that the backend is unreachable: others need not wait for the answer to know. */
static void
was_reached(struct attempt *attempt)
{
	struct rest *whole = &attempt->via->state->whole;

	if (!rest_forgive(whole, REST_UNREACHABLE))
		return;
	access_available(attempt, true);
	rest_end_probe(whole);
	attempt->probes_whole = false;
	hold_wake(attempt->worker);
}

static void
on_ready(void *owner)
{
	struct attempt *attempt = owner;

	if (UNLIKELY(attempt->probes_whole))
		was_reached(attempt);
	attempt->phase = ATTEMPT_SENDING;
	send_request(attempt, clock_now_ms());
}

static void
on_failed(void *owner, enum upstream_failure failure, const char *reason)
{
	struct attempt *attempt = owner;

	fail(attempt, failure == UPSTREAM_TLS_FAILED ? OUTCOME_TLS : OUTCOME_CONNECT, reason, clock_now_ms());
}

static void
on_writable(void *owner)
{
	struct attempt *attempt = owner;
	uint64_t now_ms = clock_now_ms();

	if (attempt->phase == ATTEMPT_OVER || attempt->write_failed)
		return;
	if (attempt->sent < attempt->total &&
	    attempt->phase == ATTEMPT_BODY) /* answered early: the rest stays unsent */
		stream_want_write(&attempt->upstream->stream, false);
	else if (attempt->sent < attempt->total)
		send_request(attempt, now_ms);
	else if (attempt->exchange->uploading)
		attempt_upload(attempt, now_ms);
}

void
attempt_begin(struct exchange *exchange, size_t backend, bool probes_pair, bool probes_whole, uint64_t now_ms)
{
	struct attempt *attempt = memory_take_zeroed(1, sizeof(*attempt));
	uint16_t number = DEPLOYMENT_OTHER;

	attempt->exchange = exchange;
	attempt->worker = exchange->worker;
	attempt->backend = backend;
	attempt->via = &exchange->fleet->backends[backend];
	attempt->probes_pair = probes_pair;
	attempt->probes_whole = probes_whole;
	attempt->renewed = exchange->refused_token != 0 && exchange->refused_backend == backend;
	attempt->started_ms = now_ms;
	exchange->attempt = attempt;
	timer_init(&attempt->timer, on_timer, attempt);
	sse_init(&attempt->scanner);
	if (exchange->deployment_length > 0) {
		number = fleet_serves(exchange->fleet, backend, exchange->deployment_number);
		if (number != DEPLOYMENT_OTHER && number != FLEET_NOT_SERVED)
			attempt->pair = &attempt->via->state->deployments[number];
	}
	if (attempt->pair != NULL)
		book_room(attempt, now_ms);
	rest_attempt_began(&attempt->via->state->whole);
	if (attempt->pair != NULL) {
		rest_attempt_began(attempt->pair);
		attempt->ramped = ramp_enter(&attempt->pair->ramp);
	}
	write_head(attempt);
	if (attempt->via->identity == NULL || token_obtain(attempt, now_ms))
		attempt_connect(attempt, now_ms);
	else
		attempt_watch(attempt, now_ms);
}

void
attempt_fail_without_token(struct attempt *attempt, uint64_t now_ms)
{
	fail(attempt, OUTCOME_NO_TOKEN, "its identity has no token", now_ms);
}

void
attempt_connect(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	bool ready = false;

	attempt->phase = ATTEMPT_CONNECTING;
	write_framing(attempt);
	attempt->total = attempt->head.length + exchange->upstream_lines.length + 2 +
	    (exchange->uploading ? 0 : body_length(attempt));
	attempt->upstream = upstream_acquire(attempt->worker, attempt->via->endpoint, &exchange->fleet->limits,
	    &upstream_callbacks, attempt, now_ms, &ready);
	if (!ready) {
		attempt_watch(attempt, now_ms);
		return;
	}
	attempt->phase = ATTEMPT_SENDING;
	send_request(attempt, now_ms);
}

/* ---- the answer's head ----------------------------------------------------------------------------------------- */

static bool
is_error_to_judge(const struct attempt *attempt, unsigned status)
{
	struct outcome outcome;
	struct verdict verdict;

	attempt_outcome(attempt, OUTCOME_ANSWERED, &outcome);
	outcome.status = status;
	outcome.deployment_not_found = status == 404; /* the body decides */
	verdict = retry_judge(&outcome, 1);
	return verdict.retry;
}

/* Learns what the head tells, before its bytes go away. */
static void
read_head(struct attempt *attempt, const struct response_head *head, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	const struct header *type = headers_find(&head->headers, HEADER_CONTENT_TYPE);
	const struct header *coding = headers_find(&head->headers, HEADER_CONTENT_ENCODING);
	bool is_events = type != NULL && slice_starts_with_nocase(type->value, SLICE("text/event-stream"));

	attempt->status = head->status;
	attempt->head_ms = attempt->last_read_ms = now_ms;
	attempt->reusable = head->keep_alive && attempt->request_done;
	attempt->coded = coding != NULL && !slice_equals_nocase(coding->value, SLICE("identity"));
	attempt->is_json = type != NULL && slice_starts_with_nocase(type->value, SLICE("application/json"));
	attempt->has_request_id = headers_find(&head->headers, HEADER_X_REQUEST_ID) != NULL;
	attempt->declared_length = head->content_length;
	/* A good answer tells when its quota resets, which is no wish to be left alone. */
	if (head->status >= 400 || headers_find(&head->headers, HEADER_RETRY_AFTER) != NULL ||
	    headers_find(&head->headers, HEADER_RETRY_AFTER_MS) != NULL)
		attempt->hint =
		    hint_read(&head->headers, SLICE_EMPTY, clock_unix_ms(), &exchange->fleet->config->cooldown);
	attempt->has_hint = attempt->hint.source != HINT_NONE;
	attempt->passes_hint = attempt->has_hint &&
	    (head->status < 400 || head->status == 408 || head->status == 409 || head->status == 429 ||
		head->status >= 500 || attempt->hint.source <= HINT_RETRY_AFTER);
	body_reader_init_response(&attempt->body_reader, head, exchange->method == METHOD_HEAD);
	if (is_error_to_judge(attempt, head->status))
		attempt->mode = MODE_ERROR;
	else if (is_events && head->status == 200)
		attempt->mode = MODE_EVENTS;
	else
		attempt->mode = MODE_WHOLE;
}

/* Keeps the fields that go to the caller, for the commit or for a kept error answer. */
static void
keep_lines(struct attempt *attempt, const struct response_head *head, size_t head_length)
{
	struct exchange *exchange = attempt->exchange;
	struct buffer *lines = attempt->mode == MODE_ERROR ? &exchange->kept.head_lines : &exchange->answer_lines;

	if (attempt->mode == MODE_ERROR && attempt->status == 429)
		return; /* never passed on: the caller gets a 429 of our own, with a wait that is true */
	if (attempt->status == 404 && pinning_outweighs_404(exchange, attempt->backend))
		return;
	buffer_clear(lines);
	buffer_reserve(lines, head_length);
	headers_write_downstream(&head->headers, true, lines);
	if (attempt->mode != MODE_ERROR)
		return;
	exchange->kept.status = attempt->status;
	exchange->kept.backend = attempt->backend;
	exchange->kept.complete = false;
	buffer_clear(&exchange->kept.body);
}

static void take_answer_body(struct attempt *attempt, char *data, size_t length, uint64_t now_ms);

/* A good answer shows that the name is one: from now on it has a state of its own. */
static void
learn_deployment(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	uint16_t number;

	if (exchange->deployment_length == 0 ||
	    (exchange->deployment_number != DEPLOYMENT_OTHER &&
		!deployment_is_supposed(exchange->fleet->table, exchange->deployment_number)))
		return;
	exchange_learn(exchange, now_ms);
	number = fleet_serves(exchange->fleet, attempt->backend, exchange->deployment_number);
	if (attempt->pair != NULL || number == DEPLOYMENT_OTHER || number == FLEET_NOT_SERVED)
		return;
	attempt->pair = &attempt->via->state->deployments[number];
	rest_attempt_began(attempt->pair);
	book_room(attempt, now_ms);
}

/* A whole head. rest: the bytes behind it. */
static void
take_head(struct attempt *attempt, const struct response_head *head, size_t head_length, char *rest, size_t length,
    uint64_t now_ms)
{
	read_head(attempt, head, now_ms);
	keep_lines(attempt, head, head_length);
	attempt->phase = ATTEMPT_BODY;
	if (!attempt->request_done && !attempt->exchange->uploading)
		stream_want_write(&attempt->upstream->stream, false);
	if (head->status < 300)
		learn_deployment(attempt, now_ms);
	pinning_head(attempt, now_ms);
	if (attempt->room != NULL &&
	    headroom_told(attempt->room, &attempt->ticket, &head->headers, now_ms,
		attempt->exchange->fleet->config->cooldown.max_ms))
		measure_spillover(attempt);
	if (attempt->mode == MODE_WHOLE)
		attempt_succeeded(attempt, now_ms);
	else if (attempt->mode == MODE_EVENTS)
		stream_began(attempt, now_ms);
	if (head->content_length == NO_CONTENT_LENGTH && !head->chunked)
		attempt->reusable = false;
	take_answer_body(attempt, rest, length, now_ms);
}

static void
take_answer_body(struct attempt *attempt, char *data, size_t length, uint64_t now_ms)
{
	size_t payload = 0, consumed = 0;

	switch (body_read(&attempt->body_reader, data, length, &payload, &consumed)) {
	case BODY_MORE:
		if (payload > 0)
			relay_payload(attempt, data, payload, false, now_ms);
		if (attempt->phase != ATTEMPT_OVER)
			attempt_watch(attempt, now_ms);
		break;
	case BODY_DONE:
		if (consumed < length)
			attempt->reusable = false; /* surplus bytes: whose would they be? */
		relay_payload(attempt, data, payload, true, now_ms);
		break;
	case BODY_MALFORMED:
		/* What came in good order before is the caller's, where it is too late for another backend. */
		if (payload > 0 && attempt->exchange->state == RELAYING)
			relay_payload(attempt, data, payload, false, now_ms);
		if (attempt->phase == ATTEMPT_OVER)
			break;
		relay_cut(attempt, "its answer's body is not framed as HTTP/1.1 has it", true, now_ms);
		break;
	}
}

/* In words for the log. */
static const char *
head_fault(enum head_status status, const struct response_head *head)
{
	if (status == HEAD_TOO_LARGE)
		return "its answer's head is too large";
	if (status != HEAD_COMPLETE)
		return "its answer's head is malformed";
	return head->status == 101 ? "it switched protocols unasked" : "it sends interim answers without end";
}

/* Whether a head may become an answer's. What is something else (another protocol, HTTP/0.9) is known by its first bytes;
 * its sender may well wait for an answer, and never end a line. */
static bool
begins_well(struct slice head)
{
	static const char version[] = "HTTP/1.";
	size_t length = head.length < sizeof(version) - 1 ? head.length : sizeof(version) - 1;

	return memcmp(head.data, version, length) == 0;
}

/* Bytes of a head that may have come in pieces. Interim answers (1xx) are skipped, up to INTERIM_MAX_BYTES. */
static void
take_answer(struct attempt *attempt, char *data, size_t length, uint64_t now_ms)
{
	struct response_head *head = &proxy_worker_of(attempt->worker)->response_head;
	size_t limit = attempt->exchange->fleet->config->max_header_bytes;
	struct buffer joined = { 0 };

	if (attempt->input.length > 0) {
		buffer_append(&attempt->input, data, length);
		joined = attempt->input;
		attempt->input = (struct buffer){ 0 };
		data = joined.data;
		length = joined.length;
	}
	while (attempt->phase != ATTEMPT_OVER && attempt->phase != ATTEMPT_BODY) {
		size_t head_length = 0;
		enum head_status status = HEAD_MALFORMED;

		if (begins_well(slice_of(data, length)))
			status = head_find_end(&attempt->search, slice_of(data, length), limit, &head_length);

		if (status == HEAD_INCOMPLETE && data == joined.data) {
			/* Still the same head: a drip of bytes is not copied over and over. */
			attempt->input = joined;
			return;
		}
		if (status == HEAD_INCOMPLETE) {
			buffer_append(&attempt->input, data, length);
			break;
		}
		attempt->search = (struct head_search){ 0 };
		if (status == HEAD_COMPLETE)
			status = head_parse_response(slice_of(data, head_length), head);
		if (status == HEAD_COMPLETE && head->status < 200)
			attempt->interim_bytes += head_length;
		if (status != HEAD_COMPLETE || head->status == 101 || attempt->interim_bytes > INTERIM_MAX_BYTES) {
			fail(attempt, OUTCOME_GARBLED, head_fault(status, head), now_ms);
			break;
		}
		data += head_length;
		length -= head_length;
		if (head->status >= 200)
			take_head(attempt, head, head_length, data, length, now_ms);
	}
	buffer_free(&joined);
}

/* The connection has ended. */
static void
answer_ended(struct attempt *attempt, bool in_order, uint64_t now_ms)
{
	const char *reason = in_order ? "it closed the connection before its answer was whole" : "the connection broke";

	if (attempt->phase == ATTEMPT_BODY) {
		attempt->reusable = false;
		if (in_order && body_read_end(&attempt->body_reader))
			relay_payload(attempt, NULL, 0, true, now_ms);
		else
			relay_cut(attempt, reason, false, now_ms);
		return;
	}
	/* Nothing of the request was taken by the kernel: the backend cannot have seen any of it. */
	if (attempt->upstream->reused && !attempt->replaced && !attempt->sent_any) {
		replace_connection(attempt, now_ms);
		return;
	}
	fail(attempt, OUTCOME_RESET, reason, now_ms);
}

static void
on_readable(void *owner)
{
	struct attempt *attempt = owner;
	uint64_t now_ms = clock_now_ms();
	char *buffer = attempt->worker->read_buffer;
	size_t length;

	if (attempt->phase == ATTEMPT_OVER || attempt->blocked_ms != 0)
		return;
	switch (stream_read(&attempt->upstream->stream, buffer, WORKER_READ_BYTES, &length)) {
	case STREAM_OK:
		attempt->last_read_ms = now_ms;
		if (attempt->phase == ATTEMPT_BODY)
			take_answer_body(attempt, buffer, length, now_ms);
		else
			take_answer(attempt, buffer, length, now_ms);
		break;
	case STREAM_AGAIN:
		if (attempt->write_failed)
			fail(attempt, OUTCOME_RESET, "the connection broke while the request was sent", now_ms);
		break;
	case STREAM_END:
		answer_ended(attempt, true, now_ms);
		break;
	case STREAM_ERROR:
		answer_ended(attempt, false, now_ms);
		break;
	}
}
