#include "admin/admin.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/metrics.h"
#include "admin/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

/* An operator's request is small; a slow one is cut off. */
#define ADMIN_BODY_MAX_BYTES 4096
#define ADMIN_HEADERS_MAX_BYTES 16384
#define ADMIN_TIMEOUT_S 10
/* How often ended connections are looked for while there are any. */
#define LET_GO_US 50000

struct admin {
	struct evhttp *server;
	struct proxy *proxy;
	admin_reload_fn *reload;
	void *context;
	uint64_t started_ms;
	int64_t started_unix_ms;
	struct evconnlistener *listener;
	struct bufferevent *connections[ADMIN_CONNECTIONS_MAX];
	unsigned connection_count;
	struct event *on_let_go;
	uint16_t port;
	bool loopback;
};

static void
answer(struct evhttp_request *request, int status, const char *content_type, struct slice body)
{
	struct evbuffer *out = evbuffer_new();

	if (out == NULL || evbuffer_add(out, body.data, body.length) != 0)
		fatal("admin: no memory for an answer");
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", content_type);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Cache-Control", "no-store");
	evhttp_add_header(evhttp_request_get_output_headers(request), "X-Content-Type-Options", "nosniff");
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Security-Policy",
	    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
	evhttp_send_reply(request, status, NULL, out);
	evbuffer_free(out);
}

static void
refuse(struct evhttp_request *request, int status, const char *message)
{
	struct buffer body = { 0 };

	buffer_append_string(&body, "{\"error\":{\"message\":\"");
	buffer_append_json_text(&body, slice_from(message));
	buffer_append_string(&body, "\"}}\n");
	answer(request, status, "application/json", buffer_slice(&body));
	buffer_free(&body);
}

static const char *
field(struct evhttp_request *request, const char *name)
{
	const char *value = evhttp_find_header(evhttp_request_get_input_headers(request), name);

	return value != NULL ? value : "";
}

static bool
shows_key(struct evhttp_request *request, const char *key)
{
	struct slice given = slice_from(field(request, "Authorization"));
	struct slice bearer = SLICE("bearer ");

	if (!slice_starts_with_nocase(given, bearer))
		return false;
	given = slice_trim(slice_skip(given, bearer.length));
	return given.length == strlen(key) && CRYPTO_memcmp(given.data, key, given.length) == 0;
}

/* Whether the caller may see more than health; else it has been told why not. */
static bool
may_look(const struct admin *admin, struct evhttp_request *request)
{
	const char *key = admin->proxy->fleet->config->admin.key;

	if (key[0] == '\0' && admin->loopback)
		return true;
	if (key[0] == '\0') {
		refuse(request, 403, "Off loopback this needs admin.key in the configuration.");
		return false;
	}
	if (shows_key(request, key))
		return true;
	evhttp_add_header(evhttp_request_get_output_headers(request), "WWW-Authenticate", "Bearer");
	refuse(request, 401, "Show admin.key as a Bearer token.");
	return false;
}

/* Whether a host[:port] names this machine. The whole of it: anybody may own localhost.example or 127.example, and let it
 * point here. */
