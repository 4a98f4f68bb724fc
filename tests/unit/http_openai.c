/* http/openai.h */
#include "unit.h"

#include "http/openai.h"

#define CHUNK(choices) "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[" choices "],\"usage\":null}"
#define DELTA(delta) CHUNK("{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}")

static struct openai_event
read_event(const char *type, const char *data, bool truncated)
{
	struct sse_event event = { .type = slice_from(type),
		.data = slice_from(data),
		.has_data = data != NULL,
		.truncated = truncated };
	struct openai_event out;

	openai_event_read(&event, &out);
	return out;
}

static void
events_are_told_apart(void **state)
{
	enum {
		QUIET = OPENAI_EVENT_QUIET,
		CONTENT = OPENAI_EVENT_CONTENT,
		DONE = OPENAI_EVENT_DONE,
		TERMINAL = OPENAI_EVENT_TERMINAL
	};
	enum { UNKNOWN = OPENAI_DIALECT_UNKNOWN, CHUNKS = OPENAI_DIALECT_CHUNKS, RESPONSES = OPENAI_DIALECT_RESPONSES };
	static const struct {
		const char *behaviour, *type, *data;
		int want, dialect;
	} rows[] = {
		{ "no data", "", NULL, QUIET, UNKNOWN },
		{ "a type without data", "x", NULL, QUIET, UNKNOWN },
		{ "the end", "", "[DONE]", DONE, UNKNOWN },
		{ "a role", "", DELTA("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null"), QUIET, CHUNKS },
		{ "an empty delta", "", DELTA(""), QUIET, CHUNKS },
		{ "content", "", DELTA("\"content\":\"Hi\""), CONTENT, CHUNKS },
		{ "content of one space", "", DELTA("\"content\":\" \""), CONTENT, CHUNKS },
		{ "null content", "", DELTA("\"content\":null"), QUIET, CHUNKS },
		{ "a refusal", "", DELTA("\"content\":null,\"refusal\":\"No\""), CONTENT, CHUNKS },
		{ "a tool call", "", DELTA("\"tool_calls\":[{\"index\":0}]"), CONTENT, CHUNKS },
		{ "no tool calls", "", DELTA("\"tool_calls\":[]"), QUIET, CHUNKS },
		{ "no tool calls, spaced", "", DELTA("\"tool_calls\":[ \n ]"), QUIET, CHUNKS },
		{ "a function call", "", DELTA("\"function_call\":{\"name\":\"f\"}"), CONTENT, CHUNKS },
		{ "reasoning", "", DELTA("\"reasoning\":\"Hm\""), CONTENT, CHUNKS },
		{ "reasoning content", "", DELTA("\"reasoning_content\":\"Hm\""), CONTENT, CHUNKS },
		{ "empty reasoning", "", DELTA("\"reasoning_content\":\"\""), QUIET, CHUNKS },
		{ "audio", "", DELTA("\"audio\":{\"data\":\"AA\"}"), CONTENT, CHUNKS },
		{ "a finish reason", "", CHUNK("{\"delta\":{},\"finish_reason\":\"stop\"}"), CONTENT, CHUNKS },
		{ "the second choice has content", "",
		    CHUNK("{\"delta\":{}},{\"index\":1,\"delta\":{\"content\":\"a\"}}"), CONTENT, CHUNKS },
		{ "neither choice has content", "", CHUNK("{\"delta\":{}},{\"index\":1,\"delta\":{}}"), QUIET, CHUNKS },
		{ "text of completions", "",
		    "{\"object\":\"text_completion\",\"choices\":[{\"text\":\"a\",\"index\":0}]}", CONTENT, CHUNKS },
		{ "empty text of completions", "", "{\"choices\":[{\"text\":\"\",\"finish_reason\":null}]}", QUIET,
		    CHUNKS },
		{ "the prompt filter", "",
		    "{\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"prompt_filter_results\":[{\"prompt_"
		    "index\":0}],"
		    "\"choices\":[],\"usage\":null}",
		    QUIET, CHUNKS },
		{ "the prompt filter without choices", "", "{\"prompt_filter_results\":[{\"prompt_index\":0}]}", QUIET,
		    UNKNOWN },
		{ "the asynchronous filter", "",
		    CHUNK("{\"index\":0,\"finish_reason\":null,\"content_filter_results\":{\"hate\":{\"filtered\":"
			  "false}},"
			  "\"content_filter_offsets\":{\"check_offset\":44}}"),
		    QUIET, CHUNKS },
		{ "usage without choices", "", "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", CONTENT, CHUNKS },
		{ "choices that are null", "", "{\"choices\":null}", QUIET, CHUNKS },

		{ "response.created", "response.created",
		    "{\"type\":\"response.created\",\"response\":{\"error\":null}}", QUIET, RESPONSES },
		{ "response.queued", "", "{\"type\":\"response.queued\"}", QUIET, RESPONSES },
		{ "response.in_progress", "", "{\"type\":\"response.in_progress\"}", QUIET, RESPONSES },
		{ "response.output_item.added", "", "{\"type\":\"response.output_item.added\"}", CONTENT, RESPONSES },
		{ "response.output_text.delta", "", "{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}",
		    CONTENT, RESPONSES },
		{ "response.created_later", "", "{\"type\":\"response.created_later\"}", CONTENT, RESPONSES },
		{ "response.completed", "", "{\"type\":\"response.completed\",\"response\":{}}", TERMINAL, RESPONSES },
		{ "response.incomplete", "", "{\"type\":\"response.incomplete\"}", TERMINAL, RESPONSES },
		{ "a type in the event field alone", "response.completed", "{\"response\":{}}", TERMINAL, RESPONSES },
		{ "keepalive", "", "{\"type\":\"keepalive\",\"sequence_number\":3}", QUIET, UNKNOWN },
		{ "keepalive in the event field", "keepalive", "{}", QUIET, UNKNOWN },
		{ "an unknown type", "", "{\"type\":\"ping\"}", CONTENT, UNKNOWN },
		{ "an unknown object", "", "{\"a\":1}", CONTENT, UNKNOWN },
		{ "no object", "", "hello", CONTENT, UNKNOWN },
		{ "broken JSON", "", "{\"choices\":[", CONTENT, UNKNOWN },
		{ "empty data, which no reader is told of", "", "", QUIET, UNKNOWN },
		{ "a null error", "", "{\"error\":null,\"choices\":[]}", QUIET, CHUNKS },
		{ "a false error", "", "{\"error\":false,\"choices\":[]}", QUIET, CHUNKS },
		{ "an empty error", "", "{\"error\":\"\",\"choices\":[]}", QUIET, CHUNKS },
		{ "an error of 0", "", "{\"error\":0.0e5,\"choices\":[]}", QUIET, CHUNKS },
		{ "an error deeper down", "", CHUNK("{\"delta\":{\"content\":\"a\"},\"error\":{\"code\":\"x\"}}"),
		    CONTENT, CHUNKS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct openai_event event = read_event(rows[i].type, rows[i].data, false);
		CHECK_NUMBER(rows[i].behaviour, event.kind, rows[i].want);
		CHECK_NUMBER(rows[i].behaviour, event.dialect, rows[i].dialect);
		CHECK_NUMBER(rows[i].behaviour, event.error_status, 0);
	}
}

static void
errors_stand_for_a_status(void **state)
{
	static const struct {
		const char *behaviour, *type, *data;
		unsigned want;
		bool response_failed;
	} rows[] = {
		{ "a code of 429", "", "{\"error\":{\"code\":\"429\",\"message\":\"m\"}}", 429, false },
		{ "a number of 429", "", "{\"error\":{\"code\":429}}", 429, false },
		{ "rate_limit_exceeded", "", "{\"error\":{\"code\":\"rate_limit_exceeded\"}}", 429, false },
		{ "too_many_requests as a type", "", "{\"error\":{\"type\":\"too_many_requests\",\"code\":null}}", 429,
		    false },
		{ "insufficient_quota", "", "{\"error\":{\"code\":\"insufficient_quota\"}}", 429, false },
		{ "a type of 429 beats a code of 500", "", "{\"error\":{\"code\":\"500\",\"type\":\"429\"}}", 429,
		    false },
		{ "server_error", "", "{\"error\":{\"code\":\"server_error\"}}", 500, false },
		{ "503 stands for itself", "", "{\"error\":{\"code\":\"503\"}}", 503, false },
		{ "400 does not", "", "{\"error\":{\"code\":\"400\"}}", 500, false },
		{ "no code", "", "{\"error\":{\"message\":\"m\"}}", 500, false },
		{ "an empty object", "", "{\"error\":{}}", 500, false },
		{ "a string", "", "{\"error\":\"too_many_requests\"}", 429, false },
		{ "any other string", "", "{\"error\":\"oops\"}", 500, false },
		{ "true", "", "{\"error\":true}", 500, false },
		{ "a number", "", "{\"error\":0.1}", 500, false },
		{ "in a chunk", "", "{\"choices\":[],\"error\":{\"code\":\"429\"}}", 429, false },
		{ "an event of type error", "error", "{\"code\":\"rate_limit_exceeded\"}", 429, false },
		{ "an event of type error that is no JSON", "error", "oops", 500, false },
		{ "a type of error", "",
		    "{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\",\"param\":null}", 500, false },
		{ "a type of error that is throttled", "", "{\"type\":\"error\",\"code\":\"429\"}", 429, false },
		{ "a type of error with an error within", "",
		    "{\"type\":\"error\",\"error\":{\"type\":\"too_many_requests\",\"code\":\"too_many_requests\"}}",
		    429, false },
		{ "response.failed", "response.failed",
		    "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_"
		    "error\"}}}",
		    500, true },
		{ "response.failed for throttling", "",
		    "{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}", 429,
		    true },
		{ "response.failed without a word", "", "{\"type\":\"response.failed\"}", 500, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct openai_event event = read_event(rows[i].type, rows[i].data, false);
		CHECK_NUMBER(rows[i].behaviour, event.kind, OPENAI_EVENT_ERROR);
		CHECK_NUMBER(rows[i].behaviour, event.error_status, rows[i].want);
		CHECK(rows[i].behaviour, event.response_failed == rows[i].response_failed);
	}
}

static void
truncated_events_are_read_as_far_as_they_go(void **state)
{
	(void)state;
	struct openai_event event = read_event("response.completed",
	    "{\"type\":\"response.completed\",\"response\":{\"id\":\"x\",\"output\":[{\"a", true);
	CHECK_NUMBER("a long end", event.kind, OPENAI_EVENT_TERMINAL);
	CHECK("its usage is lost", !event.usage.known);
	event = read_event("", "{\"error\":{\"code\":\"429\",\"message\":\"aaa", true);
	CHECK_NUMBER("a long error", event.error_status, 429);
	event = read_event("", "{\"id\":\"\",\"choices\":[{\"delta\":{\"content\":\"aaa", true);
	CHECK_NUMBER("long content", event.kind, OPENAI_EVENT_CONTENT);
	event = read_event("", "{\"id\":\"aaa", true);
	CHECK_NUMBER("anything else that is long", event.kind, OPENAI_EVENT_CONTENT);
}

static void
check_usage(const char *behaviour, const struct openai_usage *usage, bool known, uint64_t prompt, uint64_t cached,
    uint64_t completion, uint64_t total)
{
	CHECK(behaviour, usage->known == known);
	CHECK_NUMBER(behaviour, usage->prompt_tokens, prompt);
	CHECK_NUMBER(behaviour, usage->cached_tokens, cached);
	CHECK_NUMBER(behaviour, usage->completion_tokens, completion);
	CHECK_NUMBER(behaviour, usage->total_tokens, total);
}

static void
usage_is_read(void **state)
{
	static const struct {
		const char *behaviour, *body;
		bool known;
		uint64_t prompt, cached, completion, total;
	} rows[] = {
		{ "a chat",
		    "{\"id\":\"\\\"usage\\\"\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_"
		    "tokens\":15,"
		    "\"prompt_tokens_details\":{\"audio_tokens\":1,\"cached_tokens\":8}}}",
		    true, 10, 8, 5, 15 },
		{ "embeddings", "{\"data\":[],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}", true, 7, 0, 0, 7 },
		{ "a response",
		    "{\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":"
		    "6,"
		    "\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":16}}",
		    true, 10, 4, 6, 16 },
		{ "no total", "{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}", true, 3, 0, 4, 7 },
		{ "no details", "{\"usage\":{\"prompt_tokens\":3,\"prompt_tokens_details\":null}}", true, 3, 0, 0, 3 },
		{ "null", "{\"usage\":null}", false, 0, 0, 0, 0 },
		{ "an empty object", "{\"usage\":{}}", false, 0, 0, 0, 0 },
		{ "numbers that are none", "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":\"4\"}}", false, 0,
		    0, 0, 0 },
		{ "none", "{\"a\":1}", false, 0, 0, 0, 0 },
		{ "no object", "[]", false, 0, 0, 0, 0 },
	};
	struct openai_usage usage;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		openai_usage_read(slice_from(rows[i].body), &usage);
		check_usage(rows[i].behaviour, &usage, rows[i].known, rows[i].prompt, rows[i].cached,
		    rows[i].completion, rows[i].total);
		openai_usage_read_tail(slice_from(rows[i].body), &usage);
		check_usage(rows[i].behaviour, &usage, rows[i].known, rows[i].prompt, rows[i].cached,
		    rows[i].completion, rows[i].total);
		struct openai_event event = read_event("", rows[i].body, false);
		check_usage(rows[i].behaviour, &event.usage, rows[i].known, rows[i].prompt, rows[i].cached,
		    rows[i].completion, rows[i].total);
	}
	struct openai_event event = read_event("",
	    "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"total_"
	    "tokens\":3}}}",
	    false);
	check_usage("the end of a response", &event.usage, true, 1, 0, 2, 3);
}

