/* What a caller's path means, and what it becomes on a backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "policy/route.h"
#include "policy/state.h"

/* The flags of a route, as letters: a azure_style, n needs_model, m may_have_model, r resource, u upload. */
static const char *
flags_of(const struct route *route, char *out)
{
	char *end = out;

	if (route->azure_style)
		*end++ = 'a';
	if (route->needs_model)
		*end++ = 'n';
	if (route->may_have_model)
		*end++ = 'm';
	if (route->resource)
		*end++ = 'r';
	if (route->upload)
		*end++ = 'u';
	*end = '\0';
	return out;
}

static const struct {
	enum http_method method;
	enum route_kind kind;
	const char *path, *deployment, *operation, *flags;
} paths[] = {
	{ METHOD_GET, ROUTE_HEALTH, "/healthz", "", "", "" },
	{ METHOD_GET, ROUTE_READY, "/readyz", "", "", "" },
	{ METHOD_GET, ROUTE_UNKNOWN, "/healthz/", "", "", "" },
	{ METHOD_GET, ROUTE_UNKNOWN, "/", "", "", "" },
	{ METHOD_GET, ROUTE_UNKNOWN, "", "", "", "" },
	{ METHOD_OPTIONS, ROUTE_UNKNOWN, "*", "", "", "" },
	{ METHOD_GET, ROUTE_UNKNOWN, "/favicon.ico", "", "", "" },
	{ METHOD_GET, ROUTE_UNKNOWN, "/metrics", "", "", "" },
	{ METHOD_GET, ROUTE_UNKNOWN, "/status.json", "", "", "" },
	{ METHOD_POST, ROUTE_UNKNOWN, "/v2/chat/completions", "", "", "" },
	{ METHOD_POST, ROUTE_UNKNOWN, "/v1x/chat/completions", "", "", "" },
	{ METHOD_POST, ROUTE_UNKNOWN, "/chatter", "", "", "" },
	{ METHOD_POST, ROUTE_UNKNOWN, "/openai", "", "", "" },
	{ METHOD_POST, ROUTE_UNKNOWN, "/openaix/v1/embeddings", "", "", "" },
	{ METHOD_POST, ROUTE_UNKNOWN, "/OpenAI/v1/embeddings", "", "", "" },

	{ METHOD_POST, ROUTE_DEPLOYMENT, "/openai/deployments/gpt-4o/chat/completions", "gpt-4o", "/chat/completions",
	    "" },
	{ METHOD_POST, ROUTE_DEPLOYMENT, "/openai/deployments/gpt%204o/embeddings", "gpt%204o", "/embeddings", "" },
	{ METHOD_POST, ROUTE_DEPLOYMENT, "/openai/deployments/gpt-4o/extensions/chat/completions", "gpt-4o",
	    "/extensions/chat/completions", "" },
	{ METHOD_POST, ROUTE_DEPLOYMENT, "/openai/deployments/deployments/chat/completions/", "deployments",
	    "/chat/completions/", "" },
	{ METHOD_GET, ROUTE_DEPLOYMENT, "/openai/deployments/gpt-4o", "gpt-4o", "", "" },
	{ METHOD_GET, ROUTE_DEPLOYMENT, "/openai/deployments/gpt-4o/", "gpt-4o", "/", "" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/deployments", "", "/deployments", "r" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/deployments/", "", "/deployments/", "r" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/deploymentsx/gpt-4o", "", "/deploymentsx/gpt-4o", "r" },

	{ METHOD_POST, ROUTE_OPENAI, "/openai/v1/chat/completions", "", "/chat/completions", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/chat/completions", "", "/chat/completions", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/chat/completions", "", "/chat/completions", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/chat/completions/", "", "/chat/completions/", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/completions", "", "/completions", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/embeddings", "", "/embeddings", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/responses", "", "/responses", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/responses/", "", "/responses/", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/responses/compact", "", "/responses/compact", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/responses/input_tokens", "", "/responses/input_tokens", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/images/generations", "", "/images/generations", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/openai/v1/images/edits", "", "/images/edits", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/audio/transcriptions", "", "/audio/transcriptions", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/audio/speech", "", "/audio/speech", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/moderations", "", "/moderations", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/videos", "", "/videos", "n" },
	{ METHOD_POST, ROUTE_OPENAI, "/openai/v1/video/generations/jobs", "", "/video/generations/jobs", "n" },

	{ METHOD_GET, ROUTE_OPENAI, "/chat/completions", "", "/chat/completions", "r" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/chat/completions/chatcmpl-1", "", "/chat/completions/chatcmpl-1", "ru" },
	{ METHOD_GET, ROUTE_OPENAI, "/responses/resp_1", "", "/responses/resp_1", "r" },
	{ METHOD_DELETE, ROUTE_OPENAI, "/openai/v1/responses/resp_1", "", "/responses/resp_1", "r" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/responses/resp_1/cancel", "", "/responses/resp_1/cancel", "ru" },
	{ METHOD_GET, ROUTE_OPENAI, "/v1/responses/resp_1/input_items", "", "/responses/resp_1/input_items", "r" },
	{ METHOD_POST, ROUTE_OPENAI, "/files", "", "/files", "ru" },
	{ METHOD_GET, ROUTE_OPENAI, "/v1/files/file-1/content", "", "/files/file-1/content", "r" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/uploads/up-1/parts", "", "/uploads/up-1/parts", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/vector_stores/vs-1/files", "", "/vector_stores/vs-1/files", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/containers/c-1/files", "", "/containers/c-1/files", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/batches", "", "/batches", "ru" },
	{ METHOD_GET, ROUTE_OPENAI, "/batches", "", "/batches", "r" },
	{ METHOD_POST, ROUTE_OPENAI, "/fine_tuning/jobs", "", "/fine_tuning/jobs", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/conversations", "", "/conversations", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/assistants", "", "/assistants", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/threads/t-1/runs", "", "/threads/t-1/runs", "ru" },
	{ METHOD_POST, ROUTE_OPENAI, "/evals", "", "/evals", "ru" },
	{ METHOD_GET, ROUTE_OPENAI, "/videos/v-1/content", "", "/videos/v-1/content", "r" },
	{ METHOD_GET, ROUTE_OPENAI, "/v1/realtime", "", "/realtime", "r" },
	{ METHOD_POST, ROUTE_OPENAI, "/v1/something/new", "", "/something/new", "ru" },
	{ METHOD_GET, ROUTE_OPENAI, "/v1", "", "", "r" },
	{ METHOD_GET, ROUTE_OPENAI, "/openai/v1/", "", "/", "r" },

	{ METHOD_GET, ROUTE_MODELS, "/models", "", "/models", "" },
	{ METHOD_GET, ROUTE_MODELS, "/v1/models", "", "/models", "" },
	{ METHOD_GET, ROUTE_MODELS, "/openai/v1/models", "", "/models", "" },
	{ METHOD_GET, ROUTE_MODELS, "/openai/v1/models/", "", "/models/", "" },
	{ METHOD_GET, ROUTE_MODELS, "/openai/models", "", "/models", "a" },
	{ METHOD_GET, ROUTE_OPENAI, "/models/gpt-4o", "", "/models/gpt-4o", "" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/models/gpt-4o", "", "/models/gpt-4o", "" },
	{ METHOD_HEAD, ROUTE_OPENAI, "/models", "", "/models", "" },
	{ METHOD_DELETE, ROUTE_OPENAI, "/models/ft-1", "", "/models/ft-1", "r" },

	{ METHOD_POST, ROUTE_AZURE, "/openai/responses", "", "/responses", "m" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/images/generations:submit", "", "/images/generations:submit", "m" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/responses/resp_1", "", "/responses/resp_1", "r" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/responses/resp_1/cancel", "", "/responses/resp_1/cancel", "mr" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/assistants", "", "/assistants", "mr" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/files", "", "/files", "ru" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/files/import", "", "/files/import", "mr" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/uploads/up-1/parts", "", "/uploads/up-1/parts", "ru" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/vector_stores/vs-1/files", "", "/vector_stores/vs-1/files", "ru" },
	{ METHOD_POST, ROUTE_AZURE, "/openai/vector_stores", "", "/vector_stores", "mr" },
	{ METHOD_PUT, ROUTE_AZURE, "/openai/ingestion/jobs/j-1", "", "/ingestion/jobs/j-1", "ru" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/batches", "", "/batches", "r" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/v1x", "", "/v1x", "r" },
	{ METHOD_GET, ROUTE_AZURE, "/openai/", "", "/", "r" },
};

static bool
is_text(struct slice slice, const char *text)
{
	return slice_equals(slice, slice_from(text));
}

static void
finds_what_paths_mean(void **state)
{
	char flags[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
		struct route route;

		memset(&route, 0xff, sizeof(route));
		route_find(slice_from(paths[i].path), SLICE_EMPTY, paths[i].method, &route);
		if (route.kind != paths[i].kind || !is_text(route.deployment, paths[i].deployment) ||
		    !is_text(route.operation, paths[i].operation) ||
		    strcmp(flags_of(&route, flags), paths[i].flags) != 0)
			fail_msg("%s: kind %d, deployment \"%.*s\", operation \"%.*s\", flags \"%s\"", paths[i].path,
			    (int)route.kind, SLICE_PRINT(route.deployment), SLICE_PRINT(route.operation),
			    flags_of(&route, flags));
	}
}

static const struct {
	const char *behaviour;
	enum http_method method;
	const char *path, *query;
	enum route_kind kind;
	const char *flags;
} styles[] = {
	{ "chat without a version", METHOD_POST, "/openai/chat/completions", "", ROUTE_OPENAI, "n" },
	{ "embeddings with another parameter", METHOD_POST, "/openai/embeddings", "a=b", ROUTE_OPENAI, "n" },
	{ "responses without a version", METHOD_POST, "/openai/responses", "", ROUTE_OPENAI, "n" },
	{ "an image without a version", METHOD_POST, "/openai/images/generations", "", ROUTE_OPENAI, "n" },
	{ "a stored response without a version", METHOD_GET, "/openai/responses/r", "", ROUTE_OPENAI, "r" },
	{ "a file without a version", METHOD_POST, "/openai/files", "", ROUTE_OPENAI, "ru" },
	{ "the list of models without a version", METHOD_GET, "/openai/models", "", ROUTE_MODELS, "" },
	{ "the list of models with one", METHOD_GET, "/openai/models", "api-version=1", ROUTE_MODELS, "a" },
	{ "responses with a version", METHOD_POST, "/openai/responses", "api-version=1", ROUTE_AZURE, "m" },
	{ "an encoded version", METHOD_POST, "/openai/responses", "a=b&api%2dversion=1", ROUTE_AZURE, "m" },
	{ "what v1 does not have", METHOD_POST, "/openai/operations/images", "", ROUTE_AZURE, "mr" },
	{ "a deployment", METHOD_POST, "/openai/deployments/d/embeddings", "", ROUTE_DEPLOYMENT, "" },
	{ "v1 itself", METHOD_POST, "/openai/v1/embeddings", "", ROUTE_OPENAI, "n" },
};

static void
takes_azure_paths_without_a_version_for_v1(void **state)
{
	char flags[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(styles); i++) {
		struct route route;

		route_find(slice_from(styles[i].path), SLICE_EMPTY, styles[i].method, &route);
		route_settle_style(&route, styles[i].method, slice_from(styles[i].query));
		if (route.kind != styles[i].kind || strcmp(flags_of(&route, flags), styles[i].flags) != 0)
			fail_msg("%s: kind %d, flags \"%s\"", styles[i].behaviour, (int)route.kind,
			    flags_of(&route, flags));
	}
}

static const struct {
	const char *behaviour, *base, *path;
	enum route_kind kind;
	const char *want_path;
} based[] = {
	{ "the base is taken off", "/api/v1", "/api/v1/chat/completions", ROUTE_OPENAI, "/chat/completions" },
	{ "a base with a final slash", "/api/v1/", "/api/v1/chat/completions", ROUTE_OPENAI, "/chat/completions" },
	{ "the base before /openai", "/api", "/api/openai/deployments/d/embeddings", ROUTE_DEPLOYMENT,
	    "/openai/deployments/d/embeddings" },
	{ "without the base: unknown", "/api/v1", "/chat/completions", ROUTE_UNKNOWN, "/chat/completions" },
	{ "a base that is /v1 itself", "/v1", "/v1/chat/completions", ROUTE_OPENAI, "/chat/completions" },
	{ "only at a segment's end", "/api", "/apiopenai/v1/embeddings", ROUTE_UNKNOWN, "/apiopenai/v1/embeddings" },
	{ "the base alone", "/api", "/api", ROUTE_UNKNOWN, "/" },
	{ "health with the base", "/api", "/api/healthz", ROUTE_HEALTH, "/healthz" },
	{ "health without it", "/api", "/healthz", ROUTE_HEALTH, "/healthz" },
	{ "readiness with the base", "/api", "/api/readyz", ROUTE_READY, "/readyz" },
	{ "readiness without it", "/api", "/readyz", ROUTE_READY, "/readyz" },
	{ "no base", "", "/v1/embeddings", ROUTE_OPENAI, "/v1/embeddings" },
	{ "a base that is a slash", "/", "/v1/embeddings", ROUTE_OPENAI, "/v1/embeddings" },
};

static void
takes_the_base_path_off(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(based); i++) {
		struct route route;

		route_find(slice_from(based[i].path), slice_from(based[i].base), METHOD_POST, &route);
		if (route.kind != based[i].kind || !is_text(route.path, based[i].want_path))
			fail_msg("%s: kind %d, path \"%.*s\"", based[i].behaviour, (int)route.kind,
			    SLICE_PRINT(route.path));
	}
}

static const struct {
	const char *behaviour;
	enum http_method method;
	const char *path, *query, *prefix, *deployment, *api_version, *want;
} upstream[] = {
	{ "the deployment alone is replaced", METHOD_POST, "/openai/deployments/gpt-4o/chat/completions",
	    "api-version=2024-10-21", "", "gpt-4o-ptu", "",
	    "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=2024-10-21" },
	{ "its name elsewhere stays", METHOD_POST, "/openai/deployments/chat/chat/completions", "chat=chat", "", "x",
	    "", "/openai/deployments/x/chat/completions?chat=chat" },
	{ "an unmapped name stays as it came", METHOD_POST, "/openai/deployments/gpt@4/embeddings", "", "", "gpt@4", "",
	    "/openai/deployments/gpt@4/embeddings" },
	{ "a mapped name is one segment", METHOD_POST, "/openai/deployments/d/embeddings", "", "", "a/../b?c#d%e", "",
	    "/openai/deployments/a%2F..%2Fb%3Fc%23d%25e/embeddings" },
	{ "an encoded name is encoded again", METHOD_POST, "/openai/deployments/a%20b/embeddings", "", "", "a b", "",
	    "/openai/deployments/a%20b/embeddings" },
	{ "a name that looks encoded is not taken for it", METHOD_POST, "/openai/deployments/a%20b/embeddings", "", "",
	    "a%20b", "", "/openai/deployments/a%2520b/embeddings" },
	{ "no name: the segment as it came", METHOD_POST, "/openai/deployments/d/embeddings", "", "", "", "",
	    "/openai/deployments/d/embeddings" },
	{ "a deployment without an operation", METHOD_GET, "/openai/deployments/d", "api-version=1", "", "e", "",
	    "/openai/deployments/e?api-version=1" },
	{ "a deployment path ignores the backend's version", METHOD_POST, "/openai/deployments/d/embeddings",
	    "api-version=2024-10-21", "", "d", "2025-01-01",
	    "/openai/deployments/d/embeddings?api-version=2024-10-21" },
	{ "a backend's prefix goes first", METHOD_POST, "/openai/deployments/d/embeddings", "a=b", "/east", "d", "",
	    "/east/openai/deployments/d/embeddings?a=b" },

	{ "bare goes to /openai/v1", METHOD_POST, "/chat/completions", "", "", "d", "", "/openai/v1/chat/completions" },
	{ "/v1 goes to /openai/v1", METHOD_POST, "/v1/responses", "", "", "d", "", "/openai/v1/responses" },
	{ "/openai/v1 stays", METHOD_POST, "/openai/v1/embeddings", "api-version=preview", "/p", "d", "",
	    "/p/openai/v1/embeddings?api-version=preview" },
	{ "a trailing slash stays", METHOD_POST, "/v1/embeddings/", "", "", "d", "", "/openai/v1/embeddings/" },

	{ "with a version: the deployment path", METHOD_POST, "/v1/chat/completions", "", "", "gpt 4o", "2024-10-21",
	    "/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21" },
	{ "the caller's version gives way", METHOD_POST, "/completions", "a=1&api-version=preview&b=2", "/p", "d",
	    "2024-10-21", "/p/openai/deployments/d/completions?a=1&b=2&api-version=2024-10-21" },
	{ "and if it was all there is", METHOD_POST, "/embeddings", "api-version=preview", "", "d", "2024-10-21",
	    "/openai/deployments/d/embeddings?api-version=2024-10-21" },
	{ "images too", METHOD_POST, "/images/generations", "", "", "d", "2024-10-21",
	    "/openai/deployments/d/images/generations?api-version=2024-10-21" },
	{ "audio too", METHOD_POST, "/v1/audio/transcriptions", "", "", "d", "2024-10-21",
	    "/openai/deployments/d/audio/transcriptions?api-version=2024-10-21" },
	{ "responses stay in v1", METHOD_POST, "/responses", "", "", "d", "2024-10-21", "/openai/v1/responses" },
	{ "stored completions stay in v1", METHOD_GET, "/chat/completions", "limit=5", "", "", "2024-10-21",
	    "/openai/v1/chat/completions?limit=5" },
	{ "files stay in v1", METHOD_POST, "/files", "", "", "", "2024-10-21", "/openai/v1/files" },

	{ "Azure's own paths stay", METHOD_POST, "/openai/responses", "api-version=2025-04-01-preview", "", "d",
	    "2024-10-21", "/openai/responses?api-version=2025-04-01-preview" },
	{ "a list of models", METHOD_GET, "/models", "", "", "", "", "/openai/v1/models" },
	{ "Azure's list of models", METHOD_GET, "/openai/models", "api-version=1", "", "", "",
	    "/openai/models?api-version=1" },

	{ "the caller's key goes", METHOD_POST, "/openai/deployments/d/embeddings", "api-key=secret&api-version=1", "",
	    "d", "", "/openai/deployments/d/embeddings?api-version=1" },
	{ "in disguise too", METHOD_POST, "/v1/embeddings", "x=1&API%2Dkey=secret", "", "d", "",
	    "/openai/v1/embeddings?x=1" },
	{ "a gateway's key goes", METHOD_POST, "/v1/embeddings", "x=1&subscription-key=secret", "", "d", "",
	    "/openai/v1/embeddings?x=1" },
	{ "and on its own", METHOD_POST, "/v1/embeddings", "api-key=secret", "", "d", "", "/openai/v1/embeddings" },
	{ "and with a version", METHOD_POST, "/v1/embeddings", "api-key=secret", "", "d", "2024-10-21",
	    "/openai/deployments/d/embeddings?api-version=2024-10-21" },
};

static void
writes_upstream_targets(void **state)
{
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(upstream); i++) {
		const struct upstream_target target = { slice_from(upstream[i].prefix),
			slice_from(upstream[i].deployment), slice_from(upstream[i].api_version), false };
		struct route route;

		route_find(slice_from(upstream[i].path), SLICE_EMPTY, upstream[i].method, &route);
		buffer_clear(&out);
		buffer_append_string(&out, "POST ");
		route_write_upstream(&route, slice_from(upstream[i].query), &target, &out);
		if (!is_text(slice_skip(buffer_slice(&out), 5), upstream[i].want))
			fail_msg("%s: %.*s", upstream[i].behaviour, SLICE_PRINT(buffer_slice(&out)));
	}
	buffer_free(&out);
}

static void
leaves_a_passthrough_backend_the_callers_key(void **state)
{
	const struct upstream_target target = { .deployment = SLICE("d"), .keep_api_key_query = true };
	struct buffer out = { 0 };
	struct route route;

	(void)state;
	route_find(SLICE("/v1/embeddings"), SLICE_EMPTY, METHOD_POST, &route);
	route_write_upstream(&route, SLICE("api-key=secret&x=1"), &target, &out);
	assert_true(is_text(buffer_slice(&out), "/openai/v1/embeddings?api-key=secret&x=1"));
	buffer_free(&out);
}

static void
accepts_fit_deployment_names(void **state)
{
	char name[DEPLOYMENT_NAME_MAX_BYTES + 1];

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_true(route_deployment_name_ok(SLICE("gpt-4o")));
	assert_true(route_deployment_name_ok(SLICE("a/b c?")));
	assert_true(route_deployment_name_ok(SLICE("...")));
	assert_true(route_deployment_name_ok(SLICE("\xc3\xa9t\xc3\xa9")));
	assert_true(route_deployment_name_ok(slice_of(name, sizeof(name) - 1)));
	assert_false(route_deployment_name_ok(slice_of(name, sizeof(name))));
	assert_false(route_deployment_name_ok(SLICE_EMPTY));
	assert_false(route_deployment_name_ok(SLICE(".")));
	assert_false(route_deployment_name_ok(SLICE("..")));
	assert_false(route_deployment_name_ok(SLICE("a\r\nb")));
	assert_false(route_deployment_name_ok(SLICE("a\0b")));
	assert_false(route_deployment_name_ok(SLICE("a\x7f")));
	assert_false(route_deployment_name_ok(SLICE("a\xff")));
	assert_false(route_deployment_name_ok(SLICE("\xc3")));
	assert_false(route_deployment_name_ok(SLICE("\t")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_paths_mean),
		cmocka_unit_test(takes_azure_paths_without_a_version_for_v1),
		cmocka_unit_test(takes_the_base_path_off),
		cmocka_unit_test(writes_upstream_targets),
		cmocka_unit_test(leaves_a_passthrough_backend_the_callers_key),
		cmocka_unit_test(accepts_fit_deployment_names),
	};

	return cmocka_run_group_tests_name("policy/route", tests, NULL, NULL);
}
