/* Request heads: found alike whole and byte by byte; what is taken lies in the input and goes upstream without anything
 * that could split a request. A head that is taken says the same when it is written anew, and is refused with any further
 * field that speaks of its end. */
#include "fuzz.h"

#include "http/head.h"

#define LIMIT 4096

static void
check_search(struct slice bytes)
{
	struct head_search whole = { 0 }, piecewise = { 0 };
	size_t length = 0, piecewise_length = 0;
	enum head_status status = head_find_end(&whole, bytes, LIMIT, &length);
	enum head_status piecewise_status = HEAD_INCOMPLETE;

	for (size_t have = 0; have <= bytes.length && piecewise_status == HEAD_INCOMPLETE; have++)
		piecewise_status = head_find_end(&piecewise, slice_of(bytes.data, have), LIMIT, &piecewise_length);
	PROMISE(status == piecewise_status);
	PROMISE(length == piecewise_length && length <= LIMIT && length <= bytes.length);
	PROMISE(status != HEAD_COMPLETE || (length >= 2 && memcmp(bytes.data + length - 2, "\r\n", 2) == 0));
}

/* The empty line in front: passed over alike whole and in two pieces wherever they are cut. */
static void
check_blank(struct slice bytes)
{
	struct head_search whole = { 0 };
	size_t skipped;
	enum head_status status = head_skip_blank(&whole, bytes, &skipped);

	PROMISE(skipped <= 2 && skipped <= bytes.length);
	PROMISE(status != HEAD_INCOMPLETE || skipped == bytes.length);
	PROMISE(status != HEAD_COMPLETE || skipped == 0 || memcmp(bytes.data, "\r\n", 2) == 0);
	for (size_t cut = 0; cut <= bytes.length && cut < 8; cut++) {
		struct head_search search = { 0 };
		size_t first, second = 0;
		enum head_status parts = head_skip_blank(&search, slice_of(bytes.data, cut), &first);

		if (parts == HEAD_INCOMPLETE)
			parts = head_skip_blank(&search, slice_skip(bytes, first), &second);
		PROMISE(parts == status);
		PROMISE(status == HEAD_MALFORMED || first + second == skipped);
	}
}

