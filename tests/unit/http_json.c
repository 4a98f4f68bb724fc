/* http/json.h */
#include "unit.h"

#include "http/json.h"

static void
objects_are_taken_or_refused(void **state)
{
	static const struct {
		const char *behaviour, *text;
		enum json_status want;
	} rows[] = {
		{ "an empty object", "{}", JSON_OK },
		{ "white space everywhere", " \t\r\n{ \"a\" : 1 , \"b\" : [ 1 , { } , [ ] ] } \n", JSON_OK },
		{ "every kind of value", "{\"a\":1,\"b\":\"\",\"c\":true,\"d\":false,\"e\":null,\"f\":{},\"g\":[]}",
		    JSON_OK },
		{ "numbers", "{\"a\":[0,-0,1.5,10e5,1E+5,-1.25e-3]}", JSON_OK },
		{ "escapes", "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"}", JSON_OK },
		{ "beyond ASCII", "{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\"}", JSON_OK },
		{ "DEL in a string", "{\"a\":\"\x7f\"}", JSON_OK },
		{ "a string longer than a block", "{\"a\":\"0123456789abcdef0123456789abcdef0123\"}", JSON_OK },
		{ "an escape at a block's end", "{\"a\":\"0123456789\\\"abcdef\\\\\"}", JSON_OK },

		{ "nothing", "", JSON_NOT_OBJECT },
		{ "white space alone", "  \n", JSON_NOT_OBJECT },
		{ "an array", "[]", JSON_NOT_OBJECT },
		{ "a string", "\"a\"", JSON_NOT_OBJECT },
		{ "a byte order mark", "\xef\xbb\xbf{}", JSON_NOT_OBJECT },

		{ "no end", "{", JSON_MALFORMED },
		{ "no end of a member", "{\"a\":1", JSON_MALFORMED },
		{ "no end of a string", "{\"a", JSON_MALFORMED },
		{ "no value", "{\"a\":}", JSON_MALFORMED },
		{ "no colon", "{\"a\" 1}", JSON_MALFORMED },
		{ "two colons", "{\"a\"::1}", JSON_MALFORMED },
		{ "no comma", "{\"a\":1 \"b\":2}", JSON_MALFORMED },
		{ "a comma at the end", "{\"a\":1,}", JSON_MALFORMED },
		{ "a comma alone", "{,}", JSON_MALFORMED },
		{ "a comma at the end of an array", "{\"a\":[1,]}", JSON_MALFORMED },
		{ "a member in an array", "{\"a\":[\"b\":1]}", JSON_MALFORMED },
		{ "an element in an object", "{\"a\":{1}}", JSON_MALFORMED },
		{ "brackets that do not match", "{\"a\":[}]", JSON_MALFORMED },
		{ "braces that do not match", "{\"a\":{]}", JSON_MALFORMED },
		{ "bytes behind the end", "{}x", JSON_MALFORMED },
		{ "a second object", "{}{}", JSON_MALFORMED },
		{ "a key without quotes", "{a:1}", JSON_MALFORMED },
		{ "a key in single quotes", "{'a':1}", JSON_MALFORMED },
		{ "a value in single quotes", "{\"a\":'b'}", JSON_MALFORMED },
		{ "a comment", "{/**/\"a\":1}", JSON_MALFORMED },
		{ "a control byte in a string", "{\"a\":\"\n\"}", JSON_MALFORMED },
		{ "a control byte deep in a string", "{\"a\":\"0123456789abcdef0123456789abcde\x1f\"}",
		    JSON_MALFORMED },
		{ "a control byte in a key", "{\"\t\":1}", JSON_MALFORMED },
		{ "a control byte for a space", "{\x0b\"a\":1}", JSON_MALFORMED },
		{ "an escape that is none", "{\"a\":\"\\x\"}", JSON_MALFORMED },
		{ "an escape of a single quote", "{\"a\":\"\\'\"}", JSON_MALFORMED },
		{ "a unicode escape that is no hex", "{\"a\":\"\\u00g0\"}", JSON_MALFORMED },
		{ "a unicode escape that is cut", "{\"a\":\"\\u00\"}", JSON_MALFORMED },
		{ "a number with a plus", "{\"a\":+1}", JSON_MALFORMED },
		{ "a number that begins with 0", "{\"a\":01}", JSON_MALFORMED },
		{ "a number without digits", "{\"a\":-}", JSON_MALFORMED },
		{ "a number that begins with a point", "{\"a\":.5}", JSON_MALFORMED },
		{ "a number that ends with a point", "{\"a\":1.}", JSON_MALFORMED },
		{ "a number without an exponent", "{\"a\":1e}", JSON_MALFORMED },
		{ "a number in hex", "{\"a\":0x1}", JSON_MALFORMED },
		{ "NaN", "{\"a\":NaN}", JSON_MALFORMED },
		{ "True", "{\"a\":True}", JSON_MALFORMED },
		{ "a word that goes on", "{\"a\":nullx}", JSON_MALFORMED },
		{ "a word that is cut", "{\"a\":tru}", JSON_MALFORMED },
		{ "a NUL escaped in a key", "{\"model\\u0000\":1}", JSON_MALFORMED },
		{ "half a surrogate pair in a key", "{\"model\\ud800\":1}", JSON_MALFORMED },
		{ "an overlong letter in a key", "{\"\xc1\xadodel\":1}", JSON_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].text);
		struct json_want want = { .key = SLICE("model") };
		char *text = exact_copy(rows[i].text, length);
		CHECK_NUMBER(rows[i].behaviour, json_scan(slice_of(text, length), &want, 1), rows[i].want);
		free(text);
		for (size_t cut = 0; cut < length; cut++) {
			text = exact_copy(rows[i].text, cut);
			bool begins = json_scan_prefix(slice_of(text, cut), &want, 1);
			bool brace = memchr(text, '{', cut) != NULL;
			if (rows[i].want == JSON_OK)
				CHECK(rows[i].behaviour, begins == brace);
			free(text);
		}
	}
	struct json_want want = { .key = SLICE("a") };
	CHECK_NUMBER("a NUL", json_scan(SLICE("{\"a\":\"\0\"}"), &want, 1), JSON_MALFORMED);
	CHECK_NUMBER("a NUL behind the end", json_scan(SLICE("{}\0"), &want, 1), JSON_MALFORMED);
}

