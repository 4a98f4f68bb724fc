/* The benchmark's messages are what a strict parser takes, and say in their heads what their bodies are. */
#include "bench/canned.h"

#include "http/head.h"
#include "unit.h"

static void
test_a_deployments_name_says_what_is_asked_for(void **state)
{
	static const struct {
		const char *behaviour, *name;
		bool known;
		enum canned_kind kind;
		unsigned events, gap_ms;
	} cases[] = {
		{ "small JSON", "json", true, CANNED_JSON, 0, 0 },
		{ "one of many names", "d17", true, CANNED_JSON, 0, 0 },
		{ "a large request", "request_40k", true, CANNED_REQUEST_40K, 0, 0 },
		{ "a large answer", "answer_40k", true, CANNED_ANSWER_40K, 0, 0 },
		{ "a stream", "stream-50-20", true, CANNED_STREAM, 50, 20 },
		{ "a stream without pauses", "stream-1-0", true, CANNED_STREAM, 1, 0 },
		{ "a stream without its pause", "stream-50", false, CANNED_JSON, 0, 0 },
		{ "a stream of too many events", "stream-1000001-0", false, CANNED_JSON, 0, 0 },
		{ "a stream whose pauses are too long", "stream-1-60001", false, CANNED_JSON, 0, 0 },
		{ "no number", "dx", false, CANNED_JSON, 0, 0 },
		{ "d alone", "d", false, CANNED_JSON, 0, 0 },
		{ "no name", "", false, CANNED_JSON, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct canned_call call;
		bool known = canned_read_name(slice_from(cases[i].name), &call);

		CHECK(cases[i].behaviour, known == cases[i].known);
		if (!known)
			continue;
		CHECK(cases[i].behaviour, call.kind == cases[i].kind);
		CHECK_NUMBER(cases[i].behaviour, call.events, cases[i].events);
		CHECK_NUMBER(cases[i].behaviour, call.gap_ms, cases[i].gap_ms);
	}
}

static void
test_requests_and_answers_are_well_formed_and_as_long_as_they_say(void **state)
{
	static const struct {
		const char *name;
		uint64_t request_bytes, answer_bytes;
	} cases[] = {
		{ "json", 2048, 1536 },
		{ "request_40k", 40960, 1536 },
		{ "answer_40k", 2048, 40960 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const char *name = cases[i].name;
		struct head_search search = { 0 };
		struct buffer text = { 0 };
		struct request_head request;
		struct response_head answer;
		struct canned_call call, read_back;
		size_t head_length = 0;

		CHECK(name, canned_read_name(slice_from(name), &call));
		canned_write_request(&call, &text);
		CHECK(name, head_find_end(&search, buffer_slice(&text), 65536, &head_length) == HEAD_COMPLETE);
		CHECK(name, head_parse_request(slice_of(text.data, head_length), &request) == HEAD_COMPLETE);
		CHECK_NUMBER(name, request.content_length, cases[i].request_bytes);
		CHECK_NUMBER(name, text.length - head_length, cases[i].request_bytes);
		CHECK_NUMBER(name, request.headers.count, 14);
		CHECK(name, canned_read_target(request.target, &read_back) && read_back.kind == call.kind);
		buffer_clear(&text);
		search = (struct head_search){ 0 };
		canned_write_head(&call, &text);
		CHECK(name, head_find_end(&search, buffer_slice(&text), 65536, &head_length) == HEAD_COMPLETE);
		CHECK_NUMBER(name, head_length, text.length);
		CHECK(name, head_parse_response(buffer_slice(&text), &answer) == HEAD_COMPLETE);
		CHECK_NUMBER(name, answer.content_length, cases[i].answer_bytes);
		CHECK_NUMBER(name, answer.headers.count, 13);
		buffer_clear(&text);
		canned_write_body(&call, &text);
		CHECK_NUMBER(name, text.length, cases[i].answer_bytes);
		buffer_free(&text);
	}
}

static void
test_a_stream_ends_with_its_reason_and_then_done(void **state)
{
	struct canned_call call = { .kind = CANNED_STREAM, .events = 2 };
	struct buffer text = { 0 };

	(void)state;
	canned_write_event(&call, 0, &text);
	CHECK("the first carries text", slice_find(buffer_slice(&text), SLICE("\"content\":\" token 0\"")) >= 0);
	buffer_clear(&text);
	canned_write_event(&call, 2, &text);
	CHECK("then the reason", slice_find(buffer_slice(&text), SLICE("\"finish_reason\":\"stop\"")) >= 0);
	buffer_clear(&text);
	canned_write_event(&call, 3, &text);
	CHECK_TEXT("then the end", buffer_slice(&text), "data: [DONE]\n\n");
	buffer_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_deployments_name_says_what_is_asked_for),
		cmocka_unit_test(test_requests_and_answers_are_well_formed_and_as_long_as_they_say),
		cmocka_unit_test(test_a_stream_ends_with_its_reason_and_then_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
