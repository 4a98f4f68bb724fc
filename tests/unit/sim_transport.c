/* What the simulator does to connections: faults on the wire, and standing up to bad clients. */
#include "sim_support.h"

#include <poll.h>
#include <time.h>

#include <jansson.h>

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* How an answer came, in words. */
static const char *
shape_of(const struct reply *reply)
{
	if (reply->malformed)
		return "malformed";
	if (!reply->has_head)
		return reply->reset ? "reset before head" : "closed before head";
	if (!reply->whole)
		return reply->reset ? "reset in body" : "closed in body";
	return "whole";
}

/* A reset that comes while the request is still being sent is told to the sender; the reader then sees an end. */
#define RESET_AT_ONCE "reset at once"

static bool
has_shape(const struct reply *reply, const char *shape)
{
	if (strcmp(shape, RESET_AT_ONCE) == 0)
		return strcmp(shape_of(reply), "reset before head") == 0 ||
		    strcmp(shape_of(reply), "closed before head") == 0;
	return strcmp(shape_of(reply), shape) == 0;
}

static void
every_fault_looks_as_it_should(void **state)
{
	static const struct {
		const char *fault, *body, *shape;
		unsigned status;  /* 0: any */
		const char *says; /* in the body; NULL: anything */
	} cases[] = {
		{ "{\"fault\":\"status\",\"status\":503}", CHAT_BODY, "whole", 503, "\"503\"" },
		{ "{\"fault\":\"status\",\"status\":204}", CHAT_BODY, "whole", 204, NULL },
		{ "{\"fault\":\"status\",\"status\":500,\"body\":\"plain\"}", CHAT_STREAM_BODY, "whole", 500, "plain" },
		{ "{\"fault\":\"status\",\"status\":401,\"body\":{\"error\":{\"code\":\"PermissionDenied\"}},\"early\":"
		  "true}",
		    CHAT_BODY, "whole", 401, "PermissionDenied" },
		{ "{\"fault\":\"throttle\"}", CHAT_STREAM_BODY, "whole", 429, "rate limit" },
		{ "{\"fault\":\"throttle\",\"form\":\"capacity\",\"ms\":6000}", CHAT_BODY, "whole", 429,
		    "Please retry after 6 seconds" },
		{ "{\"fault\":\"stream_error\",\"at\":3}", CHAT_STREAM_BODY, "whole", 200,
		    "\"type\":\"rate_limit_exceeded\",\"param\":null,\"code\":\"429\"" },
		{ "{\"fault\":\"stream_error\",\"status\":500,\"form\":\"event\"}", CHAT_STREAM_BODY, "whole", 200,
		    "event: error\ndata: {\"type\":\"error\"" },
		{ "{\"fault\":\"stream_error\",\"form\":\"response_failed\"}", CHAT_STREAM_BODY, "whole", 200,
		    "event: response.failed\n" },
		{ "{\"fault\":\"stream_error\"}", CHAT_BODY, "whole", 200, "\"finish_reason\":\"stop\"" },
		{ "{\"fault\":\"truncate\"}", CHAT_STREAM_BODY, "closed in body", 200, "[DONE]" },
		{ "{\"fault\":\"truncate\",\"stage\":\"at_event\",\"at\":2}", CHAT_STREAM_BODY, "closed in body", 200,
		    "assistant" },
		{ "{\"fault\":\"truncate\",\"stage\":\"in_event\",\"at\":2}", CHAT_STREAM_BODY, "closed in body", 200,
		    "assistant" },
		{ "{\"fault\":\"truncate\",\"stage\":\"at_event\",\"at\":2,\"form\":\"final_chunk\"}", CHAT_STREAM_BODY,
		    "whole", 200, "assistant" },
		{ "{\"fault\":\"truncate\",\"stage\":\"in_event\",\"at\":2,\"form\":\"final_chunk\"}", CHAT_STREAM_BODY,
		    "whole", 200, "assistant" },
		{ "{\"fault\":\"truncate\",\"stage\":\"at_byte\",\"at\":20,\"form\":\"final_chunk\"}", CHAT_STREAM_BODY,
		    "whole", 200, "data: " },
		{ "{\"fault\":\"truncate\",\"stage\":\"at_byte\",\"at\":1,\"form\":\"final_chunk\"}", CHAT_STREAM_BODY,
		    "whole", 200, NULL },
		{ "[{\"fault\":\"odd_chunks\"},{\"fault\":\"truncate\",\"stage\":\"at_byte\",\"at\":300,\"form\":"
		  "\"final_chunk\"}]",
		    CHAT_STREAM_BODY, "whole", 200, "data: " },
		{ "[{\"fault\":\"slow_body\",\"ms\":1,\"bytes\":2},{\"fault\":\"truncate\",\"stage\":\"at_byte\","
		  "\"at\":3,"
		  "\"form\":\"final_chunk\"}]",
		    CHAT_STREAM_BODY, "whole", 200, NULL },
		{ "{\"fault\":\"truncate\",\"stage\":\"at_byte\",\"at\":10}", CHAT_BODY, "closed in body", 200,
		    "{\"choices\"" },
		{ "{\"fault\":\"truncate\",\"stage\":\"after_head\"}", CHAT_BODY, "closed in body", 200, NULL },
		{ "{\"fault\":\"truncate\",\"stage\":\"mid_head\"}", CHAT_BODY, "closed before head", 0, NULL },
		{ "{\"fault\":\"truncate\",\"stage\":\"before_head\"}", CHAT_BODY, "closed before head", 0, NULL },
		{ "{\"fault\":\"reset\"}", CHAT_BODY, "reset before head", 0, NULL },
		{ "{\"fault\":\"reset\",\"stage\":\"accept\"}", CHAT_BODY, RESET_AT_ONCE, 0, NULL },
		{ "{\"fault\":\"reset\",\"stage\":\"request\"}", CHAT_BODY, "reset before head", 0, NULL },
		{ "{\"fault\":\"slow_head\",\"ms\":1,\"bytes\":40}", CHAT_BODY, "whole", 200, "stop" },
		{ "{\"fault\":\"slow_body\",\"ms\":1,\"bytes\":200}", CHAT_STREAM_BODY, "whole", 200, "[DONE]" },
		{ "{\"fault\":\"garbled_head\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"bare_lf\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"obs_fold\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"two_lengths\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"length_and_chunked\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"length_and_chunked\"}", CHAT_STREAM_BODY, "malformed", 0,
		    NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"nul\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"space_before_colon\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"signed_length\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"bad_status\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"no_end\"}", CHAT_BODY, "closed before head", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"form\":\"gzip_chunked\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"garbled_head\",\"raw\":\"HTTP/3 200\\r\\n\\r\\n\"}", CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"wrong_length\",\"delta\":5}", CHAT_BODY, "closed in body", 200, "usage" },
		{ "{\"fault\":\"wrong_length\",\"delta\":-5}", CHAT_BODY, "whole", 200, "choices" },
		{ "{\"fault\":\"no_done\"}", CHAT_STREAM_BODY, "whole", 200, "\"finish_reason\":\"stop\"" },
		{ "{\"fault\":\"keepalive\"}", CHAT_STREAM_BODY, "whole", 200, "data: {\"type\":\"keepalive\"}" },
		{ "{\"fault\":\"comments\",\"every\":2}", CHAT_STREAM_BODY, "whole", 200, ": simulated comment\n\n" },
		{ "{\"fault\":\"huge_header\",\"bytes\":5000}", CHAT_BODY, "whole", 200, NULL },
		{ "{\"fault\":\"odd_chunks\"}", CHAT_STREAM_BODY, "whole", 200, "[DONE]" },
		{ "{\"fault\":\"odd_chunks\"}", CHAT_BODY, "whole", 200, "stop" },
		{ "{\"fault\":\"until_close\"}", CHAT_STREAM_BODY, "whole", 200, "[DONE]" },
		{ "{\"fault\":\"line_ends\",\"form\":\"crlf\"}", CHAT_STREAM_BODY, "whole", 200,
		    "data: [DONE]\r\n\r\n" },
		{ "{\"fault\":\"line_ends\",\"form\":\"cr\"}", CHAT_STREAM_BODY, "whole", 200, "data: [DONE]\r\r" },
		{ "[{\"fault\":\"garbled_head\",\"form\":\"length_and_chunked\"},{\"fault\":\"odd_chunks\"}]",
		    CHAT_BODY, "malformed", 0, NULL },
		{ "[{\"fault\":\"garbled_head\",\"form\":\"bare_lf\"},{\"fault\":\"garbled_head\",\"form\":"
		  "\"bad_status\"},{\"fault\":\"wrong_length\"}]",
		    CHAT_BODY, "malformed", 0, NULL },
		{ "{\"fault\":\"truncate\",\"stage\":\"at_byte\",\"at\":9,\"form\":\"final_chunk\"}", CHAT_BODY,
		    "closed in body", 200, "{\"choices" },
		{ "[{\"fault\":\"stall\",\"stage\":\"at_event\",\"at\":1,\"ms\":20},{\"fault\":\"truncate\",\"stage\":"
		  "\"at_event\","
		  "\"at\":3}]",
		    CHAT_STREAM_BODY, "closed in body", 200, "\"content\":\"This\"" },
	};
	struct sim *sim = start(ONE_RESOURCE("", ""));

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct reply reply;

		install(sim, cases[i].fault);
		post(sim, CHAT, cases[i].body, &reply);
		if (!has_shape(&reply, cases[i].shape))
			fail_msg("%s: %s, not %s", cases[i].fault, shape_of(&reply), cases[i].shape);
		if (cases[i].status != 0)
			CHECK_NUMBER(cases[i].fault, reply.head.status, cases[i].status);
		if (cases[i].says != NULL)
			CHECK(cases[i].fault, body_has(&reply, cases[i].says));
		reply_free(&reply);
		clear_faults(sim);
	}
	sim_stop(&sim);
}

