#include "proxy/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "http/headers.h"
#include "net/tls.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* Within each client_body_ms a body has to bring this much for each millisecond, or end: a burst buys no trickle. */
#define BODY_BYTES_PER_MS 16U

static void on_handshake(void *owner, bool ok);
static void on_readable(void *owner);
static void on_writable(void *owner);

static const struct stream_callbacks stream_callbacks = {
	.on_handshake = on_handshake,
	.on_readable = on_readable,
	.on_writable = on_writable,
};

static const struct config_timeouts *
timeouts_of(const struct client *client)
{
	return &proxy_worker_of(client->worker)->fleet->config->timeouts;
}

/* The moment at which the caller has been too slow for the phase; UINT64_MAX: it has time. */
static uint64_t
deadline_of(const struct client *client)
{
	const struct config_timeouts *timeouts = timeouts_of(client);
	switch (client->phase) {
	case CLIENT_IDLE:
		return client->phase_since_ms +
		    (client->first_request ? timeouts->client_header_ms : timeouts->keep_alive_ms);
	case CLIENT_HEAD:
		return client->phase_since_ms + timeouts->client_header_ms;
	case CLIENT_BODY:
		return client->phase_since_ms + timeouts->client_body_ms;
	case CLIENT_WAITING:
		if (client->output.length > 0)
			return client->progress_ms + timeouts->client_send_ms;
		if (client->exchange != NULL && client->exchange->uploading)
			return UINT64_MAX; /* the backend's clock runs */
		return client->phase_since_ms + timeouts->client_body_ms;
	case CLIENT_BUSY:
	case CLIENT_SENDING:
		return client->output.length > 0 ? client->progress_ms + timeouts->client_send_ms : UINT64_MAX;
	case CLIENT_LINGER:
		return client->phase_since_ms + LINGER_MS;
	case CLIENT_CLOSED:
		break;
	}
	return UINT64_MAX;
}

/* Sets the timer for the phase. One that already waits for an earlier moment is left: it looks again when it fires. */
static void
watch(struct client *client)
{
	uint64_t deadline_ms = deadline_of(client);

	if (deadline_ms == UINT64_MAX)
		return;
	if (timer_is_set(&client->timer) && client->timer.deadline_ms <= deadline_ms)
		return;
	timer_set(client->worker->wheel, &client->timer, deadline_ms);
}

static void
enter(struct client *client, enum client_phase phase, uint64_t now_ms)
{
	client->phase = phase;
	client->phase_since_ms = now_ms;
	client->progress_ms = now_ms;
	watch(client);
}

static void
destroy(struct grave *grave)
{
	struct client *client = CONTAINER_OF(grave, struct client, grave);

	buffer_free(&client->input);
	buffer_free(&client->output);
	free(client);
}

void
client_close(struct client *client)
{
	if (client->phase == CLIENT_CLOSED)
		return;
	client->phase = CLIENT_CLOSED;
	timer_clear(client->worker->wheel, &client->timer);
	if (client->abort_after)
		stream_abort(&client->stream);
	else
		stream_close(&client->stream);
	*client->link = client->next;
	if (client->next != NULL)
		client->next->link = client->link;
	atomic_fetch_sub_explicit(&client->worker->connections, 1, memory_order_relaxed);
	worker_bury(client->worker, &client->grave, destroy);
}

void
client_leave(struct client *client, const char *reason)
{
	struct exchange *exchange = client->exchange;

	if (exchange != NULL)
		exchange_cancel(exchange, reason);
	client_close(client);
}

/* A period of client_body_ms is over: whether it brought enough for another one to begin. */
static bool
body_keeps_pace(struct client *client)
{
	uint64_t brought = client->exchange->body_bytes - client->body_bytes_before;

	if (brought < timeouts_of(client)->client_body_ms * BODY_BYTES_PER_MS)
		return false;
	client->body_bytes_before = client->exchange->body_bytes;
	enter(client, CLIENT_BODY, clock_now_ms());
	return true;
}

