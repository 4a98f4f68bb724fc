/* Response heads: what is taken lies in the input and frames its body in one way alone. */
#include "fuzz.h"

#include "http/framing.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct response_head head;
	struct slice bytes = input_slice(data, size);
	struct body_reader reader;
	struct head_search search = { 0 };
	size_t length;

	enum head_status status = head_parse_response(bytes, &head);
	PROMISE(status != HEAD_INCOMPLETE && status != HEAD_CODING_UNSUPPORTED);
	PROMISE((head.fault == NULL) == (status == HEAD_COMPLETE));
	if (status != HEAD_COMPLETE)
		return 0;
	PROMISE(head.status >= 100 && head.status <= 999 && lies_in(head.reason, bytes));
	PROMISE(!head.chunked || (head.content_length == NO_CONTENT_LENGTH && head.minor_version == 1));
	PROMISE(head_find_end(&search, bytes, size + 1, &length) == HEAD_COMPLETE && length == size);
	for (unsigned i = 0; i < head.headers.count; i++)
		PROMISE(lies_in(head.headers.items[i].name, bytes) && lies_in(head.headers.items[i].value, bytes));
	body_reader_init_response(&reader, &head, false);
	PROMISE(reader.kind != BODY_CHUNKED || head.chunked);
	PROMISE(reader.kind != BODY_LENGTH || reader.remaining == head.content_length);
	return 0;
}
