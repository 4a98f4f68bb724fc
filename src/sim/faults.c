/* The faults that are installed: which of them strike, and what they do to an answer. */
#include "sim/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "http/reason.h"
#include "sim/server.h"

#define DICE 1000000U

bool
sim_faults_add(struct sim_faults *faults, json_t *description, char *fault, size_t fault_size)
{
	size_t count = json_is_array(description) ? json_array_size(description) : 1;

	for (size_t i = 0; i < count; i++) {
		struct sim_fault *parsed;

		if (faults->count == SIM_FAULTS_MAX) {
			(void)snprintf(fault, fault_size, "more than %u faults", SIM_FAULTS_MAX);
			return false;
		}
		parsed = sim_fault_parse(json_is_array(description) ? json_array_get(description, i) : description,
		    fault, fault_size);
		if (parsed == NULL)
			return false;
		faults->items[faults->count++] = parsed;
	}
	return true;
}

void
sim_faults_clear(struct sim_faults *faults)
{
	for (size_t i = 0; i < faults->count; i++)
		sim_fault_free(&faults->items[i]);
	faults->count = 0;
}

json_t *
sim_faults_describe(const struct sim_faults *faults)
{
	json_t *array = json_array();

	for (size_t i = 0; i < faults->count; i++) {
		const struct sim_fault *fault = faults->items[i];
		json_t *object = json_copy(fault->source);

		if (fault->left != UINT64_MAX)
			(void)json_object_set_new(object, "left", json_integer((json_int_t)fault->left));
		(void)json_object_set_new(object, "struck", json_integer((json_int_t)fault->struck));
		(void)json_array_append_new(array, object);
	}
	return array;
}

static bool
fits(const struct sim_fault *fault, const struct sim_fault_place *place)
{
	if (fault->resource != NULL && !slice_equals(slice_from(fault->resource), place->resource))
		return false;
	if (fault->moment == SIM_MOMENT_ACCEPT)
		return true;
	if (fault->path != NULL && slice_find(place->path, slice_from(fault->path)) < 0)
		return false;
	/* Before the body is read only the path can tell deployment and stream. */
	if (fault->deployment != NULL && !slice_equals(slice_from(fault->deployment), place->deployment))
		return false;
	return fault->moment == SIM_MOMENT_REQUEST || fault->streams == SIM_ANY ||
	    (fault->streams == SIM_STREAMS) == place->stream;
}

size_t
sim_faults_strike(struct sim_faults *faults, enum sim_moment moment, const struct sim_fault_place *place,
    struct random *random, struct sim_fault **struck)
{
	size_t count = 0;

	for (size_t i = 0; i < faults->count; i++) {
		struct sim_fault *fault = faults->items[i];

		if (fault->moment != moment || fault->left == 0 || !fits(fault, place))
			continue;
		if (fault->skip > 0) {
			fault->skip--;
			continue;
		}
		if (fault->probability < 1 && (double)random_below(random, DICE) >= fault->probability * DICE)
			continue;
		if (fault->left != UINT64_MAX)
			fault->left--;
		fault->struck++;
		struck[count++] = fault;
	}
	return count;
}

static void
answer_status(const struct sim_fault *fault, struct sim_answer *answer)
{
	/* The fields of the answer that this replaces would contradict it; Azure's own ids stay. */
	ptrdiff_t type = slice_find(buffer_slice(&answer->fields), SLICE("Content-Type: "));

	if (type >= 0)
		answer->fields.length = (size_t)type;
	if (slice_find_nocase(buffer_slice(&fault->fields), SLICE("content-type:")) < 0)
		sim_answer_field(answer, "Content-Type", SLICE("application/json"));
	buffer_append_slice(&answer->fields, buffer_slice(&fault->fields));
	sim_answer_clear_body(answer);
	answer->status = fault->status;
	answer->framing = fault->status == 204 || fault->status == 304 ? SIM_FRAMING_EMPTY : SIM_FRAMING_LENGTH;
	answer->head_at_us = 0;
	answer->output_tokens = 0;
	if (fault->text.length > 0)
		buffer_append_slice(&answer->body, buffer_slice(&fault->text));
	else if (answer->framing != SIM_FRAMING_EMPTY)
		buffer_append_format(&answer->body, "{\"error\":{\"code\":\"%u\",\"message\":\"%s (simulated)\"}}",
		    fault->status, reason_phrase(fault->status));
	if (answer->framing == SIM_FRAMING_EMPTY)
		buffer_clear(&answer->body);
	sim_answer_end_piece(answer, 0);
}

/* Removes the lines of fields that were there before and contradict a throttle. */
static void
drop_fields(struct buffer *fields, const char *prefix)
{
	struct buffer kept = { 0 };
	struct slice rest = buffer_slice(fields);

	while (rest.length > 0) {
		ptrdiff_t end = slice_find(rest, SLICE("\r\n"));
		struct slice line = slice_of(rest.data, end < 0 ? rest.length : (size_t)end + 2);

		if (!slice_starts_with_nocase(line, slice_from(prefix)))
			buffer_append_slice(&kept, line);
		rest = slice_skip(rest, line.length);
	}
	buffer_free(fields);
	*fields = kept;
}

