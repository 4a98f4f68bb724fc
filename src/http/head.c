#include "http/head.h"

#include <string.h>

#include "chars.h"
#include "scan.h"

/* What a walk over the lines of a head needs, and what the fields that frame the message said. */
struct head_walk {
	const char *at;
	const char *end;
	const char *fault;
	struct headers *headers;
	uint64_t content_length;
	struct slice host;
	struct slice transfer_encoding;
	unsigned hosts;
	unsigned transfer_encodings;
	bool close;
	bool keep_alive;
	bool upgrade_token;
	bool upgrade_field;
	bool expect_continue;
	bool expect_unknown;
};

enum head_status
head_find_end(struct head_search *search, struct slice bytes, size_t limit, size_t *head_length)
{
	size_t length = bytes.length < limit ? bytes.length : limit;

	for (size_t width; search->scanned < length; search->scanned += width) {
		uint64_t feeds = scan_line_feeds(bytes.data + search->scanned, bytes.data + length, &width);

		for (; feeds != 0; feeds &= feeds - 1) {
			size_t at = search->scanned + (size_t)__builtin_ctzll(feeds);

			if (at == 0 || bytes.data[at - 1] != '\r')
				return HEAD_MALFORMED;
			if (at == search->line_start + 1) {
				*head_length = at + 1;
				return HEAD_COMPLETE;
			}
			search->line_start = at + 1;
		}
	}
	/* A head that fills the limit and has not ended can only become longer than it. */
	return bytes.length >= limit ? HEAD_TOO_LARGE : HEAD_INCOMPLETE;
}

enum head_status
head_skip_blank(struct head_search *search, struct slice bytes, size_t *skipped)
{
	*skipped = 0;
	if (search->blank == BLANK_PAST)
		return HEAD_COMPLETE;
	if (search->blank == BLANK_POSSIBLE && bytes.length > 0 && bytes.data[0] == '\r') {
		search->blank = BLANK_BEGUN;
		*skipped = 1;
	}
	if (*skipped == bytes.length)
		return HEAD_INCOMPLETE;
	if (search->blank == BLANK_BEGUN) {
		if (bytes.data[(*skipped)++] != '\n')
			return HEAD_MALFORMED;
		search->blank = BLANK_TAKEN;
		if (*skipped == bytes.length)
			return HEAD_INCOMPLETE;
	}
	if (search->blank == BLANK_TAKEN && bytes.data[*skipped] == '\r')
		return HEAD_MALFORMED;
	search->blank = BLANK_PAST;
	return HEAD_COMPLETE;
}

static enum head_status
malformed(struct head_walk *walk, const char *fault)
{
	walk->fault = fault;
	return HEAD_MALFORMED;
}

/* Takes a token, possibly empty. */
static struct slice
take_token(struct head_walk *walk)
{
	const char *end = walk->end, *at = scan_name(walk->at, end);

	while (UNLIKELY(at < end && char_is(*at, CHAR_TOKEN)))
		at++;
	struct slice run = slice_of(walk->at, (size_t)(at - walk->at));
	walk->at = at;
	return run;
}

static bool
take_byte(struct head_walk *walk, char byte)
{
	if (walk->at == walk->end || *walk->at != byte)
		return false;
	walk->at++;
	return true;
}

static bool
take_line_end(struct head_walk *walk)
{
	if (walk->end - walk->at < 2 || walk->at[0] != '\r' || walk->at[1] != '\n')
		return false;
	walk->at += 2;
	return true;
}

/* "HTTP/1.1": sets the minor version. */
static enum head_status
take_version(struct head_walk *walk, unsigned *minor_version)
{
	const char *version = walk->at;

	if (walk->end - version < 8 || memcmp(version, "HTTP/", 5) != 0 || version[5] < '0' || version[5] > '9' ||
	    version[6] != '.' || version[7] < '0' || version[7] > '9')
		return malformed(walk, "the HTTP version is not well-formed");
	walk->at += 8;
	/* Digits that go on make it no version at all. */
	if (walk->at < walk->end && *walk->at != '\r' && *walk->at != ' ')
		return malformed(walk, "the HTTP version is not well-formed");
	if (version[5] != '1' || version[7] > '1') {
		walk->fault = "only HTTP/1.0 and HTTP/1.1 are spoken here";
		return HEAD_VERSION_UNSUPPORTED;
	}
	*minor_version = version[7] == '1' ? 1 : 0;
	return HEAD_COMPLETE;
}

