#include "proxy/relay.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/framing.h"
#include "http/json.h"
#include "http/openai.h"
#include "http/sse.h"
#include "policy/hint.h"
#include "proxy/access.h"
#include "proxy/answer.h"
#include "proxy/attempt.h"
#include "proxy/client.h"
#include "proxy/exchange.h"
#include "proxy/measure.h"

/* Of a JSON answer too long to be held, this many last bytes are searched for its usage. */
#define USAGE_TAIL_BYTES 2048U

/* Most parts of one write: head, chunk prefix, held, new payload, end of chunk, last chunk. */
#define PARTS_MAX 6

/* For hints that only a body can give. */
static const struct headers no_headers;

/* ---- sending --------------------------------------------------------------------------------------------------- */

static void
add_part(struct iovec *parts, int *count, const void *data, size_t length)
{
	if (length > 0)
		parts[(*count)++] = (struct iovec){ .iov_base = (void *)(uintptr_t)data, .iov_len = length };
}

/* Sends head (may be empty), then held and data as one run of payload, framed for the caller. False: the caller has gone, and the
 * exchange with it. */
static bool
send_payload(struct exchange *exchange, struct slice head, struct slice held, struct slice data, bool last,
    uint64_t now_ms)
{
	char prefix[CHUNK_PREFIX_MAX_BYTES];
	size_t prefix_length, payload = held.length + data.length;
	struct iovec parts[PARTS_MAX];
	int count = 0;

	add_part(parts, &count, head.data, head.length);
	if (exchange->chunked && payload > 0) {
		prefix_length = chunk_prefix_before(prefix + sizeof(prefix), payload);
		add_part(parts, &count, prefix + sizeof(prefix) - prefix_length, prefix_length);
	}
	add_part(parts, &count, held.data, held.length);
	add_part(parts, &count, data.data, data.length);
	if (exchange->chunked && payload > 0 && last)
		add_part(parts, &count, "\r\n0\r\n\r\n", 7);
	else if (exchange->chunked && last)
		add_part(parts, &count, "0\r\n\r\n", 5);
	else if (exchange->chunked && payload > 0)
		add_part(parts, &count, "\r\n", 2);
	exchange->answer_bytes += payload;
	exchange->last_sent_ms = now_ms;
	if (count == 0 || client_send(exchange->client, parts, count, now_ms))
		return true;
	client_leave(exchange->client, "the connection broke");
	return false;
}

/* The caller takes no more for now: nothing more is read for it. */
static void
pause_if_blocked(struct attempt *attempt, uint64_t now_ms)
{
	if (!client_is_blocked(attempt->exchange->client) || attempt->blocked_ms != 0)
		return;
	attempt->blocked_ms = now_ms;
	stream_want_read(&attempt->upstream->stream, false);
}

static void
finish(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	attempt_end(attempt, attempt->reusable, now_ms);
	exchange_end(exchange);
}

/* ---- the commit ------------------------------------------------------------------------------------------------ */

/* Decides how the answer is framed towards the caller, and writes the field that says so. */
static void
write_framing(struct attempt *attempt, struct buffer *head, size_t payload, bool last)
{
	struct exchange *exchange = attempt->exchange;
	const struct body_reader *reader = &attempt->body_reader;

	exchange->delimited = true;
	if (reader->kind == BODY_NONE && exchange->method != METHOD_HEAD) {
		if (attempt->status != 204 && attempt->status != 304)
			buffer_append_string(head, "content-length: 0\r\n");
		return;
	}
	if (exchange->method == METHOD_HEAD) {
		if (attempt->declared_length != NO_CONTENT_LENGTH) {
			buffer_append_string(head, "content-length: ");
			buffer_append_u64(head, attempt->declared_length);
			buffer_append_string(head, "\r\n");
		}
		return;
	}
	if (attempt->mode == MODE_WHOLE && (last || reader->kind == BODY_LENGTH)) {
		buffer_append_string(head, "content-length: ");
		buffer_append_u64(head, last ? payload : reader->payload_bytes + reader->remaining);
		buffer_append_string(head, "\r\n");
		return;
	}
	exchange->chunked = !exchange->http_1_0;
	exchange->delimited = exchange->chunked;
	if (exchange->chunked)
		buffer_append_string(head, "transfer-encoding: chunked\r\n");
	else
		exchange->keep_alive = false;
}

