#include "sim/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "sim/reader.h"

#define MILLISECONDS_MAX 3600000U
#define NUMBER_MAX 1000000000000U
#define TOKENS_MAX 1000000U
#define PATH_SIZE 160U
#define NAME_MAX_BYTES 64U

static const char *const top_keys[] = { "seed", "log", "record", "control", "resources", "faults", NULL };
static const char *const control_keys[] = { "address", "port", NULL };
static const char *const resource_keys[] = { "name", "address", "port", "api_key", "region", "keep_alive_ms", "tls",
	"tokens_of", "identity", "deployments", NULL };
static const char *const identity_keys[] = { "lifetime_s", "header", "client_secret", NULL };
static const char *const tls_keys[] = { "certificate_file", "private_key_file", NULL };
static const char *const deployment_keys[] = { "model", "tokens_per_minute", "requests_per_minute", "token_window_ms",
	"request_window_ms", "ptu", "latency", "completion_tokens", "context_tokens", NULL };
static const char *const latency_keys[] = { "first_token_ms", "per_token_ms", "jitter", NULL };

/* Names go into URLs, header fields and JSON as they are. */
static void
check_name(struct sim_reader *reader, const char *path, const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES || name[strspn(name, allowed)] != '\0')
		sim_reader_fail(reader, path, "names consist of 1 to %u of A-Z a-z 0-9 . _ -", NAME_MAX_BYTES);
}

/* The text goes into a header field. */
static void
check_printable(struct sim_reader *reader, const char *path, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~')
			sim_reader_fail(reader, path, "only printable ASCII can be sent");
	}
}

static void
read_latency(struct sim_reader *reader, const json_t *object, const char *path, struct sim_latency *latency)
{
	if (object == NULL)
		return;
	sim_reader_keys(reader, object, path, latency_keys);
	latency->first_token_us =
	    (uint64_t)(sim_reader_real(reader, object, path, "first_token_ms", 0, MILLISECONDS_MAX) * 1000);
	latency->per_token_us =
	    (uint64_t)(sim_reader_real(reader, object, path, "per_token_ms", 0, MILLISECONDS_MAX) * 1000);
	latency->jitter = sim_reader_real(reader, object, path, "jitter", 0, 1);
}

static void
read_quota(struct sim_reader *reader, const json_t *object, const char *path, struct sim_quota *quota)
{
	quota->tokens_per_minute = sim_reader_u64(reader, object, path, "tokens_per_minute", 0, NUMBER_MAX);
	/* Azure grants six requests for every thousand tokens. */
	quota->requests_per_minute = sim_reader_u64(reader, object, path, "requests_per_minute",
	    (quota->tokens_per_minute * 6 + 999) / 1000, NUMBER_MAX);
	quota->token_window_ms = sim_reader_u64(reader, object, path, "token_window_ms", 60000, MILLISECONDS_MAX);
	quota->request_window_ms = sim_reader_u64(reader, object, path, "request_window_ms", 10000, MILLISECONDS_MAX);
	if (quota->token_window_ms == 0 || quota->request_window_ms == 0)
		sim_reader_fail(reader, path, "a window cannot be 0 ms long");
	quota->ptu = sim_reader_u64(reader, object, path, "ptu", 0, NUMBER_MAX);
}

static void
read_deployment(struct sim_reader *reader, const json_t *object, const char *parent, const char *name,
    struct sim_deployment_config *deployment)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), "%.64s.deployments.%.64s", parent, name);
	sim_reader_keys(reader, object, path, deployment_keys);
	check_name(reader, path, name);
	deployment->name = memory_copy_string(name);
	deployment->model = sim_reader_text(reader, object, path, "model", name);
	check_name(reader, path, deployment->model);
	read_quota(reader, object, path, &deployment->quota);
	sim_quota_set_rates(&deployment->quota, slice_from(deployment->model));
	read_latency(reader, json_object_get(object, "latency"), path, &deployment->latency);
	deployment->completion_tokens = sim_reader_u64(reader, object, path, "completion_tokens", 64, TOKENS_MAX);
	deployment->context_tokens = sim_reader_u64(reader, object, path, "context_tokens", 128000, NUMBER_MAX);
}

static void
read_deployments(struct sim_reader *reader, json_t *object, const char *parent, struct sim_resource_config *resource)
{
	const char *name;
	json_t *value;

	if (object == NULL)
		return;
	if (!json_is_object(object) || json_object_size(object) > SIM_DEPLOYMENTS_MAX) {
		sim_reader_fail(reader, parent, "\"deployments\" must be an object of at most %u members",
		    SIM_DEPLOYMENTS_MAX);
		return;
	}
	resource->deployments = memory_take_zeroed(json_object_size(object) + 1, sizeof(*resource->deployments));
	json_object_foreach(object, name, value)
	{
		read_deployment(reader, value, parent, name, &resource->deployments[resource->deployment_count++]);
	}
}

static void
read_tls(struct sim_reader *reader, const json_t *object, const char *path, struct sim_resource_config *resource)
{
	if (object != NULL)
		sim_reader_keys(reader, object, path, tls_keys);
	resource->certificate_file = sim_reader_text(reader, object, path, "certificate_file", "");
	resource->private_key_file = sim_reader_text(reader, object, path, "private_key_file", "");
	if ((resource->certificate_file[0] == '\0') != (resource->private_key_file[0] == '\0'))
		sim_reader_fail(reader, path, "TLS needs both a certificate_file and a private_key_file");
}

