/* fields.c: the rows, in the order in which they are printed and documented. */
#include "config/fields.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "config/load.h"

#define MEMBER(type, name) .offset = offsetof(type, name), .size = sizeof(((type *)NULL)->name)
#define KIB 1024U
#define MIB (1024U * KIB)
#define GIB (1024U * MIB)
#define DAY_MS 86400000U

#define TEXT(key, type_, member, default_, shape_, about, ...) \
	{ \
		.path = (key), .type = FIELD_TEXT, MEMBER(type_, member), .default_text = (default_), \
		.shape = &(shape_), .description = (about), ##__VA_ARGS__ \
	}
#define NUMBER(key, type_, member, default_, least, most, about, ...) \
	{ \
		.path = (key), .type = FIELD_NUMBER, MEMBER(type_, member), .default_number = (default_), \
		.minimum = (least), .maximum = (most), .description = (about), ##__VA_ARGS__ \
	}
#define TIME(key, member, default_, least, about) \
	NUMBER(key, struct config, member, default_, least, DAY_MS, about, .unit = UNIT_MILLISECONDS)
#define SIZE(key, member, default_, least, most, about) \
	NUMBER(key, struct config, member, default_, least, most, about, .unit = UNIT_BYTES)
#define BOOLEAN(key, type_, member, default_, about) \
	{ \
		.path = (key), .type = FIELD_BOOLEAN, MEMBER(type_, member), .default_number = (default_), \
		.description = (about) \
	}
