#include "base/hash.h"

#include <string.h>

/* SipHash-1-3 (Aumasson and Bernstein): short, and without the key nobody can choose strings that collide. */

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void
sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v2 += sip->v3;
	sip->v1 = rotate_left(sip->v1, 13) ^ sip->v0;
	sip->v3 = rotate_left(sip->v3, 16) ^ sip->v2;
	sip->v0 = rotate_left(sip->v0, 32);
	sip->v2 += sip->v1;
	sip->v0 += sip->v3;
	sip->v1 = rotate_left(sip->v1, 17) ^ sip->v2;
	sip->v3 = rotate_left(sip->v3, 21) ^ sip->v0;
	sip->v2 = rotate_left(sip->v2, 32);
}

static inline void
sip_word(struct sip *sip, uint64_t word)
{
	sip->v3 ^= word;
	sip_round(sip);
	sip->v0 ^= word;
}

uint64_t
hash_bytes(struct slice bytes, uint64_t seed)
{
	uint64_t key[2] = { seed, seed * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(0xbf58476d1ce4e5b9) };
	struct sip sip = {
		.v0 = key[0] ^ UINT64_C(0x736f6d6570736575),
		.v1 = key[1] ^ UINT64_C(0x646f72616e646f6d),
		.v2 = key[0] ^ UINT64_C(0x6c7967656e657261),
		.v3 = key[1] ^ UINT64_C(0x7465646279746573),
	};
	size_t at = 0;
	uint64_t word;

	for (; bytes.length - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, bytes.data + at, sizeof(word));
		sip_word(&sip, word);
	}
	word = 0;
	if (at < bytes.length)
		memcpy(&word, bytes.data + at, bytes.length - at);
	sip_word(&sip, word | (uint64_t)bytes.length << 56);

	sip.v2 ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&sip);
	return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}
