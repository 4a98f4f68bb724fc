/* http/json.h: finds members of a JSON object without building a tree.
 *
 * The forward path reads a few members (model, stream, usage, error) of bodies that may be megabytes, and changes one of
 * them without touching any other byte: json_scan() walks the text once and reports where the values asked for are. It
 * checks structure strictly enough that no lenient parser could see other top-level members than it does: brackets must
 * match (JSON_DEPTH_MAX deep at most), strings must close and hold no control bytes, members must be key, colon, value.
 * Pure; safe from any thread; no allocation.
 *
 *	struct json_want wants[] = { { .key = SLICE("model") }, { .key = SLICE("stream") } };
 *	if (json_scan(body, wants, ARRAY_COUNT(wants)) == JSON_OK && wants[0].found == 1) ...
 */
#ifndef HTTP_JSON_H
#define HTTP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"

#define JSON_DEPTH_MAX 512

enum json_status { JSON_OK, JSON_MALFORMED, JSON_NOT_OBJECT };
enum json_kind { JSON_ABSENT, JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_OBJECT, JSON_ARRAY };

struct json_want {
	struct slice key;   /* in: the member's name, unescaped */
	struct slice value; /* out: the first such member's raw text, quotes and brackets included; borrowed */
	enum json_kind kind;
	unsigned found; /* out: how many members of that name there are (keys are compared unescaped) */
	/* in: what is wanted of the first such member, if it is an object or an array of one object; else these are absent.
	 * NULL when nothing is. */
	struct json_want *inside;
	size_t inside_count;
};

/* Walks the top level of the object in text. Sets every want. JSON_NOT_OBJECT: text is no object, or empty. On anything
 * but JSON_OK the wants are not to be read. Trailing white space is allowed, other trailing bytes are malformed. */
enum json_status json_scan(struct slice text, struct json_want *wants, size_t count) MUST_CHECK;

/* Like json_scan() for text that may be cut off at its end: stops there and reports what was found so far. For looking
 * into the beginning of an event or answer. An array or object that is cut is reported as far as it goes, a string, number
 * or word that is cut is not. Returns false if what there is does not begin an object. */
bool json_scan_prefix(struct slice text, struct json_want *wants, size_t count) MUST_CHECK;

/* Unescapes a raw JSON string (with its quotes) into out (at least raw.length bytes). False when an escape is broken
 * (lone surrogates included). */
bool json_string_decode(struct slice raw, char *out, size_t *length) MUST_CHECK;
/* Whether a raw JSON string (with its quotes) is text once unescaped. */
bool json_string_equals(struct slice raw, struct slice text);
/* A raw JSON number that is a non-negative integer. */
bool json_to_u64(struct slice raw, uint64_t *value) MUST_CHECK;

/* Calls once for each element of a raw array, in order, until it returns false. Returns false if raw is no array or is
 * malformed. */
typedef bool json_element_fn(struct slice element, enum json_kind kind, void *context);
bool json_each(struct slice array, json_element_fn *each, void *context) MUST_CHECK;

#endif
