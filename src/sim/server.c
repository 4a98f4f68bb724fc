/* The simulator's listeners, and the loop they live on. */
#include "sim/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/tls.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64
/* How long accepting rests when descriptors have run out. */
#define PAUSE_MS 200U

void
sim_http_date(int64_t unix_seconds, char out[32])
{
	time_t seconds = (time_t)unix_seconds;
	struct tm parts;

	if (gmtime_r(&seconds, &parts) == NULL || strftime(out, 32, "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0)
		fatal("simulator: the time of day cannot be written");
}

/* Whether a fault resets connections as soon as they are there. */
static bool
strike_at_accept(struct sim_listener *listener, int fd)
{
	struct sim_server *server = listener->server;
	struct sim_fault *struck[SIM_FAULTS_MAX];
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	struct sim_fault_place place = { 0 };

	if (listener->resource == NULL || server->faults.count == 0)
		return false;
	place.resource = slice_from(listener->resource->config->name);
	if (sim_faults_strike(&server->faults, SIM_MOMENT_ACCEPT, &place, &server->random, struck) == 0)
		return false;
	listener->resource->connections_accepted++;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
	return true;
}

static void
on_acceptable(evutil_socket_t listening, short events, void *context)
{
	struct sim_listener *listener = context;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (!strike_at_accept(listener, fd))
				sim_connection_open(listener, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE) {
			event_del(listener->event);
			timer_set(listener->server->wheel, &listener->pause, clock_now_ms() + PAUSE_MS);
			return;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void
on_pause_over(void *owner, uint64_t now_ms)
{
	struct sim_listener *listener = owner;

	(void)now_ms;
	event_add(listener->event, NULL);
}

/* A literal address; false for anything else. */
static bool
make_address(const char *text, uint16_t port, struct sockaddr_storage *out, socklen_t *length)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(out, &v4, sizeof(v4));
		*length = sizeof(v4);
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
		memcpy(out, &v6, sizeof(v6));
		*length = sizeof(v6);
		return true;
	}
	return false;
}

static uint16_t
bound_port(int fd)
{
	struct sockaddr_storage address = { 0 };
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
		return 0;
	if (address.ss_family == AF_INET6) {
		memcpy(&v6, &address, sizeof(v6));
		return ntohs(v6.sin6_port);
	}
	memcpy(&v4, &address, sizeof(v4));
	return ntohs(v4.sin_port);
}

/* A listening socket, or -1 with errno set. */
static int
open_socket(const struct sockaddr_storage *address, socklen_t length)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, reason;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, length) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	reason = errno;
	close(fd);
	errno = reason;
	return -1;
}

static bool
listener_open(struct sim_listener *listener, const char *address, uint16_t port, char *fault, size_t fault_size)
{
	struct sockaddr_storage socket_address;
	socklen_t length;

	if (!make_address(address, port, &socket_address, &length)) {
		(void)snprintf(fault, fault_size, "%s is no IP address", address);
		return false;
	}
	listener->fd = open_socket(&socket_address, length);
	if (listener->fd < 0) {
		(void)snprintf(fault, fault_size, "cannot listen on %s port %u: %s", address, port, strerror(errno));
		return false;
	}
	listener->port = bound_port(listener->fd);
	timer_init(&listener->pause, on_pause_over, listener);
	listener->event =
	    event_new(listener->server->base, listener->fd, EV_READ | EV_PERSIST, on_acceptable, listener);
	if (listener->event == NULL || event_add(listener->event, NULL) != 0)
		fatal("simulator: no event for a listener");
	return true;
}

static bool
open_listeners(struct sim_server *server, char *fault, size_t fault_size)
{
	const struct sim_config *config = server->config;

	for (size_t i = 0; i < config->resource_count; i++) {
		const struct sim_resource_config *resource = &config->resources[i];
		struct sim_listener *listener = &server->listeners[i];

		listener->resource = server->resources[i];
		if (resource->certificate_file[0] != '\0') {
			listener->tls = tls_server_context(resource->certificate_file, resource->private_key_file,
			    fault, fault_size);
			if (listener->tls == NULL)
				return false;
		}
		if (!listener_open(listener, resource->address, resource->port, fault, fault_size))
			return false;
	}
	return !config->has_control ||
	    listener_open(&server->listeners[config->resource_count], config->control_address, config->control_port,
		fault, fault_size);
}

static void
on_reap(evutil_socket_t fd, short events, void *context)
{
	(void)fd;
	(void)events;
	sim_connections_reap(context);
}

/* Each resource finds the one whose tokens it takes. */
static void
trust_issuers(struct sim_server *server)
{
	for (size_t i = 0; i < server->config->resource_count; i++) {
		const char *name = server->config->resources[i].tokens_of;

		for (size_t j = 0; j < server->config->resource_count && name[0] != '\0'; j++)
			if (strcmp(server->config->resources[j].name, name) == 0)
				server->resources[i]->trusts = server->resources[j]->issuer;
	}
}

struct sim_server *
sim_server_new(const struct sim_config *config, char *fault, size_t fault_size)
{
	struct sim_server *server = memory_take_zeroed(1, sizeof(*server));

	server->config = config;
	server->base = event_base_new();
	if (server->base == NULL)
		fatal("simulator: no event base");
	server->wheel = timer_wheel_new(server->base);
	server->reaper = event_new(server->base, -1, 0, on_reap, server);
	server->journal = sim_journal_new((size_t)config->record);
	random_seed(&server->random, config->seed);
	server->resources = memory_take_zeroed(config->resource_count, sizeof(struct sim_resource *));
	for (size_t i = 0; i < config->resource_count; i++)
		server->resources[i] = sim_resource_new(&config->resources[i], config->seed);
	trust_issuers(server);
	server->listener_count = config->resource_count + (config->has_control ? 1 : 0);
	server->listeners = memory_take_zeroed(server->listener_count, sizeof(*server->listeners));
	for (size_t i = 0; i < server->listener_count; i++) {
		server->listeners[i].server = server;
		server->listeners[i].fd = -1;
	}
	if ((config->faults != NULL && !sim_faults_add(&server->faults, config->faults, fault, fault_size)) ||
	    !open_listeners(server, fault, fault_size))
		sim_server_free(&server);
	return server;
}

static void
listener_close(struct sim_listener *listener)
{
	timer_clear(listener->server->wheel, &listener->pause);
	if (listener->event != NULL)
		event_free(listener->event);
	if (listener->fd >= 0)
		close(listener->fd);
	SSL_CTX_free(listener->tls);
}

void
sim_server_free(struct sim_server **server)
{
	struct sim_server *it = *server;

	if (it == NULL)
		return;
	sim_connections_close(it);
	for (size_t i = 0; i < it->listener_count; i++)
		listener_close(&it->listeners[i]);
	free(it->listeners);
	for (size_t i = 0; i < it->config->resource_count; i++)
		sim_resource_free(&it->resources[i]);
	free(it->resources);
	sim_faults_clear(&it->faults);
	sim_journal_free(&it->journal);
	sim_answer_free(&it->answer);
	buffer_free(&it->path);
	event_free(it->reaper);
	timer_wheel_free(&it->wheel);
	event_base_free(it->base);
	free(it);
	*server = NULL;
}

void
sim_server_run(struct sim_server *server)
{
	(void)event_base_dispatch(server->base);
}
