#include "identity/token_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/load.h"
#include "http/target.h"

#define METADATA_SERVICE "http://169.254.169.254"
#define METADATA_PATH "/metadata/identity/oauth2/token?api-version=2018-02-01"
#define APP_VERSION "2019-08-01"
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

/* ---- sources --------------------------------------------------------------------------------------------------- */

/* A copy without slashes at its end. */
static char *
copy_base(const char *url)
{
	struct slice text = slice_from(url);

	while (text.length > 0 && text.data[text.length - 1] == '/')
		text.length--;
	return slice_duplicate(text);
}

static void
find_managed_identity(struct token_source *source, config_getenv_fn *getenv_fn, void *context)
{
	const char *endpoint = getenv_fn("IDENTITY_ENDPOINT", context);
	const char *header = getenv_fn("IDENTITY_HEADER", context);
	const char *host = getenv_fn("AZURE_POD_IDENTITY_AUTHORITY_HOST", context);

	if (endpoint != NULL && *endpoint != '\0' && header != NULL && *header != '\0') {
		source->service = SERVICE_APP;
		source->place = memory_copy_string(endpoint);
		source->place_header = memory_copy_string(header);
		return;
	}
	source->service = SERVICE_METADATA;
	source->place = copy_base(host != NULL && *host != '\0' ? host : METADATA_SERVICE);
}

struct token_source
token_source_make(const struct config_auth *auth, config_getenv_fn *getenv_fn, void *context)
{
	const char *assertion_file = getenv_fn("AZURE_FEDERATED_TOKEN_FILE", context);
	struct token_source source = {
		.type = auth->type,
		.service = SERVICE_ENTRA,
		.client_id = memory_copy_string(auth->client_id),
		.scope = memory_copy_string(auth->scope),
		.tenant_id = memory_copy_string(auth->tenant_id),
		.client_secret = memory_copy_string(auth->client_secret),
	};

	if (auth->type == AUTH_MANAGED_IDENTITY)
		find_managed_identity(&source, getenv_fn, context);
	else
		source.place = copy_base(auth->authority_host);
	if (source.place_header == NULL)
		source.place_header = memory_copy_string("");
	source.assertion_file =
	    memory_copy_string(auth->type == AUTH_WORKLOAD_IDENTITY && assertion_file != NULL ? assertion_file : "");
	return source;
}

bool
token_source_equals(const struct token_source *a, const struct token_source *b)
{
	return a->type == b->type && a->service == b->service && strcmp(a->client_id, b->client_id) == 0 &&
	    strcmp(a->tenant_id, b->tenant_id) == 0 && strcmp(a->client_secret, b->client_secret) == 0 &&
	    strcmp(a->scope, b->scope) == 0 && strcmp(a->place, b->place) == 0 &&
	    strcmp(a->place_header, b->place_header) == 0 && strcmp(a->assertion_file, b->assertion_file) == 0;
}