/* What only a retry would have needed is given back. */
static void
forget_request(struct exchange *exchange)
{
	if (exchange->uploading)
		return;
	buffer_free(&exchange->body);
	exchange->model_value = SLICE_EMPTY;
	exchange_unreserve(exchange);
	buffer_free(&exchange->upstream_lines);
	buffer_free(&exchange->kept.head_lines);
	buffer_free(&exchange->kept.body);
}

/* The answer is the caller's from here on: its head, what is held, and data go out. False: the caller has gone. */
static bool
commit(struct attempt *attempt, struct slice data, bool last, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	struct buffer head = { 0 }, held = exchange->held;
	bool sent, has_request_id;

	exchange_enter(exchange, RELAYING);
	exchange->held = (struct buffer){ 0 };
	exchange->status = attempt->status;
	exchange->first_byte_ms = now_ms;
	exchange_note_attempt(exchange, attempt, NULL, 0);
	measure_attempt(attempt, attempt->status % 1000);
	buffer_reserve(&head, exchange->answer_lines.length + 512);
	answer_write_status(&head, attempt->status);
	buffer_append_slice(&head, buffer_slice(&exchange->answer_lines));
	has_request_id = attempt->has_request_id;
	write_framing(attempt, &head, held.length + data.length, last);
	answer_write_own_lines(exchange, &head, attempt_backend_name(attempt), has_request_id, false,
	    attempt->passes_hint ? attempt->hint.wait_ms : 0, false);
	buffer_append(&head, "\r\n", 2);
	forget_request(exchange);
	buffer_free(&exchange->answer_lines);
	buffer_free(&attempt->head);
	sent = send_payload(exchange, buffer_slice(&head), buffer_slice(&held), data, last, now_ms);
	buffer_free(&head);
	buffer_free(&held);
	return sent;
}

/* ---- event streams --------------------------------------------------------------------------------------------- */

enum scan { SCAN_QUIET, SCAN_CONTENT, SCAN_ERROR, SCAN_EMPTY_END };

/* An error event stands for an answer of that status: its hint counts, and its error object may be passed on as one. */
static void
keep_error_event(struct attempt *attempt, struct slice data, unsigned status)
{
	struct exchange *exchange = attempt->exchange;
	struct kept_answer *kept = &exchange->kept;
	struct json_want wants[] = { { .key = SLICE("error") }, { .key = SLICE("code") }, { .key = SLICE("message") } };
	const struct json_want *error = &wants[0], *code = &wants[1], *message = &wants[2];

	if (!attempt->has_hint)
		attempt->hint = hint_read(&no_headers, data, clock_unix_ms(), &exchange->fleet->config->cooldown);
	if (status == 429)
		return;
	kept->status = status;
	kept->backend = attempt->backend;
	buffer_clear(&kept->head_lines);
	buffer_clear(&kept->body);
	kept->complete = json_scan(data, wants, ARRAY_COUNT(wants)) == JSON_OK;
	if (!kept->complete)
		return;
	buffer_append_string(&kept->head_lines, "content-type: application/json\r\n");
	if (error->kind == JSON_OBJECT) {
		buffer_append_slice(&kept->body, data);
		return;
	}
	/* An event of the Responses dialect has code and message at its top, response.failed deeper down. */
	buffer_append_string(&kept->body, "{\"error\":{\"code\":");
	buffer_append_slice(&kept->body, code->kind == JSON_STRING ? code->value : SLICE("\"server_error\""));
	buffer_append_string(&kept->body, ",\"message\":");
	buffer_append_slice(&kept->body,
	    message->kind == JSON_STRING ? message->value : SLICE("\"The backend failed inside its stream.\""));
	buffer_append_string(&kept->body, ",\"type\":\"server_error\",\"param\":null}}");
}

static void
saw_content(struct attempt *attempt)
{
	if (attempt->saw_content)
		return;
	attempt->saw_content = true;
	measure_first_event(attempt->exchange, attempt->last_read_ms);
}

/* A stored answer tells what it cost each time that it is read; it is counted once, when it is made. */
static bool
costs_tokens(const struct exchange *exchange)
{
	return exchange->method == METHOD_POST;
}