static void
throttles_hint_in_every_way(void **state)
{
	static const struct {
		const char *form, *field, *value;
	} cases[] = {
		{ "both", "retry-after-ms", "1500" },
		{ "both", "retry-after", "2" },
		{ "ms", "retry-after-ms", "1500" },
		{ "ms", "retry-after", "" },
		{ "x_ms", "x-ms-retry-after-ms", "1500" },
		{ "seconds", "retry-after", "2" },
		{ "zero", "retry-after-ms", "0" },
		{ "minus", "retry-after", "-1" },
		{ "huge", "retry-after", "86400" },
		{ "missing", "retry-after", "" },
		{ "garbage", "retry-after-ms", "soon" },
		{ "reset_requests", "x-ratelimit-reset-requests", "2" },
		{ "reset_tokens", "x-ratelimit-reset-tokens", "2" },
		{ "odd", "x-rate-limit-reset-tokens", "2" },
		{ "body", "retry-after", "" },
	};
	struct sim *sim = start(ONE_RESOURCE(",\"tokens_per_minute\":100000", ""));
	struct reply reply;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char fault[128];

		snprintf(fault, sizeof(fault), "{\"fault\":\"throttle\",\"ms\":1500,\"form\":\"%s\"}", cases[i].form);
		install(sim, fault);
		post(sim, CHAT, CHAT_BODY, &reply);
		CHECK_NUMBER(cases[i].form, reply.head.status, 429);
		CHECK_TEXT(cases[i].form, field_of(&reply, cases[i].field), cases[i].value);
		CHECK_TEXT("nothing else hints", field_of(&reply, "x-ratelimit-remaining-tokens"), "");
		reply_free(&reply);
		clear_faults(sim);
	}
	install(sim, "{\"fault\":\"throttle\",\"ms\":5000,\"form\":\"date\"}");
	post(sim, CHAT, CHAT_BODY, &reply);
	CHECK("a date", slice_find(field_of(&reply, "retry-after"), SLICE(" GMT")) > 0);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
