/* aoai-lb --health: the image has no shell and no curl, so the daemon asks itself. */
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/slice.h"
#include "daemon/daemon.h"

#define HEALTH_TIMEOUT_S 5

struct health_target {
	bool secure;
	char authority[300]; /* host:port */
	char path[300];
};

/* Splits "http://host[:port][/path]". */
static bool
parse_url(const char *url, struct health_target *target)
{
	struct slice rest = slice_from(url);
	ptrdiff_t slash;
	size_t length;
	bool has_port;

	target->secure = slice_starts_with(rest, SLICE("https://"));
	if (!target->secure && !slice_starts_with(rest, SLICE("http://")))
		return false;
	rest = slice_skip(rest, target->secure ? 8 : 7);
	slash = slice_find(rest, SLICE("/"));
	length = slash < 0 ? rest.length : (size_t)slash;
	if (length == 0 || length + 8 >= sizeof(target->authority))
		return false;
	has_port = memchr(rest.data, ':', length) != NULL && rest.data[length - 1] != ']';
	snprintf(target->authority, sizeof(target->authority), "%.*s%s", (int)length, rest.data,
	    has_port             ? ""
		: target->secure ? ":443"
				 : ":80");
	snprintf(target->path, sizeof(target->path), "%s", slash < 0 ? "/healthz" : rest.data + slash);
	return true;
}

/* The daemon that the configuration here describes, on this machine. */
static void
own_target(const struct options *options, struct health_target *target)
{
	struct config_faults faults = { 0 };
	struct config *config = options_load_config(options, &faults);
	const char *address = "127.0.0.1";
	unsigned port = 8080;

	target->secure = false;
	if (config != NULL) {
		bool any = strcmp(config->listen.address, "0.0.0.0") == 0 || strcmp(config->listen.address, "::") == 0;

		port = config->listen.port;
		target->secure = config->listen.certificate_file[0] != '\0';
		address = any ? address : config->listen.address;
		snprintf(target->authority, sizeof(target->authority),
		    strchr(address, ':') != NULL ? "[%s]:%u" : "%s:%u", address, port);
	} else {
		snprintf(target->authority, sizeof(target->authority), "%s:%u", address, port);
	}
	snprintf(target->path, sizeof(target->path), "/healthz");
	config_release(&config);
	config_faults_free(&faults);
}

/* A connection to it. Who it is does not matter here, so no certificate is verified. */
static BIO *
open_connection(const struct health_target *target, SSL_CTX *context)
{
	BIO *bio = target->secure ? BIO_new_ssl_connect(context) : BIO_new(BIO_s_connect());

	if (bio == NULL)
		return NULL;
	if (BIO_ctrl(bio, BIO_C_SET_CONNECT, 0, (void *)(uintptr_t)target->authority) == 1 && BIO_do_connect(bio) == 1)
		return bio;
	BIO_free_all(bio);
	return NULL;
}

static bool
ask(BIO *bio, const struct health_target *target)
{
	struct buffer request = { 0 };
	char answer[64];
	bool sent;
	int length;

	buffer_append_format(&request, "GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n", target->path,
	    target->authority);
	sent = BIO_write(bio, request.data, (int)request.length) == (int)request.length;
	buffer_free(&request);
	length = sent ? BIO_read(bio, answer, sizeof(answer)) : 0;
	return length > 0 && slice_starts_with(slice_of(answer, (size_t)length), SLICE("HTTP/1.1 200 "));
}

int
health_check(const struct options *options)
{
	struct health_target target = { 0 };
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	bool healthy = false;
	BIO *bio;

	if (options->health_url == NULL) {
		own_target(options, &target);
	} else if (!parse_url(options->health_url, &target)) {
		fprintf(stderr, "aoai-lb: %s is no http:// or https:// URL\n", options->health_url);
		SSL_CTX_free(context);
		return EXIT_BAD_CONFIG;
	}
	alarm(HEALTH_TIMEOUT_S); /* a daemon that hangs is no healthy one: the signal ends this process */
	bio = open_connection(&target, context);
	if (bio != NULL)
		healthy = ask(bio, &target);
	if (!healthy)
		fprintf(stderr, "aoai-lb: no healthy answer from http%s://%s%s\n", target.secure ? "s" : "",
		    target.authority, target.path);
	BIO_free_all(bio);
	SSL_CTX_free(context);
	return healthy ? EXIT_STOPPED : EXIT_BAD_CONFIG;
}
