/* Whatever a caller's path, query and names are: what goes to a backend is one well-formed target, below the backend's
 * prefix, and the deployment's name is one segment of it.
 *
 * Input: lines of method (a letter), request target, base path, deployment, API version. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFIX "/some/prefix"

static struct slice
take_line(struct slice *text)
{
	const char *end = text->length > 0 ? memchr(text->data, '\n', text->length) : NULL;
	size_t length = end ? (size_t)(end - text->data) : text->length;
	struct slice line = slice_of(text->data, length);

	*text = slice_skip(*text, end ? length + 1 : length);
	return line;
}

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static bool
lies_within(struct slice part, struct slice whole)
{
	return part.length == 0 || (part.data >= whole.data && part.data + part.length <= whole.data + whole.length);
}

static size_t
count_byte(struct slice text, char byte)
{
	size_t count = 0;

	for (size_t i = 0; i < text.length; i++)
		count += text.data[i] == byte;
	return count;
}

static struct slice
path_of(struct slice target)
{
	ptrdiff_t question_mark = slice_find(target, SLICE("?"));

	return question_mark < 0 ? target : slice_of(target.data, (size_t)question_mark);
}

static void
check_upstream(const struct route *route, struct slice query, struct slice deployment, struct slice api_version)
{
	struct upstream_target target = { SLICE(PREFIX), deployment, api_version, false };
	struct slice written, path;
	struct buffer out = { 0 };

	route_write_upstream(route, query, &target, &out);
	written = buffer_slice(&out);
	path = path_of(written);
	require(slice_starts_with(written, SLICE(PREFIX "/openai")));
	for (size_t i = 0; i < written.length; i++)
		require(written.data[i] > 0x20 && written.data[i] < 0x7f);
	if (route->kind == ROUTE_DEPLOYMENT)
		require(count_byte(path, '/') ==
		    count_byte(SLICE(PREFIX "/openai/deployments/"), '/') + count_byte(route->operation, '/'));
	require(slice_find(path, SLICE("/../")) < 0 && slice_find(path, SLICE("/./")) < 0);

	struct slice key;
	if (path.length < written.length)
		require(!query_find(slice_skip(written, path.length + 1), SLICE("api-key"), &key));
	buffer_free(&out);
}

static bool
goes_upstream(enum route_kind kind)
{
	return kind == ROUTE_DEPLOYMENT || kind == ROUTE_OPENAI || kind == ROUTE_AZURE || kind == ROUTE_MODELS;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of((const char *)data, size);
	struct slice method = take_line(&text), raw = take_line(&text), base = take_line(&text);
	struct slice deployment = take_line(&text), api_version = take_line(&text);
	char *storage = malloc(raw.length + 1);
	struct target target;
	struct route route;
	const char *fault;

	if (!storage)
		abort();
	if (target_parse(raw, storage, &target, &fault) == TARGET_OK) {
		enum http_method id =
		    method.length > 0 ? (enum http_method)((unsigned char)method.data[0] % 10) : METHOD_POST;

		route_find(target.path, base, id, &route);
		route_settle_style(&route, id, target.query);
		require(lies_within(route.deployment, target.path) && lies_within(route.operation, target.path));
		require((route.kind == ROUTE_DEPLOYMENT) == (route.deployment.length > 0));
		require(count_byte(route.deployment, '/') == 0);
		require(route.operation.length == 0 || route.operation.data[0] == '/');
		require(!(route.needs_model && route.may_have_model) && !(route.needs_model && route.resource));
		require(!route.upload || (route.resource && !route.may_have_model));
		if (goes_upstream(route.kind)) {
			if (!route_deployment_name_ok(deployment))
				deployment = SLICE_EMPTY;
			check_upstream(&route, target.query, deployment, api_version);
		}
	}
	free(storage);
	return 0;
}
