#include "bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "http/framing.h"
#include "http/head.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/tls.h"

#define HEAD_MAX_BYTES 65536U
#define READ_BYTES 65536U
/* A connection that failed is made anew after this long, so that a dead peer is not stormed. */
#define RECONNECT_MS 5U
/* An answer that takes longer (a stream: its next bytes) is an error. */
#define SILENCE_MS 60000U

enum load_phase { LOAD_WARMING, LOAD_READY, LOAD_MEASURING, LOAD_OVER };

struct load {
	const struct load_settings *settings;
	struct load_result *result;
	struct event_base *base;
	struct timer_wheel *wheel;
	struct timer clock; /* ends the warming, then the measured time */
	struct event *input_event;
	SSL_CTX *tls;
	enum load_phase phase;
	bool warm_time_over;
	unsigned answered; /* connections that have been, at least once */
	unsigned next_name;
	uint64_t started_us;
	struct buffer *requests; /* one for each name */
	struct buffer answer;    /* what the body of each answer has to be; empty for streams */
	struct response_head head;
	struct connection *connections;
	char bytes[READ_BYTES];
};

struct connection {
	struct load *load;
	struct stream stream;
	struct timer timer; /* silence, or until the next try to connect */
	unsigned number;
	bool connecting, in_body, answered;
	const struct buffer *request;
	size_t sent;
	uint64_t asked_us;
	struct buffer input; /* an incomplete head */
	struct body_reader body;
	uint64_t seen;          /* payload bytes of this answer */
	unsigned event;         /* of a stream: the one that is expected */
	struct buffer expected; /* its bytes */
	size_t expected_seen;
};

static void connect_now(struct connection *connection);
static void ask(struct connection *connection);
static void start_measuring(struct load *load);
static void finish(struct load *load);

/* ---- errors ---------------------------------------------------------------------------------------------------- */

static void
failed(struct connection *connection, const char *reason)
{
	struct load *load = connection->load;
	struct load_result *result = load->result;

	stream_close(&connection->stream);
	if (load->phase != LOAD_OVER) {
		if (result->errors++ == 0)
			snprintf(result->fault, sizeof(result->fault), "%s", reason);
		if (result->errors > LOAD_ERRORS_MAX)
			finish(load);
	}
	timer_set(load->wheel, &connection->timer, clock_now_ms() + RECONNECT_MS);
}

static void
on_timer(void *owner, uint64_t now_ms)
{
	struct connection *connection = owner;

	(void)now_ms;
	if (stream_is_open(&connection->stream))
		failed(connection, "no answer, or no further event, in a minute");
	else if (connection->load->phase != LOAD_OVER)
		connect_now(connection);
}

/* ---- the answer ------------------------------------------------------------------------------------------------ */

static void
expect_event(struct connection *connection)
{
	buffer_clear(&connection->expected);
	connection->expected_seen = 0;
	if (connection->event <= connection->load->settings->call.events + 1)
		canned_write_event(&connection->load->settings->call, connection->event, &connection->expected);
}

/* Whether the bytes continue the stream as they have to. */
static bool
events_match(struct connection *connection, struct slice bytes)
{
	struct load *load = connection->load;

	while (bytes.length > 0) {
		size_t rest = connection->expected.length - connection->expected_seen;
		size_t take = bytes.length < rest ? bytes.length : rest;

		if (rest == 0 || memcmp(bytes.data, connection->expected.data + connection->expected_seen, take) != 0)
			return false;
		bytes = slice_skip(bytes, take);
		connection->expected_seen += take;
		if (take < rest)
			break;
		connection->event++;
		if (load->phase == LOAD_MEASURING)
			load->result->events++;
		expect_event(connection);
	}
	return true;
}

static void
was_answered(struct connection *connection)
{
	struct load *load = connection->load;

	if (connection->answered)
		return;
	connection->answered = true;
	load->answered++;
	if (load->answered == load->settings->connections && load->warm_time_over && load->phase == LOAD_WARMING)
		start_measuring(load);
}

static void
note_latency(struct connection *connection)
{
	if (connection->load->phase == LOAD_MEASURING)
		figures_add(&connection->load->result->latency_us, clock_now_us() - connection->asked_us);
}

