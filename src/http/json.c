#include "http/json.h"

#include <string.h>

#include "chars.h"
#include "scan.h"

/* The walk: each step takes where it stands and where the text ends, and returns where it stands then, or NULL when the
 * text is not JSON or ends too early. Which of the two makes no difference to anybody. */

static inline const char *
end_of(struct slice text)
{
	return text.length > 0 ? text.data + text.length : text.data;
}

static inline const char *
skip_space(const char *at, const char *end)
{
	while (at < end && (unsigned char)*at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
		at++;
	return at;
}

/* Skips white space and the given byte. */
static inline const char *
skip_byte(const char *at, const char *end, char byte)
{
	at = skip_space(at, end);
	return at < end && *at == byte ? at + 1 : NULL;
}

static const char *
skip_escape(const char *at, const char *end)
{
	if (end - at < 2)
		return NULL;
	switch (at[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return at + 2;
	case 'u':
		if (end - at < 6)
			return NULL;
		for (int i = 2; i < 6; i++) {
			if (hex_value(at[i]) < 0)
				return NULL;
		}
		return at + 6;
	default:
		return NULL;
	}
}

/* Skips the rest of a string with escapes in it, or a long one. */
static const char *
skip_string_rest(const char *at, const char *end)
{
	for (;;) {
		at = scan_json_string(at, end);
		if (at == end)
			return NULL;
		if (LIKELY(*at == '"'))
			return at + 1;
		if (*at != '\\')
			return NULL;
		/* Escapes come in rows: to look is cheaper than to search. */
		do
			at = skip_escape(at, end);
		while (at && at < end && *at == '\\');
		if (!at)
			return NULL;
	}
}

/* Skips a string, its quotes included. Most are short. */
static inline const char *
skip_string(const char *at, const char *end)
{
	unsigned first;

	at++;
	if (LIKELY(end - at >= SCAN_BLOCK_BYTES) && scan_hit(scan_mark_json(scan_load(at)), &first) &&
	    LIKELY(at[first] == '"'))
		return at + first + 1;
	return skip_string_rest(at, end);
}

static inline const char *
skip_digits(const char *at, const char *end)
{
	const char *start = at;

	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at > start ? at : NULL;
}

static const char *
skip_number(const char *at, const char *end)
{
	if (*at == '-')
		at++;
	if (at < end && *at == '0')
		at++;
	else
		at = skip_digits(at, end);
	if (at && at < end && *at == '.')
		at = skip_digits(at + 1, end);
	if (at && at < end && (*at == 'e' || *at == 'E')) {
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		at = skip_digits(at, end);
	}
	/* Where the text ends here, more digits might have followed. */
	return at == end ? NULL : at;
}

static inline const char *
skip_word(const char *at, const char *end, const char *word, size_t length)
{
	return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

/* Skips a value that is neither object nor array. */
static inline const char *
skip_scalar(const char *at, const char *end)
{
	switch (*at) {
	case '"':
		return skip_string(at, end);
	case 't':
		return skip_word(at, end, "true", 4);
	case 'f':
		return skip_word(at, end, "false", 5);
	case 'n':
		return skip_word(at, end, "null", 4);
	default:
		return *at == '-' || (*at >= '0' && *at <= '9') ? skip_number(at, end) : NULL;
	}
}

/* What a value is, by its first byte. */
static enum json_kind
kind_of(char first)
{
	switch (first) {
	case '"':
		return JSON_STRING;
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case 't':
		return JSON_TRUE;
	case 'f':
		return JSON_FALSE;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER;
	}
}

/* Skips a member's key and the colon behind it. */
static inline const char *
skip_key(const char *at, const char *end)
{
	at = skip_space(at, end);
	if (at == end || *at != '"')
		return NULL;
	at = skip_string(at, end);
	return at ? skip_byte(at, end, ':') : NULL;
}

/* The objects and arrays that are open where the walk stands, one bit each: set for an object. */
struct nesting {
	unsigned depth;
	uint64_t objects[JSON_DEPTH_MAX / 64];
};

static inline bool
nesting_enter(struct nesting *nesting, bool object)
{
	if (nesting->depth == JSON_DEPTH_MAX)
		return false;
	uint64_t bit = UINT64_C(1) << nesting->depth % 64;
	uint64_t *word = &nesting->objects[nesting->depth++ / 64];
	*word = object ? *word | bit : *word & ~bit;
	return true;
}

static inline bool
nesting_in_object(const struct nesting *nesting)
{
	unsigned top = nesting->depth - 1;

	return nesting->objects[top / 64] >> top % 64 & 1;
}

/* Behind a value within an object or array: closes what ends here. Stops before the next value, or behind the outermost
 * bracket once depth has come down to base. */
static inline const char *
skip_separator(const char *at, const char *end, struct nesting *nesting, unsigned base)
{
	while (nesting->depth > base) {
		bool in_object = nesting_in_object(nesting);

		at = skip_space(at, end);
		if (at == end)
			return NULL;
		char byte = *at++;
		if (byte == ',')
			return in_object ? skip_key(at, end) : at;
		if (byte != (in_object ? '}' : ']'))
			return NULL;
		nesting->depth--;
	}
	return at;
}

/* Enters an object or array. *empty is set when it closes at once; else the walk stops before its first value. */
static inline const char *
enter(const char *at, const char *end, struct nesting *nesting, bool *empty)
{
	bool object = *at == '{';

	at = skip_space(at + 1, end);
	if (at == end || !nesting_enter(nesting, object))
		return NULL;
	*empty = *at == (object ? '}' : ']');
	return object && !*empty ? skip_key(at, end) : at;
}

/* Skips an object or array, however deep. */
static const char *
skip_nested(const char *at, const char *end, struct nesting *nesting)
{
	unsigned base = nesting->depth;

	do {
		bool empty = true;

		at = skip_space(at, end);
		if (at == end)
			return NULL;
		at = *at == '{' || *at == '[' ? enter(at, end, nesting, &empty) : skip_scalar(at, end);
		if (at && empty)
			at = skip_separator(at, end, nesting, base);
	} while (at && nesting->depth > base);
	return at;
}

static inline const char *
skip_value(const char *at, const char *end, struct nesting *nesting)
{
	return *at == '{' || *at == '[' ? skip_nested(at, end, nesting) : skip_scalar(at, end);
}

/* A string's inside, as far as it is not read yet. */
struct cursor {
	const char *at;
	const char *end;
};

static void
append_utf8(unsigned long point, char out[4], size_t *length)
{
	if (point < 0x80) {
		out[0] = (char)point;
		*length = 1;
	} else if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		*length = 2;
	} else if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		*length = 3;
	} else {
		out[0] = (char)(0xf0 | point >> 18);
		out[1] = (char)(0x80 | (point >> 12 & 0x3f));
		out[2] = (char)(0x80 | (point >> 6 & 0x3f));
		out[3] = (char)(0x80 | (point & 0x3f));
		*length = 4;
	}
}

/* Takes "\uXXXX"; returns false if it is not there whole. */
static bool
take_unit(struct cursor *cursor, unsigned long *unit)
{
	if (cursor->end - cursor->at < 6 || cursor->at[0] != '\\' || cursor->at[1] != 'u')
		return false;
	*unit = 0;
	for (int i = 2; i < 6; i++) {
		int digit = hex_value(cursor->at[i]);
		if (digit < 0)
			return false;
		*unit = *unit << 4 | (unsigned long)digit;
	}
	cursor->at += 6;
	return true;
}

/* Takes a \u escape, or the pair of them that stands for a character beyond the basic plane. */
static bool
take_point(struct cursor *cursor, unsigned long *point)
{
	unsigned long low;

	if (!take_unit(cursor, point))
		return false;
	if (*point < 0xd800 || *point > 0xdfff)
		return true;
	if (*point > 0xdbff || !take_unit(cursor, &low) || low < 0xdc00 || low > 0xdfff)
		return false;
	*point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

/* Takes one character of a string's inside, unescaped: the 1 to 4 bytes of it. */
static bool
take_character(struct cursor *cursor, char out[4], size_t *length)
{
	static const char escaped[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	unsigned long point;

	*length = 1;
	out[0] = *cursor->at;
	if (*cursor->at != '\\') {
		bool plain = *cursor->at != '"' && (unsigned char)*cursor->at >= 0x20;
		cursor->at++;
		return plain;
	}
	if (cursor->end - cursor->at < 2)
		return false;
	if (cursor->at[1] == 'u') {
		if (!take_point(cursor, &point))
			return false;
		append_utf8(point, out, length);
		return true;
	}
	const char *found = memchr(escaped, cursor->at[1], sizeof(escaped) - 1);
	if (!found)
		return false;
	out[0] = meant[found - escaped];
	cursor->at += 2;
	return true;
}

/* The inside of a raw string; false if it has no quotes around it. */
static bool
inside_of(struct slice raw, struct cursor *inside)
{
	if (raw.length < 2 || raw.data[0] != '"' || raw.data[raw.length - 1] != '"')
		return false;
	*inside = (struct cursor){ raw.data + 1, raw.data + raw.length - 1 };
	return true;
}

bool
json_string_decode(struct slice raw, char *out, size_t *length)
{
	struct cursor inside;
	char character[4];
	size_t bytes, total = 0;

	if (!inside_of(raw, &inside))
		return false;
	while (inside.at < inside.end) {
		if (!take_character(&inside, character, &bytes))
			return false;
		memcpy(out + total, character, bytes);
		total += bytes;
	}
	*length = total;
	return true;
}

bool
json_string_equals(struct slice raw, struct slice text)
{
	struct cursor inside;
	char character[4];
	size_t bytes;

	if (!inside_of(raw, &inside))
		return false;
	while (inside.at < inside.end) {
		if (!take_character(&inside, character, &bytes) || !slice_starts_with(text, slice_of(character, bytes)))
			return false;
		text = slice_skip(text, bytes);
	}
	return text.length == 0;
}

bool
json_to_u64(struct slice raw, uint64_t *value)
{
	return slice_to_u64(raw, value);
}

/* Whether two parsers might read a key differently: it holds lone surrogates, a NUL, at which some would end it, or an
 * ASCII character in a longer form than UTF-8 allows, which a careless one would decode. */
static bool
key_is_ambiguous(struct slice raw)
{
	struct cursor inside;
	char character[4];
	size_t bytes;

	for (size_t i = 0; i + 1 < raw.length; i++) {
		unsigned char byte = (unsigned char)raw.data[i], next = (unsigned char)raw.data[i + 1];

		if (byte == 0xc0 || byte == 0xc1 || (byte == 0xe0 && next < 0xa0) || (byte == 0xf0 && next < 0x90))
			return true;
	}
	if (!inside_of(raw, &inside))
		return true;
	while (inside.at < inside.end) {
		if (!take_character(&inside, character, &bytes) || (bytes == 1 && character[0] == '\0'))
			return true;
	}
	return false;
}

/* Whether a key means what its bytes are: no escapes, ASCII alone. */
static inline bool
key_is_plain(struct slice key)
{
	for (size_t i = 0; i < key.length; i++) {
		if (!char_is(key.data[i], CHAR_TOKEN))
			return false;
	}
	return true;
}

/* Who wants the member of that key (without its quotes), or NULL. */
static inline struct json_want *
find_want(struct slice key, bool plain, struct json_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (plain ? key.length == wants[i].key.length && memcmp(key.data, wants[i].key.data, key.length) == 0
			  : json_string_equals(slice_of(key.data - 1, key.length + 2), wants[i].key))
			return &wants[i];
	}
	return NULL;
}

/* Takes a member's key and colon; *want is set to who wants it. */
static inline const char *
take_key(const char *at, const char *end, struct json_want *wants, size_t count, struct json_want **want)
{
	at = skip_space(at, end);
	if (at == end || *at != '"')
		return NULL;
	const char *key = at + 1;
	at = skip_string(at, end);
	if (!at)
		return NULL;
	struct slice name = slice_of(key, (size_t)(at - 1 - key));
	bool plain = key_is_plain(name);
	if (UNLIKELY(!plain) && key_is_ambiguous(slice_of(key - 1, name.length + 2)))
		return NULL;
	*want = find_want(name, plain, wants, count);
	return skip_byte(at, end, ':');
}

static void
clear_wants(struct json_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		wants[i].value = SLICE_EMPTY;
		wants[i].kind = JSON_ABSENT;
		wants[i].found = 0;
		if (wants[i].inside)
			clear_wants(wants[i].inside, wants[i].inside_count);
	}
}

static const char *take_object(const char *at, const char *end, struct nesting *nesting, struct json_want *wants,
    size_t count);

/* Takes an array, with what is wanted of its object if it has one alone. */
static const char *
take_array(const char *at, const char *end, struct nesting *nesting, const struct json_want *want)
{
	const char *inner = skip_space(at + 1, end);

	if (inner == end || *inner != '{')
		return skip_nested(at, end, nesting);
	if (!nesting_enter(nesting, false))
		return NULL;
	inner = take_object(inner, end, nesting, want->inside, want->inside_count);
	if (inner)
		inner = skip_space(inner, end);
	if (!inner || inner == end)
		return NULL;
	nesting->depth--;
	if (*inner == ']')
		return inner + 1;
	/* There are more elements, or it is broken. */
	clear_wants(want->inside, want->inside_count);
	return skip_nested(at, end, nesting);
}

/* Takes a member's value for want, which may be NULL. An array or object that does not end is reported as far as it
 * goes: json_scan() fails then, but json_scan_prefix() wants to know. */
static inline const char *
take_value(const char *at, const char *end, struct nesting *nesting, struct json_want *want)
{
	at = skip_space(at, end);
	if (at == end)
		return NULL;
	if (!want)
		return skip_value(at, end, nesting);

	const char *value = at;
	enum json_kind kind = kind_of(*value);
	if (!want->inside || want->found > 0 || (kind != JSON_OBJECT && kind != JSON_ARRAY))
		at = skip_value(at, end, nesting);
	else if (kind == JSON_OBJECT)
		at = take_object(at, end, nesting, want->inside, want->inside_count);
	else
		at = take_array(at, end, nesting, want);
	if (!at && kind != JSON_OBJECT && kind != JSON_ARRAY)
		return NULL;
	if (want->found++ == 0) {
		want->value = slice_of(value, (size_t)((at ? at : end) - value));
		want->kind = kind;
	}
	return at;
}

/* Takes an object from its opening bracket to behind its closing one. */
static const char *
take_object(const char *at, const char *end, struct nesting *nesting, struct json_want *wants, size_t count)
{
	struct json_want *want;

	if (!nesting_enter(nesting, true))
		return NULL;
	at = skip_space(at + 1, end);
	if (at < end && *at == '}') {
		nesting->depth--;
		return at + 1;
	}
	for (;;) {
		at = take_key(at, end, wants, count, &want);
		if (at)
			at = take_value(at, end, nesting, want);
		if (!at)
			return NULL;
		at = skip_space(at, end);
		if (at == end || (*at != ',' && *at != '}'))
			return NULL;
		if (*at++ == '}')
			break;
	}
	nesting->depth--;
	return at;
}

/* Where the object in text begins, or NULL if there is none. */
static const char *
begin_object(struct slice text)
{
	const char *end = end_of(text), *at = skip_space(text.data, end);

	return at < end && *at == '{' ? at : NULL;
}

enum json_status
json_scan(struct slice text, struct json_want *wants, size_t count)
{
	struct nesting nesting = { .depth = 0 };
	const char *at = begin_object(text), *end = end_of(text);

	clear_wants(wants, count);
	if (!at)
		return JSON_NOT_OBJECT;
	at = take_object(at, end, &nesting, wants, count);
	return at && skip_space(at, end) == end ? JSON_OK : JSON_MALFORMED;
}

bool
json_scan_prefix(struct slice text, struct json_want *wants, size_t count)
{
	struct nesting nesting = { .depth = 0 };
	const char *at = begin_object(text);

	clear_wants(wants, count);
	if (!at)
		return false;
	/* Where it ends is no matter: what was found before holds. */
	(void)take_object(at, end_of(text), &nesting, wants, count);
	return true;
}

/* Skips what separates an element from the next one; *last is set behind the closing bracket. */
static const char *
skip_element_end(const char *at, const char *end, bool *last)
{
	at = skip_space(at, end);
	if (at == end || (*at != ',' && *at != ']'))
		return NULL;
	*last = *at == ']';
	return at + 1;
}

bool
json_each(struct slice array, json_element_fn *each, void *context)
{
	struct nesting nesting = { .depth = 0 };
	const char *end = end_of(array), *at = skip_byte(array.data, end, '[');
	bool last = false;

	if (!at || !nesting_enter(&nesting, false))
		return false;
	if (skip_byte(at, end, ']')) {
		last = true;
		at = skip_byte(at, end, ']');
	}
	while (at && !last) {
		at = skip_space(at, end);
		if (at == end)
			return false;
		const char *element = at;
		at = skip_value(at, end, &nesting);
		if (!at)
			return false;
		if (!each(slice_of(element, (size_t)(at - element)), kind_of(*element), context))
			return true;
		at = skip_element_end(at, end, &last);
	}
	return at && skip_space(at, end) == end;
}
