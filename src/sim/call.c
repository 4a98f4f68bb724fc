#include "sim/call.h"

#include <string.h>

#include "http/json.h"

#define TYPE_INVALID "invalid_request_error"

/* Bytes of prompt text that make one token, roughly. */
#define BYTES_PER_TOKEN 4U

/* The members that matter, in the order of their names below. */
enum want {
	WANT_MODEL,
	WANT_STREAM,
	WANT_STREAM_OPTIONS,
	WANT_MESSAGES,
	WANT_PROMPT,
	WANT_INPUT,
	WANT_MAX_TOKENS,
	WANT_MAX_COMPLETION_TOKENS,
	WANT_MAX_OUTPUT_TOKENS,
	WANT_N,
	WANT_STORE,
	WANT_PREVIOUS_RESPONSE_ID,
	WANT_INCLUDE,
	WANT_DIMENSIONS,
	WANT_ENCODING_FORMAT,
	WANT_COUNT,
};

static const struct json_want wants_template[WANT_COUNT] = {
	[WANT_MODEL] = { .key = { "model", 5 } },
	[WANT_STREAM] = { .key = { "stream", 6 } },
	[WANT_STREAM_OPTIONS] = { .key = { "stream_options", 14 } },
	[WANT_MESSAGES] = { .key = { "messages", 8 } },
	[WANT_PROMPT] = { .key = { "prompt", 6 } },
	[WANT_INPUT] = { .key = { "input", 5 } },
	[WANT_MAX_TOKENS] = { .key = { "max_tokens", 10 } },
	[WANT_MAX_COMPLETION_TOKENS] = { .key = { "max_completion_tokens", 21 } },
	[WANT_MAX_OUTPUT_TOKENS] = { .key = { "max_output_tokens", 17 } },
	[WANT_N] = { .key = { "n", 1 } },
	[WANT_STORE] = { .key = { "store", 5 } },
	[WANT_PREVIOUS_RESPONSE_ID] = { .key = { "previous_response_id", 20 } },
	[WANT_INCLUDE] = { .key = { "include", 7 } },
	[WANT_DIMENSIONS] = { .key = { "dimensions", 10 } },
	[WANT_ENCODING_FORMAT] = { .key = { "encoding_format", 15 } },
};

static bool
is_given(const struct json_want *want)
{
	return want->found > 0 && want->kind != JSON_NULL;
}

/* Reads an optional whole number of at least least. */
static bool
read_number(const struct json_want *want, uint64_t least, uint64_t *value, struct sim_answer *answer)
{
	if (!is_given(want))
		return true;
	if (want->kind == JSON_NUMBER && json_to_u64(want->value, value) && *value >= least)
		return true;
	sim_answer_model_error(answer, 400, TYPE_INVALID, want->key.data, NULL,
	    "Invalid type or value for '%s': expected an integer of at least %u.", want->key.data, (unsigned)least);
	return false;
}

static bool
read_bool(const struct json_want *want, bool *value, struct sim_answer *answer)
{
	if (!is_given(want))
		return true;
	if (want->kind != JSON_TRUE && want->kind != JSON_FALSE) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, want->key.data, NULL,
		    "Invalid type for '%s': expected a boolean.", want->key.data);
		return false;
	}
	*value = want->kind == JSON_TRUE;
	return true;
}

static bool
read_stream_options(struct sim_call *call, const struct json_want *want, struct sim_answer *answer)
{
	struct json_want usage = { .key = SLICE("include_usage") };

	if (!is_given(want))
		return true;
	if (want->kind != JSON_OBJECT || json_scan(want->value, &usage, 1) != JSON_OK) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, "stream_options", NULL,
		    "Invalid type for 'stream_options': expected an object.");
		return false;
	}
	if (!call->stream) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, "stream_options", NULL,
		    "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
		return false;
	}
	return read_bool(&usage, &call->include_usage, answer);
}

static const struct json_want *
prompt_of(enum sim_endpoint endpoint, const struct json_want *wants)
{
	if (endpoint == SIM_ENDPOINT_CHAT)
		return &wants[WANT_MESSAGES];
	return endpoint == SIM_ENDPOINT_COMPLETIONS ? &wants[WANT_PROMPT] : &wants[WANT_INPUT];
}

static bool
read_prompt(struct sim_call *call, enum sim_endpoint endpoint, const struct json_want *want, struct sim_answer *answer)
{
	if (!is_given(want)) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, NULL, NULL, "'%s' is a required property",
		    want->key.data);
		return false;
	}
	if (want->kind != JSON_ARRAY && (want->kind != JSON_STRING || endpoint == SIM_ENDPOINT_CHAT)) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, want->key.data, "invalid_type",
		    "Invalid type for '%s'.", want->key.data);
		return false;
	}
	call->prompt = want->value;
	call->prompt_is_array = want->kind == JSON_ARRAY;
	call->prompt_tokens = 1 + call->prompt.length / BYTES_PER_TOKEN;
	return true;
}

