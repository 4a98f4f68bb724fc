/* http/sse.h: splits a stream of server-sent events as it passes (WHATWG HTML, 9.2.6).
 *
 * Bytes are given as they arrive, cut anywhere. An event that lies whole in the bytes given is looked at in place; only
 * one that is cut is kept, up to SSE_EVENT_MAX_BYTES. Lines end in LF, CRLF or CR. Comments and unknown fields are
 * passed over. The scanner changes nothing: the relay sends the same bytes on. Owned by one stream; pure but for memory.
 *
 *	struct slice rest = bytes;
 *	while (sse_next(&scanner, &rest, &event))
 *		... event.type, event.data; rest now begins behind the event ...
 *	if (sse_at_boundary(&scanner)) ... a comment or an event of our own may go here ...
 */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"

/* Longest event that is kept while it is cut. Of a longer one the first SSE_EVENT_MAX_BYTES are reported. */
#define SSE_EVENT_MAX_BYTES (256U * 1024U)

struct sse_event {
	struct slice type; /* the event field's value; empty when absent */
	struct slice data; /* data lines joined by LF; valid until the next call */
	bool has_data;     /* there was a data field (an event without one is a comment block or a bare type) */
	bool truncated;    /* longer than SSE_EVENT_MAX_BYTES */
};

struct sse_scanner {
	struct buffer partial; /* raw bytes of an event that is cut; freed as soon as the event ends */
	struct buffer joined;  /* data of an event with several data lines */
	uint8_t state;         /* private to sse.c: what the last byte was */
	bool in_event;         /* bytes have come since the last event's end */
	bool oversize;         /* the current event is beyond the cap and not kept any more */
	bool seen_any;         /* for the byte order mark */
};

void sse_init(struct sse_scanner *scanner);

/* Takes the next event from *bytes, advancing it behind the event's blank line. Returns false when no event ends in what
 * is left: then all of it has been taken in, and *bytes is empty. A block of comments only, or a lone blank line,
 * counts as an event without has_data. */
bool sse_next(struct sse_scanner *scanner, struct slice *bytes, struct sse_event *event) MUST_CHECK;

/* Whether all bytes so far end exactly behind an event: the place for a comment or an event of our own. True at start. */
bool sse_at_boundary(const struct sse_scanner *scanner);

void sse_free(struct sse_scanner *scanner);

#endif