static void
too_slow(struct client *client)
{
	struct exchange *exchange = client->exchange;

	switch (client->phase) {
	case CLIENT_HEAD:
		client->close_after = true;
		exchange_begin(client, SLICE_EMPTY, HEAD_INCOMPLETE, clock_now_ms());
		return;
	case CLIENT_BODY:
		if (body_keeps_pace(client))
			return;
		client->close_after = true;
		if (!exchange_abandon_attempt(exchange)) {
			client->abort_after = true;
			client_leave(client, "its upload came too slowly");
			return;
		}
		exchange_refuse(exchange, 408, "request_timeout", "The request's body did not come in time.");
		return;
	case CLIENT_WAITING:
		if (client->output.length > 0) {
			client->abort_after = true;
			client_leave(client, "it did not take its answer in time");
			return;
		}
		client->close_after = true;
		exchange_refuse(exchange, 503, "overloaded",
		    "Too many large requests are being served; try again shortly.");
		return;
	case CLIENT_BUSY:
	case CLIENT_SENDING:
		client->abort_after = true;
		client_leave(client, "it did not take its answer in time");
		return;
	case CLIENT_IDLE:
	case CLIENT_LINGER:
	case CLIENT_CLOSED:
		break;
	}
	client_close(client);
}

/* Waiting for room in the budget is looked at again and again; there is no telling which worker frees some. */
#define BUDGET_RETRY_MS 20U

static void
on_timer(void *owner, uint64_t now_ms)
{
	struct client *client = owner;
	uint64_t deadline_ms = deadline_of(client);

	if (deadline_ms <= now_ms) {
		too_slow(client);
		return;
	}
	if (client->draining && client->phase == CLIENT_IDLE) {
		client_close(client);
		return;
	}
	if (client->phase == CLIENT_WAITING && client->exchange != NULL && !client->exchange->uploading) {
		client_read_body_on(client, now_ms);
		return;
	}
	watch(client);
}

const char *
client_address(const struct client *client, char *out, size_t size)
{
	sa_family_t family = client->peer.any.sa_family;
	const void *address = &client->peer.v4.sin_addr;

	if (family == AF_INET6)
		address = &client->peer.v6.sin6_addr;
	if (inet_ntop(family, address, out, (socklen_t)size) == NULL)
		snprintf(out, size, "-");
	return out;
}

void
client_accept(struct worker *worker, int fd, const struct sockaddr_storage *peer)
{
	struct proxy_worker *own = proxy_worker_of(worker);
	struct client *client = memory_take_zeroed(1, sizeof(*client));
	SSL_CTX *tls = own->fleet->front_tls;

	client->worker = worker;
	memcpy(&client->peer, peer, sizeof(client->peer));
	client->first_request = true;
	timer_init(&client->timer, on_timer, client);
	client->next = own->clients;
	if (client->next != NULL)
		client->next->link = &client->next;
	client->link = &own->clients;
	own->clients = client;
	if (tls != NULL)
		stream_open_tls(&client->stream, worker->base, fd, tls_server_new(tls), &stream_callbacks, client);
	else
		stream_open_plain(&client->stream, worker->base, fd, &stream_callbacks, client);
	stream_want_read(&client->stream, true);
	enter(client, CLIENT_IDLE, clock_now_ms());
}

static void
on_handshake(void *owner, bool ok)
{
	struct client *client = owner;

	if (ok)
		return;
	log_record(LOG_DEBUG, "client_tls_failed", LOG_FIELDS(LOG_STRING("reason", stream_fault(&client->stream))),
	    "A caller's TLS handshake failed: %s", stream_fault(&client->stream));
	client_close(client);
}

/* Bytes that belong to later requests wait in input. Past the cap nothing more is read until this one is answered. */
static void
keep_for_later(struct client *client, const char *data, size_t length)
{
	buffer_append(&client->input, data, length);
	if (client->input.length >= PIPELINE_MAX_BYTES && client->phase != CLIENT_IDLE)
		stream_want_read(&client->stream, false);
	/* In a turn of its own: a caller with many pipelined requests does not hold the loop. */
	if (client->phase == CLIENT_IDLE)
		event_active(&client->stream.read_event, EV_READ, 0);
}

static void
take_body(struct client *client, char *data, size_t length, uint64_t now_ms)
{
	struct exchange *exchange = client->exchange;
	size_t consumed = 0;

	client->progress_ms = now_ms;
	exchange_body(exchange, data, length, &consumed, now_ms);
	if (client->phase != CLIENT_CLOSED && client->phase != CLIENT_LINGER && consumed < length)
		keep_for_later(client, data + consumed, length - consumed);
}