static void
members_are_found(void **state)
{
	static const struct {
		const char *behaviour, *text;
		unsigned found;
		enum json_kind kind;
		const char *value;
	} rows[] = {
		{ "a string", "{\"model\":\"gpt-4o\"}", 1, JSON_STRING, "\"gpt-4o\"" },
		{ "behind others", "{\"a\":{\"model\":1},\"model\" : \"x\" }", 1, JSON_STRING, "\"x\"" },
		{ "a number", "{\"model\":-1.5e3}", 1, JSON_NUMBER, "-1.5e3" },
		{ "true", "{\"model\":true}", 1, JSON_TRUE, "true" },
		{ "false", "{\"model\":false}", 1, JSON_FALSE, "false" },
		{ "null", "{\"model\":null}", 1, JSON_NULL, "null" },
		{ "an object", "{\"model\": {\"a\":[1, 2]} }", 1, JSON_OBJECT, "{\"a\":[1, 2]}" },
		{ "an array", "{\"model\":[ ]}", 1, JSON_ARRAY, "[ ]" },
		{ "none", "{\"models\":1,\"mode\":2,\"\":3}", 0, JSON_ABSENT, "" },
		{ "deeper ones do not count", "{\"a\":[{\"model\":1}],\"b\":{\"model\":2}}", 0, JSON_ABSENT, "" },
		{ "one in a string does not count", "{\"a\":\"\\\"model\\\":1\"}", 0, JSON_ABSENT, "" },
		{ "two of them", "{\"model\":1,\"model\":2}", 2, JSON_NUMBER, "1" },
		{ "one escaped", "{\"\\u006dodel\":1}", 1, JSON_NUMBER, "1" },
		{ "one escaped and one not", "{\"model\":1,\"mode\\u006C\":2}", 2, JSON_NUMBER, "1" },
		{ "another escaped", "{\"mode\\u006d\":1}", 0, JSON_ABSENT, "" },
		{ "another case", "{\"Model\":1}", 0, JSON_ABSENT, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].text);
		char *text = exact_copy(rows[i].text, length);
		struct json_want wants[] = { { .key = SLICE("stream") }, { .key = SLICE("model") } };
		CHECK_NUMBER(rows[i].behaviour, json_scan(slice_of(text, length), wants, 2), JSON_OK);
		CHECK_NUMBER(rows[i].behaviour, wants[1].found, rows[i].found);
		CHECK_NUMBER(rows[i].behaviour, wants[1].kind, rows[i].kind);
		CHECK_TEXT(rows[i].behaviour, wants[1].value, rows[i].value);
		CHECK_NUMBER(rows[i].behaviour, wants[0].found, 0);
		free(text);
	}
}

