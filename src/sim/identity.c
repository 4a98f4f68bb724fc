#include "sim/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http/target.h"
#include "sim/resource.h"

#define METADATA_PATH "/metadata/identity/oauth2/token"
#define ENTRA_SUFFIX "/oauth2/v2.0/token"
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

bool
sim_issuer_knows(const struct sim_issuer *issuer, struct slice token, int64_t now_unix_ms)
{
	for (size_t i = 0; i < SIM_TOKENS_MAX && token.length > 0; i++) {
		if (slice_equals(slice_from(issuer->tokens[i].text), token))
			return now_unix_ms < issuer->tokens[i].end_unix_ms;
	}
	return false;
}

void
sim_issuer_revoke(struct sim_issuer *issuer)
{
	for (size_t i = 0; i < SIM_TOKENS_MAX; i++)
		issuer->tokens[i].text[0] = '\0';
}

static bool
header_is(const struct sim_exchange *exchange, struct slice name, struct slice value)
{
	const struct header *header = headers_find_name(&exchange->head->headers, name);

	return header != NULL && slice_equals(header->value, value);
}

static bool
query_is(struct slice query, struct slice name, struct slice value)
{
	struct slice found;

	return query_find(query, name, &found) && slice_equals(found, value);
}

static bool
query_has(struct slice query, struct slice name)
{
	struct slice found;

	return query_find(query, name, &found) && found.length > 0;
}

/* Why no token is given. */
struct refusal {
	unsigned status;
	const char *error, *description;
};

/* What is wrong with a GET, as a managed identity's endpoints would have it; NULL: nothing. */
static const struct refusal *
fault_of_get(const struct sim_resource *resource, const struct sim_exchange *exchange)
{
	static const struct refusal no_resource = { 400, "invalid_request", "the query names no resource" };
	static const struct refusal not_metadata = { 400, "invalid_request",
		"Metadata: true and api-version=2018-02-01 are required" };
	static const struct refusal not_version = { 400, "invalid_request", "api-version=2019-08-01 is required" };
	static const struct refusal not_header = { 401, "unauthorized", "X-IDENTITY-HEADER is missing or wrong" };
	struct slice header = slice_from(resource->config->identity_header);

	if (!query_has(exchange->query, SLICE("resource")))
		return &no_resource;
	if (slice_equals(exchange->path, SLICE(METADATA_PATH)))
		return header_is(exchange, SLICE("metadata"), SLICE("true")) &&
			query_is(exchange->query, SLICE("api-version"), SLICE("2018-02-01"))
		    ? NULL
		    : &not_metadata;
	if (!query_is(exchange->query, SLICE("api-version"), SLICE("2019-08-01")))
		return &not_version;
	if (headers_find_name(&exchange->head->headers, SLICE("x-identity-header")) == NULL ||
	    (header.length > 0 && !header_is(exchange, SLICE("x-identity-header"), header)))
		return &not_header;
	return NULL;
}

/* The value of a form's field, which is read as a query is, ends so. */
static bool
form_ends(struct slice form, struct slice name, struct slice end)
{
	struct slice raw;
	char text[256];
	size_t length = 0;

	return query_find(form, name, &raw) && raw.length <= sizeof(text) && percent_decode(raw, text, &length) &&
	    length >= end.length && slice_equals(slice_of(text + length - end.length, end.length), end);
}

/* The same of a form. The codes are Entra ID's: learn.microsoft.com/entra/identity-platform/reference-error-codes. */
static const struct refusal *
fault_of_form(const struct sim_resource *resource, const struct sim_exchange *exchange)
{
	static const struct refusal no_client = { 400, "invalid_request",
		"AADSTS900144: The request body must contain the following parameter: 'client_id'." };
	static const struct refusal other_grant = { 400, "unsupported_grant_type",
		"AADSTS70003: The app requested an unsupported grant type." };
	static const struct refusal other_scope = { 400, "invalid_scope",
		"AADSTS1002012: The provided value for scope is not valid: with client credentials it must end in "
		"/.default." };
	static const struct refusal no_type = { 400, "invalid_request",
		"AADSTS900144: The request body must contain the following parameter: 'client_assertion_type'." };
	static const struct refusal no_secret = { 401, "invalid_client",
		"AADSTS7000216: 'client_assertion', 'client_secret' or 'request' is required for the "
		"'client_credentials' grant type." };
	static const struct refusal wrong_secret = { 401, "invalid_client",
		"AADSTS7000215: Invalid client secret provided." };
	struct slice secret = slice_from(resource->config->client_secret), form = exchange->body;

	if (!query_has(form, SLICE("client_id")))
		return &no_client;
	if (!query_is(form, SLICE("grant_type"), SLICE("client_credentials")))
		return &other_grant;
	if (!form_ends(form, SLICE("scope"), SLICE("/.default")))
		return &other_scope;
	if (query_has(form, SLICE("client_assertion")))
		return form_ends(form, SLICE("client_assertion_type"), SLICE(ASSERTION_TYPE)) ? NULL : &no_type;
	if (!query_has(form, SLICE("client_secret")))
		return &no_secret;
	if (secret.length > 0 && !query_is(form, SLICE("client_secret"), secret))
		return &wrong_secret;
	return NULL;
}

static void
issue(struct sim_resource *resource, const struct sim_exchange *exchange, struct sim_answer *answer)
{
	struct sim_issuer *issuer = resource->issuer;
	uint64_t lifetime_s = resource->config->token_lifetime_s;
	int64_t end_s = exchange->unix_ms / 1000 + (int64_t)lifetime_s;
	size_t place = issuer->next++ % SIM_TOKENS_MAX;

	sim_make_id(&resource->random, "sim-token-", 48, issuer->tokens[place].text);
	issuer->tokens[place].end_unix_ms = exchange->unix_ms + (int64_t)lifetime_s * 1000;
	issuer->issued++;
	buffer_append_format(&answer->body, "{\"token_type\":\"Bearer\",\"access_token\":\"%s\",",
	    issuer->tokens[place].text);
	if (exchange->head->method_id == METHOD_POST)
		buffer_append_format(&answer->body, "\"expires_in\":%" PRIu64 ",\"ext_expires_in\":%" PRIu64 "}",
		    lifetime_s, lifetime_s);
	else
		buffer_append_format(&answer->body,
		    "\"expires_on\":\"%" PRId64 "\",\"resource\":\"https://cognitiveservices.azure.com\"}", end_s);
	sim_answer_field(answer, "Cache-Control", SLICE("no-store, no-cache"));
	sim_answer_end_json(answer, 0);
}

void
sim_identity_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	struct slice path = exchange->path, suffix = SLICE(ENTRA_SUFFIX);
	bool entra = exchange->head->method_id == METHOD_POST && path.length > suffix.length &&
	    slice_equals(slice_skip(path, path.length - suffix.length), suffix);
	static const struct refusal no_method = { 405, "invalid_request", "no token endpoint takes this method here" };
	const struct refusal *fault = &no_method;
	struct buffer body = { 0 };

	if (entra)
		fault = fault_of_form(resource, exchange);
	else if (exchange->head->method_id == METHOD_GET)
		fault = fault_of_get(resource, exchange);
	if (fault == NULL) {
		issue(resource, exchange, answer);
		return;
	}
	buffer_append_format(&body, "{\"error\":\"%s\",\"error_description\":\"%s\"}", fault->error,
	    fault->description);
	sim_answer_error_body(answer, fault->status, buffer_slice(&body));
	buffer_free(&body);
}