/* Says which of several faults made a field value or reason end where it does. */
static const char *
line_fault(const struct head_walk *walk)
{
	if (walk->at == walk->end)
		return "the head is cut off";
	if (*walk->at == '\n')
		return "a header line ends in a bare line feed";
	if (*walk->at == '\r')
		return "a header line holds a bare carriage return";
	return "a header line holds a control byte";
}

static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes the rest of a line with its end; text is without the white space around it. */
static bool
take_text(struct head_walk *walk, struct slice *text)
{
	const char *start = walk->at, *end = walk->end;

	while (start < end && is_blank(*start))
		start++;
	const char *stop = scan_control(start, end);
	while (UNLIKELY(stop < end && *stop == '\t'))
		stop = scan_control(stop + 1, end);
	walk->at = stop;
	while (stop > start && is_blank(stop[-1]))
		stop--;
	*text = slice_of(start, (size_t)(stop - start));
	if (LIKELY(take_line_end(walk)))
		return true;
	walk->fault = line_fault(walk);
	return false;
}

static const char *
note_content_length(struct head_walk *walk, struct slice value)
{
	if (walk->content_length != NO_CONTENT_LENGTH)
		return "there is a second Content-Length";
	if (!slice_to_u64(value, &walk->content_length))
		return "Content-Length is not a number";
	if (walk->content_length == NO_CONTENT_LENGTH)
		return "Content-Length is too large";
	return NULL;
}

static void
note_connection(struct head_walk *walk, struct slice value)
{
	if (header_list_has(value, SLICE("close")))
		walk->close = true;
	if (header_list_has(value, SLICE("keep-alive")))
		walk->keep_alive = true;
	if (header_list_has(value, SLICE("upgrade")))
		walk->upgrade_token = true;
}

/* Remembers what a field says about the message's end and the connection. Returns a fault, or NULL. */
static const char *
note_field(struct head_walk *walk, const struct header *header)
{
	if (header->id == HEADER_OTHER)
		return NULL;
	if (header->id == HEADER_CONTENT_LENGTH)
		return note_content_length(walk, header->value);
	if (header->id == HEADER_TRANSFER_ENCODING) {
		walk->transfer_encoding = header->value;
		if (walk->transfer_encodings++ > 0)
			return "there is a second Transfer-Encoding";
	} else if (header->id == HEADER_CONNECTION) {
		note_connection(walk, header->value);
	} else if (header->id == HEADER_HOST) {
		walk->host = header->value;
		walk->hosts++;
	} else if (header->id == HEADER_UPGRADE) {
		walk->upgrade_field = true;
	} else if (header->id == HEADER_EXPECT) {
		if (slice_equals_nocase(header->value, SLICE("100-continue")))
			walk->expect_continue = true;
		else
			walk->expect_unknown = true;
	}
	return NULL;
}

static const char *
name_fault(const struct head_walk *walk, struct slice name)
{
	if (walk->at == walk->end)
		return "the head is cut off";
	if (name.length == 0 && *walk->at == ':')
		return "a header has no name";
	if (name.length == 0 && (*walk->at == ' ' || *walk->at == '\t'))
		return "a header line is folded";
	if (*walk->at == ' ' || *walk->at == '\t')
		return "there is white space before a header's colon";
	if (*walk->at == '\n')
		return "a header line ends in a bare line feed";
	if (*walk->at == '\r')
		return "a header line has no colon";
	return "a header's name holds a byte that it may not";
}

