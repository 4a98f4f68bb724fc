/* Chat completions and completions, whole and as a stream. */
#include "sim/resource.h"

#include <inttypes.h>
#include <string.h>

#include "sim/pacing.h"
#include "sim/text.h"

#define FINGERPRINT "fp_5153650090"
/* The bytes of a chunk, roughly: room is made beforehand. */
#define CHUNK_ESTIMATE 600U

/* One answer in the making. */
struct speech {
	const struct sim_call *call;
	const struct sim_deployment_config *deployment;
	struct sim_answer *answer;
	struct sim_pacing pacing;
	bool legacy;         /* completions: text instead of messages */
	bool filter_results; /* as the deployment paths have them */
	uint64_t tokens;     /* of each choice */
	const char *finish_reason;
	int64_t created;
	char id[SIM_ID_SIZE];
	struct buffer tail; /* what follows the choices in every chunk of a stream */
};

static void
begin_speech(struct speech *speech, struct sim_resource *resource, const struct sim_exchange *exchange,
    struct sim_answer *answer)
{
	const struct sim_call *call = &exchange->call;
	const struct sim_deployment_config *deployment = exchange->deployment->config;

	memset(speech, 0, sizeof(*speech));
	speech->call = call;
	speech->deployment = deployment;
	speech->answer = answer;
	speech->legacy = exchange->route.endpoint == SIM_ENDPOINT_COMPLETIONS;
	speech->filter_results = exchange->route.deployment_path;
	speech->tokens = deployment->completion_tokens;
	speech->finish_reason = "stop";
	if (call->max_tokens < speech->tokens) {
		speech->tokens = call->max_tokens;
		speech->finish_reason = "length";
	}
	if (call->trigger == SIM_TRIGGER_OUTPUT_FILTER) {
		speech->tokens = (speech->tokens + 1) / 2;
		speech->finish_reason = "content_filter";
	} else if (call->trigger == SIM_TRIGGER_TOOL_CALL && !speech->legacy) {
		speech->tokens = speech->tokens < 8 ? speech->tokens : 8;
		speech->finish_reason = "tool_calls";
	}
	speech->created = exchange->unix_ms / 1000;
	sim_make_id(&resource->random, speech->legacy ? "cmpl-" : "chatcmpl-", 28, speech->id);
	sim_pacing_init(&speech->pacing, &deployment->latency, &resource->random);
	answer->output_tokens = speech->tokens * call->choices;
}

static bool
calls_a_tool(const struct speech *speech)
{
	return speech->call->trigger == SIM_TRIGGER_TOOL_CALL && !speech->legacy;
}

static void
append_usage(struct buffer *out, const struct speech *speech)
{
	uint64_t completion = speech->answer->output_tokens, prompt = speech->call->prompt_tokens;

	buffer_append_format(out,
	    "\"usage\":{\"completion_tokens\":%" PRIu64 ",\"completion_tokens_details\":{\"accepted_prediction_"
	    "tokens\":0,\"audio_tokens\":0,\"reasoning_tokens\":0,"
	    "\"rejected_prediction_tokens\":0},\"prompt_tokens\":%" PRIu64
	    ",\"prompt_tokens_details\":{\"audio_tokens\":0,\"cached_tokens\":0},\"total_tokens\":%" PRIu64 "}",
	    completion, prompt, prompt + completion);
}

/* ,"created":…,"id":…,"model":…,"object":…,"system_fingerprint":… */
static void
append_identity(struct buffer *out, const struct speech *speech, const char *object)
{
	buffer_append_format(out, ",\"created\":%" PRId64 ",\"id\":\"%s\",\"model\":\"%s\",\"object\":\"%s\"",
	    speech->created, speech->id, speech->deployment->model, object);
	buffer_append_string(out, ",\"system_fingerprint\":\"" FINGERPRINT "\"");
}

