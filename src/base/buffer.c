#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

#define CAPACITY_MIN_BYTES 64U

void
buffer_reserve(struct buffer *buffer, size_t more)
{
	if (LIKELY(more <= buffer->capacity - buffer->length))
		return;
	if (more > SIZE_MAX / 2 - buffer->length)
		fatal("buffer_reserve: %zu bytes beyond %zu", more, buffer->length);

	size_t needed = buffer->length + more;
	size_t capacity = buffer->capacity < CAPACITY_MIN_BYTES ? CAPACITY_MIN_BYTES : buffer->capacity * 2;
	if (capacity < needed)
		capacity = needed;
	buffer->data = memory_resize(buffer->data, capacity);
	buffer->capacity = capacity;
}

void
buffer_reserve_exactly(struct buffer *buffer, size_t capacity)
{
	if (capacity <= buffer->capacity)
		return;
	buffer->data = memory_resize(buffer->data, capacity);
	buffer->capacity = capacity;
}

void
buffer_append(struct buffer *buffer, const void *data, size_t length)
{
	if (length == 0)
		return;
	buffer_reserve(buffer, length);
	memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
}

void
buffer_append_slice(struct buffer *buffer, struct slice slice)
{
	buffer_append(buffer, slice.data, slice.length);
}

void
buffer_append_byte(struct buffer *buffer, char byte)
{
	buffer_reserve(buffer, 1);
	buffer->data[buffer->length++] = byte;
}

void
buffer_append_u64(struct buffer *buffer, uint64_t value)
{
	char digits[20];
	size_t start = sizeof(digits);

	do {
		digits[--start] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	buffer_append(buffer, digits + start, sizeof(digits) - start);
}

void
buffer_append_format(struct buffer *buffer, const char *format, ...)
{
	va_list arguments;
	size_t room;
	int length;

	/* Most texts fit at the first try; a longer one tells how much room it wants. */
	buffer_reserve(buffer, 128);
	room = buffer->capacity - buffer->length;
	va_start(arguments, format);
	length = vsnprintf(buffer->data + buffer->length, room, format, arguments);
	va_end(arguments);
	if (length >= 0 && (size_t)length >= room) {
		buffer_reserve(buffer, (size_t)length + 1);
		va_start(arguments, format);
		length = vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
		va_end(arguments);
	}
	if (length < 0)
		fatal("buffer_append_format: cannot print \"%s\"", format);
	buffer->length += (size_t)length;
}

static void
append_json_byte(struct buffer *buffer, char byte)
{
	static const char hex[] = "0123456789abcdef";

	switch (byte) {
	case '"':
		buffer_append(buffer, "\\\"", 2);
		break;
	case '\\':
		buffer_append(buffer, "\\\\", 2);
		break;
	case '\n':
		buffer_append(buffer, "\\n", 2);
		break;
	case '\r':
		buffer_append(buffer, "\\r", 2);
		break;
	case '\t':
		buffer_append(buffer, "\\t", 2);
		break;
	default:
		buffer_append(buffer, "\\u00", 4);
		buffer_append_byte(buffer, hex[((unsigned char)byte >> 4) & 0xf]);
		buffer_append_byte(buffer, hex[(unsigned char)byte & 0xf]);
		break;
	}
}

void
buffer_append_json_text(struct buffer *buffer, struct slice text)
{
	size_t plain = 0; /* bytes at the front of text that go as they are */

	while (plain < text.length) {
		unsigned char byte = (unsigned char)text.data[plain];
		bool escaped = byte < 0x20 || byte == 0x7f || byte == '"' || byte == '\\';
		size_t sequence = escaped ? 0 : slice_utf8_sequence(slice_skip(text, plain));

		if (sequence > 0) {
			plain += sequence;
			continue;
		}
		buffer_append(buffer, text.data, plain);
		if (escaped)
			append_json_byte(buffer, (char)byte);
		else
			buffer_append(buffer, "\xef\xbf\xbd", 3);
		text = slice_skip(text, plain + 1);
		plain = 0;
	}
	buffer_append(buffer, text.data, plain);
}

void
buffer_consume(struct buffer *buffer, size_t count)
{
	if (UNLIKELY(count > buffer->length))
		fatal("buffer_consume: %zu bytes of %zu", count, buffer->length);
	buffer->length -= count;
	if (count > 0 && buffer->length > 0)
		memmove(buffer->data, buffer->data + count, buffer->length);
}

struct slice
buffer_slice(const struct buffer *buffer)
{
	return slice_of(buffer->data, buffer->length);
}

void
buffer_clear(struct buffer *buffer)
{
	buffer->length = 0;
}

void
buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){ 0 };
}
