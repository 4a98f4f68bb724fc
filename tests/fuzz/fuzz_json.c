/* JSON: what is found lies in the text and is JSON by itself; a cut text shows no more than the whole. */
#include "fuzz.h"

#include "http/json.h"

static bool
check_element(struct slice element, enum json_kind kind, void *context)
{
	const struct slice *array = context;

	PROMISE(element.length > 0 && lies_in(element, *array) && kind != JSON_ABSENT);
	return true;
}

/* A value that was found must be taken again as the only member of an object. */
static void
check_value(const struct json_want *want)
{
	struct json_want again = { .key = SLICE("x") };
	struct buffer object = { 0 };
	bool ignored;

	buffer_append_string(&object, "{\"x\":");
	buffer_append_slice(&object, want->value);
	buffer_append_byte(&object, '}');
	PROMISE(json_scan(buffer_slice(&object), &again, 1) == JSON_OK);
	PROMISE(again.found == 1 && again.kind == want->kind && slice_equals(again.value, want->value));
	buffer_free(&object);
	ignored = json_each(want->value, check_element, (void *)(uintptr_t)&want->value);
	PROMISE(ignored == (want->kind == JSON_ARRAY));
}

static void
check_string(struct slice raw)
{
	char *decoded = memory_take(raw.length);
	size_t length;

	if (json_string_decode(raw, decoded, &length)) {
		PROMISE(length <= raw.length - 2);
		PROMISE(json_string_equals(raw, slice_of(decoded, length)));
		PROMISE(length == 0 || !json_string_equals(raw, slice_of(decoded, length - 1)));
	}
	free(decoded);
}

static void
check_prefix(struct slice text, const struct json_want *whole, size_t count)
{
	struct json_want wants[2] = { { .key = whole[0].key }, { .key = whole[1].key } };
	struct slice begun = text;

	for (begun.length = 0; begun.length <= text.length; begun.length += 1 + begun.length / 8) {
		char *copy = exact_copy(begun);
		if (json_scan_prefix(slice_of(copy, begun.length), wants, count)) {
			for (size_t i = 0; i < count; i++) {
				PROMISE(wants[i].found <= whole[i].found);
				PROMISE(wants[i].found == 0 || wants[i].kind == whole[i].kind);
				PROMISE(slice_starts_with(whole[i].value, wants[i].value));
			}
		}
		free(copy);
	}
}

/* What is found inside in passing is what a scan of the value finds. */
static void
check_inside(struct slice text)
{
	struct json_want inner = { .key = SLICE("b") }, again = { .key = SLICE("b") };
	struct json_want outer = { .key = SLICE("a"), .inside = &inner, .inside_count = 1 };

	if (json_scan(text, &outer, 1) != JSON_OK)
		return;
	if (outer.kind == JSON_OBJECT) {
		PROMISE(json_scan(outer.value, &again, 1) == JSON_OK);
		PROMISE(again.found == inner.found && slice_equals(again.value, inner.value));
	} else if (outer.kind != JSON_ARRAY) {
		PROMISE(inner.found == 0 && inner.kind == JSON_ABSENT);
	}
	PROMISE(lies_in(inner.value, outer.value));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = input_slice(data, size);
	struct json_want wants[2] = { { .key = SLICE("model") }, { .key = SLICE("a") } };
	uint64_t number;

	check_string(text);
	check_inside(text);
	if (json_to_u64(text, &number))
		PROMISE(size > 0);
	if (json_each(text, check_element, &text) || json_scan_prefix(text, wants, 2))
		PROMISE(size > 0);
	if (json_scan(text, wants, 2) != JSON_OK)
		return 0;
	for (size_t i = 0; i < 2; i++) {
		PROMISE(lies_in(wants[i].value, text));
		PROMISE((wants[i].found == 0) == (wants[i].kind == JSON_ABSENT));
		if (wants[i].found == 0)
			continue;
		check_value(&wants[i]);
		if (wants[i].kind == JSON_STRING)
			check_string(wants[i].value);
	}
	check_prefix(text, wants, 2);
	return 0;
}
