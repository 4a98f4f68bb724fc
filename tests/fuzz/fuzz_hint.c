/* Whatever an answer's header and body say, the wait keeps to its limits.
 *
 * Input: lines "name: value" up to an empty line, then the body. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/hint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice
take_line(struct slice *text)
{
	const char *end = text->length > 0 ? memchr(text->data, '\n', text->length) : NULL;
	size_t length = end ? (size_t)(end - text->data) : text->length;
	struct slice line = slice_of(text->data, length);

	*text = slice_skip(*text, end ? length + 1 : length);
	return line;
}

static void
check(const struct headers *headers, struct slice body, int64_t now_unix_ms, const struct hint_limits *limits)
{
	struct hint hint = hint_read(headers, body, now_unix_ms, limits);
	uint64_t most_ms = limits->max_ms == 0 ? 1 : limits->max_ms;

	if (hint.wait_ms == 0 || hint.wait_ms > most_ms)
		abort();
	if (hint.source == HINT_NONE && hint.clamped)
		abort();
	if (hint_for_caller_ms(hint.wait_ms) > HINT_CALLER_MAX_MS || hint_for_caller_seconds(hint.wait_ms) > 60)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hint_limits limits[] = {
		{ 10000, 1000, 60000 },
		{ 5, 900, 0 },
		{ UINT64_MAX, UINT64_MAX, UINT64_MAX },
	};
	static const int64_t clocks[] = { INT64_C(1795342530000), INT64_MIN, INT64_MAX };
	static struct headers headers;
	struct slice text = slice_of((const char *)data, size), line;

	headers.count = 0;
	while (headers.count < HEADERS_MAX && (line = take_line(&text)).length > 0) {
		ptrdiff_t colon = slice_find(line, SLICE(":"));
		struct header *header = &headers.items[headers.count];

		if (colon < 0)
			continue;
		header->name = slice_of(line.data, (size_t)colon);
		header->value = slice_trim(slice_skip(line, (size_t)colon + 1));
		header->id = header_identify(header->name);
		headers.count++;
	}
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		check(&headers, text, clocks[i], &limits[i]);
	return 0;
}
