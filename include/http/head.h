/* http/head.h: a strict parser of HTTP/1.1 request and response heads (RFC 9112).
 *
 * Strict means: what two parsers could understand differently is refused. A head is refused for a bare LF or CR, obs-fold,
 * NUL or any other control byte (HTAB apart) or DEL, a space before a colon, an empty or non-token field name, a missing
 * or second Host (requests), a second Content-Length even if alike, a Content-Length that is not digits alone or
 * overflows, Transfer-Encoding together with Content-Length, any transfer coding but exactly one "chunked",
 * Transfer-Encoding in an HTTP/1.0 message.
 *
 * head_find_end() looks for the end of the head as bytes arrive and remembers where it stopped; the whole head is then
 * parsed at once, in place. Everything parsed borrows from those bytes. Pure; safe from any thread.
 *
 *	switch (head_find_end(&search, bytes, limit, &length)) {
 *	case HEAD_COMPLETE:
 *		status = head_parse_request(slice_of(bytes.data, length), &request);
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "http/headers.h"

enum head_status {
	HEAD_COMPLETE,
	HEAD_INCOMPLETE,      /* more bytes are needed */
	HEAD_MALFORMED,       /* 400; garbled from a backend */
	HEAD_TOO_LARGE,       /* 431: over the cap in bytes, or over HEADERS_MAX fields */
	HEAD_TARGET_TOO_LONG, /* 414: TOO_LARGE while the search was still in a request's first line; callers tell */
	HEAD_VERSION_UNSUPPORTED, /* 505: a well-formed version that is not HTTP/1.0 or HTTP/1.1 */
	HEAD_CODING_UNSUPPORTED,  /* 501: a transfer coding that is not chunked (RFC 9112, 6.1) */
};

enum http_method {
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_PATCH,
	METHOD_OPTIONS,
	METHOD_CONNECT,
	METHOD_TRACE,
	METHOD_OTHER, /* a well-formed token that is none of these */
};

/* What has come of the empty line that a request may begin with. */
enum head_blank {
	BLANK_POSSIBLE, /* nothing has come yet */
	BLANK_BEGUN,    /* its CR */
	BLANK_TAKEN,    /* all of it, and nothing else */
	BLANK_PAST,     /* the head has begun */
};

/* Where the search for the end of a head stands; zeroed to start. */
struct head_search {
	size_t scanned;    /* bytes looked at */
	size_t line_start; /* where the current line began; 0: still in the first */
	enum head_blank blank;
};

#define NO_CONTENT_LENGTH UINT64_MAX

struct request_head {
	struct slice method;
	enum http_method method_id;
	struct slice target;     /* as it came; see http/target.h */
	unsigned minor_version;  /* 0 or 1 */
	uint64_t content_length; /* NO_CONTENT_LENGTH when absent */
	bool chunked;
	bool keep_alive;      /* version and Connection taken together */
	bool expect_continue; /* Expect: 100-continue (any other expectation: expect_unknown) */
	bool expect_unknown;  /* 417 */
	bool upgrade;         /* Connection: upgrade with an Upgrade field, e.g. a WebSocket */
	struct slice host;
	struct headers headers;
	const char *fault; /* HEAD_MALFORMED and kin: what is wrong, for the error message and the log; static text */
};

struct response_head {
	unsigned status; /* 100..999 */
	struct slice reason;
	unsigned minor_version;
	uint64_t content_length; /* NO_CONTENT_LENGTH when absent */
	bool chunked;
	bool keep_alive;
	struct headers headers;
	const char *fault;
};

/* Looks for the empty line that ends a head.
 *
 * search	where the last call stopped; the caller zeroes it for a new head
 * bytes	all bytes since the head's start, those of earlier calls included
 * limit	most bytes that a head may have; beyond it the answer is HEAD_TOO_LARGE, complete or not
 * head_length	set on HEAD_COMPLETE: the head's bytes, its empty line included
 *
 * The empty line that may come before a request is not part of the head: see head_skip_blank(). Returns COMPLETE,
 * INCOMPLETE, TOO_LARGE, or MALFORMED as soon as a line ends in a bare LF. */
enum head_status head_find_end(struct head_search *search, struct slice bytes, size_t limit,
    size_t *head_length) MUST_CHECK;

/* Passes over one empty line before a request (RFC 9112, 2.2 asks servers to ignore it), in however many pieces it comes.
 *
 * bytes	those that were not skipped before
 * skipped	set to how many of them belong to the empty line
 *
 * Returns COMPLETE when a head begins behind them, INCOMPLETE when there is nothing behind them, and MALFORMED for a CR
 * without its LF, or for a second empty line: were any number ignored, a caller could drip them for ever. */
enum head_status head_skip_blank(struct head_search *search, struct slice bytes, size_t *skipped) MUST_CHECK;

/* Parses a whole head, its empty line included. On anything but HEAD_COMPLETE only out->fault is to be read (and
 * whatever of method was parsed before). */
enum head_status head_parse_request(struct slice head, struct request_head *out) MUST_CHECK;
enum head_status head_parse_response(struct slice head, struct response_head *out) MUST_CHECK;

#endif
