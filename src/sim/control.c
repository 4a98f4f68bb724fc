/* The control port: what happened, and what shall go wrong.
 *
 *	GET /stats		counts per resource and deployment, and the last requests
 *	GET /faults		what is installed
 *	POST /faults		installs one (an object) or several (an array); see sim/fault.h
 *	DELETE /faults		removes all
 *	POST /revoke		refuses all tokens that were issued so far
 *	POST /reset		removes faults, forgets counts, quotas used, stored responses and files, and the last requests
 */
#include "sim/server.h"

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

static json_t *
describe_statuses(const struct sim_counts *counts)
{
	json_t *statuses = json_object();
	char key[16];

	for (unsigned i = 0; i < SIM_STATUS_MAX; i++) {
		if (counts->by_status[i] == 0)
			continue;
		(void)snprintf(key, sizeof(key), "%u", i);
		(void)json_object_set_new(statuses, key, json_integer((json_int_t)counts->by_status[i]));
	}
	return statuses;
}

static json_t *
describe_deployments(const struct sim_resource *resource)
{
	json_t *deployments = json_object();

	for (size_t i = 0; i < resource->config->deployment_count; i++) {
		const struct sim_deployment *deployment = &resource->deployments[i];

		(void)json_object_set_new(deployments, deployment->config->name,
		    json_pack("{s:I, s:I, s:o}", "requests", (json_int_t)deployment->counts.requests, "aborted",
			(json_int_t)deployment->counts.aborted, "by_status", describe_statuses(&deployment->counts)));
	}
	return deployments;
}

static json_t *
describe_resource(const struct sim_resource *resource, const struct sim_listener *listener)
{
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "name", resource->config->name,
	    "port", (int)listener->port, "requests", (json_int_t)resource->counts.requests, "aborted",
	    (json_int_t)resource->counts.aborted, "malformed", (json_int_t)resource->malformed, "connections_accepted",
	    (json_int_t)resource->connections_accepted, "connections_open", (json_int_t)resource->connections_open,
	    "bytes_in", (json_int_t)resource->bytes_in, "bytes_out", (json_int_t)resource->bytes_out, "by_status",
	    describe_statuses(&resource->counts), "deployments", describe_deployments(resource));
}

static json_t *
describe_stats(const struct sim_server *server)
{
	json_t *resources = json_array();

	for (size_t i = 0; i < server->config->resource_count; i++)
		(void)json_array_append_new(resources, describe_resource(server->resources[i], &server->listeners[i]));
	return json_pack("{s:o, s:o}", "resources", resources, "requests", sim_journal_describe(server->journal));
}

/* Sends and frees it. */
static void
answer_json(struct sim_answer *answer, json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(2));

	json_decref(json);
	if (text == NULL) {
		sim_answer_error(answer, 500, "500", "The answer cannot be written as JSON.");
		return;
	}
	buffer_append_string(&answer->body, text);
	free(text);
	buffer_append_byte(&answer->body, '\n');
	sim_answer_end_json(answer, 0);
}

static void
install(struct sim_server *server, struct slice body, struct sim_answer *answer)
{
	char fault[256];
	json_error_t error;
	json_t *description = json_loadb(body.data, body.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

	if (description == NULL) {
		sim_answer_error(answer, 400, "400", "line %d, column %d: %s", error.line, error.column, error.text);
		return;
	}
	if (sim_faults_add(&server->faults, description, fault, sizeof(fault)))
		answer_json(answer, sim_faults_describe(&server->faults));
	else
		sim_answer_error(answer, 400, "400", "%s", fault);
	json_decref(description);
}

static void
reset(struct sim_server *server)
{
	sim_faults_clear(&server->faults);
	sim_journal_clear(server->journal);
	for (size_t i = 0; i < server->config->resource_count; i++)
		sim_resource_reset(server->resources[i]);
}

static void
revoke(struct sim_server *server)
{
	for (size_t i = 0; i < server->config->resource_count; i++)
		if (server->resources[i]->issuer != NULL)
			sim_issuer_revoke(server->resources[i]->issuer);
}

void
sim_control_answer(struct sim_server *server, const struct request_head *head, struct slice path, struct slice body,
    struct sim_answer *answer)
{
	bool faults = slice_equals(path, SLICE("/faults"));

	if (slice_equals(path, SLICE("/stats")) && head->method_id == METHOD_GET) {
		answer_json(answer, describe_stats(server));
	} else if (faults && head->method_id == METHOD_GET) {
		answer_json(answer, sim_faults_describe(&server->faults));
	} else if (faults && head->method_id == METHOD_POST) {
		install(server, body, answer);
	} else if (faults && head->method_id == METHOD_DELETE) {
		sim_faults_clear(&server->faults);
		answer_json(answer, json_array());
	} else if (slice_equals(path, SLICE("/revoke")) && head->method_id == METHOD_POST) {
		revoke(server);
		answer_json(answer, json_object());
	} else if (slice_equals(path, SLICE("/reset")) && head->method_id == METHOD_POST) {
		reset(server);
		answer_json(answer, json_object());
	} else {
		sim_answer_error(answer, 404, "404",
		    "There are GET /stats, GET, POST and DELETE /faults, POST /revoke and POST /reset.");
	}
}
