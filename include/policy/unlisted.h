/* policy/unlisted.h: rests of deployments that have no number.
 *
 * A name gets a state of its own (policy/state.h) once an answer has shown that it is one; strangers can make up any number
 * of others. But asking a backend again and again for a name that it does not know, or has just failed on, helps nobody. A
 * small table of hashes remembers such rests for a while; a newer one displaces the one of a few that is over first, so it
 * never grows. No probe goes first when one is over. Shared by all workers without locks: an entry that two of them write at
 * once may be forgotten or last as long as the other's, which costs one request to a backend. Pure: time is a parameter.
 */
#ifndef POLICY_UNLISTED_H
#define POLICY_UNLISTED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/state.h"

/* Each hash has so many places to choose from: one name's rests on a few backends do not displace each other. */
#define UNLISTED_PLACES 4U
#define UNLISTED_ROWS 256U

struct unlisted_entry {
	_Atomic uint64_t key;
	_Atomic uint64_t word; /* end of the rest in ms << 8 | reason */
};

struct unlisted_table {
	struct unlisted_entry rows[UNLISTED_ROWS][UNLISTED_PLACES];
};

struct unlisted_rest {
	uint64_t until_ms;
	enum rest_reason reason;
};

/* key: a hash of backend and name together. */
void unlisted_begin(struct unlisted_table *table, uint64_t key, uint64_t until_ms, enum rest_reason reason);
/* Whether it rests at now_ms, until when and why. */
bool unlisted_rests(const struct unlisted_table *table, uint64_t key, uint64_t now_ms,
    struct unlisted_rest *out) MUST_CHECK;

#endif
