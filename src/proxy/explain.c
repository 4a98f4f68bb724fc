#include "proxy/explain.h"

#include <string.h>

static void
begin_item(struct buffer *text, const char *name)
{
	if (text->length > 0)
		buffer_append_byte(text, ',');
	buffer_append_string(text, name);
	buffer_append_byte(text, '=');
}

static void
append_ms(struct buffer *text, uint64_t span_ms)
{
	buffer_append_u64(text, span_ms);
	buffer_append_string(text, "ms");
}

void
explain_attempt(struct explanation *explanation, const char *name, const char *outcome, unsigned status,
    uint64_t rest_ms)
{
	struct buffer *text = &explanation->text;

	if (outcome != NULL && text->length + strlen(name) + strlen(outcome) > EXPLAIN_ATTEMPTS_MAX_BYTES) {
		explanation->left_out++;
		return;
	}
	begin_item(text, name);
	if (outcome != NULL)
		buffer_append_string(text, outcome);
	else
		buffer_append_u64(text, status);
	if (rest_ms == 0)
		return;
	buffer_append_byte(text, '(');
	append_ms(text, rest_ms);
	buffer_append_byte(text, ')');
}

static void
append_hyphenated(struct buffer *text, const char *words)
{
	for (; *words != '\0'; words++)
		buffer_append_byte(text, (char)(*words == ' ' ? '-' : *words));
}

void
explain_passed_over(struct explanation *explanation, size_t backend, const char *name, const struct passed_over *why)
{
	struct buffer *text = &explanation->text;
	size_t before = text->length;
	uint64_t bit = UINT64_C(1) << (backend % 64);

	if (explanation->passed_over[backend / 64] & bit)
		return;
	explanation->passed_over[backend / 64] |= bit;
	begin_item(text, name);
	buffer_append_string(text, "skip:");
	buffer_append_string(text, why->reason);
	if (why->rest_ms > 0) {
		buffer_append_byte(text, '(');
		append_ms(text, why->rest_ms);
		if (why->because != NULL) {
			buffer_append_byte(text, ';');
			append_hyphenated(text, why->because);
		}
		buffer_append_byte(text, ')');
	}
	if (text->length <= EXPLAIN_SKIPS_MAX_BYTES)
		return;
	text->length = before; /* whole items alone */
	explanation->left_out++;
}

struct slice
explain_cut_line(const struct explanation *explanation, struct buffer *scratch)
{
	buffer_append_slice(scratch, buffer_slice(&explanation->text));
	buffer_append_string(scratch, scratch->length > 0 ? ",+" : "+");
	buffer_append_u64(scratch, explanation->left_out);
	return buffer_slice(scratch);
}

void
explain_free(struct explanation *explanation)
{
	buffer_free(&explanation->text);
}