static void
append_message(struct buffer *out, const struct speech *speech)
{
	if (speech->legacy) {
		buffer_append_string(out, "\"text\":\"");
		sim_text_append(out, speech->tokens);
		buffer_append_byte(out, '"');
		return;
	}
	buffer_append_string(out, "\"message\":{\"annotations\":[],\"content\":");
	if (calls_a_tool(speech)) {
		buffer_append_string(out,
		    "null,\"refusal\":null,\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
		    "{\"arguments\":\"{\\\"query\\\":\\\"simulated\\\"}\",\"name\":\"search\"},"
		    "\"id\":\"call_simulated\",\"type\":\"function\"}]}");
		return;
	}
	buffer_append_byte(out, '"');
	sim_text_append(out, speech->tokens);
	buffer_append_string(out, "\",\"refusal\":null,\"role\":\"assistant\"}");
}

static void
answer_whole(struct speech *speech)
{
	struct sim_answer *answer = speech->answer;
	struct buffer *out = &answer->body;
	uint64_t at_us = sim_pacing_first(&speech->pacing);

	buffer_append_string(out, "{\"choices\":[");
	for (uint64_t i = 0; i < speech->call->choices; i++) {
		buffer_append_string(out, i == 0 ? "{" : ",{");
		if (speech->filter_results)
			buffer_append_string(out, "\"content_filter_results\":{" SIM_SAFE_CATEGORIES "},");
		buffer_append_format(out, "\"finish_reason\":\"%s\",\"index\":%" PRIu64 ",\"logprobs\":null,",
		    speech->finish_reason, i);
		append_message(out, speech);
		buffer_append_byte(out, '}');
	}
	buffer_append_byte(out, ']');
	append_identity(out, speech, speech->legacy ? "text_completion" : "chat.completion");
	if (speech->filter_results)
		buffer_append_string(out, "," SIM_PROMPT_FILTER_RESULTS);
	buffer_append_byte(out, ',');
	append_usage(out, speech);
	buffer_append_byte(out, '}');
	for (uint64_t i = 1; i < speech->tokens; i++)
		at_us = sim_pacing_next(&speech->pacing);
	sim_answer_end_json(answer, at_us);
}

static void
append_tail(struct speech *speech)
{
	struct buffer *tail = &speech->tail;

	append_identity(tail, speech, speech->legacy ? "text_completion" : "chat.completion.chunk");
	if (speech->call->include_usage)
		buffer_append_string(tail, ",\"usage\":null");
	buffer_append_string(tail, "}\n\n");
}

/* One chunk with one choice. delta: the inside of "delta", or of "text" in quotes. */
static void
stream_choice(struct speech *speech, uint64_t choice, const char *before, struct slice delta, const char *after,
    const char *finish_reason, uint64_t at_us)
{
	struct buffer *out = &speech->answer->body;

	buffer_append_string(out, "data: {\"choices\":[{");
	if (speech->filter_results && finish_reason == NULL && delta.length > 0)
		buffer_append_string(out, "\"content_filter_results\":{" SIM_SAFE_CATEGORIES "},");
	else if (speech->filter_results)
		buffer_append_string(out, "\"content_filter_results\":{},");
	buffer_append_string(out, speech->legacy ? "\"text\":\"" : "\"delta\":{");
	buffer_append_string(out, before);
	buffer_append_slice(out, delta);
	buffer_append_string(out, after);
	buffer_append_string(out, speech->legacy ? "\",\"finish_reason\":" : "},\"finish_reason\":");
	if (finish_reason == NULL) {
		buffer_append_string(out, "null");
	} else {
		buffer_append_byte(out, '"');
		buffer_append_string(out, finish_reason);
		buffer_append_byte(out, '"');
	}
	buffer_append_string(out, ",\"index\":");
	buffer_append_u64(out, choice);
	buffer_append_string(out, ",\"logprobs\":null}]");
	buffer_append_slice(out, buffer_slice(&speech->tail));
	sim_answer_end_piece(speech->answer, at_us);
}

