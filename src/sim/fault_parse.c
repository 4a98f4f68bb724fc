/* Reads the descriptions of faults. */
#include "sim/fault.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/memory.h"
#include "sim/reader.h"

#define NUMBER_MAX 1000000000U
#define HEADER_BYTES_DEFAULT 100000U
#define BYTES_MAX 16000000U

static const char *const kinds[] = { "status", "throttle", "headers", "stream_error", "stall", "truncate", "reset",
	"slow_head", "slow_body", "garbled_head", "wrong_length", "no_done", "close_after", "keepalive", "comments",
	"huge_header", "informational", "odd_chunks", "until_close", "line_ends", "content_coding", NULL };
static const char *const stages[] = { "before_head", "mid_head", "after_head", "at_event", "in_event", "at_byte",
	"before_end", NULL };
static const char *const throttle_forms[] = { "both", "ms", "x_ms", "seconds", "date", "zero", "minus", "huge",
	"missing", "garbage", "reset_requests", "reset_tokens", "odd", "body", "capacity", NULL };
static const char *const stream_error_forms[] = { "chunk", "event", "response_failed", NULL };
static const char *const truncate_forms[] = { "close", "quiet", "final_chunk", NULL };
static const char *const garbled_forms[] = { "not_http", "bare_lf", "obs_fold", "two_lengths", "length_and_chunked",
	"nul", "space_before_colon", "signed_length", "bad_status", "no_end", "gzip_chunked", NULL };
static const char *const line_end_forms[] = { "crlf", "cr", NULL };

#define COMMON_KEYS "fault", "resource", "deployment", "path", "stream", "skip", "count", "probability"

/* What each kind may say of itself beyond the common keys. */
static const char *const *
keys_of(enum sim_fault_kind kind)
{
	static const char *const plain[] = { COMMON_KEYS, NULL };
	static const char *const status[] = { COMMON_KEYS, "status", "headers", "body", "early", NULL };
	static const char *const throttle[] = { COMMON_KEYS, "ms", "form", NULL };
	static const char *const headers[] = { COMMON_KEYS, "headers", NULL };
	static const char *const stream_error[] = { COMMON_KEYS, "at", "status", "form", NULL };
	static const char *const stall[] = { COMMON_KEYS, "stage", "at", "ms", NULL };
	static const char *const truncate[] = { COMMON_KEYS, "stage", "at", "form", NULL };
	static const char *const reset[] = { COMMON_KEYS, "stage", "at", NULL };
	static const char *const slow[] = { COMMON_KEYS, "ms", "bytes", NULL };
	static const char *const garbled[] = { COMMON_KEYS, "form", "raw", NULL };
	static const char *const length[] = { COMMON_KEYS, "delta", NULL };
	static const char *const every[] = { COMMON_KEYS, "every", NULL };
	static const char *const huge[] = { COMMON_KEYS, "bytes", NULL };
	static const char *const form[] = { COMMON_KEYS, "form", NULL };

	switch (kind) {
	case SIM_FAULT_STATUS:
		return status;
	case SIM_FAULT_THROTTLE:
		return throttle;
	case SIM_FAULT_HEADERS:
		return headers;
	case SIM_FAULT_STREAM_ERROR:
		return stream_error;
	case SIM_FAULT_STALL:
		return stall;
	case SIM_FAULT_TRUNCATE:
		return truncate;
	case SIM_FAULT_RESET:
		return reset;
	case SIM_FAULT_SLOW_HEAD:
	case SIM_FAULT_SLOW_BODY:
		return slow;
	case SIM_FAULT_GARBLED_HEAD:
		return garbled;
	case SIM_FAULT_WRONG_LENGTH:
		return length;
	case SIM_FAULT_KEEPALIVE:
	case SIM_FAULT_COMMENTS:
		return every;
	case SIM_FAULT_HUGE_HEADER:
		return huge;
	case SIM_FAULT_LINE_ENDS:
	case SIM_FAULT_CONTENT_CODING:
		return form;
	case SIM_FAULT_NO_DONE:
	case SIM_FAULT_CLOSE_AFTER:
	case SIM_FAULT_INFORMATIONAL:
	case SIM_FAULT_ODD_CHUNKS:
	case SIM_FAULT_UNTIL_CLOSE:
		break;
	}
	return plain;
}

/* A name, or NULL for "*" and for none. */
static char *
read_name(struct sim_reader *reader, const json_t *object, const char *key)
{
	char *name = sim_reader_text(reader, object, "fault", key, "*");

	if (strcmp(name, "*") != 0)
		return name;
	free(name);
	return NULL;
}

