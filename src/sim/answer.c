#include "sim/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#define MESSAGE_MAX_BYTES 1024U
/* Memory beyond this is given back between two requests. */
#define KEEP_BYTES (256U * 1024U)

void
sim_answer_clear_body(struct sim_answer *answer)
{
	buffer_clear(&answer->body);
	answer->piece_count = 0;
	answer->event_stream = false;
}

void
sim_answer_reset(struct sim_answer *answer)
{
	if (answer->body.capacity > KEEP_BYTES)
		buffer_free(&answer->body);
	sim_answer_clear_body(answer);
	buffer_clear(&answer->fields);
	answer->status = 200;
	answer->framing = SIM_FRAMING_LENGTH;
	answer->close = false;
	answer->head_at_us = 0;
	answer->output_tokens = 0;
}

void
sim_answer_free(struct sim_answer *answer)
{
	buffer_free(&answer->fields);
	buffer_free(&answer->body);
	free(answer->pieces);
	answer->pieces = NULL;
	answer->piece_count = answer->piece_capacity = 0;
}

void
sim_answer_field(struct sim_answer *answer, const char *name, struct slice value)
{
	buffer_append_string(&answer->fields, name);
	buffer_append(&answer->fields, ": ", 2);
	buffer_append_slice(&answer->fields, value);
	buffer_append(&answer->fields, "\r\n", 2);
}

void
sim_answer_field_u64(struct sim_answer *answer, const char *name, uint64_t value)
{
	buffer_append_string(&answer->fields, name);
	buffer_append(&answer->fields, ": ", 2);
	buffer_append_u64(&answer->fields, value);
	buffer_append(&answer->fields, "\r\n", 2);
}

void
sim_answer_end_piece(struct sim_answer *answer, uint64_t at_us)
{
	if (answer->piece_count == answer->piece_capacity) {
		answer->piece_capacity = answer->piece_capacity == 0 ? 64 : answer->piece_capacity * 2;
		answer->pieces = memory_resize(answer->pieces, answer->piece_capacity * sizeof(*answer->pieces));
	}
	answer->pieces[answer->piece_count++] = (struct sim_piece){ .end = answer->body.length, .at_us = at_us };
}

void
sim_answer_begin_stream(struct sim_answer *answer)
{
	answer->framing = SIM_FRAMING_CHUNKED;
	answer->event_stream = true;
	sim_answer_field(answer, "Content-Type", SLICE("text/event-stream; charset=utf-8"));
}

void
sim_answer_end_json(struct sim_answer *answer, uint64_t at_us)
{
	answer->head_at_us = at_us;
	sim_answer_field(answer, "Content-Type", SLICE("application/json"));
	sim_answer_end_piece(answer, at_us);
}

static void
begin_error(struct sim_answer *answer, unsigned status)
{
	sim_answer_clear_body(answer);
	answer->status = status;
	answer->framing = SIM_FRAMING_LENGTH;
	answer->output_tokens = 0;
}

static void
append_member(struct buffer *out, const char *name, const char *value)
{
	buffer_append_format(out, ",\"%s\":", name);
	if (value == NULL) {
		buffer_append_string(out, "null");
		return;
	}
	buffer_append_byte(out, '"');
	buffer_append_json_text(out, slice_from(value));
	buffer_append_byte(out, '"');
}

void
sim_answer_error(struct sim_answer *answer, unsigned status, const char *code, const char *message_format, ...)
{
	char message[MESSAGE_MAX_BYTES];
	va_list arguments;

	va_start(arguments, message_format);
	(void)vsnprintf(message, sizeof(message), message_format, arguments);
	va_end(arguments);
	begin_error(answer, status);
	buffer_append_format(&answer->body, "{\"error\":{\"code\":\"%s\"", code);
	append_member(&answer->body, "message", message);
	buffer_append_string(&answer->body, "}}");
	sim_answer_end_json(answer, 0);
}

void
sim_answer_model_error(struct sim_answer *answer, unsigned status, const char *type, const char *param,
    const char *code, const char *message_format, ...)
{
	char message[MESSAGE_MAX_BYTES];
	va_list arguments;

	va_start(arguments, message_format);
	(void)vsnprintf(message, sizeof(message), message_format, arguments);
	va_end(arguments);
	begin_error(answer, status);
	buffer_append_string(&answer->body, "{\"error\":{\"message\":\"");
	buffer_append_json_text(&answer->body, slice_from(message));
	buffer_append_byte(&answer->body, '"');
	append_member(&answer->body, "type", type);
	append_member(&answer->body, "param", param);
	append_member(&answer->body, "code", code);
	buffer_append_string(&answer->body, "}}");
	sim_answer_end_json(answer, 0);
}

void
sim_answer_error_body(struct sim_answer *answer, unsigned status, struct slice json)
{
	begin_error(answer, status);
	buffer_append_slice(&answer->body, json);
	sim_answer_end_json(answer, 0);
}
