#include "http/target.h"

#include <string.h>

#include "chars.h"

/* The byte that a percent sequence at text stands for, or -1 when it is broken. */
static int
percent_byte(struct slice text)
{
	if (text.length < 3)
		return -1;
	int high = hex_value(text.data[1]), low = hex_value(text.data[2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Whether one byte of the path, or the percent sequence that begins there, may stay. */
static const char *
path_fault(struct slice rest)
{
	unsigned char byte = (unsigned char)rest.data[0];

	if (byte <= 0x20 || byte >= 0x7f)
		return "the path holds a byte that is not visible ASCII";
	if (byte == '\\')
		return "the path holds a backslash";
	if (byte == '#')
		return "the target holds a fragment";
	if (byte != '%')
		return NULL;
	switch (percent_byte(rest)) {
	case -1:
		return "the path holds a broken percent sequence";
	case 0:
		return "the path holds an encoded NUL";
	case '/':
		return "the path holds an encoded slash";
	case '\\':
		return "the path holds an encoded backslash";
	default:
		return NULL;
	}
}

/* Whether a segment is "." or "..", dots perhaps encoded. */
static bool
is_dot_segment(struct slice segment)
{
	unsigned dots = 0;

	while (segment.length > 0) {
		if (segment.data[0] == '.') {
			segment = slice_skip(segment, 1);
		} else if (segment.data[0] == '%' && percent_byte(segment) == '.') {
			segment = slice_skip(segment, 3);
		} else {
			return false;
		}
		dots++;
	}
	return dots == 1 || dots == 2;
}

/* Writes the path with its slashes merged; returns a fault or NULL. */
static const char *
normalise_path(struct slice raw, char *storage, struct slice *path)
{
	size_t length = 0;
	size_t segment = 0; /* where the current segment begins in storage */

	for (size_t i = 0; i < raw.length; i++) {
		if (raw.data[i] != '/') {
			/* Plain letters need no closer look. */
			if (!char_is(raw.data[i], CHAR_UNRESERVED)) {
				const char *fault = path_fault(slice_skip(raw, i));
				if (fault)
					return fault;
			}
			storage[length++] = raw.data[i];
			continue;
		}
		if (is_dot_segment(slice_of(storage + segment, length - segment)))
			return "the path holds a dot segment";
		if (length == 0 || storage[length - 1] != '/')
			storage[length++] = '/';
		segment = length;
	}
	if (is_dot_segment(slice_of(storage + segment, length - segment)))
		return "the path holds a dot segment";
	*path = slice_of(storage, length);
	return NULL;
}

static const char *
query_fault(struct slice query)
{
	for (size_t i = 0; i < query.length; i++) {
		unsigned char byte = (unsigned char)query.data[i];

		if (byte <= 0x20 || byte >= 0x7f)
			return "the query holds a byte that is not visible ASCII";
		if (byte == '#')
			return "the target holds a fragment";
		if (byte == '%' && percent_byte(slice_skip(query, i)) < 0)
			return "the query holds a broken percent sequence";
	}
	return NULL;
}

/* Drops "http://authority" from an absolute-form target. */
static const char *
drop_authority(struct slice *raw)
{
	size_t scheme = slice_starts_with_nocase(*raw, SLICE("http://")) ? 7 : 8;

	if (scheme == 8 && !slice_starts_with_nocase(*raw, SLICE("https://")))
		return "the target is neither a path nor an http URL";
	struct slice rest = slice_skip(*raw, scheme);
	size_t length = 0;
	while (length < rest.length && rest.data[length] != '/' && rest.data[length] != '?' && rest.data[length] != '#')
		length++;
	if (!authority_is_valid(slice_of(rest.data, length)))
		return "the target's authority is not a host name";
	*raw = slice_skip(rest, length);
	return NULL;
}

enum target_status
target_parse(struct slice raw, char *storage, struct target *out, const char **fault)
{
	*out = (struct target){ .path = SLICE_EMPTY };
	*fault = NULL;
	if (slice_equals(raw, SLICE("*"))) {
		storage[0] = '*';
		out->path = slice_of(storage, 1);
		return TARGET_OK;
	}
	if (raw.length == 0)
		*fault = "the target is empty";
	else if (raw.data[0] != '/')
		*fault = drop_authority(&raw);
	if (*fault)
		return TARGET_MALFORMED;

	struct slice path = raw;
	const char *mark = raw.length > 0 ? memchr(raw.data, '?', raw.length) : NULL;
	if (mark) {
		path.length = (size_t)(mark - raw.data);
		out->has_query = true;
		out->query = slice_skip(raw, path.length + 1);
	}
	/* An absolute form may go without a path. */
	*fault = normalise_path(path.length > 0 ? path : SLICE("/"), storage, &out->path);
	if (!*fault)
		*fault = query_fault(out->query);
	return *fault ? TARGET_MALFORMED : TARGET_OK;
}

static inline unsigned char
lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

/* Whether encoded is text once decoded. */
static bool
decoded_equals(struct slice encoded, struct slice text, bool nocase)
{
	for (size_t i = 0; i < text.length; i++) {
		if (encoded.length == 0)
			return false;
		int percent = encoded.data[0] == '%' ? percent_byte(encoded) : -1;
		unsigned char have = percent >= 0 ? (unsigned char)percent : (unsigned char)encoded.data[0];
		unsigned char want = (unsigned char)text.data[i];

		if (have != want && !(nocase && lower(have) == lower(want)))
			return false;
		encoded = slice_skip(encoded, percent >= 0 ? 3 : 1);
	}
	return encoded.length == 0;
}

struct parameter {
	struct slice whole;
	struct slice name;
	struct slice value;
};

/* Takes the next parameter from *query; *more says whether there is one. */
static bool
parameter_next(struct slice *query, bool *more, struct parameter *parameter)
{
	if (!*more)
		return false;
	const char *ampersand = query->length > 0 ? memchr(query->data, '&', query->length) : NULL;
	struct slice whole = *query;
	*more = ampersand != NULL;
	if (ampersand) {
		whole.length = (size_t)(ampersand - query->data);
		*query = slice_skip(*query, whole.length + 1);
	}
	/* The bound tells the compiler what no length exceeds. */
	const char *equals =
	    whole.length > 0 && whole.length < PTRDIFF_MAX ? memchr(whole.data, '=', whole.length) : NULL;
	parameter->whole = whole;
	parameter->name = equals ? slice_of(whole.data, (size_t)(equals - whole.data)) : whole;
	parameter->value = equals ? slice_skip(whole, parameter->name.length + 1) : SLICE_EMPTY;
	return true;
}

bool
query_find(struct slice query, struct slice name, struct slice *value)
{
	struct parameter parameter;
	bool more = query.length > 0;

	while (parameter_next(&query, &more, &parameter)) {
		if (decoded_equals(parameter.name, name, false)) {
			*value = parameter.value;
			return true;
		}
	}
	return false;
}

size_t
query_write_without(struct slice query, const struct slice *names, size_t name_count, struct buffer *out)
{
	struct parameter parameter;
	bool more = query.length > 0;
	size_t written = 0;

	while (parameter_next(&query, &more, &parameter)) {
		bool named = false;

		for (size_t i = 0; i < name_count && !named; i++)
			named = decoded_equals(parameter.name, names[i], true);
		if (named)
			continue;
		if (written++ > 0)
			buffer_append_byte(out, '&');
		buffer_append_slice(out, parameter.whole);
	}
	return written;
}

void
percent_encode_segment(struct slice text, struct buffer *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.length; i++) {
		unsigned char byte = (unsigned char)text.data[i];

		if (char_is(text.data[i], CHAR_UNRESERVED)) {
			buffer_append_byte(out, text.data[i]);
			continue;
		}
		buffer_append_byte(out, '%');
		buffer_append_byte(out, hex[byte >> 4]);
		buffer_append_byte(out, hex[byte & 0xf]);
	}
}

bool
percent_decode(struct slice text, char *out, size_t *length)
{
	*length = 0;
	while (text.length > 0) {
		size_t taken = 1;
		int byte = (unsigned char)text.data[0];

		if (byte == '%') {
			byte = percent_byte(text);
			if (byte < 0)
				return false;
			taken = 3;
		}
		out[(*length)++] = (char)byte;
		text = slice_skip(text, taken);
	}
	return true;
}