added_fields_and_interim_answers_come_with_good_answers(void **state)
{
	struct sim *sim = start(ONE_RESOURCE("", ""));
	struct reply reply;

	(void)state;
	install(sim,
	    "[{\"fault\":\"headers\",\"headers\":{\"x-ms-spillover-from-deployment\":\"ptu\"}},"
	    "{\"fault\":\"content_coding\",\"form\":\"br\"}]");
	post(sim, CHAT, CHAT_BODY, &reply);
	CHECK_NUMBER("good", reply.head.status, 200);
	CHECK_TEXT("with the field", field_of(&reply, "x-ms-spillover-from-deployment"), "ptu");
	CHECK_TEXT("and the coding", field_of(&reply, "content-encoding"), "br");
	reply_free(&reply);
	clear_faults(sim);
	install(sim, "{\"fault\":\"informational\"}");
	post(sim, CHAT, CHAT_BODY, &reply);
	CHECK_NUMBER("hints first", reply.head.status, 103);
	reply_free(&reply);
	sim_stop(&sim);
}

/* Whether fd ends within a second; true for FIN and RST alike. */
static bool
ends(int fd)
{
	struct pollfd watched = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&watched, 1, 1000) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

static uint64_t
number_in_stats(struct sim *sim, const char *key)
{
	struct reply reply;
	json_t *stats;
	uint64_t number;

	ask(sim_control_port(sim), "GET", "/stats", "", NULL, &reply);
	stats = json_loadb(reply.body.data, reply.body.length, 0, NULL);
	number =
	    (uint64_t)json_integer_value(json_object_get(json_array_get(json_object_get(stats, "resources"), 0), key));
	json_decref(stats);
	reply_free(&reply);
	return number;
}