/* Looks at the events in data. An error before any content stands for a failed attempt: *status is what it stands for. */
static enum scan
scan_events(struct attempt *attempt, struct slice data, unsigned *status)
{
	struct exchange *exchange = attempt->exchange;
	struct sse_event event;
	struct openai_event meaning;

	while (sse_next(&attempt->scanner, &data, &event)) {
		if (!event.has_data)
			continue;
		attempt->events++;
		if (attempt->saw_content && openai_event_only_goes_on(&event, attempt->dialect))
			continue;
		openai_event_read(&event, &meaning);
		if (meaning.dialect != OPENAI_DIALECT_UNKNOWN)
			attempt->dialect = (uint8_t)meaning.dialect;
		if (meaning.usage.known && costs_tokens(exchange))
			exchange->usage = meaning.usage;
		switch (meaning.kind) {
		case OPENAI_EVENT_QUIET:
			break;
		case OPENAI_EVENT_TERMINAL:
			attempt->saw_done = attempt->said_all = true;
			saw_content(attempt);
			break;
		case OPENAI_EVENT_CONTENT:
			saw_content(attempt);
			break;
		case OPENAI_EVENT_ERROR:
			*status = meaning.error_status;
			if (!attempt->saw_content && exchange->state == TRYING) {
				keep_error_event(attempt, event.data, *status);
				return SCAN_ERROR;
			}
			attempt->saw_done = true; /* it says itself how it ended */
			break;
		case OPENAI_EVENT_DONE:
			attempt->saw_done = attempt->said_all = true;
			if (!attempt->saw_content && exchange->state == TRYING)
				return SCAN_EMPTY_END;
			break;
		}
	}
	return attempt->saw_content ? SCAN_CONTENT : SCAN_QUIET;
}

static void
fail(struct attempt *attempt, enum outcome_kind kind, unsigned status, const char *reason, uint64_t now_ms)
{
	struct outcome outcome;

	attempt_outcome(attempt, kind, &outcome);
	outcome.status = status;
	outcome.request_sent = true;
	exchange_attempt_failed(attempt, &outcome, reason, now_ms);
}

/* The wait for the final chunk begins. */
static void
note_said_all(struct attempt *attempt, uint64_t now_ms)
{
	if (attempt->said_all && attempt->said_all_ms == 0)
		attempt->said_all_ms = now_ms;
}

/* Before the commit. */
static void
hold_events(struct attempt *attempt, struct slice data, bool last, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	unsigned status = 0;
	enum scan scan = attempt->coded ? SCAN_CONTENT : scan_events(attempt, data, &status);

	if (scan == SCAN_ERROR) {
		fail(attempt, OUTCOME_STREAM, status, "an error event inside its stream", now_ms);
		return;
	}
	if (scan == SCAN_EMPTY_END || (last && scan == SCAN_QUIET)) {
		fail(attempt, OUTCOME_RESET, 0, "its stream ended before any content", now_ms);
		return;
	}
	if (scan == SCAN_QUIET && exchange->held.length + data.length <= HELD_MAX_BYTES) {
		buffer_append_slice(&exchange->held, data);
		return;
	}
	attempt_succeeded(attempt, now_ms);
	if (!commit(attempt, data, false, now_ms))
		return;
	note_said_all(attempt, now_ms);
	if (last)
		relay_payload(attempt, NULL, 0, true, now_ms);
	else
		pause_if_blocked(attempt, now_ms);
}

/* An event stream whose end must announce itself, and did not. */
static bool
ended_without_saying_so(struct attempt *attempt)
{
	unsigned status;

	if (attempt->mode != MODE_EVENTS || attempt->coded)
		return false;
	/* An end that lacks its blank line is an end all the same; any other event that does is a cut one. */
	attempt->cut_inside = !sse_at_boundary(&attempt->scanner);
	(void)scan_events(attempt, SLICE("\n\n"), &status);
	return attempt->dialect != OPENAI_DIALECT_UNKNOWN && !attempt->saw_done;
}

/* ---- other answers --------------------------------------------------------------------------------------------- */

