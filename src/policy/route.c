#include "policy/route.h"

#include <string.h>

#include "base/log.h"
#include "policy/state.h"

/* ---- what a caller's path means --------------------------------------------------------------------------------- */

/* Takes the prefix off path if it ends there at the end of a segment; *rest is empty or begins with a slash. */
static bool
take_prefix(struct slice path, struct slice prefix, struct slice *rest)
{
	if (!slice_starts_with(path, prefix))
		return false;
	*rest = slice_skip(path, prefix.length);
	return rest->length == 0 || rest->data[0] == '/';
}

/* The first segment of a path that begins with a slash, without the slash. */
static struct slice
first_segment(struct slice path)
{
	struct slice text = slice_skip(path, 1);
	const char *slash = text.length > 0 ? memchr(text.data, '/', text.length) : NULL;

	return slash ? slice_of(text.data, (size_t)(slash - text.data)) : text;
}

static bool
is_one_of(struct slice text, const struct slice *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (slice_equals(text, names[i]))
			return true;
	}
	return false;
}

/* Paths that may come without /v1 before them: what SDKs send whose base URL has no path. */
static bool
is_bare_form(struct slice path)
{
	static const struct slice segments[] = { SLICE_STATIC("chat"), SLICE_STATIC("completions"),
		SLICE_STATIC("embeddings"), SLICE_STATIC("responses"), SLICE_STATIC("models"), SLICE_STATIC("images"),
		SLICE_STATIC("audio"), SLICE_STATIC("files"), SLICE_STATIC("fine_tuning"),
		SLICE_STATIC("vector_stores"), SLICE_STATIC("batches"), SLICE_STATIC("uploads"),
		SLICE_STATIC("conversations"), SLICE_STATIC("assistants"), SLICE_STATIC("threads"),
		SLICE_STATIC("evals"), SLICE_STATIC("moderations"), SLICE_STATIC("containers"), SLICE_STATIC("videos"),
		SLICE_STATIC("realtime") };

	return is_one_of(first_segment(path), segments, ARRAY_COUNT(segments));
}

static struct slice
without_final_slash(struct slice path)
{
	if (path.length > 0 && path.data[path.length - 1] == '/')
		path.length--;
	return path;
}

/* The operations that Azure also has below a deployment. */
static bool
has_deployment_path(struct slice operation)
{
	static const struct slice exactly[] = { SLICE_STATIC("/chat/completions"), SLICE_STATIC("/completions"),
		SLICE_STATIC("/embeddings") };

	return is_one_of(without_final_slash(operation), exactly, ARRAY_COUNT(exactly)) ||
	    slice_starts_with(operation, SLICE("/images/")) || slice_starts_with(operation, SLICE("/audio/"));
}

/* The operations whose POST names the model that does the work. Of what stands below /responses all but these two
 * belongs to a stored response. */
static bool
is_model_operation(struct slice operation)
{
	static const struct slice exactly[] = { SLICE_STATIC("/responses"), SLICE_STATIC("/responses/compact"),
		SLICE_STATIC("/responses/input_tokens"), SLICE_STATIC("/moderations"), SLICE_STATIC("/videos"),
		SLICE_STATIC("/video/generations/jobs") };

	return has_deployment_path(operation) ||
	    is_one_of(without_final_slash(operation), exactly, ARRAY_COUNT(exactly));
}

/* The model list, or one entry of it. */
static bool
is_models_path(struct slice operation)
{
	struct slice rest;

	return take_prefix(operation, SLICE("/models"), &rest);
}

/* Uploads of whole files, which never name a model: /files, /uploads/…, /vector_stores/{id}/files,
 * /containers/{id}/files. */
static bool
is_file_upload(struct slice operation)
{
	struct slice rest;

	operation = without_final_slash(operation);
	if (slice_equals(operation, SLICE("/files")) || take_prefix(operation, SLICE("/uploads"), &rest))
		return true;
	if (!take_prefix(operation, SLICE("/vector_stores"), &rest) &&
	    !take_prefix(operation, SLICE("/containers"), &rest))
		return false;
	return rest.length > 0 && slice_equals(slice_skip(rest, 1 + first_segment(rest).length), SLICE("/files"));
}

/* What is not the work of a model and not the model list counts as the resource's: a client that may use certain
 * deployments only is to be kept from whatever is not known to be harmless. */
static void
classify(struct route *route, enum http_method method)
{
	bool has_body = method == METHOD_POST || method == METHOD_PUT || method == METHOD_PATCH;
	bool is_model_post = method == METHOD_POST && is_model_operation(route->operation);
	bool is_read = method == METHOD_GET || method == METHOD_HEAD;

	if (method == METHOD_GET && slice_equals(without_final_slash(route->operation), SLICE("/models"))) {
		route->azure_style = route->kind == ROUTE_AZURE;
		route->kind = ROUTE_MODELS;
		return;
	}
	route->resource = !is_model_post && !(is_read && is_models_path(route->operation));
	if (route->kind == ROUTE_AZURE)
		route->may_have_model = method == METHOD_POST && !is_file_upload(route->operation);
	else
		route->needs_model = is_model_post;
	route->upload = route->resource && has_body && !route->may_have_model;
}

