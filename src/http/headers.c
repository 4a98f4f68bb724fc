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

/* Whether name, of the given length, is known but for the case of its letters. Names are made of letters and hyphens,
 * which the bit of small letters does not change; a name holds no CR, which it would turn into a hyphen. */
static inline bool
same_name(const char *name, const char *known, size_t length)
{
	static const uint64_t small = UINT64_C(0x2020202020202020);
	uint64_t a, b;

	if (length < sizeof(a)) {
		size_t at = 0;
		while (at < length && (name[at] | 0x20) == known[at])
			at++;
		return at == length;
	}
	for (size_t at = 0;; at += sizeof(a)) {
		/* The last eight overlap those before. */
		bool last = length - at <= sizeof(a);
		if (last)
			at = length - sizeof(a);
		memcpy(&a, name + at, sizeof(a));
		memcpy(&b, known + at, sizeof(b));
		if ((a | small) != b || last)
			return (a | small) == b;
	}
}

enum header_id
header_identify(struct slice name)
{
	if (name.length >= ARRAY_COUNT(known_names))
		return HEADER_OTHER;
	const struct known_name *known = known_names[name.length];
	for (size_t i = 0; i < NAMES_OF_ONE_LENGTH && known[i].name; i++) {
		if (same_name(name.data, known[i].name, name.length))
			return known[i].id;
	}
	return HEADER_OTHER;
}

static inline bool
id_in(enum header_id id, uint64_t set)
{
	return set >> id & 1;
}

