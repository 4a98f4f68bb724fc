#include "bench/backend.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "bench/canned.h"
#include "http/framing.h"
#include "http/head.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/tls.h"
#include "net/worker.h"

#define HEAD_MAX_BYTES 65536U
#define CONNECTIONS_MAX 100000U

struct backend {
	struct backend_settings settings;
	SSL_CTX *tls;
	struct worker *worker;
	struct listener *listener;
	struct request_head head; /* scratch */
	struct buffer answers[CANNED_STREAM];
	struct buffer stream_head;
	struct buffer refusal;
	struct buffer scratch;
	struct backend_counts counts;
	struct connection *connections; /* all of them, to be freed at the end */
};

struct connection {
	struct grave grave;
	struct stream stream;
	struct timer timer;
	struct backend *backend;
	struct connection *next, **link;
	struct buffer input;  /* an incomplete head */
	struct buffer output; /* what the peer did not take at once */
	struct body_reader body;
	bool in_body, closed, streaming;
	unsigned event; /* the next one */
	struct canned_call call;
};

static void
destroy(struct grave *grave)
{
	struct connection *connection = CONTAINER_OF(grave, struct connection, grave);

	buffer_free(&connection->input);
	buffer_free(&connection->output);
	free(connection);
}

static void
connection_close(struct connection *connection)
{
	struct worker *worker = connection->backend->worker;

	if (connection->closed)
		return;
	connection->closed = true;
	timer_clear(worker->wheel, &connection->timer);
	stream_close(&connection->stream);
	*connection->link = connection->next;
	if (connection->next != NULL)
		connection->next->link = connection->link;
	atomic_fetch_sub_explicit(&worker->connections, 1, memory_order_relaxed);
	worker_bury(worker, &connection->grave, destroy);
}

static void
send_bytes(struct connection *connection, struct slice bytes)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes.data, .iov_len = bytes.length };
	size_t done = 0;

	if (connection->output.length == 0 && stream_write(&connection->stream, &part, 1, &done) == STREAM_ERROR) {
		connection_close(connection);
		return;
	}
	if (done == bytes.length)
		return;
	buffer_append_slice(&connection->output, slice_skip(bytes, done));
	stream_want_write(&connection->stream, true);
}

