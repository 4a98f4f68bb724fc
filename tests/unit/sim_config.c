/* sim/config.h and the descriptions of faults */
#include "unit.h"

#include <stdio.h>

#include <jansson.h>

#include "base/buffer.h"
#include "sim/config.h"
#include "sim/fault.h"
#include "sim/sim.h"

static void
defaults_are_as_documented(void **state)
{
	char fault[SIM_FAULT_SIZE] = "";
	struct sim_config *config =
	    sim_config_parse(SLICE("{\"resources\":[{\"name\":\"a\",\"deployments\":{\"d\":{}}}]}"), fault,
		sizeof(fault));
	const struct sim_resource_config *resource;
	const struct sim_deployment_config *deployment;

	(void)state;
	CHECK(fault, config != NULL);
	resource = &config->resources[0];
	deployment = &resource->deployments[0];
	CHECK_NUMBER("seed", config->seed, 1);
	CHECK_NUMBER("record", config->record, 32);
	CHECK("neither log nor control port", !config->log && !config->has_control);
	CHECK_TEXT("address", slice_from(resource->address), "127.0.0.1");
	CHECK_TEXT("key", slice_from(resource->api_key), "");
	CHECK_TEXT("region", slice_from(resource->region), "East US");
	CHECK_TEXT("model", slice_from(deployment->model), "d");
	CHECK_NUMBER("tokens", deployment->quota.tokens_per_minute, 0);
	CHECK_NUMBER("requests", deployment->quota.requests_per_minute, 0);
	CHECK_NUMBER("token window", deployment->quota.token_window_ms, 60000);
	CHECK_NUMBER("request window", deployment->quota.request_window_ms, 10000);
	CHECK_NUMBER("completion", deployment->completion_tokens, 64);
	CHECK_NUMBER("context", deployment->context_tokens, 128000);
	sim_config_free(&config);
	CHECK("freed", config == NULL);
}

static void
requests_follow_from_tokens(void **state)
{
	char fault[SIM_FAULT_SIZE] = "";
	struct sim_config *config =
	    sim_config_parse(SLICE(
				 "{\"resources\":[{\"name\":\"a\",\"deployments\":{\"d\":{\"tokens_per_minute\":20000,"
				 "\"latency\":{\"first_token_ms\":0.5,\"per_token_ms\":20,\"jitter\":0.25}}}}]}"),
		fault, sizeof(fault));

	(void)state;
	CHECK(fault, config != NULL);
	CHECK_NUMBER("six for a thousand", config->resources[0].deployments[0].quota.requests_per_minute, 120);
	CHECK_NUMBER("fractions of a millisecond", config->resources[0].deployments[0].latency.first_token_us, 500);
	CHECK_NUMBER("milliseconds", config->resources[0].deployments[0].latency.per_token_us, 20000);
	sim_config_free(&config);
}

