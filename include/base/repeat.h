/* base/repeat.h: lets the first few of many like records through, and counts the rest.
 *
 * A backend that fails a thousand times a second has one thing to say. For each key the first REPEAT_BURST records of a
 * period pass; the others are counted, and the first one of a later period tells how many they were. The table is small
 * and fixed: a newer key displaces an older one in its place, which costs a record too many at worst. Pure: time is a
 * parameter. Not safe for two threads at once: the log, which owns the one table, has a lock.
 */
#ifndef BASE_REPEAT_H
#define BASE_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define REPEAT_ENTRIES 256U
#define REPEAT_PERIOD_MS 10000U
#define REPEAT_BURST 5U

struct repeat_table {
	struct {
		uint64_t key;
		uint64_t since_ms;
		uint32_t passed;
		uint64_t left_out;
	} entries[REPEAT_ENTRIES];
};

/* Whether a record of that key passes; *left_out: how many like it did not since the last one that did. */
bool repeat_passes(struct repeat_table *table, uint64_t key, uint64_t now_ms, uint64_t *left_out) MUST_CHECK;

#endif
