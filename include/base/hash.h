/* base/hash.h: a fast hash of short strings, keyed per process so that strangers cannot choose collisions. Pure. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* seed: any number that strangers do not know. */
uint64_t hash_bytes(struct slice bytes, uint64_t seed);

#endif
