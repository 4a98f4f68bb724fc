#include "http/json.h"

#include <string.h>

#include "chars.h"
#include "scan.h"

/* How a step of the walk ended. */
enum step {
	STEP_OK,
	STEP_CUT, /* the text ended before the value did */
	STEP_BROKEN,
};

struct cursor {
	const char *at;
	const char *end;
};

static struct cursor
cursor_of(struct slice text)
{
	return (struct cursor){ text.data, text.length > 0 ? text.data + text.length : text.data };
}

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void
skip_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end && is_space(*cursor->at))
		cursor->at++;
}

/* Skips white space and takes the given byte. */
static inline enum step
take(struct cursor *cursor, char byte)
{
	skip_space(cursor);
	if (cursor->at == cursor->end)
		return STEP_CUT;
	if (*cursor->at != byte)
		return STEP_BROKEN;
	cursor->at++;
	return STEP_OK;
}

static enum step
skip_escape(struct cursor *cursor)
{
	const char *at = cursor->at + 1;

	if (at == cursor->end)
		return STEP_CUT;
	switch (*at++) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		break;
	case 'u':
		for (int i = 0; i < 4; i++, at++) {
			if (at == cursor->end)
				return STEP_CUT;
			if (hex_value(*at) < 0)
				return STEP_BROKEN;
		}
		break;
	default:
		return STEP_BROKEN;
	}
	cursor->at = at;
	return STEP_OK;
}

/* Skips a string, its quotes included; *escapes is set when it holds any. */
static enum step
skip_string(struct cursor *cursor, bool *escapes)
{
	cursor->at++;
	for (;;) {
		cursor->at = scan_json_string(cursor->at, cursor->end);
		if (cursor->at == cursor->end)
			return STEP_CUT;
		if (*cursor->at == '"') {
			cursor->at++;
			return STEP_OK;
		}
		if (*cursor->at != '\\')
			return STEP_BROKEN;
		*escapes = true;
		enum step step = skip_escape(cursor);
		if (step != STEP_OK)
			return step;
	}
}

static inline bool
skip_digits(struct cursor *cursor)
{
	const char *start = cursor->at;

	while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9')
		cursor->at++;
	return cursor->at > start;
}

static enum step
skip_number(struct cursor *cursor)
{
	if (*cursor->at == '-')
		cursor->at++;
	if (cursor->at < cursor->end && *cursor->at == '0')
		cursor->at++;
	else if (!skip_digits(cursor))
		return cursor->at == cursor->end ? STEP_CUT : STEP_BROKEN;
	if (cursor->at < cursor->end && *cursor->at == '.') {
		cursor->at++;
		if (!skip_digits(cursor))
			return cursor->at == cursor->end ? STEP_CUT : STEP_BROKEN;
	}
	if (cursor->at < cursor->end && (*cursor->at == 'e' || *cursor->at == 'E')) {
		cursor->at++;
		if (cursor->at < cursor->end && (*cursor->at == '+' || *cursor->at == '-'))
			cursor->at++;
		if (!skip_digits(cursor))
			return cursor->at == cursor->end ? STEP_CUT : STEP_BROKEN;
	}
	/* Where the text ends here, more digits might have followed. */
	return cursor->at == cursor->end ? STEP_CUT : STEP_OK;
}

static enum step
skip_word(struct cursor *cursor, struct slice word)
{
	size_t left = (size_t)(cursor->end - cursor->at);

	if (left < word.length)
		return memcmp(cursor->at, word.data, left) == 0 ? STEP_CUT : STEP_BROKEN;
	if (memcmp(cursor->at, word.data, word.length) != 0)
		return STEP_BROKEN;
	cursor->at += word.length;
	return STEP_OK;
}

/* What a value is, by its first byte; JSON_ABSENT if none begins so. */
static inline enum json_kind
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
		return first == '-' || (first >= '0' && first <= '9') ? JSON_NUMBER : JSON_ABSENT;
	}
}

/* Skips a value that is neither object nor array. */
static inline enum step
skip_scalar(struct cursor *cursor, enum json_kind kind)
{
	bool escapes = false;

	if (kind == JSON_STRING)
		return skip_string(cursor, &escapes);
	if (kind == JSON_NUMBER)
		return skip_number(cursor);
	if (kind == JSON_TRUE)
		return skip_word(cursor, SLICE("true"));
	if (kind == JSON_FALSE)
		return skip_word(cursor, SLICE("false"));
	if (kind == JSON_NULL)
		return skip_word(cursor, SLICE("null"));
	return STEP_BROKEN;
}

