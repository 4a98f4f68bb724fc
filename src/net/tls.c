#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"

/* The one count of the process. */
static _Atomic uint64_t connections_made;

uint64_t
tls_connections_made(void)
{
	return atomic_load_explicit(&connections_made, memory_order_relaxed);
}

static SSL *
ssl_new(SSL_CTX *context)
{
	SSL *ssl = SSL_new(context);

	if (ssl == NULL)
		fatal("tls: OpenSSL gives no connection");
	atomic_fetch_add_explicit(&connections_made, 1, memory_order_relaxed);
	return ssl;
}

static void
explain(char *fault, size_t size, const char *what, const char *file)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(fault, size, "%s%s%s: %s", what, file[0] != '\0' ? " " : "", file,
	    reason != NULL ? reason : "unknown reason");
	ERR_clear_error();
}

/* Without this OpenSSL asks on the terminal for the passphrase of an encrypted key, and waits for it. */
static int
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's */
no_passphrase(char *out, int size, int writing, void *context)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

static SSL_CTX *
context_new(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		fatal("tls: OpenSSL gives no context");
	SSL_CTX_set_mode(context,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	/* One recv() takes record header and body together. */
	SSL_CTX_set_read_ahead(context, 1);
	return context;
}

SSL_CTX *
tls_client_context(const char *ca_file, bool verify, char *fault, size_t fault_size)
{
	SSL_CTX *context = context_new(TLS_client_method());
	int loaded;

	ERR_clear_error();
	SSL_CTX_set_verify(context, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (!verify)
		return context;
	loaded =
	    ca_file[0] != '\0' ? SSL_CTX_load_verify_file(context, ca_file) : SSL_CTX_set_default_verify_paths(context);
	if (loaded == 1)
		return context;
	explain(fault, fault_size, "the certificates of authorities cannot be loaded from", ca_file);
	SSL_CTX_free(context);
	return NULL;
}

SSL_CTX *
tls_server_context(const char *certificate_file, const char *private_key_file, char *fault, size_t fault_size)
{
	SSL_CTX *context = context_new(TLS_server_method());

	ERR_clear_error();
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"aoai-lb", 7);
	if (SSL_CTX_use_certificate_chain_file(context, certificate_file) != 1)
		explain(fault, fault_size, "the certificate cannot be loaded from", certificate_file);
	else if (SSL_CTX_use_PrivateKey_file(context, private_key_file, SSL_FILETYPE_PEM) != 1)
		explain(fault, fault_size, "the private key cannot be loaded from", private_key_file);
	else if (SSL_CTX_check_private_key(context) != 1)
		explain(fault, fault_size, "the private key does not belong to the certificate:", private_key_file);
	else
		return context;
	SSL_CTX_free(context);
	return NULL;
}

SSL *
tls_client_new(SSL_CTX *context, const char *server_name, bool verify)
{
	SSL *ssl = ssl_new(context);
	unsigned char literal[16];
	bool is_literal =
	    inet_pton(AF_INET, server_name, literal) == 1 || inet_pton(AF_INET6, server_name, literal) == 1;

	SSL_set_connect_state(ssl);
	/* What SSL_set_tlsext_host_name() does, without its cast that drops const. */
	if (!is_literal &&
	    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)server_name) != 1)
		fatal("tls: the server name cannot be set");
	if (!verify)
		return ssl;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (is_literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name) != 1
		       : SSL_set1_host(ssl, server_name) != 1)
		fatal("tls: the name to verify cannot be set");
	return ssl;
}

SSL *
tls_server_new(SSL_CTX *context)
{
	SSL *ssl = ssl_new(context);

	SSL_set_accept_state(ssl);
	return ssl;
}
