#include "sim/resource.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "http/json.h"

struct sim_resource *
sim_resource_new(const struct sim_resource_config *config, uint64_t seed)
{
	struct sim_resource *resource = memory_take_zeroed(1, sizeof(*resource));

	resource->config = config;
	resource->deployments = memory_take_zeroed(config->deployment_count + 1, sizeof(*resource->deployments));
	for (size_t i = 0; i < config->deployment_count; i++) {
		resource->deployments[i].config = &config->deployments[i];
		sim_limiter_init(&resource->deployments[i].limiter, &config->deployments[i].quota);
	}
	if (config->is_issuer)
		resource->issuer = memory_take_zeroed(1, sizeof(*resource->issuer));
	random_seed(&resource->random, hash_bytes(slice_from(config->name), seed));
	return resource;
}

static void
forget_stored(struct sim_resource *resource)
{
	for (size_t i = 0; i < SIM_STORED_RESPONSES; i++) {
		resource->responses[i].id[0] = '\0';
		buffer_free(&resource->responses[i].json);
	}
	for (size_t i = 0; i < SIM_STORED_FILES; i++) {
		resource->files[i].id[0] = '\0';
		buffer_free(&resource->files[i].content);
	}
}

void
sim_resource_free(struct sim_resource **resource)
{
	if (*resource == NULL)
		return;
	forget_stored(*resource);
	free((*resource)->issuer);
	free((*resource)->deployments);
	free(*resource);
	*resource = NULL;
}

void
sim_resource_reset(struct sim_resource *resource)
{
	forget_stored(resource);
	memset(&resource->counts, 0, sizeof(resource->counts));
	resource->connections_accepted = resource->bytes_in = resource->bytes_out = resource->malformed = 0;
	for (size_t i = 0; i < resource->config->deployment_count; i++) {
		sim_limiter_reset(&resource->deployments[i].limiter);
		memset(&resource->deployments[i].counts, 0, sizeof(resource->deployments[i].counts));
	}
}

struct sim_deployment *
sim_resource_find_deployment(struct sim_resource *resource, struct slice name)
{
	for (size_t i = 0; i < resource->config->deployment_count; i++) {
		if (slice_equals(slice_from(resource->config->deployments[i].name), name))
			return &resource->deployments[i];
	}
	return NULL;
}

void
sim_counts_add(struct sim_counts *counts, unsigned status)
{
	counts->by_status[status < SIM_STATUS_MAX ? status : SIM_STATUS_MAX - 1]++;
}

void
sim_make_id(struct random *random, const char *prefix, size_t count, char *id)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
	size_t length = strlen(prefix);
	uint64_t bits = 0;

	if (length + count >= SIM_ID_SIZE)
		count = SIM_ID_SIZE - 1 - length;
	memcpy(id, prefix, length);
	for (size_t i = 0; i < count; i++, bits >>= 6) {
		if (i % 10 == 0)
			bits = random_next(random);
		id[length + i] = alphabet[bits & 63U];
	}
	id[length + count] = '\0';
}

/* xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx */
static void
make_request_id(struct random *random, char *id)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t bits = 0;

	for (size_t i = 0, digit = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			id[i] = '-';
			continue;
		}
		if (digit++ % 16 == 0)
			bits = random_next(random);
		id[i] = hex[bits & 15U];
		bits >>= 4;
	}
	id[36] = '\0';
}

void
sim_resource_begin_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct header *client_id = NULL;

	make_request_id(&resource->random, exchange->request_id);
	sim_answer_field(answer, "apim-request-id", slice_from(exchange->request_id));
	sim_answer_field(answer, "x-request-id", slice_from(exchange->request_id));
	sim_answer_field(answer, "x-ms-region", slice_from(resource->config->region));
	buffer_append_string(&answer->fields,
	    "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n"
	    "x-content-type-options: nosniff\r\n");
	if (exchange->head != NULL)
		client_id = headers_find_name(&exchange->head->headers, SLICE("x-ms-client-request-id"));
	if (client_id != NULL)
		sim_answer_field(answer, "x-ms-client-request-id", client_id->value);
}

