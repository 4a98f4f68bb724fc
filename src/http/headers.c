#include "http/headers.h"

#include <string.h>

/* The names by their length, in small letters: a name is compared with three at most. */
#define NAMES_OF_ONE_LENGTH 3

static const struct known_name {
	const char *name;
	enum header_id id;
} known_names[][NAMES_OF_ONE_LENGTH] = {
	[2] = { { "te", HEADER_TE } },
	[3] = { { "via", HEADER_VIA } },
	[4] = { { "host", HEADER_HOST }, { "date", HEADER_DATE } },
	[6] = { { "cookie", HEADER_COOKIE }, { "expect", HEADER_EXPECT } },
	[7] = { { "api-key", HEADER_API_KEY }, { "trailer", HEADER_TRAILER }, { "upgrade", HEADER_UPGRADE } },
	[9] = { { "forwarded", HEADER_FORWARDED } },
	[10] = { { "connection", HEADER_CONNECTION }, { "keep-alive", HEADER_KEEP_ALIVE } },
	[11] = { { "retry-after", HEADER_RETRY_AFTER } },
	[12] = { { "content-type", HEADER_CONTENT_TYPE }, { "x-request-id", HEADER_X_REQUEST_ID } },
	[13] = { { "authorization", HEADER_AUTHORIZATION } },
	[14] = { { "content-length", HEADER_CONTENT_LENGTH }, { "retry-after-ms", HEADER_RETRY_AFTER_MS },
	    { "x-should-retry", HEADER_X_SHOULD_RETRY } },
	[15] = { { "accept-encoding", HEADER_ACCEPT_ENCODING } },
	[16] = { { "content-encoding", HEADER_CONTENT_ENCODING }, { "proxy-connection", HEADER_PROXY_CONNECTION } },
	[17] = { { "transfer-encoding", HEADER_TRANSFER_ENCODING } },
	[18] = { { "proxy-authenticate", HEADER_PROXY_AUTHENTICATE } },
	[19] = { { "proxy-authorization", HEADER_PROXY_AUTHORIZATION },
	    { "x-ms-retry-after-ms", HEADER_X_MS_RETRY_AFTER_MS } },
	[20] = { { "x-ms-deployment-name", HEADER_X_MS_DEPLOYMENT_NAME } },
	[24] = { { "x-ratelimit-reset-tokens", HEADER_X_RATELIMIT_RESET_TOKENS } },
	[25] = { { "x-rate-limit-reset-tokens", HEADER_X_RATELIMIT_RESET_TOKENS },
	    { "ocp-apim-subscription-key", HEADER_OCP_APIM_SUBSCRIPTION_KEY } },
	[26] = { { "x-ratelimit-reset-requests", HEADER_X_RATELIMIT_RESET_REQUESTS } },
	[27] = { { "x-rate-limit-reset-requests", HEADER_X_RATELIMIT_RESET_REQUESTS } },
	[28] = { { "x-ratelimit-remaining-tokens", HEADER_X_RATELIMIT_REMAINING_TOKENS } },
	[30] = { { "x-ratelimit-remaining-requests", HEADER_X_RATELIMIT_REMAINING_REQUESTS },
	    { "x-ms-spillover-from-deployment", HEADER_X_MS_SPILLOVER_FROM } },
	[35] = { { "azure-openai-deployment-utilization", HEADER_DEPLOYMENT_UTILIZATION } },
};

static inline char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

enum header_id
header_identify(struct slice name)
{
	if (name.length >= ARRAY_COUNT(known_names))
		return HEADER_OTHER;
	for (size_t i = 0; i < NAMES_OF_ONE_LENGTH; i++) {
		const struct known_name *known = &known_names[name.length][i];
		size_t at = 0;
		if (!known->name)
			break;
		while (at < name.length && lower(name.data[at]) == known->name[at])
			at++;
		if (at == name.length)
			return known->id;
	}
	return HEADER_OTHER;
}

const struct header *
headers_find(const struct headers *headers, enum header_id id)
{
	for (unsigned i = 0; i < headers->count; i++) {
		if (headers->items[i].id == id)
			return &headers->items[i];
	}
	return NULL;
}

const struct header *
headers_find_name(const struct headers *headers, struct slice name)
{
	for (unsigned i = 0; i < headers->count; i++) {
		if (slice_equals_nocase(headers->items[i].name, name))
			return &headers->items[i];
	}
	return NULL;
}

unsigned
headers_count(const struct headers *headers, enum header_id id)
{
	unsigned count = 0;

	for (unsigned i = 0; i < headers->count; i++)
		count += headers->items[i].id == id;
	return count;
}

/* Takes the next element of a comma-separated list from *list. Elements may be empty (RFC 9110, 5.6.1). */
static bool
list_next(struct slice *list, struct slice *element)
{
	if (list->length == 0)
		return false;
	const char *comma = memchr(list->data, ',', list->length);
	size_t length = comma ? (size_t)(comma - list->data) : list->length;
	*element = slice_trim(slice_of(list->data, length));
	*list = slice_skip(*list, comma ? length + 1 : length);
	return true;
}

bool
header_list_has(struct slice list, struct slice token)
{
	struct slice element;

	while (list_next(&list, &element)) {
		if (slice_equals_nocase(element, token))
			return true;
	}
	return false;
}

bool
headers_connection_names(const struct headers *headers, struct slice token)
{
	for (unsigned i = 0; i < headers->count; i++) {
		if (headers->items[i].id == HEADER_CONNECTION && header_list_has(headers->items[i].value, token))
			return true;
	}
	return false;
}

