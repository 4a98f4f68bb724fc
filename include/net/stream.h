/* net/stream.h: one connection, plain or TLS, behind one face.
 *
 * A stream calls back when it can be read or written; reading and writing are the owner's calls and never block. Read
 * interest stays armed across reads (re-arming costs a system call); write interest is armed only after a write said
 * STREAM_AGAIN. With TLS, what the protocol underneath wants is kept apart from what the owner wants: a read that must
 * write first (a KeyUpdate) waits for writability and then calls on_readable. Bytes that OpenSSL has already taken from
 * the socket are invisible to epoll, so a stream whose owner stops reading with such bytes left schedules itself.
 *
 * Embedded in its owner (client connection or upstream connection), which calls stream_close() before it goes away; not
 * movable once open. One thread: that of its event base. No callback is made from within a call of the owner's.
 *
 *	stream_open_plain(&client->stream, base, fd, &client_stream_callbacks, client);
 *	stream_want_read(&client->stream, true);
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "base/compiler.h"

enum stream_result {
	STREAM_OK,    /* *done bytes were moved, at least one */
	STREAM_AGAIN, /* none now; a callback will follow if interest is on */
	STREAM_END,   /* the peer closed in good order (TLS: close_notify) */
	STREAM_ERROR, /* the connection is broken (TLS: also an end without close_notify); see stream_fault() */
};

struct stream_callbacks {
	/* The handshake is over (TLS streams only, before any other callback), or it failed: see stream_fault(). */
	void (*on_handshake)(void *owner, bool ok);
	void (*on_readable)(void *owner);
	void (*on_writable)(void *owner);
};

struct stream {
	int fd;   /* -1: closed */
	SSL *ssl; /* NULL: plain */
	const struct stream_callbacks *callbacks;
	void *owner;
	struct event read_event;
	struct event *write_event; /* only while armed: most streams never wait to be written, and an event is large */
	bool handshaking;
	bool want_read; /* the owner's wish */
	bool want_write;
	bool read_needs_write; /* TLS: the pending read can go on once the socket takes bytes */
	bool write_needs_read;
	bool messages_came; /* TLS: for which OpenSSL holds buffers that are to be given back */
	bool read_armed;    /* what epoll was told */
	bool write_armed;
	const char *fault; /* why it broke, text that stays; NULL before */
};

/* Takes fd over (already non-blocking). TCP_NODELAY is set on TCP sockets. */
void stream_open_plain(struct stream *stream, struct event_base *base, int fd, const struct stream_callbacks *callbacks,
    void *owner);
/* Takes fd and ssl over; the handshake runs by itself, as server or client as ssl was set up. */
void stream_open_tls(struct stream *stream, struct event_base *base, int fd, SSL *ssl,
    const struct stream_callbacks *callbacks, void *owner);

void stream_want_read(struct stream *stream, bool want);
void stream_want_write(struct stream *stream, bool want);

/* Reads at most capacity bytes. A TLS stream is read until it says "again" or the buffer is full. */
enum stream_result stream_read(struct stream *stream, void *buffer, size_t capacity, size_t *done) MUST_CHECK;
/* Writes what the kernel takes. After STREAM_AGAIN (or a short write) ask for writability with stream_want_write(); the
 * next write must begin with the same bytes, at whatever address. */
enum stream_result stream_write(struct stream *stream, const struct iovec *parts, int part_count,
    size_t *done) MUST_CHECK;

/* No more will be written: the peer sees the end, and may go on sending. */
void stream_finish_writing(struct stream *stream);

bool stream_is_open(const struct stream *stream);
const char *stream_fault(const struct stream *stream);

/* Closes in good order (TLS: close_notify, as far as it can be sent at once) and frees what the stream holds. Safe to
 * call twice. */
void stream_close(struct stream *stream);
/* Closes so that the peer sees a reset (RST): for an answer that was cut short. */
void stream_abort(struct stream *stream);

#endif
