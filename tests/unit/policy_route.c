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
	const char *path;
	enum route_kind kind;
	const char *deployment, *operation, *flags;
} paths[] = {
	{ METHOD_GET, "/healthz", ROUTE_HEALTH, "", "", "" },
	{ METHOD_GET, "/readyz", ROUTE_READY, "", "", "" },
	{ METHOD_GET, "/healthz/", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_GET, "/", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_GET, "", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_OPTIONS, "*", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_GET, "/favicon.ico", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_GET, "/metrics", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_GET, "/status.json", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_POST, "/v2/chat/completions", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_POST, "/v1x/chat/completions", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_POST, "/chatter", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_POST, "/openai", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_POST, "/openaix/v1/embeddings", ROUTE_UNKNOWN, "", "", "" },
	{ METHOD_POST, "/OpenAI/v1/embeddings", ROUTE_UNKNOWN, "", "", "" },

	{ METHOD_POST, "/openai/deployments/gpt-4o/chat/completions", ROUTE_DEPLOYMENT, "gpt-4o", "/chat/completions",
	    "" },
	{ METHOD_POST, "/openai/deployments/gpt%204o/embeddings", ROUTE_DEPLOYMENT, "gpt%204o", "/embeddings", "" },
	{ METHOD_POST, "/openai/deployments/gpt-4o/extensions/chat/completions", ROUTE_DEPLOYMENT, "gpt-4o",
	    "/extensions/chat/completions", "" },
	{ METHOD_POST, "/openai/deployments/deployments/chat/completions/", ROUTE_DEPLOYMENT, "deployments",
	    "/chat/completions/", "" },
	{ METHOD_GET, "/openai/deployments/gpt-4o", ROUTE_DEPLOYMENT, "gpt-4o", "", "" },
	{ METHOD_GET, "/openai/deployments/gpt-4o/", ROUTE_DEPLOYMENT, "gpt-4o", "/", "" },
	{ METHOD_GET, "/openai/deployments", ROUTE_AZURE, "", "/deployments", "r" },
	{ METHOD_GET, "/openai/deployments/", ROUTE_AZURE, "", "/deployments/", "r" },
	{ METHOD_GET, "/openai/deploymentsx/gpt-4o", ROUTE_AZURE, "", "/deploymentsx/gpt-4o", "r" },

	{ METHOD_POST, "/openai/v1/chat/completions", ROUTE_OPENAI, "", "/chat/completions", "n" },
	{ METHOD_POST, "/v1/chat/completions", ROUTE_OPENAI, "", "/chat/completions", "n" },
	{ METHOD_POST, "/chat/completions", ROUTE_OPENAI, "", "/chat/completions", "n" },
	{ METHOD_POST, "/chat/completions/", ROUTE_OPENAI, "", "/chat/completions/", "n" },
	{ METHOD_POST, "/completions", ROUTE_OPENAI, "", "/completions", "n" },
	{ METHOD_POST, "/embeddings", ROUTE_OPENAI, "", "/embeddings", "n" },
	{ METHOD_POST, "/responses", ROUTE_OPENAI, "", "/responses", "n" },
	{ METHOD_POST, "/v1/responses/", ROUTE_OPENAI, "", "/responses/", "n" },
	{ METHOD_POST, "/v1/responses/compact", ROUTE_OPENAI, "", "/responses/compact", "n" },
	{ METHOD_POST, "/v1/responses/input_tokens", ROUTE_OPENAI, "", "/responses/input_tokens", "n" },
	{ METHOD_POST, "/images/generations", ROUTE_OPENAI, "", "/images/generations", "n" },
	{ METHOD_POST, "/openai/v1/images/edits", ROUTE_OPENAI, "", "/images/edits", "n" },
	{ METHOD_POST, "/audio/transcriptions", ROUTE_OPENAI, "", "/audio/transcriptions", "n" },
	{ METHOD_POST, "/v1/audio/speech", ROUTE_OPENAI, "", "/audio/speech", "n" },
	{ METHOD_POST, "/moderations", ROUTE_OPENAI, "", "/moderations", "n" },
	{ METHOD_POST, "/videos", ROUTE_OPENAI, "", "/videos", "n" },
	{ METHOD_POST, "/openai/v1/video/generations/jobs", ROUTE_OPENAI, "", "/video/generations/jobs", "n" },

	{ METHOD_GET, "/chat/completions", ROUTE_OPENAI, "", "/chat/completions", "r" },
	{ METHOD_POST, "/v1/chat/completions/chatcmpl-1", ROUTE_OPENAI, "", "/chat/completions/chatcmpl-1", "ru" },
	{ METHOD_GET, "/responses/resp_1", ROUTE_OPENAI, "", "/responses/resp_1", "r" },
	{ METHOD_DELETE, "/openai/v1/responses/resp_1", ROUTE_OPENAI, "", "/responses/resp_1", "r" },
	{ METHOD_POST, "/v1/responses/resp_1/cancel", ROUTE_OPENAI, "", "/responses/resp_1/cancel", "ru" },
	{ METHOD_GET, "/v1/responses/resp_1/input_items", ROUTE_OPENAI, "", "/responses/resp_1/input_items", "r" },
	{ METHOD_POST, "/files", ROUTE_OPENAI, "", "/files", "ru" },
	{ METHOD_GET, "/v1/files/file-1/content", ROUTE_OPENAI, "", "/files/file-1/content", "r" },
	{ METHOD_POST, "/v1/uploads/up-1/parts", ROUTE_OPENAI, "", "/uploads/up-1/parts", "ru" },
	{ METHOD_POST, "/v1/vector_stores/vs-1/files", ROUTE_OPENAI, "", "/vector_stores/vs-1/files", "ru" },
	{ METHOD_POST, "/containers/c-1/files", ROUTE_OPENAI, "", "/containers/c-1/files", "ru" },
	{ METHOD_POST, "/batches", ROUTE_OPENAI, "", "/batches", "ru" },
	{ METHOD_GET, "/batches", ROUTE_OPENAI, "", "/batches", "r" },
	{ METHOD_POST, "/fine_tuning/jobs", ROUTE_OPENAI, "", "/fine_tuning/jobs", "ru" },
	{ METHOD_POST, "/conversations", ROUTE_OPENAI, "", "/conversations", "ru" },
	{ METHOD_POST, "/assistants", ROUTE_OPENAI, "", "/assistants", "ru" },
	{ METHOD_POST, "/threads/t-1/runs", ROUTE_OPENAI, "", "/threads/t-1/runs", "ru" },
	{ METHOD_POST, "/evals", ROUTE_OPENAI, "", "/evals", "ru" },
	{ METHOD_GET, "/videos/v-1/content", ROUTE_OPENAI, "", "/videos/v-1/content", "r" },
	{ METHOD_GET, "/v1/realtime", ROUTE_OPENAI, "", "/realtime", "r" },
	{ METHOD_POST, "/v1/something/new", ROUTE_OPENAI, "", "/something/new", "ru" },
	{ METHOD_GET, "/v1", ROUTE_OPENAI, "", "", "r" },
	{ METHOD_GET, "/openai/v1/", ROUTE_OPENAI, "", "/", "r" },

	{ METHOD_GET, "/models", ROUTE_MODELS, "", "/models", "" },
	{ METHOD_GET, "/v1/models", ROUTE_MODELS, "", "/models", "" },
	{ METHOD_GET, "/openai/v1/models", ROUTE_MODELS, "", "/models", "" },
	{ METHOD_GET, "/openai/v1/models/", ROUTE_MODELS, "", "/models/", "" },
	{ METHOD_GET, "/openai/models", ROUTE_MODELS, "", "/models", "a" },
	{ METHOD_GET, "/models/gpt-4o", ROUTE_OPENAI, "", "/models/gpt-4o", "" },
	{ METHOD_GET, "/openai/models/gpt-4o", ROUTE_AZURE, "", "/models/gpt-4o", "" },
	{ METHOD_HEAD, "/models", ROUTE_OPENAI, "", "/models", "" },
	{ METHOD_DELETE, "/models/ft-1", ROUTE_OPENAI, "", "/models/ft-1", "r" },

	{ METHOD_POST, "/openai/responses", ROUTE_AZURE, "", "/responses", "m" },
	{ METHOD_POST, "/openai/images/generations:submit", ROUTE_AZURE, "", "/images/generations:submit", "m" },
	{ METHOD_GET, "/openai/responses/resp_1", ROUTE_AZURE, "", "/responses/resp_1", "r" },
	{ METHOD_POST, "/openai/responses/resp_1/cancel", ROUTE_AZURE, "", "/responses/resp_1/cancel", "mr" },
	{ METHOD_POST, "/openai/assistants", ROUTE_AZURE, "", "/assistants", "mr" },
	{ METHOD_POST, "/openai/files", ROUTE_AZURE, "", "/files", "ru" },
	{ METHOD_POST, "/openai/files/import", ROUTE_AZURE, "", "/files/import", "mr" },
	{ METHOD_POST, "/openai/uploads/up-1/parts", ROUTE_AZURE, "", "/uploads/up-1/parts", "ru" },
	{ METHOD_POST, "/openai/vector_stores/vs-1/files", ROUTE_AZURE, "", "/vector_stores/vs-1/files", "ru" },
	{ METHOD_POST, "/openai/vector_stores", ROUTE_AZURE, "", "/vector_stores", "mr" },
	{ METHOD_PUT, "/openai/ingestion/jobs/j-1", ROUTE_AZURE, "", "/ingestion/jobs/j-1", "ru" },
	{ METHOD_GET, "/openai/batches", ROUTE_AZURE, "", "/batches", "r" },
	{ METHOD_GET, "/openai/v1x", ROUTE_AZURE, "", "/v1x", "r" },
	{ METHOD_GET, "/openai/", ROUTE_AZURE, "", "/", "r" },
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
			fail_msg(
			    "%s: kind %d, path \"%.*s\"", based[i].behaviour, (int)route.kind, SLICE_PRINT(route.path));
	}
}

