/* backend.c: what concerns one backend: credentials, deployments, TLS. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/load.h"
#include "policy/route.h"

#define TWICE "two keys give the same name once their ${NAME}s are replaced"

/* ---- credentials ------------------------------------------------------------------------------------------------ */

static const char *
auth_type_name(enum auth_type type)
{
	return field_find(&config_backend_fields, "auth.type")->choices[type];
}

/* Keys that belong to another type are faults: a key that is given and not used would surprise. */
static void
check_auth_keys(struct load *load, const struct config_backend *backend)
{
	for (size_t i = 0; i < config_backend_fields.count; i++) {
		const struct field *field = &config_backend_fields.fields[i];
		struct buffer types = { 0 };

		if (field->auth_types == 0 || (field->auth_types & BIT(backend->auth.type)) != 0 ||
		    strcmp(field_text(field, backend), field->default_text) == 0)
			continue;
		for (unsigned type = 0; type <= AUTH_CLIENT_SECRET; type++) {
			if ((field->auth_types & BIT(type)) != 0)
				buffer_append_format(&types, "%s\"%s\"", types.length > 0 ? " or " : "",
				    auth_type_name((enum auth_type)type));
		}
		load_fault(load, field->path, "is not used with auth.type \"%s\"; set auth.type to %.*s, or remove it",
		    auth_type_name(backend->auth.type), SLICE_PRINT(buffer_slice(&types)));
		buffer_free(&types);
	}
}

static void
strip_line_ends(struct buffer *text)
{
	while (text->length > 0 && (text->data[text->length - 1] == '\n' || text->data[text->length - 1] == '\r'))
		text->length--;
}

/* Reads a secret from the file that member names, into *secret. */
static void
read_secret(struct load *load, const char *member, const char *path, const struct text_shape *shape, char **secret)
{
	struct buffer text = { 0 };
	const char *why = "";

	if (!load_read_file(path, CONFIG_SECRET_FILE_MAX_BYTES, true, &text, &why)) {
		load_fault(load, member, "cannot read %s: %s; correct the path, or let the daemon's user read it", path,
		    why);
	} else {
		strip_line_ends(&text);
		if (text.length == 0) {
			load_fault(load, member, "%s is empty; write the secret into it", path);
		} else if (!shape->fits(buffer_slice(&text))) {
			load_fault(load, member, "%s must hold %s", path, shape->expected);
		} else {
			load_free_text(secret);
			*secret = slice_duplicate(buffer_slice(&text));
		}
	}
	if (text.data != NULL)
		explicit_bzero(text.data, text.capacity);
	buffer_free(&text);
}

/* Exactly one of a secret and the file that holds it. */
static void
finish_secret(struct load *load, const char *member, const struct text_shape *shape, char **secret,
    const char *file_member, const char *file)
{
	if (load_has_fault(load, member) || load_has_fault(load, file_member))
		return;
	if (**secret != '\0' && *file != '\0')
		load_fault(load, file_member, "is given together with %s; remove one of them", member);
	else if (*file != '\0')
		read_secret(load, file_member, file, shape, secret);
	else if (**secret == '\0')
		load_fault(load, member, "is missing; give it, or %s", file_member);
}

static void
require(struct load *load, const char *member, const char *value, const char *type)
{
	if (*value == '\0' && !load_has_fault(load, member))
		load_fault(load, member, "is missing; auth.type \"%s\" needs it", type);
}

/* Kubernetes' webhook for workload identities sets it; the file itself is renewed all the time, and read at each fetch. */
static void
require_statement(struct load *load)
{
	const char *path =
	    load->getenv_fn != NULL ? load->getenv_fn("AZURE_FEDERATED_TOKEN_FILE", load->context) : NULL;

	if (path == NULL || *path == '\0')
		load_fault(load, "auth.type",
		    "auth.type \"workload_identity\" needs the environment variable AZURE_FEDERATED_TOKEN_FILE, which "
		    "the "
		    "platform sets (is the pod labelled azure.workload.identity/use?)");
}

static void
finish_auth(struct load *load, struct config_backend *backend)
{
	struct config_auth *auth = &backend->auth;
	const char *type = auth_type_name(auth->type);

	if (load_has_fault(load, "auth.type"))
		return;
	check_auth_keys(load, backend);
	switch (auth->type) {
	case AUTH_PASSTHROUGH:
	case AUTH_MANAGED_IDENTITY:
		break;
	case AUTH_API_KEY:
		finish_secret(load, "auth.key", &shape_key, &auth->key, "auth.key_file", auth->key_file);
		break;
	case AUTH_CLIENT_SECRET:
		finish_secret(load, "auth.client_secret", &shape_plain, &auth->client_secret, "auth.client_secret_file",
		    auth->client_secret_file);
		require(load, "auth.client_id", auth->client_id, type);
		require(load, "auth.tenant_id", auth->tenant_id, type);
		break;
	case AUTH_WORKLOAD_IDENTITY:
		require(load, "auth.client_id", auth->client_id, type);
		require(load, "auth.tenant_id", auth->tenant_id, type);
		require_statement(load);
		break;
	}
}

/* ---- deployments ------------------------------------------------------------------------------------------------ */

