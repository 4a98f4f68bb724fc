/* The Responses API: whole answers, their events, and the store behind them. */
#include "sim/resource.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "http/json.h"
#include "sim/pacing.h"
#include "sim/text.h"

#define EVENT_ESTIMATE 256U
/* Marks what this simulator encrypted; the resource's name's hash follows. Only that resource can read it again. */
#define ENCRYPTED_MARK "gAAAAAsim"

/* One response in the making. */
struct reply {
	const struct sim_exchange *exchange;
	struct sim_answer *answer;
	struct sim_pacing pacing;
	uint64_t tokens;
	bool cut; /* by max_output_tokens */
	uint64_t created;
	uint64_t owner; /* the hash of the resource's name */
	char id[SIM_ID_SIZE];
	char message_id[SIM_ID_SIZE];
	char reasoning_id[SIM_ID_SIZE];
	uint64_t sequence;
	uint64_t message_index; /* of the message in "output" */
};

static uint64_t
owner_of(const struct sim_resource *resource)
{
	return hash_bytes(slice_from(resource->config->name), 1);
}

static const struct sim_stored_response *
find_stored(const struct sim_resource *resource, struct slice id)
{
	for (size_t i = 0; i < SIM_STORED_RESPONSES; i++) {
		if (resource->responses[i].id[0] != '\0' && slice_equals(slice_from(resource->responses[i].id), id))
			return &resource->responses[i];
	}
	return NULL;
}

/* The id inside a raw JSON string: ids need no escaping, so its quotes are all that must go. */
static struct slice
unquote(struct slice raw)
{
	return raw.length >= 2 ? slice_of(raw.data + 1, raw.length - 2) : SLICE_EMPTY;
}

static void
store(struct sim_resource *resource, const struct reply *reply, struct slice json)
{
	struct sim_stored_response *stored = &resource->responses[resource->next_response];

	resource->next_response = (resource->next_response + 1) % SIM_STORED_RESPONSES;
	memcpy(stored->id, reply->id, sizeof(stored->id));
	buffer_clear(&stored->json);
	buffer_append_slice(&stored->json, json);
}

