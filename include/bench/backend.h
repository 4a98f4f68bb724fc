/* bench/backend.h: a backend that does as little as possible: canned answers, paced streams, refusals.
 *
 * Runs on a worker of net/ in a thread of its own, from backend_start() to backend_stop().
 */
#ifndef BENCH_BACKEND_H
#define BENCH_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct backend_settings {
	const char *address;
	uint16_t port;                /* 0: any free one */
	const char *certificate_file; /* NULL: plain */
	const char *private_key_file;
	unsigned refuse_status; /* for everything: 429 or 503; 0: nothing is refused */
	unsigned wait_ms;       /* that a refusal asks for */
	unsigned lie_every;     /* one answer of so many has a wrong byte; 0: none. For tests of the load tool */
};

struct backend_counts {
	uint64_t connections, requests, refusals, events;
};

struct backend;

/* NULL with the reason in fault. */
struct backend *backend_start(const struct backend_settings *settings, char *fault, size_t fault_size) MUST_CHECK;
uint16_t backend_port(const struct backend *backend);
/* Ends its thread, frees it, and nulls the caller's pointer. */
void backend_stop(struct backend **backend, struct backend_counts *counts);

#endif
