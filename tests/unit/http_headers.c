/* http/headers.h */
#include "unit.h"

#include "http/head.h"

/* Parses fields as those of an answer, which may have any; text stays owned by the caller. */
static void
read_fields(const char *fields, struct buffer *text, struct response_head *head)
{
	buffer_clear(text);
	buffer_append_format(text, "HTTP/1.1 200 OK\r\n%s\r\n", fields);
	assert_int_equal(head_parse_response(buffer_slice(text), head), HEAD_COMPLETE);
}

static void
names_are_known_whatever_their_case(void **state)
{
	static const struct {
		const char *name;
		enum header_id want;
	} rows[] = {
		{ "accept-encoding", HEADER_ACCEPT_ENCODING },
		{ "api-key", HEADER_API_KEY },
		{ "authorization", HEADER_AUTHORIZATION },
		{ "connection", HEADER_CONNECTION },
		{ "content-encoding", HEADER_CONTENT_ENCODING },
		{ "content-length", HEADER_CONTENT_LENGTH },
		{ "content-type", HEADER_CONTENT_TYPE },
		{ "cookie", HEADER_COOKIE },
		{ "date", HEADER_DATE },
		{ "expect", HEADER_EXPECT },
		{ "forwarded", HEADER_FORWARDED },
		{ "host", HEADER_HOST },
		{ "keep-alive", HEADER_KEEP_ALIVE },
		{ "ocp-apim-subscription-key", HEADER_OCP_APIM_SUBSCRIPTION_KEY },
		{ "proxy-authenticate", HEADER_PROXY_AUTHENTICATE },
		{ "proxy-authorization", HEADER_PROXY_AUTHORIZATION },
		{ "proxy-connection", HEADER_PROXY_CONNECTION },
		{ "retry-after", HEADER_RETRY_AFTER },
		{ "retry-after-ms", HEADER_RETRY_AFTER_MS },
		{ "x-ms-retry-after-ms", HEADER_X_MS_RETRY_AFTER_MS },
		{ "x-ratelimit-reset-requests", HEADER_X_RATELIMIT_RESET_REQUESTS },
		{ "x-rate-limit-reset-requests", HEADER_X_RATELIMIT_RESET_REQUESTS },
		{ "x-ratelimit-reset-tokens", HEADER_X_RATELIMIT_RESET_TOKENS },
		{ "x-rate-limit-reset-tokens", HEADER_X_RATELIMIT_RESET_TOKENS },
		{ "x-ratelimit-remaining-requests", HEADER_X_RATELIMIT_REMAINING_REQUESTS },
		{ "x-ratelimit-remaining-tokens", HEADER_X_RATELIMIT_REMAINING_TOKENS },
		{ "azure-openai-deployment-utilization", HEADER_DEPLOYMENT_UTILIZATION },
		{ "x-ms-spillover-from-deployment", HEADER_X_MS_SPILLOVER_FROM },
		{ "x-ms-deployment-name", HEADER_X_MS_DEPLOYMENT_NAME },
		{ "x-request-id", HEADER_X_REQUEST_ID },
		{ "x-should-retry", HEADER_X_SHOULD_RETRY },
		{ "te", HEADER_TE },
		{ "trailer", HEADER_TRAILER },
		{ "transfer-encoding", HEADER_TRANSFER_ENCODING },
		{ "upgrade", HEADER_UPGRADE },
		{ "via", HEADER_VIA },
		{ "", HEADER_OTHER },
		{ "x", HEADER_OTHER },
		{ "hosts", HEADER_OTHER },
		{ "hos", HEADER_OTHER },
		{ "hosu", HEADER_OTHER },
		{ "content_length", HEADER_OTHER },
		{ "accept", HEADER_OTHER },
		{ "a-name-that-is-longer-than-any-that-is-known", HEADER_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].name);
		char *name = exact_copy(rows[i].name, length);
		CHECK_NUMBER(rows[i].name, header_identify(slice_of(name, length)), rows[i].want);
		for (size_t at = 0; at < length; at += 2) {
			if (name[at] >= 'a' && name[at] <= 'z')
				name[at] = (char)(name[at] - 'a' + 'A');
		}
		CHECK_NUMBER(rows[i].name, header_identify(slice_of(name, length)), rows[i].want);
		free(name);
	}
}

static void
fields_are_found_in_their_order(void **state)
{
	struct buffer text = { 0 };
	struct response_head head;

	(void)state;
	read_fields("X-A: 1\r\nRetry-After: 5\r\nretry-after: 6\r\nx-a: 2\r\n", &text, &head);
	CHECK_TEXT("the first", headers_find(&head.headers, HEADER_RETRY_AFTER)->value, "5");
	CHECK_TEXT("the first of a name", headers_find_name(&head.headers, SLICE("x-A"))->value, "1");
	CHECK("none", headers_find(&head.headers, HEADER_VIA) == NULL);
	CHECK("none of that name", headers_find_name(&head.headers, SLICE("x")) == NULL);
	CHECK_NUMBER("two of them", headers_count(&head.headers, HEADER_RETRY_AFTER), 2);
	CHECK_NUMBER("none of them", headers_count(&head.headers, HEADER_VIA), 0);
	buffer_free(&text);
}