static void
put_throttle_hint(const struct sim_fault *fault, int64_t now_unix_ms, struct sim_answer *answer)
{
	uint64_t seconds = (fault->ms + 999) / 1000;
	char date[32];

	switch ((enum sim_throttle_form)fault->form) {
	case SIM_THROTTLE_BOTH:
		sim_answer_field_u64(answer, "retry-after-ms", fault->ms);
		sim_answer_field_u64(answer, "retry-after", seconds);
		break;
	case SIM_THROTTLE_MS:
		sim_answer_field_u64(answer, "retry-after-ms", fault->ms);
		break;
	case SIM_THROTTLE_X_MS:
		sim_answer_field_u64(answer, "x-ms-retry-after-ms", fault->ms);
		break;
	case SIM_THROTTLE_SECONDS:
		sim_answer_field_u64(answer, "retry-after", seconds);
		break;
	case SIM_THROTTLE_DATE:
		sim_http_date((now_unix_ms + (int64_t)fault->ms + 999) / 1000, date);
		sim_answer_field(answer, "retry-after", slice_from(date));
		break;
	case SIM_THROTTLE_ZERO:
		sim_answer_field(answer, "retry-after-ms", SLICE("0"));
		sim_answer_field(answer, "retry-after", SLICE("0"));
		break;
	case SIM_THROTTLE_MINUS:
		sim_answer_field(answer, "retry-after", SLICE("-1"));
		break;
	case SIM_THROTTLE_HUGE:
		sim_answer_field(answer, "retry-after-ms", SLICE("86400000"));
		sim_answer_field(answer, "retry-after", SLICE("86400"));
		break;
	case SIM_THROTTLE_GARBAGE:
		sim_answer_field(answer, "retry-after-ms", SLICE("soon"));
		sim_answer_field(answer, "retry-after", SLICE("1e3; DROP TABLE hints"));
		break;
	case SIM_THROTTLE_RESET_REQUESTS:
		sim_answer_field_u64(answer, "x-ratelimit-reset-requests", seconds);
		break;
	case SIM_THROTTLE_RESET_TOKENS:
		sim_answer_field_u64(answer, "x-ratelimit-reset-tokens", seconds);
		break;
	case SIM_THROTTLE_ODD:
		sim_answer_field_u64(answer, "x-rate-limit-reset-tokens", seconds);
		break;
	case SIM_THROTTLE_MISSING:
	case SIM_THROTTLE_BODY:
	case SIM_THROTTLE_CAPACITY:
		break;
	}
}

static void
answer_throttle(const struct sim_fault *fault, int64_t now_unix_ms, struct sim_answer *answer)
{
	unsigned long long seconds = (fault->ms + 999) / 1000;

	drop_fields(&answer->fields, "retry-after");
	drop_fields(&answer->fields, "x-ratelimit-");
	drop_fields(&answer->fields, "content-type:");
	put_throttle_hint(fault, now_unix_ms, answer);
	answer->head_at_us = 0;
	if (fault->form == SIM_THROTTLE_BODY)
		sim_answer_error(answer, 429, "429",
		    "Your requests have exceeded the token rate limit of your current OpenAI S0 pricing tier. Please "
		    "retry after "
		    "%llu seconds.",
		    seconds);
	else if (fault->form == SIM_THROTTLE_CAPACITY)
		sim_answer_error(answer, 429, "429",
		    "The system is currently experiencing high demand and cannot process your request. Please retry "
		    "after %llu "
		    "seconds.",
		    seconds);
	else
		sim_answer_error(answer, 429, "429", "Your requests have exceeded a rate limit (simulated).");
}

/* Replaces the events from index on by what is in tail, which becomes one event. */
static void
replace_events(struct sim_answer *answer, size_t index, struct slice tail)
{
	uint64_t at_us;

	if (index >= answer->piece_count)
		index = answer->piece_count - 1;
	at_us = answer->pieces[index].at_us;
	answer->body.length = index == 0 ? 0 : answer->pieces[index - 1].end;
	answer->piece_count = index;
	if (tail.length == 0)
		return;
	buffer_append_slice(&answer->body, tail);
	sim_answer_end_piece(answer, at_us);
}