static void
read_place(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	const json_t *stream = json_object_get(object, "stream");

	fault->resource = read_name(reader, object, "resource");
	fault->deployment = read_name(reader, object, "deployment");
	fault->path = read_name(reader, object, "path");
	if (stream != NULL)
		fault->streams =
		    sim_reader_bool(reader, object, "fault", "stream", false) ? SIM_STREAMS : SIM_NO_STREAMS;
	fault->skip = sim_reader_u64(reader, object, "fault", "skip", 0, NUMBER_MAX);
	fault->left = sim_reader_u64(reader, object, "fault", "count", UINT64_MAX, NUMBER_MAX);
	fault->probability = sim_reader_real(reader, object, "fault", "probability", 1, 1);
}

static void
read_fields(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	json_t *headers = json_object_get(object, "headers");
	const char *name;
	json_t *value;

	if (headers == NULL)
		return;
	if (!json_is_object(headers))
		sim_reader_fail(reader, "fault", "\"headers\" must be an object");
	json_object_foreach(headers, name, value)
	{
		if (!json_is_string(value)) {
			sim_reader_fail(reader, "fault", "\"headers\" must hold strings");
			return;
		}
		buffer_append_string(&fault->fields, name);
		buffer_append_string(&fault->fields, ": ");
		buffer_append(&fault->fields, json_string_value(value), json_string_length(value));
		buffer_append_string(&fault->fields, "\r\n");
	}
}

/* A string is taken as it is, anything else as JSON text. */
static void
read_body(const json_t *object, struct sim_fault *fault)
{
	const json_t *body = json_object_get(object, "body");
	char *text;

	if (json_is_string(body)) {
		buffer_append(&fault->text, json_string_value(body), json_string_length(body));
	} else if (body != NULL) {
		text = json_dumps(body, JSON_COMPACT);
		if (text != NULL)
			buffer_append_string(&fault->text, text);
		free(text);
	}
}

static void
read_status(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	fault->status = (unsigned)sim_reader_u64(reader, object, "fault", "status", 500, SIM_STATUS_CODE_MAX);
	if (fault->status < 200)
		sim_reader_fail(reader, "fault", "\"status\" must be 200 to %d", SIM_STATUS_CODE_MAX);
	if (sim_reader_bool(reader, object, "fault", "early", false))
		fault->moment = SIM_MOMENT_REQUEST;
	read_fields(reader, object, fault);
	read_body(object, fault);
}

static void
read_stage(struct sim_reader *reader, const json_t *object, struct sim_fault *fault, enum sim_stage otherwise)
{
	const char *stage = json_string_value(json_object_get(object, "stage"));

	fault->at = sim_reader_u64(reader, object, "fault", "at", 0, NUMBER_MAX);
	fault->stage = otherwise;
	if (stage != NULL && strcmp(stage, "accept") == 0 && fault->kind == SIM_FAULT_RESET)
		fault->moment = SIM_MOMENT_ACCEPT;
	else if (stage != NULL && strcmp(stage, "request") == 0 && fault->kind != SIM_FAULT_TRUNCATE)
		fault->moment = SIM_MOMENT_REQUEST;
	else
		fault->stage =
		    (enum sim_stage)sim_reader_choice(reader, object, "fault", "stage", stages, (int)otherwise);
}

static void
read_truncate(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	static const enum sim_wire_end ends[] = { SIM_END_CLOSE, SIM_END_QUIET, SIM_END_KEEP };

	read_stage(reader, object, fault, SIM_STAGE_BEFORE_END);
	fault->form = sim_reader_choice(reader, object, "fault", "form", truncate_forms, 0);
	fault->end = ends[fault->form];
	fault->final_chunk = fault->form == 2;
}

static void
read_garbled(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	const json_t *raw = json_object_get(object, "raw");

	fault->form = sim_reader_choice(reader, object, "fault", "form", garbled_forms, SIM_GARBLED_NOT_HTTP);
	if (raw == NULL)
		return;
	if (!json_is_string(raw))
		sim_reader_fail(reader, "fault", "\"raw\" must be a string");
	else
		buffer_append(&fault->text, json_string_value(raw), json_string_length(raw));
	fault->form = SIM_GARBLED_RAW;
}

static void
read_delta(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	const json_t *delta = json_object_get(object, "delta");

	fault->delta = -10;
	if (delta == NULL)
		return;
	if (!json_is_integer(delta) || json_integer_value(delta) < INT_MIN || json_integer_value(delta) > INT_MAX)
		sim_reader_fail(reader, "fault", "\"delta\" must be a whole number");
	fault->delta = json_integer_value(delta);
}

