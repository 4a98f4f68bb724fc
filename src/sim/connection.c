/* One connection's life: read a request, have it answered, play the answer, and again. */
#include "sim/server.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "http/framing.h"
#include "http/head.h"
#include "http/reason.h"
#include "http/target.h"
#include "net/stream.h"
#include "net/tls.h"

/* Reads made before the loop goes on to others. */
#define READS_PER_TURN 8
/* How long a refused request's rest is read and dropped, so that its sender can read the refusal before a reset. */
#define LINGER_MS 1000U
/* How often a held connection whose bytes are not read is looked at, to see whether its client went. */
#define WATCH_MS 100U
#define KEEP_INPUT_BYTES 16384U
/* Room is made for bodies up to this length before they come; NO_CONTENT_LENGTH is beyond it. */
#define RESERVED_BODY_BYTES (1024U * 1024U)

enum phase {
	PHASE_HEAD,   /* reading a request's head */
	PHASE_BODY,   /* reading its body */
	PHASE_ANSWER, /* playing the answer */
	PHASE_HOLD,   /* a fault's silence: waiting for the client to go */
	PHASE_BLIND,  /* the same, without reading what it sends */
	PHASE_LINGER, /* our side is closed; dropping what still comes */
	PHASE_CLOSED,
};

struct sim_connection {
	struct sim_connection *next, **link;
	struct sim_listener *listener;
	struct stream stream;
	struct timer timer; /* what for depends on the phase */
	enum phase phase;
	uint64_t number;

	struct buffer in; /* the request's head and body, without framing, and what came behind them */
	struct head_search search;
	size_t head_length;
	size_t body_length;
	struct body_reader body;
	bool body_unread;    /* the answer came before the body's end */
	bool head_is_parsed; /* server->head is this request's */

	struct sim_wire wire;
	uint64_t request_at_us;
	struct sim_deployment *deployment;
	bool admitted;
	uint64_t output_estimate, output_tokens;
};

static void on_timer(void *owner, uint64_t now_ms);

static struct sim_server *
server_of(const struct sim_connection *connection)
{
	return connection->listener->server;
}

static void
set_timer(struct sim_connection *connection, uint64_t deadline_ms)
{
	timer_set(server_of(connection)->wheel, &connection->timer, deadline_ms);
}

/* The only destructor; the memory itself is freed from the loop. */
static void
connection_close(struct sim_connection *connection, bool reset)
{
	struct sim_server *server = server_of(connection);

	if (connection->phase == PHASE_CLOSED)
		return;
	connection->phase = PHASE_CLOSED;
	timer_clear(server->wheel, &connection->timer);
	if (reset)
		stream_abort(&connection->stream);
	else
		stream_close(&connection->stream);
	buffer_free(&connection->in);
	sim_wire_free(&connection->wire);
	if (connection->listener->resource != NULL)
		connection->listener->resource->connections_open--;
	*connection->link = connection->next;
	if (connection->next != NULL)
		connection->next->link = connection->link;
	if (server->dead == NULL)
		event_active(server->reaper, 0, 0);
	connection->next = server->dead;
	connection->link = NULL;
	server->dead = connection;
}

void
sim_connections_reap(struct sim_server *server)
{
	while (server->dead != NULL) {
		struct sim_connection *connection = server->dead;

		server->dead = connection->next;
		free(connection);
	}
}

void
sim_connections_close(struct sim_server *server)
{
	while (server->connections != NULL)
		connection_close(server->connections, false);
	sim_connections_reap(server);
}

/* The model has ended, or was not heard to its end: its quota is put right. */
static void
settle(struct sim_connection *connection)
{
	if (connection->admitted)
		sim_resource_finish(connection->deployment, clock_now_ms(), connection->output_estimate,
		    connection->output_tokens);
	connection->admitted = false;
}

/* The client closed its side, or the connection broke. */
static void
client_gone(struct sim_connection *connection)
{
	struct sim_resource *resource = connection->listener->resource;
	bool unanswered =
	    connection->phase == PHASE_ANSWER || connection->phase == PHASE_HOLD || connection->phase == PHASE_BLIND;

	if (unanswered && resource != NULL) {
		resource->counts.aborted++;
		if (connection->deployment != NULL)
			connection->deployment->counts.aborted++;
		settle(connection);
	}
	connection_close(connection, false);
}

static struct slice
date_now(struct sim_server *server)
{
	int64_t second = clock_unix_ms() / 1000;

	if (second != server->date_second) {
		server->date_second = second;
		sim_http_date(second, server->date);
	}
	return slice_from(server->date);
}

