/* Request heads: found alike whole and byte by byte; what is taken lies in the input and goes upstream without anything
 * that could split a request. */
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
	/* A head that is taken was found to end where it does. */
	struct head_search search = { 0 };
	size_t length;
	PROMISE(head_find_end(&search, bytes, size + 1, &length) == HEAD_COMPLETE && length == size);
	return 0;
}
