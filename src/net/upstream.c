#include "net/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

/* A pooled connection that rested longer than this is asked whether the backend has closed it before it is used. */
#define CHECK_AFTER_MS 10U
/* While others are left, an address gets its share of the time, but no less and no more than this before the next one is
 * tried: a connection that is not made within a second has lost its first packet, or nobody is there. */
#define ADDRESS_LEAST_MS 250U
#define ADDRESS_MOST_MS 1000U

enum upstream_state { RESOLVING, CONNECTING, HANDSHAKING, BUSY, POOLED, CLOSED };

/* The idle connections to one endpoint, the most recently used first. */
struct idle_list {
	struct idle_list *next;
	struct endpoint *endpoint;
	struct upstream *first;
	unsigned count;
};

struct upstream_pool {
	struct idle_list *lists;
	struct upstream *resolving;
};

static void on_handshake(void *owner, bool ok);
static void on_readable(void *owner);
static void on_writable(void *owner);
static void connect_next(struct upstream *upstream, uint64_t now_ms, const char *last_reason);

static const struct stream_callbacks stream_callbacks = {
	.on_handshake = on_handshake,
	.on_readable = on_readable,
	.on_writable = on_writable,
};

struct upstream_pool *
upstream_pool_new(void)
{
	return memory_take_zeroed(1, sizeof(struct upstream_pool));
}

static void
list_put(struct upstream **head, struct upstream *upstream)
{
	upstream->next = *head;
	if (upstream->next != NULL)
		upstream->next->link = &upstream->next;
	upstream->link = head;
	*head = upstream;
}

static void
list_take(struct upstream *upstream)
{
	if (upstream->link == NULL)
		return;
	*upstream->link = upstream->next;
	if (upstream->next != NULL)
		upstream->next->link = upstream->link;
	upstream->next = NULL;
	upstream->link = NULL;
}

static struct idle_list *
idle_list_of(struct upstream_pool *pool, const struct endpoint *endpoint)
{
	struct idle_list **link = &pool->lists;

	for (struct idle_list *list; (list = *link) != NULL; link = &list->next) {
		if (list->endpoint != endpoint)
			continue;
		/* To the front: with many backends the busy ones are found at once. */
		*link = list->next;
		list->next = pool->lists;
		pool->lists = list;
		return list;
	}
	return NULL;
}

static struct idle_list *
idle_list_make(struct upstream_pool *pool, struct endpoint *endpoint)
{
	struct idle_list *list = idle_list_of(pool, endpoint);

	if (list != NULL)
		return list;
	list = memory_take_zeroed(1, sizeof(*list));
	list->endpoint = endpoint_share(endpoint);
	list->next = pool->lists;
	pool->lists = list;
	return list;
}

static void
unpool(struct upstream *upstream)
{
	struct idle_list *list = idle_list_of(upstream->worker->pool, upstream->endpoint);

	list_take(upstream);
	timer_clear(upstream->worker->wheel, &upstream->timer);
	if (list != NULL)
		list->count--;
}

static void
destroy(struct grave *grave)
{
	struct upstream *upstream = CONTAINER_OF(grave, struct upstream, grave);

	free(upstream->addresses);
	endpoint_release(&upstream->endpoint);
	free(upstream);
}

void
upstream_close(struct upstream **upstream)
{
	struct upstream *gone = *upstream;

	*upstream = NULL;
	if (gone == NULL || gone->state == CLOSED)
		return;
	endpoint_count(gone->endpoint, gone->state == POOLED ? ENDPOINT_IDLE : ENDPOINT_BUSY, -1);
	if (gone->state == POOLED)
		unpool(gone);
	list_take(gone);
	gone->state = CLOSED;
	timer_clear(gone->worker->wheel, &gone->timer);
	stream_close(&gone->stream);
	worker_bury(gone->worker, &gone->grave, destroy);
}

static void
fail(struct upstream *upstream, enum upstream_failure failure, const char *reason)
{
	timer_clear(upstream->worker->wheel, &upstream->timer);
	upstream->callbacks->on_failed(upstream->owner, failure, reason);
}

static void
ready(struct upstream *upstream)
{
	timer_clear(upstream->worker->wheel, &upstream->timer);
	free(upstream->addresses);
	upstream->addresses = NULL;
	upstream->state = BUSY;
	stream_want_write(&upstream->stream, false);
	stream_want_read(&upstream->stream, true);
	upstream->callbacks->on_ready(upstream->owner);
}

/* The socket is connected: TLS, or done. */
static void
connected(struct upstream *upstream)
{
	int fd;

	if (!endpoint_is_secure(upstream->endpoint)) {
		ready(upstream);
		return;
	}
	upstream->state = HANDSHAKING;
	timer_set(upstream->worker->wheel, &upstream->timer, upstream->deadline_ms);
	/* The plain stream only waited for the connection; the TLS stream takes its socket over. */
	stream_want_write(&upstream->stream, false);
	fd = upstream->stream.fd;
	stream_open_tls(&upstream->stream, upstream->worker->base, fd, endpoint_tls_new(upstream->endpoint),
	    &stream_callbacks, upstream);
}

