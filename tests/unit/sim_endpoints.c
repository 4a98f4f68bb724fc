/* What the simulated resources answer, asked over sockets and read by the project's strict parsers. */
#include "sim_support.h"

#include <jansson.h>

#include "http/openai.h"

#define FULL \
	"{\"record\":4,\"control\":{},\"resources\":[" \
	"{\"name\":\"one\",\"api_key\":\"secret\",\"deployments\":{\"gpt-4o\":{\"completion_tokens\":5,\"context_" \
	"tokens\":100}," \
	"\"text-embedding-3-small\":{},\"small\":{\"model\":\"gpt-4o\",\"tokens_per_minute\":60,\"requests_per_" \
	"minute\":60}," \
	"\"ptu\":{\"model\":\"gpt-4o\",\"ptu\":1,\"token_window_ms\":240,\"completion_tokens\":1}}}," \
	"{\"name\":\"two\",\"deployments\":{\"gpt-4o\":{}}}]}"

static void
good_requests_get_azures_fields(void **state)
{
	struct sim *sim = start(FULL);
	struct reply reply;

	(void)state;
	ask(sim_port(sim, 0), "POST", CHAT, "x-ms-client-request-id: mine\r\n", CHAT_BODY, &reply);
	CHECK_NUMBER("status", reply.head.status, 200);
	CHECK_TEXT("deployment", field_of(&reply, "x-ms-deployment-name"), "gpt-4o");
	CHECK_TEXT("region", field_of(&reply, "x-ms-region"), "East US");
	CHECK_TEXT("type", field_of(&reply, "content-type"), "application/json");
	CHECK_TEXT("client's id", field_of(&reply, "x-ms-client-request-id"), "mine");
	CHECK_NUMBER("an id", field_of(&reply, "apim-request-id").length, 36);
	CHECK_NUMBER("a date", field_of(&reply, "date").length, 29);
	CHECK("no limit, no limits told", field_of(&reply, "x-ratelimit-limit-tokens").length == 0);
	CHECK("filter results on a deployment path", body_has(&reply, "\"prompt_filter_results\":["));
	CHECK("finished", body_has(&reply, "\"finish_reason\":\"stop\""));
	CHECK("text", body_has(&reply, "\"content\":\"This answer comes from a\""));
	reply_free(&reply);
	post(sim, "/openai/v1/chat/completions", "{\"model\":\"gpt-4o\",\"messages\":[],\"max_tokens\":2}", &reply);
	CHECK_NUMBER("v1", reply.head.status, 200);
	CHECK("none on v1", !body_has(&reply, "prompt_filter_results"));
	CHECK("cut by max_tokens",
	    body_has(&reply, "\"content\":\"This answer\"") && body_has(&reply, "\"finish_reason\":\"length\"") &&
		body_has(&reply, "\"completion_tokens\":2"));
	reply_free(&reply);
	sim_stop(&sim);
}