static bool
payload_matches(struct connection *connection, struct slice bytes)
{
	struct load *load = connection->load;
	bool is_stream = load->settings->call.kind == CANNED_STREAM;

	if (bytes.length == 0)
		return true;
	if (is_stream && connection->seen == 0) {
		note_latency(connection);
		was_answered(connection);
	}
	if (load->phase == LOAD_MEASURING)
		load->result->payload_bytes += bytes.length;
	if (!is_stream &&
	    (connection->seen + bytes.length > load->answer.length ||
		memcmp(bytes.data, load->answer.data + connection->seen, bytes.length) != 0))
		return false;
	connection->seen += bytes.length;
	return !is_stream || events_match(connection, bytes);
}

static bool
is_whole(const struct connection *connection)
{
	const struct load *load = connection->load;

	if (load->settings->call.kind == CANNED_STREAM)
		return connection->event == load->settings->call.events + 2;
	return connection->seen == load->answer.length;
}

static void
answer_done(struct connection *connection)
{
	struct load *load = connection->load;

	connection->in_body = false;
	if (load->settings->call.kind != CANNED_STREAM)
		note_latency(connection);
	if (load->phase == LOAD_MEASURING)
		load->result->answers++;
	was_answered(connection);
	if (load->phase == LOAD_MEASURING && load->settings->requests != 0 &&
	    load->result->answers >= load->settings->requests)
		finish(load);
	if (load->phase != LOAD_OVER)
		ask(connection);
}

/* NULL, or what is wrong. */
static const char *
take_body(struct connection *connection, char *data, size_t length)
{
	size_t payload, consumed;
	enum body_status status = body_read(&connection->body, data, length, &payload, &consumed);

	if (status == BODY_MALFORMED)
		return "the answer's body is malformed";
	if (!payload_matches(connection, slice_of(data, payload)))
		return "the answer's body is not the backend's";
	if (status == BODY_MORE)
		return NULL;
	if (!is_whole(connection))
		return "the answer's body is shorter than the backend's";
	if (consumed != length || !connection->load->head.keep_alive)
		return "more came than one answer";
	answer_done(connection);
	return NULL;
}

static const char *
take_head(struct connection *connection, char *data, size_t length)
{
	struct load *load = connection->load;
	struct head_search search = { 0 };
	size_t head_length = 0;
	enum head_status status = head_find_end(&search, slice_of(data, length), HEAD_MAX_BYTES, &head_length);

	if (status == HEAD_INCOMPLETE) {
		buffer_append(&connection->input, data, length);
		return NULL;
	}
	if (status != HEAD_COMPLETE || head_parse_response(slice_of(data, head_length), &load->head) != HEAD_COMPLETE)
		return "the answer's head is malformed";
	if (load->head.status != 200)
		return "the answer's status is not 200";
	body_reader_init_response(&connection->body, &load->head, false);
	connection->in_body = true;
	return take_body(connection, data + head_length, length - head_length);
}

static void
on_readable(void *owner)
{
	struct connection *connection = owner;
	struct load *load = connection->load;
	struct buffer joined = { 0 };
	const char *fault;
	char *data = load->bytes;
	size_t length;
	enum stream_result result = stream_read(&connection->stream, data, READ_BYTES, &length);

	if (result == STREAM_AGAIN)
		return;
	if (result != STREAM_OK) {
		failed(connection, "the connection ended");
		return;
	}
	if (connection->input.length > 0) {
		buffer_append(&connection->input, data, length);
		joined = connection->input;
		connection->input = (struct buffer){ 0 };
		data = joined.data;
		length = joined.length;
	}
	fault = connection->in_body ? take_body(connection, data, length) : take_head(connection, data, length);
	buffer_free(&joined);
	if (fault != NULL)
		failed(connection, fault);
}

/* ---- the request ----------------------------------------------------------------------------------------------- */

static void
send_on(struct connection *connection)
{
	struct iovec part = {
		.iov_base = connection->request->data + connection->sent,
		.iov_len = connection->request->length - connection->sent,
	};
	size_t done = 0;

	if (part.iov_len > 0 && stream_write(&connection->stream, &part, 1, &done) == STREAM_ERROR) {
		failed(connection, "the request could not be sent");
		return;
	}
	connection->sent += done;
	stream_want_write(&connection->stream, connection->sent < connection->request->length);
}

static void
ask(struct connection *connection)
{
	struct load *load = connection->load;
	unsigned names = load->settings->names;

	connection->request = &load->requests[names == 0 ? 0 : load->next_name++ % names];
	connection->sent = 0;
	connection->seen = 0;
	connection->event = 0;
	connection->in_body = false;
	connection->asked_us = clock_now_us();
	if (load->settings->call.kind == CANNED_STREAM)
		expect_event(connection);
	/* Only ever moved forward by asking: a stream is as long as its events. */
	timer_set(load->wheel, &connection->timer,
	    connection->asked_us / 1000 + SILENCE_MS +
		(uint64_t)load->settings->call.events * (load->settings->call.gap_ms + 10));
	send_on(connection);
}

