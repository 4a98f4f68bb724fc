#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/slice.h"

/* What one TLS record holds at most; parts are gathered up to this, so that a small answer is one record. */
#define RECORD_BYTES 16384U

/* text: static, as the texts of strerror() and OpenSSL are. */
static void
set_fault(struct stream *stream, const char *text)
{
	if (stream->fault == NULL)
		stream->fault = text;
}

static void on_write_event(evutil_socket_t fd, short events, void *context);

static void
arm_read(struct stream *stream, bool want)
{
	if (stream->read_armed == want || stream->fd < 0)
		return;
	stream->read_armed = want;
	if (want)
		event_add(&stream->read_event, NULL);
	else
		event_del(&stream->read_event);
}

static void
arm_write(struct stream *stream, bool want)
{
	if (stream->write_armed == want || stream->fd < 0)
		return;
	stream->write_armed = want;
	if (!want) {
		event_free(stream->write_event); /* allowed in its own callback: libevent is done with it by then */
		stream->write_event = NULL;
		return;
	}
	stream->write_event =
	    event_new(event_get_base(&stream->read_event), stream->fd, EV_WRITE | EV_PERSIST, on_write_event, stream);
	if (stream->write_event == NULL)
		fatal("stream: no event");
	event_add(stream->write_event, NULL);
}

/* Tells epoll what owner and TLS want together. */
static void
rearm(struct stream *stream)
{
	bool want_read = stream->want_read, want_write = stream->want_write;

	if (stream->ssl != NULL) {
		want_read = stream->handshaking ? SSL_want_read(stream->ssl)
						: (want_read && !stream->read_needs_write) || stream->write_needs_read;
		want_write = stream->handshaking
		    ? SSL_want_write(stream->ssl)
		    : (want_write && !stream->write_needs_read) || stream->read_needs_write;
	}
	arm_read(stream, want_read);
	arm_write(stream, want_write);
}

/* Before each call of OpenSSL, which takes a fault that an earlier one left for its own. To look first is worth it: clearing
 * an empty queue costs as much as a tenth of an answer's whole way through OpenSSL. */
static void
clear_tls_errors(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

/* Says in words why TLS failed. */
static void
set_tls_fault(struct stream *stream, int error)
{
	long verify = SSL_get_verify_result(stream->ssl);
	unsigned long code = ERR_peek_last_error();

	if (stream->handshaking && verify != X509_V_OK)
		set_fault(stream, X509_verify_cert_error_string(verify));
	else if (code != 0 && ERR_reason_error_string(code) != NULL)
		set_fault(stream, ERR_reason_error_string(code));
	else if (error == SSL_ERROR_SYSCALL && errno != 0)
		set_fault(stream, strerror(errno));
	else
		set_fault(stream, "the peer closed the connection");
}

/* What OpenSSL has already taken from the socket, epoll will not tell of. */
static void
wake_for_pending(struct stream *stream)
{
	if (stream->fd >= 0 && stream->want_read &&
	    (SSL_has_pending(stream->ssl) || (SSL_get_shutdown(stream->ssl) & SSL_RECEIVED_SHUTDOWN) != 0))
		event_active(&stream->read_event, EV_READ, 0);
}

/* Each message of the handshake's kind, session tickets among them, makes OpenSSL take a buffer for writing, 16 KiB, which
 * SSL_MODE_RELEASE_BUFFERS gives back after the next write only: a stream of events has none. */
static void
note_message(const SSL *ssl, int where, int result)
{
	struct stream *stream = SSL_get_app_data(ssl);

	(void)result;
	if ((where & SSL_CB_LOOP) != 0)
		stream->messages_came = true;
}

/* Before these releases OpenSSL frees the read buffer although the half of a record is in it (CVE-2024-4741). Distributions
 * mend it without another number: there it costs memory only. */
static bool
may_free_buffers(void)
{
	static const unsigned mended[] = { 14, 6, 2, 1 }; /* 3.0.14, 3.1.6, 3.2.2, 3.3.1 */
	unsigned minor = OPENSSL_version_minor(), patch = OPENSSL_version_patch();

	return OPENSSL_version_major() > 3 || minor >= ARRAY_COUNT(mended) || patch >= mended[minor];
}

static void
free_tls_buffers(struct stream *stream)
{
	if (!may_free_buffers())
		return;
	/* Where bytes wait in them they stay, and the next read's end comes here again. */
	if (SSL_free_buffers(stream->ssl) == 1)
		stream->messages_came = false;
}

static void
handshake(struct stream *stream)
{
	int result, error;

	clear_tls_errors();
	errno = 0;
	result = SSL_do_handshake(stream->ssl);
	if (result == 1) {
		stream->handshaking = false;
		free_tls_buffers(stream);
		rearm(stream);
		stream->callbacks->on_handshake(stream->owner, true);
		wake_for_pending(stream);
		return;
	}
	error = SSL_get_error(stream->ssl, result);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		rearm(stream);
		return;
	}
	set_tls_fault(stream, error);
	stream->callbacks->on_handshake(stream->owner, false);
}

