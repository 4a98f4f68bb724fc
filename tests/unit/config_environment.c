/* The environment form: what the variables give, and what wrong ones say. */
#include "config_support.h"

#define VARIABLES_MAX 16

static struct config *
load(const char *const *environment, struct config_faults *faults)
{
	return config_load_environment((char *const *)(uintptr_t)environment, fake_getenv,
	    (void *)(uintptr_t)environment, faults);
}

static void
the_form_is_found_by_a_url(void **state)
{
	static const struct {
		const char *variable;
		bool want;
	} cases[] = {
		{ "BACKEND_1_URL=https://a", true },
		{ "BACKEND_27_URL=https://a", true },
		{ "BACKEND_0_URL=https://a", true }, /* so that its fault is said */
		{ "BACKEND_1_URL=", false },
		{ "BACKEND_1_APIKEY=k", false },
		{ "BACKEND_URL=https://a", false },
		{ "BACKEND__URL=https://a", false },
		{ "BACKEND_X_URL=https://a", false },
		{ "BACKEND_1_URLS=https://a", false },
		{ "BACKEND_1", false },
		{ "NO_BACKEND_1_URL=https://a", false },
		{ "PORT=80", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *environment[] = { cases[i].variable, NULL };

		assert_int_equal(config_environment_present((char *const *)(uintptr_t)environment), cases[i].want);
	}
}

static void
variables_become_a_configuration(void **state)
{
	static const char *const environment[] = { "BACKEND_10_URL=https://ten.example/", "BACKEND_10_APIKEY=k10",
		"BACKEND_2_URL=https://two.example", "BACKEND_2_PRIORITY=3", "BACKEND_2_APIKEY=${not}reference",
		"BACKEND_2_DEPLOYMENT_NAME=gpt-4o", "HTTP_TIMEOUT_SECONDS=100", "PORT=8081", "CLIENT_KEY=ck",
		"LOG_FORMAT=json", "LOG_LEVEL=debug", "ADMIN_ADDRESS=0.0.0.0", "ADMIN_PORT=9191",
		"BACKEND_10_PRIORITY=", "BACKEND_2_SERVICE_HOST=10.0.0.1", "BACKEND_2_PORT=tcp://10.0.0.1:80",
		"BACKEND_2_PORT_80_TCP=x", NULL };
	struct config_faults faults = { NULL, 0 };
	struct config *config = load(environment, &faults);
	struct slice name;

	(void)state;
	config_faults_print(&faults, stderr);
	assert_non_null(config);
	assert_int_equal(config->backend_count, 2);
	assert_string_equal(config->backends[0].name, "openai2");
	assert_string_equal(config->backends[0].url, "https://two.example");
	assert_int_equal(config->backends[0].priority, 3);
	assert_int_equal(config->backends[0].auth.type, AUTH_API_KEY);
	assert_string_equal(config->backends[0].auth.key, "${not}reference");
	assert_true(config_map_deployment(&config->backends[0], SLICE("anything"), &name));
	assert_true(slice_equals(name, SLICE("gpt-4o")));
	assert_string_equal(config->backends[1].name, "openai10");
	assert_string_equal(config->backends[1].url, "https://ten.example");
	assert_int_equal(config->backends[1].priority, 1);
	assert_string_equal(config->backends[1].auth.key, "k10");
	assert_false(config->backends[1].has_map);
	assert_int_equal(config->timeouts.response_ms, 100000);
	assert_int_equal(config->timeouts.stream_idle_ms, 100000);
	assert_int_equal(config->timeouts.connect_ms, 5000);
	assert_int_equal(config->listen.port, 8081);
	assert_int_equal(config->client_count, 1);
	assert_string_equal(config->clients[0].name, "client");
	assert_string_equal(config->clients[0].key, "ck");
	assert_int_equal(config->log_format, LOG_FORMAT_JSON);
	assert_int_equal(config->log_level, LOG_DEBUG);
	assert_string_equal(config->admin.address, "0.0.0.0");
	assert_int_equal(config->admin.port, 9191);
	config_release(&config);
	config_faults_free(&faults);
}

static void
no_key_means_the_managed_identity(void **state)
{
	static const char *const environment[] = { "BACKEND_1_URL=https://a", "AZURE_CLIENT_ID=1234-abcd", NULL };
	struct config_faults faults = { NULL, 0 };
	struct config *config = load(environment, &faults);

	(void)state;
	config_faults_print(&faults, stderr);
	assert_non_null(config);
	assert_int_equal(config->backends[0].auth.type, AUTH_MANAGED_IDENTITY);
	assert_string_equal(config->backends[0].auth.client_id, "1234-abcd");
	config_release(&config);
}

static void
empty_variables_count_as_not_set(void **state)
{
	static const char *const environment[] = { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k",
		"BACKEND_1_PRIORITY=", "BACKEND_1_DEPLOYMENT_NAME=", "BACKEND_2_URL=", "BACKEND_2_APIKEY=",
		"BACKEND_2_PRIORITY=", "PORT=", "LOG_LEVEL=", "HTTP_TIMEOUT_SECONDS=", NULL };
	struct config_faults faults = { NULL, 0 };
	struct config *config = load(environment, &faults);

	(void)state;
	config_faults_print(&faults, stderr);
	assert_non_null(config);
	assert_int_equal(config->backend_count, 1);
	assert_int_equal(config->listen.port, 8080);
	assert_int_equal(config->timeouts.response_ms, 600000);
	assert_int_equal(config->client_count, 0);
	config_release(&config);
}

static const struct {
	const char *behaviour, *variables[VARIABLES_MAX], *path, *text;
} rows[] = {
	{ "a URL that is none, not shown", { "BACKEND_1_URL=sekrit", "BACKEND_1_APIKEY=k" }, "BACKEND_1_URL",
	    "must begin with https://" },
	{ "no URL", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_3_APIKEY=sekrit" }, "BACKEND_3_URL",
	    "is missing; expected a URL" },
	{ "a typo in a name", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_1_API_KEY=sekrit" },
	    "BACKEND_1_API_KEY", "did you mean BACKEND_1_APIKEY?" },
	{ "another typo", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_1_DEPLOYMENT=x" },
	    "BACKEND_1_DEPLOYMENT", "did you mean BACKEND_1_DEPLOYMENT_NAME?" },
	{ "a name far from any", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_1_COLOUR=red" },
	    "BACKEND_1_COLOUR", "a backend has URL, PRIORITY, APIKEY and DEPLOYMENT_NAME" },
	{ "number 0", { "BACKEND_0_URL=https://a", "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k" }, "BACKEND_0_URL",
	    "numbered from 1" },
	{ "a leading zero", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_02_URL=https://b" },
	    "BACKEND_02_URL", "without leading zeros" },
	{ "a priority of letters", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_1_PRIORITY=high" },
	    "BACKEND_1_PRIORITY", "a whole number from 0 to 1000000, found \"high\"" },
	{ "a key with a line break", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=sekrit\n" }, "BACKEND_1_APIKEY",
	    "without spaces and line breaks, found another string" },
	{ "a deployment that climbs",
	    { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_1_DEPLOYMENT_NAME=.." },
	    "BACKEND_1_DEPLOYMENT_NAME", "not \".\" or \"..\"" },
	{ "a port too high", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "PORT=65536" }, "PORT",
	    "from 0 to 65535, found \"65536\"" },
	{ "a port with a sign", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "PORT=+80" }, "PORT",
	    "found \"+80\"" },
	{ "one port for both", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "PORT=9090" }, "ADMIN_PORT",
	    "9090 is the port of listen.port" },
	{ "an empty client key", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "CLIENT_KEY=" }, "CLIENT_KEY",
	    "is empty" },
	{ "a client key with a space", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "CLIENT_KEY=sekrit 2" },
	    "CLIENT_KEY", "found another string" },
	{ "a log format unknown", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "LOG_FORMAT=JSON" }, "LOG_FORMAT",
	    "did you mean \"json\"?" },
	{ "a log level unknown", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "LOG_LEVEL=loud" }, "LOG_LEVEL",
	    "\"debug\", \"info\"" },
	{ "an admin address that is none", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "ADMIN_ADDRESS=here" },
	    "ADMIN_ADDRESS", "IPv4 or IPv6" },
	{ "a time-out of zero", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "HTTP_TIMEOUT_SECONDS=0" },
	    "HTTP_TIMEOUT_SECONDS", "from 1 to 86400 (seconds)" },
	{ "a time-out of letters", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "HTTP_TIMEOUT_SECONDS=100s" },
	    "HTTP_TIMEOUT_SECONDS", "from 1 to 86400 (seconds)" },
	{ "a URL that is no UTF-8", { "BACKEND_1_URL=\xff", "BACKEND_1_APIKEY=k" }, "BACKEND_1_URL",
	    "not valid UTF-8" },
	{ "a key that is no UTF-8", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=\xff" }, "BACKEND_1_APIKEY",
	    "not valid UTF-8" },
	{ "a client key that is no UTF-8", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "CLIENT_KEY=\xff" },
	    "CLIENT_KEY", "not valid UTF-8" },
	{ "a port that is no UTF-8", { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "PORT=\xff" }, "PORT",
	    "not valid UTF-8" },
	{ "bytes that are no UTF-8",
	    { "BACKEND_1_URL=https://a", "BACKEND_1_APIKEY=k", "BACKEND_1_DEPLOYMENT_NAME=\xff" },
	    "BACKEND_1_DEPLOYMENT_NAME", "not valid UTF-8" },
};

static void
each_fault_names_its_variable(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_faults faults = { NULL, 0 };
		struct config *config = load(rows[i].variables, &faults);
		bool good = config == NULL && faults.count == 1 && strcmp(faults.items[0].path, rows[i].path) == 0 &&
		    strstr(faults.items[0].text, rows[i].text) != NULL &&
		    strstr(faults.items[0].text, "sekrit") == NULL;

		if (!good) {
			failed++;
			print_error("%s:\n", rows[i].behaviour);
			config_faults_print(&faults, stderr);
		}
		config_release(&config);
		config_faults_free(&faults);
	}
	assert_int_equal(failed, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_form_is_found_by_a_url),
		cmocka_unit_test(variables_become_a_configuration),
		cmocka_unit_test(no_key_means_the_managed_identity),
		cmocka_unit_test(empty_variables_count_as_not_set),
		cmocka_unit_test(each_fault_names_its_variable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
