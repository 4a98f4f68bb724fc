#include "base/random.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

/* The generator is xoroshiro128++ (Blackman and Vigna, public domain); its state is filled by splitmix64, which never
 * gives the one invalid state, all zeros. */

static inline uint64_t
rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static uint64_t
splitmix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void
random_seed(struct random *random, uint64_t seed)
{
	random->state[0] = splitmix(&seed);
	random->state[1] = splitmix(&seed);
}

void
random_seed_from_system(struct random *random)
{
	uint64_t seed;
	ssize_t got;

	do {
		got = getrandom(&seed, sizeof(seed), 0);
	} while (got < 0 && errno == EINTR);
	/* Only a kernel without getrandom() comes here; spreading load needs no more than different numbers. */
	if (got != (ssize_t)sizeof(seed))
		seed = clock_now_us() ^ (uint64_t)clock_unix_ms() << 20 ^ (uint64_t)getpid() << 44;
	random_seed(random, seed);
}

uint64_t
random_next(struct random *random)
{
	uint64_t a = random->state[0], b = random->state[1];
	uint64_t result = rotate_left(a + b, 17) + a;

	b ^= a;
	random->state[0] = rotate_left(a, 49) ^ b ^ b << 21;
	random->state[1] = rotate_left(b, 28);
	return result;
}

uint64_t
random_below(struct random *random, uint64_t bound)
{
	/* Numbers below this would make the small results likelier than the others. */
	uint64_t unfair = -bound % bound;
	uint64_t number;

	do {
		number = random_next(random);
	} while (number < unfair);
	return number % bound;
}