static void
on_handshake(void *owner, bool ok)
{
	struct connection *connection = owner;

	if (!ok) {
		failed(connection, "the TLS handshake failed");
		return;
	}
	connection->connecting = false;
	stream_want_read(&connection->stream, true);
	ask(connection);
}

static void on_writable(void *owner);

static const struct stream_callbacks callbacks = {
	.on_handshake = on_handshake,
	.on_readable = on_readable,
	.on_writable = on_writable,
};

static void
on_writable(void *owner)
{
	struct connection *connection = owner;
	struct load *load = connection->load;
	int error = 0, fd = connection->stream.fd;
	socklen_t length = sizeof(error);

	if (!connection->connecting) {
		send_on(connection);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) {
		failed(connection, "no connection");
		return;
	}
	stream_want_write(&connection->stream, false);
	if (load->tls != NULL) {
		stream_open_tls(&connection->stream, load->base, fd, tls_client_new(load->tls, "localhost", false),
		    &callbacks, connection);
		return;
	}
	connection->connecting = false;
	stream_want_read(&connection->stream, true);
	ask(connection);
}

/* 127.0.0.2 and on, in turn; the port is chosen when it connects, so that each address has all of them. */
static bool
bind_source(int fd, unsigned number)
{
	struct sockaddr_in source = { .sin_family = AF_INET };
	int on = 1;

	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number);
	return setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
	    bind(fd, (const struct sockaddr *)&source, sizeof(source)) == 0;
}