static const struct {
	const char *behaviour;
	enum http_method method;
	const char *path, *query, *prefix, *deployment, *api_version;
	bool keep_api_key;
	const char *want;
} upstream[] = {
	{ "the deployment alone is replaced", METHOD_POST, "/openai/deployments/gpt-4o/chat/completions",
	    "api-version=2024-10-21", "", "gpt-4o-ptu", "", false,
	    "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=2024-10-21" },
	{ "its name elsewhere stays", METHOD_POST, "/openai/deployments/chat/chat/completions", "chat=chat", "", "x",
	    "", false, "/openai/deployments/x/chat/completions?chat=chat" },
	{ "an unmapped name stays as it came", METHOD_POST, "/openai/deployments/gpt@4/embeddings", "", "", "gpt@4", "",
	    false, "/openai/deployments/gpt@4/embeddings" },
	{ "a mapped name is one segment", METHOD_POST, "/openai/deployments/d/embeddings", "", "", "a/../b?c#d%e", "",
	    false, "/openai/deployments/a%2F..%2Fb%3Fc%23d%25e/embeddings" },
	{ "an encoded name is encoded again", METHOD_POST, "/openai/deployments/a%20b/embeddings", "", "", "a b", "",
	    false, "/openai/deployments/a%20b/embeddings" },
	{ "a name that looks encoded is not taken for it", METHOD_POST, "/openai/deployments/a%20b/embeddings", "", "",
	    "a%20b", "", false, "/openai/deployments/a%2520b/embeddings" },
	{ "no name: the segment as it came", METHOD_POST, "/openai/deployments/d/embeddings", "", "", "", "", false,
	    "/openai/deployments/d/embeddings" },
	{ "a deployment without an operation", METHOD_GET, "/openai/deployments/d", "api-version=1", "", "e", "", false,
	    "/openai/deployments/e?api-version=1" },
	{ "a deployment path ignores the backend's version", METHOD_POST, "/openai/deployments/d/embeddings",
	    "api-version=2024-10-21", "", "d", "2025-01-01", false,
	    "/openai/deployments/d/embeddings?api-version=2024-10-21" },
	{ "a backend's prefix goes first", METHOD_POST, "/openai/deployments/d/embeddings", "a=b", "/east", "d", "",
	    false, "/east/openai/deployments/d/embeddings?a=b" },

	{ "bare goes to /openai/v1", METHOD_POST, "/chat/completions", "", "", "d", "", false,
	    "/openai/v1/chat/completions" },
	{ "/v1 goes to /openai/v1", METHOD_POST, "/v1/responses", "", "", "d", "", false, "/openai/v1/responses" },
	{ "/openai/v1 stays", METHOD_POST, "/openai/v1/embeddings", "api-version=preview", "/p", "d", "", false,
	    "/p/openai/v1/embeddings?api-version=preview" },
	{ "a trailing slash stays", METHOD_POST, "/v1/embeddings/", "", "", "d", "", false, "/openai/v1/embeddings/" },

	{ "with a version: the deployment path", METHOD_POST, "/v1/chat/completions", "", "", "gpt 4o", "2024-10-21",
	    false, "/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21" },
	{ "the caller's version gives way", METHOD_POST, "/completions", "a=1&api-version=preview&b=2", "/p", "d",
	    "2024-10-21", false, "/p/openai/deployments/d/completions?a=1&b=2&api-version=2024-10-21" },
	{ "and if it was all there is", METHOD_POST, "/embeddings", "api-version=preview", "", "d", "2024-10-21", false,
	    "/openai/deployments/d/embeddings?api-version=2024-10-21" },
	{ "images too", METHOD_POST, "/images/generations", "", "", "d", "2024-10-21", false,
	    "/openai/deployments/d/images/generations?api-version=2024-10-21" },
	{ "audio too", METHOD_POST, "/v1/audio/transcriptions", "", "", "d", "2024-10-21", false,
	    "/openai/deployments/d/audio/transcriptions?api-version=2024-10-21" },
	{ "responses stay in v1", METHOD_POST, "/responses", "", "", "d", "2024-10-21", false, "/openai/v1/responses" },
	{ "stored completions stay in v1", METHOD_GET, "/chat/completions", "limit=5", "", "", "2024-10-21", false,
	    "/openai/v1/chat/completions?limit=5" },
	{ "files stay in v1", METHOD_POST, "/files", "", "", "", "2024-10-21", false, "/openai/v1/files" },

	{ "Azure's own paths stay", METHOD_POST, "/openai/responses", "api-version=2025-04-01-preview", "", "d",
	    "2024-10-21", false, "/openai/responses?api-version=2025-04-01-preview" },
	{ "a list of models", METHOD_GET, "/models", "", "", "", "", false, "/openai/v1/models" },
	{ "Azure's list of models", METHOD_GET, "/openai/models", "api-version=1", "", "", "", false,
	    "/openai/models?api-version=1" },

	{ "the caller's key goes", METHOD_POST, "/openai/deployments/d/embeddings", "api-key=secret&api-version=1", "",
	    "d", "", false, "/openai/deployments/d/embeddings?api-version=1" },
	{ "in disguise too", METHOD_POST, "/v1/embeddings", "x=1&API%2Dkey=secret", "", "d", "", false,
	    "/openai/v1/embeddings?x=1" },
	{ "and on its own", METHOD_POST, "/v1/embeddings", "api-key=secret", "", "d", "", false,
	    "/openai/v1/embeddings" },
	{ "and with a version", METHOD_POST, "/v1/embeddings", "api-key=secret", "", "d", "2024-10-21", false,
	    "/openai/deployments/d/embeddings?api-version=2024-10-21" },
	{ "a passthrough backend gets it", METHOD_POST, "/v1/embeddings", "api-key=secret&x=1", "", "d", "", true,
	    "/openai/v1/embeddings?api-key=secret&x=1" },
};

static void
writes_upstream_targets(void **state)
{
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(upstream); i++) {
		const struct upstream_target target = { slice_from(upstream[i].prefix),
			slice_from(upstream[i].deployment), slice_from(upstream[i].api_version),
			upstream[i].keep_api_key };
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
	assert_false(route_deployment_name_ok(SLICE("\t")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_paths_mean),
		cmocka_unit_test(takes_the_base_path_off),
		cmocka_unit_test(writes_upstream_targets),
		cmocka_unit_test(accepts_fit_deployment_names),
	};

	return cmocka_run_group_tests_name("policy/route", tests, NULL, NULL);
}