static void
errors_have_azures_words(void **state)
{
	static const struct {
		const char *behaviour, *method, *target, *fields, *body;
		unsigned status;
		const char *says;
	} cases[] = {
		{ "another path", "GET", "/", "", NULL, 404, "\"code\":\"404\",\"message\":\"Resource not found\"" },
		{ "no api-version", "POST", "/openai/deployments/gpt-4o/chat/completions", "", CHAT_BODY, 404,
		    "Resource not found" },
		{ "no such deployment", "POST", "/openai/deployments/none/chat/completions?api-version=1", "",
		    CHAT_BODY, 404, "\"code\":\"DeploymentNotFound\"" },
		{ "no such model", "POST", "/openai/v1/chat/completions", "", "{\"model\":\"none\",\"messages\":[]}",
		    404, "\"code\":\"DeploymentNotFound\"" },
		{ "no model", "POST", "/openai/v1/chat/completions", "", CHAT_BODY, 400, "must provide a model" },
		{ "no JSON", "POST", CHAT, "", "{", 400, "could not parse the JSON" },
		{ "no body", "POST", CHAT, "Content-Type: application/json\r\nContent-Length: 0\r\n", NULL, 400,
		    "could not parse the JSON" },
		{ "another type", "POST", CHAT, "Content-Type: text/plain\r\nContent-Length: 0\r\n", NULL, 415,
		    "media_type" },
		{ "a coded body", "POST", CHAT, "Content-Encoding: gzip\r\n", CHAT_BODY, 415, "media_type" },
		{ "eleven custom headers", "POST", CHAT,
		    "x-1: a\r\nx-2: a\r\nx-3: a\r\nx-4: a\r\nx-5: a\r\nx-6: a\r\nx-7: a\r\nx-8: a\r\nx-9: a\r\nx-10: "
		    "a\r\n"
		    "x-11: a\r\n",
		    CHAT_BODY, 431, "custom headers" },
		{ "content filter", "POST", CHAT, "", "{\"messages\":[\"please trigger-content-filter\"]}", 400,
		    "\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"" },
		{ "too long", "POST", CHAT, "", "{\"messages\":[],\"max_tokens\":100}", 400,
		    "\"code\":\"context_length_exceeded\"" },
		{ "an escape", "GET", "/openai/../secret", "", NULL, 400, "error" },
		{ "unknown response", "GET", "/openai/v1/responses/resp_x", "", NULL, 404, "not found" },
		{ "unknown file", "GET", "/openai/v1/files/file-x", "", NULL, 404, "resourceNotFound" },
		{ "too many dimensions", "POST", "/openai/v1/embeddings", "",
		    "{\"model\":\"text-embedding-3-small\",\"input\":\"a\",\"dimensions\":1537}", 400, "1536" },
	};
	struct sim *sim = start(FULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct reply reply;

		ask(sim_port(sim, 0), cases[i].method, cases[i].target, cases[i].fields, cases[i].body, &reply);
		CHECK_NUMBER(cases[i].behaviour, reply.head.status, cases[i].status);
		CHECK(cases[i].behaviour, reply.whole && body_has(&reply, cases[i].says));
		reply_free(&reply);
	}
	sim_stop(&sim);
}

static void
keys_are_asked_for(void **state)
{
	static const struct {
		const char *behaviour, *fields;
		size_t resource;
		unsigned status;
	} cases[] = {
		{ "none", "", 0, 401 },
		{ "a wrong one", "api-key: wrong\r\n", 0, 401 },
		{ "the right one", "api-key: secret\r\n", 0, 200 },
		{ "as a token", "Authorization: Bearer secret\r\n", 0, 200 },
		{ "a wrong token", "Authorization: Bearer wrong\r\n", 0, 401 },
		{ "another scheme", "Authorization: Basic secret\r\n", 0, 401 },
		{ "none where any will do", "", 1, 200 },
	};
	struct sim *sim = start(FULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int fd = dial(sim_port(sim, cases[i].resource));
		struct buffer request = { 0 };
		struct reply reply;

		buffer_append_format(&request, "GET /openai/v1/models HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].fields);
		send_text(fd, request.data, request.length);
		read_reply(fd, &reply);
		CHECK_NUMBER(cases[i].behaviour, reply.head.status, cases[i].status);
		close(fd);
		reply_free(&reply);
		buffer_free(&request);
	}
	sim_stop(&sim);
}

static void
chat_streams_come_in_azures_order(void **state)
{
	static const char *const order[] = { "prompt_filter_results", "\"role\":\"assistant\"", "\"content\":\"This\"",
		"\"content\":\" answer\"", "\"content\":\" a\"", "\"delta\":{},\"finish_reason\":\"stop\"",
		"\"choices\":[],\"created\"", "data: [DONE]\n\n" };
	struct sim *sim = start(FULL);
	struct sse_scanner scanner;
	struct sse_event event;
	struct openai_event meaning;
	struct slice rest;
	struct reply reply;
	unsigned contents = 0;

	(void)state;
	post(sim, CHAT, "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[]}", &reply);
	CHECK_NUMBER("status", reply.head.status, 200);
	CHECK("chunked, and whole", reply.head.chunked && reply.whole);
	CHECK_TEXT("type", field_of(&reply, "content-type"), "text/event-stream; charset=utf-8");
	rest = reply.body;
	for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
		ptrdiff_t at = slice_find(rest, slice_from(order[i]));

		CHECK(order[i], at >= 0);
		rest = slice_skip(rest, (size_t)at);
	}
	CHECK_TEXT("nothing behind it", rest, "data: [DONE]\n\n");

	sse_init(&scanner);
	rest = reply.body;
	while (sse_next(&scanner, &rest, &event)) {
		openai_event_read(&event, &meaning);
		contents += meaning.kind == OPENAI_EVENT_CONTENT;
		CHECK("no error", meaning.kind != OPENAI_EVENT_ERROR);
		if (meaning.usage.known)
			CHECK_NUMBER("usage", meaning.usage.completion_tokens, 5);
	}
	CHECK_NUMBER("five tokens, a finish and usage", contents, 7);
	sse_free(&scanner);
	reply_free(&reply);

	post(sim, CHAT, "{\"stream\":true,\"n\":2,\"messages\":[\"trigger-tool-call\"]}", &reply);
	CHECK_NUMBER("both choices call the tool", count_in(reply.body, "\"name\":\"search\""), 2);
	CHECK_NUMBER("and finish so", count_in(reply.body, "\"finish_reason\":\"tool_calls\""), 2);
	reply_free(&reply);
	post(sim, "/openai/deployments/gpt-4o/completions?api-version=1", "{\"stream\":true,\"prompt\":\"a\"}", &reply);
	CHECK("legacy streams carry text", body_has(&reply, "\"text\":\" answer\"") && !body_has(&reply, "delta"));
	reply_free(&reply);
	sim_stop(&sim);
}

static void
tools_are_called_and_outputs_filtered_on_demand(void **state)
{
	struct sim *sim = start(FULL);
	struct reply reply;

	(void)state;
	post(sim, CHAT, "{\"messages\":[\"trigger-tool-call\"]}", &reply);
	CHECK("a tool call",
	    body_has(&reply, "\"tool_calls\":[{") && body_has(&reply, "\"finish_reason\":\"tool_calls\""));
	reply_free(&reply);
	post(sim, CHAT, "{\"messages\":[\"trigger-output-filter\"]}", &reply);
	CHECK_NUMBER("still a 200", reply.head.status, 200);
	CHECK("filtered", body_has(&reply, "\"finish_reason\":\"content_filter\""));
	reply_free(&reply);
	sim_stop(&sim);
}

static void
quotas_end_in_429_with_hints(void **state)
{
	static const char target[] = "/openai/deployments/small/chat/completions?api-version=2024-10-21";
	struct sim *sim = start(FULL);
	struct reply reply;
	uint64_t ms = 0, seconds = 0;

	(void)state;
	post(sim, target, "{\"messages\":[],\"max_tokens\":40}", &reply);
	CHECK_NUMBER("within the quota", reply.head.status, 200);
	CHECK_TEXT("tokens left", field_of(&reply, "x-ratelimit-remaining-tokens"), "19");
	CHECK_TEXT("requests left", field_of(&reply, "x-ratelimit-remaining-requests"), "9");
	CHECK_TEXT("limit", field_of(&reply, "x-ratelimit-limit-tokens"), "60");
	reply_free(&reply);
	post(sim, target, "{\"messages\":[],\"max_tokens\":40}", &reply);
	CHECK_NUMBER("beyond it", reply.head.status, 429);
	CHECK_TEXT("policy", field_of(&reply, "policy-id"), "DeploymentRatelimit-Token");
	CHECK("milliseconds", slice_to_u64(field_of(&reply, "retry-after-ms"), &ms) && ms > 50000 && ms <= 60000);
	CHECK("seconds", slice_to_u64(field_of(&reply, "retry-after"), &seconds) && seconds == (ms + 999) / 1000);
	CHECK("words",
	    body_has(&reply,
		"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version "
		"2024-10-21 have exceeded token rate limit"));
	reply_free(&reply);
	post(sim, "/openai/v1/chat/completions", "{\"model\":\"small\",\"messages\":[],\"max_tokens\":40}", &reply);
	CHECK("newer words",
	    body_has(&reply,
		"Your requests to small for gpt-4o in East US have exceeded the token rate "
		"limit"));
	reply_free(&reply);
	sim_stop(&sim);
}

static void
provisioned_deployments_tell_their_utilisation(void **state)
{
	/* 1 PTU of gpt-4o drains ten tokens in 240 ms, which is what the bucket holds. */
	static const char target[] = "/openai/deployments/ptu/chat/completions?api-version=1";
	struct sim *sim = start(FULL);
	struct reply reply;
	uint64_t ms = 0;

	(void)state;
	post(sim, target, "{\"messages\":[]}", &reply);
	CHECK_NUMBER("let in", reply.head.status, 200);
	CHECK_TEXT("utilisation", field_of(&reply, "azure-openai-deployment-utilization"), "490.0%");
	CHECK("no other limits", field_of(&reply, "x-ratelimit-limit-tokens").length == 0);
	reply_free(&reply);
	post(sim, target, "{\"messages\":[\"a much longer prompt that fills more\"],\"max_tokens\":9}", &reply);
	if (reply.head.status == 200) {
		reply_free(&reply);
		post(sim, target, "{\"messages\":[]}", &reply);
	}
	CHECK_NUMBER("full", reply.head.status, 429);
	CHECK("until it is below 100 %", slice_to_u64(field_of(&reply, "retry-after-ms"), &ms) && ms > 0 && ms < 5000);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
embeddings_are_the_same_as_numbers_and_as_base64(void **state)
{
	struct sim *sim = start(FULL);
	struct reply reply, again;

	(void)state;
	post(sim, "/openai/v1/embeddings",
	    "{\"model\":\"text-embedding-3-small\",\"input\":[\"a\",\"b\"],\"dimensions\":3}", &reply);
	CHECK_NUMBER("status", reply.head.status, 200);
	CHECK_NUMBER("one for each", count_in(reply.body, "\"object\":\"embedding\""), 2);
	CHECK_NUMBER("of three numbers", count_in(reply.body, "0."), 6);
	reply_free(&reply);
	post(sim, "/openai/deployments/text-embedding-3-small/embeddings?api-version=1",
	    "{\"input\":\"a\",\"encoding_format\":\"base64\"}", &reply);
	CHECK_NUMBER("1536 floats", reply.body.length > 8192 && reply.body.length < 8400, 1);
	post(sim, "/openai/deployments/text-embedding-3-small/embeddings?api-version=1",
	    "{\"input\":\"a\",\"encoding_format\":\"base64\"}", &again);
	CHECK("repeatable", slice_equals(reply.body, again.body));
	reply_free(&reply);
	reply_free(&again);
	sim_stop(&sim);
}

static json_t *
parse(const struct reply *reply)
{
	json_t *json = json_loadb(reply->body.data, reply->body.length, 0, NULL);

	if (json == NULL)
		fail_msg("no JSON: %.*s", SLICE_PRINT(reply->body));
	return json;
}

static void
responses_are_stored_on_their_resource(void **state)
{
	struct sim *sim = start(FULL);
	struct reply reply;
	char target[160], body[256], id[80];
	json_t *json;

	(void)state;
	post(sim, "/openai/v1/responses", "{\"model\":\"gpt-4o\",\"input\":\"hi\"}", &reply);
	CHECK_NUMBER("status", reply.head.status, 200);
	json = parse(&reply);
	snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(json, "id")));
	CHECK_TEXT("completed", slice_from(json_string_value(json_object_get(json, "status"))), "completed");
	json_decref(json);
	snprintf(target, sizeof(target), "/openai/v1/responses/%s", id);
	reply_free(&reply);
	ask(sim_port(sim, 0), "GET", target, "", NULL, &reply);
	CHECK_NUMBER("can be had again", reply.head.status, 200);
	reply_free(&reply);
	ask(sim_port(sim, 1), "GET", target, "", NULL, &reply);
	CHECK_NUMBER("but not from another resource", reply.head.status, 404);
	reply_free(&reply);
	snprintf(body, sizeof(body), "{\"model\":\"gpt-4o\",\"input\":\"hi\",\"previous_response_id\":\"%s\"}", id);
	post(sim, "/openai/v1/responses", body, &reply);
	CHECK_NUMBER("can be gone on from", reply.head.status, 200);
	CHECK("which it tells", body_has(&reply, id));
	reply_free(&reply);
	ask(sim_port(sim, 1), "POST", "/openai/v1/responses", "", body, &reply);
	CHECK_NUMBER("but not elsewhere", reply.head.status, 400);
	CHECK("for this reason", body_has(&reply, "previous_response_not_found"));
	reply_free(&reply);
	ask(sim_port(sim, 0), "DELETE", target, "", NULL, &reply);
	CHECK("deleted", body_has(&reply, "\"deleted\":true"));
	reply_free(&reply);
	ask(sim_port(sim, 0), "GET", target, "", NULL, &reply);
	CHECK_NUMBER("and gone", reply.head.status, 404);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
encrypted_reasoning_is_readable_where_it_was_made(void **state)
{
	struct sim *sim = start(FULL);
	struct reply reply;
	struct buffer body = { 0 };
	json_t *json, *item;

	(void)state;
	post(sim, "/openai/v1/responses",
	    "{\"model\":\"gpt-4o\",\"input\":\"hi\",\"store\":false,\"include\":[\"reasoning.encrypted_content\"]}",
	    &reply);
	json = parse(&reply);
	item = json_array_get(json_object_get(json, "output"), 0);
	buffer_append_format(&body,
	    "{\"model\":\"gpt-4o\",\"store\":false,\"input\":[{\"type\":\"reasoning\",\"id\":\"x\","
	    "\"encrypted_content\":\"%s\",\"summary\":[]}]}%c",
	    json_string_value(json_object_get(item, "encrypted_content")), '\0');
	json_decref(json);
	reply_free(&reply);
	post(sim, "/openai/v1/responses", body.data, &reply);
	CHECK_NUMBER("by its own resource", reply.head.status, 200);
	reply_free(&reply);
	ask(sim_port(sim, 1), "POST", "/openai/v1/responses", "", body.data, &reply);
	CHECK_NUMBER("not by another", reply.head.status, 400);
	CHECK("for this reason", body_has(&reply, "invalid_encrypted_content"));
	reply_free(&reply);
	buffer_free(&body);
	sim_stop(&sim);
}

static void
response_streams_are_numbered_and_end_in_usage(void **state)
{
	static const char *const order[] = { "response.created", "response.in_progress", "response.output_item.added",
		"response.content_part.added", "response.output_text.delta", "response.output_text.done",
		"response.content_part.done", "response.output_item.done", "response.completed" };
	struct sim *sim = start(FULL);
	struct sse_scanner scanner;
	struct sse_event event;
	struct openai_event meaning = { 0 };
	struct slice rest;
	struct reply reply;
	size_t stage = 0, number = 0;

	(void)state;
	post(sim, "/openai/v1/responses", "{\"model\":\"gpt-4o\",\"input\":\"hi\",\"stream\":true}", &reply);
	CHECK_NUMBER("status", reply.head.status, 200);
	sse_init(&scanner);
	rest = reply.body;
	while (sse_next(&scanner, &rest, &event)) {
		char sequence[40];

		while (stage < ARRAY_COUNT(order) && !slice_equals(event.type, slice_from(order[stage])))
			stage++;
		CHECK("in order", stage < ARRAY_COUNT(order));
		snprintf(sequence, sizeof(sequence), "\"sequence_number\":%zu,", number++);
		CHECK("numbered", slice_find(event.data, slice_from(sequence)) > 0);
		openai_event_read(&event, &meaning);
	}
	CHECK_NUMBER("ends in completion", meaning.kind, OPENAI_EVENT_TERMINAL);
	CHECK("with usage", meaning.usage.known && meaning.usage.completion_tokens == 5);
	sse_free(&scanner);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
files_can_be_put_listed_and_deleted(void **state)
{
	static const char form[] = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
				   "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n"
				   "one\r\n--two\r\n--b--\r\n";
	struct sim *sim = start(FULL);
	struct buffer request = { 0 };
	struct reply reply;
	char target[160];
	json_t *json;
	int fd = dial(sim_port(sim, 0));

	(void)state;
	buffer_append_format(&request,
	    "POST /openai/v1/files HTTP/1.1\r\nHost: a\r\napi-key: secret\r\nContent-Type: multipart/form-data; "
	    "boundary=b\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    sizeof(form) - 1, form);
	send_text(fd, request.data, request.length);
	read_reply(fd, &reply);
	CHECK_NUMBER("taken", reply.head.status, 200);
	CHECK("its size", body_has(&reply, "\"bytes\":10,") && body_has(&reply, "\"filename\":\"a.jsonl\""));
	json = parse(&reply);
	snprintf(target, sizeof(target), "/openai/v1/files/%s/content", json_string_value(json_object_get(json, "id")));
	json_decref(json);
	reply_free(&reply);
	send_request(fd, "GET", target, "", NULL);
	read_reply(fd, &reply);
	CHECK_TEXT("its content", reply.body, "one\r\n--two");
	reply_free(&reply);
	target[strlen(target) - strlen("/content")] = '\0';
	send_request(fd, "GET", "/openai/v1/files", "", NULL);
	read_reply(fd, &reply);
	CHECK("listed", body_has(&reply, target + strlen("/openai/v1/files/")));
	reply_free(&reply);
	send_request(fd, "DELETE", target, "", NULL);
	read_reply(fd, &reply);
	CHECK("deleted", body_has(&reply, "\"deleted\":true"));
	reply_free(&reply);
	close(fd);
	buffer_free(&request);
	sim_stop(&sim);
}

static void
the_control_port_tells_what_was_seen(void **state)
{
	struct sim *sim = start(FULL);
	struct reply reply;
	json_t *stats, *resource, *request;

	(void)state;
	ask(sim_port(sim, 0), "POST", CHAT, "x-seen: here\r\n", CHAT_BODY, &reply);
	reply_free(&reply);
	ask(sim_control_port(sim), "GET", "/stats", "", NULL, &reply);
	stats = parse(&reply);
	reply_free(&reply);
	resource = json_array_get(json_object_get(stats, "resources"), 0);
	CHECK_NUMBER("requests", json_integer_value(json_object_get(resource, "requests")), 1);
	CHECK_NUMBER("connections", json_integer_value(json_object_get(resource, "connections_accepted")), 1);
	CHECK_NUMBER("by status", json_integer_value(json_object_get(json_object_get(resource, "by_status"), "200")),
	    1);
	request = json_array_get(json_object_get(stats, "requests"), 0);
	CHECK_TEXT("target", slice_from(json_string_value(json_object_get(request, "target"))), CHAT);
	CHECK_TEXT("body", slice_from(json_string_value(json_object_get(request, "body"))), CHAT_BODY);
	CHECK_NUMBER("size", json_integer_value(json_object_get(request, "body_bytes")), strlen(CHAT_BODY));
	CHECK_NUMBER("hash", json_string_length(json_object_get(request, "body_sha256")), 64);
	CHECK_TEXT("fields in their order",
	    slice_from(json_string_value(json_array_get(json_array_get(json_object_get(request, "headers"), 2), 0))),
	    "x-seen");
	json_decref(stats);
	ask(sim_control_port(sim), "POST", "/reset", "", NULL, &reply);
	CHECK_NUMBER("reset", reply.head.status, 200);
	reply_free(&reply);
	ask(sim_control_port(sim), "GET", "/stats", "", NULL, &reply);
	CHECK("forgotten", body_has(&reply, "\"requests\": []") && !body_has(&reply, "\"200\""));
	reply_free(&reply);
	ask(sim_control_port(sim), "GET", "/elsewhere", "", NULL, &reply);
	CHECK_NUMBER("else nothing", reply.head.status, 404);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
the_demo_shows_a_quota_run_out(void **state)
{
	struct sim *sim;
	char fault[SIM_FAULT_SIZE] = "";
	struct buffer request = { 0 };

	(void)state;
	sim = sim_start(sim_demo_config(), fault, sizeof(fault));
	CHECK(fault, sim != NULL);
	CHECK_NUMBER("three resources", sim_resource_count(sim), 3);
	CHECK_TEXT("named", slice_from(sim_resource_name(sim, 2)), "openai3");
	buffer_append_format(&request,
	    "POST %s HTTP/1.1\r\nHost: a\r\napi-key: demo-key-1\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    CHAT, strlen(CHAT_BODY), CHAT_BODY);
	for (unsigned i = 0; i < 4; i++) {
		int fd = dial(sim_port(sim, 0));
		struct reply reply;
		uint64_t seconds = 0;

		send_text(fd, request.data, request.length);
		read_reply(fd, &reply);
		CHECK_NUMBER("three are answered", reply.head.status, i < 3 ? 200 : 429);
		if (i == 3)
			CHECK("the fourth waits about 12 s",
			    slice_to_u64(field_of(&reply, "retry-after"), &seconds) && seconds >= 10 && seconds <= 14);
		reply_free(&reply);
		close(fd);
	}
	buffer_free(&request);
	sim_stop(&sim);
	CHECK("stopped", sim == NULL);
	sim_stop(&sim);
}

static void
it_does_not_start_on_what_it_cannot_do(void **state)
{
	static const char *const configs[] = {
		"{}",
		"{\"resources\":[{\"name\":\"a\",\"address\":\"localhost\"}]}",
		"{\"resources\":[{\"name\":\"a\",\"address\":\"192.0.2.1\"}]}",
		"{\"resources\":[{\"name\":\"a\",\"tls\":{\"certificate_file\":\"/x\",\"private_key_file\":\"/x\"}}]}",
		"{\"resources\":[{\"name\":\"a\"}],\"faults\":[{}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(configs); i++) {
		char fault[SIM_FAULT_SIZE] = "";

		CHECK(configs[i], sim_start(slice_from(configs[i]), fault, sizeof(fault)) == NULL);
		CHECK(configs[i], fault[0] != '\0');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests_get_azures_fields),
		cmocka_unit_test(errors_have_azures_words),
		cmocka_unit_test(keys_are_asked_for),
		cmocka_unit_test(chat_streams_come_in_azures_order),
		cmocka_unit_test(tools_are_called_and_outputs_filtered_on_demand),
		cmocka_unit_test(quotas_end_in_429_with_hints),
		cmocka_unit_test(provisioned_deployments_tell_their_utilisation),
		cmocka_unit_test(embeddings_are_the_same_as_numbers_and_as_base64),
		cmocka_unit_test(responses_are_stored_on_their_resource),
		cmocka_unit_test(encrypted_reasoning_is_readable_where_it_was_made),
		cmocka_unit_test(response_streams_are_numbered_and_end_in_usage),
		cmocka_unit_test(files_can_be_put_listed_and_deleted),
		cmocka_unit_test(the_control_port_tells_what_was_seen),
		cmocka_unit_test(the_demo_shows_a_quota_run_out),
		cmocka_unit_test(it_does_not_start_on_what_it_cannot_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
