/* config/config.h: one immutable, validated snapshot of everything that can be configured.
 *
 *	struct config_faults faults = { 0 };
 *	struct config *config = config_load_file("/etc/aoai-lb/config.json", &faults);
 *	if (config == NULL)
 *		config_faults_print(&faults, stderr);
 *
 * Made by the main thread, then shared by reference count and never changed; released by whoever shared it. Each request
 * in flight keeps the snapshot it started with.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/slice.h"
#include "policy/hint.h"

#define CONFIG_BACKENDS_MAX 256
#define CONFIG_CLIENTS_MAX 1024
#define CONFIG_PATH_DEFAULT "/etc/aoai-lb/config.json"

struct config_listen {
	char *address;
	uint16_t port;
	char *base_path; /* "" or "/…" without a final slash */
	char *certificate_file;
	char *private_key_file; /* both empty: plain HTTP */
};

struct config_admin {
	char *address;
	uint16_t port;
	char *key; /* secret; "" = none */
};

struct config_client {
	char *name;
	char *key;          /* secret */
	char **deployments; /* NULL-terminated; NULL: all */
	bool resource_paths;
	uint64_t requests_per_minute; /* 0: no limit */
	uint64_t tokens_per_minute;   /* 0: no limit */
};

enum auth_type { AUTH_PASSTHROUGH, AUTH_API_KEY, AUTH_MANAGED_IDENTITY, AUTH_WORKLOAD_IDENTITY, AUTH_CLIENT_SECRET };

struct config_auth {
	enum auth_type type;
	char *key; /* secret; from key or key_file */
	char *key_file;
	char *client_id;
	char *tenant_id;
	char *client_secret; /* secret */
	char *client_secret_file;
	char *authority_host;
	char *scope;
};

struct config_deployment {
	char *name;         /* what callers use; "*": the rest */
	char *backend_name; /* what the backend calls it */
};

struct config_backend {
	char *name;
	char *url;   /* as configured, without a final slash */
	bool secure; /* https */
	char *host;  /* without brackets */
	uint16_t port;
	char *authority; /* for the Host field: host, and the port unless it is the scheme's own */
	char *prefix;    /* the URL's path without a final slash; "" mostly */
	uint32_t priority;
	uint32_t weight;
	struct config_auth auth;
	struct config_deployment *deployments; /* sorted by name, "*" not among them */
	size_t deployment_count;
	bool has_map;
	char *wildcard; /* the value of "*", or NULL */
	char *api_version;
	char *quota_group; /* "": its quota is its own */
	char *ca_file;
	char *server_name; /* "" : host */
	bool verify;
};

/* What holds for one deployment, by the name that callers use. */
struct config_setting {
	char *name;
	uint64_t first_event_ms; /* instead of timeouts.first_event_ms */
};

struct config_timeouts {
	uint64_t connect_ms, response_ms, request_ms, commit_ms, first_event_ms, stream_idle_ms, heartbeat_ms,
	    client_header_ms, client_body_ms, client_send_ms, keep_alive_ms, drain_delay_ms, drain_ms;
};

struct config {
	struct config_listen listen;
	struct config_admin admin;
	unsigned workers; /* 0: auto */
	enum log_format log_format;
	enum log_level log_level;
	bool log_requests;
	struct config_client *clients;
	size_t client_count;
	struct config_backend *backends;
	size_t backend_count;
	struct hint_limits cooldown;
	uint64_t server_error_ms;
	bool prompt_cache_affinity;
	bool spill_early;
	uint64_t hold_ms;      /* 0: nobody is held */
	unsigned max_attempts; /* 0: each eligible backend once */
	unsigned max_unsafe_retries;
	uint64_t max_body_bytes;
	struct config_timeouts timeouts;
	uint64_t pool_idle_ms;
	uint64_t pool_max_age_ms;
	uint64_t max_connections;
	uint64_t max_header_bytes;
	uint64_t max_buffered_bytes;
	struct config_setting *settings; /* sorted by name */
	size_t setting_count;
	bool models_listed; /* derived: every backend has a map without "*" */
	_Atomic uint32_t references;
};

/* ---- faults: all of them at once, each with its path ---------------------------------------------------------- */

struct config_fault {
	char *path; /* "backends[1].url"; "" for the file as a whole */
	char *text; /* what is wrong, the value's shape, the remedy */
};

struct config_faults {
	struct config_fault *items;
	size_t count;
};

void config_faults_add(struct config_faults *faults, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);
/* One line a fault. */
void config_faults_print(const struct config_faults *faults, FILE *out);
void config_faults_free(struct config_faults *faults);

/* ---- loading ------------------------------------------------------------------------------------------------- */

/* Looks an environment variable up: getenv in the daemon, a table in tests. NULL: not set. */
typedef const char *config_getenv_fn(const char *name, void *context);

/* Parse, expand, fill defaults, validate. NULL on any fault, with all of them in *faults. The caller releases the
 * snapshot with config_release(). Secrets from *_file keys are read here, and so again at each reload. */
struct config *config_load_file(const char *path, config_getenv_fn *getenv_fn, void *context,
    struct config_faults *faults) MUST_CHECK;
struct config *config_load_text(struct slice json, config_getenv_fn *getenv_fn, void *context,
    struct config_faults *faults) MUST_CHECK;
/* The environment form: BACKEND_n_URL and its kin. */
struct config *config_load_environment(char *const *environment, config_getenv_fn *getenv_fn, void *context,
    struct config_faults *faults) MUST_CHECK;
/* Whether the environment holds a BACKEND_n_URL. */
bool config_environment_present(char *const *environment);

struct config *config_share(struct config *config) MUST_CHECK;
void config_release(struct config **config);

/* The effective configuration as JSON, every default spelled out, secrets as "***". */
void config_print(const struct config *config, struct buffer *out);

/* Whether an address to listen on can be reached from this machine alone. */
bool config_is_loopback(const char *address) MUST_CHECK;
/* timeouts.first_event_ms, or what is set for the deployment that callers call name. In ms; 0: no limit. */
uint64_t config_first_event_ms(const struct config *config, struct slice name);

/* What the backend calls a deployment that callers call name: false when the backend does not serve it. Without a map
 * any name passes unchanged. Borrowed from the config, or name itself. */
bool config_map_deployment(const struct config_backend *backend, struct slice name,
    struct slice *backend_name) MUST_CHECK;

#endif
