#include "http/multipart.h"

#include <string.h>

#include "chars.h"
#include "scan.h"

#define BOUNDARY_MAX_BYTES 70

/* Headers of a part that matter here. */
struct part {
	struct slice name;
	struct slice content;
	bool has_disposition;
	bool has_name;
	bool has_filename;
};

struct parameter {
	struct slice name;
	struct slice value; /* without quotes, escapes as they came */
	bool has_escapes;
};

/* Takes a quoted string's inside. A quote behind a backslash ends the string for some parsers and not for others, so
 * there may be none. */
static bool
take_quoted(struct slice *rest, struct parameter *parameter)
{
	size_t at = 1;

	while (at < rest->length && rest->data[at] != '"') {
		if (rest->data[at] == '\\') {
			parameter->has_escapes = true;
			if (at + 1 < rest->length && rest->data[at + 1] == '"')
				return false;
			if (at + 1 < rest->length && rest->data[at + 1] == '\\')
				at++;
		}
		at++;
	}
	if (at >= rest->length)
		return false;
	parameter->value = slice_of(rest->data + 1, at - 1);
	*rest = slice_skip(*rest, at + 1);
	return true;
}

/* Takes "; name=value" from *rest. */
static bool
take_parameter(struct slice *rest, struct parameter *parameter)
{
	size_t at = 0;

	*parameter = (struct parameter){ .has_escapes = false };
	*rest = slice_trim(slice_skip(*rest, 1));
	while (at < rest->length && char_is(rest->data[at], CHAR_TOKEN))
		at++;
	parameter->name = slice_of(rest->data, at);
	if (at == 0 || at + 1 >= rest->length || rest->data[at] != '=')
		return false;
	*rest = slice_skip(*rest, at + 1);
	if (rest->data[0] == '"') {
		if (!take_quoted(rest, parameter))
			return false;
	} else {
		at = 0;
		while (at < rest->length &&
		    (char_is(rest->data[at], CHAR_TOKEN) || char_is(rest->data[at], CHAR_BOUNDARY)))
			at++;
		parameter->value = slice_of(rest->data, at);
		if (at == 0)
			return false;
		*rest = slice_skip(*rest, at);
	}
	*rest = slice_trim(*rest);
	return rest->length == 0 || rest->data[0] == ';';
}

/* Takes the word before the parameters, "multipart/form-data" or "form-data", leaving the first semicolon. */
static bool
take_word(struct slice *rest, struct slice word)
{
	*rest = slice_trim(*rest);
	if (!slice_starts_with_nocase(*rest, word))
		return false;
	*rest = slice_trim(slice_skip(*rest, word.length));
	return rest->length == 0 || rest->data[0] == ';';
}

static bool
boundary_is_fit(struct slice boundary)
{
	if (boundary.length == 0 || boundary.length > BOUNDARY_MAX_BYTES || boundary.data[boundary.length - 1] == ' ')
		return false;
	for (size_t i = 0; i < boundary.length; i++) {
		if (boundary.data[i] != ' ' && !char_is(boundary.data[i], CHAR_BOUNDARY))
			return false;
	}
	return true;
}

bool
multipart_boundary(struct slice content_type, struct slice *boundary)
{
	struct slice rest = content_type;
	struct parameter parameter;
	bool found = false;

	if (!take_word(&rest, SLICE("multipart/form-data")))
		return false;
	while (rest.length > 0) {
		/* A semicolon at the very end says nothing. */
		if (rest.length == 1)
			break;
		if (!take_parameter(&rest, &parameter))
			return false;
		if (!slice_equals_nocase(parameter.name, SLICE("boundary")))
			continue;
		if (found || parameter.has_escapes || !boundary_is_fit(parameter.value))
			return false;
		*boundary = parameter.value;
		found = true;
	}
	return found;
}

/* Reads the value of a Content-Disposition. */
static bool
read_disposition(struct slice value, struct part *part)
{
	struct parameter parameter;

	if (part->has_disposition || !take_word(&value, SLICE("form-data")))
		return false;
	part->has_disposition = true;
	while (value.length > 1) {
		if (!take_parameter(&value, &parameter))
			return false;
		if (slice_equals_nocase(parameter.name, SLICE("name"))) {
			if (part->has_name || parameter.has_escapes)
				return false;
			part->has_name = true;
			part->name = parameter.value;
		} else if (slice_equals_nocase(parameter.name, SLICE("filename")) ||
		    slice_equals_nocase(parameter.name, SLICE("filename*"))) {
			part->has_filename = true;
		} else if (slice_equals_nocase(parameter.name, SLICE("name*"))) {
			return false; /* RFC 7578, 4.2 has no such thing, but some parsers do */
		}
	}
	return part->has_name;
}

