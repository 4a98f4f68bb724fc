/* sim/server.h: the simulator's connections, and all that lives on its loop.
 *
 * A listener belongs to a resource, or is the control port. A connection reads one request at a time, has it answered,
 * and plays the answer's bytes as they fall due; a client that closes before the end of an answer has gone, and is
 * counted as having aborted. Everything happens on the thread that runs the event base.
 */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/random.h"
#include "http/head.h"
#include "net/timer.h"
#include "sim/answer.h"
#include "sim/config.h"
#include "sim/fault.h"
#include "sim/journal.h"
#include "sim/resource.h"

/* Bytes taken from a socket at once, and most bytes of later requests that wait behind an answer. */
#define SIM_READ_BYTES 65536U
#define SIM_HEAD_MAX_BYTES 65536U
#define SIM_BODY_MAX_BYTES (64U * 1024U * 1024U)

struct event;
struct event_base;
struct sim_connection;

struct sim_listener {
	struct sim_server *server;
	struct sim_resource *resource; /* NULL: the control port */
	int fd;
	uint16_t port;
	struct event *event;
	struct timer pause; /* out of descriptors: accepting rests */
	SSL_CTX *tls;       /* NULL: plain */
};

struct sim_server {
	const struct sim_config *config;
	struct event_base *base;
	struct timer_wheel *wheel;
	struct event *reaper;           /* frees the connections on `dead` */
	struct sim_listener *listeners; /* one a resource, and then the control port's, if there is one */
	size_t listener_count;
	struct sim_resource **resources;
	struct sim_faults faults;
	struct sim_journal *journal;
	struct random random;
	struct sim_connection *connections;
	struct sim_connection *dead;
	uint64_t connections_accepted;

	/* For the request at hand. */
	struct request_head head;
	struct sim_answer answer;
	struct buffer path; /* the target's path, normalised */
	char date[32];
	int64_t date_second;
	char received[SIM_READ_BYTES];
};

/* Binds every port. NULL with the reason in fault. */
struct sim_server *sim_server_new(const struct sim_config *config, char *fault, size_t fault_size) MUST_CHECK;
/* Closes all connections and listeners. Nulls the caller's pointer; NULL in it is harmless. */
void sim_server_free(struct sim_server **server);
/* Runs until the base is told to stop. */
void sim_server_run(struct sim_server *server);

/* The connections (connection.c): takes fd over, and closes them all. */
void sim_connection_open(struct sim_listener *listener, int fd);
void sim_connections_close(struct sim_server *server);
void sim_connections_reap(struct sim_server *server);

/* The control port's answers (control.c). */
void sim_control_answer(struct sim_server *server, const struct request_head *head, struct slice path,
    struct slice body, struct sim_answer *answer);

/* An IMF-fixdate (RFC 9110, 5.6.7) into out. */
void sim_http_date(int64_t unix_seconds, char out[32]);

#endif
