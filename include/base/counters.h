/* base/counters.h: many counters by key, written by one thread and read by any.
 *
 * Each worker counts what it does in a set of its own, without locks and without sharing cache lines with another; who
 * wants to know adds the sets up. A key is any number but 0, as packed by the owner. Counters only grow. Pages are added
 * as they fill, up to COUNTERS_PAGES_MAX; what finds no room then is lost and counted as such.
 *
 *	counters_add(own, key, 1);                      // the owner, on its way
 *	counters_each(own, add_up, &sums);              // anybody, now and then
 *
 * Made and freed by whoever owns the thread, while it does not run.
 */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stdint.h>

#include "base/compiler.h"

#define COUNTERS_PAGE_SLOTS 4096U
#define COUNTERS_PAGES_MAX 16U

struct counters;

struct counters *counters_new(void) MUST_CHECK;
void counters_free(struct counters **counters);

/* The owner's thread only. */
void counters_add(struct counters *counters, uint64_t key, uint64_t amount);

typedef void counters_fn(uint64_t key, uint64_t value, void *context);
/* Any thread. Calls once for each counter, in no order. */
void counters_each(const struct counters *counters, counters_fn *each, void *context);
/* Amounts that found no room. */
uint64_t counters_lost(const struct counters *counters);

#endif
