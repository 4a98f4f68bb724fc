/* What a good configuration gives: defaults, expansion, URLs, maps, sharing, and how it is printed. */
#include "config/fields.h"
#include "config_support.h"

#define BACKEND(members) "{ 'backends': [ { 'name': 'a', 'url': 'https://a.example', " members " } ] }"

static const char *const environment[] = { "PORT=8081", "FLAG=false", "NAME=gpt-4o", "EMPTY=", "ODD=${PORT}",
	"KEY=secret-of-env", NULL };

static void
defaults_are_those_of_the_contract(void **state)
{
	struct config *config =
	    load_good("{ 'backends': [ { 'name': 'a', 'url': 'https://a.example' } ] }", environment);
	const struct config_backend *backend = &config->backends[0];
	const struct config_timeouts *timeouts = &config->timeouts;

	(void)state;
	assert_string_equal(config->listen.address, "0.0.0.0");
	assert_int_equal(config->listen.port, 8080);
	assert_string_equal(config->listen.base_path, "");
	assert_string_equal(config->listen.certificate_file, "");
	assert_string_equal(config->admin.address, "127.0.0.1");
	assert_int_equal(config->admin.port, 9090);
	assert_string_equal(config->admin.key, "");
	assert_int_equal(config->workers, 0);
	assert_int_equal(config->log_format, LOG_FORMAT_TEXT);
	assert_int_equal(config->log_level, LOG_INFO);
	assert_true(config->log_requests);
	assert_int_equal(config->client_count, 0);
	assert_int_equal(backend->priority, 1);
	assert_int_equal(backend->weight, 1);
	assert_int_equal(backend->auth.type, AUTH_PASSTHROUGH);
	assert_false(backend->has_map);
	assert_null(backend->wildcard);
	assert_string_equal(backend->api_version, "");
	assert_true(backend->verify);
	assert_int_equal(config->cooldown.default_ms, 10000);
	assert_int_equal(config->cooldown.min_ms, 1000);
	assert_int_equal(config->cooldown.max_ms, 60000);
	assert_int_equal(config->server_error_ms, 10000);
	assert_int_equal(config->max_attempts, 0);
	assert_int_equal(config->max_unsafe_retries, 1);
	assert_int_equal(config->max_body_bytes, 33554432);
	assert_int_equal(timeouts->connect_ms, 5000);
	assert_int_equal(timeouts->response_ms, 600000);
	assert_int_equal(timeouts->request_ms, 0);
	assert_int_equal(timeouts->commit_ms, 10000);
	assert_int_equal(timeouts->first_event_ms, 0);
	assert_int_equal(timeouts->stream_idle_ms, 600000);
	assert_int_equal(timeouts->heartbeat_ms, 15000);
	assert_int_equal(timeouts->client_header_ms, 10000);
	assert_int_equal(timeouts->client_body_ms, 60000);
	assert_int_equal(timeouts->client_send_ms, 60000);
	assert_int_equal(timeouts->keep_alive_ms, 75000);
	assert_int_equal(timeouts->drain_delay_ms, 0);
	assert_int_equal(timeouts->drain_ms, 25000);
	assert_int_equal(config->pool_idle_ms, 60000);
	assert_int_equal(config->pool_max_age_ms, 300000);
	assert_int_equal(config->max_connections, 10000);
	assert_int_equal(config->max_header_bytes, 65536);
	assert_int_equal(config->max_buffered_bytes, 268435456);
	assert_false(config->models_listed);
	config_release(&config);
}

static void
values_are_taken(void **state)
{
	struct config *config =
	    load_good("\xef\xbb\xbf{ '$schema': './aoai-lb.schema.json',"
		      " 'listen': { 'address': '::', 'port': 0, 'base_path': '/api/v1/' },"
		      " 'workers': 4, 'log': { 'format': 'json', 'level': 'error', 'requests': false },"
		      " 'selection': { 'policy': 'least_busy' },"
		      " 'backends': [ { 'name': 'a', 'url': 'https://a.example', 'priority': 0, 'weight': 1000,"
		      "   'auth': { 'type': 'api_key', 'key': 'k' }, 'api_version': '2024-10-21',"
		      "   'tls': { 'server_name': 'b.example', 'verify': false } } ],"
		      " 'clients': [ { 'name': 'c', 'key': 'ck', 'deployments': [ 'x', 'y' ], 'resource_paths': true,"
		      "   'requests_per_minute': 60, 'tokens_per_minute': 1000000000000 } ] }",
		environment);

	(void)state;
	assert_string_equal(config->listen.address, "::");
	assert_int_equal(config->listen.port, 0);
	assert_string_equal(config->listen.base_path, "/api/v1");
	assert_int_equal(config->workers, 4);
	assert_int_equal(config->log_format, LOG_FORMAT_JSON);
	assert_int_equal(config->log_level, LOG_ERROR);
	assert_false(config->log_requests);
	assert_int_equal(config->backends[0].priority, 0);
	assert_int_equal(config->backends[0].weight, 1000);
	assert_string_equal(config->backends[0].auth.key, "k");
	assert_string_equal(config->backends[0].api_version, "2024-10-21");
	assert_string_equal(config->backends[0].server_name, "b.example");
	assert_false(config->backends[0].verify);
	assert_string_equal(config->clients[0].key, "ck");
	assert_string_equal(config->clients[0].deployments[0], "x");
	assert_string_equal(config->clients[0].deployments[1], "y");
	assert_null(config->clients[0].deployments[2]);
	assert_true(config->clients[0].resource_paths);
	assert_true(config->clients[0].tokens_per_minute == 1000000000000);
	config_release(&config);
}

