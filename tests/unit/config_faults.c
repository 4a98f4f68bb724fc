/* What a faulty configuration says: which path, and what about it. */
#include "config_support.h"

#define TOP(members) "{ 'backends': [ { 'name': 'a', 'url': 'https://a.example' } ], " members " }"
#define BACKEND(members) "{ 'backends': [ { 'name': 'a', 'url': 'https://a.example', " members " } ] }"
#define URL(url) "{ 'backends': [ { 'name': 'a', 'url': '" url "' } ] }"
#define CLIENTS(list) \
	"{ 'backends': [ { 'name': 'a', 'url': 'https://a.example', 'auth': { 'type': 'api_key', 'key': 'k' } } ], " \
	"'clients': [ " list " ] }"

static const char *const environment[] = { "SECRET=sekrit-value", "EMPTY=", "PORT=8081", "WORD=eighty",
	"BAD_UTF8=\xff\xfe", "LINES=a\r\nb", "STAR=*", NULL };

static const struct {
	const char *behaviour, *json, *path, *text;
} rows[] = {
	/* syntax */
	{ "an empty file", "", "", "line 1, column 0" },
	{ "an array at the top", "[]", "", "expected an object, found an array" },
	{ "a missing comma, with its place", "{ 'backends': [] \n 'listen': {} }", "", "line 2, column" },
	{ "a comma at the end", "{ 'backends': [], }", "", "no valid JSON at line 1" },
	{ "a comment", "{ // no\n}", "", "no valid JSON at line 1" },
	{ "a key twice, by name", "{ 'workers': 1, 'workers': 2 }", "", "duplicate object key near '\"workers\"'" },
	{ "text after the end", URL("https://a.example") " x", "", "end of file expected" },
	{ "a number too long", TOP("'workers': 99999999999999999999"), "", "too big integer" },
	/* keys */
	{ "an unknown key", TOP("'colour': 1"), "colour", "unknown key; remove it" },
	{ "a typo", TOP("'timeuots': {}"), "timeuots", "did you mean \"timeouts\"?" },
	{ "a typo in a group", TOP("'timeouts': { 'conect_ms': 1 }"), "timeouts.conect_ms",
	    "did you mean \"connect_ms\"?" },
	{ "another style of writing", BACKEND("'apiVersion': '1'"), "backends[0].apiVersion",
	    "did you mean \"api_version\"?" },
	{ "a key in the wrong group", TOP("'port': 1"), "port", "did you mean \"listen.port\"?" },
	{ "a key by the habit of others", BACKEND("'api_key': 'x'"), "backends[0].api_key",
	    "did you mean \"auth.key\"?" },
	{ "a dotted key", TOP("'listen.port': 1"), "[\"listen.port\"]", "unknown key" },
	{ "an empty key", TOP("'': 1"), "[\"\"]", "unknown key" },
	{ "a key with a line break is escaped", TOP("'a\\nb': 1"), "[\"a\\nb\"]", "unknown key" },
	{ "a key of a later version", TOP("'replicas': { 'redis_url': 'redis://r' }"), "replicas", "unknown key" },
	{ "a group's name is a name", BACKEND("'quota_group': 'a b'"), "backends[0].quota_group", "expected" },
	{ "a wait beyond a day", TOP("'retry': { 'hold_ms': 86400001 }"), "retry.hold_ms", "86400000" },
	{ "affinity is yes or no", TOP("'selection': { 'prompt_cache_affinity': 1 }"),
	    "selection.prompt_cache_affinity", "true or false" },
	{ "a group that is none", TOP("'listen': 8080"), "listen", "expected an object, found a number" },
	{ "null is no default", TOP("'listen': null"), "listen", "expected an object, found null" },
	{ "a group's string is not shown", BACKEND("'auth': 'sk-hidden'"), "backends[0].auth",
	    "expected an object, found a string" },
	/* what must be there */
	{ "no backends", "{}", "backends", "is missing; expected an array" },
	{ "an empty list of backends", "{ 'backends': [] }", "backends", "expected 1 to 256 elements, found 0" },
	{ "backends as an object", "{ 'backends': {} }", "backends", "expected an array, found an object" },
	{ "a backend that is no object", "{ 'backends': [ 'x' ] }", "backends[0]",
	    "expected an object, found a string" },
	{ "no name", "{ 'backends': [ { 'url': 'https://a' } ] }", "backends[0].name", "is missing" },
	{ "no url", "{ 'backends': [ { 'name': 'a' } ] }", "backends[0].url", "is missing; expected a URL" },
	{ "an empty url", URL(""), "backends[0].url", "is empty; expected a URL" },
	{ "no client key", CLIENTS("{ 'name': 'c' }"), "clients[0].key", "is missing" },
	/* numbers, booleans, choices */
	{ "a port too high", TOP("'listen': { 'port': 65536 }"), "listen.port",
	    "a whole number from 0 to 65535, found 65536" },
	{ "a negative port", TOP("'admin': { 'port': -1 }"), "admin.port", "found -1" },
	{ "a fraction", TOP("'listen': { 'port': 80.5 }"), "listen.port", "expected a whole number" },
	{ "a number in quotes", TOP("'listen': { 'port': '8080' }"), "listen.port",
	    "found \"8080\"; write it without quotes" },
	{ "a word from the environment", TOP("'listen': { 'port': '${WORD}' }"), "listen.port", "found \"${WORD}\"" },
	{ "a boolean in quotes", TOP("'log': { 'requests': 'true' }"), "log.requests", "write it without quotes" },
	{ "a boolean of another word", TOP("'log': { 'requests': '${WORD:-yes}' }"), "log.requests",
	    "expected true or false" },
	{ "a number for a boolean", TOP("'log': { 'requests': 1 }"), "log.requests",
	    "expected true or false, found 1" },
	{ "no workers", TOP("'workers': 0"), "workers", "\"auto\" or a whole number from 1 to 64, found 0" },
	{ "too many workers", TOP("'workers': 65"), "workers", "from 1 to 64" },
	{ "workers by another word", TOP("'workers': 'all'"), "workers", "found \"all\"" },
	{ "a time of zero where that means nothing", TOP("'timeouts': { 'connect_ms': 0 }"), "timeouts.connect_ms",
	    "from 1 to 86400000 (milliseconds), found 0" },
	{ "a time of more than a day", TOP("'timeouts': { 'drain_ms': 86400001 }"), "timeouts.drain_ms",
	    "found 86400001" },
	{ "a body cap too small", TOP("'retry': { 'max_body_bytes': 1023 }"), "retry.max_body_bytes",
	    "from 1024 to 1073741824 (bytes)" },
	{ "a header cap too large", TOP("'limits': { 'max_header_bytes': 1048577 }"), "limits.max_header_bytes",
	    "from 1024 to 1048576" },
	{ "no connections", TOP("'limits': { 'max_connections': 0 }"), "limits.max_connections", "from 1 to 1000000" },
	{ "too many attempts", TOP("'retry': { 'max_attempts': 257 }"), "retry.max_attempts", "from 0 to 256" },
	{ "no weight", BACKEND("'weight': 0"), "backends[0].weight", "from 1 to 1000" },
	{ "a priority too high", BACKEND("'priority': 1000001"), "backends[0].priority", "from 0 to 1000000" },
	{ "a log level of other programs", TOP("'log': { 'level': 'warn' }"), "log.level",
	    "\"warning\" or \"error\", found \"warn\"; did you mean \"warning\"?" },
	{ "a log format unknown", TOP("'log': { 'format': 'xml' }"), "log.format", "\"text\" or \"json\"" },
	{ "a policy unknown", TOP("'selection': { 'policy': 'random' }"), "selection.policy", "\"least_busy\"" },
	{ "a choice that is no string", TOP("'log': { 'level': 3 }"), "log.level", "found 3" },
	{ "cool-down bounds crossed", TOP("'cooldown': { 'min_ms': 9000, 'max_ms': 8000, 'default_ms': 8000 }"),
	    "cooldown.min_ms", "9000 is more than cooldown.max_ms, 8000" },
	{ "a cool-down default above the cap", TOP("'cooldown': { 'max_ms': 5000 }"), "cooldown.default_ms",
	    "10000 is more than" },
	/* names and addresses */
	{ "a name with a space", "{ 'backends': [ { 'name': 'a b', 'url': 'https://a' } ] }", "backends[0].name",
	    "1 to 64 letters" },
	{ "a name of 65 bytes",
	    "{ 'backends': [ { 'name': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'url': "
	    "'https://a' } ] }",
	    "backends[0].name", "aaaa…\"" },
	{ "a name twice",
	    "{ 'backends': [ { 'name': 'a', 'url': 'https://a' }, { 'name': 'a', 'url': 'https://b' } ] }",
	    "backends[1].name", "the same name as backends[0]" },
	{ "a host name to listen at", TOP("'listen': { 'address': 'localhost' }"), "listen.address",
	    "IPv4 or IPv6 address" },
	{ "an empty address", TOP("'listen': { 'address': '' }"), "listen.address", "is empty" },
	{ "one port for both", TOP("'admin': { 'port': 8080 }"), "admin.port", "8080 is the port of listen.port, too" },
	{ "a base path without a slash", TOP("'listen': { 'base_path': 'api' }"), "listen.base_path",
	    "a path such as /api/v1" },
	{ "a base path with dot segments", TOP("'listen': { 'base_path': '/a/../b' }"), "listen.base_path",
	    "dot segments" },
	{ "a base path with a query", TOP("'listen': { 'base_path': '/a?b' }"), "listen.base_path", "query" },
	{ "a certificate without its key", TOP("'listen': { 'tls': { 'certificate_file': '/dev/null' } }"),
	    "listen.tls", "needs both" },
	{ "an admin key with a line break", TOP("'admin': { 'key': 'a\\nb' }"), "admin.key", "found another string" },
	/* URLs */
	{ "no scheme", URL("a.example"), "backends[0].url", "must begin with https://" },
	{ "another scheme", URL("ftp://a.example"), "backends[0].url", "must begin with https://" },
	{ "no host", URL("https://"), "backends[0].url", "has no valid host" },
	{ "no host before a port", URL("https://:443"), "backends[0].url", "has no valid host" },
	{ "a query", URL("https://a.example/?api-version=1"), "backends[0].url", "may not have a query" },
	{ "a fragment", URL("https://a.example/#x"), "backends[0].url", "may not have a fragment" },
	{ "a user", URL("https://user:sekrit@a.example"), "backends[0].url", "may not have a user name" },
	{ "a port of letters", URL("https://a.example:http"), "backends[0].url", "from 1 to 65535" },
	{ "an empty port", URL("https://a.example:"), "backends[0].url", "from 1 to 65535" },
	{ "port 0", URL("https://a.example:0"), "backends[0].url", "from 1 to 65535" },
	{ "a port too high", URL("https://a.example:65536"), "backends[0].url", "from 1 to 65535" },
	{ "a space in the host", URL("https://a example"), "backends[0].url", "has no valid host" },
	{ "an address out of range", URL("https://300.1.2.3"), "backends[0].url", "has no valid host" },
	{ "IPv6 without brackets", URL("https://::1"), "backends[0].url", "has no valid host" },
	{ "IPv4 in brackets", URL("https://[127.0.0.1]"), "backends[0].url", "has no valid host" },
	{ "a bracket without its fellow", URL("https://[::1"), "backends[0].url", "has no valid host" },
	{ "text behind the bracket", URL("https://[::1]x"), "backends[0].url", "has no valid host" },
	{ "a label of hyphens", URL("https://-a-.example"), "backends[0].url", "has no valid host" },
	{ "dot segments", URL("https://a.example/x/../y"), "backends[0].url", "has a path with dot segments" },
	{ "encoded dot segments", URL("https://a.example/%2e%2e"), "backends[0].url", "has a path with" },
	{ "repeated slashes", URL("https://a.example/x//y"), "backends[0].url", "repeated slashes" },
	{ "slashes at the end", URL("https://a.example//"), "backends[0].url", "repeated slashes" },
	{ "a control byte in it", URL("https://a.example/\\u0001"), "backends[0].url", "found another string" },
	{ "a key that went astray is not shown", URL("${SECRET}"), "backends[0].url", "must begin with" },
	/* credentials */
	{ "an unknown type", BACKEND("'auth': { 'type': 'apikey', 'key': 'k' }"), "backends[0].auth.type",
	    "did you mean \"api_key\"?" },
	{ "a key without its type", BACKEND("'auth': { 'key': 'k' }"), "backends[0].auth.key",
	    "set auth.type to \"api_key\"" },
	{ "a type without its key", BACKEND("'auth': { 'type': 'api_key' }"), "backends[0].auth.key",
	    "is missing; give it, or auth.key_file" },
	{ "a key that the environment leaves empty", BACKEND("'auth': { 'type': 'api_key', 'key': '${EMPTY}' }"),
	    "backends[0].auth.key", "is missing" },
	{ "key and file", BACKEND("'auth': { 'type': 'api_key', 'key': 'k', 'key_file': '/dev/null' }"),
	    "backends[0].auth.key_file", "together with auth.key" },
	{ "a file that is not there", BACKEND("'auth': { 'type': 'api_key', 'key_file': '/nowhere/key' }"),
	    "backends[0].auth.key_file", "cannot read /nowhere/key: No such file" },
	{ "a file that is a directory", BACKEND("'auth': { 'type': 'api_key', 'key_file': '/tmp' }"),
	    "backends[0].auth.key_file", "it is a directory" },
	{ "a file that is a device", BACKEND("'auth': { 'type': 'api_key', 'key_file': '/dev/zero' }"),
	    "backends[0].auth.key_file", "it is no regular file" },
	{ "a key that breaks the header", BACKEND("'auth': { 'type': 'api_key', 'key': '${LINES}' }"),
	    "backends[0].auth.key", "found another string" },
	{ "a number for a key is not shown", BACKEND("'auth': { 'type': 'api_key', 'key': 12345 }"),
	    "backends[0].auth.key", "found a number" },
	{ "a workload without its platform's statement",
	    BACKEND("'auth': { 'type': 'workload_identity', 'client_id': 'c', 'tenant_id': 't' }"),
	    "backends[0].auth.type", "needs the environment variable AZURE_FEDERATED_TOKEN_FILE" },
	{ "an application without a tenant",
	    BACKEND("'auth': { 'type': 'client_secret', 'client_id': 'c', 'client_secret': 's' }"),
	    "backends[0].auth.tenant_id", "auth.type \"client_secret\" needs it" },
	{ "an authority without TLS",
	    BACKEND("'auth': { 'type': 'managed_identity', 'authority_host': 'http://login.test' }"),
	    "backends[0].auth.authority_host", "https://" },
	{ "a tenant for a key", BACKEND("'auth': { 'type': 'api_key', 'key': 'k', 'tenant_id': 't' }"),
	    "backends[0].auth.tenant_id", "set auth.type to \"workload_identity\" or \"client_secret\"" },
	{ "clients and a passthrough", TOP("'clients': [ { 'name': 'c', 'key': 'k' } ]"), "backends[0].auth",
	    "would hand the clients' keys to the backend" },
	/* TLS */
	{ "TLS keys without TLS", "{ 'backends': [ { 'name': 'a', 'url': 'http://a', 'tls': { 'verify': false } } ] }",
	    "backends[0].tls", "is for https URLs only" },
	{ "certificates that are not there", BACKEND("'tls': { 'ca_file': '/nowhere' }"), "backends[0].tls.ca_file",
	    "cannot read /nowhere" },
	{ "a server name that is none", BACKEND("'tls': { 'server_name': 'a/b' }"), "backends[0].tls.server_name",
	    "a host name or an address" },
	/* deployments */
	{ "an empty map", BACKEND("'deployments': {}"), "backends[0].deployments",
	    "expected 1 to 1024 names, found 0" },
	{ "a map that is a list", BACKEND("'deployments': [ 'gpt-4o' ]"), "backends[0].deployments",
	    "expected an object of names" },
	{ "a name that is a number", BACKEND("'deployments': { 'gpt-4o': 4 }"), "backends[0].deployments.gpt-4o",
	    "expected a deployment's name, found a number" },
	{ "a name that is empty", BACKEND("'deployments': { 'gpt-4o': '' }"), "backends[0].deployments.gpt-4o",
	    "1 to 256 bytes" },
	{ "a name that climbs", BACKEND("'deployments': { '..': 'x' }"), "backends[0].deployments[\"..\"]",
	    "not \".\" or \"..\"" },
	{ "a name with control bytes", BACKEND("'deployments': { 'a': 'x\\u0007' }"), "backends[0].deployments.a",
	    "no control characters" },
	{ "two names that become one", BACKEND("'deployments': { '${WORD}': 'x', 'eighty': 'y' }"),
	    "backends[0].deployments", "two keys give the same name" },
	{ "two names for the rest", BACKEND("'deployments': { '${STAR}': 'x', '*': 'y' }"),
	    "backends[0].deployments[\"*\"]", "two keys give the same name" },
	/* clients */
	{ "a client's name twice", CLIENTS("{ 'name': 'c', 'key': 'k1' }, { 'name': 'c', 'key': 'k2' }"),
	    "clients[1].name", "the same name as clients[0]" },
	{ "a client's key twice, not shown",
	    CLIENTS("{ 'name': 'c', 'key': 'sekrit' }, { 'name': 'd', 'key': 'sekrit' }"), "clients[1].key",
	    "the same key as clients[0]" },
	{ "an empty client key", CLIENTS("{ 'name': 'c', 'key': '' }"), "clients[0].key", "is empty" },
	{ "a client key with a space", CLIENTS("{ 'name': 'c', 'key': 'a b' }"), "clients[0].key", "without spaces" },
	{ "a client without any deployment", CLIENTS("{ 'name': 'c', 'key': 'k', 'deployments': [] }"),
	    "clients[0].deployments", "found an empty array; remove the key to allow all" },
	{ "a client's deployments as a string", CLIENTS("{ 'name': 'c', 'key': 'k', 'deployments': 'gpt-4o' }"),
	    "clients[0].deployments", "found a string" },
	{ "a client's deployment twice", CLIENTS("{ 'name': 'c', 'key': 'k', 'deployments': [ 'a', 'b', 'a' ] }"),
	    "clients[0].deployments[2]", "is named twice" },
	{ "a client's deployment of *", CLIENTS("{ 'name': 'c', 'key': 'k', 'deployments': [ '*' ] }"),
	    "clients[0].deployments[0]", "has no meaning here" },
	{ "a client's limit below zero", CLIENTS("{ 'name': 'c', 'key': 'k', 'requests_per_minute': -1 }"),
	    "clients[0].requests_per_minute", "found -1" },
	/* references */
	{ "a name that is not set", BACKEND("'auth': { 'type': 'api_key', 'key': '${UNSET}' }"), "backends[0].auth.key",
	    "the environment variable UNSET is not set; set it, or write ${UNSET:-default}" },
	{ "a brace without its fellow", BACKEND("'api_version': '${WORD'"), "backends[0].api_version",
	    "without its }" },
	{ "no name in the braces", BACKEND("'api_version': '${}'"), "backends[0].api_version", "must be ${NAME}" },
	{ "another operator of the shell", BACKEND("'api_version': '${WORD:=x}'"), "backends[0].api_version",
	    "must be ${NAME}" },
	{ "a name that begins with a digit", BACKEND("'api_version': '${1A}'"), "backends[0].api_version",
	    "must be ${NAME}" },
	{ "bytes that are no UTF-8", BACKEND("'deployments': { 'a': '${BAD_UTF8}' }"), "backends[0].deployments.a",
	    "not valid UTF-8" },
	{ "a wrong type for the editor's key", TOP("'$schema': 1"), "$schema", "expected a string" },
};

