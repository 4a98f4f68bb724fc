/* snapshot.c: sharing, freeing and asking a finished configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/load.h"

void
load_free_text(char **text)
{
	if (*text != NULL)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void
wipe_json(json_t *json)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_object(json)) {
		json_object_foreach(json, key, value) wipe_json(value);
	} else if (json_is_array(json)) {
		json_array_foreach(json, i, value) wipe_json(value);
	} else if (json_is_string(json)) {
		/* jansson lends its strings as constant; nobody reads these any more. */
		explicit_bzero((void *)(uintptr_t)json_string_value(json), json_string_length(json));
	}
}

void
load_free_json(json_t **json)
{
	wipe_json(*json);
	json_decref(*json);
	*json = NULL;
}

static void
free_texts(const struct field_table *table, void *target)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->fields[i].type == FIELD_TEXT)
			load_free_text(field_member(&table->fields[i], target));
	}
}

static void
free_client(struct config_client *client)
{
	free_texts(&config_client_fields, client);
	for (size_t i = 0; client->deployments != NULL && client->deployments[i] != NULL; i++)
		free(client->deployments[i]);
	free(client->deployments);
}

static void
free_backend(struct config_backend *backend)
{
	free_texts(&config_backend_fields, backend);
	free(backend->host);
	free(backend->authority);
	free(backend->prefix);
	for (size_t i = 0; i < backend->deployment_count; i++) {
		free(backend->deployments[i].name);
		free(backend->deployments[i].backend_name);
	}
	free(backend->deployments);
	free(backend->wildcard);
}

static void
free_config(struct config *config)
{
	free_texts(&config_fields, config);
	for (size_t i = 0; i < config->client_count; i++)
		free_client(&config->clients[i]);
	free(config->clients);
	for (size_t i = 0; i < config->backend_count; i++)
		free_backend(&config->backends[i]);
	free(config->backends);
	for (size_t i = 0; i < config->setting_count; i++)
		free(config->settings[i].name);
	free(config->settings);
	free(config);
}

struct config *
config_share(struct config *config)
{
	if (atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed) == 0)
		fatal("a configuration was shared after its last release");
	return config;
}

void
config_release(struct config **config)
{
	struct config *last = *config;

	*config = NULL;
	if (last != NULL && atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) == 1)
		free_config(last);
}

static int
compare_names(struct slice a, struct slice b)
{
	int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);

	if (order != 0 || a.length == b.length)
		return order;
	return a.length < b.length ? -1 : 1;
}

uint64_t
config_first_event_ms(const struct config *config, struct slice name)
{
	size_t low = 0, high = config->setting_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_names(name, slice_from(config->settings[middle].name));

		if (order == 0)
			return config->settings[middle].first_event_ms;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return config->timeouts.first_event_ms;
}

bool
config_map_deployment(const struct config_backend *backend, struct slice name, struct slice *backend_name)
{
	size_t low = 0, high = backend->deployment_count;

	if (!backend->has_map) {
		*backend_name = name;
		return true;
	}
	if (name.length == 0)
		return false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct config_deployment *deployment = &backend->deployments[middle];
		int order = compare_names(name, slice_from(deployment->name));

		if (order == 0) {
			*backend_name = slice_from(deployment->backend_name);
			return true;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (backend->wildcard == NULL)
		return false;
	*backend_name = slice_from(backend->wildcard);
	return true;
}

bool
config_is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}
