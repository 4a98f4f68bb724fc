/* policy/route.h: what a caller's path means, and what it becomes on a backend. Pure; safe from any thread.
 */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"
#include "http/head.h"
#include "http/target.h"

enum route_kind {
	ROUTE_UNKNOWN,    /* 404 */
	ROUTE_HEALTH,     /* /healthz */
	ROUTE_READY,      /* /readyz */
	ROUTE_DEPLOYMENT, /* /openai/deployments/{d}/…: deployment is set */
	ROUTE_OPENAI,     /* /openai/v1/…, /v1/… and bare forms: operation is set, e.g. "/chat/completions" */
	ROUTE_AZURE,      /* any other /openai/…: operation is the path behind /openai */
	ROUTE_MODELS, /* GET /models, its v1 forms and /openai/models: the list itself; operation is set as for the two above */
};

struct route {
	enum route_kind kind;
	struct slice path;       /* the normalised path, base path taken off; borrowed */
	struct slice deployment; /* ROUTE_DEPLOYMENT: the raw segment (still encoded) */
	struct slice operation;  /* ROUTE_DEPLOYMENT: what follows the segment, e.g. "/chat/completions"; see above */
	bool azure_style;        /* ROUTE_MODELS: asked as /openai/models (ROUTE_AZURE's form) */
	bool needs_model;        /* a POST with JSON or multipart body of ROUTE_OPENAI that must name a model */
	bool may_have_model;     /* a JSON POST of ROUTE_AZURE: routed by the model if the body has one */
	bool resource;           /* files, batches, stored responses, …: belongs to a resource, not to a deployment */
	bool upload;             /* the body may be longer than max_body_bytes and is then streamed once, unretried */
};

/* path: as target_parse() leaves it; base_path: "" or "/api/v1", which must be a prefix on a segment boundary (health and readiness answer
 * with and without it). */
void route_find(struct slice path, struct slice base_path, enum http_method method, struct route *out);

/* Azure's non-deployment paths do not exist without an api-version: /openai/chat/completions and its like without one
 * (what SDKs send whose base URL ends in /openai) are taken for /openai/v1/…. query: as it came, may be empty. Call it
 * after route_find(). */
void route_settle_style(struct route *route, enum http_method method, struct slice query);

/* Where a route goes on one backend. */
struct upstream_target {
	struct slice prefix;      /* the path of the backend's URL, without a final slash; may be empty */
	struct slice deployment;  /* the backend's own name, unescaped; empty when the request names none */
	struct slice api_version; /* of the backend; empty: OpenAI style goes to /openai/v1 */
	bool keep_api_key_query;  /* passthrough: a query api-key is the caller's credential and stays */
};

/* Appends the request target (path and query) that goes to the backend. With api_version, OpenAI-style chat/completions,
 * completions, embeddings, images/… and audio/… go to {prefix}/openai/deployments/{name}/{operation}?api-version=…; all
 * else keeps its style. The deployment segment alone is replaced; the rest stays as it came. */
void route_write_upstream(const struct route *route, struct slice query, const struct upstream_target *target,
    struct buffer *out);

/* Whether a deployment name is fit to be used: 1..256 bytes of UTF-8, no control bytes, not "." or "..". */
bool route_deployment_name_ok(struct slice name);

#endif