static void
on_read_event(evutil_socket_t fd, short events, void *context)
{
	struct stream *stream = context;

	(void)fd;
	(void)events;
	if (stream->fd < 0)
		return;
	if (stream->handshaking) {
		handshake(stream);
		return;
	}
	if (stream->write_needs_read) {
		stream->write_needs_read = false;
		rearm(stream);
		stream->callbacks->on_writable(stream->owner);
	}
	if (stream->fd >= 0 && stream->want_read)
		stream->callbacks->on_readable(stream->owner);
}

static void
on_write_event(evutil_socket_t fd, short events, void *context)
{
	struct stream *stream = context;

	(void)fd;
	(void)events;
	if (stream->fd < 0)
		return;
	if (stream->handshaking) {
		handshake(stream);
		return;
	}
	if (stream->read_needs_write) {
		stream->read_needs_write = false;
		rearm(stream);
		if (stream->want_read)
			stream->callbacks->on_readable(stream->owner);
	}
	if (stream->fd >= 0 && stream->want_write)
		stream->callbacks->on_writable(stream->owner);
}

static void
open_common(struct stream *stream, struct event_base *base, int fd, const struct stream_callbacks *callbacks,
    void *owner)
{
	int on = 1;

	memset(stream, 0, sizeof(*stream));
	stream->fd = fd;
	stream->callbacks = callbacks;
	stream->owner = owner;
	/* Fails on sockets that are not TCP, where it is not needed. Without it answers wait 40 ms for an ACK. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (event_assign(&stream->read_event, base, fd, EV_READ | EV_PERSIST, on_read_event, stream) != 0)
		fatal("stream: event_assign failed");
}

void
stream_open_plain(struct stream *stream, struct event_base *base, int fd, const struct stream_callbacks *callbacks,
    void *owner)
{
	open_common(stream, base, fd, callbacks, owner);
}

void
stream_open_tls(struct stream *stream, struct event_base *base, int fd, SSL *ssl,
    const struct stream_callbacks *callbacks, void *owner)
{
	open_common(stream, base, fd, callbacks, owner);
	stream->ssl = ssl;
	stream->handshaking = true;
	SSL_set_app_data(ssl, stream);
	SSL_set_info_callback(ssl, note_message);
	if (SSL_set_fd(ssl, fd) != 1)
		fatal("stream: SSL_set_fd failed");
	/* The first step is made from the loop, so that no callback comes from within the owner's call. */
	event_active(&stream->read_event, EV_READ, 0);
}

void
stream_want_read(struct stream *stream, bool want)
{
	bool turned_on = want && !stream->want_read;

	stream->want_read = want;
	if (stream->fd < 0)
		return;
	rearm(stream);
	if (turned_on && stream->ssl != NULL && !stream->handshaking)
		wake_for_pending(stream);
}

void
stream_want_write(struct stream *stream, bool want)
{
	stream->want_write = want;
	if (stream->fd >= 0)
		rearm(stream);
}

static enum stream_result
read_plain(struct stream *stream, void *buffer, size_t capacity, size_t *done)
{
	ssize_t count;

	do
		count = recv(stream->fd, buffer, capacity, 0);
	while (count < 0 && errno == EINTR);
	if (count > 0) {
		*done = (size_t)count;
		return STREAM_OK;
	}
	if (count == 0)
		return STREAM_END;
	if (errno == EAGAIN)
		return STREAM_AGAIN;
	set_fault(stream, strerror(errno));
	return STREAM_ERROR;
}

static enum stream_result
read_tls(struct stream *stream, char *buffer, size_t capacity, size_t *done)
{
	size_t total = 0;
	int error = SSL_ERROR_NONE;

	while (total < capacity) {
		size_t count = 0;

		clear_tls_errors();
		errno = 0;
		if (SSL_read_ex(stream->ssl, buffer + total, capacity - total, &count) != 1) {
			error = SSL_get_error(stream->ssl, 0);
			break;
		}
		total += count;
		/* What is still in the socket epoll tells of: no call is spent on hearing that there is nothing, and an end
		 * without close_notify behind a whole answer does not spoil the session (OpenSSL drops it then). */
		if (!SSL_has_pending(stream->ssl)) {
			error = SSL_ERROR_WANT_READ;
			break;
		}
	}
	*done = total;
	if (error == SSL_ERROR_WANT_READ && stream->messages_came)
		free_tls_buffers(stream);
	if (error == SSL_ERROR_WANT_WRITE) {
		stream->read_needs_write = true;
		rearm(stream);
	}
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return total > 0 ? STREAM_OK : STREAM_AGAIN;
	if (total > 0) {
		/* The buffer is full, or an end or error comes next: none of which epoll may tell of. */
		event_active(&stream->read_event, EV_READ, 0);
		return STREAM_OK;
	}
	if (error == SSL_ERROR_ZERO_RETURN)
		return STREAM_END;
	set_tls_fault(stream, error);
	return STREAM_ERROR;
}

