/* scan.h: finds the next byte that matters, sixteen and sixty-four at a time. Private to http/.
 *
 * Most bytes of a head, a body or an event are plain text between two delimiters; these loops are where the time of
 * parsing goes. The vectors are the compiler's own (gcc and clang), so every machine gets its best instructions.
 */
#ifndef HTTP_SCAN_H
#define HTTP_SCAN_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/compiler.h"

#define SCAN_BLOCK_BYTES 16

typedef uint8_t scan_block __attribute__((vector_size(SCAN_BLOCK_BYTES)));

static inline scan_block
scan_repeat(uint8_t c)
{
	return (scan_block){ c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c };
}

static inline scan_block
scan_load(const char *at)
{
	scan_block block;

	memcpy(&block, at, sizeof(block));
	return block;
}

/* A bit for each byte of hits that is set (0xff; the others are 0), the first byte's the lowest. */
static inline unsigned
scan_mask_anywhere(scan_block hits)
{
	static const uint64_t lowest = UINT64_C(0x0101010101010101), gather = UINT64_C(0x0102040810204080);
	uint64_t halves[2];

	/* The product's highest byte takes bit 8i as its bit i; all else lands below it or is lost. */
	memcpy(halves, &hits, sizeof(halves));
	return (unsigned)(((le64toh(halves[0]) & lowest) * gather) >> 56 |
	    ((le64toh(halves[1]) & lowest) * gather) >> 56 << 8);
}

static inline unsigned
scan_mask(scan_block hits)
{
#ifdef __SSE2__
	return (unsigned)_mm_movemask_epi8((__m128i)hits);
#else
	return scan_mask_anywhere(hits);
#endif
}

/* Whether a byte of hits is set, and which is the first. */
static inline bool
scan_hit(scan_block hits, unsigned *first)
{
	unsigned mask = scan_mask(hits);

	*first = (unsigned)__builtin_ctz(mask | 1U << SCAN_BLOCK_BYTES);
	return mask != 0;
}

/* A bit for each line feed of the next bytes, 64 at most, and how many these are. */
static inline uint64_t
scan_line_feeds(const char *at, const char *end, size_t *width)
{
	uint64_t mask = 0;
	unsigned blocks = end - at >= 4 * SCAN_BLOCK_BYTES ? 4 : (unsigned)(end - at) / SCAN_BLOCK_BYTES;

	*width = blocks * (size_t)SCAN_BLOCK_BYTES;
	if (LIKELY(blocks == 4)) {
		for (unsigned i = 0; i < 4; i++)
			mask |=
			    (uint64_t)scan_mask((scan_block)(scan_load(at + i * SCAN_BLOCK_BYTES) == scan_repeat('\n')))
			    << i * SCAN_BLOCK_BYTES;
		return mask;
	}
	for (unsigned i = 0; i < blocks; i++)
		mask |= (uint64_t)scan_mask((scan_block)(scan_load(at + i * SCAN_BLOCK_BYTES) == scan_repeat('\n')))
		    << i * SCAN_BLOCK_BYTES;
	for (; at + *width < end; ++*width)
		mask |= (uint64_t)(at[*width] == '\n') << *width;
	return mask;
}

/* Marks the quotes, backslashes and control bytes. With the second bit turned over, a quote (0x22) and the space (0x20)
 * change places, so that one comparison finds quote and control bytes. */
static inline scan_block
scan_mark_json(scan_block block)
{
	return (scan_block)((block ^ scan_repeat(2)) <= scan_repeat(0x20)) | (scan_block)(block == scan_repeat('\\'));
}

static inline bool
scan_stops_json(unsigned char c)
{
	return c == '"' || c == '\\' || c < 0x20;
}

static inline scan_block
scan_mark_control(scan_block block)
{
	return (scan_block)(block < scan_repeat(0x20)) | (scan_block)(block == scan_repeat(0x7f));
}

static inline bool
scan_stops_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static inline scan_block
scan_mark_blank(scan_block block)
{
	return (scan_block)(block <= scan_repeat(0x20)) | (scan_block)(block == scan_repeat(0x7f));
}

static inline bool
scan_stops_blank(unsigned char c)
{
	return c <= 0x20 || c == 0x7f;
}