static enum sim_trigger
find_trigger(struct slice prompt)
{
	ptrdiff_t at = slice_find(prompt, SLICE("trigger-"));
	struct slice rest;

	if (at < 0)
		return SIM_TRIGGER_NONE;
	rest = slice_skip(prompt, (size_t)at + 8);
	if (slice_starts_with(rest, SLICE("content-filter")))
		return SIM_TRIGGER_CONTENT_FILTER;
	if (slice_starts_with(rest, SLICE("output-filter")))
		return SIM_TRIGGER_OUTPUT_FILTER;
	return slice_starts_with(rest, SLICE("tool-call")) ? SIM_TRIGGER_TOOL_CALL : SIM_TRIGGER_NONE;
}

struct element_count {
	uint64_t count;
	bool first_is_number;
};

static bool
count_element(struct slice element, enum json_kind kind, void *context)
{
	struct element_count *elements = context;

	(void)element;
	if (elements->count++ == 0)
		elements->first_is_number = kind == JSON_NUMBER;
	return true;
}

/* One text, several, the tokens of one, or those of several. */
static bool
count_inputs(struct sim_call *call, struct sim_answer *answer)
{
	struct element_count elements = { 0 };

	call->input_count = 1;
	if (!call->prompt_is_array)
		return true;
	if (!json_each(call->prompt, count_element, &elements) || elements.count == 0 ||
	    (!elements.first_is_number && elements.count > SIM_EMBEDDING_INPUTS_MAX)) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, "input", NULL,
		    "Too many inputs, or none. The max number of inputs is %u.", SIM_EMBEDDING_INPUTS_MAX);
		return false;
	}
	call->input_is_list = !elements.first_is_number;
	if (call->input_is_list)
		call->input_count = elements.count;
	return true;
}

static bool
read_embedding_options(struct sim_call *call, const struct json_want *wants, struct sim_answer *answer)
{
	const struct json_want *encoding = &wants[WANT_ENCODING_FORMAT];

	call->output_estimate = 0;
	if (!read_number(&wants[WANT_DIMENSIONS], 1, &call->dimensions, answer))
		return false;
	if (is_given(encoding)) {
		call->base64 = json_string_equals(encoding->value, SLICE("base64"));
		if (!call->base64 && !json_string_equals(encoding->value, SLICE("float"))) {
			sim_answer_model_error(answer, 400, TYPE_INVALID, "encoding_format", NULL,
			    "Invalid value for 'encoding_format': expected 'float' or 'base64'.");
			return false;
		}
	}
	return count_inputs(call, answer);
}

static bool
read_max_tokens(struct sim_call *call, enum sim_endpoint endpoint, const struct json_want *wants,
    struct sim_answer *answer)
{
	if (endpoint == SIM_ENDPOINT_RESPONSES)
		return read_number(&wants[WANT_MAX_OUTPUT_TOKENS], 16, &call->max_tokens, answer);
	return read_number(&wants[WANT_MAX_TOKENS], 1, &call->max_tokens, answer) &&
	    read_number(&wants[WANT_MAX_COMPLETION_TOKENS], 1, &call->max_tokens, answer);
}

static bool
read_generation_options(struct sim_call *call, enum sim_endpoint endpoint, const struct json_want *wants,
    struct sim_answer *answer)
{
	if (!read_bool(&wants[WANT_STREAM], &call->stream, answer) || !read_max_tokens(call, endpoint, wants, answer) ||
	    !read_number(&wants[WANT_N], 1, &call->choices, answer))
		return false;
	if (call->choices > SIM_CHOICES_MAX || (endpoint == SIM_ENDPOINT_RESPONSES && call->choices != 1)) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, "n", NULL, "Invalid value for 'n'.");
		return false;
	}
	call->output_estimate = call->max_tokens != UINT64_MAX ? call->max_tokens : SIM_OUTPUT_ESTIMATE;
	call->output_estimate *= call->choices;
	if (endpoint != SIM_ENDPOINT_RESPONSES)
		return read_stream_options(call, &wants[WANT_STREAM_OPTIONS], answer);
	if (wants[WANT_PREVIOUS_RESPONSE_ID].kind == JSON_STRING)
		call->previous_response = wants[WANT_PREVIOUS_RESPONSE_ID].value;
	if (wants[WANT_INCLUDE].kind == JSON_ARRAY)
		call->encrypted_reasoning =
		    slice_find(wants[WANT_INCLUDE].value, SLICE("\"reasoning.encrypted_content\"")) >= 0;
	return read_bool(&wants[WANT_STORE], &call->store, answer);
}

bool
sim_call_read(struct sim_call *call, enum sim_endpoint endpoint, struct slice body, struct sim_answer *answer)
{
	struct json_want wants[WANT_COUNT];

	memset(call, 0, sizeof(*call));
	memcpy(wants, wants_template, sizeof(wants));
	call->max_tokens = UINT64_MAX;
	call->choices = 1;
	call->store = true;
	if (json_scan(body, wants, WANT_COUNT) != JSON_OK) {
		sim_answer_model_error(answer, 400, TYPE_INVALID, NULL, NULL,
		    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your "
		    "HTTP "
		    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)");
		return false;
	}
	if (wants[WANT_MODEL].kind == JSON_STRING)
		call->model = wants[WANT_MODEL].value;
	if (!read_prompt(call, endpoint, prompt_of(endpoint, wants), answer))
		return false;
	call->trigger = find_trigger(call->prompt);
	return endpoint == SIM_ENDPOINT_EMBEDDINGS ? read_embedding_options(call, wants, answer)
						   : read_generation_options(call, endpoint, wants, answer);
}