static void
on_writable(void *owner)
{
	struct connection *connection = owner;
	struct iovec part = { .iov_base = connection->output.data, .iov_len = connection->output.length };
	size_t done = 0;

	if (part.iov_len > 0 && stream_write(&connection->stream, &part, 1, &done) == STREAM_ERROR) {
		connection_close(connection);
		return;
	}
	buffer_consume(&connection->output, done);
	stream_want_write(&connection->stream, connection->output.length > 0);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

/* Sends the next event, behind the head if that is still to be sent; the last one takes the end of the body along. */
static void
send_event(struct connection *connection, bool with_head, uint64_t now_ms)
{
	struct backend *backend = connection->backend;
	struct buffer *out = &backend->scratch;
	char prefix[CHUNK_PREFIX_MAX_BYTES];
	struct buffer event = { 0 };
	bool last = connection->event > connection->call.events;
	size_t length;

	canned_write_event(&connection->call, connection->event, &event);
	length = chunk_prefix_before(prefix + sizeof(prefix), event.length);
	buffer_clear(out);
	if (with_head)
		buffer_append_slice(out, buffer_slice(&backend->stream_head));
	buffer_append(out, prefix + sizeof(prefix) - length, length);
	buffer_append_slice(out, buffer_slice(&event));
	buffer_append_string(out, "\r\n");
	if (last)
		buffer_append_slice(out, CHUNK_LAST);
	buffer_free(&event);
	connection->event++;
	connection->streaming = !last;
	backend->counts.events++;
	if (!last)
		timer_set(backend->worker->wheel, &connection->timer, now_ms + connection->call.gap_ms);
	send_bytes(connection, buffer_slice(out));
}

static void
on_timer(void *owner, uint64_t now_ms)
{
	send_event(owner, false, now_ms);
}

/* One answer of so many has its last byte but one wrong: the lengths still fit. */
static void
send_answer(struct connection *connection, const struct buffer *answer)
{
	struct backend *backend = connection->backend;
	unsigned every = backend->settings.lie_every;

	if (every == 0 || backend->counts.requests % every != 0) {
		send_bytes(connection, buffer_slice(answer));
		return;
	}
	buffer_clear(&backend->scratch);
	buffer_append_slice(&backend->scratch, buffer_slice(answer));
	backend->scratch.data[backend->scratch.length - 2] ^= 1;
	send_bytes(connection, buffer_slice(&backend->scratch));
}

static void
answer(struct connection *connection, uint64_t now_ms)
{
	struct backend *backend = connection->backend;

	backend->counts.requests++;
	if (backend->settings.refuse_status != 0) {
		backend->counts.refusals++;
		send_bytes(connection, buffer_slice(&backend->refusal));
		return;
	}
	if (connection->call.kind != CANNED_STREAM) {
		send_answer(connection, &backend->answers[connection->call.kind]);
		return;
	}
	connection->event = 0;
	send_event(connection, true, now_ms);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static bool
take_head(struct connection *connection, struct slice bytes)
{
	struct request_head *head = &connection->backend->head;

	if (head_parse_request(bytes, head) != HEAD_COMPLETE || !canned_read_target(head->target, &connection->call))
		return false;
	connection->call.name = SLICE_EMPTY; /* it was the head's, and no answer holds it */
	body_reader_init_request(&connection->body, head);
	connection->in_body = true;
	return true;
}

/* Takes bytes in; false: they are no request of ours. */
static bool
take_bytes(struct connection *connection, char *data, size_t length, uint64_t now_ms)
{
	size_t head_length, payload, consumed;

	while (!connection->closed && (length > 0 || connection->in_body)) {
		struct head_search search = { 0 };
		enum head_status found;
		enum body_status status;

		if (!connection->in_body) {
			found = head_find_end(&search, slice_of(data, length), HEAD_MAX_BYTES, &head_length);
			if (found == HEAD_INCOMPLETE) {
				buffer_append(&connection->input, data, length);
				return true;
			}
			if (found != HEAD_COMPLETE || connection->streaming ||
			    !take_head(connection, slice_of(data, head_length)))
				return false;
			data += head_length;
			length -= head_length;
		}
		status = body_read(&connection->body, data, length, &payload, &consumed);
		if (status != BODY_DONE)
			return status == BODY_MORE;
		data += consumed;
		length -= consumed;
		connection->in_body = false;
		answer(connection, now_ms);
	}
	return true;
}

static void
on_readable(void *owner)
{
	struct connection *connection = owner;
	struct buffer joined = { 0 };
	char *data = connection->backend->worker->read_buffer;
	size_t length;
	enum stream_result result = stream_read(&connection->stream, data, WORKER_READ_BYTES, &length);

	if (result == STREAM_AGAIN)
		return;
	if (result == STREAM_OK && connection->input.length > 0) {
		buffer_append(&connection->input, data, length);
		joined = connection->input;
		connection->input = (struct buffer){ 0 };
		data = joined.data;
		length = joined.length;
	}
	if (result != STREAM_OK || !take_bytes(connection, data, length, clock_now_ms()))
		connection_close(connection);
	buffer_free(&joined);
}

static void
on_handshake(void *owner, bool ok)
{
	if (!ok)
		connection_close(owner);
}

static void
accept_connection(struct worker *worker, int fd, const struct sockaddr_storage *peer)
{
	static const struct stream_callbacks callbacks = {
		.on_handshake = on_handshake,
		.on_readable = on_readable,
		.on_writable = on_writable,
	};
	struct backend *backend = worker->context;
	struct connection *connection = memory_take_zeroed(1, sizeof(*connection));

	(void)peer;
	connection->backend = backend;
	connection->next = backend->connections;
	if (connection->next != NULL)
		connection->next->link = &connection->next;
	connection->link = &backend->connections;
	backend->connections = connection;
	backend->counts.connections++;
	timer_init(&connection->timer, on_timer, connection);
	if (backend->tls != NULL)
		stream_open_tls(&connection->stream, worker->base, fd, tls_server_new(backend->tls), &callbacks,
		    connection);
	else
		stream_open_plain(&connection->stream, worker->base, fd, &callbacks, connection);
	stream_want_read(&connection->stream, true);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void
prepare_answers(struct backend *backend)
{
	for (unsigned kind = 0; kind < CANNED_STREAM; kind++) {
		struct canned_call call = { .kind = (enum canned_kind)kind };

		canned_write_head(&call, &backend->answers[kind]);
		canned_write_body(&call, &backend->answers[kind]);
	}
	canned_write_head(&(struct canned_call){ .kind = CANNED_STREAM }, &backend->stream_head);
	if (backend->settings.refuse_status != 0)
		canned_write_refusal(backend->settings.refuse_status, backend->settings.wait_ms, &backend->refusal);
}

struct backend *
backend_start(const struct backend_settings *settings, char *fault, size_t fault_size)
{
	struct backend *backend = memory_take_zeroed(1, sizeof(*backend));
	struct listener_settings listen = {
		.address = settings->address,
		.port = settings->port,
		.max_connections = CONNECTIONS_MAX,
		.workers = &backend->worker,
		.worker_count = 1,
	};

	backend->settings = *settings;
	prepare_answers(backend);
	backend->worker = worker_new(0, accept_connection, backend);
	if (settings->certificate_file != NULL)
		backend->tls =
		    tls_server_context(settings->certificate_file, settings->private_key_file, fault, fault_size);
	if (settings->certificate_file == NULL || backend->tls != NULL)
		backend->listener = listener_new(&listen, fault, fault_size);
	if (backend->listener == NULL) {
		backend_stop(&backend, NULL);
		return NULL;
	}
	listener_start(backend->listener, backend->worker->base);
	if (!worker_start(backend->worker)) {
		snprintf(fault, fault_size, "no thread can be had");
		backend_stop(&backend, NULL);
	}
	return backend;
}

uint16_t
backend_port(const struct backend *backend)
{
	return listener_port(backend->listener);
}

void
backend_stop(struct backend **backend, struct backend_counts *counts)
{
	struct backend *gone = *backend;

	*backend = NULL;
	if (gone->worker->running)
		worker_stop(gone->worker);
	worker_join(gone->worker);
	if (counts != NULL)
		*counts = gone->counts;
	while (gone->connections != NULL)
		connection_close(gone->connections);
	listener_free(&gone->listener);
	worker_free(&gone->worker);
	SSL_CTX_free(gone->tls);
	for (unsigned kind = 0; kind < CANNED_STREAM; kind++)
		buffer_free(&gone->answers[kind]);
	buffer_free(&gone->stream_head);
	buffer_free(&gone->refusal);
	buffer_free(&gone->scratch);
	free(gone);
}