const struct header *
headers_find(const struct headers *headers, enum header_id id)
{
	if (!id_in(id, headers->ids))
		return NULL;
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

	if (!id_in(id, headers->ids))
		return 0;
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

#define IDS_CREDENTIALS \
	(HEADER_BIT(HEADER_API_KEY) | HEADER_BIT(HEADER_AUTHORIZATION) | HEADER_BIT(HEADER_OCP_APIM_SUBSCRIPTION_KEY))
#define IDS_VITAL \
	(IDS_CREDENTIALS | HEADER_BIT(HEADER_CONTENT_LENGTH) | HEADER_BIT(HEADER_TRANSFER_ENCODING) | \
	    HEADER_BIT(HEADER_HOST))
/* RFC 9110, 7.6.1; what Connection names and other proxy-* come on top. */
#define IDS_HOP_BY_HOP \
	(HEADER_BIT(HEADER_CONNECTION) | HEADER_BIT(HEADER_KEEP_ALIVE) | HEADER_BIT(HEADER_PROXY_AUTHENTICATE) | \
	    HEADER_BIT(HEADER_PROXY_AUTHORIZATION) | HEADER_BIT(HEADER_PROXY_CONNECTION) | HEADER_BIT(HEADER_TE) | \
	    HEADER_BIT(HEADER_TRAILER) | HEADER_BIT(HEADER_TRANSFER_ENCODING) | HEADER_BIT(HEADER_UPGRADE))
#define IDS_NOT_UPSTREAM \
	(IDS_HOP_BY_HOP | IDS_VITAL | HEADER_BIT(HEADER_EXPECT) | HEADER_BIT(HEADER_ACCEPT_ENCODING) | \
	    HEADER_BIT(HEADER_COOKIE) | HEADER_BIT(HEADER_VIA) | HEADER_BIT(HEADER_FORWARDED))
#define IDS_NOT_DOWNSTREAM (IDS_HOP_BY_HOP | HEADER_BIT(HEADER_CONTENT_LENGTH))
#define IDS_HINTS \
	(HEADER_BIT(HEADER_RETRY_AFTER) | HEADER_BIT(HEADER_RETRY_AFTER_MS) | HEADER_BIT(HEADER_X_MS_RETRY_AFTER_MS))

bool
headers_connection_names_vital(const struct headers *headers)
{
	if (!id_in(HEADER_CONNECTION, headers->ids))
		return false;
	for (unsigned i = 0; i < headers->count; i++) {
		struct slice list = headers->items[i].value;
		struct slice element;

		if (headers->items[i].id != HEADER_CONNECTION)
			continue;
		while (list_next(&list, &element)) {
			if (id_in(header_identify(element), IDS_VITAL))
				return true;
		}
	}
	return false;
}

/* Whether Connection names anything that could be a field, beyond the usual two words. */
static bool
connection_names_fields(const struct headers *headers)
{
	if (!id_in(HEADER_CONNECTION, headers->ids))
		return false;
	for (unsigned i = 0; i < headers->count; i++) {
		struct slice value = headers->items[i].value;

		if (headers->items[i].id == HEADER_CONNECTION && !slice_equals_nocase(value, SLICE("keep-alive")) &&
		    !slice_equals_nocase(value, SLICE("close")))
			return true;
	}
	return false;
}

static inline bool
is_custom(struct slice name)
{
	return name.length >= 2 && (name.data[0] | 0x20) == 'x' && name.data[1] == '-';
}

static inline bool
is_proxy(struct slice name)
{
	return (name.data[0] | 0x20) == 'p' && slice_starts_with_nocase(name, SLICE("proxy-"));
}

/* What this proxy alone may say. */
static inline bool
is_own(struct slice name)
{
	return name.length >= 3 && (name.data[2] | 0x20) == 'a' && slice_starts_with_nocase(name, SLICE("x-aoai-lb-"));
}

/* What other proxies on the way said, and what only this one may say. Told apart by the letter behind "x-". */
static bool
is_private(struct slice name)
{
	if (name.length < 3)
		return false;
	switch (name.data[2] | 0x20) {
	case 'a':
		return is_own(name);
	case 'e':
		return slice_starts_with_nocase(name, SLICE("x-envoy-"));
	case 'f':
		return slice_starts_with_nocase(name, SLICE("x-forwarded-"));
	case 'k':
		return slice_starts_with_nocase(name, SLICE("x-k8se-"));
	case 'm':
		return slice_starts_with_nocase(name, SLICE("x-ms-containerapp-"));
	case 'o':
		return slice_starts_with_nocase(name, SLICE("x-original-"));
	case 'r':
		return slice_equals_nocase(name, SLICE("x-real-ip"));
	default:
		return false;
	}
}

static bool
goes_upstream(const struct header *header)
{
	if (header->id != HEADER_OTHER)
		return !id_in(header->id, IDS_NOT_UPSTREAM);
	return is_custom(header->name) ? !is_private(header->name) : !is_proxy(header->name);
}

/* Lines that stand one behind the other as they are to be written, copied as one. From the first name to the last value. */
struct line_run {
	const char *start;
	size_t length; /* 0: there is none */
};

static void
write_run(struct line_run *run, struct buffer *out)
{
	char *at;

	if (run->length == 0)
		return;
	buffer_reserve(out, run->length + 2);
	at = out->data + out->length;
	memcpy(at, run->start, run->length);
	at[run->length] = '\r';
	at[run->length + 1] = '\n';
	out->length += run->length + 2;
	run->length = 0;
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

/* Writes a field, at once or with its neighbours once the run ends. */
static void
add_field(const struct header *header, struct line_run *run, struct buffer *out)
{
	const char *name = header->name.data, *value = header->value.data;
	size_t length = header->name.length + 2 + header->value.length;

	if (run->length > 0 && name != run->start + run->length + 2) /* the CR LF between them */
		write_run(run, out);
	if (value != name + header->name.length + 2 || value[-1] != ' ') {
		write_run(run, out);
		write_field(header, out);
		return;
	}
	if (run->length == 0)
		run->start = name;
	run->length = (size_t)(name + length - run->start);
}

void
headers_write_upstream(const struct headers *headers, struct buffer *out)
{
	bool names_fields = connection_names_fields(headers);
	bool goes[HEADERS_MAX];
	struct line_run run = { 0 };
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
			add_field(header, &run, out);
	}
	write_run(&run, out);
}

void
headers_write_credentials(const struct headers *headers, struct buffer *out)
{
	for (unsigned i = 0; i < headers->count; i++) {
		if (id_in(headers->items[i].id, IDS_CREDENTIALS))
			write_field(&headers->items[i], out);
	}
}

void
headers_write_downstream(const struct headers *headers, bool without_hints, struct buffer *out)
{
	uint64_t left_out = IDS_NOT_DOWNSTREAM | (without_hints ? IDS_HINTS : 0);
	bool names_fields = connection_names_fields(headers);
	struct line_run run = { 0 };

	for (unsigned i = 0; i < headers->count; i++) {
		const struct header *header = &headers->items[i];

		if (id_in(header->id, left_out) || (names_fields && headers_connection_names(headers, header->name)))
			continue;
		if (header->id == HEADER_OTHER && (is_own(header->name) || is_proxy(header->name)))
			continue;
		add_field(header, &run, out);
	}
	write_run(&run, out);
}