static void
read_usage(struct attempt *attempt, struct slice data)
{
	struct exchange *exchange = attempt->exchange;

	if (!attempt->is_json || attempt->coded || attempt->status != 200 || !costs_tokens(exchange))
		return;
	if (exchange->held.length == 0) {
		openai_usage_read_tail(data, &exchange->usage);
		return;
	}
	buffer_append_slice(&exchange->held, data);
	openai_usage_read_tail(buffer_slice(&exchange->held), &exchange->usage);
	exchange->held.length -= data.length;
}

static void
hold_whole(struct attempt *attempt, struct slice data, bool last, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	if (!last && exchange->held.length + data.length < HELD_MAX_BYTES) {
		buffer_append_slice(&exchange->held, data);
		return;
	}
	if (last) {
		read_usage(attempt, data);
		exchange_book_usage(exchange);
	}
	if (!commit(attempt, data, last, now_ms))
		return;
	if (last)
		finish(attempt, now_ms);
	else
		pause_if_blocked(attempt, now_ms);
}

/* Keeps the last bytes of a long JSON answer in the exchange's held buffer, where its usage will be. */
static void
keep_tail(struct attempt *attempt, struct slice data)
{
	struct buffer *tail = &attempt->exchange->held;

	if (!attempt->is_json || attempt->coded || !costs_tokens(attempt->exchange))
		return;
	if (data.length > USAGE_TAIL_BYTES)
		data = slice_skip(data, data.length - USAGE_TAIL_BYTES);
	if (tail->length + data.length > 2 * (size_t)USAGE_TAIL_BYTES)
		buffer_consume(tail, tail->length + data.length - USAGE_TAIL_BYTES);
	buffer_append_slice(tail, data);
}

static void
judge_error(struct attempt *attempt, bool complete, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	struct slice body = buffer_slice(&attempt->input);
	struct outcome outcome;

	attempt_outcome(attempt, OUTCOME_ANSWERED, &outcome);
	outcome.request_sent = true;
	attempt->reusable = attempt->reusable && complete;
	outcome.deployment_not_found =
	    attempt->status == 404 && slice_equals(openai_error_code(body), SLICE("DeploymentNotFound"));
	if (!attempt->has_hint)
		attempt->hint = hint_read(&no_headers, body, clock_unix_ms(), &exchange->fleet->config->cooldown);
	if (attempt->status != 429 && !(attempt->status == 404 && pinning_outweighs_404(exchange, attempt->backend))) {
		exchange->kept.complete = complete;
		buffer_free(&exchange->kept.body);
		exchange->kept.body = attempt->input;
		attempt->input = (struct buffer){ 0 };
	}
	exchange_attempt_failed(attempt, &outcome, "", now_ms);
}

static void
hold_error(struct attempt *attempt, struct slice data, bool last, uint64_t now_ms)
{
	size_t room = KEPT_BODY_MAX_BYTES - attempt->input.length;
	bool fits = data.length <= room;

	buffer_append(&attempt->input, data.data, fits ? data.length : room);
	/* A throttled answer that has said how long is left at once, whatever its body still wants to say. */
	if (last || !fits || (attempt->status == 429 && attempt->has_hint))
		judge_error(attempt, last && fits, now_ms);
}

/* ---- entry points ---------------------------------------------------------------------------------------------- */

static void
relay_on(struct attempt *attempt, struct slice data, bool last, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	unsigned status;
	bool broke;

	if (attempt->mode == MODE_EVENTS && !attempt->coded && data.length > 0)
		(void)scan_events(attempt, data, &status);
	note_said_all(attempt, now_ms);
	if (attempt->mode == MODE_WHOLE)
		keep_tail(attempt, data);
	broke = last && ended_without_saying_so(attempt);
	if (last && attempt->mode == MODE_WHOLE && attempt->is_json)
		openai_usage_read_tail(buffer_slice(&exchange->held), &exchange->usage);
	if (last || attempt->saw_done)
		exchange_book_usage(exchange);
	if ((data.length > 0 || (last && !broke)) &&
	    !send_payload(exchange, SLICE_EMPTY, SLICE_EMPTY, data, last && !broke, now_ms))
		return;
	if (broke) {
		relay_cut(attempt, "its stream ended without its last event", false, now_ms);
	} else if (last) {
		finish(attempt, now_ms);
	} else {
		pause_if_blocked(attempt, now_ms);
	}
}

