#include "net/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/resolver.h"
#include "net/tls.h"

/* After a failed look-up, this long before the next. */
#define RETRY_LOOK_UP_MS 1000U

struct endpoint {
	/* Set when it is made, then read only. */
	char *host, *server_name, *ca_file;
	uint16_t port;
	bool secure, verify, literal;
	SSL_CTX *tls;
	uint64_t ca_digest; /* of ca_file's text as it was read */
	_Atomic uint32_t references;
	_Atomic int connections[ENDPOINT_USES];

	pthread_mutex_t mutex; /* guards all below */
	struct address addresses[ENDPOINT_ADDRESSES_MAX];
	size_t address_count;
	struct address failed[ENDPOINT_ADDRESSES_MAX]; /* those that last failed, the latest last */
	size_t failed_count;
	uint64_t looked_up_ms; /* 0: never */
	bool looking_up;
	char fault[120];
	SSL_SESSION *session;
};

static bool
parse_literal(const char *host, uint16_t port, struct address *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->socket_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->socket_address;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		out->length = sizeof(*v4);
		return true;
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		out->length = sizeof(*v6);
		return true;
	}
	return false;
}

/* OpenSSL hands over each new session (with TLS 1.3 after the handshake); a copy of the newest is kept. The connection
 * goes on writing to its own (tickets, whether it may be resumed), so that one must not be shared between threads. */
static int
keep_session(SSL *ssl, SSL_SESSION *session)
{
	/* The connection holds a reference to its endpoint for longer than it lives. */
	struct endpoint *endpoint = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	SSL_SESSION *copy = SSL_SESSION_dup(session), *old;

	if (copy == NULL)
		return 0;
	pthread_mutex_lock(&endpoint->mutex);
	old = endpoint->session;
	endpoint->session = copy;
	pthread_mutex_unlock(&endpoint->mutex);
	SSL_SESSION_free(old);
	return 0; /* OpenSSL keeps its own */
}

/* A digest of a file's text, by which a change is seen; 0 where there is no such file. */
static uint64_t
file_digest(const char *path)
{
	FILE *file = path[0] != '\0' ? fopen(path, "re") : NULL;
	char text[4096];
	uint64_t digest = 1;
	size_t length;

	if (file == NULL)
		return 0;
	while ((length = fread(text, 1, sizeof(text), file)) > 0)
		digest = hash_bytes(slice_of(text, length), digest);
	(void)fclose(file);
	return digest;
}

struct endpoint *
endpoint_new(const struct endpoint_settings *settings, char *fault, size_t fault_size)
{
	struct endpoint *endpoint = memory_take_zeroed(1, sizeof(*endpoint));
	const char *name = settings->server_name;

	endpoint->references = 1;
	endpoint->host = memory_copy_string(settings->host);
	endpoint->server_name = memory_copy_string(name != NULL && name[0] != '\0' ? name : settings->host);
	endpoint->ca_file = memory_copy_string(settings->ca_file != NULL ? settings->ca_file : "");
	endpoint->port = settings->port;
	endpoint->secure = settings->secure;
	endpoint->verify = settings->verify;
	pthread_mutex_init(&endpoint->mutex, NULL);
	endpoint->literal = parse_literal(endpoint->host, endpoint->port, &endpoint->addresses[0]);
	endpoint->address_count = endpoint->literal ? 1 : 0;
	if (endpoint->secure) {
		/* First the digest: should the file change in between, the next reload sees a change. */
		endpoint->ca_digest = file_digest(endpoint->ca_file);
		endpoint->tls = tls_client_context(endpoint->ca_file, endpoint->verify, fault, fault_size);
		if (endpoint->tls == NULL) {
			endpoint_release(&endpoint);
			return NULL;
		}
		SSL_CTX_set_session_cache_mode(endpoint->tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
		SSL_CTX_set_app_data(endpoint->tls, endpoint);
		SSL_CTX_sess_set_new_cb(endpoint->tls, keep_session);
	}
	return endpoint;
}

void
endpoint_count(struct endpoint *endpoint, enum endpoint_use use, int change)
{
	atomic_fetch_add_explicit(&endpoint->connections[use], change, memory_order_relaxed);
}

unsigned
endpoint_connections(const struct endpoint *endpoint, enum endpoint_use use)
{
	return (unsigned)atomic_load_explicit(&endpoint->connections[use], memory_order_relaxed);
}

struct endpoint *
endpoint_share(struct endpoint *endpoint)
{
	atomic_fetch_add_explicit(&endpoint->references, 1, memory_order_relaxed);
	return endpoint;
}

void
endpoint_release(struct endpoint **endpoint)
{
	struct endpoint *gone = *endpoint;

	*endpoint = NULL;
	if (gone == NULL || atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) > 1)
		return;
	SSL_SESSION_free(gone->session);
	SSL_CTX_free(gone->tls);
	pthread_mutex_destroy(&gone->mutex);
	free(gone->host);
	free(gone->server_name);
	free(gone->ca_file);
	free(gone);
}

bool
endpoint_matches(const struct endpoint *endpoint, const struct endpoint_settings *settings)
{
	const char *name = settings->server_name;

	name = name != NULL && name[0] != '\0' ? name : settings->host;
	return strcmp(endpoint->host, settings->host) == 0 && endpoint->port == settings->port &&
	    endpoint->secure == settings->secure && strcmp(endpoint->server_name, name) == 0 &&
	    strcmp(endpoint->ca_file, settings->ca_file != NULL ? settings->ca_file : "") == 0 &&
	    endpoint->verify == settings->verify &&
	    (!endpoint->secure || endpoint->ca_digest == file_digest(endpoint->ca_file));
}