static void
read_identity(struct sim_reader *reader, const json_t *object, const char *path, struct sim_resource_config *resource)
{
	if (object != NULL)
		sim_reader_keys(reader, object, path, identity_keys);
	resource->is_issuer = object != NULL;
	resource->token_lifetime_s = sim_reader_u64(reader, object, path, "lifetime_s", 3600, MILLISECONDS_MAX);
	resource->identity_header = sim_reader_text(reader, object, path, "header", "");
	resource->client_secret = sim_reader_text(reader, object, path, "client_secret", "");
}

static void
read_resource(struct sim_reader *reader, const json_t *object, size_t index, struct sim_resource_config *resource)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), "resources[%zu]", index);
	sim_reader_keys(reader, object, path, resource_keys);
	resource->name = sim_reader_text(reader, object, path, "name", "");
	check_name(reader, path, resource->name);
	resource->address = sim_reader_text(reader, object, path, "address", "127.0.0.1");
	resource->port = (uint16_t)sim_reader_u64(reader, object, path, "port", 0, 65535);
	resource->api_key = sim_reader_text(reader, object, path, "api_key", "");
	resource->region = sim_reader_text(reader, object, path, "region", "East US");
	check_printable(reader, path, resource->region);
	resource->keep_alive_ms = sim_reader_u64(reader, object, path, "keep_alive_ms", 0, MILLISECONDS_MAX);
	read_tls(reader, json_object_get(object, "tls"), path, resource);
	resource->tokens_of = sim_reader_text(reader, object, path, "tokens_of", "");
	read_identity(reader, json_object_get(object, "identity"), path, resource);
	read_deployments(reader, json_object_get(object, "deployments"), path, resource);
}

static void
check_unique_names(struct sim_reader *reader, const struct sim_config *config)
{
	for (size_t i = 0; i < config->resource_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(config->resources[i].name, config->resources[j].name) == 0)
				sim_reader_fail(reader, "resources", "two have the name \"%s\"",
				    config->resources[i].name);
		}
	}
}

static void
check_issuers(struct sim_reader *reader, const struct sim_config *config)
{
	for (size_t i = 0; i < config->resource_count; i++) {
		const char *name = config->resources[i].tokens_of;
		bool known = name == NULL || name[0] == '\0';

		for (size_t j = 0; j < config->resource_count && !known; j++)
			known = config->resources[j].is_issuer && strcmp(config->resources[j].name, name) == 0;
		if (!known)
			sim_reader_fail(reader, "resources", "tokens_of: no resource \"%.64s\" has an identity", name);
	}
}

static void
read_resources(struct sim_reader *reader, const json_t *array, struct sim_config *config)
{
	if (!json_is_array(array) || json_array_size(array) == 0 || json_array_size(array) > SIM_RESOURCES_MAX) {
		sim_reader_fail(reader, "resources", "expected an array of 1 to %u resources", SIM_RESOURCES_MAX);
		return;
	}
	config->resource_count = json_array_size(array);
	config->resources = memory_take_zeroed(config->resource_count, sizeof(*config->resources));
	for (size_t i = 0; i < config->resource_count; i++)
		read_resource(reader, json_array_get(array, i), i, &config->resources[i]);
	check_unique_names(reader, config);
	check_issuers(reader, config);
}

static void
read_config(struct sim_reader *reader, json_t *root, struct sim_config *config)
{
	const json_t *control = json_object_get(root, "control");
	json_t *faults = json_object_get(root, "faults");

	sim_reader_keys(reader, root, "configuration", top_keys);
	config->seed = sim_reader_u64(reader, root, "configuration", "seed", 1, NUMBER_MAX);
	config->log = sim_reader_bool(reader, root, "configuration", "log", false);
	config->record = sim_reader_u64(reader, root, "configuration", "record", 32, SIM_RECORD_MAX);
	config->has_control = control != NULL;
	if (control != NULL)
		sim_reader_keys(reader, control, "control", control_keys);
	config->control_address = sim_reader_text(reader, control, "control", "address", "127.0.0.1");
	config->control_port = (uint16_t)sim_reader_u64(reader, control, "control", "port", 0, 65535);
	if (faults != NULL && !json_is_array(faults))
		sim_reader_fail(reader, "faults", "expected an array");
	config->faults = faults != NULL ? json_incref(faults) : NULL;
	read_resources(reader, json_object_get(root, "resources"), config);
}

struct sim_config *
sim_config_parse(struct slice json, char *fault, size_t fault_size)
{
	struct sim_reader reader = sim_reader_begin(fault, fault_size);
	json_error_t error;
	json_t *root = json_loadb(json.data, json.length, JSON_REJECT_DUPLICATES, &error);
	struct sim_config *config;

	if (root == NULL) {
		(void)snprintf(fault, fault_size, "line %d, column %d: %s", error.line, error.column, error.text);
		return NULL;
	}
	config = memory_take_zeroed(1, sizeof(*config));
	read_config(&reader, root, config);
	json_decref(root);
	if (reader.failed)
		sim_config_free(&config);
	return config;
}

static void
free_resource(struct sim_resource_config *resource)
{
	for (size_t i = 0; i < resource->deployment_count; i++) {
		free(resource->deployments[i].name);
		free(resource->deployments[i].model);
	}
	free(resource->deployments);
	free(resource->name);
	free(resource->address);
	free(resource->api_key);
	free(resource->region);
	free(resource->tokens_of);
	free(resource->identity_header);
	free(resource->client_secret);
	free(resource->certificate_file);
	free(resource->private_key_file);
}

void
sim_config_free(struct sim_config **config)
{
	if (*config == NULL)
		return;
	for (size_t i = 0; i < (*config)->resource_count; i++)
		free_resource(&(*config)->resources[i]);
	free((*config)->resources);
	free((*config)->control_address);
	json_decref((*config)->faults);
	free(*config);
	*config = NULL;
}