static void
on_handshake(void *owner, bool ok)
{
	struct upstream *upstream = owner;

	if (ok) {
		ready(upstream);
		return;
	}
	endpoint_address_failed(upstream->endpoint, &upstream->addresses[upstream->address_at - 1]);
	fail(upstream, UPSTREAM_TLS_FAILED, stream_fault(&upstream->stream));
}

static void
on_connected(struct upstream *upstream)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(upstream->stream.fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		error = errno;
	if (error == 0) {
		connected(upstream);
		return;
	}
	endpoint_address_failed(upstream->endpoint, &upstream->addresses[upstream->address_at - 1]);
	stream_close(&upstream->stream);
	connect_next(upstream, clock_now_ms(), strerror(error));
}

static void
on_writable(void *owner)
{
	struct upstream *upstream = owner;

	if (upstream->state == CONNECTING)
		on_connected(upstream);
	else if (upstream->state == BUSY)
		upstream->callbacks->on_writable(upstream->owner);
}

/* Whether a pooled connection is still good: silent and open. With TLS a ticket may come in the meantime. */
static bool
is_quiet(struct upstream *upstream)
{
	char byte;
	size_t done;

	if (upstream->stream.ssl == NULL)
		return recv(upstream->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
	return stream_read(&upstream->stream, &byte, 1, &done) == STREAM_AGAIN;
}

static void
on_readable(void *owner)
{
	struct upstream *upstream = owner;

	if (upstream->state == BUSY)
		upstream->callbacks->on_readable(upstream->owner);
	else if (upstream->state == POOLED && !is_quiet(upstream))
		upstream_close(&upstream);
}

static void
on_timer(void *owner, uint64_t now_ms)
{
	struct upstream *upstream = owner;

	switch (upstream->state) {
	case RESOLVING:
		fail(upstream, UPSTREAM_UNREACHABLE, "its name could not be looked up in time");
		break;
	case CONNECTING:
		endpoint_address_failed(upstream->endpoint, &upstream->addresses[upstream->address_at - 1]);
		stream_close(&upstream->stream);
		connect_next(upstream, now_ms, "no connection in time");
		break;
	case HANDSHAKING:
		endpoint_address_failed(upstream->endpoint, &upstream->addresses[upstream->address_at - 1]);
		fail(upstream, UPSTREAM_TLS_FAILED, "no TLS handshake in time");
		break;
	case POOLED:
		upstream_close(&upstream);
		break;
	default:
		break;
	}
}

/* Begins to connect to the next address that takes a socket. False when none is left: *reason says why. */
static bool
open_next(struct upstream *upstream, uint64_t now_ms, const char **reason)
{
	while (upstream->address_at < upstream->address_count && now_ms < upstream->deadline_ms) {
		const struct address *address = &upstream->addresses[upstream->address_at++];
		const struct sockaddr *target = (const struct sockaddr *)&address->socket_address;
		unsigned left = (unsigned)(upstream->address_count - upstream->address_at) + 1;
		uint64_t share_ms = (upstream->deadline_ms - now_ms) / left;
		int fd = socket(target->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd < 0) {
			*reason = strerror(errno);
			continue;
		}
		if (connect(fd, target, address->length) != 0 && errno != EINPROGRESS) {
			*reason = strerror(errno);
			endpoint_address_failed(upstream->endpoint, address);
			close(fd);
			continue;
		}
		upstream->state = CONNECTING;
		stream_open_plain(&upstream->stream, upstream->worker->base, fd, &stream_callbacks, upstream);
		stream_want_write(&upstream->stream, true);
		if (left > 1 && share_ms < ADDRESS_LEAST_MS)
			share_ms = ADDRESS_LEAST_MS;
		if (left > 1 && share_ms > ADDRESS_MOST_MS)
			share_ms = ADDRESS_MOST_MS;
		timer_set(upstream->worker->wheel, &upstream->timer, now_ms + share_ms);
		return true;
	}
	return false;
}

static void
connect_next(struct upstream *upstream, uint64_t now_ms, const char *reason)
{
	if (open_next(upstream, now_ms, &reason))
		return;
	endpoint_unreachable(upstream->endpoint, now_ms);
	fail(upstream, UPSTREAM_UNREACHABLE, reason);
}

/* Takes the endpoint's addresses, as far as they are known. */
static bool
load_addresses(struct upstream *upstream, uint64_t now_ms, bool *pending)
{
	struct address found[ENDPOINT_ADDRESSES_MAX];
	size_t count = endpoint_addresses(upstream->endpoint, now_ms, found, ENDPOINT_ADDRESSES_MAX, pending);

	if (count == 0)
		return false;
	free(upstream->addresses);
	upstream->addresses = memory_take(count * sizeof(found[0]));
	memcpy(upstream->addresses, found, count * sizeof(found[0]));
	upstream->address_count = (uint8_t)count;
	upstream->address_at = 0;
	return true;
}

/* What could not begin at once begins from the loop: its failure must not come from within the owner's call. */
static void
begin(void *owner, uint64_t now_ms)
{
	struct upstream *upstream = owner;
	char fault[120];
	bool pending;

	upstream->timer.fire = on_timer;
	if (load_addresses(upstream, now_ms, &pending)) {
		connect_next(upstream, now_ms, "no address");
	} else if (pending) {
		list_put(&upstream->worker->pool->resolving, upstream);
		timer_set(upstream->worker->wheel, &upstream->timer, upstream->deadline_ms);
	} else {
		endpoint_fault(upstream->endpoint, fault, sizeof(fault));
		fail(upstream, UPSTREAM_UNREACHABLE, fault);
	}
}

struct upstream *
upstream_connect(struct worker *worker, struct endpoint *endpoint, const struct upstream_limits *limits,
    const struct upstream_callbacks *callbacks, void *owner, uint64_t now_ms)
{
	struct upstream *upstream = memory_take_zeroed(1, sizeof(*upstream));
	const char *reason;
	bool pending;

	upstream->stream.fd = -1;
	upstream->worker = worker;
	upstream->endpoint = endpoint_share(endpoint);
	endpoint_count(endpoint, ENDPOINT_BUSY, 1);
	upstream->callbacks = callbacks;
	upstream->owner = owner;
	upstream->created_ms = now_ms;
	upstream->deadline_ms = now_ms + limits->connect_ms;
	upstream->state = RESOLVING;
	timer_init(&upstream->timer, on_timer, upstream);
	if (load_addresses(upstream, now_ms, &pending) && open_next(upstream, now_ms, &reason))
		return upstream;
	upstream->state = RESOLVING;
	upstream->timer.fire = begin;
	timer_set(worker->wheel, &upstream->timer, now_ms);
	return upstream;
}

struct upstream *
upstream_acquire(struct worker *worker, struct endpoint *endpoint, const struct upstream_limits *limits,
    const struct upstream_callbacks *callbacks, void *owner, uint64_t now_ms, bool *is_ready)
{
	struct idle_list *list = idle_list_of(worker->pool, endpoint);

	while (list != NULL && list->first != NULL) {
		struct upstream *upstream = list->first;
		/* The timer was set when it was pooled. */
		bool rested = now_ms + limits->idle_ms > upstream->timer.deadline_ms + CHECK_AFTER_MS;

		if (now_ms - upstream->created_ms >= limits->max_age_ms || (rested && !is_quiet(upstream))) {
			upstream_close(&upstream);
			continue;
		}
		unpool(upstream);
		endpoint_count(endpoint, ENDPOINT_IDLE, -1);
		endpoint_count(endpoint, ENDPOINT_BUSY, 1);
		upstream->state = BUSY;
		upstream->reused = true;
		upstream->callbacks = callbacks;
		upstream->owner = owner;
		*is_ready = true;
		return upstream;
	}
	*is_ready = false;
	return upstream_connect(worker, endpoint, limits, callbacks, owner, now_ms);
}

void
upstream_release(struct upstream **upstream, const struct upstream_limits *limits, uint64_t now_ms)
{
	struct upstream *idle = *upstream;
	struct idle_list *list = idle_list_make(idle->worker->pool, idle->endpoint);

	if (now_ms - idle->created_ms >= limits->max_age_ms || list->count >= UPSTREAM_IDLE_MAX ||
	    limits->idle_ms == 0) {
		upstream_close(upstream);
		return;
	}
	*upstream = NULL;
	idle->owner = NULL;
	idle->callbacks = NULL;
	idle->state = POOLED;
	endpoint_count(idle->endpoint, ENDPOINT_BUSY, -1);
	endpoint_count(idle->endpoint, ENDPOINT_IDLE, 1);
	list_put(&list->first, idle);
	list->count++;
	stream_want_write(&idle->stream, false);
	stream_want_read(&idle->stream, true);
	idle->timer.fire = on_timer;
	timer_set(idle->worker->wheel, &idle->timer, now_ms + limits->idle_ms);
}

void
upstream_resolved(struct worker *worker, struct endpoint *endpoint)
{
	struct upstream *next;

	for (struct upstream *upstream = worker->pool->resolving; upstream != NULL; upstream = next) {
		next = upstream->next;
		if (upstream->endpoint != endpoint)
			continue;
		/* From the loop, since a callback may end any of the others in this list. */
		list_take(upstream);
		upstream->timer.fire = begin;
		timer_set(worker->wheel, &upstream->timer, 0);
	}
}

void
upstream_pool_clear(struct worker *worker)
{
	struct upstream_pool *pool = worker->pool;

	while (pool->lists != NULL) {
		struct idle_list *list = pool->lists;

		while (list->first != NULL) {
			struct upstream *upstream = list->first;

			upstream_close(&upstream);
		}
		list = pool->lists; /* closing moves lists to the front */
		pool->lists = list->next;
		endpoint_release(&list->endpoint);
		free(list);
	}
}

void
upstream_pool_free(struct worker *worker, struct upstream_pool **pool)
{
	if (*pool == NULL)
		return;
	upstream_pool_clear(worker);
	free(*pool);
	*pool = NULL;
}
