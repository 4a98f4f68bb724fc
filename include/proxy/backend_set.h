/* proxy/backend_set.h: sets of a fleet's backends, a bit each. A zeroed set is empty.
 *
 *	uint64_t tried[SET_WORDS];
 */
#ifndef PROXY_BACKEND_SET_H
#define PROXY_BACKEND_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

#define SET_WORDS ((CONFIG_BACKENDS_MAX + 63) / 64)

static inline bool
set_has(const uint64_t *set, size_t backend)
{
	return set[backend / 64] >> (backend % 64) & 1;
}

static inline void
set_add(uint64_t *set, size_t backend)
{
	set[backend / 64] |= UINT64_C(1) << (backend % 64);
}

static inline void
set_remove(uint64_t *set, size_t backend)
{
	set[backend / 64] &= ~(UINT64_C(1) << (backend % 64));
}

static inline bool
set_is_empty(const uint64_t *set)
{
	for (size_t i = 0; i < SET_WORDS; i++)
		if (set[i] != 0)
			return false;
	return true;
}

#endif
