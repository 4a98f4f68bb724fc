/* Where tokens are asked for, and with what, in each environment. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "identity/token_source.h"

#define RESOURCE "resource=https%3A%2F%2Fcognitiveservices.azure.com"
#define SCOPE "https://cognitiveservices.azure.com/.default"
#define METADATA "/metadata/identity/oauth2/token?api-version=2018-02-01&"

struct environment {
	const char *endpoint, *header, *host, *statement_file;
};

static const char *
look_up(const char *name, void *context)
{
	const struct environment *environment = context;

	if (strcmp(name, "IDENTITY_ENDPOINT") == 0)
		return environment->endpoint;
	if (strcmp(name, "IDENTITY_HEADER") == 0)
		return environment->header;
	if (strcmp(name, "AZURE_POD_IDENTITY_AUTHORITY_HOST") == 0)
		return environment->host;
	if (strcmp(name, "AZURE_FEDERATED_TOKEN_FILE") == 0)
		return environment->statement_file;
	return NULL;
}

static struct config_auth
auth_of(enum auth_type type, const char *client_id, const char *secret, const char *authority, const char *scope)
{
	static char empty[] = "", tenant[] = "a tenant";

	return (struct config_auth){
		.type = type,
		.key = empty,
		.key_file = empty,
		.client_id = (char *)(uintptr_t)client_id,
		.tenant_id = tenant,
		.client_secret = (char *)(uintptr_t)secret,
		.client_secret_file = empty,
		.authority_host = (char *)(uintptr_t)authority,
		.scope = (char *)(uintptr_t)scope,
	};
}

static const struct {
	const char *behaviour;
	struct environment environment;
	const char *client_id, *scope, *url, *header;
} managed[] = {
	{ "a container app", { "http://localhost:42356/msi/token", "guid", NULL, NULL }, "", SCOPE,
	    "http://localhost:42356/msi/token?api-version=2019-08-01&" RESOURCE, "X-IDENTITY-HEADER: guid" },
	{ "its user-assigned identity", { "http://localhost:42356/msi/token", "guid", NULL, NULL }, "1-2", SCOPE,
	    "http://localhost:42356/msi/token?api-version=2019-08-01&" RESOURCE "&client_id=1-2",
	    "X-IDENTITY-HEADER: guid" },
	{ "an endpoint with a query", { "http://localhost/token?a=b", "guid", NULL, NULL }, "", SCOPE,
	    "http://localhost/token?a=b&api-version=2019-08-01&" RESOURCE, "X-IDENTITY-HEADER: guid" },
	{ "it beats a metadata service", { "http://localhost/token", "guid", "http://10.0.0.1", NULL }, "", SCOPE,
	    "http://localhost/token?api-version=2019-08-01&" RESOURCE, "X-IDENTITY-HEADER: guid" },
	{ "a VM", { NULL, NULL, NULL, NULL }, "", SCOPE, "http://169.254.169.254" METADATA RESOURCE, "Metadata: true" },
	{ "an endpoint without its header is another product's", { "http://localhost/token", NULL, NULL, NULL }, "",
	    SCOPE, "http://169.254.169.254" METADATA RESOURCE, "Metadata: true" },
	{ "empty variables are none", { "", "", "", NULL }, "", SCOPE, "http://169.254.169.254" METADATA RESOURCE,
	    "Metadata: true" },
	{ "a pod's stand-in, with a slash too many", { NULL, NULL, "http://10.0.0.1//", NULL }, "1-2", SCOPE,
	    "http://10.0.0.1" METADATA RESOURCE "&client_id=1-2", "Metadata: true" },
	{ "a resource instead of a scope", { NULL, NULL, NULL, NULL }, "", "https://cognitiveservices.azure.com",
	    "http://169.254.169.254" METADATA RESOURCE, "Metadata: true" },
	{ "what is odd in a name stays inside it", { NULL, NULL, NULL, NULL }, "a&b=c", "api://a b/.default",
	    "http://169.254.169.254" METADATA "resource=api%3A%2F%2Fa%20b&client_id=a%26b%3Dc", "Metadata: true" },
};

static void
test_managed_identities_are_asked_for_where_the_environment_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(managed); i++) {
		struct config_auth auth =
		    auth_of(AUTH_MANAGED_IDENTITY, managed[i].client_id, "", "", managed[i].scope);
		struct environment environment = managed[i].environment;
		struct token_source source = token_source_make(&auth, look_up, &environment);
		struct token_request request;
		char fault[100] = "";

		CHECK(managed[i].behaviour, token_request_make(&source, &request, fault, sizeof(fault)));
		CHECK_TEXT(managed[i].behaviour, slice_from(request.url.data), managed[i].url);
		CHECK_TEXT(managed[i].behaviour, slice_from(request.header.data), managed[i].header);
		CHECK(managed[i].behaviour, !request.post && !request.may_be_proxied && request.form.length == 0);
		token_request_free(&request);
		token_source_free(&source);
	}
}

static const struct {
	const char *behaviour, *secret, *authority, *scope, *url, *form;
} applications[] = {
	{ "an application", "secret", "https://login.microsoftonline.com", SCOPE,
	    "https://login.microsoftonline.com/a%20tenant/oauth2/v2.0/token",
	    "client_id=1-2&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&grant_type=client_credentials"
	    "&client_secret=secret" },
	{ "an authority with a slash at its end", "secret", "https://login.microsoftonline.us/", "s/.default",
	    "https://login.microsoftonline.us/a%20tenant/oauth2/v2.0/token",
	    "client_id=1-2&scope=s%2F.default&grant_type=client_credentials&client_secret=secret" },
	{ "a secret of odd bytes", "a&b=c+d e%~\"", "https://a.test", "s",
	    "https://a.test/a%20tenant/oauth2/v2.0/token",
	    "client_id=1-2&scope=s&grant_type=client_credentials&client_secret=a%26b%3Dc%2Bd%20e%25~%22" },
};

static void
test_an_applications_form_holds_its_secret(void **state)
{
	struct environment environment = { "http://localhost/token", "guid", NULL, NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(applications); i++) {
		struct config_auth auth = auth_of(AUTH_CLIENT_SECRET, "1-2", applications[i].secret,
		    applications[i].authority, applications[i].scope);
		struct token_source source = token_source_make(&auth, look_up, &environment);
		struct token_request request;
		char fault[100] = "";

		CHECK(applications[i].behaviour, token_request_make(&source, &request, fault, sizeof(fault)));
		CHECK_TEXT(applications[i].behaviour, slice_from(request.url.data), applications[i].url);
		CHECK_TEXT(applications[i].behaviour, buffer_slice(&request.form), applications[i].form);
		CHECK_TEXT(applications[i].behaviour, buffer_slice(&request.secret), applications[i].secret);
		CHECK(applications[i].behaviour, request.post && request.may_be_proxied && request.header.length == 0);
		token_request_free(&request);
		token_source_free(&source);
	}
}

/* A statement of that many bytes, and then a line end, in the file. */
static void
write_statement(const char *path, size_t length)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(fputc('a', file), 'a');
	assert_int_equal(fputs("\r\n", file) >= 0, true);
	assert_int_equal(fclose(file), 0);
}