static void
wants_reach_inside(void **state)
{
	static const struct {
		const char *behaviour, *text;
		enum json_status want;
		enum json_kind outer, inner;
		const char *value;
	} rows[] = {
		{ "an object", "{\"a\":{\"x\":0,\"b\":[1]},\"b\":2}", JSON_OK, JSON_OBJECT, JSON_ARRAY, "[1]" },
		{ "an array of one object", "{\"a\": [ {\"b\": 1} ] , \"c\":2}", JSON_OK, JSON_ARRAY, JSON_NUMBER,
		    "1" },
		{ "an array of two objects", "{\"a\":[{\"b\":1},{\"b\":2}]}", JSON_OK, JSON_ARRAY, JSON_ABSENT, "" },
		{ "an array of something else", "{\"a\":[1,{\"b\":2}]}", JSON_OK, JSON_ARRAY, JSON_ABSENT, "" },
		{ "an empty object", "{\"a\":{}}", JSON_OK, JSON_OBJECT, JSON_ABSENT, "" },
		{ "an empty array", "{\"a\":[]}", JSON_OK, JSON_ARRAY, JSON_ABSENT, "" },
		{ "a string", "{\"a\":\"b\"}", JSON_OK, JSON_STRING, JSON_ABSENT, "" },
		{ "the first of two", "{\"a\":{\"b\":1},\"a\":{\"b\":2}}", JSON_OK, JSON_OBJECT, JSON_NUMBER, "1" },
		{ "nobody", "{\"b\":1}", JSON_OK, JSON_ABSENT, JSON_ABSENT, "" },
		{ "an array that is not closed", "{\"a\":[{\"b\":1}", JSON_MALFORMED, JSON_ARRAY, JSON_NUMBER, "1" },
		{ "an array that is closed by a brace", "{\"a\":[{\"b\":1}}}", JSON_MALFORMED, JSON_ARRAY, JSON_ABSENT,
		    "" },
		{ "an object that is not closed", "{\"a\":{\"b\":1,", JSON_MALFORMED, JSON_OBJECT, JSON_NUMBER, "1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].text);
		char *text = exact_copy(rows[i].text, length);
		struct json_want inner = { .key = SLICE("b") };
		struct json_want outer = { .key = SLICE("a"), .inside = &inner, .inside_count = 1 };
		CHECK_NUMBER(rows[i].behaviour, json_scan(slice_of(text, length), &outer, 1), rows[i].want);
		CHECK(rows[i].behaviour, json_scan_prefix(slice_of(text, length), &outer, 1));
		CHECK_NUMBER(rows[i].behaviour, outer.kind, rows[i].outer);
		CHECK_NUMBER(rows[i].behaviour, inner.kind, rows[i].inner);
		CHECK_TEXT(rows[i].behaviour, inner.value, rows[i].value);
		free(text);
	}
}

static void
nesting_is_capped(void **state)
{
	(void)state;
	for (int arrays = 0; arrays < 2; arrays++) {
		for (size_t depth = 1; depth <= JSON_DEPTH_MAX + 2; depth++) {
			struct buffer text = { 0 };
			struct json_want want = { .key = SLICE("a") };
			buffer_append_string(&text, "{\"a\":");
			for (size_t i = 1; i < depth; i++)
				buffer_append_string(&text, arrays ? "[" : "{\"a\":");
			buffer_append_string(&text, "1");
			for (size_t i = 1; i < depth; i++)
				buffer_append_string(&text, arrays ? "]" : "}");
			buffer_append_string(&text, "}");
			CHECK_NUMBER("depth", json_scan(buffer_slice(&text), &want, 1),
			    depth <= JSON_DEPTH_MAX ? JSON_OK : JSON_MALFORMED);
			buffer_free(&text);
		}
	}
}

/* Brackets of every kind within each other must close in their order, at every depth of the bit stack. */
static void
mixed_nesting_is_remembered(void **state)
{
	(void)state;
	for (unsigned broken = 0; broken <= 200; broken++) {
		struct buffer text = { 0 };
		struct json_want want = { .key = SLICE("a") };
		buffer_append_string(&text, "{\"a\":");
		for (unsigned i = 0; i < 200; i++)
			buffer_append_string(&text, i % 3 ? "[" : "{\"b\":");
		buffer_append_string(&text, "0");
		for (unsigned i = 200; i-- > 0;)
			buffer_append_byte(&text, (i % 3 != 0) != (i == broken) ? ']' : '}');
		buffer_append_byte(&text, '}');
		CHECK_NUMBER("mixed", json_scan(buffer_slice(&text), &want, 1),
		    broken == 200 ? JSON_OK : JSON_MALFORMED);
		buffer_free(&text);
	}
}

static void
a_prefix_tells_what_it_holds(void **state)
{
	static const struct {
		const char *behaviour, *text;
		bool want;
		enum json_kind kind;
		const char *value;
	} rows[] = {
		{ "whole", "{\"a\":1}", true, JSON_NUMBER, "1" },
		{ "cut behind the value", "{\"a\":1,\"b", true, JSON_NUMBER, "1" },
		{ "cut behind a string", "{\"a\":\"x\"", true, JSON_STRING, "\"x\"" },
		{ "cut in the key", "{\"a", true, JSON_ABSENT, "" },
		{ "cut behind the key", "{\"a\"", true, JSON_ABSENT, "" },
		{ "cut behind the colon", "{\"a\":", true, JSON_ABSENT, "" },
		{ "cut in a number", "{\"a\":12", true, JSON_ABSENT, "" },
		{ "cut in a string", "{\"a\":\"gpt-4", true, JSON_ABSENT, "" },
		{ "cut in a word", "{\"a\":tru", true, JSON_ABSENT, "" },
		{ "cut in an object", "{\"a\":{\"b\":1,", true, JSON_OBJECT, "{\"b\":1," },
		{ "cut in an array", "{\"a\":[[1],[", true, JSON_ARRAY, "[[1],[" },
		{ "broken behind the value", "{\"a\":1,x", true, JSON_NUMBER, "1" },
		{ "broken in an array", "{\"a\":[x", true, JSON_ARRAY, "[x" },
		{ "broken in a number", "{\"a\":1.x", true, JSON_ABSENT, "" },
		{ "cut at the front", "{", true, JSON_ABSENT, "" },
		{ "no object", "[", false, JSON_ABSENT, "" },
		{ "nothing", "", false, JSON_ABSENT, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].text);
		char *text = exact_copy(rows[i].text, length);
		struct json_want want = { .key = SLICE("a") };
		CHECK(rows[i].behaviour, json_scan_prefix(slice_of(text, length), &want, 1) == rows[i].want);
		CHECK_NUMBER(rows[i].behaviour, want.kind, rows[i].kind);
		CHECK_TEXT(rows[i].behaviour, want.value, rows[i].value);
		free(text);
	}
}