#define AUTH(key, member, default_, shape_, types, about, ...) \
	TEXT(key, struct config_backend, auth.member, default_, shape_, about, .auth_types = (types), ##__VA_ARGS__)

#define ENTRA_TYPES (BIT(AUTH_MANAGED_IDENTITY) | BIT(AUTH_WORKLOAD_IDENTITY) | BIT(AUTH_CLIENT_SECRET))
#define TENANT_TYPES (BIT(AUTH_WORKLOAD_IDENTITY) | BIT(AUTH_CLIENT_SECRET))

/* In the order of the enums that they stand for. */
static const char *const log_formats[] = { [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL };
static const char *const log_levels
    [] = { [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARNING] = "warning", [LOG_ERROR] = "error", NULL };
static const char *const auth_types[] = {
	[AUTH_PASSTHROUGH] = "passthrough",
	[AUTH_API_KEY] = "api_key",
	[AUTH_MANAGED_IDENTITY] = "managed_identity",
	[AUTH_WORKLOAD_IDENTITY] = "workload_identity",
	[AUTH_CLIENT_SECRET] = "client_secret",
	NULL,
};
static const char *const selection_policies[] = { "least_busy", NULL };

static const struct field client_rows[] = {
	TEXT("name", struct config_client, name, "", shape_name, "What logs and metrics call the client.",
	    .flags = FIELD_REQUIRED),
	TEXT("key", struct config_client, key, "", shape_key,
	    "The key that the client sends, as `api-key` or as Bearer token.", .flags = FIELD_REQUIRED | FIELD_SECRET),
	{ .path = "deployments",
	    .type = FIELD_NAMES,
	    MEMBER(struct config_client, deployments),
	    .minimum = 1,
	    .maximum = CONFIG_DEPLOYMENTS_MAX,
	    .description = "The deployments that the client may use, by the names that callers use. Absent: all." },
	BOOLEAN("resource_paths", struct config_client, resource_paths, false,
	    "Whether a client with `deployments` may also use files, batches and stored responses."),
	NUMBER("requests_per_minute", struct config_client, requests_per_minute, 0, 0, 1000000000U,
	    "The client's own limit of requests; 0: none."),
	NUMBER("tokens_per_minute", struct config_client, tokens_per_minute, 0, 0, 1000000000000U,
	    "The client's own limit of tokens; 0: none."),
};

static const struct field backend_rows[] = {
	TEXT("name", struct config_backend, name, "", shape_name,
	    "What logs, metrics and the header `x-aoai-lb-backend` call the backend.", .flags = FIELD_REQUIRED),
	TEXT("url", struct config_backend, url, "", shape_url_text,
	    "Where the resource is: `https://NAME.openai.azure.com`, maybe with a path prefix, never with a query or a "
	    "user name. Two backends may share a URL.",
	    .flags = FIELD_REQUIRED),
	NUMBER("priority", struct config_backend, priority, 1, 0, 1000000, "Backends with the lowest number go first."),
	NUMBER("weight", struct config_backend, weight, 1, 1, 1000, "The share among backends of the same priority."),
	{ .path = "auth.type",
	    .type = FIELD_CHOICE,
	    MEMBER(struct config_backend, auth.type),
	    .choices = auth_types,
	    .default_number = AUTH_PASSTHROUGH,
	    .description =
		"Whose credentials the backend sees: the caller's own (`passthrough`), a key (`api_key`), or "
		"tokens of an identity: the container's or machine's (`managed_identity`), the pod's "
		"(`workload_identity`), an application's (`client_secret`)." },
	AUTH("auth.key", key, "", shape_key, BIT(AUTH_API_KEY), "The backend's key, sent as `api-key`.",
	    .flags = FIELD_SECRET),
	AUTH("auth.key_file", key_file, "", shape_file, BIT(AUTH_API_KEY),
	    "A file that holds the key instead, read at start and at each reload."),
	AUTH("auth.client_id", client_id, "", shape_name, ENTRA_TYPES,
	    "The identity's client id; a managed identity without one is the system-assigned one."),
	AUTH("auth.tenant_id", tenant_id, "", shape_name, TENANT_TYPES, "The identity's tenant."),
	AUTH("auth.client_secret", client_secret, "", shape_plain, BIT(AUTH_CLIENT_SECRET), "The application's secret.",
	    .flags = FIELD_SECRET),
	AUTH("auth.client_secret_file", client_secret_file, "", shape_file, BIT(AUTH_CLIENT_SECRET),
	    "A file that holds the secret instead, read at start and at each reload."),
	AUTH("auth.authority_host", authority_host, "https://login.microsoftonline.com", shape_https, ENTRA_TYPES,
	    "Where tokens are asked for; a managed identity asks its machine instead. Sovereign clouds have their own, "
	    "such as `https://login.microsoftonline.us`."),
	AUTH("auth.scope", scope, "https://cognitiveservices.azure.com/.default", shape_plain, ENTRA_TYPES,
	    "What tokens are asked for; sovereign clouds have their own, such as "
	    "`https://cognitiveservices.azure.us/.default`."),
	{ .path = "deployments",
	    .type = FIELD_MAP,
	    .minimum = 1,
	    .maximum = CONFIG_DEPLOYMENTS_MAX,
	    .description =
		"Names that callers use → names on this backend. If present, the backend serves those alone; "
		"`\"*\": \"name\"` takes the rest. Absent: any name passes unchanged." },
	TEXT("api_version", struct config_backend, api_version, "", shape_api_version,
	    "With it, OpenAI-style chat/completions, completions, embeddings, images and audio calls are sent to the "
	    "deployment path with this version; without it, to `/openai/v1/…`."),
	TEXT("quota_group", struct config_backend, quota_group, "", shape_name,
	    "Backends with the same word here share one quota for each deployment: when one is throttled, all of them "
	    "rest, and what one says is left is left for all."),
	TEXT("tls.ca_file", struct config_backend, ca_file, "", shape_file,
	    "Certificates (PEM) to trust instead of the system's; https only."),
	TEXT("tls.server_name", struct config_backend, server_name, "", shape_host,
	    "The name that the backend's certificate must carry; empty: the URL's host. https only."),
	BOOLEAN("tls.verify", struct config_backend, verify, true,
	    "Whether the backend's certificate is checked; `false` is for tests alone. https only."),
};

static const struct field setting_rows[] = {
	NUMBER("first_event_ms", struct config_setting, first_event_ms, 0, 0, DAY_MS,
	    "What holds for the deployment of that name, as callers call it, instead of `timeouts.first_event_ms`.",
	    .unit = UNIT_MILLISECONDS),
};

static const struct field config_rows[] = {
	{ .path = "$schema",
	    .type = FIELD_IGNORED,
	    .default_text = "",
	    .description = "For editors: the path of `aoai-lb.schema.json`. Ignored by the daemon." },
	TEXT("listen.address", struct config, listen.address, "0.0.0.0", shape_address,
	    "The address of the data port, IPv4 or IPv6.", .flags = FIELD_FIXED),
	NUMBER("listen.port", struct config, listen.port, 8080, 0, 65535,
	    "The data port; 0: any free one, see the log.", .flags = FIELD_FIXED),
	TEXT("listen.base_path", struct config, listen.base_path, "", shape_base_path,
	    "A path that callers put before all others, such as `/api/v1`; it is taken off."),
	TEXT("listen.tls.certificate_file", struct config, listen.certificate_file, "", shape_file,
	    "The daemon's certificate chain (PEM); empty: plain HTTP."),
	TEXT("listen.tls.private_key_file", struct config, listen.private_key_file, "", shape_file,
	    "The key of that certificate (PEM)."),
	TEXT("admin.address", struct config, admin.address, "127.0.0.1", shape_address,
	    "The address of the admin port. Off loopback, all but metrics and health need `admin.key`.",
	    .flags = FIELD_FIXED),
	NUMBER("admin.port", struct config, admin.port, 9090, 0, 65535, "The admin port; 0: any free one, see the log.",
	    .flags = FIELD_FIXED),
	TEXT("admin.key", struct config, admin.key, "", shape_key, "The Bearer token for the admin port.",
	    .flags = FIELD_SECRET),
	NUMBER("workers", struct config, workers, 0, 1, 64, "Threads that serve; `\"auto\"` follows the CPU quota.",
	    .zero_word = "auto", .flags = FIELD_FIXED),
	{ .path = "log.format",
	    .type = FIELD_CHOICE,
	    MEMBER(struct config, log_format),
	    .choices = log_formats,
	    .default_number = LOG_FORMAT_TEXT,
	    .description = "A line for people (`text`) or an object a line for machines (`json`)." },
	{ .path = "log.level",
	    .type = FIELD_CHOICE,
	    MEMBER(struct config, log_level),
	    .choices = log_levels,
	    .default_number = LOG_INFO,
	    .description = "The least level that is written." },
	BOOLEAN("log.requests", struct config, log_requests, true,
	    "Whether each attempt and each request has its line."),
	{ .path = "clients",
	    .type = FIELD_LIST,
	    .offset = offsetof(struct config, clients),
	    .count_offset = offsetof(struct config, client_count),
	    .maximum = CONFIG_CLIENTS_MAX,
	    .elements = &config_client_fields,
	    .description =
		"Who may use the daemon. Absent or empty: everybody. Not together with a `passthrough` backend." },
	{ .path = "backends",
	    .type = FIELD_LIST,
	    .offset = offsetof(struct config, backends),
	    .count_offset = offsetof(struct config, backend_count),
	    .minimum = 1,
	    .maximum = CONFIG_BACKENDS_MAX,
	    .elements = &config_backend_fields,
	    .flags = FIELD_REQUIRED,
	    .description = "The Azure OpenAI resources that requests go to." },
	{ .path = "selection.policy",
	    .type = FIELD_CHOICE,
	    .choices = selection_policies,
	    .description =
		"How one of several backends of the same priority is chosen: the one with the fewest attempts "
		"under way, by weight." },
	{ .path = "deployment_settings",
	    .type = FIELD_BY_NAME,
	    .offset = offsetof(struct config, settings),
	    .count_offset = offsetof(struct config, setting_count),
	    .minimum = 0,
	    .maximum = CONFIG_DEPLOYMENTS_MAX,
	    .elements = &config_setting_fields,
	    .description = "What holds for single deployments." },
	BOOLEAN("selection.prompt_cache_affinity", struct config, prompt_cache_affinity, false,
	    "Whether requests with the same `prompt_cache_key`, or with the same long beginning of their prompt, go to "
	    "the same "
	    "one of several backends of a priority, where its cache knows them, as long as that one is neither "
	    "throttled nor "
	    "much busier than the others."),
	BOOLEAN("selection.spill_early", struct config, spill_early, false,
	    "Whether a backend that would answer 429, as far as is known, is passed over for one of a later priority "
	    "that has "
	    "room."),
	TIME("cooldown.default_ms", cooldown.default_ms, 10000, 1,
	    "The rest of a throttled deployment when the answer has no readable hint."),
	TIME("cooldown.min_ms", cooldown.min_ms, 1000, 1, "The rest when the hint is zero or less."),
	TIME("cooldown.max_ms", cooldown.max_ms, 60000, 1, "No rest is longer, whatever the hint says."),
	TIME("cooldown.server_error_ms", server_error_ms, 10000, 1, "The rest after a server error."),
	NUMBER("retry.max_attempts", struct config, max_attempts, 0, 0, 256,
	    "Attempts for one request in all; 0: each eligible backend once."),
	NUMBER("retry.max_unsafe_retries", struct config, max_unsafe_retries, 1, 0, 256,
	    "Attempts that may follow ones that the backend may have executed (and billed): a reset or a time-out "
	    "after "
	    "the request was sent."),
	TIME("retry.hold_ms", hold_ms, 1000, 0,
	    "How long a request may wait when all of its backends are throttled, or have told that they have no room "
	    "for "
	    "it, and one of them is back by then; 0: it does not wait."),
	SIZE("retry.max_body_bytes", max_body_bytes, 32U * MIB, KIB, GIB,
	    "The longest request body that is kept so that it can be sent again."),
	TIME("timeouts.connect_ms", timeouts.connect_ms, 5000, 1,
	    "From the DNS look-up to the end of the TLS handshake."),
	TIME("timeouts.response_ms", timeouts.response_ms, 600000, 1,
	    "From the end of the request to the head of the answer."),
	TIME("timeouts.request_ms", timeouts.request_ms, 0, 0,
	    "For everything before the answer is committed, over all attempts; 0: off."),
	TIME("timeouts.commit_ms", timeouts.commit_ms, 10000, 0,
	    "How long the head of a streamed answer is held for its first content, while another backend may still be "
	    "tried."),
	TIME("timeouts.first_event_ms", timeouts.first_event_ms, 0, 0,
	    "From the head to the first event with content; 0: off."),
	TIME("timeouts.stream_idle_ms", timeouts.stream_idle_ms, 600000, 1, "The longest silence within an answer."),
	TIME("timeouts.heartbeat_ms", timeouts.heartbeat_ms, 15000, 0,
	    "A stream that is silent for so long gets a comment, so that nothing on the way gives it up; 0: off."),
	TIME("timeouts.client_header_ms", timeouts.client_header_ms, 10000, 1, "For the head of a request to come in."),
	TIME("timeouts.client_body_ms", timeouts.client_body_ms, 60000, 1,
	    "The longest wait for more of a request's body."),
	TIME("timeouts.client_send_ms", timeouts.client_send_ms, 60000, 1,
	    "How long a client may leave its answer unread."),
	TIME("timeouts.keep_alive_ms", timeouts.keep_alive_ms, 75000, 1,
	    "How long a client's idle connection is kept open."),
	TIME("timeouts.drain_delay_ms", timeouts.drain_delay_ms, 0, 0,
	    "At a stop: how long requests are still accepted after `/readyz` has begun to fail."),
	TIME("timeouts.drain_ms", timeouts.drain_ms, 25000, 0,
	    "At a stop: how long requests under way may still take."),
	TIME("pool.idle_ms", pool_idle_ms, 60000, 1, "How long an idle connection to a backend is kept."),
	TIME("pool.max_age_ms", pool_max_age_ms, 300000, 1,
	    "How long a connection to a backend is used, so that a moved address is followed."),
	NUMBER("limits.max_connections", struct config, max_connections, 10000, 1, 1000000,
	    "Client connections at once; further ones wait. Lowered to what `nofile` allows, with a warning."),
	SIZE("limits.max_header_bytes", max_header_bytes, 64U * KIB, KIB, MIB,
	    "The longest head of a request or answer."),
	SIZE("limits.max_buffered_bytes", max_buffered_bytes, 256U * MIB, KIB, 1024ULL * GIB,
	    "All request bodies together; at most half of the container's memory is used. Further bodies wait."),
};

const struct field_table config_fields = { config_rows, ARRAY_COUNT(config_rows), sizeof(struct config) };
const struct field_table config_client_fields = { client_rows, ARRAY_COUNT(client_rows), sizeof(struct config_client) };
const struct field_table config_backend_fields = { backend_rows, ARRAY_COUNT(backend_rows),
	sizeof(struct config_backend) };

const struct field_table config_setting_fields = { setting_rows, ARRAY_COUNT(setting_rows),
	sizeof(struct config_setting) };

const struct field *
field_find(const struct field_table *table, const char *path)
{
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->fields[i].path, path) == 0)
			return &table->fields[i];
	}
	return NULL;
}