/* Skips a member's key and the colon behind it. */
static inline enum step
skip_key(struct cursor *cursor, bool *escapes)
{
	skip_space(cursor);
	if (cursor->at == cursor->end)
		return STEP_CUT;
	if (*cursor->at != '"')
		return STEP_BROKEN;
	enum step step = skip_string(cursor, escapes);
	return step == STEP_OK ? take(cursor, ':') : step;
}

/* The objects and arrays that are open around the cursor, one bit each: set for an object. */
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

/* Behind a value inside of an object or array: closes what ends here. Leaves the cursor at the next value, or behind
 * the outermost bracket once depth has come down to base. */
static enum step
skip_separator(struct cursor *cursor, struct nesting *nesting, unsigned base)
{
	bool escapes = false;

	while (nesting->depth > base) {
		bool in_object = nesting_in_object(nesting);

		skip_space(cursor);
		if (cursor->at == cursor->end)
			return STEP_CUT;
		char byte = *cursor->at++;
		if (byte == ',')
			return in_object ? skip_key(cursor, &escapes) : STEP_OK;
		if (byte != (in_object ? '}' : ']'))
			return STEP_BROKEN;
		nesting->depth--;
	}
	return STEP_OK;
}

/* Enters the object or array at the cursor. *empty is set when it closes at once. */
static enum step
enter(struct cursor *cursor, struct nesting *nesting, bool *empty)
{
	bool object = *cursor->at++ == '{';
	bool escapes = false;

	skip_space(cursor);
	if (cursor->at == cursor->end)
		return STEP_CUT;
	if (!nesting_enter(nesting, object))
		return STEP_BROKEN;
	*empty = *cursor->at == (object ? '}' : ']');
	return object && !*empty ? skip_key(cursor, &escapes) : STEP_OK;
}

/* Skips the value at the cursor, however deep, and says what kind it is. */
static enum step
skip_value(struct cursor *cursor, struct nesting *nesting, enum json_kind *kind)
{
	unsigned base = nesting->depth;
	enum step step;

	skip_space(cursor);
	if (cursor->at == cursor->end)
		return STEP_CUT;
	*kind = kind_of(*cursor->at);
	if (*kind != JSON_OBJECT && *kind != JSON_ARRAY)
		return skip_scalar(cursor, *kind);
	do {
		bool empty = false;

		skip_space(cursor);
		if (cursor->at == cursor->end)
			return STEP_CUT;
		enum json_kind inner = kind_of(*cursor->at);
		if (inner == JSON_OBJECT || inner == JSON_ARRAY) {
			step = enter(cursor, nesting, &empty);
			if (step == STEP_OK && !empty)
				continue;
		} else {
			step = skip_scalar(cursor, inner);
		}
		if (step == STEP_OK)
			step = skip_separator(cursor, nesting, base);
	} while (step == STEP_OK && nesting->depth > base);
	return step;
}

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
	*inside = cursor_of(slice_of(raw.data + 1, raw.length - 2));
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

/* Whether a key that holds escapes is one that two parsers might read differently: lone surrogates, or a NUL, at which
 * some would end it. */
static bool
escaped_key_is_ambiguous(struct slice raw)
{
	struct cursor inside;
	char character[4];
	size_t bytes;

	if (!inside_of(raw, &inside))
		return true;
	while (inside.at < inside.end) {
		if (!take_character(&inside, character, &bytes) || (bytes == 1 && character[0] == '\0'))
			return true;
	}
	return false;
}

/* Whether a key holds an ASCII character in a longer form than UTF-8 allows, which a careless parser would decode. */
static bool
key_is_overlong(struct slice raw)
{
	for (size_t i = 0; i + 1 < raw.length; i++) {
		unsigned char byte = (unsigned char)raw.data[i], next = (unsigned char)raw.data[i + 1];

		if (byte == 0xc0 || byte == 0xc1 || (byte == 0xe0 && next < 0xa0) || (byte == 0xf0 && next < 0x90))
			return true;
	}
	return false;
}

struct member {
	struct slice key; /* raw */
	struct slice value;
	enum json_kind kind;
	bool escapes; /* in the key */
};

/* Takes a member of the top level up to the end of its value. On STEP_CUT kind is JSON_ABSENT unless the value is an
 * array or object, of which then there is the beginning. */