const char *
endpoint_host(const struct endpoint *endpoint)
{
	return endpoint->host;
}

bool
endpoint_is_secure(const struct endpoint *endpoint)
{
	return endpoint->secure;
}

static bool
is_same_address(const struct address *a, const struct address *b)
{
	return a->length == b->length && memcmp(&a->socket_address, &b->socket_address, a->length) == 0;
}

/* Puts an address behind the others, if it is among them. The lock is held. */
static void
put_last(struct endpoint *endpoint, struct address address)
{
	for (size_t i = 0; i + 1 < endpoint->address_count; i++) {
		if (!is_same_address(&endpoint->addresses[i], &address))
			continue;
		memmove(&endpoint->addresses[i], &endpoint->addresses[i + 1],
		    (endpoint->address_count - i - 1) * sizeof(address));
		endpoint->addresses[endpoint->address_count - 1] = address;
		return;
	}
}

/* A look-up is to be started by the caller, with the lock no longer held. The lock is held. */
static bool
may_look_up(struct endpoint *endpoint, uint64_t now_ms, uint64_t patience_ms)
{
	if (endpoint->literal || endpoint->looking_up ||
	    (endpoint->looked_up_ms != 0 && now_ms < endpoint->looked_up_ms + patience_ms))
		return false;
	endpoint->looking_up = true;
	return true;
}

size_t
endpoint_addresses(struct endpoint *endpoint, uint64_t now_ms, struct address *out, size_t capacity, bool *pending)
{
	size_t count;
	bool start;

	pthread_mutex_lock(&endpoint->mutex);
	start = may_look_up(endpoint, now_ms, endpoint->address_count > 0 ? ENDPOINT_REFRESH_MS : RETRY_LOOK_UP_MS);
	count = endpoint->address_count < capacity ? endpoint->address_count : capacity;
	memcpy(out, endpoint->addresses, count * sizeof(*out));
	*pending = endpoint->looking_up;
	pthread_mutex_unlock(&endpoint->mutex);
	if (start)
		resolver_look_up(endpoint_share(endpoint), endpoint->host, endpoint->port);
	return count;
}

void
endpoint_resolved(struct endpoint *endpoint, const struct address *addresses, size_t count, const char *fault)
{
	size_t known;

	pthread_mutex_lock(&endpoint->mutex);
	endpoint->looking_up = false;
	endpoint->looked_up_ms = clock_now_ms();
	if (count > 0) {
		memcpy(endpoint->addresses, addresses, count * sizeof(*addresses));
		endpoint->address_count = count;
		/* The resolver knows nothing of who is there: those that failed stay behind. */
		for (size_t i = 0; i < endpoint->failed_count; i++)
			put_last(endpoint, endpoint->failed[i]);
	}
	snprintf(endpoint->fault, sizeof(endpoint->fault), "%s", fault);
	known = endpoint->address_count;
	pthread_mutex_unlock(&endpoint->mutex);
	if (fault[0] != '\0')
		log_record(LOG_WARNING, "name_lookup_failed", LOG_FIELDS(LOG_STRING("host", endpoint->host)),
		    "The name %s cannot be looked up: %s%s", endpoint->host, fault,
		    known > 0 ? " (its last known addresses stay in use)" : "");
}

void
endpoint_fault(struct endpoint *endpoint, char *out, size_t size)
{
	pthread_mutex_lock(&endpoint->mutex);
	snprintf(out, size, "%s", endpoint->fault);
	pthread_mutex_unlock(&endpoint->mutex);
}

/* Notes the address as the one that failed last. The lock is held. */
static void
note_failed(struct endpoint *endpoint, const struct address *address)
{
	size_t at = 0;

	while (at < endpoint->failed_count && !is_same_address(&endpoint->failed[at], address))
		at++;
	if (at == endpoint->failed_count && at < ENDPOINT_ADDRESSES_MAX)
		endpoint->failed_count++;
	else if (at == endpoint->failed_count)
		at = 0; /* full: the oldest is forgotten */
	memmove(&endpoint->failed[at], &endpoint->failed[at + 1],
	    (endpoint->failed_count - at - 1) * sizeof(endpoint->failed[0]));
	endpoint->failed[endpoint->failed_count - 1] = *address;
}

void
endpoint_address_failed(struct endpoint *endpoint, const struct address *address)
{
	pthread_mutex_lock(&endpoint->mutex);
	put_last(endpoint, *address);
	note_failed(endpoint, address);
	pthread_mutex_unlock(&endpoint->mutex);
}

void
endpoint_unreachable(struct endpoint *endpoint, uint64_t now_ms)
{
	bool start;

	pthread_mutex_lock(&endpoint->mutex);
	start = may_look_up(endpoint, now_ms, RETRY_LOOK_UP_MS);
	pthread_mutex_unlock(&endpoint->mutex);
	if (start)
		resolver_look_up(endpoint_share(endpoint), endpoint->host, endpoint->port);
}

SSL *
endpoint_tls_new(struct endpoint *endpoint)
{
	SSL *ssl = tls_client_new(endpoint->tls, endpoint->server_name, endpoint->verify);
	SSL_SESSION *session = NULL;

	/* A copy for each connection: see keep_session(). */
	pthread_mutex_lock(&endpoint->mutex);
	if (endpoint->session != NULL)
		session = SSL_SESSION_dup(endpoint->session);
	pthread_mutex_unlock(&endpoint->mutex);
	if (session != NULL)
		(void)SSL_set_session(ssl, session);
	SSL_SESSION_free(session);
	return ssl;
}
