/* http/head.h */
#include "unit.h"

#include "http/head.h"

static enum head_status
parse_request(const char *bytes, size_t length, struct request_head *head, char **copy)
{
	*copy = exact_copy(bytes, length);
	return head_parse_request(slice_of(*copy, length), head);
}

static void
the_end_of_a_head_is_found(void **state)
{
	static const struct {
		const char *behaviour, *bytes;
		size_t limit;
		enum head_status want;
		size_t want_length;
	} rows[] = {
		{ "nothing yet", "", 100, HEAD_INCOMPLETE, 0 },
		{ "a whole head", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100, HEAD_COMPLETE, 27 },
		{ "bytes behind it are not its", "A\r\n\r\nbody\n", 100, HEAD_COMPLETE, 5 },
		{ "no empty line yet", "GET / HTTP/1.1\r\nHost: a\r\n", 100, HEAD_INCOMPLETE, 0 },
		{ "the empty line lacks its LF", "A\r\n\r", 100, HEAD_INCOMPLETE, 0 },
		{ "a bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", 100, HEAD_MALFORMED, 0 },
		{ "a bare LF for the empty line", "A\r\n\n", 100, HEAD_MALFORMED, 0 },
		{ "a bare LF at the front", "\nA", 100, HEAD_MALFORMED, 0 },
		{ "as long as the limit", "A\r\n\r\n", 5, HEAD_COMPLETE, 5 },
		{ "one byte over the limit", "AB\r\n\r\n", 5, HEAD_TOO_LARGE, 0 },
		{ "no end within the limit", "AAAAA", 5, HEAD_TOO_LARGE, 0 },
		{ "still below the limit", "AAAA", 5, HEAD_INCOMPLETE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct head_search whole = { 0 };
		struct head_search piecewise = { 0 };
		enum head_status status = HEAD_INCOMPLETE;
		size_t total = strlen(rows[i].bytes), length = 0;
		char *copy = exact_copy(rows[i].bytes, total);

		CHECK_NUMBER(rows[i].behaviour, head_find_end(&whole, slice_of(copy, total), rows[i].limit, &length),
		    rows[i].want);
		CHECK_NUMBER(rows[i].behaviour, length, rows[i].want_length);
		length = 0;
		for (size_t have = 0; have <= total && status == HEAD_INCOMPLETE; have++)
			status = head_find_end(&piecewise, slice_of(copy, have), rows[i].limit, &length);
		CHECK_NUMBER(rows[i].behaviour, status, rows[i].want);
		CHECK_NUMBER(rows[i].behaviour, length, rows[i].want_length);
		free(copy);
	}
}

static void
an_empty_line_before_a_request_is_passed_over(void **state)
{
	static const struct {
		const char *behaviour, *bytes;
		enum head_status want;
		size_t want_skipped;
	} rows[] = {
		{ "nothing has come", "", HEAD_INCOMPLETE, 0 },
		{ "none", "GET", HEAD_COMPLETE, 0 },
		{ "one", "\r\nGET", HEAD_COMPLETE, 2 },
		{ "one and nothing else", "\r\n", HEAD_INCOMPLETE, 2 },
		{ "half of one", "\r", HEAD_INCOMPLETE, 1 },
		{ "a CR without its LF", "\rGET", HEAD_MALFORMED, 2 },
		{ "a second one", "\r\n\r\nGET", HEAD_MALFORMED, 2 },
		{ "half of a second one", "\r\n\r", HEAD_MALFORMED, 2 },
		{ "a bare LF is the head's fault", "\nGET", HEAD_COMPLETE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t total = strlen(rows[i].bytes);

		/* Whole, and in two pieces wherever they are cut. */
		for (size_t cut = 0; cut <= total; cut++) {
			struct head_search search = { 0 };
			size_t first, second = 0;
			enum head_status status = head_skip_blank(&search, slice_of(rows[i].bytes, cut), &first);

			if (status == HEAD_INCOMPLETE)
				status =
				    head_skip_blank(&search, slice_of(rows[i].bytes + first, total - first), &second);
			CHECK_NUMBER(rows[i].behaviour, status, rows[i].want);
			CHECK_NUMBER(rows[i].behaviour, first + second, rows[i].want_skipped);
		}
	}
}

#define HOST "Host: a\r\n"

static void
requests_are_taken_or_refused(void **state)
{
	static const struct {
		const char *behaviour, *bytes;
		enum head_status want;
	} rows[] = {
		{ "the least there is", "GET / HTTP/1.1\r\n" HOST "\r\n", HEAD_COMPLETE },
		{ "HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", HEAD_COMPLETE },
		{ "a method of one's own", "M-SEARCH / HTTP/1.1\r\n" HOST "\r\n", HEAD_COMPLETE },
		{ "no method", " / HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a method that is no token", "G(T / HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "no target", "GET  HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "two spaces before the target", "GET  / HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "two spaces behind the target", "GET /  HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a space in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a tab in the target", "GET /a\tb HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a tab for a space", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "DEL in the target", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "no version", "GET /\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a space behind the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "http in small letters", "GET / http/1.1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a version of one digit", "GET / HTTP/1\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "a version of three digits", "GET / HTTP/1.10\r\n" HOST "\r\n", HEAD_MALFORMED },
		{ "HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", HEAD_VERSION_UNSUPPORTED },
		{ "HTTP/0.9", "GET / HTTP/0.9\r\n" HOST "\r\n", HEAD_VERSION_UNSUPPORTED },
		{ "HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", HEAD_VERSION_UNSUPPORTED },
		{ "a CR alone in the request line", "GET / HTTP/1.1\r" HOST "\r\n", HEAD_MALFORMED },

		{ "a value beyond ASCII", "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa4\r\n\r\n", HEAD_COMPLETE },
		{ "a tab in a value", "GET / HTTP/1.1\r\n" HOST "X: a\tb\r\n\r\n", HEAD_COMPLETE },
		{ "an empty value", "GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n", HEAD_COMPLETE },
		{ "a colon in a value", "GET / HTTP/1.1\r\n" HOST "X: a:b\r\n\r\n", HEAD_COMPLETE },
		{ "a folded line", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", HEAD_MALFORMED },
		{ "a line folded by a tab", "GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", HEAD_MALFORMED },
		{ "a first line that is folded", "GET / HTTP/1.1\r\n " HOST "\r\n", HEAD_MALFORMED },
		{ "a space before the colon", "GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", HEAD_MALFORMED },
		{ "a tab before the colon", "GET / HTTP/1.1\r\n" HOST "X\t: a\r\n\r\n", HEAD_MALFORMED },
		{ "no name", "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", HEAD_MALFORMED },
		{ "a name that is no token", "GET / HTTP/1.1\r\n" HOST "X[]: a\r\n\r\n", HEAD_MALFORMED },
		{ "a name beyond ASCII", "GET / HTTP/1.1\r\n" HOST "X\xc3\xa4: a\r\n\r\n", HEAD_MALFORMED },
		{ "no colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", HEAD_MALFORMED },
		{ "a CR alone in a value", "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", HEAD_MALFORMED },
		{ "an LF alone in a value", "GET / HTTP/1.1\r\n" HOST "X: a\nb: c\r\n\r\n", HEAD_MALFORMED },
		{ "two CR before the LF", "GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n", HEAD_MALFORMED },
		{ "a bell in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x07\r\n\r\n", HEAD_MALFORMED },
		{ "DEL in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", HEAD_MALFORMED },
		{ "DEL far into a value", "GET / HTTP/1.1\r\n" HOST "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\x7f\r\n\r\n",
		    HEAD_MALFORMED },
		{ "a head that is cut off", "GET / HTTP/1.1\r\n" HOST, HEAD_MALFORMED },
		{ "a head cut in a line", "GET / HTTP/1.1\r\n" HOST "X: a", HEAD_MALFORMED },
		{ "bytes behind the head", "GET / HTTP/1.1\r\n" HOST "\r\nX", HEAD_MALFORMED },

		{ "no Host", "GET / HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
		{ "two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HEAD_MALFORMED },
		{ "two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST "host: a\r\n\r\n", HEAD_MALFORMED },
		{ "a Host with a port", "GET / HTTP/1.1\r\nHost: a.b-c_d:8080\r\n\r\n", HEAD_COMPLETE },
		{ "an IPv6 Host", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", HEAD_COMPLETE },
		{ "an IPv6 Host that is not closed", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HEAD_MALFORMED },
		{ "bytes behind an IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", HEAD_MALFORMED },
		{ "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", HEAD_MALFORMED },
		{ "a Host of a port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", HEAD_MALFORMED },
		{ "a list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HEAD_MALFORMED },
		{ "a list of Hosts without spaces", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", HEAD_MALFORMED },
		{ "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HEAD_MALFORMED },
		{ "a Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HEAD_MALFORMED },
		{ "a Host with a backslash", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", HEAD_MALFORMED },
		{ "a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", HEAD_MALFORMED },
		{ "a Host with a port of letters", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", HEAD_MALFORMED },

		{ "a length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n", HEAD_COMPLETE },
		{ "two lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
		    HEAD_MALFORMED },
		{ "two lengths alike", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		    HEAD_MALFORMED },
		{ "a list of lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", HEAD_MALFORMED },
		{ "a length with a plus", "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", HEAD_MALFORMED },
		{ "a length with a minus", "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", HEAD_MALFORMED },
		{ "a length in hex", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", HEAD_MALFORMED },
		{ "an empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n", HEAD_MALFORMED },
		{ "a length that overflows", "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n",
		    HEAD_MALFORMED },
		{ "the length that means none",
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", HEAD_MALFORMED },

		{ "chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: CHUNKED\r\n\r\n", HEAD_COMPLETE },
		{ "chunked with a length",
		    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		    HEAD_MALFORMED },
		{ "a length with chunked",
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		    HEAD_MALFORMED },
		{ "gzip with a length",
		    "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n", HEAD_MALFORMED },
		{ "chunked in HTTP/1.0", "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
		    HEAD_MALFORMED },
		{ "chunked twice in a list", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n",
		    HEAD_MALFORMED },
		{ "chunked twice",
		    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		    HEAD_MALFORMED },
		{ "a second coding in a second field",
		    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
		    HEAD_MALFORMED },
		{ "an empty coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", HEAD_MALFORMED },
		{ "an empty coding in a list", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked,\r\n\r\n",
		    HEAD_MALFORMED },
		{ "gzip", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", HEAD_CODING_UNSUPPORTED },
		{ "gzip, chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
		    HEAD_CODING_UNSUPPORTED },
		{ "identity", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n",
		    HEAD_CODING_UNSUPPORTED },
		{ "chunked behind a control byte",
		    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
		    "chunked\r\n\r\n",
		    HEAD_MALFORMED },
		{ "chunked in quotes", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n",
		    HEAD_CODING_UNSUPPORTED },
		{ "a coding behind a space before the colon",
		    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", HEAD_MALFORMED },
	};
	struct request_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char *copy;
		enum head_status status = parse_request(rows[i].bytes, strlen(rows[i].bytes), &head, &copy);
		CHECK_NUMBER(rows[i].behaviour, status, rows[i].want);
		CHECK(rows[i].behaviour, (head.fault == NULL) == (status == HEAD_COMPLETE));
		free(copy);
	}
}

static void
a_nul_anywhere_is_refused(void **state)
{
	static const char bytes[] = "GET / HTTP/1.1\r\nHost: a\r\nX-Name: value\r\n\r\n";
	struct request_head head;

	(void)state;
	for (size_t at = 0; at < sizeof(bytes) - 1; at++) {
		char *copy = exact_copy(bytes, sizeof(bytes) - 1);
		copy[at] = '\0';
		CHECK_NUMBER("a NUL", head_parse_request(slice_of(copy, sizeof(bytes) - 1), &head), HEAD_MALFORMED);
		free(copy);
	}
}

/* A head that is cut anywhere is never taken, and never read beyond its end. */
static void
a_cut_head_is_refused(void **state)
{
	static const char bytes[] =
	    "POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Long: 0123456789abcdef01234\r\n\r\n";
	struct request_head head;

	(void)state;
	for (size_t length = 0; length < sizeof(bytes) - 1; length++) {
		char *copy;
		CHECK_NUMBER("cut", parse_request(bytes, length, &head, &copy), HEAD_MALFORMED);
		free(copy);
	}
}

static void
a_request_says_what_it_wants(void **state)
{
	static const char bytes[] =
	    "POST /openai/v1/chat?x=1 HTTP/1.1\r\nhOsT: example.com:8080\r\nContent-Length: 17\r\n"
	    "X-Padded:  \t a value \t \r\nExpect: 100-Continue\r\n"
	    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
	struct request_head head;
	char *copy;

	(void)state;
	assert_int_equal(parse_request(bytes, sizeof(bytes) - 1, &head, &copy), HEAD_COMPLETE);
	CHECK_TEXT("method", head.method, "POST");
	CHECK_NUMBER("method", head.method_id, METHOD_POST);
	CHECK_TEXT("target", head.target, "/openai/v1/chat?x=1");
	CHECK_TEXT("host", head.host, "example.com:8080");
	CHECK_NUMBER("length", head.content_length, 17);
	CHECK_NUMBER("version", head.minor_version, 1);
	CHECK("not chunked", !head.chunked);
	CHECK("kept alive", head.keep_alive);
	CHECK("expects 100", head.expect_continue && !head.expect_unknown);
	CHECK("upgrades", head.upgrade);
	CHECK_NUMBER("fields", head.headers.count, 6);
	CHECK_TEXT("trimmed", headers_find_name(&head.headers, SLICE("x-padded"))->value, "a value");
	CHECK_TEXT("as it was spelled", headers_find(&head.headers, HEADER_HOST)->name, "hOsT");
	free(copy);
}

static void
methods_are_told_apart(void **state)
{
	static const struct {
		const char *method;
		enum http_method want;
	} rows[] = {
		{ "GET", METHOD_GET },
		{ "HEAD", METHOD_HEAD },
		{ "POST", METHOD_POST },
		{ "PUT", METHOD_PUT },
		{ "DELETE", METHOD_DELETE },
		{ "PATCH", METHOD_PATCH },
		{ "OPTIONS", METHOD_OPTIONS },
		{ "CONNECT", METHOD_CONNECT },
		{ "TRACE", METHOD_TRACE },
		{ "get", METHOD_OTHER },
		{ "GETS", METHOD_OTHER },
		{ "P", METHOD_OTHER },
	};
	struct request_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct buffer bytes = { 0 };
		buffer_append_format(&bytes, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].method);
		CHECK_NUMBER(rows[i].method, head_parse_request(buffer_slice(&bytes), &head), HEAD_COMPLETE);
		CHECK_NUMBER(rows[i].method, head.method_id, rows[i].want);
		CHECK_NUMBER(rows[i].method, head.content_length, NO_CONTENT_LENGTH);
		buffer_free(&bytes);
	}
}

static void
connections_are_kept_or_closed(void **state)
{
	static const struct {
		const char *behaviour, *version, *fields;
		bool keep_alive, expect_continue, expect_unknown, upgrade;
	} rows[] = {
		{ "HTTP/1.1 stays", "1.1", "", true, false, false, false },
		{ "HTTP/1.0 goes", "1.0", "", false, false, false, false },
		{ "HTTP/1.0 asks to stay", "1.0", "Connection: Keep-Alive\r\n", true, false, false, false },
		{ "close", "1.1", "Connection: close\r\n", false, false, false, false },
		{ "close in a list", "1.1", "Connection: foo , CLOSE\r\n", false, false, false, false },
		{ "close in a second field", "1.1", "Connection: foo\r\nConnection: close\r\n", false, false, false,
		    false },
		{ "close beats keep-alive", "1.0", "Connection: keep-alive, close\r\n", false, false, false, false },
		{ "a word that holds close", "1.1", "Connection: closed\r\n", true, false, false, false },
		{ "an expectation", "1.1", "Expect: 100-continue\r\n", true, true, false, false },
		{ "an unknown expectation", "1.1", "Expect: 200-ok\r\n", true, false, true, false },
		{ "an expectation of HTTP/1.0 is ignored", "1.0", "Expect: 100-continue\r\n", false, false, false,
		    false },
		{ "an Upgrade that Connection does not name", "1.1", "Upgrade: h2c\r\n", true, false, false, false },
		{ "upgrade without an Upgrade", "1.1", "Connection: upgrade\r\n", true, false, false, false },
		{ "both", "1.1", "Upgrade: websocket\r\nConnection: upgrade\r\n", true, false, false, true },
	};
	struct request_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct buffer bytes = { 0 };
		buffer_append_format(&bytes, "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", rows[i].version, rows[i].fields);
		CHECK_NUMBER(rows[i].behaviour, head_parse_request(buffer_slice(&bytes), &head), HEAD_COMPLETE);
		CHECK(rows[i].behaviour, head.keep_alive == rows[i].keep_alive);
		CHECK(rows[i].behaviour, head.expect_continue == rows[i].expect_continue);
		CHECK(rows[i].behaviour, head.expect_unknown == rows[i].expect_unknown);
		CHECK(rows[i].behaviour, head.upgrade == rows[i].upgrade);
		buffer_free(&bytes);
	}
}

static void
the_number_of_fields_is_capped(void **state)
{
	struct buffer bytes = { 0 };
	struct request_head head;

	(void)state;
	buffer_append_string(&bytes, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (unsigned i = 1; i < HEADERS_MAX; i++)
		buffer_append_string(&bytes, "X: y\r\n");
	buffer_append_string(&bytes, "\r\n");
	CHECK_NUMBER("as many as there may be", head_parse_request(buffer_slice(&bytes), &head), HEAD_COMPLETE);
	CHECK_NUMBER("all of them", head.headers.count, HEADERS_MAX);
	bytes.length -= 2;
	buffer_append_string(&bytes, "X: y\r\n\r\n");
	CHECK_NUMBER("one more", head_parse_request(buffer_slice(&bytes), &head), HEAD_TOO_LARGE);
	buffer_free(&bytes);
}

static void
answers_are_taken_or_refused(void **state)
{
	static const struct {
		const char *behaviour, *bytes;
		enum head_status want;
		unsigned status;
		const char *reason;
	} rows[] = {
		{ "an answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", HEAD_COMPLETE, 200, "OK" },
		{ "an empty reason", "HTTP/1.1 429 \r\n\r\n", HEAD_COMPLETE, 429, "" },
		{ "no reason", "HTTP/1.1 429\r\n\r\n", HEAD_COMPLETE, 429, "" },
		{ "a reason of several words", "HTTP/1.0 503 Not Just Now\r\n\r\n", HEAD_COMPLETE, 503,
		    "Not Just Now" },
		{ "the highest status", "HTTP/1.1 999 X\r\n\r\n", HEAD_COMPLETE, 999, "X" },
		{ "a status below 100", "HTTP/1.1 099 X\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "a status of two digits", "HTTP/1.1 20 X\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "a status of four digits", "HTTP/1.1 2000 X\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "a status with a sign", "HTTP/1.1 +20 X\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "two spaces", "HTTP/1.1  200 OK\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "no status", "HTTP/1.1\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "no HTTP at all", "SSH-2.0-x\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", HEAD_VERSION_UNSUPPORTED, 0, "" },
		{ "a control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "a bare LF", "HTTP/1.1 200 OK\nX: y\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "a folded line", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", HEAD_COMPLETE, 200, "OK" },
		{ "gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HEAD_MALFORMED, 0,
		    "" },
		{ "identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", HEAD_MALFORMED, 0, "" },
		{ "chunked with a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		    HEAD_MALFORMED, 0, "" },
		{ "chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD_MALFORMED, 0,
		    "" },
		{ "two lengths alike", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		    HEAD_MALFORMED, 0, "" },
		{ "a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: 1;\r\n\r\n", HEAD_MALFORMED, 0,
		    "" },
	};
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].bytes);
		char *copy = exact_copy(rows[i].bytes, length);
		enum head_status status = head_parse_response(slice_of(copy, length), &head);
		CHECK_NUMBER(rows[i].behaviour, status, rows[i].want);
		CHECK(rows[i].behaviour, (head.fault == NULL) == (status == HEAD_COMPLETE));
		if (status == HEAD_COMPLETE) {
			CHECK_NUMBER(rows[i].behaviour, head.status, rows[i].status);
			CHECK_TEXT(rows[i].behaviour, head.reason, rows[i].reason);
		}
		free(copy);
		for (size_t cut = 0; cut < length; cut++) {
			copy = exact_copy(rows[i].bytes, cut);
			CHECK(rows[i].behaviour, head_parse_response(slice_of(copy, cut), &head) != HEAD_COMPLETE);
			free(copy);
		}
	}
}

static void
an_answer_says_how_it_is_framed(void **state)
{
	static const struct {
		const char *behaviour, *bytes;
		uint64_t length;
		bool chunked, keep_alive;
	} rows[] = {
		{ "by a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5, false, true },
		{ "by chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NO_CONTENT_LENGTH, true, true },
		{ "by its end", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", NO_CONTENT_LENGTH, false, false },
		{ "HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", NO_CONTENT_LENGTH, false, false },
	};
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		CHECK_NUMBER(rows[i].behaviour, head_parse_response(slice_from(rows[i].bytes), &head), HEAD_COMPLETE);
		CHECK_NUMBER(rows[i].behaviour, head.content_length, rows[i].length);
		CHECK(rows[i].behaviour, head.chunked == rows[i].chunked);
		CHECK(rows[i].behaviour, head.keep_alive == rows[i].keep_alive);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_of_a_head_is_found),
		cmocka_unit_test(an_empty_line_before_a_request_is_passed_over),
		cmocka_unit_test(requests_are_taken_or_refused),
		cmocka_unit_test(a_nul_anywhere_is_refused),
		cmocka_unit_test(a_cut_head_is_refused),
		cmocka_unit_test(a_request_says_what_it_wants),
		cmocka_unit_test(methods_are_told_apart),
		cmocka_unit_test(connections_are_kept_or_closed),
		cmocka_unit_test(the_number_of_fields_is_capped),
		cmocka_unit_test(answers_are_taken_or_refused),
		cmocka_unit_test(an_answer_says_how_it_is_framed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