static void
each_fault_names_its_path_and_reason(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_faults faults = { NULL, 0 };
		struct config *config = load_quoted(rows[i].json, environment, &faults);
		bool good = config == NULL && faults.count == 1 && strcmp(faults.items[0].path, rows[i].path) == 0 &&
		    strstr(faults.items[0].text, rows[i].text) != NULL;

		for (size_t j = 0; j < faults.count; j++) {
			if (strstr(faults.items[j].text, "sekrit") != NULL ||
			    strchr(faults.items[j].text, '\n') != NULL || strchr(faults.items[j].path, '\n') != NULL)
				good = false;
		}
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

static void
all_faults_are_listed_at_once(void **state)
{
	static const char *const paths[] = { "listen.port", "workers", "backends[0].url", "backends[1].name",
		"backends[1].auth.key", "timeouts.connect_ms", "cooldown.typo_ms" };
	struct config_faults faults = { NULL, 0 };
	struct config *config =
	    load_quoted("{ 'listen': { 'port': 'x' }, 'workers': -1,"
			"  'backends': [ { 'name': 'a', 'url': 'a' },"
			"                { 'name': '', 'url': 'https://b', 'auth': { 'type': 'api_key' } } ],"
			"  'timeouts': { 'connect_ms': true }, 'cooldown': { 'typo_ms': 1 } }",
		environment, &faults);

	(void)state;
	assert_null(config);
	assert_int_equal(faults.count, sizeof(paths) / sizeof(paths[0]));
	for (size_t i = 0; i < faults.count; i++)
		assert_string_equal(faults.items[i].path, paths[i]);
	config_faults_free(&faults);
}

static void
too_many_backends_are_refused(void **state)
{
	struct config_faults faults = { NULL, 0 };
	struct buffer json = { 0 };
	struct config *config;

	(void)state;
	buffer_append_string(&json, "{ \"backends\": [ ");
	for (unsigned i = 0; i <= CONFIG_BACKENDS_MAX; i++)
		buffer_append_format(&json, "%s{ \"name\": \"b%u\", \"url\": \"https://a\" }", i > 0 ? ", " : "", i);
	buffer_append_string(&json, " ] }");
	config = config_load_text(buffer_slice(&json), NULL, NULL, &faults);
	assert_null(config);
	assert_int_equal(faults.count, 1);
	assert_string_equal(faults.items[0].text, "expected 1 to 256 elements, found 257");
	config_faults_free(&faults);
	buffer_free(&json);
}

static void
a_secret_file_must_be_fit(void **state)
{
	static const struct {
		const char *content, *text;
		size_t length;
	} cases[] = {
		{ "", "is empty", 0 },
		{ "\n", "is empty", 1 },
		{ "two\nlines\n", "must hold printable ASCII", 10 },
		{ "a\0b", "must hold printable ASCII", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *path = write_temporary(cases[i].content, cases[i].length);
		struct config_faults faults = { NULL, 0 };
		char json[512];

		(void)snprintf(json, sizeof(json), BACKEND("'auth': { 'type': 'api_key', 'key_file': '%s' }"), path);
		assert_null(load_quoted(json, environment, &faults));
		assert_int_equal(faults.count, 1);
		assert_non_null(strstr(faults.items[0].text, cases[i].text));
		config_faults_free(&faults);
		(void)unlink(path);
		free(path);
	}
}

static void
a_secret_file_has_a_cap(void **state)
{
	char *content = malloc(65537), *path;
	struct config_faults faults = { NULL, 0 };
	char json[512];

	(void)state;
	assert_non_null(content);
	memset(content, 'k', 65537);
	path = write_temporary(content, 65537);
	(void)snprintf(json, sizeof(json), BACKEND("'auth': { 'type': 'api_key', 'key_file': '%s' }"), path);
	assert_null(load_quoted(json, environment, &faults));
	assert_int_equal(faults.count, 1);
	assert_non_null(strstr(faults.items[0].text, "it is too long"));
	config_faults_free(&faults);
	(void)unlink(path);
	free(path);
	free(content);
}

static void
a_file_that_cannot_be_read_is_one_fault(void **state)
{
	struct config_faults faults = { NULL, 0 };

	(void)state;
	assert_null(config_load_file("/nowhere/config.json", NULL, NULL, &faults));
	assert_null(config_load_file("/tmp", NULL, NULL, &faults));
	assert_int_equal(faults.count, 2);
	assert_string_equal(faults.items[0].path, "");
	assert_string_equal(faults.items[0].text,
	    "cannot read the configuration file /nowhere/config.json: No such file or directory");
	assert_non_null(strstr(faults.items[1].text, "it is a directory"));
	config_faults_free(&faults);
}

static void
a_syntax_fault_shows_no_secret(void **state)
{
	static const char *const texts[] = {
		"{ 'backends': [ { 'auth': { 'key' 'sekrit' } } ] }",
		"{ 'backends': [ { 'auth': { 'key': 'a' 'sekrit' } } ] }",
		"{ 'backends': [ { 'auth': { 'key': 'sekrit } } ] }",
		"{ 'backends': [ { 'auth': { 'key': sekrit } } ] }",
		"{ 'key': 'sekrit\\q' }",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_faults faults = { NULL, 0 };

		assert_null(load_quoted(texts[i], environment, &faults));
		assert_int_equal(faults.count, 1);
		assert_null(strstr(faults.items[0].text, "sekrit"));
		config_faults_free(&faults);
	}
}

static void
faults_are_printed_one_a_line(void **state)
{
	struct config_faults faults = { NULL, 0 };
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	(void)state;
	assert_non_null(out);
	config_faults_add(&faults, "", "no %s", "file");
	config_faults_add(&faults, "backends[1].url", "is missing");
	config_faults_print(&faults, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, "no file\nbackends[1].url: is missing\n");
	free(text);
	config_faults_free(&faults);
	assert_int_equal(faults.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fault_names_its_path_and_reason),
		cmocka_unit_test(all_faults_are_listed_at_once),
		cmocka_unit_test(too_many_backends_are_refused),
		cmocka_unit_test(a_secret_file_must_be_fit),
		cmocka_unit_test(a_secret_file_has_a_cap),
		cmocka_unit_test(a_file_that_cannot_be_read_is_one_fault),
		cmocka_unit_test(a_syntax_fault_shows_no_secret),
		cmocka_unit_test(faults_are_printed_one_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
