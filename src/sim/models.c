/* The list of models. */
#include "sim/resource.h"

static void
append_model(struct buffer *out, const char *id)
{
	buffer_append_string(out,
	    "{\"capabilities\":{\"fine_tune\":false,\"inference\":true,\"completion\":false,"
	    "\"chat_completion\":true,\"embeddings\":false},\"lifecycle_status\":"
	    "\"generally-available\",\"status\":\"succeeded\",\"created_at\":1715731200,\"id\":\"");
	buffer_append_json_text(out, slice_from(id));
	buffer_append_string(out, "\",\"object\":\"model\"}");
}

void
sim_models_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct sim_resource_config *config = resource->config;

	if (exchange->route.endpoint == SIM_ENDPOINT_MODEL) {
		const struct sim_deployment *deployment = sim_resource_find_deployment(resource, exchange->route.id);

		if (deployment == NULL) {
			sim_answer_error(answer, 404, "ModelNotFound", "The specified model does not exist.");
			return;
		}
		append_model(&answer->body, deployment->config->name);
	} else {
		buffer_append_string(&answer->body, "{\"data\":[");
		for (size_t i = 0; i < config->deployment_count; i++) {
			if (i > 0)
				buffer_append_byte(&answer->body, ',');
			append_model(&answer->body, config->deployments[i].name);
		}
		buffer_append_string(&answer->body, "],\"object\":\"list\"}");
	}
	sim_answer_end_json(answer, 0);
}
