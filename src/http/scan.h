/* scan.h: finds the next byte that matters, sixteen at a time. Private to http/.
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

/* Position of the first byte that is not 0, or SCAN_BLOCK_BYTES. */
static inline unsigned
scan_first(scan_block hits)
{
	uint64_t halves[2];

	memcpy(halves, &hits, sizeof(halves));
	if (halves[0] != 0)
		return (unsigned)__builtin_ctzll(le64toh(halves[0])) / 8;
	if (halves[1] != 0)
		return 8 + (unsigned)__builtin_ctzll(le64toh(halves[1])) / 8;
	return SCAN_BLOCK_BYTES;
}

/* The first quote, backslash or control byte, or end: what may end a run of plain bytes in a JSON string. */
static inline const char *
scan_json_string(const char *at, const char *end)
{
	for (; end - at >= SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
		scan_block block = scan_load(at);
		scan_block hits = (scan_block)(block == scan_repeat('"')) | (scan_block)(block == scan_repeat('\\')) |
				  (scan_block)(block < scan_repeat(0x20));
		unsigned first = scan_first(hits);
		if (first < SCAN_BLOCK_BYTES)
			return at + first;
	}
	while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
		at++;
	return at;
}

/* The first control byte (HTAB and DEL included), or end: what may end a field value. */
static inline const char *
scan_control(const char *at, const char *end)
{
	for (; end - at >= SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
		scan_block block = scan_load(at);
		scan_block hits = (scan_block)(block < scan_repeat(0x20)) | (scan_block)(block == scan_repeat(0x7f));
		unsigned first = scan_first(hits);
		if (first < SCAN_BLOCK_BYTES)
			return at + first;
	}
	while (at < end && (unsigned char)*at >= 0x20 && *at != 0x7f)
		at++;
	return at;
}

/* The first CR or LF, or end. */
static inline const char *
scan_line_end(const char *at, const char *end)
{
	for (; end - at >= SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
		scan_block block = scan_load(at);
		scan_block hits = (scan_block)(block == scan_repeat('\r')) | (scan_block)(block == scan_repeat('\n'));
		unsigned first = scan_first(hits);
		if (first < SCAN_BLOCK_BYTES)
			return at + first;
	}
	while (at < end && *at != '\r' && *at != '\n')
		at++;
	return at;
}

#endif