/* path: from "/openai" on. */
static void
find_below_openai(struct slice path, enum http_method method, struct route *out)
{
	struct slice below = slice_skip(path, strlen("/openai")), rest;

	if (take_prefix(below, SLICE("/deployments"), &rest) && rest.length > 1) {
		out->kind = ROUTE_DEPLOYMENT;
		out->deployment = first_segment(rest);
		out->operation = slice_skip(rest, 1 + out->deployment.length);
		return;
	}
	out->kind = take_prefix(below, SLICE("/v1"), &rest) ? ROUTE_OPENAI : ROUTE_AZURE;
	out->operation = out->kind == ROUTE_OPENAI ? rest : below;
	classify(out, method);
}

static enum route_kind
health_kind(struct slice path)
{
	if (slice_equals(path, SLICE("/healthz")))
		return ROUTE_HEALTH;
	return slice_equals(path, SLICE("/readyz")) ? ROUTE_READY : ROUTE_UNKNOWN;
}

void
route_find(struct slice path, struct slice base_path, enum http_method method, struct route *out)
{
	struct slice rest;

	*out = (struct route){ .kind = health_kind(path), .path = path };
	if (out->kind != ROUTE_UNKNOWN)
		return;
	if (!take_prefix(path, without_final_slash(base_path), &rest))
		return;
	out->path = path = rest.length == 0 ? SLICE("/") : rest;
	out->kind = health_kind(path);
	if (out->kind != ROUTE_UNKNOWN)
		return;

	if (take_prefix(path, SLICE("/openai"), &rest) && rest.length > 0) {
		find_below_openai(path, method, out);
	} else if (take_prefix(path, SLICE("/v1"), &rest)) {
		out->kind = ROUTE_OPENAI;
		out->operation = rest;
		classify(out, method);
	} else if (is_bare_form(path)) {
		out->kind = ROUTE_OPENAI;
		out->operation = path;
		classify(out, method);
	}
}

void
route_settle_style(struct route *route, enum http_method method, struct slice query)
{
	struct slice version;
	bool azure = route->kind == ROUTE_AZURE || (route->kind == ROUTE_MODELS && route->azure_style);

	if (!azure || !is_bare_form(route->operation) || query_find(query, SLICE("api-version"), &version))
		return;
	route->kind = ROUTE_OPENAI;
	route->azure_style = route->may_have_model = route->upload = false;
	classify(route, method);
}

/* ---- what it becomes on a backend ------------------------------------------------------------------------------- */

static void
write_query(struct slice query, bool without_version, const struct upstream_target *target, struct buffer *out)
{
	struct slice names[3];
	size_t count = 0;

	if (query.length == 0)
		return;
	if (!target->keep_api_key_query) {
		names[count++] = SLICE("api-key");
		names[count++] = SLICE("subscription-key"); /* as gateways of API Management take it */
	}
	if (without_version)
		names[count++] = SLICE("api-version");
	buffer_append_byte(out, '?');
	if (query_write_without(query, names, count, out) == 0)
		out->length--;
}

/* A name that is what the caller wrote stays as it was written, unless that could be understood in two ways. */
static void
write_deployment(struct slice raw, struct slice name, struct buffer *out)
{
	bool as_it_came = slice_equals(raw, name) && !memchr(raw.data, '%', raw.length);

	if (name.length == 0 || as_it_came)
		buffer_append_slice(out, raw);
	else
		percent_encode_segment(name, out);
}

/* OpenAI style on Azure's deployment path. The caller's own api-version would be meant for another dialect. */
static void
write_deployment_form(const struct route *route, struct slice query, const struct upstream_target *target,
    struct buffer *out)
{
	buffer_append_string(out, "/openai/deployments/");
	percent_encode_segment(target->deployment, out);
	buffer_append_slice(out, route->operation);

	size_t path_end = out->length;
	write_query(query, true, target, out);
	buffer_append_string(out, out->length == path_end ? "?api-version=" : "&api-version=");
	percent_encode_segment(target->api_version, out);
}

void
route_write_upstream(const struct route *route, struct slice query, const struct upstream_target *target,
    struct buffer *out)
{
	buffer_append_slice(out, target->prefix);
	switch (route->kind) {
	case ROUTE_DEPLOYMENT:
		buffer_append_string(out, "/openai/deployments/");
		write_deployment(route->deployment, target->deployment, out);
		break;
	case ROUTE_OPENAI:
		if (target->api_version.length > 0 && target->deployment.length > 0 && route->needs_model &&
		    has_deployment_path(route->operation)) {
			write_deployment_form(route, query, target, out);
			return;
		}
		buffer_append_string(out, "/openai/v1");
		break;
	case ROUTE_AZURE:
		buffer_append_string(out, "/openai");
		break;
	case ROUTE_MODELS:
		buffer_append_string(out, route->azure_style ? "/openai" : "/openai/v1");
		break;
	case ROUTE_UNKNOWN:
	case ROUTE_HEALTH:
	case ROUTE_READY:
		fatal("route_write_upstream: a path of kind %d goes to no backend", (int)route->kind);
	}
	buffer_append_slice(out, route->operation);
	write_query(query, false, target, out);
}

bool
route_deployment_name_ok(struct slice name)
{
	if (name.length == 0 || name.length > DEPLOYMENT_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < name.length; i++) {
		unsigned char byte = (unsigned char)name.data[i];

		if (byte < 0x20 || byte == 0x7f)
			return false;
	}
	return slice_is_utf8(name) && !slice_equals(name, SLICE(".")) && !slice_equals(name, SLICE(".."));
}