static void
wipe_text(char **text)
{
	if (*text != NULL)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void
token_source_free(struct token_source *source)
{
	wipe_text(&source->client_id);
	wipe_text(&source->tenant_id);
	wipe_text(&source->client_secret);
	wipe_text(&source->scope);
	wipe_text(&source->place);
	wipe_text(&source->place_header);
	wipe_text(&source->assertion_file);
}

void
token_source_describe(const struct token_source *source, char *out, size_t size)
{
	if (source->type == AUTH_MANAGED_IDENTITY && source->client_id[0] == '\0')
		(void)snprintf(out, size, "the system-assigned managed identity");
	else
		(void)snprintf(out, size, "%s %s",
		    source->type == AUTH_MANAGED_IDENTITY        ? "managed identity"
			: source->type == AUTH_WORKLOAD_IDENTITY ? "workload identity"
								 : "application",
		    source->client_id);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

/* Managed identities are asked by resource: the scope without the "/.default" that means all permissions. */
static struct slice
resource_of(const struct token_source *source)
{
	static const struct slice suffix = { "/.default", 9 };
	struct slice scope = slice_from(source->scope);

	if (scope.length > suffix.length && slice_equals(slice_skip(scope, scope.length - suffix.length), suffix))
		scope.length -= suffix.length;
	return scope;
}

static void
add_parameter(struct buffer *out, const char *separator, const char *name, struct slice value)
{
	buffer_append_string(out, separator);
	buffer_append_string(out, name);
	buffer_append_byte(out, '=');
	percent_encode_segment(value, out);
}

static void
ask_on_this_machine(const struct token_source *source, struct token_request *request)
{
	bool app = source->service == SERVICE_APP;

	buffer_append_string(&request->url, source->place);
	if (app)
		add_parameter(&request->url, strchr(source->place, '?') != NULL ? "&" : "?", "api-version",
		    SLICE(APP_VERSION));
	else
		buffer_append_string(&request->url, METADATA_PATH);
	add_parameter(&request->url, "&", "resource", resource_of(source));
	if (source->client_id[0] != '\0')
		add_parameter(&request->url, "&", "client_id", slice_from(source->client_id));
	if (!app) {
		buffer_append_string(&request->header, "Metadata: true");
		return;
	}
	/* One allocation each, so that no part of a secret is left behind in another. */
	buffer_reserve_exactly(&request->header, strlen(source->place_header) + 32);
	buffer_append_string(&request->header, "X-IDENTITY-HEADER: ");
	buffer_append_string(&request->header, source->place_header);
	buffer_append_string(&request->secret, source->place_header);
}

/* The statement of the workload, which its platform renews in place. */
static bool
read_assertion(const struct token_source *source, struct buffer *out, char *fault, size_t fault_size)
{
	const char *why = "";

	buffer_reserve_exactly(out, TOKEN_ASSERTION_MAX_BYTES + 1);
	if (!load_read_file(source->assertion_file, TOKEN_ASSERTION_MAX_BYTES, true, out, &why)) {
		(void)snprintf(fault, fault_size, "cannot read AZURE_FEDERATED_TOKEN_FILE, %s: %s",
		    source->assertion_file, why);
		return false;
	}
	while (out->length > 0 && (out->data[out->length - 1] == '\n' || out->data[out->length - 1] == '\r'))
		out->length--;
	if (out->length > 0)
		return true;
	(void)snprintf(fault, fault_size, "AZURE_FEDERATED_TOKEN_FILE, %s, is empty", source->assertion_file);
	return false;
}

static bool
ask_entra(const struct token_source *source, struct token_request *request, char *fault, size_t fault_size)
{
	struct buffer *form = &request->form;
	bool workload = source->type == AUTH_WORKLOAD_IDENTITY;

	request->post = request->may_be_proxied = true;
	buffer_append_string(&request->url, source->place);
	buffer_append_byte(&request->url, '/');
	percent_encode_segment(slice_from(source->tenant_id), &request->url);
	buffer_append_string(&request->url, "/oauth2/v2.0/token");
	if (!workload)
		buffer_append_string(&request->secret, source->client_secret);
	else if (!read_assertion(source, &request->secret, fault, fault_size))
		return false;
	/* One allocation, so that no part of a secret is left behind in another. */
	buffer_reserve_exactly(form,
	    1024 + 3 * (request->secret.length + strlen(source->scope) + strlen(source->client_id)));
	add_parameter(form, "", "client_id", slice_from(source->client_id));
	add_parameter(form, "&", "scope", slice_from(source->scope));
	add_parameter(form, "&", "grant_type", SLICE("client_credentials"));
	if (workload)
		add_parameter(form, "&", "client_assertion_type", SLICE(ASSERTION_TYPE));
	add_parameter(form, "&", workload ? "client_assertion" : "client_secret", buffer_slice(&request->secret));
	return true;
}

bool
token_request_make(const struct token_source *source, struct token_request *request, char *fault, size_t fault_size)
{
	bool made = true;

	*request = (struct token_request){ 0 };
	if (source->service == SERVICE_ENTRA)
		made = ask_entra(source, request, fault, fault_size);
	else
		ask_on_this_machine(source, request);
	buffer_append_byte(&request->url, '\0');
	if (request->header.length > 0)
		buffer_append_byte(&request->header, '\0');
	return made;
}

static void
wipe_buffer(struct buffer *buffer)
{
	if (buffer->data != NULL)
		explicit_bzero(buffer->data, buffer->capacity);
	buffer_free(buffer);
}

void
token_request_free(struct token_request *request)
{
	buffer_free(&request->url);
	wipe_buffer(&request->header);
	wipe_buffer(&request->form);
	wipe_buffer(&request->secret);
}
