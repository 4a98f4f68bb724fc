/* base/random.h: random numbers for spreading load (not for secrets).
 *
 * A zeroed state is not valid: seed it first. One state a thread; the pure rooms take the number as a parameter.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

struct random {
	uint64_t state[2];
};

/* Seeds from a number, for repeatable runs. */
void random_seed(struct random *random, uint64_t seed);
/* Seeds from the kernel. */
void random_seed_from_system(struct random *random);
uint64_t random_next(struct random *random);
/* A number below bound, which is at least 1. */
uint64_t random_below(struct random *random, uint64_t bound);

#endif