static void
urls_are_taken_apart(void **state)
{
	static const struct {
		const char *url, *kept, *host, *authority, *prefix;
		uint16_t port;
		bool secure;
	} cases[] = {
		{ "https://a.example", "https://a.example", "a.example", "a.example", "", 443, true },
		{ "https://a.example/", "https://a.example", "a.example", "a.example", "", 443, true },
		{ "http://a_b", "http://a_b", "a_b", "a_b", "", 80, false },
		{ "HTTPS://A.Example:443", "HTTPS://A.Example:443", "a.example", "a.example", "", 443, true },
		{ "http://127.0.0.1:8081/", "http://127.0.0.1:8081", "127.0.0.1", "127.0.0.1:8081", "", 8081, false },
		{ "https://[::1]:8443/x", "https://[::1]:8443/x", "::1", "[::1]:8443", "/x", 8443, true },
		{ "https://[FE80::1]", "https://[FE80::1]", "fe80::1", "[fe80::1]", "", 443, true },
		{ "https://g.example/a/b%20c/", "https://g.example/a/b%20c", "g.example", "g.example", "/a/b%20c", 443,
		    true },
		{ "http://h:443", "http://h:443", "h", "h:443", "", 443, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct config_backend *backend;
		struct config *config;
		char json[512];

		(void)snprintf(json, sizeof(json), "{ 'backends': [ { 'name': 'a', 'url': '%s' } ] }", cases[i].url);
		config = load_good(json, environment);
		backend = &config->backends[0];
		assert_string_equal(backend->url, cases[i].kept);
		assert_string_equal(backend->host, cases[i].host);
		assert_string_equal(backend->authority, cases[i].authority);
		assert_string_equal(backend->prefix, cases[i].prefix);
		assert_int_equal(backend->port, cases[i].port);
		assert_int_equal(backend->secure, cases[i].secure);
		config_release(&config);
	}
}

static void
references_are_replaced(void **state)
{
	static const struct {
		const char *behaviour, *raw, *want;
	} cases[] = {
		{ "a plain name", "${NAME}", "gpt-4o" },
		{ "text around it", "x-${NAME}-y", "x-gpt-4o-y" },
		{ "two of them", "${NAME}${PORT}", "gpt-4o8081" },
		{ "a default for what is not set", "${UNSET:-d}", "d" },
		{ "a default for what is empty", "${EMPTY:-d}", "d" },
		{ "no default needed", "${NAME:-d}", "gpt-4o" },
		{ "an empty default within text", "x${UNSET:-}", "x" },
		{ "a default with colons", "${UNSET:-a:-b}", "a:-b" },
		{ "the escape", "$${NAME}", "${NAME}" },
		{ "a dollar before the escape", "$$${NAME}", "$${NAME}" },
		{ "dollars alone", "a$b$", "a$b$" },
		{ "what is put in is not looked at again", "${ODD}", "${PORT}" },
		{ "an empty value within text", "x${EMPTY}", "x" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *config;
		char json[512];

		(void)snprintf(json, sizeof(json), BACKEND("'deployments': { '*': '%s' }"), cases[i].raw);
		config = load_good(json, environment);
		if (strcmp(config->backends[0].wildcard, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].behaviour, config->backends[0].wildcard);
		config_release(&config);
	}
}

static void
numbers_and_booleans_come_from_the_environment(void **state)
{
	struct config *config = load_good("{ 'listen': { 'port': '${PORT}' }, 'workers': '${WORKERS:-auto}',"
					  "  'log': { 'requests': '${FLAG}', 'level': '${LEVEL:-debug}' },"
					  "  'timeouts': { 'connect_ms': '${UNSET:-250}' },"
					  "  'backends': [ { 'name': 'a', 'url': 'https://a' } ] }",
	    environment);

	(void)state;
	assert_int_equal(config->listen.port, 8081);
	assert_int_equal(config->workers, 0);
	assert_false(config->log_requests);
	assert_int_equal(config->log_level, LOG_DEBUG);
	assert_int_equal(config->timeouts.connect_ms, 250);
	config_release(&config);
}

static void
deployments_are_mapped(void **state)
{
	static const struct {
		const char *json, *name, *want; /* NULL: not served */
	} cases[] = {
		{ BACKEND("'weight': 1"), "anything", "anything" },
		{ BACKEND("'deployments': { 'gpt-4o': 'ptu' }"), "gpt-4o", "ptu" },
		{ BACKEND("'deployments': { 'gpt-4o': 'ptu' }"), "gpt-4", NULL },
		{ BACKEND("'deployments': { 'gpt-4o': 'ptu' }"), "gpt-4o-mini", NULL },
		{ BACKEND("'deployments': { 'gpt-4o': 'ptu' }"), "GPT-4o", NULL },
		{ BACKEND("'deployments': { 'gpt-4o': 'ptu' }"), "", NULL },
		{ BACKEND("'deployments': { 'c': '3', 'a': '1', 'd': '4', 'b': '2', 'ab': '1b' }"), "a", "1" },
		{ BACKEND("'deployments': { 'c': '3', 'a': '1', 'd': '4', 'b': '2', 'ab': '1b' }"), "ab", "1b" },
		{ BACKEND("'deployments': { 'c': '3', 'a': '1', 'd': '4', 'b': '2', 'ab': '1b' }"), "b", "2" },
		{ BACKEND("'deployments': { 'c': '3', 'a': '1', 'd': '4', 'b': '2', 'ab': '1b' }"), "d", "4" },
		{ BACKEND("'deployments': { 'c': '3', 'a': '1', 'd': '4', 'b': '2', 'ab': '1b' }"), "e", NULL },
		{ BACKEND("'deployments': { 'a': '1', '*': 'rest' }"), "a", "1" },
		{ BACKEND("'deployments': { 'a': '1', '*': 'rest' }"), "b", "rest" },
		{ BACKEND("'deployments': { '*': 'rest' }"), "b", "rest" },
		{ BACKEND("'deployments': { '${NAME}': '${NAME}-ptu' }"), "gpt-4o", "gpt-4o-ptu" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *config = load_good(cases[i].json, environment);
		struct slice got = SLICE_EMPTY;
		bool served = config_map_deployment(&config->backends[0], slice_from(cases[i].name), &got);

		assert_int_equal(served, cases[i].want != NULL);
		if (served)
			assert_true(slice_equals(got, slice_from(cases[i].want)));
		config_release(&config);
	}
}

static void
models_are_listed_when_all_names_are_known(void **state)
{
	static const struct {
		const char *first, *second;
		bool want;
	} cases[] = {
		{ "'deployments': { 'a': 'b' }", "'deployments': { 'a': 'b' }", true },
		{ "'deployments': { 'a': 'b' }", "'weight': 1", false },
		{ "'deployments': { 'a': 'b' }", "'deployments': { 'a': 'b', '*': 'c' }", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *config;
		char json[512];

		(void)snprintf(json, sizeof(json),
		    "{ 'backends': [ { 'name': 'a', 'url': 'https://a', %s }, { 'name': 'b', 'url': 'https://a', %s } "
		    "] }",
		    cases[i].first, cases[i].second);
		config = load_good(json, environment);
		assert_int_equal(config->models_listed, cases[i].want);
		config_release(&config);
	}
}

static void
a_key_comes_from_a_file(void **state)
{
	char *path = write_temporary("from-file\r\n", 11);
	struct buffer printed = { 0 };
	struct config *config, *again;
	struct config_faults faults = { NULL, 0 };
	char json[512];

	(void)state;
	(void)snprintf(json, sizeof(json), BACKEND("'auth': { 'type': 'api_key', 'key_file': '%s' }"), path);
	config = load_good(json, environment);
	assert_string_equal(config->backends[0].auth.key, "from-file");
	config_print(config, &printed);
	assert_true(slice_find(buffer_slice(&printed), SLICE("from-file")) < 0);
	again = config_load_text(buffer_slice(&printed), NULL, NULL, &faults);
	assert_non_null(again);
	assert_string_equal(again->backends[0].auth.key, "from-file");
	config_release(&config);
	config_release(&again);
	buffer_free(&printed);
	(void)unlink(path);
	free(path);
}

static void
printing_spells_all_out_and_loads_again(void **state)
{
	struct config *config = load_good(
	    "{ 'workers': 3, 'admin': { 'key': '${KEY}' }, 'listen': { 'base_path': '/p/' },"
	    "  'clients': [ { 'name': 'c', 'key': 'secret-of-c', 'deployments': [ 'a$${b}' ] }, { 'name': 'd', 'key': "
	    "'x' } ],"
	    "  'backends': [ { 'name': 'a', 'url': 'https://a/p/', 'auth': { 'type': 'api_key', 'key': 'secret-of-a' },"
	    "    'deployments': { 'gpt 4o': '$${NAME}', '*': 'ü' } } ] }",
	    environment);
	struct config_faults faults = { NULL, 0 };
	struct buffer printed = { 0 }, again = { 0 };
	struct config *second;
	struct slice rest;
	unsigned secrets = 0;

	(void)state;
	config_print(config, &printed);
	assert_true(slice_find(buffer_slice(&printed), SLICE("secret-of")) < 0);
	assert_true(slice_find(buffer_slice(&printed), SLICE("\"stream_idle_ms\": 600000")) > 0);
	assert_true(slice_find(buffer_slice(&printed), SLICE("\"policy\": \"least_busy\"")) > 0);
	/* Each client needs a key of its own again. */
	for (rest = buffer_slice(&printed);;) {
		ptrdiff_t at = slice_find(rest, SLICE("\"***\""));

		if (at < 0)
			break;
		printed.data[rest.data - printed.data + at + 1] = (char)('a' + secrets++);
		rest = slice_skip(rest, (size_t)at + 1);
	}
	assert_int_equal(secrets, 4);
	second = config_load_text(buffer_slice(&printed), NULL, NULL, &faults);
	config_faults_print(&faults, stderr);
	assert_non_null(second);
	assert_string_equal(second->backends[0].wildcard, "ü");
	assert_string_equal(second->backends[0].deployments[0].backend_name, "${NAME}");
	assert_string_equal(second->clients[0].deployments[0], "a${b}");
	assert_string_equal(second->backends[0].url, "https://a/p");
	assert_int_equal(second->workers, 3);
	config_print(second, &again);
	for (rest = buffer_slice(&printed); secrets > 0; secrets--) {
		char changed[] = "\"a**\"";
		ptrdiff_t at;

		changed[1] = (char)('a' + 4 - secrets);
		at = slice_find(rest, slice_of(changed, 5));
		assert_true(at > 0);
		printed.data[at + 1] = '*';
	}
	assert_true(slice_equals(buffer_slice(&printed), buffer_slice(&again)));
	config_release(&config);
	config_release(&second);
	buffer_free(&printed);
	buffer_free(&again);
}

static void
the_last_release_frees(void **state)
{
	struct config *config = load_good(BACKEND("'weight': 1"), environment);
	struct config *shared = config_share(config);

	(void)state;
	assert_ptr_equal(shared, config);
	config_release(&config);
	assert_null(config);
	assert_string_equal(shared->backends[0].name, "a");
	config_release(&shared);
	assert_null(shared);
	config_release(&shared);
}

static void
a_reload_reports_what_it_cannot_change(void **state)
{
	struct config *before = load_good("{ 'backends': [ { 'name': 'a', 'url': 'https://a' } ] }", environment);
	struct config *after = load_good("{ 'backends': [ { 'name': 'b', 'url': 'https://b' } ], 'workers': 2,"
					 "  'listen': { 'port': 81, 'base_path': '/x' }, 'admin': { 'address': '::1' },"
					 "  'limits': { 'max_connections': 5 } }",
	    environment);
	struct config_faults changes = { NULL, 0 };

	(void)state;
	assert_int_equal(config_fixed_changes(before, before, &changes), 0);
	assert_int_equal(config_fixed_changes(before, after, &changes), 3);
	assert_int_equal(changes.count, 3);
	assert_string_equal(changes.items[0].path, "listen.port");
	assert_string_equal(changes.items[1].path, "admin.address");
	assert_string_equal(changes.items[2].path, "workers");
	config_faults_free(&changes);
	config_release(&before);
	config_release(&after);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_contract),
		cmocka_unit_test(values_are_taken),
		cmocka_unit_test(urls_are_taken_apart),
		cmocka_unit_test(references_are_replaced),
		cmocka_unit_test(numbers_and_booleans_come_from_the_environment),
		cmocka_unit_test(deployments_are_mapped),
		cmocka_unit_test(models_are_listed_when_all_names_are_known),
		cmocka_unit_test(a_key_comes_from_a_file),
		cmocka_unit_test(printing_spells_all_out_and_loads_again),
		cmocka_unit_test(the_last_release_frees),
		cmocka_unit_test(a_reload_reports_what_it_cannot_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
