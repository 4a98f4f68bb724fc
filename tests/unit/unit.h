/* unit.h: what the table tests share.
 *
 * A row's first column says the behaviour; a failure prints it. Inputs are given to parsers in memory of their exact
 * size, so that the sanitizers see a read beyond the end.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/slice.h"

/* Fails the test with the row's behaviour and the condition. */
#define CHECK(behaviour, condition) \
	do { \
		if (!(condition)) \
			fail_msg("%s: not so: %s", (behaviour), #condition); \
	} while (0)

#define CHECK_NUMBER(behaviour, got, want) \
	do { \
		unsigned long long got_ = (unsigned long long)(got), want_ = (unsigned long long)(want); \
		if (got_ != want_) \
			fail_msg("%s: %s is %llu, not %llu", (behaviour), #got, got_, want_); \
	} while (0)

#define CHECK_TEXT(behaviour, got, want) \
	do { \
		struct slice got_ = (got), want_ = slice_from(want); \
		if (!slice_equals(got_, want_)) \
			fail_msg("%s: %s is \"%.*s\", not \"%.*s\"", (behaviour), #got, SLICE_PRINT(got_), \
			    SLICE_PRINT(want_)); \
	} while (0)

/* The same bytes on the heap, without a byte behind them; the caller frees data. */
static inline char *
exact_copy(const char *bytes, size_t length)
{
	char *copy = memory_take(length);

	if (length > 0)
		memcpy(copy, bytes, length);
	return copy;
}

#endif