static bool
key_fits(const struct sim_resource *resource, const struct headers *headers, int64_t unix_ms)
{
	struct slice key = slice_from(resource->config->api_key), token;
	const struct header *given = headers_find(headers, HEADER_API_KEY);

	if (key.length == 0 && resource->trusts == NULL)
		return true;
	if (given != NULL)
		return key.length > 0 && slice_equals(given->value, key);
	given = headers_find(headers, HEADER_AUTHORIZATION);
	if (given == NULL || !slice_starts_with_nocase(given->value, SLICE("Bearer ")))
		return false;
	token = slice_trim(slice_skip(given->value, 7));
	return (key.length > 0 && slice_equals(token, key)) ||
	    (resource->trusts != NULL && sim_issuer_knows(resource->trusts, token, unix_ms));
}

static unsigned
count_custom_fields(const struct headers *headers)
{
	unsigned count = 0;

	for (unsigned i = 0; i < headers->count; i++)
		count += slice_starts_with_nocase(headers->items[i].name, SLICE("x-"));
	return count;
}

static bool
is_json(const struct headers *headers)
{
	const struct header *type = headers_find(headers, HEADER_CONTENT_TYPE);

	return type != NULL && slice_starts_with_nocase(type->value, SLICE("application/json"));
}

/* What can be said from the head alone. */
static bool
head_is_fit(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct headers *headers = &exchange->head->headers;

	if (!key_fits(resource, headers, exchange->unix_ms)) {
		sim_answer_error(answer, 401, "401",
		    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid "
		    "key for "
		    "an active subscription and use a correct regional API endpoint for your resource.");
	} else if (count_custom_fields(headers) > HEADERS_CUSTOM_MAX) {
		sim_answer_error(answer, 431, "431",
		    "Request Header Fields Too Large: at most %d custom headers are allowed.", HEADERS_CUSTOM_MAX);
	} else if (exchange->route.endpoint == SIM_ENDPOINT_UNKNOWN) {
		sim_answer_error(answer, 404, "404", "Resource not found");
	} else if (sim_endpoint_infers(exchange->route.endpoint) &&
	    (!is_json(headers) || headers_find(headers, HEADER_CONTENT_ENCODING) != NULL)) {
		sim_answer_model_error(answer, 415, "invalid_request_error", NULL, "unsupported_media_type",
		    "Unsupported Media Type: expected an uncoded body of type application/json.");
	} else {
		return true;
	}
	return false;
}

static bool
no_such_deployment(struct sim_answer *answer)
{
	sim_answer_error(answer, 404, "DeploymentNotFound",
	    "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
	    "minutes, "
	    "please wait a moment and try again.");
	return false;
}

/* The deployment of a v1 request, which names it as its model. */
static bool
find_by_model(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	if (exchange->call.model.length == 0) {
		sim_answer_model_error(answer, 400, "invalid_request_error", NULL, NULL,
		    "you must provide a model parameter");
		return false;
	}
	for (size_t i = 0; i < resource->config->deployment_count; i++) {
		if (!json_string_equals(exchange->call.model, slice_from(resource->config->deployments[i].name)))
			continue;
		exchange->deployment = &resource->deployments[i];
		return true;
	}
	return no_such_deployment(answer);
}

static bool
find_deployment(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct sim_route *route = &exchange->route;

	if (route->deployment_path) {
		exchange->deployment = sim_resource_find_deployment(resource, route->deployment);
		if (exchange->deployment == NULL)
			return no_such_deployment(answer);
	}
	if (!sim_call_read(&exchange->call, route->endpoint, exchange->body, answer))
		return false;
	return route->deployment_path || find_by_model(resource, exchange, answer);
}