static void
the_tail_of_an_answer_tells_its_usage(void **state)
{
	static const struct {
		const char *behaviour, *tail;
		bool known;
		uint64_t prompt;
	} rows[] = {
		{ "cut at the front", "lo\"}}],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}", true, 3 },
		{ "spaces", "\"usage\" : \n {\"prompt_tokens\":3}}", true, 3 },
		{ "the last of two", "\"usage\":{\"prompt_tokens\":1},\"usage\":{\"prompt_tokens\":2}}", true, 2 },
		{ "one in a string", "\\\"usage\\\":{\"prompt_tokens\":1}\"}", false, 0 },
		{ "no colon", "\"usage\"{\"prompt_tokens\":1}}", false, 0 },
		{ "two colons", "\"usage\"::{\"prompt_tokens\":1}}", false, 0 },
		{ "a value of that name", "{\"a\":\"usage\"}", false, 0 },
		{ "cut in a number", "\"usage\":{\"prompt_tokens\":1", false, 0 },
		{ "cut in the key", "\"usag", false, 0 },
		{ "nothing", "", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].tail);
		char *tail = exact_copy(rows[i].tail, length);
		struct openai_usage usage;
		openai_usage_read_tail(slice_of(tail, length), &usage);
		CHECK(rows[i].behaviour, usage.known == rows[i].known);
		CHECK_NUMBER(rows[i].behaviour, usage.prompt_tokens, rows[i].prompt);
		free(tail);
	}
}