/* A deployment's name, expanded; NULL after saying what is wrong. The caller frees it. */
static char *
take_deployment_name(struct load *load, const json_t *json)
{
	bool expanded;
	char *name;

	if (!json_is_string(json)) {
		load_fault(load, NULL, "expected a deployment's name, found %s", load_kind(json));
		return NULL;
	}
	name = load_string(load, json, &expanded);
	if (name != NULL && !route_deployment_name_ok(slice_from(name))) {
		load_fault(load, NULL,
		    "expected a deployment's name: 1 to 256 bytes, no control characters, not \".\" or \"..\"");
		load_free_text(&name);
	}
	return name;
}

/* The name that callers use may hold ${NAME} as well. */
char *
load_deployment_key(struct load *load, const char *key)
{
	json_t *json = json_string(key);
	char *name = take_deployment_name(load, json);

	json_decref(json);
	return name;
}

static int
compare_deployments(const void *a, const void *b)
{
	return strcmp(((const struct config_deployment *)a)->name, ((const struct config_deployment *)b)->name);
}

/* Takes over both names. */
static void
add_deployment(struct load *load, struct config_backend *backend, char *name, char *backend_name)
{
	if (strcmp(name, "*") == 0) {
		if (backend->wildcard != NULL)
			load_fault(load, NULL, "%s", TWICE);
		free(backend->wildcard);
		backend->wildcard = backend_name;
		free(name);
		return;
	}
	backend->deployments[backend->deployment_count++] = (struct config_deployment){ name, backend_name };
}

void
load_deployment_map(struct load *load, struct config_backend *backend, json_t *json)
{
	const char *key;
	json_t *value;

	if (!json_is_object(json)) {
		load_fault(load, NULL, "expected an object of names, such as { \"gpt-4o\": \"gpt-4o-ptu\" }, found %s",
		    load_kind(json));
		return;
	}
	if (json_object_size(json) == 0 || json_object_size(json) > CONFIG_DEPLOYMENTS_MAX) {
		load_fault(load, NULL,
		    "expected 1 to %u names, found %zu; remove the key to let any name pass unchanged",
		    CONFIG_DEPLOYMENTS_MAX, json_object_size(json));
		return;
	}
	backend->has_map = true;
	backend->deployments = memory_take_zeroed(json_object_size(json), sizeof(*backend->deployments));
	json_object_foreach(json, key, value)
	{
		size_t mark = load_enter(load, key);
		char *name = load_deployment_key(load, key);
		char *backend_name = take_deployment_name(load, value);

		if (name != NULL && backend_name != NULL) {
			add_deployment(load, backend, name, backend_name);
		} else {
			free(name);
			free(backend_name);
		}
		load_leave(load, mark);
	}
	qsort(backend->deployments, backend->deployment_count, sizeof(*backend->deployments), compare_deployments);
	for (size_t i = 1; i < backend->deployment_count; i++) {
		if (compare_deployments(&backend->deployments[i - 1], &backend->deployments[i]) == 0)
			load_fault(load, NULL, "%s", TWICE);
	}
}

void
load_client_deployments(struct load *load, struct config_client *client, json_t *json)
{
	size_t count = json_array_size(json), kept = 0;

	if (!json_is_array(json) || count == 0 || count > CONFIG_DEPLOYMENTS_MAX) {
		load_fault(load, NULL,
		    "expected an array of 1 to %u deployment names, found %s%s; remove the key to allow all",
		    CONFIG_DEPLOYMENTS_MAX, count == 0 && json_is_array(json) ? "an empty array" : load_kind(json),
		    count > 0 ? " of more" : "");
		return;
	}
	client->deployments = memory_take_zeroed(count + 1, sizeof(*client->deployments));
	for (size_t i = 0; i < count; i++) {
		size_t mark = load_enter_index(load, i);
		char *name = take_deployment_name(load, json_array_get(json, i));
		bool usable = name != NULL;

		for (size_t j = 0; usable && j < kept; j++) {
			if (strcmp(client->deployments[j], name) == 0) {
				load_fault(load, NULL, "is named twice; remove one of the two");
				usable = false;
			}
		}
		if (usable && strcmp(name, "*") == 0) {
			load_fault(load, NULL, "\"*\" has no meaning here; remove `deployments` to allow all");
			usable = false;
		}
		if (usable)
			client->deployments[kept++] = name;
		else
			free(name);
		load_leave(load, mark);
	}
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void
finish_tls(struct load *load, const struct config_backend *backend)
{
	const char *why = "";
	bool used = *backend->ca_file != '\0' || *backend->server_name != '\0' || !backend->verify;

	if (!backend->secure && used && backend->host != NULL)
		load_fault(load, "tls", "is for https URLs only; remove it, or make the url https");
	if (*backend->ca_file != '\0' && !load_can_read(backend->ca_file, &why))
		load_fault(load, "tls.ca_file",
		    "cannot read %s: %s; correct the path, or let the daemon's user read it", backend->ca_file, why);
}

void
load_finish_backend(struct load *load, struct config_backend *backend)
{
	if (*backend->url != '\0')
		load_url(load, backend);
	finish_auth(load, backend);
	finish_tls(load, backend);
}
