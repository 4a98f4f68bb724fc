/* policy/missing.h: names that a backend has lately said it does not know.
 *
 * Names that strangers make up get no state of their own (see policy/state.h), but asking a backend again and again for
 * one that it answered with DeploymentNotFound helps nobody. A small table of hashes remembers them for a while; a newer
 * entry displaces an older one in its place, so it never grows. Shared by all workers without locks: an entry that two
 * of them write at once may be forgotten or last as long as the other's, which costs one request to a backend. Pure: time
 * is a parameter.
 */
#ifndef POLICY_MISSING_H
#define POLICY_MISSING_H

#include <stdatomic.h>
#include <stdint.h>

#define MISSING_ENTRIES 1024U

struct missing_table {
	struct {
		_Atomic uint64_t key;
		_Atomic uint64_t until_ms;
	} entries[MISSING_ENTRIES];
};

/* key: a hash of backend and name together. */
void missing_note(struct missing_table *table, uint64_t key, uint64_t until_ms);
/* Until when it is to be left alone; 0: nothing is known. */
uint64_t missing_until(const struct missing_table *table, uint64_t key);

#endif
