/* base/trim.h: when to give freed memory back to the system.
 *
 * A TLS handshake takes some 25 KiB more than the connection that it makes, and glibc keeps what is freed in between
 * pieces that stay in use: after a burst of a thousand handshakes 12 MB would be held for nothing, and after a crowd has
 * left, what it had. malloc_trim(3) gives such pages back, but walks the whole heap under its lock: it is to be called
 * once the burst is over, and not all the time. Pure; the main thread's.
 *
 *	if (trim_is_due(&trim, tls_connections_made(), connections))      // once a second
 *	        (void)malloc_trim(0);
 */
#ifndef BASE_TRIM_H
#define BASE_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* What so few connections leave behind, or an eighth of those that are open, is not worth it. */
#define TRIM_CONNECTIONS 64U
/* A burst is over when so many ticks have brought little of what its busiest one brought. */
#define TRIM_QUIET_TICKS 2U
/* A burst that does not end is not waited for longer than this. */
#define TRIM_PATIENCE_TICKS 30U
/* At the least between one time and the next. */
#define TRIM_REST_TICKS 60U

/* Zeroed at first. */
struct trim {
	uint64_t made;   /* handshakes begun, by the last tick */
	uint64_t open;   /* connections, by the last tick */
	uint64_t burst;  /* connections made or gone since the last trim */
	uint64_t peak;   /* the most of these in one tick */
	unsigned quiet;  /* ticks since it went on */
	unsigned waited; /* ticks since it was large enough */
	unsigned rest;   /* ticks until it may be due again */
};

/* made: handshakes begun since the start. open: connections of callers now. True when the memory is to be trimmed. */
bool trim_is_due(struct trim *trim, uint64_t made, uint64_t open) MUST_CHECK;

#endif
