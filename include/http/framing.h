/* http/framing.h: where a message's body ends (RFC 9112, 6 and 7.1).
 *
 * A body_reader is given bytes as they arrive and says which of them are the body's. It works in place: chunked bodies
 * are compacted to the front of the bytes given, so that a relay sends them on without a copy. Owned by one connection.
 * Pure.
 *
 *	body_reader_init_response(&reader, &head, method);
 *	status = body_read(&reader, data, length, &payload, &consumed);
 *	... data[0..payload) is the body's; data[consumed..length) belongs to the next message ...
 */
#ifndef HTTP_FRAMING_H
#define HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "http/head.h"

/* Longest chunk-size line, extensions included, and longest trailer section. */
#define CHUNK_LINE_MAX_BYTES 4096U
#define TRAILER_MAX_BYTES 16384U

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };
enum body_status { BODY_MORE, BODY_DONE, BODY_MALFORMED };

struct body_reader {
	enum body_kind kind;
	uint8_t chunk_state; /* private to framing.c */
	bool done;
	uint16_t trailer_bytes; /* trailer or chunk-line bytes seen */
	uint64_t remaining;     /* of the body (BODY_LENGTH) or of the chunk (BODY_CHUNKED) */
	uint64_t payload_bytes; /* body bytes seen so far */
};

void body_reader_init_request(struct body_reader *reader, const struct request_head *head);
/* HEAD, 1xx, 204 and 304 have none; CONNECT is never sent. */
void body_reader_init_response(struct body_reader *reader, const struct response_head *head, bool answers_head);

/* Takes bytes in.
 *
 * data		the bytes; rewritten in place: chunk framing is squeezed out
 * payload	set to the number of body bytes, now at data[0]
 * consumed	set to the number of bytes, of those given, that belong to this message (always all, unless BODY_DONE)
 *
 * Returns BODY_DONE when the body is whole (at once for BODY_NONE, with nothing consumed), BODY_MORE, or BODY_MALFORMED
 * (chunk size with a sign, 0x, more than 16 hex digits, bare LF, control bytes in an extension, missing CRLF after data,
 * malformed or over-long trailers). Trailers are read and dropped. */
enum body_status body_read(struct body_reader *reader, char *data, size_t length, size_t *payload,
    size_t *consumed) MUST_CHECK;

/* The connection ended: whether the body may end there (BODY_UNTIL_CLOSE, or already done). */
bool body_read_end(const struct body_reader *reader) MUST_CHECK;

/* Room for "ffffffffffffffff\r\n". */
#define CHUNK_PREFIX_MAX_BYTES 18U
/* Writes the size line of a chunk so that it ends at end (it occupies the bytes before it); returns its length. The
 * caller follows the payload with CRLF. payload_bytes is not 0. */
size_t chunk_prefix_before(char *end, size_t payload_bytes);
#define CHUNK_LAST SLICE("0\r\n\r\n")

#endif