/* Marks all but letters, digits and hyphens: what names are made of, rarer bytes apart. */
static inline scan_block
scan_mark_name(scan_block block)
{
	scan_block letter = (block | scan_repeat(0x20)) - scan_repeat('a'), digit = block - scan_repeat('0');

	return ~((scan_block)(letter < scan_repeat(26)) | (scan_block)(digit < scan_repeat(10)) |
	    (scan_block)(block == scan_repeat('-')));
}

static inline bool
scan_stops_name(unsigned char c)
{
	return !(((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '-');
}

static inline scan_block
scan_mark_line_end(scan_block block)
{
	return (scan_block)(block == scan_repeat('\r')) | (scan_block)(block == scan_repeat('\n'));
}

static inline bool
scan_stops_line_end(unsigned char c)
{
	return c == '\r' || c == '\n';
}

/* The first byte from at on that mark marks and stops stops at, which are the same, or end. The callers below give both
 * as constants, so that all of this is compiled into each of them. */
static inline __attribute__((always_inline)) const char *
scan(const char *at, const char *end, scan_block (*mark)(scan_block), bool (*stops)(unsigned char))
{
	unsigned first;

	/* Keys, numbers, words and most fields' names and values end within the first two blocks. */
	for (int i = 0; i < 2 && LIKELY(end - at >= SCAN_BLOCK_BYTES); i++, at += SCAN_BLOCK_BYTES) {
		if (scan_hit(mark(scan_load(at)), &first))
			return at + first;
	}
	for (; end - at >= 4 * SCAN_BLOCK_BYTES; at += 4 * SCAN_BLOCK_BYTES) {
		scan_block a = mark(scan_load(at)), b = mark(scan_load(at + SCAN_BLOCK_BYTES));
		scan_block c = mark(scan_load(at + 2 * SCAN_BLOCK_BYTES)),
			   d = mark(scan_load(at + 3 * SCAN_BLOCK_BYTES));
		if (scan_hit(a | b | c | d, &first)) {
			for (; !scan_hit(a, &first); at += SCAN_BLOCK_BYTES) {
				a = b;
				b = c;
				c = d;
			}
			return at + first;
		}
	}
	for (; end - at >= SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
		if (scan_hit(mark(scan_load(at)), &first))
			return at + first;
	}
	while (at < end && !stops((unsigned char)*at))
		at++;
	return at;
}

/* The first quote, backslash or control byte: what may end a run of plain bytes in a JSON string. */
static inline const char *
scan_json_string(const char *at, const char *end)
{
	return scan(at, end, scan_mark_json, scan_stops_json);
}

/* The first control byte (HTAB and DEL included): what may end a field value. */
static inline const char *
scan_control(const char *at, const char *end)
{
	return scan(at, end, scan_mark_control, scan_stops_control);
}

/* The first space or control byte: what may end a request target. */
static inline const char *
scan_blank(const char *at, const char *end)
{
	return scan(at, end, scan_mark_blank, scan_stops_blank);
}

/* The first byte that is no letter, digit or hyphen: what may end a field name. */
static inline const char *
scan_name(const char *at, const char *end)
{
	return scan(at, end, scan_mark_name, scan_stops_name);
}

/* The first quote with an e, a t or a u behind it, as before "error", "type" and "usage", or with a backslash, by which
 * they may be spelled in another way; else end. */
static inline const char *
scan_quoted_etu(const char *at, const char *end)
{
	unsigned first;

	for (; end - at > SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
		scan_block quote = (scan_block)(scan_load(at) == scan_repeat('"')), next = scan_load(at + 1);
		/* 't' and 'u' differ in one bit. */
		scan_block letter = (scan_block)((next | scan_repeat(1)) == scan_repeat('u')) |
		    (scan_block)(next == scan_repeat('e')) | (scan_block)(next == scan_repeat('\\'));

		if (scan_hit(quote & letter, &first))
			return at + first;
	}
	for (; end - at > 1; at++) {
		if (at[0] == '"' && ((at[1] | 1) == 'u' || at[1] == 'e' || at[1] == '\\'))
			return at;
	}
	return end;
}

/* The first CR or LF. */
static inline const char *
scan_line_end(const char *at, const char *end)
{
	return scan(at, end, scan_mark_line_end, scan_stops_line_end);
}

#endif