static void
put_limits(struct sim_answer *answer, const struct sim_limiter *limiter, const struct sim_verdict *verdict)
{
	if (limiter->quota.ptu != 0) {
		buffer_append_format(&answer->fields, "azure-openai-deployment-utilization: %.1f%%\r\n",
		    verdict->utilisation * 100);
		return;
	}
	if (verdict->limit_requests != 0) {
		sim_answer_field_u64(answer, "x-ratelimit-limit-requests", verdict->limit_requests);
		sim_answer_field_u64(answer, "x-ratelimit-remaining-requests", verdict->remaining_requests);
		sim_answer_field_u64(answer, "x-ratelimit-reset-requests", (verdict->reset_requests_ms + 999) / 1000);
	}
	if (verdict->limit_tokens != 0) {
		sim_answer_field_u64(answer, "x-ratelimit-limit-tokens", verdict->limit_tokens);
		sim_answer_field_u64(answer, "x-ratelimit-remaining-tokens", verdict->remaining_tokens);
		sim_answer_field_u64(answer, "x-ratelimit-reset-tokens", (verdict->reset_tokens_ms + 999) / 1000);
	}
}

static void
answer_throttled(const struct sim_resource *resource, const struct sim_exchange *exchange,
    const struct sim_verdict *verdict, struct sim_answer *answer)
{
	const struct sim_deployment_config *deployment = exchange->deployment->config;
	const char *what = verdict->exceeded == SIM_LIMIT_REQUESTS ? "call" : "token";
	uint64_t seconds = (verdict->wait_ms + 999) / 1000;

	sim_answer_field_u64(answer, "retry-after-ms", verdict->wait_ms);
	sim_answer_field_u64(answer, "retry-after", seconds);
	if (verdict->exceeded == SIM_LIMIT_UTILISATION) {
		sim_answer_error(answer, 429, "429",
		    "Requests to the %s Operation have exceeded the provisioned throughput of deployment %s "
		    "(utilization above "
		    "100%%). Please retry after %" PRIu64 " seconds.",
		    sim_endpoint_operation(exchange->route.endpoint), deployment->name, seconds);
		return;
	}
	sim_answer_field(answer, "policy-id",
	    verdict->exceeded == SIM_LIMIT_REQUESTS ? SLICE("DeploymentRatelimit-Call")
						    : SLICE("DeploymentRatelimit-Token"));
	if (exchange->route.v1) {
		sim_answer_error(answer, 429, "RateLimitReached",
		    "Your requests to %s for %s in %s have exceeded the %s rate limit for your current OpenAI S0 "
		    "pricing tier. "
		    "Please retry after %" PRIu64 " seconds.",
		    deployment->name, deployment->model, resource->config->region, what, seconds);
		return;
	}
	sim_answer_error(answer, 429, "429",
	    "Requests to the %s Operation under Azure OpenAI API version %.*s have exceeded %s rate limit of your "
	    "current "
	    "OpenAI S0 pricing tier. Please retry after %" PRIu64
	    " seconds. Please go here: https://aka.ms/oai/quotaincrease "
	    "if you would like to further increase the default rate limit.",
	    sim_endpoint_operation(exchange->route.endpoint),
	    exchange->route.api_version.length < 64 ? (int)exchange->route.api_version.length : 64,
	    exchange->route.api_version.data, what, seconds);
}

static bool
admit(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	struct sim_limiter *limiter = &exchange->deployment->limiter;
	struct sim_verdict verdict;

	sim_answer_field(answer, "x-ms-deployment-name", slice_from(exchange->deployment->config->name));
	sim_limiter_admit(limiter, exchange->now_ms, exchange->call.prompt_tokens, exchange->call.output_estimate,
	    &verdict);
	put_limits(answer, limiter, &verdict);
	exchange->admitted = verdict.exceeded == SIM_LIMIT_NONE;
	if (!exchange->admitted)
		answer_throttled(resource, exchange, &verdict, answer);
	return exchange->admitted;
}