static bool
is_credential(enum header_id id)
{
	return id == HEADER_API_KEY || id == HEADER_AUTHORIZATION || id == HEADER_OCP_APIM_SUBSCRIPTION_KEY;
}

static bool
is_vital(enum header_id id)
{
	return id == HEADER_CONTENT_LENGTH || id == HEADER_TRANSFER_ENCODING || id == HEADER_HOST || is_credential(id);
}

bool
headers_connection_names_vital(const struct headers *headers)
{
	for (unsigned i = 0; i < headers->count; i++) {
		struct slice list = headers->items[i].value;
		struct slice element;

		if (headers->items[i].id != HEADER_CONNECTION)
			continue;
		while (list_next(&list, &element)) {
			if (is_vital(header_identify(element)))
				return true;
		}
	}
	return false;
}

/* Whether Connection names anything that could be a field, beyond the usual two words. */
static bool
connection_names_fields(const struct headers *headers)
{
	for (unsigned i = 0; i < headers->count; i++) {
		struct slice value = headers->items[i].value;

		if (headers->items[i].id == HEADER_CONNECTION && !slice_equals_nocase(value, SLICE("keep-alive")) &&
		    !slice_equals_nocase(value, SLICE("close")))
			return true;
	}
	return false;
}

static bool
starts_with_any(struct slice name, const struct slice *prefixes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (slice_starts_with_nocase(name, prefixes[i]))
			return true;
	}
	return false;
}

/* Fields of one hop by their id (RFC 9110, 7.6.1); what Connection names and other proxy-* come on top. */
static bool
is_hop_by_hop(enum header_id id)
{
	return id == HEADER_CONNECTION || id == HEADER_KEEP_ALIVE || id == HEADER_PROXY_AUTHENTICATE ||
	       id == HEADER_PROXY_AUTHORIZATION || id == HEADER_PROXY_CONNECTION || id == HEADER_TE ||
	       id == HEADER_TRAILER || id == HEADER_TRANSFER_ENCODING || id == HEADER_UPGRADE;
}

static bool
is_custom(struct slice name)
{
	return name.length >= 2 && lower(name.data[0]) == 'x' && name.data[1] == '-';
}

static bool
goes_upstream(const struct header *header)
{
	static const struct slice private_names[] = {
		{ "x-forwarded-", 12 },
		{ "x-real-ip", 9 },
		{ "x-original-", 11 },
		{ "x-envoy-", 8 },
		{ "x-k8se-", 7 },
		{ "x-ms-containerapp-", 18 },
		{ "x-aoai-lb-", 10 },
	};

	if (header->id == HEADER_OTHER) {
		if (is_custom(header->name))
			return !starts_with_any(header->name, private_names, ARRAY_COUNT(private_names));
		return !slice_starts_with_nocase(header->name, SLICE("proxy-"));
	}
	return !is_hop_by_hop(header->id) && !is_credential(header->id) && header->id != HEADER_HOST &&
	       header->id != HEADER_CONTENT_LENGTH && header->id != HEADER_EXPECT &&
	       header->id != HEADER_ACCEPT_ENCODING && header->id != HEADER_COOKIE && header->id != HEADER_VIA &&
	       header->id != HEADER_FORWARDED;
}

static void
write_field(const struct header *header, struct buffer *out)
{
	buffer_reserve(out, header->name.length + header->value.length + 4);

	char *at = out->data + out->length;
	memcpy(at, header->name.data, header->name.length);
	at += header->name.length;
	*at++ = ':';
	*at++ = ' ';
	if (header->value.length > 0)
		memcpy(at, header->value.data, header->value.length);
	at += header->value.length;
	*at++ = '\r';
	*at++ = '\n';
	out->length = (size_t)(at - out->data);
}

void
headers_write_upstream(const struct headers *headers, struct buffer *out)
{
	bool names_fields = connection_names_fields(headers);
	bool goes[HEADERS_MAX];
	unsigned custom = 0;

	for (unsigned i = 0; i < headers->count; i++) {
		const struct header *header = &headers->items[i];

		goes[i] = goes_upstream(header) && !(names_fields && headers_connection_names(headers, header->name));
		custom += goes[i] && is_custom(header->name);
	}
	for (unsigned i = 0; i < headers->count; i++) {
		const struct header *header = &headers->items[i];

		if (custom > HEADERS_CUSTOM_MAX && slice_starts_with_nocase(header->name, SLICE("x-stainless-")))
			continue;
		if (goes[i])
			write_field(header, out);
	}
}

void
headers_write_credentials(const struct headers *headers, struct buffer *out)
{
	for (unsigned i = 0; i < headers->count; i++) {
		if (is_credential(headers->items[i].id))
			write_field(&headers->items[i], out);
	}
}

static bool
goes_downstream(const struct header *header, bool without_hints)
{
	if (header->id == HEADER_OTHER)
		return !slice_starts_with_nocase(header->name, SLICE("x-aoai-lb-")) &&
		       !slice_starts_with_nocase(header->name, SLICE("proxy-"));
	if (is_hop_by_hop(header->id) || header->id == HEADER_CONTENT_LENGTH)
		return false;
	return !without_hints || (header->id != HEADER_RETRY_AFTER && header->id != HEADER_RETRY_AFTER_MS &&
				     header->id != HEADER_X_MS_RETRY_AFTER_MS);
}

void
headers_write_downstream(const struct headers *headers, bool without_hints, struct buffer *out)
{
	bool names_fields = connection_names_fields(headers);

	for (unsigned i = 0; i < headers->count; i++) {
		const struct header *header = &headers->items[i];

		if (goes_downstream(header, without_hints) &&
		    !(names_fields && headers_connection_names(headers, header->name)))
			write_field(header, out);
	}
}