void *
field_member(const struct field *field, void *target)
{
	return (char *)target + field->offset;
}

const void *
field_member_const(const struct field *field, const void *target)
{
	return (const char *)target + field->offset;
}

uint64_t
field_number(const struct field *field, const void *target)
{
	const void *member = field_member_const(field, target);
	uint16_t two;
	uint32_t four;
	uint64_t eight;

	if (field->type == FIELD_BOOLEAN)
		return *(const bool *)member ? 1 : 0;
	switch (field->size) {
	case 0:
		return field->default_number;
	case sizeof(two):
		memcpy(&two, member, sizeof(two));
		return two;
	case sizeof(four):
		memcpy(&four, member, sizeof(four));
		return four;
	case sizeof(eight):
		memcpy(&eight, member, sizeof(eight));
		return eight;
	default:
		fatal("field %s: a number of %zu bytes", field->path, field->size);
	}
}

void
field_set_number(const struct field *field, void *target, uint64_t value)
{
	void *member = field_member(field, target);
	uint16_t two = (uint16_t)value;
	uint32_t four = (uint32_t)value;

	if (field->type == FIELD_BOOLEAN) {
		*(bool *)member = value != 0;
		return;
	}
	switch (field->size) {
	case 0:
		return;
	case sizeof(two):
		memcpy(member, &two, sizeof(two));
		return;
	case sizeof(four):
		memcpy(member, &four, sizeof(four));
		return;
	case sizeof(value):
		memcpy(member, &value, sizeof(value));
		return;
	default:
		fatal("field %s: a number of %zu bytes", field->path, field->size);
	}
}

const char *
field_text(const struct field *field, const void *target)
{
	return *(char *const *)field_member_const(field, target);
}

void
field_set_text(const struct field *field, void *target, char *text)
{
	char **member = field_member(field, target);

	load_free_text(member);
	*member = text;
}

void
fields_set_defaults(const struct field_table *table, void *target)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct field *field = &table->fields[i];

		switch (field->type) {
		case FIELD_TEXT:
			field_set_text(field, target, memory_copy_string(field->default_text));
			break;
		case FIELD_NUMBER:
		case FIELD_BOOLEAN:
		case FIELD_CHOICE:
			field_set_number(field, target, field->default_number);
			break;
		case FIELD_NAMES:
		case FIELD_MAP:
		case FIELD_LIST:
		case FIELD_BY_NAME:
		case FIELD_IGNORED:
			break; /* absent: the zeroed struct says so */
		}
	}
}

const char *
field_unit_name(enum field_unit unit)
{
	switch (unit) {
	case UNIT_MILLISECONDS:
		return "milliseconds";
	case UNIT_BYTES:
		return "bytes";
	case UNIT_NONE:
		break;
	}
	return "";
}
