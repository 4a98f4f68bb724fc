/* bench/load.h: a load of so many connections, each of which asks again as soon as it has been answered.
 *
 * Every answer is compared with the one that it has to be; whatever else comes is an error, and the connection is made
 * anew. Runs in the caller's thread until it is over.
 *
 * With `interactive` a script can measure the proxy meanwhile: "ready" is printed once every connection has been answered
 * (a stream: begun) and warm_ms is over; the next line of standard input starts the measured time; the result is printed
 * when it ends, and the connections stay open until one more line, or the end of input.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "bench/canned.h"
#include "bench/figures.h"

#define LOAD_FAULT_SIZE 160
/* More errors than this end the load: whatever is measured is broken. */
#define LOAD_ERRORS_MAX 100U

struct load_settings {
	const char *address; /* IPv4, a literal */
	uint16_t port;
	bool tls; /* nothing is verified */
	bool interactive;
	unsigned connections;
	unsigned addresses; /* source addresses, 127.0.0.2 and on; 0: the kernel chooses */
	unsigned names;     /* 0: the call's own name; else d0, d1, … in turn, so many */
	struct canned_call call;
	uint64_t requests; /* the measured time ends after so many answers; 0: by run_ms alone */
	uint64_t run_ms;   /* 0: without end, but by requests or (interactive) the next line of input */
	uint64_t warm_ms;
};

struct load_result {
	uint64_t answers, events, errors, payload_bytes;
	double seconds;
	struct figures latency_us;   /* of whole answers; of streams: to the first event */
	char fault[LOAD_FAULT_SIZE]; /* the first error, in words */
};

/* Prints the result as one line of JSON. False when there were errors. */
bool load_run(const struct load_settings *settings, struct load_result *result) MUST_CHECK;

#endif
