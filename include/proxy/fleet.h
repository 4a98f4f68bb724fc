/* proxy/fleet.h: the backends of one configuration, and the certificate shown to callers, ready for use.
 *
 * A fleet ties the immutable configuration to what outlives it: each backend's state (kept over reloads where name and
 * URL are the same), its endpoint (shared by backends with the same address and TLS settings) and the numbers of its
 * deployments. Made by the main thread, shared by reference count, never changed: each request keeps the fleet that it
 * began with.
 */
#ifndef PROXY_FLEET_H
#define PROXY_FLEET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "config/config.h"
#include "identity/identity.h"
#include "net/endpoint.h"
#include "net/upstream.h"
#include "policy/quota.h"
#include "policy/state.h"

/* In fleet_serves(): the backend does not serve the deployment. */
#define FLEET_NOT_SERVED UINT16_MAX

struct fleet_backend {
	const struct config_backend *config;
	struct backend_state *state;
	uint64_t affinity_key; /* of its name: alike in all processes */
	struct endpoint *endpoint;
	struct identity *identity; /* whose tokens it is sent; NULL: none's */
	struct buffer own_lines;   /* "host: …", "accept-encoding: …" and the credential, ready to be sent */
	uint16_t label;            /* the number of its name in the metrics */
	uint64_t resource;         /* the hash of its URL: where stored things live (policy/pins.h) */
	uint16_t wildcard_number;  /* the deployment number of the map's "*", or FLEET_NOT_SERVED */
	size_t group_first;        /* the first backend of its quota group; its own index, where it has none */
};

/* Names that get a number each, for good: what is counted under it stays right over reloads. */
struct fleet_tables {
	struct deployment_table *deployments;
	struct deployment_table *backends;
	struct deployment_table *clients;
};

struct fleet {
	struct config *config;
	struct deployment_table *table; /* borrowed; the process's */
	struct fleet_backend *backends;
	size_t count;
	struct quota **quotas;   /* one for each configured client; kept over reloads where the name is the same */
	uint16_t *client_labels; /* the numbers of the clients' names in the metrics */
	SSL_CTX *front_tls;      /* for callers, its files read with the configuration; NULL: plain HTTP */
	bool has_passthrough;    /* some backend takes the caller's own credentials */
	uint16_t *served;        /* [caller's deployment number][backend]: the number of the backend's own name */
	unsigned served_rows;
	struct upstream_limits limits;
	_Atomic uint32_t references;
};

/* Takes the configuration over (released in any case). previous: the fleet in use, or NULL. NULL with the reason in
 * fault when the front's certificate or an endpoint cannot be made (a file that holds no certificate). */
struct fleet *fleet_new(struct config *config, const struct fleet *previous, const struct fleet_tables *tables,
    struct identities *identities, char *fault, size_t fault_size) MUST_CHECK;
struct fleet *fleet_share(struct fleet *fleet) MUST_CHECK;
void fleet_release(struct fleet **fleet);

/* The number of the backend's own name for a deployment that callers know by number, or FLEET_NOT_SERVED. */
uint16_t fleet_serves(const struct fleet *fleet, size_t backend, unsigned number);

/* What is known of the room that a deployment, which callers know by number, has on a backend. The backends of a quota group
 * have one for all: it is kept by the first of them that serves the deployment. NULL when the backend does not serve it, or
 * under a name that has no number. Lives as long as the fleet. */
struct headroom *fleet_room(const struct fleet *fleet, size_t backend, unsigned number);

#endif
