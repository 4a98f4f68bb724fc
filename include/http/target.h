/* http/target.h: request targets: which path and query a caller means, and nothing else.
 *
 * Origin-form and absolute-form are taken (of the latter the authority is dropped: it never decides where the daemon
 * connects). A path that tries to escape is refused, not repaired: dot segments (also as %2e), %2f, %5c, %00, a
 * backslash, a control or non-ASCII byte, a broken percent sequence, a fragment. Repeated slashes merge. Other percent
 * sequences stay as they came. Pure; safe from any thread.
 */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"

enum target_status { TARGET_OK, TARGET_MALFORMED };

struct target {
	struct slice path;  /* begins with '/'; in the storage given to target_parse() */
	struct slice query; /* without '?'; borrowed from the raw target; empty when absent */
	bool has_query;     /* there was a '?' */
};

/* Parses raw, writing the normalised path into storage (at least raw.length + 1 bytes). "*" (OPTIONS) gives the path
 * "*". On TARGET_MALFORMED *fault is a static text that says what is wrong. */
enum target_status target_parse(struct slice raw, char *storage, struct target *out, const char **fault) MUST_CHECK;

/* The raw (still encoded) value of the first parameter of that name, compared after percent-decoding. */
bool query_find(struct slice query, struct slice name, struct slice *value) MUST_CHECK;
/* Appends the query's parameters, in their order and as they came, but for those whose percent-decoded name equals one
 * of names (without regard to case). Writes no '?'; returns how many parameters were written. */
size_t query_write_without(struct slice query, const struct slice *names, size_t name_count, struct buffer *out);

/* Appends text as one path segment: everything but RFC 3986's unreserved characters percent-encoded. */
void percent_encode_segment(struct slice text, struct buffer *out);
/* Decodes %XX into out (at least text.length bytes); false on a broken sequence. '+' stays. */
bool percent_decode(struct slice text, char *out, size_t *length) MUST_CHECK;

#endif
