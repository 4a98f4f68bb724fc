/* net/endpoint.h: where backends are reached: a name, a port, TLS, and the addresses behind the name.
 *
 * Backends with the same URL and TLS settings share an endpoint, and with it connections and TLS sessions. Names are
 * looked up by threads of their own (a slow resolver never blocks a loop), again every ENDPOINT_REFRESH_MS while the
 * endpoint is in use; a failed look-up keeps the last good addresses. Reference-counted; every function is safe from any
 * thread. The lock inside is a leaf: nothing else is locked while it is held.
 */
#ifndef NET_ENDPOINT_H
#define NET_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "base/compiler.h"

#define ENDPOINT_ADDRESSES_MAX 16
#define ENDPOINT_REFRESH_MS 30000U

struct endpoint;

struct endpoint_settings {
	const char *host; /* name or literal address, without brackets */
	uint16_t port;
	bool secure;
	const char *server_name; /* for SNI and verification; "" or NULL: host */
	const char *ca_file;     /* "" or NULL: the system's bundle */
	bool verify;
};

struct address {
	struct sockaddr_storage socket_address;
	socklen_t length;
};

/* With one reference. NULL with the reason in fault when the TLS settings cannot be used. */
struct endpoint *endpoint_new(const struct endpoint_settings *settings, char *fault, size_t fault_size) MUST_CHECK;
struct endpoint *endpoint_share(struct endpoint *endpoint) MUST_CHECK;
void endpoint_release(struct endpoint **endpoint);
/* Whether the endpoint was made from equal settings. */
bool endpoint_matches(const struct endpoint *endpoint, const struct endpoint_settings *settings);

const char *endpoint_host(const struct endpoint *endpoint);
bool endpoint_is_secure(const struct endpoint *endpoint);

/* Called from a resolver thread each time a look-up ends, well or badly. */
typedef void endpoint_resolved_fn(struct endpoint *endpoint, void *context);

/* Copies the known addresses, the one that answered last first; starts a look-up where they are missing or old.
 *
 * Returns how many there are; 0 with *pending true: a look-up is under way and on_resolved will be called; 0 with *pending
 * false: the last look-up failed (see endpoint_fault()) and it is too early for another. */
size_t endpoint_addresses(struct endpoint *endpoint, uint64_t now_ms, struct address *out, size_t capacity,
    bool *pending);
/* Why the last look-up failed, into out. */
void endpoint_fault(struct endpoint *endpoint, char *out, size_t size);
/* An address did not take a connection: it goes behind the others, and stays there when the name is looked up again. */
void endpoint_address_failed(struct endpoint *endpoint, const struct address *address);
/* No address took a connection: perhaps the name has moved, and is looked up again before its time. */
void endpoint_unreachable(struct endpoint *endpoint, uint64_t now_ms);

/* Connections of all workers, for the metrics: each is counted where it changes. */
enum endpoint_use { ENDPOINT_BUSY, ENDPOINT_IDLE, ENDPOINT_USES };
void endpoint_count(struct endpoint *endpoint, enum endpoint_use use, int change);
unsigned endpoint_connections(const struct endpoint *endpoint, enum endpoint_use use);

/* A new TLS connection's state: server name and verification set, the last session offered. */
SSL *endpoint_tls_new(struct endpoint *endpoint) MUST_CHECK;

/* The resolver's threads; started once before any endpoint is used, stopped when no worker runs. */
bool resolver_start(endpoint_resolved_fn *on_resolved, void *context) MUST_CHECK;
void resolver_stop(void);

#endif