static void
lists_hold_tokens(void **state)
{
	static const struct {
		const char *behaviour, *list, *token;
		bool want;
	} rows[] = {
		{ "alone", "close", "close", true },
		{ "in another case", "Close", "cLOSE", true },
		{ "first of two", "close, x", "close", true },
		{ "last of two", "x ,\tclose ", "close", true },
		{ "among empty elements", ",, ,close,", "close", true },
		{ "not there", "closed, xclose", "close", false },
		{ "in an empty list", "", "close", false },
		{ "a list of commas", ",,,", "close", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].list);
		char *list = exact_copy(rows[i].list, length);
		CHECK(rows[i].behaviour,
		    header_list_has(slice_of(list, length), slice_from(rows[i].token)) == rows[i].want);
		free(list);
	}
}

static void
connection_may_not_name_what_is_vital(void **state)
{
	static const struct {
		const char *behaviour, *fields;
		bool want;
	} rows[] = {
		{ "nothing", "", false },
		{ "keep-alive", "Connection: keep-alive\r\n", false },
		{ "a field of no weight", "Connection: x-foo, close\r\n", false },
		{ "Content-Length", "Connection: close, Content-Length\r\n", true },
		{ "Transfer-Encoding", "Connection: transfer-encoding\r\n", true },
		{ "Host", "Connection: host\r\n", true },
		{ "api-key", "Connection: API-Key\r\n", true },
		{ "Authorization", "Connection: x,authorization\r\n", true },
		{ "the subscription key", "Connection: ocp-apim-subscription-key\r\n", true },
		{ "in a second field", "Connection: close\r\nConnection: host\r\n", true },
		{ "in another field", "X-Connection: host\r\n", false },
	};
	struct buffer text = { 0 };
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		read_fields(rows[i].fields, &text, &head);
		CHECK(rows[i].behaviour, headers_connection_names_vital(&head.headers) == rows[i].want);
	}
	read_fields("Connection: close\r\nConnection: X-Foo\r\n", &text, &head);
	CHECK("a token in a second field", headers_connection_names(&head.headers, SLICE("x-foo")));
	CHECK("no such token", !headers_connection_names(&head.headers, SLICE("x-bar")));
	buffer_free(&text);
}

static void
some_fields_go_upstream(void **state)
{
	static const struct {
		const char *behaviour, *fields, *want;
	} rows[] = {
		{ "what is not known passes as it is", "Content-Type:  a/b \r\nTraceParent: 00-1\r\nX-Foo:\r\n",
		    "Content-Type: a/b\r\nTraceParent: 00-1\r\nX-Foo: \r\n" },
		{ "hop-by-hop fields stay here",
		    "Connection: keep-alive\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n"
		    "Proxy-Authenticate: x\r\nProxy-Foo: x\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: x\r\nA: b\r\n",
		    "A: b\r\n" },
		{ "what Connection names stays here",
		    "Connection: close, X-Foo\r\nx-foo: 1\r\nConnection: bar\r\nBar: 2\r\nA: b\r\n", "A: b\r\n" },
		{ "framing and host are written anew", "Host: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n", "" },
		{ "the coding is asked for anew", "Accept-Encoding: gzip\r\nAccept: */*\r\n", "Accept: */*\r\n" },
		{ "credentials stay here",
		    "api-key: k\r\nAuthorization: Bearer k\r\nOcp-Apim-Subscription-Key: k\r\nCookie: k\r\n", "" },
		{ "traces of other proxies stay here",
		    "Via: x\r\nForwarded: x\r\nX-Forwarded-For: x\r\nX-FORWARDED-Host: x\r\nX-Real-IP: x\r\n"
		    "X-Original-URL: x\r\nX-Envoy-Foo: x\r\nX-K8SE-App: x\r\nX-MS-ContainerApp-Name: x\r\n"
		    "X-AOAI-LB-Backend: x\r\n",
		    "" },
		{ "names that only look alike pass",
		    "X-Forwarded: x\r\nX-Ms-Client-Request-Id: x\r\nX-Request-Id: x\r\nXy: x\r\n",
		    "X-Forwarded: x\r\nX-Ms-Client-Request-Id: x\r\nX-Request-Id: x\r\nXy: x\r\n" },
		{ "ten custom fields pass",
		    "x-1: \r\nx-2: \r\nx-3: \r\nx-4: \r\nx-5: \r\nx-6: \r\nx-7: \r\nx-8: \r\nX-Stainless-OS: \r\n"
		    "x-stainless-lang: \r\n",
		    "x-1: \r\nx-2: \r\nx-3: \r\nx-4: \r\nx-5: \r\nx-6: \r\nx-7: \r\nx-8: \r\nX-Stainless-OS: \r\n"
		    "x-stainless-lang: \r\n" },
		{ "of eleven the SDK's own go",
		    "x-1: \r\nx-2: \r\nx-3: \r\nx-4: \r\nx-5: \r\nx-6: \r\nx-7: \r\nx-8: \r\nX-Stainless-OS: \r\n"
		    "x-stainless-lang: \r\nX-Request-Id: 1\r\n",
		    "x-1: \r\nx-2: \r\nx-3: \r\nx-4: \r\nx-5: \r\nx-6: \r\nx-7: \r\nx-8: \r\nX-Request-Id: 1\r\n" },
		{ "fields that stay here do not count",
		    "x-1: \r\nx-2: \r\nx-3: \r\nx-4: \r\nx-5: \r\nx-6: \r\nx-7: \r\nx-8: \r\nX-Stainless-OS: \r\n"
		    "x-stainless-lang: \r\nX-Forwarded-For: 1\r\n",
		    "x-1: \r\nx-2: \r\nx-3: \r\nx-4: \r\nx-5: \r\nx-6: \r\nx-7: \r\nx-8: \r\nX-Stainless-OS: \r\n"
		    "x-stainless-lang: \r\n" },
	};
	struct buffer text = { 0 }, out = { 0 };
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		read_fields(rows[i].fields, &text, &head);
		buffer_clear(&out);
		headers_write_upstream(&head.headers, &out);
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&out), rows[i].want);
	}
	read_fields("A: b\r\nApi-Key: 1\r\nauthorization: 2\r\nOcp-Apim-Subscription-Key: 3\r\nCookie: 4\r\n", &text,
	    &head);
	buffer_clear(&out);
	headers_write_credentials(&head.headers, &out);
	CHECK_TEXT("the caller's own", buffer_slice(&out),
	    "Api-Key: 1\r\nauthorization: 2\r\nOcp-Apim-Subscription-Key: 3\r\n");
	buffer_free(&out);
	buffer_free(&text);
}