/* Takes one header line from *rest. */
static bool
read_part_header(struct slice *rest, struct part *part)
{
	size_t colon = 0;

	while (colon < rest->length && char_is(rest->data[colon], CHAR_TOKEN))
		colon++;
	if (colon == 0 || colon == rest->length || rest->data[colon] != ':')
		return false;
	struct slice name = slice_of(rest->data, colon);
	const char *start = rest->data + colon + 1, *end = rest->data + rest->length, *stop = start;
	while (stop < end && char_is(*stop, CHAR_VALUE))
		stop++;
	if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')
		return false;
	*rest = slice_of(stop + 2, (size_t)(end - stop - 2));
	if (!slice_equals_nocase(name, SLICE("content-disposition")))
		return true;
	return read_disposition(slice_trim(slice_of(start, (size_t)(stop - start))), part);
}

/* Reads what lies between two delimiters: headers, an empty line, content. A part may end with its headers. */
static bool
read_part(struct slice text, struct part *part)
{
	*part = (struct part){ .has_disposition = false };
	while (text.length > 0 && !slice_starts_with(text, SLICE("\r\n"))) {
		if (!read_part_header(&text, part))
			return false;
	}
	part->content = text.length > 0 ? slice_skip(text, 2) : text;
	return part->has_disposition;
}

/* A line that is "--boundary" or "--boundary--". */
struct delimiter {
	size_t start; /* the first dash, or the CR LF before it, which is the delimiter's as well */
	size_t end;   /* behind the line's end */
	bool closing;
};

enum search { SEARCH_FOUND, SEARCH_NONE, SEARCH_BROKEN };

/* Reads the rest of a delimiter's line. */
static bool
read_delimiter_line(struct slice body, size_t at, struct delimiter *delimiter)
{
	delimiter->closing = slice_starts_with(slice_skip(body, at), SLICE("--"));
	if (delimiter->closing)
		at += 2;
	while (at < body.length && (body.data[at] == ' ' || body.data[at] == '\t'))
		at++;
	if (slice_starts_with(slice_skip(body, at), SLICE("\r\n"))) {
		delimiter->end = at + 2;
		return true;
	}
	delimiter->end = at;
	return delimiter->closing && at == body.length;
}

/* Finds the next delimiter at or behind from. One whose line starts behind a bare CR or LF, or goes on with other text,
 * would be a delimiter to some parsers only. */
static enum search
find_delimiter(struct slice body, size_t from, struct slice dashed, struct delimiter *delimiter)
{
	for (;;) {
		ptrdiff_t found = slice_find(slice_skip(body, from), dashed);
		if (found < 0)
			return SEARCH_NONE;
		size_t at = from + (size_t)found;
		bool after_break = at >= 2 && body.data[at - 2] == '\r' && body.data[at - 1] == '\n';

		if (at == 0 || after_break) {
			delimiter->start = at == 0 ? 0 : at - 2;
			return read_delimiter_line(body, at + dashed.length, delimiter) ? SEARCH_FOUND : SEARCH_BROKEN;
		}
		if (body.data[at - 1] == '\r' || body.data[at - 1] == '\n')
			return SEARCH_BROKEN;
		from = at + 1;
	}
}

enum multipart_status
multipart_find(struct slice body, struct slice boundary, struct slice name, struct slice *value, bool *found)
{
	char dashes[2 + BOUNDARY_MAX_BYTES] = "--";
	struct delimiter here, next;
	struct part part;

	*value = SLICE_EMPTY;
	*found = false;
	if (!boundary_is_fit(boundary))
		return MULTIPART_MALFORMED;
	memcpy(dashes + 2, boundary.data, boundary.length);
	struct slice dashed = slice_of(dashes, boundary.length + 2);
	bool duplicate = false;

	if (find_delimiter(body, 0, dashed, &here) != SEARCH_FOUND)
		return MULTIPART_MALFORMED;
	while (!here.closing) {
		if (find_delimiter(body, here.end, dashed, &next) != SEARCH_FOUND || next.start < here.end ||
		    !read_part(slice_of(body.data + here.end, next.start - here.end), &part))
			return MULTIPART_MALFORMED;
		if (!part.has_filename && slice_equals(part.name, name)) {
			duplicate = *found;
			*found = true;
			*value = part.content;
			if (duplicate)
				return MULTIPART_DUPLICATE;
		}
		here = next;
	}
	/* Behind the closing delimiter there may be anything but a further one. */
	return find_delimiter(body, here.end, dashed, &next) == SEARCH_NONE ? MULTIPART_OK : MULTIPART_MALFORMED;
}
