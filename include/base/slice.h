/* base/slice.h: a run of bytes that somebody else owns.
 *
 * Everything that is parsed here is length-delimited: a slice is never assumed to end in NUL, and a parser never reads
 * beyond its length. A slice is two words and is passed by value. Pure; safe from any thread.
 *
 *	struct slice name = SLICE("retry-after");
 *	if (slice_equals_nocase(header->name, name) && slice_to_u64(header->value, &seconds)) ...
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct slice {
	const char *data; /* borrowed; may be NULL when length is 0 */
	size_t length;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })
/* The same in a static table, where a compound literal is no constant. */
#define SLICE_STATIC(literal) \
	{ \
		"" literal, sizeof(literal) - 1 \
	}
#define SLICE_EMPTY ((struct slice){ NULL, 0 })
/* For printf's "%.*s". */
#define SLICE_PRINT(slice) (int)(slice).length, (slice).data

static inline struct slice
slice_of(const char *data, size_t length)
{
	return (struct slice){ data, length };
}

/* A slice of a NUL-terminated string; NULL gives the empty slice. */
struct slice slice_from(const char *string);

bool slice_equals(struct slice a, struct slice b);
/* Compares ASCII letters without regard to case. */
bool slice_equals_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice slice, struct slice prefix);
bool slice_starts_with_nocase(struct slice slice, struct slice prefix);

/* Without the spaces and tabs at both ends (RFC 9110's OWS). */
struct slice slice_trim(struct slice slice);

/* Without the first count bytes; count may not exceed the length. */
struct slice slice_skip(struct slice slice, size_t count);

/* Position of needle in slice, or -1. An empty needle is at 0. */
ptrdiff_t slice_find(struct slice slice, struct slice needle);
/* The same without regard to the case of ASCII letters. */
ptrdiff_t slice_find_nocase(struct slice slice, struct slice needle);

/* Reads a number that consists of one or more ASCII digits and nothing else.
 * Returns false, leaving *value alone, for anything else and on overflow. */
bool slice_to_u64(struct slice digits, uint64_t *value) MUST_CHECK;

/* Length of the well-formed UTF-8 sequence at the start of a slice that is not empty (RFC 3629); 0: there is none. */
size_t slice_utf8_sequence(struct slice text);
bool slice_is_utf8(struct slice slice);

/* A NUL-terminated copy on the heap, which the caller frees. Aborts when memory is out. */
char *slice_duplicate(struct slice slice) MUST_CHECK;

#endif
