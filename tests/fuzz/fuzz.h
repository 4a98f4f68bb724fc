/* fuzz.h: what the fuzz targets share. A broken promise aborts, so that the fuzzer keeps the input. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(condition) \
	do { \
		if (!(condition)) { \
			(void)fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* Whether inner is empty or lies within outer. */
static inline bool
lies_in(struct slice inner, struct slice outer)
{
	return inner.length == 0 ||
	    ((uintptr_t)inner.data >= (uintptr_t)outer.data &&
		(uintptr_t)inner.data + inner.length <= (uintptr_t)outer.data + outer.length);
}

static inline struct slice
input_slice(const uint8_t *data, size_t size)
{
	return slice_of((const char *)data, size);
}

/* Bytes on the heap of their exact size; the caller frees them. */
static inline char *
exact_copy(struct slice bytes)
{
	char *copy = memory_take(bytes.length);

	if (bytes.length > 0)
		memcpy(copy, bytes.data, bytes.length);
	return copy;
}

/* Sizes of pieces that the input itself chooses, so that the fuzzer can steer where it is cut. */
static inline size_t
next_piece(struct slice input, size_t at)
{
	size_t left = input.length - at;
	size_t piece = (size_t)((unsigned char)input.data[at] % 7 + 1);

	return piece < left ? piece : left;
}

#endif
