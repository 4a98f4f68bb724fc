/* net/tls.h: OpenSSL contexts set up the one way that this project uses them.
 *
 * TLS 1.2 at least; partial writes from moving buffers; record buffers given back when idle; no renegotiation. Contexts
 * are made by the main thread and then shared. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/compiler.h"

/* ca_file: "" takes the system's bundle. NULL with the reason in fault. The caller frees with SSL_CTX_free(). */
SSL_CTX *tls_client_context(const char *ca_file, bool verify, char *fault, size_t fault_size) MUST_CHECK;
SSL_CTX *tls_server_context(const char *certificate_file, const char *private_key_file, char *fault,
    size_t fault_size) MUST_CHECK;

/* server_name: a DNS name (also sent as SNI) or a literal address that the certificate must carry. */
SSL *tls_client_new(SSL_CTX *context, const char *server_name, bool verify) MUST_CHECK;
SSL *tls_server_new(SSL_CTX *context) MUST_CHECK;

/* How many connections this process has made so with either, from any thread: of interest to who keeps house. */
uint64_t tls_connections_made(void) MUST_CHECK;

#endif