/* Writes the head as the parser understood it; a parser that read the bytes otherwise would see something else here. */
static void
check_rewritten(const struct request_head *head)
{
	static struct request_head again;
	struct buffer text = { 0 };

	buffer_append_slice(&text, head->method);
	buffer_append_byte(&text, ' ');
	buffer_append_slice(&text, head->target);
	buffer_append_string(&text, head->minor_version == 1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
	for (unsigned i = 0; i < head->headers.count; i++) {
		buffer_append_slice(&text, head->headers.items[i].name);
		buffer_append_string(&text, ": ");
		buffer_append_slice(&text, head->headers.items[i].value);
		buffer_append_string(&text, "\r\n");
	}
	buffer_append_string(&text, "\r\n");
	PROMISE(head_parse_request(buffer_slice(&text), &again) == HEAD_COMPLETE);
	PROMISE(again.method_id == head->method_id && slice_equals(again.method, head->method));
	PROMISE(slice_equals(again.target, head->target) && again.minor_version == head->minor_version);
	PROMISE(again.content_length == head->content_length && again.chunked == head->chunked);
	PROMISE(again.keep_alive == head->keep_alive && again.expect_continue == head->expect_continue);
	PROMISE(again.expect_unknown == head->expect_unknown && again.upgrade == head->upgrade);
	PROMISE(slice_equals(again.host, head->host) && again.headers.count == head->headers.count);
	for (unsigned i = 0; i < head->headers.count; i++) {
		PROMISE(slice_equals(again.headers.items[i].name, head->headers.items[i].name));
		PROMISE(slice_equals(again.headers.items[i].value, head->headers.items[i].value));
	}
	buffer_free(&text);
}

/* One more field, in front of the others or behind them, must not be overlooked. */
static void
check_refused_with(struct slice bytes, const char *field)
{
	static struct request_head head;
	ptrdiff_t first_line = slice_find(bytes, SLICE("\r\n"));

	for (size_t at = (size_t)first_line + 2;; at = bytes.length - 2) {
		struct buffer text = { 0 };

		buffer_append(&text, bytes.data, at);
		buffer_append_string(&text, field);
		buffer_append(&text, bytes.data + at, bytes.length - at);
		PROMISE(head_parse_request(buffer_slice(&text), &head) != HEAD_COMPLETE);
		buffer_free(&text);
		if (at == bytes.length - 2)
			break;
	}
}

static void
check_contradictions(struct slice bytes, const struct request_head *head)
{
	if (head->content_length != NO_CONTENT_LENGTH || head->chunked) {
		check_refused_with(bytes, "Content-Length: 1\r\n");
		check_refused_with(bytes, "transfer-encoding: chunked\r\n");
	}
	if (head->host.length > 0)
		check_refused_with(bytes, "host: a\r\n");
	check_refused_with(bytes, "Transfer-Encoding: chunked, chunked\r\n");
	check_refused_with(bytes, "Content-Length : 1\r\n");
	check_refused_with(bytes, "X: a\r\n Content-Length: 1\r\n");
	check_refused_with(bytes, "X: a\nContent-Length: 1\r\n");
}

static void
check_fields(const struct headers *headers, struct slice head)
{
	struct buffer out = { 0 };
	size_t lines = 0;

	PROMISE(headers->count <= HEADERS_MAX);
	for (unsigned i = 0; i < headers->count; i++) {
		const struct header *header = &headers->items[i];
		PROMISE(lies_in(header->name, head) && lies_in(header->value, head));
		PROMISE(header->name.length > 0 && header->id == header_identify(header->name));
		PROMISE(slice_equals(slice_trim(header->value), header->value));
	}
	headers_write_upstream(headers, &out);
	headers_write_credentials(headers, &out);
	headers_write_downstream(headers, true, &out);
	for (size_t i = 0; i < out.length; i++) {
		PROMISE(out.data[i] != '\0');
		PROMISE(out.data[i] != '\n' || (i > 0 && out.data[i - 1] == '\r'));
		PROMISE(out.data[i] != '\r' || (i + 1 < out.length && out.data[i + 1] == '\n'));
		lines += out.data[i] == '\n';
	}
	PROMISE(lines <= 2 * (size_t)headers->count);
	PROMISE(slice_find(buffer_slice(&out), SLICE("\r\n\r\n")) < 0);
	buffer_free(&out);
	(void)headers_connection_names_vital(headers);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct request_head head;
	struct slice bytes = input_slice(data, size);

	check_search(bytes);
	check_blank(bytes);
	enum head_status status = head_parse_request(bytes, &head);
	PROMISE(status != HEAD_INCOMPLETE);
	PROMISE((head.fault == NULL) == (status == HEAD_COMPLETE));
	if (status != HEAD_COMPLETE)
		return 0;
	PROMISE(lies_in(head.method, bytes) && lies_in(head.target, bytes) && lies_in(head.host, bytes));
	PROMISE(head.method.length > 0 && head.target.length > 0);
	PROMISE(!head.chunked || (head.content_length == NO_CONTENT_LENGTH && head.minor_version == 1));
	PROMISE(headers_count(&head.headers, HEADER_CONTENT_LENGTH) == (head.content_length != NO_CONTENT_LENGTH));
	PROMISE(headers_count(&head.headers, HEADER_TRANSFER_ENCODING) == head.chunked);
	PROMISE(headers_count(&head.headers, HEADER_HOST) == 1 || head.minor_version == 0);
	check_fields(&head.headers, bytes);
	check_rewritten(&head);
	check_contradictions(bytes, &head);
	/* A head that is taken was found to end where it does. */
	struct head_search search = { 0 };
	size_t length;
	PROMISE(head_find_end(&search, bytes, size + 1, &length) == HEAD_COMPLETE && length == size);
	return 0;
}
