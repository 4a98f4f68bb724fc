#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

/* How long accepting pauses when descriptors have run out, and how often a full daemon looks for room again. */
#define PAUSE_DESCRIPTORS_MS 1000
#define PAUSE_FULL_MS 20
/* A full daemon says so at most this often. */
#define COMPLAIN_EVERY_MS 10000

struct listener {
	int fd;
	uint16_t port;
	_Atomic uint64_t max_connections;
	struct worker **workers;
	unsigned worker_count;
	struct event accept_event;
	struct event resume_event;
	bool started;
	uint64_t complained_ms;
};

static int
bind_one(const struct addrinfo *address)
{
	int on = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, 4096) == 0)
		return fd;
	close(fd);
	return -1;
}

static uint16_t
port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} bound = { .v6 = { 0 } };
	socklen_t length = sizeof(bound);

	if (getsockname(fd, &bound.any, &length) != 0)
		return 0;
	return ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

struct listener *
listener_new(const struct listener_settings *settings, char *fault, size_t fault_size)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST };
	struct addrinfo *found = NULL;
	struct listener *listener;
	char port[8];
	int error, fd;

	snprintf(port, sizeof(port), "%u", settings->port);
	error = getaddrinfo(settings->address, port, &hints, &found);
	if (error != 0) {
		snprintf(fault, fault_size, "%s is no address to listen on: %s", settings->address,
		    gai_strerror(error));
		return NULL;
	}
	fd = bind_one(found);
	error = errno;
	freeaddrinfo(found);
	if (fd < 0) {
		snprintf(fault, fault_size, "cannot listen on %s port %u (listen.address, listen.port): %s; %s",
		    settings->address, settings->port, strerror(error),
		    error == EADDRINUSE   ? "stop the process that has the port, or choose another"
			: error == EACCES ? "choose a port from 1024 up, or give the capability CAP_NET_BIND_SERVICE"
			: error == EADDRNOTAVAIL ? "choose an address of this machine, or 0.0.0.0 for all"
						 : "choose another address or port");
		return NULL;
	}
	listener = memory_take_zeroed(1, sizeof(*listener));
	listener->fd = fd;
	listener->port = port_of(fd);
	listener->max_connections = settings->max_connections;
	listener->workers = settings->workers;
	listener->worker_count = settings->worker_count;
	return listener;
}

uint16_t
listener_port(const struct listener *listener)
{
	return listener->port;
}

void
listener_set_cap(struct listener *listener, uint64_t max_connections)
{
	atomic_store_explicit(&listener->max_connections, max_connections, memory_order_relaxed);
}

static struct worker *
least_loaded(const struct listener *listener, uint64_t *total)
{
	struct worker *best = NULL;
	unsigned best_load = 0;

	*total = 0;
	for (unsigned i = 0; i < listener->worker_count; i++) {
		unsigned load = atomic_load_explicit(&listener->workers[i]->connections, memory_order_relaxed);

		*total += load;
		if (best == NULL || load < best_load) {
			best = listener->workers[i];
			best_load = load;
		}
	}
	return best;
}

static void
pause_accepting(struct listener *listener, unsigned pause_ms, const char *reason)
{
	struct timeval wait = { .tv_sec = pause_ms / 1000, .tv_usec = (suseconds_t)(pause_ms % 1000 * 1000) };
	uint64_t now_ms = clock_now_ms();

	event_del(&listener->accept_event);
	event_add(&listener->resume_event, &wait);
	if (listener->complained_ms != 0 && now_ms - listener->complained_ms < COMPLAIN_EVERY_MS)
		return;
	listener->complained_ms = now_ms;
	log_record(LOG_WARNING, "accept_paused", LOG_FIELDS(LOG_STRING("reason", reason)), "New connections wait: %s",
	    reason);
}

/* Takes one connection. Returns false when there is none, or when accepting has been paused. */
static bool
accept_one(struct listener *listener)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t length = sizeof(peer);
	uint64_t total;
	struct worker *worker = least_loaded(listener, &total);
	int fd;

	if (total >= atomic_load_explicit(&listener->max_connections, memory_order_relaxed)) {
		pause_accepting(listener, PAUSE_FULL_MS, "limits.max_connections is reached");
		return false;
	}
	fd = accept4(listener->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		int error = errno; /* pausing writes to the log */

		if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
			pause_accepting(listener, PAUSE_DESCRIPTORS_MS, strerror(error));
		return error == EINTR || error == ECONNABORTED;
	}
	atomic_fetch_add_explicit(&worker->connections, 1, memory_order_relaxed);
	if (listener->worker_count == 1)
		worker->on_accept(worker, fd, &peer);
	else
		worker_hand_over(worker, fd, &peer);
	return true;
}

static void
on_accept(evutil_socket_t fd, short events, void *context)
{
	struct listener *listener = context;

	(void)fd;
	(void)events;
	for (unsigned i = 0; i < LISTENER_BURST && accept_one(listener); i++)
		continue;
}

static void
on_resume(evutil_socket_t fd, short events, void *context)
{
	struct listener *listener = context;

	(void)fd;
	(void)events;
	if (listener->fd >= 0)
		event_add(&listener->accept_event, NULL);
}

void
listener_start(struct listener *listener, struct event_base *base)
{
	if (event_assign(&listener->accept_event, base, listener->fd, EV_READ | EV_PERSIST, on_accept, listener) != 0 ||
	    event_assign(&listener->resume_event, base, -1, 0, on_resume, listener) != 0 ||
	    event_add(&listener->accept_event, NULL) != 0)
		fatal("listener: the socket cannot be watched");
	listener->started = true;
}

void
listener_finish(struct listener *listener)
{
	if (listener->fd < 0)
		return;
	while (accept_one(listener))
		continue;
	event_del(&listener->accept_event);
	event_del(&listener->resume_event);
	close(listener->fd);
	listener->fd = -1;
}

void
listener_free(struct listener **listener)
{
	struct listener *gone = *listener;

	if (gone == NULL)
		return;
	*listener = NULL;
	if (gone->started) {
		event_del(&gone->accept_event);
		event_del(&gone->resume_event);
	}
	if (gone->fd >= 0)
		close(gone->fd);
	free(gone);
}