/* What a request is answered to, as far as it was understood. */
struct subject {
	struct sim_exchange exchange;
	struct sim_fault_place place;
	const char *deployment_name; /* "": none */
};

static void
log_request(const struct sim_connection *connection, const struct subject *subject, unsigned status)
{
	struct sim_server *server = server_of(connection);
	const char *name =
	    connection->listener->resource != NULL ? connection->listener->resource->config->name : "control";
	char target[LOG_TEXT_SAFE_SIZE];

	if (!server->config->log || connection->listener->resource == NULL)
		return;
	log_record(LOG_INFO, "request",
	    LOG_FIELDS(LOG_STRING("resource", name), LOG_STRING("deployment", subject->deployment_name),
		LOG_SLICE("path", subject->place.path), LOG_NUMBER("status", status)),
	    "%s %.*s %s %u", name, SLICE_PRINT(server->head.method),
	    log_text_safe(subject->place.path, target, sizeof(target)), status);
}

static void
write_down(const struct sim_connection *connection, const struct subject *subject, unsigned status)
{
	struct sim_resource *resource = connection->listener->resource;
	struct sim_journal_entry entry = {
		.resource = resource->config->name,
		.deployment = subject->deployment_name,
		.head = slice_of(connection->in.data, connection->head_length),
		.body = slice_of(connection->in.data + connection->head_length, connection->body_length),
		.status = status,
		.connection = connection->number,
		.unix_ms = subject->exchange.unix_ms,
	};

	resource->counts.requests++;
	sim_counts_add(&resource->counts, status);
	if (connection->deployment != NULL) {
		connection->deployment->counts.requests++;
		sim_counts_add(&connection->deployment->counts, status);
	}
	sim_journal_add(server_of(connection)->journal, &entry);
}

/* Frames the server's answer and begins to play it. */
static void
begin_answer(struct sim_connection *connection, struct sim_fault *const *struck, size_t struck_count,
    struct subject *subject, bool keep_alive)
{
	struct sim_server *server = server_of(connection);
	struct sim_answer *answer = &server->answer;
	bool head_goes;

	sim_faults_change_answer(struck, struck_count, clock_unix_ms(), answer);
	sim_wire_frame(&connection->wire, answer, connection->head_is_parsed ? server->head.minor_version : 1,
	    keep_alive, date_now(server));
	if (struck_count > 0)
		sim_faults_change_wire(struck, struck_count, &connection->wire);
	connection->output_tokens = answer->output_tokens;
	connection->phase = PHASE_ANSWER;
	head_goes = connection->wire.bytes.length >= connection->wire.head_length;
	if (connection->listener->resource != NULL) {
		write_down(connection, subject, head_goes ? answer->status : 0);
		log_request(connection, subject, head_goes ? answer->status : 0);
	}
}

/* Answers what could not be read as a request, and closes. */
static void
refuse(struct sim_connection *connection, unsigned status, const char *why)
{
	struct sim_server *server = server_of(connection);
	struct subject subject = { .deployment_name = "", .exchange.unix_ms = clock_unix_ms() };

	if (connection->listener->resource != NULL)
		connection->listener->resource->malformed++;
	connection->request_at_us = clock_now_us();
	connection->deployment = NULL;
	connection->body_unread = true;
	sim_answer_reset(&server->answer);
	sim_answer_error(&server->answer, status, "BadRequest", "%s", why != NULL ? why : reason_phrase(status));
	begin_answer(connection, NULL, 0, &subject, false);
}

static unsigned
status_of_fault(enum head_status status)
{
	if (status == HEAD_TOO_LARGE)
		return 431;
	if (status == HEAD_VERSION_UNSUPPORTED)
		return 505;
	return status == HEAD_CODING_UNSUPPORTED ? 501 : 400;
}

/* Reads target, path and route of server->head. False: it was refused. */
static bool
understand(struct sim_connection *connection, struct subject *subject)
{
	struct sim_server *server = server_of(connection);
	struct target target;
	const char *fault = NULL;

	memset(subject, 0, sizeof(*subject));
	buffer_clear(&server->path);
	buffer_reserve(&server->path, server->head.target.length + 1);
	if (target_parse(server->head.target, server->path.data, &target, &fault) != TARGET_OK) {
		refuse(connection, 400, fault);
		return false;
	}
	subject->deployment_name = "";
	subject->exchange.head = &server->head;
	subject->exchange.path = target.path;
	subject->exchange.query = target.query;
	subject->exchange.now_ms = clock_now_ms();
	subject->exchange.unix_ms = clock_unix_ms();
	sim_route_find(&subject->exchange.route, server->head.method_id, target.path, target.query);
	subject->place.path = target.path;
	subject->place.deployment = subject->exchange.route.deployment;
	if (connection->listener->resource != NULL)
		subject->place.resource = slice_from(connection->listener->resource->config->name);
	return true;
}