static bool
names_loopback(const char *host)
{
	struct slice given = slice_from(host);
	const char *colon = given.length > 0 ? memrchr(given.data, ':', given.length) : NULL;
	const char *bracket = given.length > 0 ? memrchr(given.data, ']', given.length) : NULL;
	char name[INET_ADDRSTRLEN];
	struct in_addr address;

	if (colon != NULL && (bracket == NULL || bracket < colon))
		given.length = (size_t)(colon - given.data);
	if (slice_equals_nocase(given, SLICE("localhost")) || slice_equals(given, SLICE("[::1]")))
		return true;
	snprintf(name, sizeof(name), "%.*s", SLICE_PRINT(given));
	return given.length < sizeof(name) && inet_pton(AF_INET, name, &address) == 1 &&
	    ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* A page of somebody else's, open in an operator's browser, must not be able to reload (nor by a name that it points
 * here). */
static bool
is_foreign(const struct admin *admin, struct evhttp_request *request)
{
	struct slice origin = slice_from(field(request, "Origin"));
	struct slice host = slice_from(field(request, "Host"));
	ptrdiff_t scheme_end = slice_find(origin, SLICE("://"));

	if (admin->loopback && !names_loopback(field(request, "Host")))
		return true;
	return origin.length > 0 &&
	    (scheme_end < 0 || !slice_equals_nocase(slice_skip(origin, (size_t)scheme_end + 3), host));
}

static void
on_reload(struct admin *admin, struct evhttp_request *request)
{
	struct config_faults faults = { 0 };
	struct buffer body = { 0 };
	bool done;

	if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
		evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", "POST");
		refuse(request, 405, "Use POST.");
		return;
	}
	if (is_foreign(admin, request)) {
		refuse(request, 403, "A reload from a foreign page is refused.");
		return;
	}
	done = admin->reload(admin->context, &faults);
	buffer_append_format(&body, "{\"reloaded\":%s,\"faults\":[", done ? "true" : "false");
	for (size_t i = 0; i < faults.count; i++) {
		buffer_append_string(&body, i > 0 ? ",{\"path\":\"" : "{\"path\":\"");
		buffer_append_json_text(&body, slice_from(faults.items[i].path));
		buffer_append_string(&body, "\",\"fault\":\"");
		buffer_append_json_text(&body, slice_from(faults.items[i].text));
		buffer_append_string(&body, "\"}");
	}
	buffer_append_string(&body, "]}\n");
	answer(request, done ? 200 : 422, "application/json", buffer_slice(&body));
	buffer_free(&body);
	config_faults_free(&faults);
}

static void
on_status(struct admin *admin, struct evhttp_request *request, bool page)
{
	struct buffer body = { 0 };

	if (page)
		status_write_page(admin->proxy, admin->started_ms, clock_now_ms(), &body);
	else
		status_write_json(admin->proxy, admin->started_ms, clock_now_ms(), &body);
	answer(request, 200, page ? "text/html; charset=utf-8" : "application/json", buffer_slice(&body));
	buffer_free(&body);
}

static void
on_metrics(struct admin *admin, struct evhttp_request *request)
{
	struct buffer body = { 0 };

	metrics_write(admin->proxy, admin->started_unix_ms, clock_now_ms(), &body);
	answer(request, 200, METRICS_CONTENT_TYPE, buffer_slice(&body));
	buffer_free(&body);
}

/* HEAD and GET alone; else the caller has been told. */
static bool
only_reads(struct evhttp_request *request)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(request);

	if (method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD)
		return true;
	evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", "GET, HEAD");
	refuse(request, 405, "Use GET.");
	return false;
}

static bool
is_for_reading(const char *path)
{
	static const char *const paths[] = { "/", "/healthz", "/readyz", "/metrics", "/status", "/status.json" };

	for (size_t i = 0; i < ARRAY_COUNT(paths); i++)
		if (strcmp(path, paths[i]) == 0)
			return true;
	return false;
}

static void
on_request(struct evhttp_request *request, void *context)
{
	struct admin *admin = context;
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
	bool ready = !atomic_load(&admin->proxy->draining);

	path = path != NULL ? path : "";
	if (is_for_reading(path) && !only_reads(request))
		return;
	if (strcmp(path, "/healthz") == 0)
		answer(request, 200, "text/plain", SLICE("ok\n"));
	else if (strcmp(path, "/readyz") == 0)
		answer(request, ready ? 200 : 503, "text/plain", ready ? SLICE("ok\n") : SLICE("draining\n"));
	else if (strcmp(path, "/metrics") == 0)
		on_metrics(admin, request);
	else if (!may_look(admin, request))
		return;
	else if (strcmp(path, "/reload") == 0)
		on_reload(admin, request);
	else if (strcmp(path, "/status.json") == 0)
		on_status(admin, request, false);
	else if (strcmp(path, "/status") == 0 || strcmp(path, "/") == 0)
		on_status(admin, request, true);
	else
		refuse(request, 404, "There is nothing at this path.");
}

/* Whether the server has done with it: then it has taken its callbacks away. */
static bool
is_over(struct bufferevent *connection)
{
	bufferevent_event_cb on_event = NULL;

	bufferevent_getcb(connection, NULL, NULL, &on_event, NULL);
	return on_event == NULL;
}