static void
some_fields_go_downstream(void **state)
{
	static const struct {
		const char *behaviour, *fields;
		bool without_hints;
		const char *want;
	} rows[] = {
		{ "answers pass as they are",
		    "Content-Type: a/b\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nx-ms-region: e\r\n", false,
		    "Content-Type: a/b\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nx-ms-region: e\r\n" },
		{ "framing is written anew", "Content-Length: 5\r\nA: b\r\n", false, "A: b\r\n" },
		{ "chunks as well", "Transfer-Encoding: chunked\r\nTrailer: x\r\nA: b\r\n", false, "A: b\r\n" },
		{ "hop-by-hop fields stay here",
		    "Connection: x-foo\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: x\r\nA: b\r\n",
		    false, "A: b\r\n" },
		{ "hints pass", "Retry-After: 5\r\nretry-after-ms: 5000\r\nx-ms-retry-after-ms: 5000\r\n", false,
		    "Retry-After: 5\r\nretry-after-ms: 5000\r\nx-ms-retry-after-ms: 5000\r\n" },
		{ "hints are replaced",
		    "Retry-After: 5\r\nretry-after-ms: 5000\r\nx-ms-retry-after-ms: 5000\r\nx-ratelimit-reset-tokens: "
		    "5\r\n",
		    true, "x-ratelimit-reset-tokens: 5\r\n" },
		{ "white space is made one space, between lines that need none and at either end",
		    "A:1\r\nB: 2\r\nC:  3\r\nD: 4\r\nE: 5\r\nF:\t6\r\nG: 7 \r\nH: 8\t \r\nI: 9\r\nJ:\r\nK: \r\nL: "
		    "12\r\n",
		    false,
		    "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\nH: 8\r\nI: 9\r\nJ: \r\nK: \r\nL: 12\r\n" },
		{ "what stays here takes none of its neighbours along",
		    "A: 1\r\nTrailer: x\r\nB: 2\r\nC: 3\r\nTrailer: x\r\nUpgrade: y\r\nD: 4\r\nTrailer: z\r\n", false,
		    "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n" },
		{ "nobody speaks in our name", "X-Aoai-LB-Attempts: x\r\nA: b\r\n", false, "A: b\r\n" },
	};
	struct buffer text = { 0 }, out = { 0 };
	struct response_head head;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		read_fields(rows[i].fields, &text, &head);
		buffer_clear(&out);
		headers_write_downstream(&head.headers, rows[i].without_hints, &out);
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&out), rows[i].want);
	}
	buffer_free(&out);
	buffer_free(&text);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_known_whatever_their_case),
		cmocka_unit_test(fields_are_found_in_their_order),
		cmocka_unit_test(lists_hold_tokens),
		cmocka_unit_test(connection_may_not_name_what_is_vital),
		cmocka_unit_test(some_fields_go_upstream),
		cmocka_unit_test(some_fields_go_downstream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
