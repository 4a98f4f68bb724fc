/* sim/route.h: which endpoint of Azure OpenAI a path and method mean. Pure. */
#ifndef SIM_ROUTE_H
#define SIM_ROUTE_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "http/head.h"

enum sim_endpoint {
	SIM_ENDPOINT_UNKNOWN,
	SIM_ENDPOINT_CHAT,
	SIM_ENDPOINT_COMPLETIONS,
	SIM_ENDPOINT_EMBEDDINGS,
	SIM_ENDPOINT_RESPONSES,
	SIM_ENDPOINT_RESPONSE_GET,
	SIM_ENDPOINT_RESPONSE_DELETE,
	SIM_ENDPOINT_MODELS,
	SIM_ENDPOINT_MODEL,
	SIM_ENDPOINT_FILES_CREATE,
	SIM_ENDPOINT_FILES_LIST,
	SIM_ENDPOINT_FILE_GET,
	SIM_ENDPOINT_FILE_CONTENT,
	SIM_ENDPOINT_FILE_DELETE,
};

struct sim_route {
	enum sim_endpoint endpoint;
	bool deployment_path;     /* /openai/deployments/{d}/…: the deployment is in the path */
	bool v1;                  /* /openai/v1/…: api-version is optional */
	struct slice deployment;  /* of a deployment path */
	struct slice id;          /* of a response, file or model */
	struct slice api_version; /* empty when absent */
};

/* All slices borrow from path and query. An api-version that is needed and missing makes the endpoint unknown, as it does
 * at Azure. */
void sim_route_find(struct sim_route *route, enum http_method method, struct slice path, struct slice query);

/* Whether the endpoint runs a model, and so has a deployment, a quota and a JSON body. */
bool sim_endpoint_infers(enum sim_endpoint endpoint);
/* As Azure's error texts name it: "ChatCompletions_Create". */
const char *sim_endpoint_operation(enum sim_endpoint endpoint);

#endif
