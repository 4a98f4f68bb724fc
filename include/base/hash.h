/* base/hash.h: a fast hash of short strings, keyed per process so that strangers cannot choose collisions. Pure. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* seed: any number that strangers do not know. */
uint64_t hash_bytes(struct slice bytes, uint64_t seed);

/* One number of two, as evenly spread as a hash of both. */
static inline uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	uint64_t x = a ^ b * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

#endif