/* Faults that strike before the body is read. True: one did, and the request goes no further. */
static bool
strike_at_request(struct sim_connection *connection)
{
	struct sim_server *server = server_of(connection);
	struct sim_fault *struck[SIM_FAULTS_MAX];
	struct subject subject;

	if (server->faults.count == 0 || connection->listener->resource == NULL)
		return false;
	if (!understand(connection, &subject))
		return true;
	if (sim_faults_strike(&server->faults, SIM_MOMENT_REQUEST, &subject.place, &server->random, struck) == 0)
		return false;
	connection->request_at_us = clock_now_us();
	connection->body_unread = true;
	sim_answer_reset(&server->answer);
	sim_resource_begin_answer(connection->listener->resource, &subject.exchange, &server->answer);
	begin_answer(connection, struck, 1, &subject, false);
	if (struck[0]->kind == SIM_FAULT_RESET) {
		connection_close(connection, true);
	} else if (struck[0]->kind == SIM_FAULT_STALL) {
		connection->phase = PHASE_BLIND;
		stream_want_read(&connection->stream, false);
		set_timer(connection, clock_now_ms() + WATCH_MS);
	}
	return true;
}

static bool
send_continue(struct sim_connection *connection)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec part = { .iov_base = (char *)(uintptr_t)interim, .iov_len = sizeof(interim) - 1 };
	size_t done;

	/* The socket is idle: what does not fit now never will. */
	return stream_write(&connection->stream, &part, 1, &done) == STREAM_OK && done == part.iov_len;
}

/* Makes room for a body whose length is known, so that it is not moved as it grows. */
static void
reserve_body(struct sim_connection *connection, uint64_t length)
{
	const char *before = connection->in.data;

	if (length > RESERVED_BODY_BYTES)
		return;
	buffer_reserve_exactly(&connection->in, connection->head_length + (size_t)length);
	/* The parsed head points into what was there. */
	if (connection->in.data != before)
		connection->head_is_parsed = false;
}

/* Looks for a whole head. True: the phase is another. */
static bool
read_head(struct sim_connection *connection)
{
	struct sim_server *server = server_of(connection);
	size_t blank;
	enum head_status status = head_skip_blank(&connection->search, buffer_slice(&connection->in), &blank);

	buffer_consume(&connection->in, blank);
	if (status == HEAD_COMPLETE)
		status = head_find_end(&connection->search, buffer_slice(&connection->in), SIM_HEAD_MAX_BYTES,
		    &connection->head_length);
	if (status == HEAD_INCOMPLETE)
		return false;
	server->head.fault = NULL;
	if (status == HEAD_COMPLETE)
		status = head_parse_request(slice_of(connection->in.data, connection->head_length), &server->head);
	if (status != HEAD_COMPLETE) {
		connection->head_length = 0;
		refuse(connection, status_of_fault(status), server->head.fault);
		return true;
	}
	timer_clear(server->wheel, &connection->timer);
	connection->head_is_parsed = true;
	connection->deployment = NULL;
	connection->phase = PHASE_BODY;
	body_reader_init_request(&connection->body, &server->head);
	if (server->head.content_length != NO_CONTENT_LENGTH && server->head.content_length > SIM_BODY_MAX_BYTES) {
		refuse(connection, 413, "The body is too large for the simulator.");
		return true;
	}
	if (strike_at_request(connection))
		return true;
	if (server->head.expect_continue && connection->in.length == connection->head_length &&
	    !send_continue(connection)) {
		client_gone(connection);
		return true;
	}
	reserve_body(connection, server->head.content_length);
	return true;
}