/* evhttp does not say when a connection ends. So each is held by a reference of our own, and looked at now and then. */
static void
let_go(evutil_socket_t fd, short events, void *context)
{
	static const struct timeval again = { .tv_usec = LET_GO_US };
	struct admin *admin = context;

	(void)fd;
	(void)events;
	for (unsigned i = 0; i < admin->connection_count;) {
		if (!is_over(admin->connections[i])) {
			i++;
			continue;
		}
		bufferevent_decref(admin->connections[i]);
		admin->connections[i] = admin->connections[--admin->connection_count];
	}
	if (admin->connection_count < ADMIN_CONNECTIONS_MAX)
		(void)evconnlistener_enable(admin->listener);
	if (admin->connection_count > 0)
		event_add(admin->on_let_go, &again);
}

static struct bufferevent *
make_connection(struct event_base *base, void *context)
{
	static const struct timeval soon = { .tv_usec = LET_GO_US };
	struct admin *admin = context;
	struct bufferevent *connection = bufferevent_socket_new(base, -1, 0) /* the server closes the socket itself */;

	if (connection == NULL)
		fatal("admin: no memory for a connection");
	bufferevent_incref(connection);
	admin->connections[admin->connection_count++] = connection;
	if (admin->connection_count == ADMIN_CONNECTIONS_MAX)
		(void)evconnlistener_disable(admin->listener);
	if (!event_pending(admin->on_let_go, EV_TIMEOUT, NULL))
		event_add(admin->on_let_go, &soon);
	return connection;
}

static uint16_t
bound_port(struct evhttp_bound_socket *bound)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = { .v6 = { 0 } };
	socklen_t length = sizeof(address);

	if (getsockname(evhttp_bound_socket_get_fd(bound), &address.any, &length) != 0)
		return 0;
	return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

struct admin *
admin_new(struct event_base *base, struct proxy *proxy, admin_reload_fn *reload, void *context, char *fault,
    size_t fault_size)
{
	const struct config_admin *config = &proxy->fleet->config->admin;
	struct admin *admin = memory_take_zeroed(1, sizeof(*admin));
	struct evhttp_bound_socket *bound;

	admin->server = evhttp_new(base);
	if (admin->server == NULL)
		fatal("admin: no server");
	admin->proxy = proxy;
	admin->reload = reload;
	admin->context = context;
	admin->started_ms = clock_now_ms();
	admin->started_unix_ms = clock_unix_ms();
	admin->loopback = config_is_loopback(config->address);
	evhttp_set_allowed_methods(admin->server,
	    EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
		EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_max_body_size(admin->server, ADMIN_BODY_MAX_BYTES);
	evhttp_set_max_headers_size(admin->server, ADMIN_HEADERS_MAX_BYTES);
	evhttp_set_timeout(admin->server, ADMIN_TIMEOUT_S);
	evhttp_set_gencb(admin->server, on_request, admin);
	bound = evhttp_bind_socket_with_handle(admin->server, config->address, config->port);
	if (bound == NULL) {
		snprintf(fault, fault_size,
		    "cannot listen on %s port %u (admin.address, admin.port): the port is taken, or the "
		    "address is not this machine's",
		    config->address, config->port);
		admin_free(&admin);
		return NULL;
	}
	admin->port = bound_port(bound);
	admin->listener = evhttp_bound_socket_get_listener(bound);
	admin->on_let_go = evtimer_new(base, let_go, admin);
	if (admin->on_let_go == NULL)
		fatal("admin: no timer");
	evhttp_set_bevcb(admin->server, make_connection, admin);
	return admin;
}

uint16_t
admin_port(const struct admin *admin)
{
	return admin->port;
}

void
admin_free(struct admin **admin)
{
	struct admin *gone = *admin;

	*admin = NULL;
	if (gone == NULL)
		return;
	evhttp_free(gone->server);
	for (unsigned i = 0; i < gone->connection_count; i++)
		bufferevent_decref(gone->connections[i]);
	if (gone->on_let_go != NULL)
		event_free(gone->on_let_go);
	free(gone);
}