/* The head in view has ended, well or badly: the exchange begins; what follows is its body, then later requests. */
static void
begin_exchange(struct client *client, char *view, size_t length, size_t head_length, enum head_status status,
    uint64_t now_ms)
{
	struct buffer taken = client->input; /* view may lie in it */

	client->input = (struct buffer){ 0 };
	client->search = (struct head_search){ 0 };
	client->first_request = false;
	client->body_bytes_before = 0;
	client->phase = CLIENT_BODY;
	exchange_begin(client, slice_of(view, head_length), status, now_ms);
	if (client->phase == CLIENT_BODY) {
		enter(client, CLIENT_BODY, now_ms);
		take_body(client, view + head_length, length - head_length, now_ms);
	} else if (client->phase != CLIENT_CLOSED && client->phase != CLIENT_LINGER && length > head_length) {
		/* It has been answered; if the answer still waits, so does what is behind it. */
		keep_for_later(client, view + head_length, length - head_length);
	}
	buffer_free(&taken);
}

static void
take_head(struct client *client, char *data, size_t length, uint64_t now_ms)
{
	size_t limit = proxy_worker_of(client->worker)->fleet->config->max_header_bytes;
	size_t blank, head_length = 0;
	enum head_status status = head_skip_blank(&client->search, slice_of(data, length), &blank);

	data += blank;
	length -= blank;
	if (status == HEAD_INCOMPLETE)
		return; /* an empty line is no request: the time in which one has to come runs on */
	if (client->input.length > 0) {
		buffer_append(&client->input, data, length);
		data = client->input.data;
		length = client->input.length;
	}
	if (status == HEAD_COMPLETE)
		status = head_find_end(&client->search, slice_of(data, length), limit, &head_length);
	if (status == HEAD_TOO_LARGE && client->search.line_start == 0)
		status = HEAD_TARGET_TOO_LONG;
	if (status != HEAD_INCOMPLETE) {
		begin_exchange(client, data, length, head_length, status, now_ms);
		return;
	}
	if (client->input.length == 0)
		buffer_append(&client->input, data, length);
	if (client->phase == CLIENT_IDLE)
		enter(client, CLIENT_HEAD, now_ms);
}

/* Bytes from the caller, as the phase has them. */
static void
take_input(struct client *client, char *data, size_t length, uint64_t now_ms)
{
	switch (client->phase) {
	case CLIENT_IDLE:
	case CLIENT_HEAD:
		if (length > 0)
			take_head(client, data, length, now_ms);
		break;
	case CLIENT_BODY:
		take_body(client, data, length, now_ms);
		break;
	case CLIENT_WAITING:
	case CLIENT_BUSY:
	case CLIENT_SENDING:
		if (length > 0)
			keep_for_later(client, data, length);
		break;
	case CLIENT_LINGER:
		client->linger_bytes += length;
		if (client->linger_bytes > LINGER_MAX_BYTES)
			client_close(client);
		break;
	case CLIENT_CLOSED:
		break;
	}
}

/* A pipelined request that has waited. */
static void
take_kept(struct client *client, uint64_t now_ms)
{
	struct buffer kept = client->input;

	client->input = (struct buffer){ 0 };
	take_input(client, kept.data, kept.length, now_ms);
	buffer_free(&kept);
}

static void
on_readable(void *owner)
{
	struct client *client = owner;
	uint64_t now_ms = clock_now_ms();
	size_t length;

	if (client->phase == CLIENT_IDLE && client->input.length > 0) {
		take_kept(client, now_ms);
		return;
	}
	switch (stream_read(&client->stream, client->worker->read_buffer, WORKER_READ_BYTES, &length)) {
	case STREAM_OK:
		take_input(client, client->worker->read_buffer, length, now_ms);
		break;
	case STREAM_AGAIN:
		break;
	case STREAM_END:
	case STREAM_ERROR:
		client_leave(client, "it closed the connection");
		break;
	}
}

/* Between two requests: to the next one, or to the end. */
static void
next_request(struct client *client, uint64_t now_ms)
{
	if (client->abort_after || (client->close_after && client->phase == CLIENT_CLOSED)) {
		client_close(client);
		return;
	}
	if (client->close_after) {
		/* The caller may still be sending: a close now would reset the connection and lose the answer. */
		buffer_free(&client->input);
		stream_finish_writing(&client->stream);
		enter(client, CLIENT_LINGER, now_ms);
		stream_want_read(&client->stream, true);
		return;
	}
	enter(client, CLIENT_IDLE, now_ms);
	stream_want_read(&client->stream, true);
	if (client->input.length > 0)
		event_active(&client->stream.read_event, EV_READ, 0);
}