/* Waits for a number in the statistics, which another thread counts. */
static bool
stats_reach(struct sim *sim, const char *key, uint64_t want)
{
	struct timespec pause = { .tv_nsec = 5000000 };

	for (unsigned i = 0; i < 400; i++) {
		if (number_in_stats(sim, key) == want)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void
silence_lasts_until_the_client_goes(void **state)
{
	static const char *const faults[] = {
		"{\"fault\":\"stall\"}",
		"{\"fault\":\"stall\",\"stage\":\"after_head\"}",
		"{\"fault\":\"stall\",\"stage\":\"at_event\",\"at\":2}",
		"{\"fault\":\"stall\",\"stage\":\"request\"}",
	};
	struct sim *sim = start(ONE_RESOURCE("", ""));

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		int fd;

		install(sim, faults[i]);
		fd = dial(sim_port(sim, 0));
		send_request(fd, "POST", CHAT, "", CHAT_STREAM_BODY);
		CHECK(faults[i], stats_reach(sim, "requests", i + 1));
		CHECK_NUMBER(faults[i], number_in_stats(sim, "connections_open"), 1);
		close(fd);
		CHECK(faults[i], stats_reach(sim, "aborted", i + 1));
		CHECK(faults[i], stats_reach(sim, "connections_open", 0));
		clear_faults(sim);
	}
	sim_stop(&sim);
}

static void
departures_in_mid_stream_are_counted(void **state)
{
	struct sim *sim = start(ONE_RESOURCE(",\"latency\":{\"first_token_ms\":20,\"per_token_ms\":5000}", ""));
	char bytes[512];
	int fd = dial(sim_port(sim, 0));

	(void)state;
	send_request(fd, "POST", CHAT, "", CHAT_STREAM_BODY);
	CHECK("it streams", recv(fd, bytes, sizeof(bytes), 0) > 0);
	close(fd);
	CHECK("and is given up", stats_reach(sim, "aborted", 1));
	sim_stop(&sim);
}

static void
tokens_come_at_their_pace(void **state)
{
	struct sim *sim = start(ONE_RESOURCE(",\"latency\":{\"first_token_ms\":100,\"per_token_ms\":30}", ""));
	struct reply reply;
	uint64_t began = now_ms(), took;

	(void)state;
	post(sim, CHAT, CHAT_STREAM_BODY, &reply);
	took = now_ms() - began;
	CHECK("100 ms and five times 30", reply.whole && took >= 250 && took < 1500);
	reply_free(&reply);
	began = now_ms();
	post(sim, CHAT, CHAT_BODY, &reply);
	took = now_ms() - began;
	CHECK("whole answers as well", reply.whole && took >= 220 && took < 1500);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
connections_are_kept_and_closed_as_asked(void **state)
{
	struct sim *sim = start("{\"control\":{},\"resources\":[{\"name\":\"one\",\"keep_alive_ms\":100,"
				"\"deployments\":{\"gpt-4o\":{}}}]}");
	struct reply reply;
	int fd = dial(sim_port(sim, 0));

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		send_request(fd, "POST", CHAT, "", CHAT_BODY);
		read_reply(fd, &reply);
		CHECK_NUMBER("kept", reply.head.status, 200);
		reply_free(&reply);
	}
	CHECK_NUMBER("one connection", number_in_stats(sim, "connections_accepted"), 1);
	CHECK("closed when idle for too long", ends(fd));
	close(fd);

	fd = dial(sim_port(sim, 0));
	send_request(fd, "POST", CHAT, "Connection: close\r\n", CHAT_BODY);
	read_reply(fd, &reply);
	CHECK_TEXT("says so", field_of(&reply, "connection"), "close");
	CHECK("and does", ends(fd));
	reply_free(&reply);
	close(fd);

	install(sim, "{\"fault\":\"close_after\"}");
	fd = dial(sim_port(sim, 0));
	send_request(fd, "POST", CHAT, "", CHAT_BODY);
	read_reply(fd, &reply);
	CHECK("says nothing", reply.whole && field_of(&reply, "connection").length == 0);
	CHECK("and closes all the same", ends(fd));
	reply_free(&reply);
	close(fd);
	sim_stop(&sim);
}

static void
requests_may_come_in_pieces_or_together(void **state)
{
	struct sim *sim = start(ONE_RESOURCE("", ""));
	struct timespec pause = { .tv_nsec = 20000000 };
	struct buffer request = { 0 };
	struct reply reply;
	int fd = dial(sim_port(sim, 0));

	(void)state;
	buffer_append_format(&request,
	    "\r\nPOST %s HTTP/1.1\r\nHost: a\r\napi-key: secret\r\nContent-Type: application/json\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n"
	    "5;x=y\r\n{\"mes\r\n10\r\nsages\":[\"hello\"]\r\n1\r\n}\r\n0\r\nx-trailer: y\r\n\r\n",
	    CHAT);
	for (size_t i = 0; i < request.length; i++)
		send_text(fd, request.data + i, 1);
	read_reply(fd, &reply);
	CHECK_NUMBER("a byte at a time, chunked", reply.head.status, 200);
	reply_free(&reply);
	/* With a fault installed the head is looked at before the body comes. */
	install(sim, "{\"fault\":\"reset\",\"stage\":\"request\",\"path\":\"elsewhere\"}");
	send_request(fd, "POST", CHAT, "Content-Type: application/json\r\nContent-Length: 15\r\n", NULL);
	nanosleep(&pause, NULL);
	send_text(fd, "{\"messages\":[]}", 15);
	read_reply(fd, &reply);
	CHECK_NUMBER("head and body apart", reply.head.status, 200);
	reply_free(&reply);
	buffer_clear(&request);
	for (unsigned i = 0; i < 20; i++)
		buffer_append_string(&request, "GET /openai/v1/models HTTP/1.1\r\nHost: a\r\napi-key: secret\r\n\r\n");
	send_text(fd, request.data, request.length);
	shutdown(fd, SHUT_WR);
	buffer_clear(&request);
	for (;;) {
		char bytes[4096];
		ssize_t count = recv(fd, bytes, sizeof(bytes), 0);

		if (count <= 0)
			break;
		buffer_append(&request, bytes, (size_t)count);
	}
	CHECK_NUMBER("twenty at once", count_in(buffer_slice(&request), "HTTP/1.1 200 OK"), 20);
	close(fd);

	fd = dial(sim_port(sim, 0));
	send_request(fd, "POST", CHAT,
	    "Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 15\r\n", NULL);
	read_reply(fd, &reply);
	CHECK_NUMBER("told to go on", reply.head.status, 100);
	reply_free(&reply);
	send_text(fd, "{\"messages\":[]}", 15);
	read_reply(fd, &reply);
	CHECK_NUMBER("and answered", reply.head.status, 200);
	reply_free(&reply);
	close(fd);

	fd = dial(sim_port(sim, 0));
	buffer_clear(&request);
	buffer_append_format(&request,
	    "POST %s HTTP/1.0\r\nHost: a\r\napi-key: secret\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    CHAT, strlen(CHAT_STREAM_BODY), CHAT_STREAM_BODY);
	send_text(fd, request.data, request.length);
	read_reply(fd, &reply);
	CHECK("HTTP/1.0 gets no chunks", reply.whole && !reply.head.chunked && body_has(&reply, "[DONE]"));
	reply_free(&reply);
	close(fd);
	buffer_free(&request);
	sim_stop(&sim);
}

static void
malformed_requests_are_refused_and_survived(void **state)
{
	static const struct {
		const char *request;
		unsigned status;
	} cases[] = {
		{ "GARBAGE\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\nHost: a\n\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\na", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\na", 501 },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413 },
		{ "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	};
	struct sim *sim = start(ONE_RESOURCE("", ""));
	struct reply reply;
	struct buffer huge = { 0 };
	int fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		fd = dial(sim_port(sim, 0));
		send_text(fd, cases[i].request, strlen(cases[i].request));
		read_reply(fd, &reply);
		CHECK_NUMBER(cases[i].request, reply.head.status, cases[i].status);
		CHECK(cases[i].request, reply.whole);
		CHECK(cases[i].request, ends(fd));
		reply_free(&reply);
		close(fd);
	}
	buffer_append_string(&huge, "GET / HTTP/1.1\r\nHost: a\r\nx: ");
	for (unsigned i = 0; i < 70000; i++)
		buffer_append_byte(&huge, 'x');
	fd = dial(sim_port(sim, 0));
	send_text(fd, huge.data, huge.length);
	read_reply(fd, &reply);
	CHECK_NUMBER("a huge head", reply.head.status, 431);
	reply_free(&reply);
	close(fd);
	buffer_free(&huge);
	post(sim, CHAT, CHAT_BODY, &reply);
	CHECK_NUMBER("others are served", reply.head.status, 200);
	reply_free(&reply);
	sim_stop(&sim);
}

static void
large_bodies_and_slow_readers_are_served(void **state)
{
	struct sim *sim = start("{\"resources\":[{\"name\":\"one\",\"deployments\":{\"gpt-4o\":"
				"{\"completion_tokens\":20000,\"context_tokens\":100000000}}}]}");
	struct timespec pause = { .tv_nsec = 50000000 };
	struct buffer body = { 0 };
	struct reply reply;
	unsigned line_ends = 0;
	int fd;

	(void)state;
	buffer_append_string(&body, "{\"stream\":true,\"messages\":[\"");
	for (unsigned i = 0; i < 3000000; i++)
		buffer_append_byte(&body, 'x');
	buffer_append_string(&body, "\"]}");
	buffer_append_byte(&body, '\0');
	fd = dial(sim_port(sim, 0));
	send_request(fd, "POST", CHAT, "", body.data);
	nanosleep(&pause, NULL);
	read_reply(fd, &reply);
	for (size_t i = 0; i < reply.body.length; i++)
		line_ends += reply.body.data[i] == '\n';
	CHECK("whole", reply.whole);
	CHECK_NUMBER("two line ends for each event", line_ends, 2 * 20004);
	reply_free(&reply);
	close(fd);
	buffer_free(&body);
	sim_stop(&sim);
}

static void
it_stops_with_connections_in_every_state(void **state)
{
	struct sim *sim = start(ONE_RESOURCE(",\"latency\":{\"first_token_ms\":50,\"per_token_ms\":1000}", ""));
	int idle = dial(sim_port(sim, 0)), half = dial(sim_port(sim, 0)), streaming = dial(sim_port(sim, 0));
	int stalled = dial(sim_port(sim, 0));
	char bytes[512];

	(void)state;
	send_text(half, "POST / HT", 9);
	send_request(streaming, "POST", CHAT, "", CHAT_STREAM_BODY);
	CHECK("it streams", recv(streaming, bytes, sizeof(bytes), 0) > 0);
	install(sim, "{\"fault\":\"stall\"}");
	send_request(stalled, "POST", CHAT, "", CHAT_BODY);
	CHECK("four are open", stats_reach(sim, "requests", 2));
	sim_stop(&sim);
	CHECK("idle ends", ends(idle));
	CHECK("half a request ends", ends(half));
	CHECK("silence ends", ends(stalled));
	close(idle);
	close(half);
	close(streaming);
	close(stalled);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fault_looks_as_it_should),
		cmocka_unit_test(throttles_hint_in_every_way),
		cmocka_unit_test(added_fields_and_interim_answers_come_with_good_answers),
		cmocka_unit_test(silence_lasts_until_the_client_goes),
		cmocka_unit_test(departures_in_mid_stream_are_counted),
		cmocka_unit_test(tokens_come_at_their_pace),
		cmocka_unit_test(connections_are_kept_and_closed_as_asked),
		cmocka_unit_test(requests_may_come_in_pieces_or_together),
		cmocka_unit_test(malformed_requests_are_refused_and_survived),
		cmocka_unit_test(large_bodies_and_slow_readers_are_served),
		cmocka_unit_test(it_stops_with_connections_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