/* Reads head, path and body of a whole request, and answers. */
static void
answer_request(struct sim_connection *connection)
{
	struct sim_server *server = server_of(connection);
	struct sim_resource *resource = connection->listener->resource;
	struct sim_fault *struck[SIM_FAULTS_MAX];
	struct subject subject;
	struct sim_exchange *exchange = &subject.exchange;
	size_t struck_count = 0;

	if (!connection->head_is_parsed &&
	    head_parse_request(slice_of(connection->in.data, connection->head_length), &server->head) != HEAD_COMPLETE)
		fatal("simulator: a head that was parsed before is malformed");
	connection->head_is_parsed = true;
	connection->request_at_us = clock_now_us();
	if (!understand(connection, &subject))
		return;
	exchange->body = slice_of(connection->in.data + connection->head_length, connection->body_length);
	sim_answer_reset(&server->answer);
	if (resource == NULL) {
		sim_control_answer(server, &server->head, exchange->path, exchange->body, &server->answer);
		begin_answer(connection, NULL, 0, &subject, server->head.keep_alive);
		return;
	}
	sim_resource_answer(resource, exchange, &server->answer);
	connection->deployment = exchange->deployment;
	connection->admitted = exchange->admitted;
	connection->output_estimate = exchange->call.output_estimate;
	if (exchange->deployment != NULL) {
		subject.deployment_name = exchange->deployment->config->name;
		subject.place.deployment = slice_from(subject.deployment_name);
	}
	subject.place.stream = exchange->call.stream;
	if (server->faults.count > 0)
		struck_count =
		    sim_faults_strike(&server->faults, SIM_MOMENT_ANSWER, &subject.place, &server->random, struck);
	begin_answer(connection, struck, struck_count, &subject, server->head.keep_alive);
}

/* Takes body bytes from behind what is already there. True: the phase is another. */
static bool
read_body(struct sim_connection *connection)
{
	size_t offset = connection->head_length + connection->body_length, payload = 0, consumed = 0, rest;
	enum body_status status = body_read(&connection->body, connection->in.data + offset,
	    connection->in.length - offset, &payload, &consumed);

	connection->body_length += payload;
	if (status == BODY_MALFORMED) {
		refuse(connection, 400, "The body's framing is malformed.");
		return true;
	}
	if (connection->body_length > SIM_BODY_MAX_BYTES) {
		refuse(connection, 413, "The body is too large for the simulator.");
		return true;
	}
	/* What belongs to the next request moves up to the body's end. */
	rest = connection->in.length - offset - consumed;
	memmove(connection->in.data + offset + payload, connection->in.data + offset + consumed, rest);
	connection->in.length = offset + payload + rest;
	if (status == BODY_MORE) {
		connection->head_is_parsed = false;
		return false;
	}
	answer_request(connection);
	return true;
}

static void
await_request(struct sim_connection *connection)
{
	const struct sim_resource *resource = connection->listener->resource;

	buffer_consume(&connection->in, connection->head_length + connection->body_length);
	if (connection->in.length == 0 && connection->in.capacity > KEEP_INPUT_BYTES)
		buffer_free(&connection->in);
	sim_wire_clear(&connection->wire);
	memset(&connection->search, 0, sizeof(connection->search));
	connection->head_length = connection->body_length = 0;
	connection->head_is_parsed = false;
	connection->deployment = NULL;
	connection->phase = PHASE_HEAD;
	stream_want_read(&connection->stream, true);
	if (resource != NULL && resource->config->keep_alive_ms != 0)
		set_timer(connection, clock_now_ms() + resource->config->keep_alive_ms);
}

/* All bytes have gone: ends as the answer says. */
static void
finish_answer(struct sim_connection *connection)
{
	enum sim_wire_end end = connection->wire.end;

	settle(connection);
	if (end == SIM_END_KEEP) {
		await_request(connection);
	} else if (end == SIM_END_HOLD) {
		connection->phase = PHASE_HOLD;
	} else if (end == SIM_END_CLOSE && connection->body_unread) {
		/* Closing now would reset the connection, and the answer with it (RFC 9112, 9.6). */
		connection->phase = PHASE_LINGER;
		(void)shutdown(connection->stream.fd, SHUT_WR);
		stream_want_read(&connection->stream, true);
		set_timer(connection, clock_now_ms() + LINGER_MS);
	} else {
		if (end == SIM_END_QUIET && connection->stream.ssl != NULL)
			SSL_set_quiet_shutdown(connection->stream.ssl, 1);
		connection_close(connection, end == SIM_END_RESET);
	}
}

/* Sends what is due. True: the phase is another. */
static bool
play(struct sim_connection *connection)
{
	struct sim_wire *wire = &connection->wire;
	uint64_t next_us;
	size_t end = sim_wire_due(wire, clock_now_us() - connection->request_at_us, &next_us);

	while (wire->sent < end) {
		struct iovec part = { .iov_base = wire->bytes.data + wire->sent, .iov_len = end - wire->sent };
		size_t done = 0;
		enum stream_result result = stream_write(&connection->stream, &part, 1, &done);

		wire->sent += done;
		if (connection->listener->resource != NULL)
			connection->listener->resource->bytes_out += done;
		if (result == STREAM_AGAIN || (result == STREAM_OK && wire->sent < end)) {
			stream_want_write(&connection->stream, true);
			return false;
		}
		if (result != STREAM_OK) {
			client_gone(connection);
			return true;
		}
	}
	if (next_us != UINT64_MAX) {
		set_timer(connection, (connection->request_at_us + next_us + 999) / 1000);
		return false;
	}
	finish_answer(connection);
	return true;
}

