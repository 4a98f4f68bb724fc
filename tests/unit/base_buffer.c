/* base/buffer.h and base/memory.h */
#include "unit.h"

#include <inttypes.h>

#include "base/buffer.h"

static void
a_zeroed_buffer_is_empty_and_usable(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	CHECK("empty", buffer_slice(&buffer).length == 0);
	buffer_append(&buffer, NULL, 0);
	buffer_consume(&buffer, 0);
	CHECK("still without memory", buffer.data == NULL);
	buffer_append_string(&buffer, "HTTP/1.1 ");
	buffer_append_u64(&buffer, 200);
	buffer_append_byte(&buffer, ' ');
	buffer_append_slice(&buffer, SLICE("OK"));
	CHECK_TEXT("all that was appended", buffer_slice(&buffer), "HTTP/1.1 200 OK");
	buffer_consume(&buffer, 9);
	CHECK_TEXT("without its front", buffer_slice(&buffer), "200 OK");
	buffer_consume(&buffer, 6);
	CHECK("consumed whole", buffer.length == 0 && buffer.data != NULL);
	buffer_free(&buffer);
	CHECK("freed", buffer.data == NULL && buffer.capacity == 0);
	buffer_append_string(&buffer, "again");
	CHECK_TEXT("usable after it was freed", buffer_slice(&buffer), "again");
	buffer_clear(&buffer);
	CHECK("cleared, memory kept", buffer.length == 0 && buffer.capacity > 0);
	buffer_free(&buffer);
}

static void
growth_is_geometric_unless_asked_otherwise(void **state)
{
	struct buffer buffer = { 0 };
	unsigned moves = 0;
	size_t capacity = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		buffer_append_byte(&buffer, (char)('a' + i % 26));
		moves += buffer.capacity != capacity;
		capacity = buffer.capacity;
	}
	CHECK("few moves", moves < 20);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(buffer.data[i], 'a' + i % 26);
	buffer_free(&buffer);
	buffer_reserve_exactly(&buffer, 1000);
	CHECK_NUMBER("exactly", buffer.capacity, 1000);
	buffer_reserve_exactly(&buffer, 10);
	CHECK_NUMBER("never smaller", buffer.capacity, 1000);
	buffer_reserve(&buffer, 1000);
	CHECK_NUMBER("there is room already", buffer.capacity, 1000);
	buffer_free(&buffer);
}

static void
numbers_print_in_decimal(void **state)
{
	struct buffer buffer = { 0 };

	(void)state;
	buffer_append_u64(&buffer, 0);
	buffer_append_byte(&buffer, ' ');
	buffer_append_u64(&buffer, UINT64_MAX);
	CHECK_TEXT("both ends", buffer_slice(&buffer), "0 18446744073709551615");
	buffer_clear(&buffer);
	buffer_append_format(&buffer, "%s=%" PRIu64, "n", UINT64_C(5));
	buffer_append_format(&buffer, "%200s", "");
	CHECK_NUMBER("a format that needs room", buffer.length, 203);
	buffer_free(&buffer);
}

static void
json_text_is_escaped(void **state)
{
	static const struct {
		const char *behaviour, *text, *want;
	} rows[] = {
		{ "plain text", "plain text", "plain text" },
		{ "nothing", "", "" },
		{ "quotes and backslashes", "a\"b\\c", "a\\\"b\\\\c" },
		{ "the usual control bytes", "\n\r\t", "\\n\\r\\t" },
		{ "other control bytes", "\x01\x1f\x7f", "\\u0001\\u001f\\u007f" },
		{ "UTF-8 stays", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "a lone byte is replaced",
		    "a\xff"
		    "b",
		    "a\xef\xbf\xbd"
		    "b" },
		{ "a sequence that is cut", "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "an overlong form", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "an overlong form of three", "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "a surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "beyond Unicode", "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct buffer buffer = { 0 };
		size_t length = strlen(rows[i].text);
		char *text = exact_copy(rows[i].text, length);
		buffer_append_json_text(&buffer, slice_of(text, length));
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&buffer), rows[i].want);
		buffer_free(&buffer);
		free(text);
	}
}

static void
memory_is_there(void **state)
{
	char *zeroed = memory_take_zeroed(3, 5);
	char *nothing = memory_take(0);

	(void)state;
	for (size_t i = 0; i < 15; i++)
		assert_int_equal(zeroed[i], 0);
	zeroed = memory_resize(zeroed, 100);
	zeroed[99] = 1;
	free(zeroed);
	assert_non_null(nothing);
	free(nothing);
	char *copy = memory_copy_string("abc");
	assert_string_equal(copy, "abc");
	free(copy);
	assert_null(memory_copy_string(NULL));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_zeroed_buffer_is_empty_and_usable),
		cmocka_unit_test(growth_is_geometric_unless_asked_otherwise),
		cmocka_unit_test(numbers_print_in_decimal),
		cmocka_unit_test(json_text_is_escaped),
		cmocka_unit_test(memory_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
