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

/* Skips a string, its quotes included. */
static const char *
skip_string(const char *at, const char *end)
{
	at++;
	for (;;) {
		at = scan_json_string(at, end);
		if (at == end)
			return NULL;
		if (LIKELY(*at == '"'))
			return at + 1;
		if (*at != '\\')
			return NULL;
		at = skip_escape(at, end);
		if (!at)
			return NULL;
	}
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
skip_word(const char *at, const char *end, struct slice word)
{
	return slice_starts_with(slice_of(at, (size_t)(end - at)), word) ? at + word.length : NULL;
}

/* Skips a value that is neither object nor array. */
static inline const char *
skip_scalar(const char *at, const char *end)
{
	switch (*at) {
	case '"':
		return skip_string(at, end);
	case 't':
		return skip_word(at, end, SLICE("true"));
	case 'f':
		return skip_word(at, end, SLICE("false"));
	case 'n':
		return skip_word(at, end, SLICE("null"));
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
key_is_plain(struct slice raw)
{
	unsigned char all = 0;
	bool escapes = false;

	for (size_t i = 0; i < raw.length; i++) {
		all |= (unsigned char)raw.data[i];
		escapes |= raw.data[i] == '\\';
	}
	return all < 0x80 && !escapes;
}

struct member {
	struct slice key; /* raw */
	bool key_is_plain;
	struct slice value;
	enum json_kind kind;
};

/* Counts a member for whoever wants it. */
static inline void
note_member(const struct member *member, struct json_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct json_want *want = &wants[i];

		if (member->key_is_plain) {
			if (member->key.length != want->key.length + 2 ||
			    memcmp(member->key.data + 1, want->key.data, want->key.length) != 0)
				continue;
		} else if (!json_string_equals(member->key, want->key)) {
			continue;
		}
		if (want->found++ == 0) {
			want->value = member->value;
			want->kind = member->kind;
		}
	}
}

/* Takes a member's key and colon. */
static inline const char *
take_key(const char *at, const char *end, struct member *member)
{
	at = skip_space(at, end);
	if (at == end || *at != '"')
		return NULL;
	const char *key = at;
	at = skip_string(at, end);
	if (!at)
		return NULL;
	member->key = slice_of(key, (size_t)(at - key));
	member->key_is_plain = key_is_plain(member->key);
	if (UNLIKELY(!member->key_is_plain) && key_is_ambiguous(member->key))
		return NULL;
	return skip_byte(at, end, ':');
}

/* Takes a member's value, and counts the member. An array or object that does not end is counted as far as it goes:
 * json_scan() fails then, but json_scan_prefix() wants to know. */
static inline const char *
take_value(const char *at, const char *end, struct nesting *nesting, struct member *member, struct json_want *wants,
    size_t count)
{
	at = skip_space(at, end);
	if (at == end)
		return NULL;
	const char *value = at;
	at = skip_value(at, end, nesting);
	if (!at && *value != '{' && *value != '[')
		return NULL;
	member->value = slice_of(value, (size_t)((at ? at : end) - value));
	member->kind = kind_of(*value);
	note_member(member, wants, count);
	return at;
}

/* Takes an object from its opening bracket to behind its closing one. */
static const char *
take_object(const char *at, const char *end, struct nesting *nesting, struct json_want *wants, size_t count)
{
	struct member member;

	for (size_t i = 0; i < count; i++) {
		wants[i].value = SLICE_EMPTY;
		wants[i].kind = JSON_ABSENT;
		wants[i].found = 0;
	}
	if (!nesting_enter(nesting, true))
		return NULL;
	at = skip_space(at + 1, end);
	if (at < end && *at == '}') {
		nesting->depth--;
		return at + 1;
	}
	for (;;) {
		at = take_key(at, end, &member);
		if (at)
			at = take_value(at, end, nesting, &member, wants, count);
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