/* Goes on until something must be waited for. */
static void
advance(struct sim_connection *connection)
{
	bool moved = true;

	while (moved) {
		switch (connection->phase) {
		case PHASE_HEAD:
			moved = read_head(connection);
			break;
		case PHASE_BODY:
			moved = read_body(connection);
			break;
		case PHASE_ANSWER:
			moved = play(connection);
			break;
		case PHASE_HOLD:
		case PHASE_BLIND:
		case PHASE_LINGER:
		case PHASE_CLOSED:
			moved = false;
			break;
		}
	}
}

static void
take_in(struct sim_connection *connection, const char *bytes, size_t count)
{
	if (connection->listener->resource != NULL)
		connection->listener->resource->bytes_in += count;
	if (connection->phase == PHASE_LINGER)
		return;
	buffer_append(&connection->in, bytes, count);
	if (connection->phase == PHASE_HEAD || connection->phase == PHASE_BODY)
		advance(connection);
	else if (connection->in.length > connection->head_length + connection->body_length + SIM_READ_BYTES)
		stream_want_read(&connection->stream, false);
}

static void
on_readable(void *owner)
{
	struct sim_connection *connection = owner;
	struct sim_server *server = server_of(connection);

	for (int i = 0; i < READS_PER_TURN && connection->phase != PHASE_CLOSED && connection->stream.want_read; i++) {
		size_t count = 0;
		enum stream_result result =
		    stream_read(&connection->stream, server->received, sizeof(server->received), &count);

		if (result == STREAM_AGAIN)
			return;
		if (result != STREAM_OK) {
			client_gone(connection);
			return;
		}
		take_in(connection, server->received, count);
		/* A plain socket that gave less than was asked for is empty. */
		if (count < sizeof(server->received) && connection->stream.ssl == NULL)
			return;
	}
}

static void
on_writable(void *owner)
{
	struct sim_connection *connection = owner;

	stream_want_write(&connection->stream, false);
	advance(connection);
}

static void
on_handshake(void *owner, bool ok)
{
	struct sim_connection *connection = owner;

	if (!ok)
		connection_close(connection, false);
}

/* Whether the peer has closed, or worse, though nothing is read. */
static bool
peer_has_gone(const struct sim_connection *connection)
{
	struct pollfd watched = { .fd = connection->stream.fd, .events = POLLRDHUP };

	return poll(&watched, 1, 0) > 0 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void
on_timer(void *owner, uint64_t now_ms)
{
	struct sim_connection *connection = owner;

	switch (connection->phase) {
	case PHASE_ANSWER:
		if (!connection->stream.want_write)
			advance(connection);
		break;
	case PHASE_BLIND:
		if (peer_has_gone(connection))
			client_gone(connection);
		else
			set_timer(connection, now_ms + WATCH_MS);
		break;
	case PHASE_HEAD: /* idle for too long */
	case PHASE_LINGER:
		connection_close(connection, false);
		break;
	case PHASE_BODY:
	case PHASE_HOLD:
	case PHASE_CLOSED:
		break;
	}
}

static const struct stream_callbacks callbacks = {
	.on_handshake = on_handshake,
	.on_readable = on_readable,
	.on_writable = on_writable,
};

void
sim_connection_open(struct sim_listener *listener, int fd)
{
	struct sim_server *server = listener->server;
	struct sim_connection *connection = memory_take_zeroed(1, sizeof(*connection));

	connection->listener = listener;
	connection->number = ++server->connections_accepted;
	connection->next = server->connections;
	connection->link = &server->connections;
	if (connection->next != NULL)
		connection->next->link = &connection->next;
	server->connections = connection;
	timer_init(&connection->timer, on_timer, connection);
	if (listener->resource != NULL) {
		listener->resource->connections_accepted++;
		listener->resource->connections_open++;
	}
	if (listener->tls != NULL)
		stream_open_tls(&connection->stream, server->base, fd, tls_server_new(listener->tls), &callbacks,
		    connection);
	else
		stream_open_plain(&connection->stream, server->base, fd, &callbacks, connection);
	await_request(connection);
}