static void
error_codes_are_found(void **state)
{
	static const struct {
		const char *behaviour, *body, *want;
	} rows[] = {
		{ "a string", "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"m\"}}", "DeploymentNotFound" },
		{ "a number", "{\"error\":{\"message\":\"m\",\"code\":429}}", "429" },
		{ "null", "{\"error\":{\"code\":null}}", "" },
		{ "none", "{\"error\":{}}", "" },
		{ "an error that is a string", "{\"error\":\"x\"}", "" },
		{ "a code outside of the error", "{\"code\":\"x\"}", "" },
		{ "a body that is cut", "{\"error\":{\"code\":\"x\",\"message\":\"aa", "x" },
		{ "no JSON", "<html>", "" },
		{ "nothing", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		CHECK_TEXT(rows[i].behaviour, openai_error_code(slice_from(rows[i].body)), rows[i].want);
}

static void
events_in_the_midst_need_not_be_read(void **state)
{
	enum { UNKNOWN = OPENAI_DIALECT_UNKNOWN, CHUNKS = OPENAI_DIALECT_CHUNKS, RESPONSES = OPENAI_DIALECT_RESPONSES };
	static const struct {
		const char *behaviour, *type, *data;
		int dialect;
		bool want;
	} rows[] = {
		{ "content", "", DELTA("\"content\":\"Hi\""), CHUNKS, true },
		{ "content that tells of errors in quotes", "", DELTA("\"content\":\"\\\"error\\\"\""), CHUNKS, true },
		{ "a dialect that is not known yet", "", DELTA("\"content\":\"Hi\""), UNKNOWN, false },
		{ "the other dialect", "", DELTA("\"content\":\"Hi\""), RESPONSES, false },
		{ "usage", "", "{\"choices\":[],\"usage\":{\"total_tokens\":1}}", CHUNKS, false },
		{ "spaced usage", "", "{\"choices\":[],\"usage\" : {\"total_tokens\":1}}", CHUNKS, false },
		{ "usage behind none", "", "{\"usage\":null,\"usage\":{\"total_tokens\":1}}", CHUNKS, false },
		{ "an error", "", "{\"error\":{\"code\":\"429\"}}", CHUNKS, false },
		{ "an error that is spelled by escapes", "", "{\"\\u0065rror\":{\"code\":\"429\"}}", CHUNKS, false },
		{ "one letter of it is", "", "{\"er\\u0072or\":{\"code\":\"429\"}}", CHUNKS, false },
		{ "usage that is spelled by escapes", "", "{\"us\\u0061ge\":{\"total_tokens\":1}}", CHUNKS, false },
		{ "all of it is", "", "{\"\\u0075\\u0073\\u0061\\u0067\\u0065\":{\"total_tokens\":1}}", CHUNKS, false },
		{ "content that begins with an escape", "", DELTA("\"content\":\"\\n\\u00e9\""), CHUNKS, true },
		{ "a type", "", "{\"type\":\"error\"}", CHUNKS, false },
		{ "an event's type", "error", "{}", CHUNKS, false },
		{ "the end", "", "[DONE]", CHUNKS, false },
		{ "no data", "", "", CHUNKS, false },
		{ "a delta", "response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}",
		    RESPONSES, true },
		{ "a delta of no dialect yet", "response.output_text.delta",
		    "{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}", UNKNOWN, false },
		{ "two types", "response.output_text.delta",
		    "{\"type\":\"response.output_text.delta\",\"type\":\"error\"}", RESPONSES, false },
		{ "types that differ", "response.output_text.delta", "{\"type\":\"response.failed\"}", RESPONSES,
		    false },
		{ "a longer type", "response.output_text.delta", "{\"type\":\"response.output_text.delta.x\"}",
		    RESPONSES, false },
		{ "a type that stops short", "response.output_text.delta", "{\"type\":\"response.output_text.delta",
		    RESPONSES, false },
		{ "the end of a response", "response.completed", "{\"type\":\"response.completed\"}", RESPONSES,
		    false },
		{ "a type alone", ".delta", "{\"type\":\".delta\"}", RESPONSES, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].data);
		char *data = exact_copy(rows[i].data, length);
		struct sse_event event = { .type = slice_from(rows[i].type),
			.data = slice_of(data, length),
			.has_data = true };

		CHECK(rows[i].behaviour,
		    openai_event_only_goes_on(&event, (enum openai_dialect)rows[i].dialect) == rows[i].want);
		event.truncated = true;
		CHECK("what was cut is read", !openai_event_only_goes_on(&event, (enum openai_dialect)rows[i].dialect));
		free(data);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_told_apart),
		cmocka_unit_test(errors_stand_for_a_status),
		cmocka_unit_test(truncated_events_are_read_as_far_as_they_go),
		cmocka_unit_test(usage_is_read),
		cmocka_unit_test(the_tail_of_an_answer_tells_its_usage),
		cmocka_unit_test(error_codes_are_found),
		cmocka_unit_test(events_in_the_midst_need_not_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