/* Everything queued has been taken. */
static void
output_taken(struct client *client, uint64_t now_ms)
{
	buffer_free(&client->output);
	stream_want_write(&client->stream, false);
	if (client->phase == CLIENT_SENDING)
		next_request(client, now_ms);
	else if (client->exchange != NULL)
		exchange_drained(client->exchange, now_ms);
}

static void
on_writable(void *owner)
{
	struct client *client = owner;
	struct iovec part = { .iov_base = client->output.data, .iov_len = client->output.length };
	uint64_t now_ms = clock_now_ms();
	size_t done = 0;

	if (client->output.length == 0) {
		stream_want_write(&client->stream, false);
		return;
	}
	if (stream_write(&client->stream, &part, 1, &done) == STREAM_ERROR) {
		client_leave(client, "the connection broke");
		return;
	}
	if (done == 0)
		return;
	client->progress_ms = now_ms;
	buffer_consume(&client->output, done);
	if (client->output.length == 0)
		output_taken(client, now_ms);
}

bool
client_send(struct client *client, const struct iovec *parts, int part_count, uint64_t now_ms)
{
	size_t done = 0;

	if (client->phase == CLIENT_CLOSED)
		return false;
	if (client->output.length == 0 && stream_write(&client->stream, parts, part_count, &done) == STREAM_ERROR)
		return false;
	for (int i = 0; i < part_count; i++) {
		size_t skip = done < parts[i].iov_len ? done : parts[i].iov_len;

		done -= skip;
		if (skip < parts[i].iov_len)
			buffer_append(&client->output, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
	}
	if (client->output.length > 0 && !client->stream.want_write) {
		client->progress_ms = now_ms;
		stream_want_write(&client->stream, true);
		watch(client);
	}
	return true;
}

bool
client_is_blocked(const struct client *client)
{
	return client->output.length > 0;
}

void
client_wait(struct client *client)
{
	if (client->phase != CLIENT_BODY)
		return;
	stream_want_read(&client->stream, false);
	enter(client, CLIENT_WAITING, clock_now_ms());
	if (!client->exchange->uploading)
		timer_set(client->worker->wheel, &client->timer, clock_now_ms() + BUDGET_RETRY_MS);
}

void
client_read_body_on(struct client *client, uint64_t now_ms)
{
	uint64_t since_ms = client->phase_since_ms;

	client->phase = CLIENT_BODY;
	client->progress_ms = now_ms;
	take_kept(client, now_ms);
	if (client->phase == CLIENT_BODY) {
		enter(client, CLIENT_BODY, now_ms);
		stream_want_read(&client->stream, true);
	} else if (client->phase == CLIENT_WAITING) {
		client->phase_since_ms = since_ms; /* still no room: it has waited since then */
	}
}

void
client_answered(struct client *client, bool close, bool abort, uint64_t now_ms)
{
	client->exchange = NULL;
	client->close_after = client->close_after || close;
	client->abort_after = client->abort_after || abort;
	if (client->phase == CLIENT_CLOSED)
		return;
	enter(client, CLIENT_SENDING, now_ms);
	if (client->output.length == 0)
		next_request(client, now_ms);
}

/* A caller that just came may be about to send; one between two requests may have sent. */
#define DRAIN_FIRST_REQUEST_MS 1000U

static void
drain_idle(struct client *client)
{
	size_t length;

	if (client->stream.handshaking || client->first_request) {
		timer_set(client->worker->wheel, &client->timer, clock_now_ms() + DRAIN_FIRST_REQUEST_MS);
		client->draining = true;
		return;
	}
	if (stream_read(&client->stream, client->worker->read_buffer, WORKER_READ_BYTES, &length) == STREAM_OK)
		take_input(client, client->worker->read_buffer, length, clock_now_ms());
	else
		client_close(client);
}

void
client_drain_all(struct worker *worker)
{
	struct client *next;

	for (struct client *client = proxy_worker_of(worker)->clients; client != NULL; client = next) {
		next = client->next;
		client->close_after = true;
		if (client->phase == CLIENT_IDLE && client->input.length == 0)
			drain_idle(client);
	}
}