static void
answer_content_filter(struct sim_answer *answer)
{
	sim_answer_error_body(answer, 400,
	    SLICE("{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's "
		  "content "
		  "management policy. Please modify your prompt and retry. To learn more about our content filtering "
		  "policies "
		  "please read our documentation: "
		  "https://go.microsoft.com/fwlink/?linkid=2198766\",\"type\":null,\"param\":"
		  "\"prompt\",\"code\":\"content_filter\",\"status\":400,\"innererror\":{\"code\":"
		  "\"ResponsibleAIPolicyViolation\","
		  "\"content_filter_result\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},\"jailbreak\":{"
		  "\"filtered\":true,"
		  "\"detected\":true},\"self_harm\":{\"filtered\":false,\"severity\":\"safe\"},\"sexual\":{"
		  "\"filtered\":false,"
		  "\"severity\":\"safe\"},\"violence\":{\"filtered\":false,\"severity\":\"safe\"}}}}}"));
}

/* What the model refuses before it begins. */
static bool
prompt_is_fit(const struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct sim_call *call = &exchange->call;
	uint64_t context = exchange->deployment->config->context_tokens;
	uint64_t output = call->max_tokens != UINT64_MAX ? call->max_tokens : 0;

	if (call->trigger == SIM_TRIGGER_CONTENT_FILTER) {
		answer_content_filter(answer);
		return false;
	}
	if (call->prompt_tokens > context || output > context - call->prompt_tokens) {
		sim_answer_model_error(answer, 400, "invalid_request_error", "messages", "context_length_exceeded",
		    "This model's maximum context length is %" PRIu64 " tokens. However, you requested %" PRIu64
		    " tokens (%" PRIu64 " in the messages, %" PRIu64
		    " in the completion). Please reduce the length of the messages or completion.",
		    context, call->prompt_tokens + output, call->prompt_tokens, output);
		return false;
	}
	return true;
}

static void
answer_inference(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	if (!find_deployment(resource, exchange, answer) || !admit(resource, exchange, answer) ||
	    !prompt_is_fit(exchange, answer))
		return;
	if (exchange->route.endpoint == SIM_ENDPOINT_EMBEDDINGS)
		sim_embeddings_answer(resource, exchange, answer);
	else if (exchange->route.endpoint == SIM_ENDPOINT_RESPONSES)
		sim_responses_answer(resource, exchange, answer);
	else
		sim_chat_answer(resource, exchange, answer);
}

void
sim_resource_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	if (resource->issuer != NULL) {
		sim_identity_answer(resource, exchange, answer);
		return;
	}
	sim_resource_begin_answer(resource, exchange, answer);
	if (!head_is_fit(resource, exchange, answer))
		return;
	switch (exchange->route.endpoint) {
	case SIM_ENDPOINT_CHAT:
	case SIM_ENDPOINT_COMPLETIONS:
	case SIM_ENDPOINT_EMBEDDINGS:
	case SIM_ENDPOINT_RESPONSES:
		answer_inference(resource, exchange, answer);
		break;
	case SIM_ENDPOINT_RESPONSE_GET:
	case SIM_ENDPOINT_RESPONSE_DELETE:
		sim_stored_response_answer(resource, exchange, answer);
		break;
	case SIM_ENDPOINT_MODELS:
	case SIM_ENDPOINT_MODEL:
		sim_models_answer(resource, exchange, answer);
		break;
	case SIM_ENDPOINT_FILES_CREATE:
	case SIM_ENDPOINT_FILES_LIST:
	case SIM_ENDPOINT_FILE_GET:
	case SIM_ENDPOINT_FILE_CONTENT:
	case SIM_ENDPOINT_FILE_DELETE:
		sim_files_answer(resource, exchange, answer);
		break;
	case SIM_ENDPOINT_UNKNOWN:
		break;
	}
}

void
sim_resource_finish(struct sim_deployment *deployment, uint64_t now_ms, uint64_t estimate, uint64_t output_tokens)
{
	sim_limiter_correct(&deployment->limiter, now_ms, estimate, output_tokens);
}
