/* http/target.h */
#include "unit.h"

#include "http/target.h"

static void
targets_are_taken_or_refused(void **state)
{
	static const struct {
		const char *behaviour, *raw, *path; /* no path: refused */
		const char *query;                  /* none: there is no '?' */
	} rows[] = {
		{ "the root", "/", "/", NULL },
		{ "a path", "/openai/v1/chat", "/openai/v1/chat", NULL },
		{ "a query", "/a?b=c&d", "/a", "b=c&d" },
		{ "an empty query", "/a?", "/a", "" },
		{ "a second question mark", "/a?b?c", "/a", "b?c" },
		{ "slashes and dots in a query", "/a?b=/../c", "/a", "b=/../c" },
		{ "all of a server", "*", "*", NULL },
		{ "repeated slashes merge", "//openai///v1//", "/openai/v1/", NULL },
		{ "other percent sequences stay", "/a%20b%c3%a4%25", "/a%20b%c3%a4%25", NULL },
		{ "a segment with dots in it", "/a..b/.c/d./...", "/a..b/.c/d./...", NULL },
		{ "sub-delimiters", "/a;b=c,d@e:f!$&'()*+~", "/a;b=c,d@e:f!$&'()*+~", NULL },
		{ "absolute form", "http://example.com/a?b", "/a", "b" },
		{ "absolute form with a port", "HTTPS://[::1]:8080//a", "/a", NULL },
		{ "absolute form without a path", "http://example.com", "/", NULL },
		{ "absolute form with a query alone", "http://example.com?a", "/", "a" },

		{ "nothing", "", NULL, NULL },
		{ "no slash", "openai/v1", NULL, NULL },
		{ "an authority", "example.com:443", NULL, NULL },
		{ "another scheme", "ftp://example.com/", NULL, NULL },
		{ "absolute form without a host", "http:///a", NULL, NULL },
		{ "absolute form with userinfo", "http://u:p@example.com/", NULL, NULL },
		{ "absolute form with dots", "http://example.com/../a", NULL, NULL },
		{ "a dot segment", "/a/./b", NULL, NULL },
		{ "a dot segment at the end", "/a/.", NULL, NULL },
		{ "two dots", "/a/../b", NULL, NULL },
		{ "two dots at the end", "/a/..", NULL, NULL },
		{ "two dots behind merged slashes", "/a//../b", NULL, NULL },
		{ "two dots before a query", "/..?a", NULL, NULL },
		{ "an encoded dot", "/a/%2e/b", NULL, NULL },
		{ "encoded dots", "/a/%2E%2e/b", NULL, NULL },
		{ "a dot and an encoded dot", "/a/.%2e", NULL, NULL },
		{ "an encoded slash", "/a%2fb", NULL, NULL },
		{ "an encoded slash in capitals", "/a%2Fb", NULL, NULL },
		{ "an encoded backslash", "/a%5cb", NULL, NULL },
		{ "an encoded NUL", "/a%00b", NULL, NULL },
		{ "a backslash", "/a\\b", NULL, NULL },
		{ "a control byte", "/a\x01", NULL, NULL },
		{ "DEL", "/a\x7f", NULL, NULL },
		{ "a space", "/a b", NULL, NULL },
		{ "a byte beyond ASCII", "/\xc3\xa4", NULL, NULL },
		{ "a percent sequence that is no hex", "/a%zz", NULL, NULL },
		{ "a percent sequence that is cut", "/a%2", NULL, NULL },
		{ "a percent alone", "/a%", NULL, NULL },
		{ "a percent sequence cut by the query", "/a%2?f", NULL, NULL },
		{ "a fragment", "/a#b", NULL, NULL },
		{ "a fragment behind a query", "/a?b#c", NULL, NULL },
		{ "a control byte in a query", "/a?b\x01", NULL, NULL },
		{ "a byte beyond ASCII in a query", "/a?\xff", NULL, NULL },
		{ "a broken percent sequence in a query", "/a?b=%4", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].raw);
		char *raw = exact_copy(rows[i].raw, length), *storage = memory_take(length + 1);
		struct target target;
		const char *fault;
		enum target_status status = target_parse(slice_of(raw, length), storage, &target, &fault);

		CHECK_NUMBER(rows[i].behaviour, status, rows[i].path ? TARGET_OK : TARGET_MALFORMED);
		CHECK(rows[i].behaviour, (fault == NULL) == (status == TARGET_OK));
		if (status == TARGET_OK) {
			CHECK_TEXT(rows[i].behaviour, target.path, rows[i].path);
			CHECK(rows[i].behaviour, target.has_query == (rows[i].query != NULL));
			CHECK_TEXT(rows[i].behaviour, target.query, rows[i].query);
		}
		free(raw);
		free(storage);
	}
}