static void
faulty_configurations_are_refused_with_a_reason(void **state)
{
	static const struct {
		const char *json, *reason;
	} cases[] = {
		{ "", "line 1" },
		{ "{", "line 1" },
		{ "{\"seed\":1,\"seed\":2}", "line 1" },
		{ "{}", "resources: " },
		{ "[]", "configuration: " },
		{ "{\"resources\":[]}", "resources: " },
		{ "{\"resources\":[1]}", "resources[0]: " },
		{ "{\"resources\":[{}]}", "resources[0]: " },
		{ "{\"resources\":[{\"name\":\"a b\"}]}", "resources[0]: names" },
		{ "{\"resources\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "resources: two" },
		{ "{\"resources\":[{\"name\":\"a\",\"port\":65536}]}", "\"port\"" },
		{ "{\"resources\":[{\"name\":\"a\",\"port\":-1}]}", "\"port\"" },
		{ "{\"resources\":[{\"name\":\"a\",\"port\":\"1\"}]}", "\"port\"" },
		{ "{\"resources\":[{\"name\":\"a\",\"colour\":1}]}", "unknown key \"colour\"" },
		{ "{\"resources\":[{\"name\":\"a\",\"region\":\"x\\r\\ny\"}]}", "printable" },
		{ "{\"resources\":[{\"name\":\"a\",\"api_key\":7}]}", "\"api_key\"" },
		{ "{\"resources\":[{\"name\":\"a\",\"tls\":{\"certificate_file\":\"x\"}}]}", "private_key_file" },
		{ "{\"resources\":[{\"name\":\"a\",\"deployments\":[]}]}", "deployments" },
		{ "{\"resources\":[{\"name\":\"a\",\"deployments\":{\"d\":{\"token_window_ms\":0}}}]}", "window" },
		{ "{\"resources\":[{\"name\":\"a\",\"deployments\":{\"d\":{\"latency\":{\"jitter\":2}}}}]}",
		    "resources[0].deployments.d: \"jitter\"" },
		{ "{\"resources\":[{\"name\":\"a\",\"deployments\":{\"d/e\":{}}}]}", "names" },
		{ "{\"resources\":[{\"name\":\"a\"}],\"faults\":{}}", "faults: " },
		{ "{\"resources\":[{\"name\":\"a\"}],\"log\":1}", "\"log\"" },
		{ "{\"resources\":[{\"name\":\"a\"}],\"control\":[]}", "control: " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char fault[SIM_FAULT_SIZE] = "";
		struct sim_config *config = sim_config_parse(slice_from(cases[i].json), fault, sizeof(fault));

		CHECK(cases[i].json, config == NULL);
		if (strstr(fault, cases[i].reason) == NULL)
			fail_msg("%s: said \"%s\"", cases[i].json, fault);
	}
}

static void
the_demo_and_the_example_are_sound(void **state)
{
	static const char path[] = AOAI_SOURCE_DIR "/config/simulator.json";
	char fault[SIM_FAULT_SIZE] = "";
	struct sim_config *config = sim_config_parse(sim_demo_config(), fault, sizeof(fault));
	struct buffer text = { 0 };
	char bytes[4096];
	size_t count;
	FILE *file;

	(void)state;
	CHECK(fault, config != NULL);
	CHECK_NUMBER("three resources", config->resource_count, 3);
	for (size_t i = 0; i < 3; i++)
		CHECK_NUMBER("three deployments", config->resources[i].deployment_count, 3);
	sim_config_free(&config);

	file = fopen(path, "re");
	CHECK(path, file != NULL);
	while ((count = fread(bytes, 1, sizeof(bytes), file)) > 0)
		buffer_append(&text, bytes, count);
	fclose(file);
	config = sim_config_parse(buffer_slice(&text), fault, sizeof(fault));
	CHECK(fault, config != NULL);
	sim_config_free(&config);
	buffer_free(&text);
}

/* Installs what json says; NULL if that was accepted. */
static const char *
refusal_of(const char *json, char *fault, size_t size)
{
	struct sim_faults *faults = memory_take_zeroed(1, sizeof(*faults));
	json_t *description = json_loads(json, JSON_DECODE_ANY, NULL);
	bool ok;

	CHECK(json, description != NULL);
	ok = sim_faults_add(faults, description, fault, size);
	json_decref(description);
	sim_faults_clear(faults);
	free(faults);
	return ok ? NULL : fault;
}

static void
every_fault_that_is_documented_can_be_installed(void **state)
{
	static const char *const descriptions[] = {
		"{\"fault\":\"status\",\"status\":503,\"headers\":{\"retry-after\":\"1\"},\"body\":{\"a\":1}}",
		"{\"fault\":\"status\",\"early\":true}",
		"{\"fault\":\"throttle\",\"ms\":5,\"form\":\"date\"}",
		"{\"fault\":\"throttle\",\"resource\":\"a\",\"deployment\":\"*\",\"path\":\"chat\"}",
		"{\"fault\":\"headers\",\"headers\":{\"x-spilt\":\"ptu\"},\"count\":3,\"skip\":2}",
		"{\"fault\":\"stream_error\",\"at\":2,\"status\":500,\"form\":\"response_failed\",\"stream\":true}",
		"{\"fault\":\"stall\",\"stage\":\"at_event\",\"at\":2,\"ms\":10,\"probability\":0.5}",
		"{\"fault\":\"stall\",\"stage\":\"request\"}",
		"{\"fault\":\"truncate\",\"stage\":\"at_byte\",\"at\":20,\"form\":\"quiet\",\"stream\":false}",
		"{\"fault\":\"reset\",\"stage\":\"accept\"}",
		"{\"fault\":\"slow_head\",\"ms\":1,\"bytes\":2}",
		"{\"fault\":\"slow_body\"}",
		"{\"fault\":\"garbled_head\",\"form\":\"nul\"}",
		"{\"fault\":\"garbled_head\",\"raw\":\"HTTP/2 200\\r\\n\\r\\n\"}",
		"{\"fault\":\"wrong_length\",\"delta\":-3}",
		"{\"fault\":\"no_done\"}",
		"{\"fault\":\"close_after\"}",
		"{\"fault\":\"keepalive\",\"every\":2}",
		"{\"fault\":\"comments\"}",
		"{\"fault\":\"huge_header\",\"bytes\":70000}",
		"{\"fault\":\"informational\"}",
		"{\"fault\":\"odd_chunks\"}",
		"{\"fault\":\"until_close\"}",
		"{\"fault\":\"line_ends\",\"form\":\"cr\"}",
		"{\"fault\":\"content_coding\",\"form\":\"br\"}",
		"[{\"fault\":\"no_done\"},{\"fault\":\"comments\"}]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(descriptions); i++) {
		char fault[SIM_FAULT_SIZE] = "";

		if (refusal_of(descriptions[i], fault, sizeof(fault)) != NULL)
			fail_msg("%s: %s", descriptions[i], fault);
	}
}

static void
unknown_faults_are_refused(void **state)
{
	static const char *const descriptions[] = {
		"1",
		"\"reset\"",
		"{}",
		"{\"fault\":\"meteor\"}",
		"{\"fault\":\"reset\",\"stage\":\"later\"}",
		"{\"fault\":\"reset\",\"ms\":1}",
		"{\"fault\":\"truncate\",\"stage\":\"accept\"}",
		"{\"fault\":\"truncate\",\"form\":\"softly\"}",
		"{\"fault\":\"status\",\"status\":100}",
		"{\"fault\":\"status\",\"status\":600}",
		"{\"fault\":\"status\",\"headers\":{\"a\":1}}",
		"{\"fault\":\"throttle\",\"form\":\"polite\"}",
		"{\"fault\":\"no_done\",\"count\":-1}",
		"{\"fault\":\"no_done\",\"probability\":1.5}",
		"{\"fault\":\"no_done\",\"stream\":1}",
		"{\"fault\":\"wrong_length\",\"delta\":\"1\"}",
		"[{\"fault\":\"no_done\"},{}]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(descriptions); i++) {
		char fault[SIM_FAULT_SIZE] = "";

		CHECK(descriptions[i], refusal_of(descriptions[i], fault, sizeof(fault)) != NULL);
		CHECK(descriptions[i], fault[0] != '\0');
	}
}

static void
faults_strike_where_and_as_often_as_told(void **state)
{
	struct sim_faults *faults = memory_take_zeroed(1, sizeof(*faults));
	struct sim_fault *struck[SIM_FAULTS_MAX];
	struct sim_fault_place here = { .resource = SLICE("a"),
		.deployment = SLICE("d"),
		.path = SLICE("/openai/v1/chat/completions"),
		.stream = true };
	struct sim_fault_place elsewhere = here;
	json_t *description = json_loads("[{\"fault\":\"no_done\",\"resource\":\"a\",\"skip\":1,\"count\":2},"
					 "{\"fault\":\"comments\",\"resource\":\"b\"},"
					 "{\"fault\":\"comments\",\"deployment\":\"e\"},"
					 "{\"fault\":\"comments\",\"path\":\"embeddings\"},"
					 "{\"fault\":\"comments\",\"stream\":false},"
					 "{\"fault\":\"comments\",\"probability\":0},"
					 "{\"fault\":\"reset\",\"stage\":\"accept\"}]",
	    0, NULL);
	struct random random;
	char fault[SIM_FAULT_SIZE];
	unsigned hits = 0;

	(void)state;
	random_seed(&random, 1);
	assert_true(sim_faults_add(faults, description, fault, sizeof(fault)));
	json_decref(description);
	elsewhere.resource = SLICE("c");
	CHECK_NUMBER("elsewhere", sim_faults_strike(faults, SIM_MOMENT_ANSWER, &elsewhere, &random, struck), 0);
	CHECK_NUMBER("skipped once", sim_faults_strike(faults, SIM_MOMENT_ANSWER, &here, &random, struck), 0);
	CHECK_NUMBER("the first", sim_faults_strike(faults, SIM_MOMENT_ANSWER, &here, &random, struck), 1);
	CHECK_NUMBER("which is the one", struck[0]->kind, SIM_FAULT_NO_DONE);
	CHECK_NUMBER("the second", sim_faults_strike(faults, SIM_MOMENT_ANSWER, &here, &random, struck), 1);
	CHECK_NUMBER("no third", sim_faults_strike(faults, SIM_MOMENT_ANSWER, &here, &random, struck), 0);
	CHECK_NUMBER("another moment", sim_faults_strike(faults, SIM_MOMENT_ACCEPT, &here, &random, struck), 1);
	sim_faults_clear(faults);

	description = json_loads("{\"fault\":\"no_done\",\"probability\":0.3}", 0, NULL);
	assert_true(sim_faults_add(faults, description, fault, sizeof(fault)));
	json_decref(description);
	for (unsigned i = 0; i < 10000; i++)
		hits += sim_faults_strike(faults, SIM_MOMENT_ANSWER, &here, &random, struck) == 1;
	CHECK("about as often as its probability", hits > 2700 && hits < 3300);
	description = sim_faults_describe(faults);
	CHECK_NUMBER("counted", json_integer_value(json_object_get(json_array_get(description, 0), "struck")), hits);
	json_decref(description);
	sim_faults_clear(faults);
	free(faults);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_as_documented),
		cmocka_unit_test(requests_follow_from_tokens),
		cmocka_unit_test(faulty_configurations_are_refused_with_a_reason),
		cmocka_unit_test(the_demo_and_the_example_are_sound),
		cmocka_unit_test(every_fault_that_is_documented_can_be_installed),
		cmocka_unit_test(unknown_faults_are_refused),
		cmocka_unit_test(faults_strike_where_and_as_often_as_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
