/* Forms: the first line is a Content-Type, the rest the body. What is found lies between delimiters. */
#include "fuzz.h"

#include "http/multipart.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = input_slice(data, size);
	ptrdiff_t line = slice_find(input, SLICE("\n"));
	struct slice boundary, value;
	bool found;

	if (line < 0)
		return 0;
	struct slice type = slice_of(input.data, (size_t)line), body = slice_skip(input, (size_t)line + 1);
	if (!multipart_boundary(type, &boundary))
		return 0;
	PROMISE(boundary.length >= 1 && boundary.length <= 70 && lies_in(boundary, type));
	enum multipart_status status = multipart_find(body, boundary, SLICE("model"), &value, &found);
	PROMISE(status != MULTIPART_DUPLICATE || found);
	if (status != MULTIPART_OK)
		return 0;
	PROMISE(lies_in(value, body));
	PROMISE(found || value.length == 0);
	PROMISE(slice_find(body, boundary) >= 0);
	return 0;
}