enum stream_result
stream_read(struct stream *stream, void *buffer, size_t capacity, size_t *done)
{
	*done = 0;
	if (stream->fd < 0)
		return STREAM_ERROR;
	if (stream->ssl != NULL)
		return stream->handshaking ? STREAM_AGAIN : read_tls(stream, buffer, capacity, done);
	return read_plain(stream, buffer, capacity, done);
}

static enum stream_result
write_plain(struct stream *stream, const struct iovec *parts, int part_count, size_t *done)
{
	struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)part_count };
	ssize_t count;

	do
		count = part_count == 1 ? send(stream->fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL)
					: sendmsg(stream->fd, &message, MSG_NOSIGNAL);
	while (count < 0 && errno == EINTR);
	if (count >= 0) {
		*done = (size_t)count;
		return count > 0 ? STREAM_OK : STREAM_AGAIN;
	}
	if (errno == EAGAIN)
		return STREAM_AGAIN;
	set_fault(stream, strerror(errno));
	return STREAM_ERROR;
}

/* Where a walk over the parts stands. */
struct part_cursor {
	const struct iovec *parts;
	int part_count, part;
	size_t offset;
};

/* The next bytes to be written, at most a record's: in place where a part is long enough, else gathered. Does not move
 * the cursor. */
static struct slice
next_record(const struct part_cursor *cursor, char *gathered)
{
	size_t length = 0, offset = cursor->offset;
	const struct iovec *first = &cursor->parts[cursor->part];

	if (cursor->part == cursor->part_count - 1 || first->iov_len - offset >= RECORD_BYTES) {
		length = first->iov_len - offset;
		return slice_of((const char *)first->iov_base + offset, length < RECORD_BYTES ? length : RECORD_BYTES);
	}
	for (int i = cursor->part; i < cursor->part_count && length < RECORD_BYTES; i++, offset = 0) {
		size_t rest = cursor->parts[i].iov_len - offset;

		if (rest > RECORD_BYTES - length)
			rest = RECORD_BYTES - length;
		if (rest == 0)
			continue;
		memcpy(gathered + length, (const char *)cursor->parts[i].iov_base + offset, rest);
		length += rest;
	}
	return slice_of(gathered, length);
}

static void
advance(struct part_cursor *cursor, size_t count)
{
	cursor->offset += count;
	while (cursor->part < cursor->part_count && cursor->offset >= cursor->parts[cursor->part].iov_len) {
		cursor->offset -= cursor->parts[cursor->part].iov_len;
		cursor->part++;
	}
}

static enum stream_result
write_tls(struct stream *stream, const struct iovec *parts, int part_count, size_t *done)
{
	static _Thread_local char gathered[RECORD_BYTES];
	struct part_cursor cursor = { .parts = parts, .part_count = part_count };
	int error = SSL_ERROR_NONE;

	advance(&cursor, 0);
	while (cursor.part < cursor.part_count) {
		struct slice record = next_record(&cursor, gathered);
		size_t count = 0;

		clear_tls_errors();
		errno = 0;
		if (SSL_write_ex(stream->ssl, record.data, record.length, &count) != 1) {
			error = SSL_get_error(stream->ssl, 0);
			break;
		}
		*done += count;
		advance(&cursor, count);
	}
	if (error == SSL_ERROR_WANT_READ) {
		stream->write_needs_read = true;
		rearm(stream);
	}
	if (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return *done > 0 ? STREAM_OK : STREAM_AGAIN;
	set_tls_fault(stream, error);
	return STREAM_ERROR;
}

enum stream_result
stream_write(struct stream *stream, const struct iovec *parts, int part_count, size_t *done)
{
	*done = 0;
	if (stream->fd < 0)
		return STREAM_ERROR;
	if (stream->ssl != NULL)
		return stream->handshaking ? STREAM_AGAIN : write_tls(stream, parts, part_count, done);
	return write_plain(stream, parts, part_count, done);
}

void
stream_finish_writing(struct stream *stream)
{
	if (stream->fd < 0)
		return;
	if (stream->ssl != NULL && !stream->handshaking) {
		clear_tls_errors();
		(void)SSL_shutdown(stream->ssl);
		clear_tls_errors();
	}
	(void)shutdown(stream->fd, SHUT_WR);
}

bool
stream_is_open(const struct stream *stream)
{
	return stream->fd >= 0;
}

const char *
stream_fault(const struct stream *stream)
{
	return stream->fault != NULL ? stream->fault : "";
}

static void
release(struct stream *stream)
{
	event_del(&stream->read_event);
	arm_write(stream, false);
	if (stream->ssl != NULL)
		SSL_free(stream->ssl);
	stream->ssl = NULL;
	close(stream->fd);
	stream->fd = -1;
}

void
stream_close(struct stream *stream)
{
	if (stream->fd < 0)
		return;
	if (stream->ssl != NULL && !stream->handshaking) {
		clear_tls_errors();
		(void)SSL_shutdown(stream->ssl);
	}
	clear_tls_errors();
	release(stream);
}

void
stream_abort(struct stream *stream)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	if (stream->fd < 0)
		return;
	(void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (stream->ssl != NULL)
		SSL_set_quiet_shutdown(stream->ssl, 1);
	release(stream);
}
