/* base/buffer.h: a run of bytes that grows.
 *
 * A buffer owns its memory; a zeroed struct is a valid, empty buffer. It has no cap of its own: whoever appends what a
 * peer sent checks the cap that is named for the purpose first. Owned by one thread at a time.
 *
 *	struct buffer line = { 0 };
 *	buffer_append_string(&line, "HTTP/1.1 ");
 *	buffer_append_u64(&line, status);
 *	buffer_free(&line);
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/slice.h"

struct buffer {
	char *data;
	size_t length;   /* bytes in use */
	size_t capacity; /* bytes allocated */
};

/* Makes room for at least more further bytes beyond length; growth is geometric. */
void buffer_reserve(struct buffer *buffer, size_t more);
/* Makes room for exactly capacity bytes in all, when that is more than there is: for sizes known beforehand. */
void buffer_reserve_exactly(struct buffer *buffer, size_t capacity);
void buffer_append(struct buffer *buffer, const void *data, size_t length);
void buffer_append_slice(struct buffer *buffer, struct slice slice);
void buffer_append_byte(struct buffer *buffer, char byte);
/* Inline, so that the length of a text that stands in the source is not counted. */
static inline void
buffer_append_string(struct buffer *buffer, const char *string)
{
	buffer_append(buffer, string, strlen(string));
}
/* Decimal digits. */
void buffer_append_u64(struct buffer *buffer, uint64_t value);
void buffer_append_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
/* The text as a JSON string's inside, escaped, without the quotes. Bytes that are no UTF-8 become U+FFFD. */
void buffer_append_json_text(struct buffer *buffer, struct slice text);
/* Drops the first count bytes; count may not exceed length. */
void buffer_consume(struct buffer *buffer, size_t count);
struct slice buffer_slice(const struct buffer *buffer);
/* Empties it and keeps the memory. */
void buffer_clear(struct buffer *buffer);
/* Empties it and gives the memory back; the buffer may be used again. */
void buffer_free(struct buffer *buffer);

#endif
