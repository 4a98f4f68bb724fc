/* sim/route.h and sim/call.h */
#include "unit.h"

#include "sim/call.h"
#include "sim/route.h"

static void
paths_and_methods_mean_endpoints(void **state)
{
	static const struct {
		enum http_method method;
		const char *path, *query;
		enum sim_endpoint want;
		const char *deployment, *id;
	} cases[] = {
		{ METHOD_POST, "/openai/deployments/d/chat/completions", "api-version=1", SIM_ENDPOINT_CHAT, "d", "" },
		{ METHOD_POST, "/openai/deployments/d/completions", "api-version=1", SIM_ENDPOINT_COMPLETIONS, "d",
		    "" },
		{ METHOD_POST, "/openai/deployments/d/embeddings", "a=b&api-version=1", SIM_ENDPOINT_EMBEDDINGS, "d",
		    "" },
		{ METHOD_POST, "/openai/deployments/d/embeddings", "", SIM_ENDPOINT_UNKNOWN, "d", "" },
		{ METHOD_GET, "/openai/deployments/d/embeddings", "api-version=1", SIM_ENDPOINT_UNKNOWN, "d", "" },
		{ METHOD_POST, "/openai/deployments//embeddings", "api-version=1", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_POST, "/openai/deployments/d", "api-version=1", SIM_ENDPOINT_UNKNOWN, "d", "" },
		{ METHOD_POST, "/openai/v1/chat/completions", "", SIM_ENDPOINT_CHAT, "", "" },
		{ METHOD_POST, "/openai/v1/completions", "", SIM_ENDPOINT_COMPLETIONS, "", "" },
		{ METHOD_POST, "/openai/v1/embeddings", "", SIM_ENDPOINT_EMBEDDINGS, "", "" },
		{ METHOD_POST, "/openai/v1/responses", "", SIM_ENDPOINT_RESPONSES, "", "" },
		{ METHOD_POST, "/openai/responses", "api-version=1", SIM_ENDPOINT_RESPONSES, "", "" },
		{ METHOD_POST, "/openai/responses", "", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_GET, "/openai/v1/responses/resp_1", "", SIM_ENDPOINT_RESPONSE_GET, "", "resp_1" },
		{ METHOD_DELETE, "/openai/v1/responses/resp_1", "", SIM_ENDPOINT_RESPONSE_DELETE, "", "resp_1" },
		{ METHOD_GET, "/openai/v1/responses", "", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_GET, "/openai/v1/responses/a/b", "", SIM_ENDPOINT_UNKNOWN, "", "a" },
		{ METHOD_GET, "/openai/v1/models", "", SIM_ENDPOINT_MODELS, "", "" },
		{ METHOD_GET, "/openai/models", "api-version=1", SIM_ENDPOINT_MODELS, "", "" },
		{ METHOD_GET, "/openai/v1/models/m", "", SIM_ENDPOINT_MODEL, "", "m" },
		{ METHOD_POST, "/openai/v1/files", "", SIM_ENDPOINT_FILES_CREATE, "", "" },
		{ METHOD_GET, "/openai/v1/files", "", SIM_ENDPOINT_FILES_LIST, "", "" },
		{ METHOD_GET, "/openai/v1/files/f", "", SIM_ENDPOINT_FILE_GET, "", "f" },
		{ METHOD_GET, "/openai/v1/files/f/content", "", SIM_ENDPOINT_FILE_CONTENT, "", "f" },
		{ METHOD_DELETE, "/openai/v1/files/f", "", SIM_ENDPOINT_FILE_DELETE, "", "f" },
		{ METHOD_POST, "/v1/chat/completions", "", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_POST, "/openai", "", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_POST, "/openai/", "", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_POST, "/openai/v1/", "", SIM_ENDPOINT_UNKNOWN, "", "" },
		{ METHOD_POST, "*", "", SIM_ENDPOINT_UNKNOWN, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char *path = exact_copy(cases[i].path, strlen(cases[i].path));
		struct sim_route route;

		sim_route_find(&route, cases[i].method, slice_of(path, strlen(cases[i].path)),
		    slice_from(cases[i].query));
		CHECK_NUMBER(cases[i].path, route.endpoint, cases[i].want);
		CHECK_TEXT(cases[i].path, route.deployment, cases[i].deployment);
		CHECK_TEXT(cases[i].path, route.id, cases[i].id);
		free(path);
	}
}

static bool
read_call(struct sim_call *call, enum sim_endpoint endpoint, const char *body, struct sim_answer *answer)
{
	sim_answer_reset(answer);
	return sim_call_read(call, endpoint, slice_from(body), answer);
}

static void
bodies_say_what_is_wanted(void **state)
{
	struct sim_answer answer = { 0 };
	struct sim_call call;

	(void)state;
	assert_true(read_call(&call, SIM_ENDPOINT_CHAT,
	    "{\"model\":\"m\",\"messages\":[{}],\"stream\":true,\"max_completion_tokens\":7,\"n\":2,"
	    "\"stream_options\":{\"include_usage\":true}}",
	    &answer));
	CHECK_TEXT("model", call.model, "\"m\"");
	CHECK("stream with usage", call.stream && call.include_usage);
	CHECK_NUMBER("max tokens", call.max_tokens, 7);
	CHECK_NUMBER("estimate is for all choices", call.output_estimate, 14);
	assert_true(read_call(&call, SIM_ENDPOINT_CHAT, "{\"messages\":[{}],\"stream\":null}", &answer));
	CHECK("null is absent", !call.stream);
	CHECK_NUMBER("an unset max_tokens", call.output_estimate, 16);
	assert_true(read_call(&call, SIM_ENDPOINT_RESPONSES, "{\"input\":\"12345678\",\"store\":false}", &answer));
	CHECK("store", !call.store);
	CHECK_NUMBER("four bytes a token", call.prompt_tokens, 3);
	assert_true(read_call(&call, SIM_ENDPOINT_RESPONSES, "{\"input\":[]}", &answer));
	CHECK("stored unless told otherwise", call.store);
	assert_true(read_call(&call, SIM_ENDPOINT_EMBEDDINGS,
	    "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}", &answer));
	CHECK("base64", call.base64 && call.input_is_list);
	CHECK_NUMBER("two texts", call.input_count, 2);
	assert_true(read_call(&call, SIM_ENDPOINT_EMBEDDINGS, "{\"input\":[1,2,3]}", &answer));
	CHECK_NUMBER("the tokens of one text", call.input_count, 1);
	assert_true(read_call(&call, SIM_ENDPOINT_EMBEDDINGS, "{\"input\":[[1],[2,3]]}", &answer));
	CHECK_NUMBER("the tokens of two", call.input_count, 2);
	assert_true(read_call(&call, SIM_ENDPOINT_CHAT, "{\"messages\":[\"trigger-tool-call\"]}", &answer));
	CHECK_NUMBER("a trigger", call.trigger, SIM_TRIGGER_TOOL_CALL);
	sim_answer_free(&answer);
}

static void
bodies_that_make_no_sense_are_400(void **state)
{
	static const struct {
		enum sim_endpoint endpoint;
		const char *body;
	} cases[] = {
		{ SIM_ENDPOINT_CHAT, "" },
		{ SIM_ENDPOINT_CHAT, "[]" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[]}x" },
		{ SIM_ENDPOINT_CHAT, "{}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":\"hi\"}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"stream\":1}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"max_tokens\":0}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"max_tokens\":-1}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"max_tokens\":\"1\"}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"n\":17}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"stream_options\":{}}" },
		{ SIM_ENDPOINT_CHAT, "{\"messages\":[],\"stream\":true,\"stream_options\":[]}" },
		{ SIM_ENDPOINT_COMPLETIONS, "{\"messages\":[]}" },
		{ SIM_ENDPOINT_RESPONSES, "{\"input\":1}" },
		{ SIM_ENDPOINT_RESPONSES, "{\"input\":\"a\",\"max_output_tokens\":15}" },
		{ SIM_ENDPOINT_RESPONSES, "{\"input\":\"a\",\"n\":2}" },
		{ SIM_ENDPOINT_EMBEDDINGS, "{\"input\":[]}" },
		{ SIM_ENDPOINT_EMBEDDINGS, "{\"input\":\"a\",\"dimensions\":0}" },
		{ SIM_ENDPOINT_EMBEDDINGS, "{\"input\":\"a\",\"encoding_format\":\"hex\"}" },
	};
	struct sim_answer answer = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sim_call call;

		CHECK(cases[i].body, !read_call(&call, cases[i].endpoint, cases[i].body, &answer));
		CHECK_NUMBER(cases[i].body, answer.status, 400);
		CHECK(cases[i].body,
		    slice_starts_with(buffer_slice(&answer.body), SLICE("{\"error\":{\"message\":\"")));
	}
	sim_answer_free(&answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_and_methods_mean_endpoints),
		cmocka_unit_test(bodies_say_what_is_wanted),
		cmocka_unit_test(bodies_that_make_no_sense_are_400),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
