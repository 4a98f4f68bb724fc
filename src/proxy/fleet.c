#include "proxy/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "net/tls.h"

static struct endpoint_settings
endpoint_settings_of(const struct config_backend *backend)
{
	return (struct endpoint_settings){
		.host = backend->host,
		.port = backend->port,
		.secure = backend->secure,
		.server_name = backend->server_name,
		.ca_file = backend->ca_file,
		.verify = backend->verify,
	};
}

static struct endpoint *
find_endpoint(const struct fleet *fleet, size_t count, const struct endpoint_settings *settings)
{
	for (size_t i = 0; fleet != NULL && i < count; i++)
		if (endpoint_matches(fleet->backends[i].endpoint, settings))
			return endpoint_share(fleet->backends[i].endpoint);
	return NULL;
}

static struct backend_state *
find_state(const struct fleet *previous, const struct config_backend *backend)
{
	for (size_t i = 0; previous != NULL && i < previous->count; i++) {
		struct backend_state *state = previous->backends[i].state;

		if (strcmp(state->name, backend->name) == 0 && strcmp(state->url, backend->url) == 0)
			return backend_state_share(state);
	}
	return backend_state_new(backend->name, backend->url);
}

static bool
is_keyless(enum auth_type type)
{
	return type != AUTH_PASSTHROUGH && type != AUTH_API_KEY;
}

static bool
auth_equals(const struct config_auth *a, const struct config_auth *b)
{
	return a->type == b->type && strcmp(a->key, b->key) == 0 && strcmp(a->client_id, b->client_id) == 0 &&
	    strcmp(a->tenant_id, b->tenant_id) == 0 && strcmp(a->client_secret, b->client_secret) == 0 &&
	    strcmp(a->authority_host, b->authority_host) == 0 && strcmp(a->scope, b->scope) == 0;
}

/* Whether the backend, known before, is now sent other credentials. */
static bool
has_new_credentials(const struct fleet *previous, const struct fleet_backend *backend)
{
	for (size_t i = 0; previous != NULL && i < previous->count; i++)
		if (previous->backends[i].state == backend->state)
			return !auth_equals(&previous->backends[i].config->auth, &backend->config->auth);
	return false;
}

/* Its rest for credentials that were refused, or missing, has lost its reason. */
static void
forgive(struct backend_state *state)
{
	(void)rest_forgive(&state->whole, REST_CREDENTIALS);
	(void)rest_forgive(&state->whole, REST_NO_TOKEN);
}

static struct quota *
find_quota(const struct fleet *previous, const char *name)
{
	for (size_t i = 0; previous != NULL && i < previous->config->client_count; i++)
		if (strcmp(previous->quotas[i]->name, name) == 0)
			return quota_share(previous->quotas[i]);
	return quota_new(name);
}

/* What every request to this backend begins with, behind its request line. */
static void
write_own_lines(struct fleet_backend *backend)
{
	buffer_append_string(&backend->own_lines, "host: ");
	buffer_append_string(&backend->own_lines, backend->config->authority);
	buffer_append_string(&backend->own_lines, "\r\naccept-encoding: identity\r\n");
	if (backend->config->auth.type != AUTH_API_KEY)
		return;
	buffer_append_string(&backend->own_lines, "api-key: ");
	buffer_append_string(&backend->own_lines, backend->config->auth.key);
	buffer_append_string(&backend->own_lines, "\r\n");
}

static size_t
first_of_group(const struct config *config, size_t backend)
{
	const char *group = config->backends[backend].quota_group;

	for (size_t i = 0; group[0] != '\0' && i < backend; i++)
		if (strcmp(config->backends[i].quota_group, group) == 0)
			return i;
	return backend;
}

/* Gives every configured name its number, then fills the table of who serves what. */
static void
number_deployments(struct fleet *fleet)
{
	for (size_t b = 0; b < fleet->count; b++) {
		const struct config_backend *config = fleet->backends[b].config;

		for (size_t d = 0; d < config->deployment_count; d++) {
			(void)deployment_add_configured(fleet->table, slice_from(config->deployments[d].name));
			(void)deployment_add_configured(fleet->table, slice_from(config->deployments[d].backend_name));
		}
		fleet->backends[b].wildcard_number = FLEET_NOT_SERVED;
		if (config->wildcard != NULL)
			fleet->backends[b].wildcard_number =
			    (uint16_t)deployment_add_configured(fleet->table, slice_from(config->wildcard));
	}
	fleet->served_rows = deployment_count(fleet->table);
	fleet->served = memory_take_zeroed((size_t)fleet->served_rows * fleet->count + 1, sizeof(uint16_t));
	for (unsigned number = 0; number < fleet->served_rows; number++) {
		struct slice name = deployment_name(fleet->table, number);

		for (size_t b = 0; b < fleet->count; b++) {
			const struct fleet_backend *backend = &fleet->backends[b];
			uint16_t *entry = &fleet->served[number * fleet->count + b];
			struct slice own;

			if (number == DEPLOYMENT_OTHER)
				*entry = backend->config->has_map ? backend->wildcard_number : DEPLOYMENT_OTHER;
			else if (config_map_deployment(backend->config, name, &own))
				*entry = (uint16_t)deployment_find(fleet->table, own);
			else
				*entry = FLEET_NOT_SERVED;
		}
	}
}

/* NULL with a fault that names keys, reason and remedy. */
static SSL_CTX *
front_context(const struct config_listen *listen, char *fault, size_t fault_size)
{
	char reason[384];
	SSL_CTX *context =
	    tls_server_context(listen->certificate_file, listen->private_key_file, reason, sizeof(reason));

	if (context == NULL)
		snprintf(fault, fault_size,
		    "listen.tls.certificate_file, listen.tls.private_key_file: %s; both must be PEM, the chain with "
		    "the "
		    "daemon's own certificate first",
		    reason);
	return context;
}