static void
append_message_item(struct buffer *out, const struct reply *reply, bool finished)
{
	buffer_append_format(out, "{\"id\":\"%s\",\"type\":\"message\",\"status\":\"%s\",\"content\":[",
	    reply->message_id,
	    !finished        ? "in_progress"
		: reply->cut ? "incomplete"
			     : "completed");
	if (finished) {
		buffer_append_string(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
		sim_text_append(out, reply->tokens);
		buffer_append_string(out, "\"}");
	}
	buffer_append_string(out, "],\"role\":\"assistant\"}");
}

static void
append_reasoning_item(struct buffer *out, const struct reply *reply)
{
	buffer_append_format(out,
	    "{\"id\":\"%s\",\"type\":\"reasoning\",\"encrypted_content\":\"" ENCRYPTED_MARK "%016" PRIx64
	    "\",\"summary\":[]}",
	    reply->reasoning_id, reply->owner);
}

static void
append_output(struct buffer *out, const struct reply *reply)
{
	buffer_append_byte(out, '[');
	if (reply->exchange->call.encrypted_reasoning) {
		append_reasoning_item(out, reply);
		buffer_append_byte(out, ',');
	}
	append_message_item(out, reply, true);
	buffer_append_byte(out, ']');
}

static void
append_usage(struct buffer *out, const struct reply *reply)
{
	uint64_t prompt = reply->exchange->call.prompt_tokens;

	buffer_append_format(out,
	    "{\"input_tokens\":%" PRIu64 ",\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":%" PRIu64
	    ",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%" PRIu64 "}",
	    prompt, reply->tokens, prompt + reply->tokens);
}

/* The response object, at its start or at its end. */
static void
append_response(struct buffer *out, const struct reply *reply, bool finished)
{
	const struct sim_call *call = &reply->exchange->call;

	buffer_append_format(out, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRIu64 ",\"status\":\"%s\"",
	    reply->id, reply->created,
	    !finished        ? "in_progress"
		: reply->cut ? "incomplete"
			     : "completed");
	buffer_append_string(out, ",\"background\":false,\"error\":null,\"incomplete_details\":");
	buffer_append_string(out, finished && reply->cut ? "{\"reason\":\"max_output_tokens\"}" : "null");
	buffer_append_string(out, ",\"instructions\":null,\"max_output_tokens\":");
	if (call->max_tokens != UINT64_MAX)
		buffer_append_u64(out, call->max_tokens);
	else
		buffer_append_string(out, "null");
	buffer_append_format(out,
	    ",\"max_tool_calls\":null,\"model\":\"%s\",\"output\":", reply->exchange->deployment->config->model);
	if (finished)
		append_output(out, reply);
	else
		buffer_append_string(out, "[]");
	buffer_append_string(out, ",\"parallel_tool_calls\":true,\"previous_response_id\":");
	buffer_append_slice(out, call->previous_response.length > 0 ? call->previous_response : SLICE("null"));
	buffer_append_format(out,
	    ",\"reasoning\":{\"effort\":null,\"summary\":null},\"service_tier\":\"default\",\"store\":%s,"
	    "\"temperature\":1.0,"
	    "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,"
	    "\"truncation\":\"disabled\",\"usage\":",
	    call->store ? "true" : "false");
	if (finished)
		append_usage(out, reply);
	else
		buffer_append_string(out, "null");
	buffer_append_string(out, ",\"user\":null,\"metadata\":{}}");
}

/* event: TYPE, data: {"type":TYPE,"sequence_number":N, and then what the caller appends. */
static struct buffer *
begin_event(struct reply *reply, const char *type)
{
	struct buffer *out = &reply->answer->body;

	buffer_append_string(out, "event: ");
	buffer_append_string(out, type);
	buffer_append_string(out, "\ndata: {\"type\":\"");
	buffer_append_string(out, type);
	buffer_append_string(out, "\",\"sequence_number\":");
	buffer_append_u64(out, reply->sequence++);
	return out;
}

static void
end_event(struct reply *reply, uint64_t at_us)
{
	buffer_append_string(&reply->answer->body, "}\n\n");
	sim_answer_end_piece(reply->answer, at_us);
}

static void
response_event(struct reply *reply, const char *type, bool finished, uint64_t at_us)
{
	struct buffer *out = begin_event(reply, type);

	buffer_append_string(out, ",\"response\":");
	append_response(out, reply, finished);
	end_event(reply, at_us);
}

static void
item_event(struct reply *reply, const char *type, uint64_t index, bool finished, uint64_t at_us)
{
	struct buffer *out = begin_event(reply, type);

	buffer_append_format(out, ",\"output_index\":%" PRIu64 ",\"item\":", index);
	if (index < reply->message_index)
		append_reasoning_item(out, reply);
	else
		append_message_item(out, reply, finished);
	end_event(reply, at_us);
}

/* ,"item_id":…,"output_index":…,"content_index":0 */
static void
append_place(struct buffer *out, const struct reply *reply)
{
	buffer_append_string(out, ",\"item_id\":\"");
	buffer_append_string(out, reply->message_id);
	buffer_append_string(out, "\",\"output_index\":");
	buffer_append_u64(out, reply->message_index);
	buffer_append_string(out, ",\"content_index\":0");
}

static void
part_event(struct reply *reply, const char *type, bool finished, uint64_t at_us)
{
	struct buffer *out = begin_event(reply, type);

	append_place(out, reply);
	buffer_append_string(out, ",\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
	sim_text_append(out, finished ? reply->tokens : 0);
	buffer_append_string(out, "\"}");
	end_event(reply, at_us);
}

static void
stream_deltas(struct reply *reply)
{
	uint64_t at_us = reply->pacing.at_us;
	struct buffer *out;

	for (uint64_t token = 0; token < reply->tokens; token++) {
		out = begin_event(reply, "response.output_text.delta");
		append_place(out, reply);
		buffer_append_string(out, ",\"delta\":\"");
		buffer_append_slice(out, sim_text_token(token));
		buffer_append_string(out, "\",\"logprobs\":[]");
		end_event(reply, at_us);
		at_us = sim_pacing_next(&reply->pacing);
	}
	out = begin_event(reply, "response.output_text.done");
	append_place(out, reply);
	buffer_append_string(out, ",\"text\":\"");
	sim_text_append(out, reply->tokens);
	buffer_append_string(out, "\",\"logprobs\":[]");
	end_event(reply, at_us);
}

static void
answer_stream(struct reply *reply)
{
	uint64_t first_us = sim_pacing_first(&reply->pacing), index = 0, end_us;

	sim_answer_begin_stream(reply->answer);
	buffer_reserve(&reply->answer->body, (reply->tokens + 24) * EVENT_ESTIMATE);
	reply->answer->head_at_us = first_us / 2;
	response_event(reply, "response.created", false, first_us / 2);
	response_event(reply, "response.in_progress", false, first_us / 2);
	for (; index < reply->message_index; index++) {
		item_event(reply, "response.output_item.added", index, false, first_us);
		item_event(reply, "response.output_item.done", index, true, first_us);
	}
	item_event(reply, "response.output_item.added", index, false, first_us);
	part_event(reply, "response.content_part.added", false, first_us);
	stream_deltas(reply);
	end_us = reply->pacing.at_us;
	part_event(reply, "response.content_part.done", true, end_us);
	item_event(reply, "response.output_item.done", index, true, end_us);
	response_event(reply, reply->cut ? "response.incomplete" : "response.completed", true, end_us);
}

static void
answer_whole(struct reply *reply)
{
	uint64_t at_us = sim_pacing_first(&reply->pacing);

	append_response(&reply->answer->body, reply, true);
	for (uint64_t i = 1; i < reply->tokens; i++)
		at_us = sim_pacing_next(&reply->pacing);
	sim_answer_end_json(reply->answer, at_us);
}

/* What the request refers to must be this resource's own. */
static bool
references_hold(struct sim_resource *resource, const struct sim_exchange *exchange, struct sim_answer *answer)
{
	struct slice previous = unquote(exchange->call.previous_response), prompt = exchange->call.prompt, mark;
	char own[32];
	ptrdiff_t at;

	if (exchange->call.previous_response.length > 0 && find_stored(resource, previous) == NULL) {
		sim_answer_model_error(answer, 400, "invalid_request_error", "previous_response_id",
		    "previous_response_not_found", "Previous response with id '%.*s' not found.",
		    previous.length < SIM_ID_SIZE ? (int)previous.length : (int)SIM_ID_SIZE, previous.data);
		return false;
	}
	at = slice_find(prompt, SLICE(ENCRYPTED_MARK));
	if (at < 0)
		return true;
	mark = slice_skip(prompt, (size_t)at + strlen(ENCRYPTED_MARK));
	(void)snprintf(own, sizeof(own), "%016" PRIx64, owner_of(resource));
	if (slice_starts_with(mark, slice_from(own)))
		return true;
	sim_answer_model_error(answer, 400, "invalid_request_error", NULL, "invalid_encrypted_content",
	    "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted or parsed.");
	return false;
}

void
sim_responses_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct sim_call *call = &exchange->call;
	struct reply reply = { .exchange = exchange, .answer = answer };

	if (!references_hold(resource, exchange, answer))
		return;
	reply.tokens = exchange->deployment->config->completion_tokens;
	reply.cut = call->max_tokens < reply.tokens;
	if (reply.cut)
		reply.tokens = call->max_tokens;
	reply.created = (uint64_t)(exchange->unix_ms / 1000);
	reply.owner = owner_of(resource);
	reply.message_index = call->encrypted_reasoning ? 1 : 0;
	sim_make_id(&resource->random, "resp_", 48, reply.id);
	sim_make_id(&resource->random, "msg_", 48, reply.message_id);
	sim_make_id(&resource->random, "rs_", 48, reply.reasoning_id);
	sim_pacing_init(&reply.pacing, &exchange->deployment->config->latency, &resource->random);
	answer->output_tokens = reply.tokens;
	if (call->stream)
		answer_stream(&reply);
	else
		answer_whole(&reply);
	if (call->store) {
		struct buffer json = { 0 };

		append_response(&json, &reply, true);
		store(resource, &reply, buffer_slice(&json));
		buffer_free(&json);
	}
}

void
sim_stored_response_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct sim_stored_response *stored = find_stored(resource, exchange->route.id);
	size_t index;

	if (stored == NULL) {
		sim_answer_model_error(answer, 404, "invalid_request_error", NULL, NULL,
		    "Response with id '%.*s' not found.",
		    exchange->route.id.length < SIM_ID_SIZE ? (int)exchange->route.id.length : (int)SIM_ID_SIZE,
		    exchange->route.id.data);
		return;
	}
	if (exchange->route.endpoint == SIM_ENDPOINT_RESPONSE_GET) {
		buffer_append_slice(&answer->body, buffer_slice(&stored->json));
		sim_answer_end_json(answer, 0);
		return;
	}
	buffer_append_format(&answer->body, "{\"id\":\"%s\",\"object\":\"response\",\"deleted\":true}", stored->id);
	sim_answer_end_json(answer, 0);
	index = (size_t)(stored - resource->responses);
	resource->responses[index].id[0] = '\0';
	buffer_free(&resource->responses[index].json);
}
