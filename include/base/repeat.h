/* base/repeat.h: lets the first few of many like records through, and counts the rest.
 *
 * A backend that fails a thousand times a second has one thing to say. For each key the first REPEAT_BURST records of a
 * period pass; the others are counted, and the first one of a later period tells how many they were. The table is small
 * and fixed: REPEAT_WAYS keys share a set, and one more displaces the one whose period began first, which costs a few
 * records too many. Pure: time is a parameter. Not safe for two threads at once: the log, which owns the one table, has a
 * lock.
 */
#ifndef BASE_REPEAT_H
#define BASE_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define REPEAT_ENTRIES 512U
#define REPEAT_WAYS 8U
#define REPEAT_PERIOD_MS 10000U
#define REPEAT_BURST 5U

struct repeat_entry {
	uint64_t key;
	uint64_t since_ms; /* when its period began */
	uint32_t passed;   /* in it; 0: the entry is free */
	uint64_t left_out;
};

struct repeat_table {
	struct repeat_entry entries[REPEAT_ENTRIES];
};

/* Whether a record of that key passes; *left_out: how many like it did not since the last one that did. */
bool repeat_passes(struct repeat_table *table, uint64_t key, uint64_t now_ms, uint64_t *left_out) MUST_CHECK;

#endif
