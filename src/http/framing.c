#include "http/framing.h"

#include <string.h>

#include "chars.h"

#define SIZE_DIGITS_MAX 16

/* What the next byte of a chunked body is. */
enum chunk_state {
	CHUNK_SIZE,             /* a digit of the size, or what ends it */
	CHUNK_BEFORE_PARAMETER, /* white space before the semicolon of an extension */
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER_START, /* the first byte of a trailer line, or the CR of the empty line */
	CHUNK_TRAILER_NAME,
	CHUNK_TRAILER_VALUE,
	CHUNK_TRAILER_LF,
	CHUNK_END_LF,
	CHUNK_BROKEN,
};

static void
init(struct body_reader *reader, enum body_kind kind, uint64_t remaining)
{
	*reader = (struct body_reader){
		.kind = kind,
		.chunk_state = CHUNK_SIZE,
		.done = kind == BODY_NONE,
		.remaining = remaining,
	};
}

void
body_reader_init_request(struct body_reader *reader, const struct request_head *head)
{
	if (head->chunked)
		init(reader, BODY_CHUNKED, 0);
	else if (head->content_length != NO_CONTENT_LENGTH && head->content_length > 0)
		init(reader, BODY_LENGTH, head->content_length);
	else
		init(reader, BODY_NONE, 0);
}

void
body_reader_init_response(struct body_reader *reader, const struct response_head *head, bool answers_head)
{
	if (answers_head || head->status < 200 || head->status == 204 || head->status == 304)
		init(reader, BODY_NONE, 0);
	else if (head->chunked)
		init(reader, BODY_CHUNKED, 0);
	else if (head->content_length == NO_CONTENT_LENGTH)
		init(reader, BODY_UNTIL_CLOSE, 0);
	else if (head->content_length > 0)
		init(reader, BODY_LENGTH, head->content_length);
	else
		init(reader, BODY_NONE, 0);
}

/* A byte of the size line or what follows it up to the data: trailer_bytes counts the line's. */
static enum chunk_state
size_line_byte(struct body_reader *reader, char byte)
{
	if (reader->trailer_bytes >= CHUNK_LINE_MAX_BYTES)
		return CHUNK_BROKEN;
	if (reader->chunk_state == CHUNK_SIZE) {
		int digit = hex_value(byte);
		if (digit >= 0) {
			if (reader->trailer_bytes++ == SIZE_DIGITS_MAX)
				return CHUNK_BROKEN;
			reader->remaining = reader->remaining << 4 | (uint64_t)digit;
			return CHUNK_SIZE;
		}
		if (reader->trailer_bytes == 0)
			return CHUNK_BROKEN;
	}
	reader->trailer_bytes++;
	if (byte == ';' && reader->chunk_state != CHUNK_EXTENSION)
		return CHUNK_EXTENSION;
	/* White space may stand before an extension, but not before the line's end. */
	if (reader->chunk_state != CHUNK_EXTENSION && (byte == ' ' || byte == '\t'))
		return CHUNK_BEFORE_PARAMETER;
	if (byte == '\r' && reader->chunk_state != CHUNK_BEFORE_PARAMETER)
		return CHUNK_SIZE_LF;
	if (reader->chunk_state == CHUNK_EXTENSION && char_is(byte, CHAR_VALUE))
		return CHUNK_EXTENSION;
	return CHUNK_BROKEN;
}