/* Takes the fields up to and with the empty line, which must be the last of the bytes. */
static enum head_status
take_fields(struct head_walk *walk)
{
	struct headers *headers = walk->headers;

	while (!take_line_end(walk)) {
		if (headers->count == HEADERS_MAX) {
			walk->fault = "there are too many headers";
			return HEAD_TOO_LARGE;
		}
		struct header *header = &headers->items[headers->count];
		header->name = take_token(walk);
		if (header->name.length == 0 || !take_byte(walk, ':'))
			return malformed(walk, name_fault(walk, header->name));
		if (!take_text(walk, &header->value))
			return HEAD_MALFORMED;
		header->id = header_identify(header->name);
		const char *fault = note_field(walk, header);
		if (fault)
			return malformed(walk, fault);
		headers->ids |= HEADER_BIT(header->id);
		headers->count++;
	}
	return walk->at == walk->end ? HEAD_COMPLETE : malformed(walk, "there are bytes behind the head");
}

/* Whether a Transfer-Encoding that is not "chunked" alone is broken, rather than of a coding that is not spoken here. */
static bool
codings_broken(struct slice codings)
{
	unsigned chunked = 0;

	for (;;) {
		const char *comma = codings.length > 0 ? memchr(codings.data, ',', codings.length) : NULL;
		struct slice rest = codings;
		if (comma)
			rest.length = (size_t)(comma - codings.data);
		struct slice coding = slice_trim(rest);
		if (coding.length == 0)
			return true;
		if (slice_equals_nocase(coding, SLICE("chunked")) && ++chunked > 1)
			return true;
		if (!comma)
			return false;
		codings = slice_skip(codings, rest.length + 1);
	}
}

/* RFC 9112, 6.1 and 6.3: whether the fields agree on where the body ends. */
static enum head_status
check_framing(struct head_walk *walk, unsigned minor_version, bool *chunked)
{
	*chunked = false;
	if (walk->transfer_encodings == 0)
		return HEAD_COMPLETE;
	if (walk->content_length != NO_CONTENT_LENGTH)
		return malformed(walk, "there are both Transfer-Encoding and Content-Length");
	if (minor_version == 0)
		return malformed(walk, "there is a Transfer-Encoding in an HTTP/1.0 message");
	if (!slice_equals_nocase(walk->transfer_encoding, SLICE("chunked"))) {
		if (codings_broken(walk->transfer_encoding))
			return malformed(walk, "Transfer-Encoding is not well-formed");
		walk->fault = "a transfer coding other than chunked is not supported";
		return HEAD_CODING_UNSUPPORTED;
	}
	*chunked = true;
	return HEAD_COMPLETE;
}

static enum head_status
check_host(struct head_walk *walk, unsigned minor_version)
{
	if (walk->hosts > 1)
		return malformed(walk, "there is a second Host");
	if (walk->hosts == 0)
		return minor_version == 0 ? HEAD_COMPLETE : malformed(walk, "there is no Host");
	return authority_is_valid(walk->host) ? HEAD_COMPLETE : malformed(walk, "Host is not a host name");
}

static enum http_method
identify_method(struct slice method)
{
	static const struct {
		struct slice name;
		enum http_method id;
	} methods[] = {
		/* The usual ones first. */
		{ { "POST", 4 }, METHOD_POST },
		{ { "GET", 3 }, METHOD_GET },
		{ { "DELETE", 6 }, METHOD_DELETE },
		{ { "HEAD", 4 }, METHOD_HEAD },
		{ { "PUT", 3 }, METHOD_PUT },
		{ { "PATCH", 5 }, METHOD_PATCH },
		{ { "OPTIONS", 7 }, METHOD_OPTIONS },
		{ { "CONNECT", 7 }, METHOD_CONNECT },
		{ { "TRACE", 5 }, METHOD_TRACE },
	};

	for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
		if (slice_equals(method, methods[i].name))
			return methods[i].id;
	}
	return METHOD_OTHER;
}

static enum head_status
take_request_line(struct head_walk *walk, struct request_head *out)
{
	out->method = take_token(walk);
	out->method_id = identify_method(out->method);
	if (out->method.length == 0 || !take_byte(walk, ' '))
		return malformed(walk, "the request line does not begin with a method and one space");
	const char *target = walk->at;
	walk->at = scan_blank(target, walk->end);
	out->target = slice_of(target, (size_t)(walk->at - target));
	if (out->target.length == 0 || !take_byte(walk, ' '))
		return malformed(walk, "the request line has no target that is followed by one space");
	enum head_status status = take_version(walk, &out->minor_version);
	if (status != HEAD_COMPLETE)
		return status;
	return take_line_end(walk) ? HEAD_COMPLETE : malformed(walk, "the request line does not end in CR LF");
}

