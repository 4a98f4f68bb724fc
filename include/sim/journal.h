/* sim/journal.h: the last requests, as the simulator saw them, so that a test can ask what reached a backend.
 *
 * One thread.
 */
#ifndef SIM_JOURNAL_H
#define SIM_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

/* Of each body so many bytes are kept as text; its size and hash are of all of it. */
#define SIM_JOURNAL_BODY_BYTES 8192U

struct json_t;
struct sim_journal;

struct sim_journal_entry {
	const char *resource;
	const char *deployment; /* "": none */
	struct slice head;      /* the request's head as it came */
	struct slice body;
	unsigned status;     /* answered; 0: cut before its head */
	uint64_t connection; /* which connection of the simulator's it came on */
	int64_t unix_ms;
};

/* capacity 0 keeps nothing, at no cost. */
struct sim_journal *sim_journal_new(size_t capacity) MUST_CHECK;
void sim_journal_free(struct sim_journal **journal);
void sim_journal_add(struct sim_journal *journal, const struct sim_journal_entry *entry);
void sim_journal_clear(struct sim_journal *journal);
/* A new array, oldest first: resource, deployment, method, target, headers (pairs), body_bytes, body_sha256, body,
 * status, connection, unix_ms. The caller's. */
struct json_t *sim_journal_describe(const struct sim_journal *journal) MUST_CHECK;

#endif
