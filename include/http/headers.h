/* http/headers.h: an ordered list of header fields, and the rules of what a proxy may pass on.
 *
 * The names and values are borrowed from the bytes that were parsed. Pure; safe from any thread.
 *
 *	struct headers *headers = &head.headers;
 *	const struct header *hint = headers_find(headers, HEADER_RETRY_AFTER_MS);
 *	headers_write_upstream(headers, &out);
 */
#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

/* More fields than this in one head are refused (431 to a caller, garbled from a backend). */
#define HEADERS_MAX 128

/* Azure answers 431 to more than this many x-* fields (its "custom headers"). */
#define HEADERS_CUSTOM_MAX 10

/* The fields that this project looks at; found once, while parsing. */
enum header_id {
	HEADER_OTHER,
	HEADER_ACCEPT_ENCODING,
	HEADER_API_KEY,
	HEADER_AUTHORIZATION,
	HEADER_CONNECTION,
	HEADER_CONTENT_ENCODING,
	HEADER_CONTENT_LENGTH,
	HEADER_CONTENT_TYPE,
	HEADER_COOKIE,
	HEADER_DATE,
	HEADER_EXPECT,
	HEADER_FORWARDED,
	HEADER_HOST,
	HEADER_KEEP_ALIVE,
	HEADER_OCP_APIM_SUBSCRIPTION_KEY,
	HEADER_PROXY_AUTHENTICATE,
	HEADER_PROXY_AUTHORIZATION,
	HEADER_PROXY_CONNECTION,
	HEADER_RETRY_AFTER,
	HEADER_RETRY_AFTER_MS,
	HEADER_X_MS_RETRY_AFTER_MS,
	HEADER_X_RATELIMIT_RESET_REQUESTS, /* also spelled x-rate-limit-reset-requests */
	HEADER_X_RATELIMIT_RESET_TOKENS,   /* also spelled x-rate-limit-reset-tokens */
	HEADER_X_RATELIMIT_REMAINING_REQUESTS,
	HEADER_X_RATELIMIT_REMAINING_TOKENS,
	HEADER_DEPLOYMENT_UTILIZATION, /* azure-openai-deployment-utilization */
	HEADER_X_MS_SPILLOVER_FROM,    /* x-ms-spillover-from-deployment */
	HEADER_X_MS_DEPLOYMENT_NAME,
	HEADER_X_REQUEST_ID,
	HEADER_X_SHOULD_RETRY,
	HEADER_TE,
	HEADER_TRAILER,
	HEADER_TRANSFER_ENCODING,
	HEADER_UPGRADE,
	HEADER_VIA,
};

struct header {
	struct slice name;
	struct slice value; /* without white space around it */
	enum header_id id;
};

/* A set of ids is one word. */
#define HEADER_BIT(id) (UINT64_C(1) << (id))

struct headers {
	unsigned count;
	uint64_t ids; /* of the fields, set by whoever adds one: most questions are about one that is not there */
	struct header items[HEADERS_MAX];
};

/* The id of a field name, compared without regard to case. */
enum header_id header_identify(struct slice name);

/* The first field of that id or name, or NULL. Borrowed. */
const struct header *headers_find(const struct headers *headers, enum header_id id);
const struct header *headers_find_name(const struct headers *headers, struct slice name);
/* How many fields have that id. */
unsigned headers_count(const struct headers *headers, enum header_id id);

/* Whether a comma-separated list value (Connection, Transfer-Encoding, TE) holds the token; case is ignored. */
bool header_list_has(struct slice list, struct slice token);
/* Whether any Connection field names the given field or token (RFC 9110, 7.6.1). */
bool headers_connection_names(const struct headers *headers, struct slice token);

/* Whether Connection names a field that a caller may not strip: framing (Content-Length, Transfer-Encoding), Host, or a
 * credential (api-key, Authorization, Ocp-Apim-Subscription-Key). Such a request is refused with 400. */
bool headers_connection_names_vital(const struct headers *headers);

/* Appends, as "name: value\r\n" lines in their order, the fields of a request that may go to a backend. Left out:
 * hop-by-hop fields (RFC 9110, 7.6.1: Connection and all that it names, Keep-Alive, Proxy-*, TE, Trailer,
 * Transfer-Encoding, Upgrade), Host, Content-Length, Expect, Accept-Encoding, every credential (api-key, Authorization,
 * Ocp-Apim-Subscription-Key), cookie, via, forwarded, x-forwarded-*, x-real-ip, x-original-*, x-envoy-*, x-k8se-*,
 * x-ms-containerapp-*, x-aoai-lb-*; and x-stainless-* when more than HEADERS_CUSTOM_MAX x-* fields would be left. */
void headers_write_upstream(const struct headers *headers, struct buffer *out);

/* Appends the caller's own credentials, for a backend of auth type passthrough: api-key, Authorization and
 * Ocp-Apim-Subscription-Key as they came. */
void headers_write_credentials(const struct headers *headers, struct buffer *out);

/* Appends the fields of an answer that may go to the caller. Left out: hop-by-hop fields, Content-Length and
 * Transfer-Encoding (the relay writes its own framing), and where hints is true also retry-after, retry-after-ms and
 * x-ms-retry-after-ms (the caller gets sane ones), and x-aoai-lb-*. */
void headers_write_downstream(const struct headers *headers, bool without_hints, struct buffer *out);

#endif
