/* Events of the OpenAI wire: the first line is the event's type, the rest its data. */
#include "fuzz.h"

#include "http/openai.h"

static void
check_event(const struct sse_event *event)
{
	struct openai_event out;

	openai_event_read(event, &out);
	PROMISE((out.kind == OPENAI_EVENT_ERROR) == (out.error_status != 0));
	PROMISE(
	    out.error_status == 0 || out.error_status == 429 || (out.error_status >= 500 && out.error_status <= 599));
	PROMISE(!out.response_failed || out.kind == OPENAI_EVENT_ERROR);
	PROMISE(event->has_data || out.kind == OPENAI_EVENT_QUIET);
	PROMISE(out.kind != OPENAI_EVENT_TERMINAL || out.dialect == OPENAI_DIALECT_RESPONSES);
	for (enum openai_dialect dialect = OPENAI_DIALECT_UNKNOWN; dialect <= OPENAI_DIALECT_RESPONSES; dialect++) {
		if (!openai_event_only_goes_on(event, dialect))
			continue;
		PROMISE(out.kind == OPENAI_EVENT_QUIET || out.kind == OPENAI_EVENT_CONTENT);
		PROMISE(!out.usage.known && (out.dialect == OPENAI_DIALECT_UNKNOWN || out.dialect == dialect));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = input_slice(data, size);
	ptrdiff_t line = slice_find(input, SLICE("\n"));
	struct openai_usage whole, tail;

	if (line < 0)
		return 0;
	struct sse_event event = {
		.type = slice_of(input.data, (size_t)line),
		.data = slice_skip(input, (size_t)line + 1),
		.has_data = true,
	};
	check_event(&event);
	event.truncated = true;
	check_event(&event);
	event.type = SLICE_EMPTY;
	check_event(&event);

	openai_usage_read(event.data, &whole);
	openai_usage_read_tail(event.data, &tail);
	PROMISE(!whole.known || tail.known);
	PROMISE(lies_in(openai_error_code(event.data), event.data));
	return 0;
}