static enum step
take_member(struct cursor *cursor, struct nesting *nesting, struct member *member)
{
	member->kind = JSON_ABSENT;
	member->escapes = false;
	skip_space(cursor);
	const char *key = cursor->at;
	enum step step = skip_key(cursor, &member->escapes);
	if (step != STEP_OK)
		return step;
	/* Between the key and the cursor there are only white space and the colon. */
	const char *quote = cursor->at - 1;
	while (*quote != '"')
		quote--;
	member->key = slice_of(key, (size_t)(quote + 1 - key));
	if ((member->escapes && escaped_key_is_ambiguous(member->key)) || key_is_overlong(member->key))
		return STEP_BROKEN;

	skip_space(cursor);
	const char *value = cursor->at;
	step = skip_value(cursor, nesting, &member->kind);
	member->value = slice_of(value, (size_t)(cursor->at - value));
	if (step == STEP_CUT) {
		member->value.length = (size_t)(cursor->end - value);
		if (member->kind != JSON_OBJECT && member->kind != JSON_ARRAY)
			member->kind = JSON_ABSENT;
	}
	return step;
}

static void
note_member(const struct member *member, struct json_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct json_want *want = &wants[i];
		bool same = member->escapes ? json_string_equals(member->key, want->key)
					    : member->key.length == want->key.length + 2 &&
						  memcmp(member->key.data + 1, want->key.data, want->key.length) == 0;

		if (same && want->found++ == 0) {
			want->value = member->value;
			want->kind = member->kind;
		}
	}
}

/* Takes the members of the object at the cursor up to and with its closing bracket. */
static enum step
take_members(struct cursor *cursor, struct json_want *wants, size_t count)
{
	struct nesting nesting = { .depth = 0 };
	struct member member;

	cursor->at++;
	if (!nesting_enter(&nesting, true))
		return STEP_BROKEN;
	skip_space(cursor);
	if (cursor->at < cursor->end && *cursor->at == '}') {
		cursor->at++;
		return STEP_OK;
	}
	for (;;) {
		enum step step = take_member(cursor, &nesting, &member);
		if (step == STEP_OK || (step == STEP_CUT && member.kind != JSON_ABSENT))
			note_member(&member, wants, count);
		if (step != STEP_OK)
			return step;
		skip_space(cursor);
		if (cursor->at == cursor->end)
			return STEP_CUT;
		char byte = *cursor->at++;
		if (byte == '}')
			return STEP_OK;
		if (byte != ',')
			return STEP_BROKEN;
	}
}

/* Clears the wants and skips to the object's opening bracket; false if there is none. */
static bool
begin_object(struct cursor *cursor, struct json_want *wants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		wants[i].value = SLICE_EMPTY;
		wants[i].kind = JSON_ABSENT;
		wants[i].found = 0;
	}
	skip_space(cursor);
	return cursor->at < cursor->end && *cursor->at == '{';
}

enum json_status
json_scan(struct slice text, struct json_want *wants, size_t count)
{
	struct cursor cursor = cursor_of(text);

	if (!begin_object(&cursor, wants, count))
		return JSON_NOT_OBJECT;
	if (take_members(&cursor, wants, count) != STEP_OK)
		return JSON_MALFORMED;
	skip_space(&cursor);
	return cursor.at == cursor.end ? JSON_OK : JSON_MALFORMED;
}

bool
json_scan_prefix(struct slice text, struct json_want *wants, size_t count)
{
	struct cursor cursor = cursor_of(text);

	if (!begin_object(&cursor, wants, count))
		return false;
	/* Where and why it ends is no matter: what was found before holds. */
	(void)take_members(&cursor, wants, count);
	return true;
}

bool
json_each(struct slice array, json_element_fn *each, void *context)
{
	struct cursor cursor = cursor_of(array);
	struct nesting nesting = { .depth = 0 };
	enum json_kind kind = JSON_ABSENT;

	if (take(&cursor, '[') != STEP_OK || !nesting_enter(&nesting, false))
		return false;
	skip_space(&cursor);
	if (cursor.at < cursor.end && *cursor.at == ']') {
		cursor.at++;
	} else {
		for (;;) {
			skip_space(&cursor);
			const char *start = cursor.at;
			if (skip_value(&cursor, &nesting, &kind) != STEP_OK)
				return false;
			if (!each(slice_of(start, (size_t)(cursor.at - start)), kind, context))
				return true;
			if (take(&cursor, ',') == STEP_OK)
				continue;
			if (take(&cursor, ']') != STEP_OK)
				return false;
			break;
		}
	}
	skip_space(&cursor);
	return cursor.at == cursor.end;
}