static enum head_status
parse_request(struct head_walk *walk, struct request_head *out)
{
	enum head_status status = take_request_line(walk, out);

	if (status == HEAD_COMPLETE)
		status = take_fields(walk);
	if (status == HEAD_COMPLETE)
		status = check_host(walk, out->minor_version);
	if (status == HEAD_COMPLETE)
		status = check_framing(walk, out->minor_version, &out->chunked);
	return status;
}

/* RFC 9112, 9.3. */
static bool
keeps_alive(const struct head_walk *walk, unsigned minor_version)
{
	return !walk->close && (minor_version == 1 || walk->keep_alive);
}

enum head_status
head_parse_request(struct slice head, struct request_head *out)
{
	struct head_walk walk = {
		.at = head.data,
		.end = head.length > 0 ? head.data + head.length : head.data,
		.headers = &out->headers,
		.content_length = NO_CONTENT_LENGTH,
	};

	/* Field by field: clearing the whole of the struct would cost more than the parsing. */
	out->minor_version = 0;
	out->headers.count = 0;
	out->headers.ids = 0;
	out->target = SLICE_EMPTY;
	enum head_status status = parse_request(&walk, out);
	out->fault = walk.fault;
	if (status != HEAD_COMPLETE)
		return status;
	out->host = walk.host;
	out->content_length = walk.content_length;
	out->keep_alive = keeps_alive(&walk, out->minor_version);
	/* RFC 9110, 10.1.1: of an HTTP/1.0 client the expectation is ignored. */
	out->expect_continue = walk.expect_continue && out->minor_version == 1;
	out->expect_unknown = walk.expect_unknown;
	out->upgrade = walk.upgrade_token && walk.upgrade_field;
	return HEAD_COMPLETE;
}

static enum head_status
take_status_line(struct head_walk *walk, struct response_head *out)
{
	enum head_status status = take_version(walk, &out->minor_version);

	if (status != HEAD_COMPLETE)
		return status;
	if (!take_byte(walk, ' ') || walk->end - walk->at < 3)
		return malformed(walk, "the status line has no status");
	out->status = 0;
	for (int i = 0; i < 3; i++) {
		char digit = *walk->at++;
		if (digit < '0' || digit > '9')
			return malformed(walk, "the status is not a number");
		out->status = out->status * 10 + (unsigned)(digit - '0');
	}
	if (out->status < 100)
		return malformed(walk, "the status is below 100");
	/* Some servers leave out the space before a reason that is empty. */
	if (take_line_end(walk))
		return HEAD_COMPLETE;
	if (!take_byte(walk, ' '))
		return malformed(walk, "the status has more than three digits");
	return take_text(walk, &out->reason) ? HEAD_COMPLETE : HEAD_MALFORMED;
}

static enum head_status
parse_response(struct head_walk *walk, struct response_head *out)
{
	enum head_status status = take_status_line(walk, out);

	if (status == HEAD_COMPLETE)
		status = take_fields(walk);
	if (status == HEAD_COMPLETE)
		status = check_framing(walk, out->minor_version, &out->chunked);
	/* No coding was asked for (there is no TE), so one that comes is the backend's fault. */
	return status == HEAD_CODING_UNSUPPORTED ? HEAD_MALFORMED : status;
}

enum head_status
head_parse_response(struct slice head, struct response_head *out)
{
	struct head_walk walk = {
		.at = head.data,
		.end = head.length > 0 ? head.data + head.length : head.data,
		.headers = &out->headers,
		.content_length = NO_CONTENT_LENGTH,
	};

	out->reason = SLICE_EMPTY;
	out->minor_version = 0;
	out->headers.count = 0;
	out->headers.ids = 0;
	enum head_status status = parse_response(&walk, out);
	out->fault = walk.fault;
	if (status != HEAD_COMPLETE)
		return status;
	out->content_length = walk.content_length;
	out->keep_alive = keeps_alive(&walk, out->minor_version);
	return HEAD_COMPLETE;
}
