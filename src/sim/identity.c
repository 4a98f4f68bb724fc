#include "sim/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http/target.h"
#include "sim/resource.h"

#define METADATA_PATH "/metadata/identity/oauth2/token"
#define ENTRA_SUFFIX "/oauth2/v2.0/token"

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

/* What is wrong with a GET, as a managed identity's endpoints would have it; NULL: nothing. */
static const char *
fault_of_get(const struct sim_resource *resource, const struct sim_exchange *exchange)
{
	bool metadata = slice_equals(exchange->path, SLICE(METADATA_PATH));
	struct slice header = slice_from(resource->config->identity_header);

	if (!query_has(exchange->query, SLICE("resource")))
		return "the query names no resource";
	if (metadata)
		return header_is(exchange, SLICE("metadata"), SLICE("true")) &&
			query_is(exchange->query, SLICE("api-version"), SLICE("2018-02-01"))
		    ? NULL
		    : "Metadata: true and api-version=2018-02-01 are required";
	if (!query_is(exchange->query, SLICE("api-version"), SLICE("2019-08-01")))
		return "api-version=2019-08-01 is required";
	if (headers_find_name(&exchange->head->headers, SLICE("x-identity-header")) == NULL ||
	    (header.length > 0 && !header_is(exchange, SLICE("x-identity-header"), header)))
		return "X-IDENTITY-HEADER is missing or wrong";
	return NULL;
}

/* The same of a form; a form is read as a query is. */
static const char *
fault_of_form(const struct sim_resource *resource, const struct sim_exchange *exchange)
{
	struct slice secret = slice_from(resource->config->client_secret);

	if (!query_is(exchange->body, SLICE("grant_type"), SLICE("client_credentials")))
		return "grant_type must be client_credentials";
	if (!query_has(exchange->body, SLICE("client_id")) || !query_has(exchange->body, SLICE("scope")))
		return "client_id and scope are required";
	if (query_has(exchange->body, SLICE("client_assertion")))
		return NULL;
	if (!query_has(exchange->body, SLICE("client_secret")))
		return "client_secret or client_assertion is required";
	if (secret.length > 0 && !query_is(exchange->body, SLICE("client_secret"), secret))
		return "AADSTS7000215: Invalid client secret provided.";
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
	const char *fault = NULL;
	struct buffer body = { 0 };

	if (entra)
		fault = fault_of_form(resource, exchange);
	else if (exchange->head->method_id == METHOD_GET)
		fault = fault_of_get(resource, exchange);
	else
		fault = "no token endpoint takes this method here";
	if (fault == NULL) {
		issue(resource, exchange, answer);
		return;
	}
	buffer_append_format(&body, "{\"error\":\"invalid_request\",\"error_description\":\"%s\"}", fault);
	sim_answer_error_body(answer, 400, buffer_slice(&body));
	buffer_free(&body);
}