static const struct {
	const char *behaviour;
	size_t length;
	const char *fault; /* NULL: none */
} statements[] = {
	{ "a usual one", 1000, NULL },
	{ "the longest", TOKEN_ASSERTION_MAX_BYTES - 2, NULL },
	{ "one byte more", TOKEN_ASSERTION_MAX_BYTES - 1, "too long" },
	{ "an empty one", 0, "is empty" },
};

static void
test_a_statement_is_taken_from_its_file_without_its_line_end(void **state)
{
	char path[] = "/tmp/aoai-lb-statement-XXXXXX";
	int descriptor = mkstemp(path);
	struct environment environment = { NULL, NULL, NULL, path };
	struct config_auth auth = auth_of(AUTH_WORKLOAD_IDENTITY, "1-2", "", "https://a.test", "s");
	struct token_source source = token_source_make(&auth, look_up, &environment);

	(void)state;
	assert_true(descriptor >= 0);
	(void)close(descriptor);
	for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
		struct token_request request;
		char fault[200] = "";
		bool made;

		write_statement(path, statements[i].length);
		made = token_request_make(&source, &request, fault, sizeof(fault));
		CHECK(statements[i].behaviour, made == (statements[i].fault == NULL));
		if (statements[i].fault == NULL)
			CHECK_NUMBER(statements[i].behaviour, request.secret.length, statements[i].length);
		else
			CHECK(statements[i].behaviour, strstr(fault, statements[i].fault) != NULL);
		token_request_free(&request);
	}
	(void)unlink(path);
	token_source_free(&source);
}

static void
test_sources_are_one_where_all_that_they_say_is_the_same(void **state)
{
	struct environment environment = { NULL, NULL, NULL, "/statement" },
			   app = { "http://localhost", "guid", NULL, NULL };
	struct config_auth auths[] = {
		auth_of(AUTH_MANAGED_IDENTITY, "", "", "", "s"),
		auth_of(AUTH_MANAGED_IDENTITY, "1", "", "", "s"),
		auth_of(AUTH_MANAGED_IDENTITY, "", "", "", "t"),
		auth_of(AUTH_CLIENT_SECRET, "1", "a", "https://a.test", "s"),
		auth_of(AUTH_CLIENT_SECRET, "1", "b", "https://a.test", "s"),
		auth_of(AUTH_CLIENT_SECRET, "1", "b", "https://b.test", "s"),
		auth_of(AUTH_WORKLOAD_IDENTITY, "1", "", "https://a.test", "s"),
	};
	struct token_source elsewhere = token_source_make(&auths[0], look_up, &app);

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(auths); i++) {
		struct token_source a = token_source_make(&auths[i], look_up, &environment);

		for (size_t j = 0; j < ARRAY_COUNT(auths); j++) {
			struct token_source b = token_source_make(&auths[j], look_up, &environment);

			assert_int_equal(token_source_equals(&a, &b), i == j);
			token_source_free(&b);
		}
		assert_false(token_source_equals(&a, &elsewhere));
		token_source_free(&a);
	}
	token_source_free(&elsewhere);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_managed_identities_are_asked_for_where_the_environment_says),
		cmocka_unit_test(test_an_applications_form_holds_its_secret),
		cmocka_unit_test(test_a_statement_is_taken_from_its_file_without_its_line_end),
		cmocka_unit_test(test_sources_are_one_where_all_that_they_say_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