/* A byte of the trailers: read like header lines, and dropped. */
static enum chunk_state
trailer_byte(struct body_reader *reader, char byte)
{
	if (reader->trailer_bytes++ >= TRAILER_MAX_BYTES)
		return CHUNK_BROKEN;
	switch (reader->chunk_state) {
	case CHUNK_TRAILER_START:
		if (byte == '\r')
			return CHUNK_END_LF;
		return char_is(byte, CHAR_TOKEN) ? CHUNK_TRAILER_NAME : CHUNK_BROKEN;
	case CHUNK_TRAILER_NAME:
		if (byte == ':')
			return CHUNK_TRAILER_VALUE;
		return char_is(byte, CHAR_TOKEN) ? CHUNK_TRAILER_NAME : CHUNK_BROKEN;
	case CHUNK_TRAILER_VALUE:
		if (byte == '\r')
			return CHUNK_TRAILER_LF;
		return char_is(byte, CHAR_VALUE) ? CHUNK_TRAILER_VALUE : CHUNK_BROKEN;
	default: /* CHUNK_TRAILER_LF */
		return byte == '\n' ? CHUNK_TRAILER_START : CHUNK_BROKEN;
	}
}

/* Takes one byte that is not the body's. */
static enum chunk_state
framing_byte(struct body_reader *reader, char byte)
{
	switch (reader->chunk_state) {
	case CHUNK_SIZE:
	case CHUNK_BEFORE_PARAMETER:
	case CHUNK_EXTENSION:
		return size_line_byte(reader, byte);
	case CHUNK_SIZE_LF:
		reader->trailer_bytes = 0;
		if (byte != '\n')
			return CHUNK_BROKEN;
		return reader->remaining > 0 ? CHUNK_DATA : CHUNK_TRAILER_START;
	case CHUNK_DATA_CR:
		return byte == '\r' ? CHUNK_DATA_LF : CHUNK_BROKEN;
	case CHUNK_DATA_LF:
		return byte == '\n' ? CHUNK_SIZE : CHUNK_BROKEN;
	case CHUNK_END_LF:
		reader->done = byte == '\n';
		return CHUNK_BROKEN; /* nothing may follow */
	case CHUNK_BROKEN:
		return CHUNK_BROKEN;
	default:
		return trailer_byte(reader, byte);
	}
}

static enum body_status
read_chunked(struct body_reader *reader, char *data, size_t length, size_t *payload, size_t *consumed)
{
	size_t at = 0;

	while (at < length) {
		if (reader->chunk_state != CHUNK_DATA) {
			reader->chunk_state = (uint8_t)framing_byte(reader, data[at++]);
			if (reader->done)
				break;
			if (reader->chunk_state == CHUNK_BROKEN)
				return BODY_MALFORMED;
			continue;
		}
		size_t run = reader->remaining < length - at ? (size_t)reader->remaining : length - at;
		if (*payload != at)
			memmove(data + *payload, data + at, run);
		*payload += run;
		at += run;
		reader->payload_bytes += run;
		reader->remaining -= run;
		if (reader->remaining == 0)
			reader->chunk_state = CHUNK_DATA_CR;
	}
	*consumed = at;
	return reader->done ? BODY_DONE : BODY_MORE;
}

enum body_status
body_read(struct body_reader *reader, char *data, size_t length, size_t *payload, size_t *consumed)
{
	*payload = 0;
	*consumed = 0;
	if (reader->done)
		return BODY_DONE;
	if (reader->kind == BODY_CHUNKED) {
		*consumed = length;
		return read_chunked(reader, data, length, payload, consumed);
	}

	size_t run = length;
	if (reader->kind == BODY_LENGTH) {
		if (reader->remaining < length)
			run = (size_t)reader->remaining;
		reader->remaining -= run;
		reader->done = reader->remaining == 0;
	}
	reader->payload_bytes += run;
	*payload = *consumed = run;
	return reader->done ? BODY_DONE : BODY_MORE;
}

bool
body_read_end(const struct body_reader *reader)
{
	return reader->done || reader->kind == BODY_UNTIL_CLOSE;
}

size_t
chunk_prefix_before(char *end, size_t payload_bytes)
{
	static const char hex[] = "0123456789abcdef";
	char *at = end;

	*--at = '\n';
	*--at = '\r';
	do {
		*--at = hex[payload_bytes & 0xf];
		payload_bytes >>= 4;
	} while (payload_bytes > 0);
	return (size_t)(end - at);
}
