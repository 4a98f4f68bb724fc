#include "base/slice.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"

static inline unsigned char
lower(char c)
{
	unsigned char byte = (unsigned char)c;
	return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte | 0x20) : byte;
}

static bool
same_nocase(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (lower(a[i]) != lower(b[i]))
			return false;
	}
	return true;
}

struct slice
slice_from(const char *string)
{
	return string ? slice_of(string, strlen(string)) : SLICE_EMPTY;
}

bool
slice_equals(struct slice a, struct slice b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

bool
slice_equals_nocase(struct slice a, struct slice b)
{
	return a.length == b.length && same_nocase(a.data, b.data, a.length);
}

bool
slice_starts_with(struct slice slice, struct slice prefix)
{
	return slice.length >= prefix.length &&
	    (prefix.length == 0 || memcmp(slice.data, prefix.data, prefix.length) == 0);
}

bool
slice_starts_with_nocase(struct slice slice, struct slice prefix)
{
	return slice.length >= prefix.length && same_nocase(slice.data, prefix.data, prefix.length);
}

struct slice
slice_trim(struct slice slice)
{
	while (slice.length > 0 && (slice.data[0] == ' ' || slice.data[0] == '\t')) {
		slice.data++;
		slice.length--;
	}
	while (slice.length > 0 && (slice.data[slice.length - 1] == ' ' || slice.data[slice.length - 1] == '\t'))
		slice.length--;
	return slice;
}

struct slice
slice_skip(struct slice slice, size_t count)
{
	if (UNLIKELY(count > slice.length))
		fatal("slice_skip: %zu bytes of %zu", count, slice.length);
	/* NULL + 0 is undefined in C, and an empty slice may have no data. */
	return count == 0 ? slice : slice_of(slice.data + count, slice.length - count);
}

ptrdiff_t
slice_find(struct slice slice, struct slice needle)
{
	if (needle.length == 0)
		return 0;
	if (needle.length > slice.length)
		return -1;
	const char *found = memmem(slice.data, slice.length, needle.data, needle.length);
	return found ? found - slice.data : -1;
}

ptrdiff_t
slice_find_nocase(struct slice slice, struct slice needle)
{
	if (needle.length == 0)
		return 0;
	for (size_t at = 0; at + needle.length <= slice.length; at++) {
		if (same_nocase(slice.data + at, needle.data, needle.length))
			return (ptrdiff_t)at;
	}
	return -1;
}

bool
slice_to_u64(struct slice digits, uint64_t *value)
{
	uint64_t total = 0;

	if (digits.length == 0)
		return false;
	for (size_t i = 0; i < digits.length; i++) {
		char c = digits.data[i];
		if (c < '0' || c > '9')
			return false;
		uint64_t digit = (uint64_t)(c - '0');
		/* Nineteen digits always fit. */
		if (i >= 19 && total > (UINT64_MAX - digit) / 10)
			return false;
		total = total * 10 + digit;
	}
	*value = total;
	return true;
}

char *
slice_duplicate(struct slice slice)
{
	char *copy = memory_take(slice.length + 1);

	if (slice.length > 0)
		memcpy(copy, slice.data, slice.length);
	copy[slice.length] = '\0';
	return copy;
}

size_t
slice_utf8_sequence(struct slice text)
{
	const unsigned char *bytes = (const unsigned char *)text.data;
	unsigned char lowest = 0x80, highest = 0xbf; /* of the second byte */
	size_t length;

	if (bytes[0] < 0x80)
		return 1;
	if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf) {
		length = 2;
	} else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef) {
		length = 3;
		if (bytes[0] == 0xe0)
			lowest = 0xa0; /* shorter forms exist */
		if (bytes[0] == 0xed)
			highest = 0x9f; /* surrogates */
	} else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4) {
		length = 4;
		if (bytes[0] == 0xf0)
			lowest = 0x90;
		if (bytes[0] == 0xf4)
			highest = 0x8f; /* beyond U+10FFFF */
	} else {
		return 0;
	}
	if (text.length < length || bytes[1] < lowest || bytes[1] > highest)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if (bytes[i] < 0x80 || bytes[i] > 0xbf)
			return 0;
	}
	return length;
}

bool
slice_is_utf8(struct slice slice)
{
	while (slice.length > 0) {
		size_t sequence = slice_utf8_sequence(slice);

		if (sequence == 0)
			return false;
		slice = slice_skip(slice, sequence);
	}
	return true;
}