static void
read_coding(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	char *coding = sim_reader_text(reader, object, "fault", "form", "gzip");

	buffer_append_string(&fault->text, coding);
	free(coding);
}

static void
read_kind(struct sim_reader *reader, const json_t *object, struct sim_fault *fault)
{
	switch (fault->kind) {
	case SIM_FAULT_STATUS:
		read_status(reader, object, fault);
		break;
	case SIM_FAULT_THROTTLE:
		fault->ms = sim_reader_u64(reader, object, "fault", "ms", 1000, NUMBER_MAX);
		fault->form = sim_reader_choice(reader, object, "fault", "form", throttle_forms, SIM_THROTTLE_BOTH);
		break;
	case SIM_FAULT_HEADERS:
		read_fields(reader, object, fault);
		break;
	case SIM_FAULT_STREAM_ERROR:
		fault->at = sim_reader_u64(reader, object, "fault", "at", 0, NUMBER_MAX);
		fault->status = (unsigned)sim_reader_u64(reader, object, "fault", "status", 429, SIM_STATUS_CODE_MAX);
		fault->form =
		    sim_reader_choice(reader, object, "fault", "form", stream_error_forms, SIM_STREAM_ERROR_CHUNK);
		break;
	case SIM_FAULT_STALL:
		read_stage(reader, object, fault, SIM_STAGE_BEFORE_HEAD);
		fault->ms = sim_reader_u64(reader, object, "fault", "ms", 0, NUMBER_MAX);
		fault->end = SIM_END_HOLD;
		break;
	case SIM_FAULT_TRUNCATE:
		read_truncate(reader, object, fault);
		break;
	case SIM_FAULT_RESET:
		read_stage(reader, object, fault, SIM_STAGE_BEFORE_HEAD);
		fault->end = SIM_END_RESET;
		break;
	case SIM_FAULT_SLOW_HEAD:
	case SIM_FAULT_SLOW_BODY:
		fault->ms = sim_reader_u64(reader, object, "fault", "ms", 10, NUMBER_MAX);
		fault->bytes = sim_reader_u64(reader, object, "fault", "bytes", 1, BYTES_MAX);
		break;
	case SIM_FAULT_GARBLED_HEAD:
		read_garbled(reader, object, fault);
		break;
	case SIM_FAULT_WRONG_LENGTH:
		read_delta(reader, object, fault);
		break;
	case SIM_FAULT_KEEPALIVE:
	case SIM_FAULT_COMMENTS:
		fault->at = sim_reader_u64(reader, object, "fault", "every", 1, NUMBER_MAX);
		break;
	case SIM_FAULT_HUGE_HEADER:
		fault->bytes = sim_reader_u64(reader, object, "fault", "bytes", HEADER_BYTES_DEFAULT, BYTES_MAX);
		break;
	case SIM_FAULT_LINE_ENDS:
		fault->form = sim_reader_choice(reader, object, "fault", "form", line_end_forms, SIM_LINE_END_CRLF);
		break;
	case SIM_FAULT_CONTENT_CODING:
		read_coding(reader, object, fault);
		break;
	case SIM_FAULT_NO_DONE:
	case SIM_FAULT_CLOSE_AFTER:
	case SIM_FAULT_INFORMATIONAL:
	case SIM_FAULT_ODD_CHUNKS:
	case SIM_FAULT_UNTIL_CLOSE:
		break;
	}
}

struct sim_fault *
sim_fault_parse(json_t *description, char *reason, size_t reason_size)
{
	struct sim_reader reader = sim_reader_begin(reason, reason_size);
	struct sim_fault *fault = memory_take_zeroed(1, sizeof(*fault));
	int kind = sim_reader_choice(&reader, description, "fault", "fault", kinds, -1);

	fault->source = json_incref(description);
	fault->moment = SIM_MOMENT_ANSWER;
	if (kind < 0) {
		sim_reader_fail(&reader, "fault", "needs a \"fault\" that names its kind");
	} else {
		fault->kind = (enum sim_fault_kind)kind;
		sim_reader_keys(&reader, description, "fault", keys_of(fault->kind));
		read_place(&reader, description, fault);
		read_kind(&reader, description, fault);
	}
	if (reader.failed)
		sim_fault_free(&fault);
	return fault;
}

void
sim_fault_free(struct sim_fault **fault)
{
	if (*fault == NULL)
		return;
	free((*fault)->resource);
	free((*fault)->deployment);
	free((*fault)->path);
	buffer_free(&(*fault)->fields);
	buffer_free(&(*fault)->text);
	json_decref((*fault)->source);
	free(*fault);
	*fault = NULL;
}
