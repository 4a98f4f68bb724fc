/* Request targets: a path that is taken cannot climb, and is taken again as it is. */
#include "fuzz.h"

#include "http/target.h"

static void
check_path(struct slice path)
{
	char *decoded = memory_take(path.length);
	size_t length;

	PROMISE(path.length > 0 && path.data[0] == '/');
	PROMISE(slice_find(path, SLICE("//")) < 0);
	PROMISE(percent_decode(path, decoded, &length));
	struct slice plain = slice_of(decoded, length);
	PROMISE(memchr(decoded, '\0', length) == NULL && memchr(decoded, '\\', length) == NULL);
	PROMISE(slice_find(plain, SLICE("/../")) < 0 && slice_find(plain, SLICE("/./")) < 0);
	PROMISE(length < 3 || memcmp(decoded + length - 3, "/..", 3) != 0);
	PROMISE(length < 2 || memcmp(decoded + length - 2, "/.", 2) != 0);
	for (size_t i = 0; i < path.length; i++)
		PROMISE(path.data[i] > ' ' && path.data[i] < 0x7f && path.data[i] != '?' && path.data[i] != '#');
	free(decoded);
}

static void
check_query(struct slice query)
{
	static const struct slice names[] = { { "api-key", 7 } };
	struct buffer all = { 0 }, some = { 0 };
	struct slice value;

	(void)query_write_without(query, NULL, 0, &all);
	PROMISE(slice_equals(buffer_slice(&all), query));
	(void)query_write_without(query, names, 1, &some);
	PROMISE(!query_find(buffer_slice(&some), names[0], &value));
	if (query_find(query, names[0], &value))
		PROMISE(lies_in(value, query));
	buffer_free(&all);
	buffer_free(&some);
}

/* Any text survives being made a segment. */
static void
check_segment(struct slice text)
{
	struct buffer segment = { 0 };

	percent_encode_segment(text, &segment);
	char *decoded = memory_take(segment.length);
	size_t length;
	PROMISE(percent_decode(buffer_slice(&segment), decoded, &length));
	PROMISE(slice_equals(slice_of(decoded, length), text));
	free(decoded);
	buffer_free(&segment);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice raw = input_slice(data, size);
	char *storage = memory_take(size + 1), *again = memory_take(size + 2);
	struct target target, same;
	const char *fault;

	check_segment(raw);
	enum target_status status = target_parse(raw, storage, &target, &fault);
	PROMISE((fault == NULL) == (status == TARGET_OK));
	if (status == TARGET_OK && !slice_equals(target.path, SLICE("*"))) {
		check_path(target.path);
		PROMISE(lies_in(target.path, slice_of(storage, size + 1)) && lies_in(target.query, raw));
		PROMISE(target_parse(target.path, again, &same, &fault) == TARGET_OK);
		PROMISE(slice_equals(same.path, target.path) && !same.has_query);
		check_query(target.query);
	}
	free(storage);
	free(again);
	return 0;
}