static void
connect_now(struct connection *connection)
{
	struct load *load = connection->load;
	const struct load_settings *settings = load->settings;
	struct sockaddr_in target = { .sin_family = AF_INET, .sin_port = htons(settings->port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fatal("no socket: %s", strerror(errno));
	connection->connecting = true;
	buffer_free(&connection->input);
	stream_open_plain(&connection->stream, load->base, fd, &callbacks, connection);
	timer_set(load->wheel, &connection->timer, clock_now_ms() + SILENCE_MS);
	if (inet_pton(AF_INET, settings->address, &target.sin_addr) != 1)
		fatal("%s is no IPv4 address", settings->address);
	if ((settings->addresses > 0 && !bind_source(fd, connection->number % settings->addresses)) ||
	    (connect(fd, (const struct sockaddr *)&target, sizeof(target)) != 0 && errno != EINPROGRESS)) {
		failed(connection, strerror(errno));
		return;
	}
	stream_want_write(&connection->stream, true);
}

/* ---- the run --------------------------------------------------------------------------------------------------- */

static void
begin(struct load *load)
{
	struct load_result *result = load->result;
	uint64_t errors = result->errors;

	/* Errors while warming count as well: nothing after them can be trusted. */
	*result = (struct load_result){ .errors = errors };
	if (errors > 0)
		snprintf(result->fault, sizeof(result->fault), "while warming up");
	load->phase = LOAD_MEASURING;
	load->started_us = clock_now_us();
	if (load->settings->run_ms > 0)
		timer_set(load->wheel, &load->clock, clock_now_ms() + load->settings->run_ms);
}

static void
start_measuring(struct load *load)
{
	if (!load->settings->interactive) {
		begin(load);
		return;
	}
	load->phase = LOAD_READY;
	printf("ready\n");
	fflush(stdout);
}

static void
print_result(const struct load_result *result)
{
	const struct figures *latency = &result->latency_us;

	printf("{\"answers\": %llu, \"events\": %llu, \"errors\": %llu, \"payload_bytes\": %llu, \"seconds\": %.6f, "
	       "\"latency_us\": {\"mean\": %.1f, \"p50\": %llu, \"p90\": %llu, \"p99\": %llu, \"p99.9\": %llu, "
	       "\"max\": %llu}, \"fault\": \"%s\"}\n",
	    (unsigned long long)result->answers, (unsigned long long)result->events, (unsigned long long)result->errors,
	    (unsigned long long)result->payload_bytes, result->seconds, figures_mean(latency),
	    (unsigned long long)figures_percentile(latency, 50), (unsigned long long)figures_percentile(latency, 90),
	    (unsigned long long)figures_percentile(latency, 99), (unsigned long long)figures_percentile(latency, 99.9),
	    (unsigned long long)latency->most, result->fault);
	fflush(stdout);
}

static void
finish(struct load *load)
{
	if (load->phase == LOAD_OVER)
		return;
	if (load->phase == LOAD_MEASURING)
		load->result->seconds = (double)(clock_now_us() - load->started_us) / 1e6;
	load->phase = LOAD_OVER;
	print_result(load->result);
	if (!load->settings->interactive)
		event_base_loopbreak(load->base);
}

static void
on_clock(void *owner, uint64_t now_ms)
{
	struct load *load = owner;

	(void)now_ms;
	if (load->phase == LOAD_MEASURING)
		finish(load);
	load->warm_time_over = true;
	if (load->phase == LOAD_WARMING && load->answered == load->settings->connections)
		start_measuring(load);
}

/* A line of input, or its end: the next phase. */
static void
go_on(struct load *load, bool ended)
{
	if (!ended && load->phase == LOAD_READY) {
		begin(load);
		return;
	}
	if (!ended && load->phase == LOAD_MEASURING) {
		finish(load);
		return;
	}
	finish(load);
	event_base_loopbreak(load->base);
}

static void
on_input(evutil_socket_t fd, short events, void *context)
{
	struct load *load = context;
	char text[64];
	ssize_t count = read(fd, text, sizeof(text));

	(void)events;
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (count <= 0)
		go_on(load, true);
	for (ssize_t i = 0; i < count; i++)
		if (text[i] == '\n')
			go_on(load, false);
}

static void
prepare(struct load *load)
{
	const struct load_settings *settings = load->settings;
	unsigned names = settings->names == 0 ? 1 : settings->names;

	load->requests = memory_take_zeroed(names, sizeof(*load->requests));
	for (unsigned i = 0; i < names; i++) {
		struct canned_call call = settings->call;
		char name[16];

		snprintf(name, sizeof(name), "d%u", i);
		if (settings->names > 0)
			call.name = slice_from(name);
		canned_write_request(&call, &load->requests[i]);
	}
	if (settings->call.kind != CANNED_STREAM)
		canned_write_body(&settings->call, &load->answer);
	load->base = event_base_new();
	if (load->base == NULL)
		fatal("no event base");
	load->wheel = timer_wheel_new(load->base);
	timer_init(&load->clock, on_clock, load);
	if (settings->tls) {
		char fault[120];

		load->tls = tls_client_context("", false, fault, sizeof(fault));
		if (load->tls == NULL)
			fatal("%s", fault);
	}
	if (!settings->interactive)
		return;
	load->input_event = event_new(load->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, load);
	if (load->input_event == NULL || event_add(load->input_event, NULL) != 0)
		fatal("standard input cannot be watched: it has to be a pipe or a terminal");
}

static void
release(struct load *load)
{
	const struct load_settings *settings = load->settings;

	for (unsigned i = 0; i < settings->connections; i++) {
		struct connection *connection = &load->connections[i];

		timer_clear(load->wheel, &connection->timer);
		stream_close(&connection->stream);
		buffer_free(&connection->input);
		buffer_free(&connection->expected);
	}
	for (unsigned i = 0; i < (settings->names == 0 ? 1 : settings->names); i++)
		buffer_free(&load->requests[i]);
	free(load->requests);
	buffer_free(&load->answer);
	timer_clear(load->wheel, &load->clock);
	timer_wheel_free(&load->wheel);
	if (load->input_event != NULL)
		event_free(load->input_event);
	event_base_free(load->base);
	SSL_CTX_free(load->tls);
	free(load->connections);
	free(load);
}

bool
load_run(const struct load_settings *settings, struct load_result *result)
{
	struct load *load = memory_take_zeroed(1, sizeof(*load));

	*result = (struct load_result){ 0 };
	load->settings = settings;
	load->result = result;
	load->connections = memory_take_zeroed(settings->connections, sizeof(*load->connections));
	prepare(load);
	timer_set(load->wheel, &load->clock, clock_now_ms() + settings->warm_ms);
	for (unsigned i = 0; i < settings->connections; i++) {
		struct connection *connection = &load->connections[i];

		connection->load = load;
		connection->number = i;
		timer_init(&connection->timer, on_timer, connection);
		connect_now(connection);
	}
	if (event_base_dispatch(load->base) < 0)
		fatal("the event loop failed");
	release(load);
	return result->errors == 0;
}
