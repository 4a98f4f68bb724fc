/* chars.h: which bytes may stand where (RFC 9110, 5.6.2 and 5.5; RFC 3986; RFC 2046). Private to http/. */
#ifndef HTTP_CHARS_H
#define HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum char_class {
	CHAR_TOKEN = 1,      /* method and field names */
	CHAR_VALUE = 2,      /* field values: visible, space, tab, beyond ASCII */
	CHAR_TARGET = 4,     /* request targets, as far as their bytes go: visible, beyond ASCII */
	CHAR_HOST = 4,       /* a host's name: RFC 3986's reg-name but for the comma, which makes lists */
	CHAR_UNRESERVED = 8, /* RFC 3986: needs no percent-encoding anywhere */
	CHAR_BOUNDARY = 16,  /* multipart boundaries, the space apart */
};

extern const uint8_t char_classes[256];

static inline bool
char_is(char c, enum char_class class)
{
	return char_classes[(unsigned char)c] & class;
}

/* The value of a hex digit, or -1. */
static inline int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* host[:port], the host not empty, without userinfo. */
bool authority_is_valid(struct slice authority);

#endif