static void
strings_are_unescaped(void **state)
{
	static const struct {
		const char *behaviour, *raw;
		const char *want; /* none: broken */
	} rows[] = {
		{ "plain", "\"abc\"", "abc" },
		{ "empty", "\"\"", "" },
		{ "every escape", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
		{ "one byte", "\"\\u0041\"", "A" },
		{ "two bytes", "\"\\u00E4\"", "\xc3\xa4" },
		{ "three bytes", "\"\\u20ac\"", "\xe2\x82\xac" },
		{ "a pair", "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
		{ "a high half alone", "\"\\ud83d\"", NULL },
		{ "a high half before text", "\"\\ud83dxxxxxx\"", NULL },
		{ "two high halves", "\"\\ud83d\\ud83d\"", NULL },
		{ "a low half alone", "\"\\ude00\"", NULL },
		{ "an unknown escape", "\"\\a\"", NULL },
		{ "an escape that is cut", "\"\\u12\"", NULL },
		{ "a backslash at the end", "\"\\\"", NULL },
		{ "a quote within", "\"a\"b\"", NULL },
		{ "a control byte", "\"\n\"", NULL },
		{ "no quotes", "abc", NULL },
		{ "one quote", "\"", NULL },
		{ "no closing quote", "\"abc", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].raw), decoded = 0;
		char *raw = exact_copy(rows[i].raw, length), *out = memory_take(length);
		struct slice slice = slice_of(raw, length);
		CHECK(rows[i].behaviour, json_string_decode(slice, out, &decoded) == (rows[i].want != NULL));
		CHECK_TEXT(rows[i].behaviour, slice_of(out, decoded), rows[i].want);
		if (rows[i].want)
			CHECK(rows[i].behaviour, json_string_equals(slice, slice_from(rows[i].want)));
		CHECK(rows[i].behaviour, !json_string_equals(slice, SLICE("abcd")));
		CHECK(rows[i].behaviour, !json_string_equals(slice, SLICE("ab")));
		free(raw);
		free(out);
	}
	uint64_t value;
	CHECK("a number", json_to_u64(SLICE("42"), &value) && value == 42);
	CHECK("a fraction", !json_to_u64(SLICE("4.2"), &value));
	CHECK("an exponent", !json_to_u64(SLICE("4e2"), &value));
	CHECK("below zero", !json_to_u64(SLICE("-1"), &value));
}

/* Gathers the elements it is given, up to a limit. */
struct gathering {
	struct buffer text;
	unsigned left;
};

static bool
gather(struct slice element, enum json_kind kind, void *context)
{
	struct gathering *gathering = context;

	buffer_append_format(&gathering->text, "%d:", (int)kind);
	buffer_append_slice(&gathering->text, element);
	buffer_append_byte(&gathering->text, ' ');
	return --gathering->left > 0;
}

static void
elements_come_in_their_order(void **state)
{
	static const struct {
		const char *behaviour, *array;
		unsigned limit;
		bool want;
		const char *elements;
	} rows[] = {
		{ "none", " [ ] ", 9, true, "" },
		{ "one", "[1]", 9, true, "2:1 " },
		{ "each kind", "[\"a\", 1,true,false ,null, {\"a\":[]},[ [1] ]]", 9, true,
		    "1:\"a\" 2:1 3:true 4:false 5:null 6:{\"a\":[]} 7:[ [1] ] " },
		{ "until told to stop", "[1,2,3", 2, true, "2:1 2:2 " },
		{ "until it is cut", "[1,2,3", 9, false, "2:1 2:2 " },
		{ "no comma", "[1 2]", 9, false, "2:1 " },
		{ "a comma at the end", "[1,]", 9, false, "2:1 " },
		{ "bytes behind the end", "[1]x", 9, false, "2:1 " },
		{ "no array", "{}", 9, false, "" },
		{ "nothing", "", 9, false, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].array);
		char *array = exact_copy(rows[i].array, length);
		struct gathering gathering = { .left = rows[i].limit };
		CHECK(rows[i].behaviour, json_each(slice_of(array, length), gather, &gathering) == rows[i].want);
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&gathering.text), rows[i].elements);
		buffer_free(&gathering.text);
		free(array);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_taken_or_refused),
		cmocka_unit_test(members_are_found),
		cmocka_unit_test(wants_reach_inside),
		cmocka_unit_test(nesting_is_capped),
		cmocka_unit_test(mixed_nesting_is_remembered),
		cmocka_unit_test(a_prefix_tells_what_it_holds),
		cmocka_unit_test(strings_are_unescaped),
		cmocka_unit_test(elements_come_in_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
