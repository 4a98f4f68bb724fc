/* net/listener.h: accepts connections and hands each to the least-loaded worker.
 *
 * With several workers the main thread's loop accepts; a single worker accepts by itself. Accepting pauses while the cap
 * of connections is reached and when descriptors run out (EMFILE), and goes on by itself. Belongs to the thread of its
 * event base. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "net/worker.h"

/* Most connections taken in one turn of the loop. */
#define LISTENER_BURST 64

struct listener;

struct listener_settings {
	const char *address;
	uint16_t port; /* 0: any free one */
	uint64_t max_connections;
	struct worker **workers;
	unsigned worker_count;
};

/* Binds and listens; accepts only after listener_start(). NULL with the reason in fault. */
struct listener *listener_new(const struct listener_settings *settings, char *fault, size_t fault_size) MUST_CHECK;
uint16_t listener_port(const struct listener *listener);
/* From any thread. */
void listener_set_cap(struct listener *listener, uint64_t max_connections);
/* From the thread of base, or before it runs. */
void listener_start(struct listener *listener, struct event_base *base);
/* Takes what is already waiting, then closes the socket. From the thread of its base. */
void listener_finish(struct listener *listener);
/* The loop of its base must have ended. */
void listener_free(struct listener **listener);

#endif