static void
stream_role(struct speech *speech, uint64_t choice, uint64_t at_us)
{
	if (!speech->legacy)
		stream_choice(speech, choice, calls_a_tool(speech) ? "\"content\":null," : "\"content\":\"\",",
		    SLICE_EMPTY, "\"refusal\":null,\"role\":\"assistant\"", NULL, at_us);
}

static void
stream_token(struct speech *speech, uint64_t choice, uint64_t index, uint64_t at_us)
{
	static const char *const arguments[] = { "{\\\"", "query", "\\\":\\\"", "simulated", "\\\"}" };

	if (speech->legacy)
		stream_choice(speech, choice, "", sim_text_token(index), "", NULL, at_us);
	else if (!calls_a_tool(speech))
		stream_choice(speech, choice, "\"content\":\"", sim_text_token(index), "\"", NULL, at_us);
	else if (index == 0)
		stream_choice(speech, choice, "\"tool_calls\":[{\"function\":{\"arguments\":\"\",\"name\":\"",
		    SLICE("search"), "\"},\"id\":\"call_simulated\",\"index\":0,\"type\":\"function\"}]", NULL, at_us);
	else if (index <= ARRAY_COUNT(arguments))
		stream_choice(speech, choice, "\"tool_calls\":[{\"function\":{\"arguments\":\"",
		    slice_from(arguments[index - 1]), "\"},\"index\":0}]", NULL, at_us);
}

/* The chunk that comes first on the deployment paths: what the filter says of the prompt, and nothing else. */
static void
stream_prompt_filter(struct speech *speech, uint64_t at_us)
{
	if (!speech->filter_results)
		return;
	buffer_append_string(&speech->answer->body,
	    "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":"
	    "\"\"," SIM_PROMPT_FILTER_RESULTS ",\"usage\":null}\n\n");
	sim_answer_end_piece(speech->answer, at_us);
}

static void
stream_end(struct speech *speech, uint64_t at_us)
{
	struct buffer *out = &speech->answer->body;

	for (uint64_t i = 0; i < speech->call->choices; i++)
		stream_choice(speech, i, "", SLICE_EMPTY, "", speech->finish_reason, at_us);
	if (speech->call->include_usage) {
		buffer_append_string(out, "data: {\"choices\":[]");
		append_identity(out, speech, speech->legacy ? "text_completion" : "chat.completion.chunk");
		buffer_append_byte(out, ',');
		append_usage(out, speech);
		buffer_append_string(out, "}\n\n");
		sim_answer_end_piece(speech->answer, at_us);
	}
	buffer_append_string(out, "data: [DONE]\n\n");
	sim_answer_end_piece(speech->answer, at_us);
}

static void
answer_stream(struct speech *speech)
{
	uint64_t at_us = sim_pacing_first(&speech->pacing);

	sim_answer_begin_stream(speech->answer);
	append_tail(speech);
	buffer_reserve(&speech->answer->body, (speech->tokens * speech->call->choices + 4) * CHUNK_ESTIMATE);
	/* Azure has answered the head before the model has its first token. */
	speech->answer->head_at_us = at_us / 2;
	stream_prompt_filter(speech, at_us / 2);
	for (uint64_t i = 0; i < speech->call->choices; i++)
		stream_role(speech, i, at_us);
	for (uint64_t token = 0; token < speech->tokens; token++) {
		for (uint64_t i = 0; i < speech->call->choices; i++)
			stream_token(speech, i, token, at_us);
		at_us = sim_pacing_next(&speech->pacing);
	}
	stream_end(speech, at_us);
	buffer_free(&speech->tail);
}

void
sim_chat_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	struct speech speech;

	begin_speech(&speech, resource, exchange, answer);
	if (exchange->call.stream)
		answer_stream(&speech);
	else
		answer_whole(&speech);
}
