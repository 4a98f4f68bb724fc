#include "sim/route.h"

#include <string.h>

#include "http/target.h"

/* Takes prefix from the front of *path. */
static bool
take(struct slice *path, struct slice prefix)
{
	if (!slice_starts_with(*path, prefix))
		return false;
	*path = slice_skip(*path, prefix.length);
	return true;
}

/* Takes everything before the next slash, which must not be nothing. */
static bool
take_segment(struct slice *path, struct slice *segment)
{
	const char *slash = path->length > 0 ? memchr(path->data, '/', path->length) : NULL;

	*segment = slice_of(path->data, slash == NULL ? path->length : (size_t)(slash - path->data));
	*path = slice_skip(*path, segment->length);
	return segment->length > 0;
}

/* What both the deployment paths and the v1 paths have. */
static enum sim_endpoint
inference_endpoint(struct slice rest)
{
	if (slice_equals(rest, SLICE("/chat/completions")))
		return SIM_ENDPOINT_CHAT;
	if (slice_equals(rest, SLICE("/embeddings")))
		return SIM_ENDPOINT_EMBEDDINGS;
	if (slice_equals(rest, SLICE("/completions")))
		return SIM_ENDPOINT_COMPLETIONS;
	return SIM_ENDPOINT_UNKNOWN;
}

/* "/{id}" under a collection; a tail behind the id is left in *rest. */
static bool
take_id(struct sim_route *route, struct slice *rest)
{
	return take(rest, SLICE("/")) && take_segment(rest, &route->id);
}

static enum sim_endpoint
responses_endpoint(struct sim_route *route, enum http_method method, struct slice rest)
{
	if (rest.length == 0)
		return method == METHOD_POST ? SIM_ENDPOINT_RESPONSES : SIM_ENDPOINT_UNKNOWN;
	if (!take_id(route, &rest) || rest.length > 0)
		return SIM_ENDPOINT_UNKNOWN;
	if (method == METHOD_GET)
		return SIM_ENDPOINT_RESPONSE_GET;
	return method == METHOD_DELETE ? SIM_ENDPOINT_RESPONSE_DELETE : SIM_ENDPOINT_UNKNOWN;
}

static enum sim_endpoint
models_endpoint(struct sim_route *route, enum http_method method, struct slice rest)
{
	if (method != METHOD_GET)
		return SIM_ENDPOINT_UNKNOWN;
	if (rest.length == 0)
		return SIM_ENDPOINT_MODELS;
	return take_id(route, &rest) && rest.length == 0 ? SIM_ENDPOINT_MODEL : SIM_ENDPOINT_UNKNOWN;
}

static enum sim_endpoint
files_endpoint(struct sim_route *route, enum http_method method, struct slice rest)
{
	if (rest.length == 0 && method == METHOD_POST)
		return SIM_ENDPOINT_FILES_CREATE;
	if (rest.length == 0)
		return method == METHOD_GET ? SIM_ENDPOINT_FILES_LIST : SIM_ENDPOINT_UNKNOWN;
	if (!take_id(route, &rest))
		return SIM_ENDPOINT_UNKNOWN;
	if (slice_equals(rest, SLICE("/content")))
		return method == METHOD_GET ? SIM_ENDPOINT_FILE_CONTENT : SIM_ENDPOINT_UNKNOWN;
	if (rest.length > 0)
		return SIM_ENDPOINT_UNKNOWN;
	if (method == METHOD_GET)
		return SIM_ENDPOINT_FILE_GET;
	return method == METHOD_DELETE ? SIM_ENDPOINT_FILE_DELETE : SIM_ENDPOINT_UNKNOWN;
}

/* What is under /openai and under /openai/v1 alike. */
static enum sim_endpoint
resource_endpoint(struct sim_route *route, enum http_method method, struct slice rest)
{
	if (take(&rest, SLICE("/responses")))
		return responses_endpoint(route, method, rest);
	if (take(&rest, SLICE("/models")))
		return models_endpoint(route, method, rest);
	if (take(&rest, SLICE("/files")))
		return files_endpoint(route, method, rest);
	return SIM_ENDPOINT_UNKNOWN;
}

static enum sim_endpoint
find_endpoint(struct sim_route *route, enum http_method method, struct slice path)
{
	enum sim_endpoint endpoint;

	if (!take(&path, SLICE("/openai/")))
		return SIM_ENDPOINT_UNKNOWN;
	if (take(&path, SLICE("deployments/"))) {
		route->deployment_path = true;
		if (!take_segment(&path, &route->deployment) || method != METHOD_POST)
			return SIM_ENDPOINT_UNKNOWN;
		return inference_endpoint(path);
	}
	if (take(&path, SLICE("v1/"))) {
		route->v1 = true;
		path = slice_of(path.data - 1, path.length + 1);
		endpoint = method == METHOD_POST ? inference_endpoint(path) : SIM_ENDPOINT_UNKNOWN;
		return endpoint != SIM_ENDPOINT_UNKNOWN ? endpoint : resource_endpoint(route, method, path);
	}
	return resource_endpoint(route, method, slice_of(path.data - 1, path.length + 1));
}

void
sim_route_find(struct sim_route *route, enum http_method method, struct slice path, struct slice query)
{
	memset(route, 0, sizeof(*route));
	route->endpoint = find_endpoint(route, method, path);
	if (!query_find(query, SLICE("api-version"), &route->api_version))
		route->api_version = SLICE_EMPTY;
	if (!route->v1 && route->api_version.length == 0)
		route->endpoint = SIM_ENDPOINT_UNKNOWN;
}

bool
sim_endpoint_infers(enum sim_endpoint endpoint)
{
	return endpoint == SIM_ENDPOINT_CHAT || endpoint == SIM_ENDPOINT_COMPLETIONS ||
	    endpoint == SIM_ENDPOINT_EMBEDDINGS || endpoint == SIM_ENDPOINT_RESPONSES;
}

const char *
sim_endpoint_operation(enum sim_endpoint endpoint)
{
	switch (endpoint) {
	case SIM_ENDPOINT_CHAT:
		return "ChatCompletions_Create";
	case SIM_ENDPOINT_COMPLETIONS:
		return "Completions_Create";
	case SIM_ENDPOINT_EMBEDDINGS:
		return "Embeddings_Create";
	case SIM_ENDPOINT_RESPONSES:
		return "Responses_Create";
	case SIM_ENDPOINT_UNKNOWN:
	case SIM_ENDPOINT_RESPONSE_GET:
	case SIM_ENDPOINT_RESPONSE_DELETE:
	case SIM_ENDPOINT_MODELS:
	case SIM_ENDPOINT_MODEL:
	case SIM_ENDPOINT_FILES_CREATE:
	case SIM_ENDPOINT_FILES_LIST:
	case SIM_ENDPOINT_FILE_GET:
	case SIM_ENDPOINT_FILE_CONTENT:
	case SIM_ENDPOINT_FILE_DELETE:
		break;
	}
	return "Unknown";
}