static void
break_stream(const struct sim_fault *fault, struct sim_answer *answer)
{
	bool throttled = fault->status == 429;
	const char *code = throttled ? "rate_limit_exceeded" : "server_error";
	const char *message = throttled ? "Too many requests. Please retry after 5 seconds. (simulated)"
					: "The server had an error while processing your request. (simulated)";
	struct buffer events = { 0 };

	if (!answer->event_stream || answer->piece_count == 0)
		return;
	if (fault->form == SIM_STREAM_ERROR_CHUNK)
		buffer_append_format(&events,
		    "data: {\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%u\"}}\n\n",
		    message, code, fault->status);
	if (fault->form == SIM_STREAM_ERROR_RESPONSE_FAILED)
		buffer_append_format(&events,
		    "event: response.failed\ndata: "
		    "{\"type\":\"response.failed\",\"sequence_number\":%llu,\"response\":{\"id\":"
		    "\"resp_failed\",\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":\"%s\","
		    "\"message\":\"%s\"},"
		    "\"output\":[],\"usage\":null}}\n\n",
		    (unsigned long long)fault->at, code, message);
	if (fault->form != SIM_STREAM_ERROR_CHUNK)
		buffer_append_format(&events,
		    "event: error\ndata: "
		    "{\"type\":\"error\",\"sequence_number\":%llu,\"code\":\"%s\",\"message\":\"%s\","
		    "\"param\":null}\n\n",
		    (unsigned long long)fault->at + 1, code, message);
	replace_events(answer, (size_t)fault->at, buffer_slice(&events));
	buffer_free(&events);
}

/* Puts text before every so many events of the stream. */
static void
intersperse(struct sim_answer *answer, uint64_t every, struct slice text)
{
	struct buffer body = { 0 };
	size_t start = 0, shift = 0;

	if (!answer->event_stream || every == 0)
		return;
	for (size_t i = 0; i < answer->piece_count; i++) {
		size_t end = answer->pieces[i].end;

		if (i % every == 0) {
			buffer_append_slice(&body, text);
			shift += text.length;
		}
		buffer_append(&body, answer->body.data + start, end - start);
		answer->pieces[i].end = end + shift;
		start = end;
	}
	buffer_free(&answer->body);
	answer->body = body;
}

/* Rewrites LF as CRLF or CR. */
static void
change_line_ends(struct sim_answer *answer, bool crlf)
{
	struct buffer body = { 0 };
	size_t start = 0;

	if (!answer->event_stream || answer->body.data == NULL)
		return;
	for (size_t i = 0; i < answer->piece_count; i++) {
		for (; start < answer->pieces[i].end; start++) {
			char byte = answer->body.data[start];

			if (byte != '\n')
				buffer_append_byte(&body, byte);
			else
				buffer_append(&body, "\r\n", crlf ? 2 : 1);
		}
		answer->pieces[i].end = body.length;
	}
	buffer_free(&answer->body);
	answer->body = body;
}

static void
add_huge_field(struct sim_answer *answer, uint64_t bytes)
{
	buffer_reserve(&answer->fields, (size_t)bytes + 16);
	buffer_append_string(&answer->fields, "x-huge: ");
	memset(answer->fields.data + answer->fields.length, 'x', (size_t)bytes);
	answer->fields.length += (size_t)bytes;
	buffer_append_string(&answer->fields, "\r\n");
}

static void
change_answer(const struct sim_fault *fault, int64_t now_unix_ms, struct sim_answer *answer)
{
	switch (fault->kind) {
	case SIM_FAULT_STATUS:
		answer_status(fault, answer);
		break;
	case SIM_FAULT_THROTTLE:
		answer_throttle(fault, now_unix_ms, answer);
		break;
	case SIM_FAULT_HEADERS:
		buffer_append_slice(&answer->fields, buffer_slice(&fault->fields));
		break;
	case SIM_FAULT_STREAM_ERROR:
		break_stream(fault, answer);
		break;
	case SIM_FAULT_NO_DONE:
		if (answer->event_stream && answer->piece_count > 0)
			replace_events(answer, answer->piece_count - 1, SLICE_EMPTY);
		break;
	case SIM_FAULT_KEEPALIVE:
		intersperse(answer, fault->at, SLICE("event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n"));
		break;
	case SIM_FAULT_COMMENTS:
		intersperse(answer, fault->at, SLICE(": simulated comment\n\n"));
		break;
	case SIM_FAULT_HUGE_HEADER:
		add_huge_field(answer, fault->bytes);
		break;
	case SIM_FAULT_UNTIL_CLOSE:
		answer->framing = SIM_FRAMING_UNTIL_CLOSE;
		break;
	case SIM_FAULT_LINE_ENDS:
		change_line_ends(answer, fault->form == SIM_LINE_END_CRLF);
		break;
	case SIM_FAULT_CONTENT_CODING:
		sim_answer_field(answer, "Content-Encoding", buffer_slice(&fault->text));
		break;
	case SIM_FAULT_STALL:
	case SIM_FAULT_TRUNCATE:
	case SIM_FAULT_RESET:
	case SIM_FAULT_SLOW_HEAD:
	case SIM_FAULT_SLOW_BODY:
	case SIM_FAULT_GARBLED_HEAD:
	case SIM_FAULT_WRONG_LENGTH:
	case SIM_FAULT_CLOSE_AFTER:
	case SIM_FAULT_INFORMATIONAL:
	case SIM_FAULT_ODD_CHUNKS:
		break;
	}
}

void
sim_faults_change_answer(struct sim_fault *const *struck, size_t count, int64_t now_unix_ms, struct sim_answer *answer)
{
	for (size_t i = 0; i < count; i++)
		change_answer(struck[i], now_unix_ms, answer);
}
