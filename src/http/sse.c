#include "http/sse.h"

#include <string.h>

#include "scan.h"

/* Where the last byte left the scanner. A line may end in CR, LF or CR LF: behind a CR a LF may still belong to it. */
enum {
	SSE_BOUNDARY,          /* behind an event, or at the start */
	SSE_BOUNDARY_CR,       /* the same, by a CR where lines end in CR alone */
	SSE_BOUNDARY_CR_OF_LF, /* the same, by a CR whose LF is still to come */
	SSE_IN_LINE,
	SSE_LINE_START,
	SSE_LINE_START_CR, /* the line before ended in CR */
};

void
sse_init(struct sse_scanner *scanner)
{
	*scanner = (struct sse_scanner){ .state = SSE_BOUNDARY };
}

void
sse_free(struct sse_scanner *scanner)
{
	buffer_free(&scanner->partial);
	buffer_free(&scanner->joined);
}

bool
sse_at_boundary(const struct sse_scanner *scanner)
{
	return scanner->state == SSE_BOUNDARY || scanner->state == SSE_BOUNDARY_CR;
}

static void
add_data(struct sse_scanner *scanner, struct slice value, struct sse_event *event)
{
	if (!event->has_data) {
		event->has_data = true;
		event->data = value;
		return;
	}
	/* The usual event has one line of data; of several, the joint is a copy. */
	if (scanner->joined.length == 0)
		buffer_append_slice(&scanner->joined, event->data);
	buffer_append_byte(&scanner->joined, '\n');
	buffer_append_slice(&scanner->joined, value);
	event->data = buffer_slice(&scanner->joined);
}

static void
read_line(struct sse_scanner *scanner, struct slice line, struct sse_event *event)
{
	struct slice value = SLICE_EMPTY;
	const char *colon = line.length > 0 ? memchr(line.data, ':', line.length) : NULL;
	struct slice field = line;

	if (colon) {
		field.length = (size_t)(colon - line.data);
		value = slice_skip(line, field.length + 1);
		if (value.length > 0 && value.data[0] == ' ')
			value = slice_skip(value, 1);
	}
	if (slice_equals(field, SLICE("data")))
		add_data(scanner, value, event);
	else if (slice_equals(field, SLICE("event")))
		event->type = value;
}

/* Reads the lines of one event. */
static void
read_event(struct sse_scanner *scanner, struct slice lines, struct sse_event *event)
{
	if (!scanner->seen_any && slice_starts_with(lines, SLICE("\xef\xbb\xbf")))
		lines = slice_skip(lines, 3);
	scanner->seen_any = true;
	while (lines.length > 0) {
		const char *stop = scan_line_end(lines.data, lines.data + lines.length);
		size_t length = (size_t)(stop - lines.data);

		read_line(scanner, slice_of(lines.data, length), event);
		/* The two bytes of CR LF make an empty line between them, which says nothing. */
		lines = slice_skip(lines, length < lines.length ? length + 1 : length);
	}
}

/* Keeps bytes of an event that is cut, as far as the cap allows. */
static void
keep(struct sse_scanner *scanner, struct slice bytes)
{
	size_t room = SSE_EVENT_MAX_BYTES - scanner->partial.length;

	if (bytes.length > room) {
		scanner->oversize = true;
		bytes.length = room;
	}
	buffer_append_slice(&scanner->partial, bytes);
}

/* The blank line has come; bytes are what of the event was not kept before. */
static void
finish_event(struct sse_scanner *scanner, struct slice bytes, struct sse_event *event)
{
	*event = (struct sse_event){ .type = SLICE_EMPTY };
	if (scanner->partial.length > 0) {
		keep(scanner, bytes);
		bytes = buffer_slice(&scanner->partial);
	} else if (bytes.length > SSE_EVENT_MAX_BYTES) {
		scanner->oversize = true;
		bytes.length = SSE_EVENT_MAX_BYTES;
	}
	event->truncated = scanner->oversize;
	read_event(scanner, bytes, event);
	scanner->oversize = false;
	scanner->in_event = false;
}

/* Looks for the blank line that ends the event. Leaves at behind the last byte looked at; sets blank when it was found,
 * to where it begins. */
static const char *
find_blank_line(struct sse_scanner *scanner, const char *at, const char *end, const char **blank)
{
	while (at < end) {
		if (*at != '\r' && *at != '\n') {
			at = scan_line_end(at + 1, end);
			scanner->state = SSE_IN_LINE;
		} else if (scanner->state == SSE_IN_LINE) {
			scanner->state = *at == '\r' ? SSE_LINE_START_CR : SSE_LINE_START;
			at++;
		} else if (scanner->state == SSE_LINE_START_CR && *at == '\n') {
			scanner->state = SSE_LINE_START;
			at++;
		} else {
			*blank = at;
			return at + 1;
		}
	}
	*blank = NULL;
	return at;
}

/* Where the scanner stands behind a blank line that ended in byte; takes the LF of a CR LF along. */
static const char *
pass_blank_line(struct sse_scanner *scanner, char byte, const char *at, const char *end)
{
	bool alone = scanner->state == SSE_LINE_START_CR;

	scanner->state = SSE_BOUNDARY;
	if (byte == '\r' && at == end)
		scanner->state = alone ? SSE_BOUNDARY_CR : SSE_BOUNDARY_CR_OF_LF;
	else if (byte == '\r' && *at == '\n')
		at++;
	return at;
}

bool
sse_next(struct sse_scanner *scanner, struct slice *bytes, struct sse_event *event)
{
	const char *blank;

	/* What the last event was read from is not needed any more. */
	if (!scanner->in_event)
		buffer_free(&scanner->partial);
	buffer_free(&scanner->joined);
	if (bytes->length == 0)
		return false;

	const char *at = bytes->data, *end = bytes->data + bytes->length;
	if (scanner->state == SSE_BOUNDARY_CR || scanner->state == SSE_BOUNDARY_CR_OF_LF) {
		scanner->state = SSE_BOUNDARY;
		if (*at == '\n')
			at++;
	}
	const char *start = at;
	at = find_blank_line(scanner, at, end, &blank);
	if (blank) {
		finish_event(scanner, slice_of(start, (size_t)(blank - start)), event);
		at = pass_blank_line(scanner, *blank, at, end);
		*bytes = slice_of(at, (size_t)(end - at));
		return true;
	}
	if (at > start) {
		scanner->in_event = true;
		keep(scanner, slice_of(start, (size_t)(at - start)));
	}
	*bytes = slice_of(end, 0);
	return false;
}