static void
parameters_are_found_by_their_decoded_name(void **state)
{
	static const struct {
		const char *behaviour, *query, *name;
		const char *want; /* none: not there */
	} rows[] = {
		{ "alone", "api-version=2024", "api-version", "2024" },
		{ "among others", "a=1&api-version=2024&b", "api-version", "2024" },
		{ "the first of two", "a=1&a=2", "a", "1" },
		{ "an encoded name", "api%2Dversion=1", "api-version", "1" },
		{ "a value stays encoded", "a=%20b", "a", "%20b" },
		{ "no value", "a&b", "a", "" },
		{ "an empty value", "a=&b", "a", "" },
		{ "an equals sign in the value", "a=b=c", "a", "b=c" },
		{ "case counts", "A=1", "a", NULL },
		{ "a longer name", "ab=1", "a", NULL },
		{ "a shorter name", "a=1", "ab", NULL },
		{ "no query", "", "a", NULL },
		{ "ampersands alone", "&&", "a", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].query);
		char *query = exact_copy(rows[i].query, length);
		struct slice value = SLICE_EMPTY;
		bool found = query_find(slice_of(query, length), slice_from(rows[i].name), &value);
		CHECK(rows[i].behaviour, found == (rows[i].want != NULL));
		CHECK_TEXT(rows[i].behaviour, value, rows[i].want);
		free(query);
	}
}

static void
parameters_are_left_out(void **state)
{
	static const struct {
		const char *behaviour, *query, *want;
		size_t count;
	} rows[] = {
		{ "none of them", "a=1&b=%20&c", "a=1&b=%20&c", 3 },
		{ "the first", "api-key=k&a=1", "a=1", 1 },
		{ "the last", "a=1&api-key=k", "a=1", 1 },
		{ "one between", "a=1&api-key=k&b=2", "a=1&b=2", 2 },
		{ "each of several", "api-key=1&api-key=2&code=3", "", 0 },
		{ "in another case", "API-Key=k&a=1", "a=1", 1 },
		{ "an encoded name", "%61pi%2dkey=k&a=1", "a=1", 1 },
		{ "without a value", "api-key&a=1", "a=1", 1 },
		{ "names that only look alike", "api-keys=1&xapi-key=2", "api-keys=1&xapi-key=2", 2 },
		{ "empty ones stay", "a&&b", "a&&b", 3 },
		{ "nothing", "", "", 0 },
	};
	static const struct slice names[] = { { "api-key", 7 }, { "code", 4 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct buffer out = { 0 };
		size_t length = strlen(rows[i].query);
		char *query = exact_copy(rows[i].query, length);
		CHECK_NUMBER(rows[i].behaviour,
		    query_write_without(slice_of(query, length), names, ARRAY_COUNT(names), &out), rows[i].count);
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&out), rows[i].want);
		buffer_free(&out);
		free(query);
	}
}

static void
percent_sequences_go_both_ways(void **state)
{
	static const struct {
		const char *behaviour, *text, *encoded;
	} rows[] = {
		{ "unreserved", "gpt-4o_mini.v1~", "gpt-4o_mini.v1~" },
		{ "a slash", "a/b", "a%2Fb" },
		{ "all else", " %?#&+:@\xc3\xa4", "%20%25%3F%23%26%2B%3A%40%C3%A4" },
		{ "nothing", "", "" },
	};
	static const char *const broken[] = { "%", "a%2", "%g0", "%0g", "%%20" };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct buffer out = { 0 };
		char decoded[64];
		size_t length;

		percent_encode_segment(slice_from(rows[i].text), &out);
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&out), rows[i].encoded);
		CHECK(rows[i].behaviour, percent_decode(buffer_slice(&out), decoded, &length));
		CHECK_TEXT(rows[i].behaviour, slice_of(decoded, length), rows[i].text);
		buffer_free(&out);
	}
	for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
		char decoded[8];
		size_t length;
		CHECK(broken[i], !percent_decode(slice_from(broken[i]), decoded, &length));
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_taken_or_refused),
		cmocka_unit_test(parameters_are_found_by_their_decoded_name),
		cmocka_unit_test(parameters_are_left_out),
		cmocka_unit_test(percent_sequences_go_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