void
relay_payload(struct attempt *attempt, char *data, size_t length, bool last, uint64_t now_ms)
{
	struct slice payload = slice_of(data, length);

	pinning_payload(attempt, payload);
	if (attempt->exchange->state == RELAYING) {
		relay_on(attempt, payload, last, now_ms);
		return;
	}
	switch (attempt->mode) {
	case MODE_ERROR:
		hold_error(attempt, payload, last, now_ms);
		break;
	case MODE_WHOLE:
		hold_whole(attempt, payload, last, now_ms);
		break;
	case MODE_EVENTS:
		hold_events(attempt, payload, last, now_ms);
		break;
	}
}

/* Tells the reader of an event stream, in the words of its dialect, that the rest will not come. */
static bool
send_break(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	static const char message[] = "The backend's stream broke before its end.";
	struct buffer event = { 0 };
	bool sent;

	if (attempt->dialect == OPENAI_DIALECT_RESPONSES) {
		buffer_append_string(&event,
		    "event: error\ndata: {\"type\":\"error\",\"code\":\"stream_broken\",\"message\":\"");
		buffer_append_string(&event, message);
		/* Events are numbered from 0 on, and strict readers refuse one without its number. */
		buffer_append_string(&event, "\",\"param\":null,\"sequence_number\":");
		buffer_append_u64(&event, attempt->events);
		buffer_append_string(&event, "}\n\n");
	} else {
		buffer_append_string(&event, "data: ");
		answer_write_error_object(&event, 502, "stream_broken", message);
		buffer_append_string(&event, "\n\n");
	}
	sent = send_payload(exchange, SLICE_EMPTY, SLICE_EMPTY, buffer_slice(&event), false, now_ms);
	buffer_free(&event);
	return sent;
}

/* The stream has said all, only its end was missing: nothing is lost, and the caller's ends in good order. What the
 * connection might still say is not waited for. */
static void
end_said(struct attempt *attempt, const char *reason, uint64_t now_ms)
{
	log_record(LOG_INFO, "stream_unfinished",
	    LOG_FIELDS(LOG_STRING("backend", attempt_backend_name(attempt)), LOG_STRING("reason", reason)),
	    "Backend %s (%s): its stream had said all, but %s", attempt_backend_name(attempt),
	    attempt->via->config->authority, reason);
	attempt->reusable = false;
	if (send_payload(attempt->exchange, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, true, now_ms))
		finish(attempt, now_ms);
}

void
relay_cut(struct attempt *attempt, const char *reason, bool garbled, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	if (exchange->state != RELAYING) {
		if (attempt->mode == MODE_ERROR)
			judge_error(attempt, false, now_ms);
		else
			fail(attempt, garbled ? OUTCOME_GARBLED : OUTCOME_RESET, 0, reason, now_ms);
		return;
	}
	if (attempt->said_all && sse_at_boundary(&attempt->scanner)) {
		end_said(attempt, reason, now_ms);
		return;
	}
	access_failed(attempt, "broken", reason);
	exchange->broken = true;
	/* Where the reader's position is unknown (inside an event, a coded or counted answer) nothing may be added. */
	if (attempt->mode == MODE_EVENTS && !attempt->coded && !attempt->cut_inside && !attempt->saw_done &&
	    sse_at_boundary(&attempt->scanner) && !send_break(attempt, now_ms))
		return;
	attempt_end(attempt, false, now_ms);
	exchange_end(exchange);
}

void
relay_commit_now(struct attempt *attempt, uint64_t now_ms)
{
	attempt_succeeded(attempt, now_ms);
	if (!commit(attempt, SLICE_EMPTY, false, now_ms))
		return;
	pause_if_blocked(attempt, now_ms);
	attempt_watch(attempt, now_ms);
}

void
relay_heartbeat(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	exchange->last_sent_ms = now_ms;
	if (sse_at_boundary(&attempt->scanner) && !client_is_blocked(exchange->client) &&
	    !send_payload(exchange, SLICE_EMPTY, SLICE_EMPTY, SLICE(": keep-alive\n\n"), false, now_ms))
		return;
	attempt_watch(attempt, now_ms);
}