/* The backend's endpoint: one that exists already, or a new one. NULL with a fault that names the key. */
static struct endpoint *
take_endpoint(const struct fleet *fleet, const struct fleet *previous, size_t index, char *fault, size_t fault_size)
{
	struct endpoint_settings settings = endpoint_settings_of(&fleet->config->backends[index]);
	struct endpoint *endpoint = find_endpoint(fleet, index, &settings);
	char reason[384];

	if (endpoint == NULL && previous != NULL)
		endpoint = find_endpoint(previous, previous->count, &settings);
	if (endpoint == NULL)
		endpoint = endpoint_new(&settings, reason, sizeof(reason));
	if (endpoint == NULL)
		snprintf(fault, fault_size, "backends[%zu].tls.ca_file: %s; it must hold certificates in PEM", index,
		    reason);
	return endpoint;
}

struct fleet *
fleet_new(struct config *config, const struct fleet *previous, const struct fleet_tables *tables,
    struct identities *identities, char *fault, size_t fault_size)
{
	struct fleet *fleet = memory_take_zeroed(1, sizeof(*fleet));

	fleet->config = config;
	fleet->table = tables->deployments;
	fleet->references = 1;
	if (config->listen.certificate_file[0] != '\0') {
		fleet->front_tls = front_context(&config->listen, fault, fault_size);
		if (fleet->front_tls == NULL) {
			fleet_release(&fleet);
			return NULL;
		}
	}
	fleet->backends = memory_take_zeroed(config->backend_count, sizeof(*fleet->backends));
	fleet->limits = (struct upstream_limits){
		.connect_ms = config->timeouts.connect_ms,
		.idle_ms = config->pool_idle_ms,
		.max_age_ms = config->pool_max_age_ms,
	};
	for (size_t i = 0; i < config->backend_count; i++) {
		struct fleet_backend *backend = &fleet->backends[i];

		backend->config = &config->backends[i];
		fleet->has_passthrough = fleet->has_passthrough || backend->config->auth.type == AUTH_PASSTHROUGH;
		backend->endpoint = take_endpoint(fleet, previous, i, fault, fault_size);
		if (backend->endpoint == NULL) {
			fleet_release(&fleet);
			return NULL;
		}
		backend->state = find_state(previous, backend->config);
		backend->resource = hash_bytes(slice_from(backend->config->url), 0);
		backend->label =
		    (uint16_t)deployment_add_configured(tables->backends, slice_from(backend->config->name));
		if (has_new_credentials(previous, backend))
			forgive(backend->state);
		if (is_keyless(backend->config->auth.type))
			backend->identity = identity_get(identities, &backend->config->auth);
		backend->group_first = first_of_group(config, i);
		backend->affinity_key = hash_bytes(slice_from(backend->config->name), 0) | 1;
		write_own_lines(backend);
		fleet->count = i + 1;
	}
	fleet->quotas = memory_take_zeroed(config->client_count + 1, sizeof(struct quota *));
	for (size_t i = 0; i < config->client_count; i++)
		fleet->quotas[i] = find_quota(previous, config->clients[i].name);
	fleet->client_labels = memory_take_zeroed(config->client_count + 1, sizeof(uint16_t));
	for (size_t i = 0; i < config->client_count; i++)
		fleet->client_labels[i] =
		    (uint16_t)deployment_add_configured(tables->clients, slice_from(config->clients[i].name));
	number_deployments(fleet);
	return fleet;
}

struct fleet *
fleet_share(struct fleet *fleet)
{
	atomic_fetch_add_explicit(&fleet->references, 1, memory_order_relaxed);
	return fleet;
}

void
fleet_release(struct fleet **fleet)
{
	struct fleet *gone = *fleet;

	*fleet = NULL;
	if (gone == NULL || atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < gone->count; i++) {
		backend_state_release(&gone->backends[i].state);
		endpoint_release(&gone->backends[i].endpoint);
		identity_release(&gone->backends[i].identity);
		if (gone->backends[i].own_lines.data != NULL)
			explicit_bzero(gone->backends[i].own_lines.data, gone->backends[i].own_lines.length);
		buffer_free(&gone->backends[i].own_lines);
	}
	for (size_t i = 0; gone->quotas != NULL && i < gone->config->client_count; i++)
		quota_release(&gone->quotas[i]);
	free(gone->quotas);
	free(gone->client_labels);
	free(gone->backends);
	free(gone->served);
	SSL_CTX_free(gone->front_tls);
	config_release(&gone->config);
	free(gone);
}

uint16_t
fleet_serves(const struct fleet *fleet, size_t backend, unsigned number)
{
	const struct fleet_backend *one = &fleet->backends[backend];

	if (number < fleet->served_rows)
		return fleet->served[number * fleet->count + backend];
	/* A name learned since: no map can hold it. */
	if (one->config->has_map)
		return one->wildcard_number;
	return (uint16_t)number;
}

struct headroom *
fleet_room(const struct fleet *fleet, size_t backend, unsigned number)
{
	uint16_t own = fleet_serves(fleet, backend, number);
	size_t keeper = fleet->backends[backend].group_first;

	if (own == FLEET_NOT_SERVED || own == DEPLOYMENT_OTHER)
		return NULL;
	for (; keeper < backend; keeper++) {
		uint16_t its = fleet_serves(fleet, keeper, number);

		if (fleet->backends[keeper].group_first == fleet->backends[backend].group_first &&
		    its != FLEET_NOT_SERVED && its != DEPLOYMENT_OTHER)
			return &fleet->backends[keeper].state->rooms[its];
	}
	return &fleet->backends[backend].state->rooms[own];
}
