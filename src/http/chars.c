#include "chars.h"

/* Every byte belongs to one of these; the letters keep the table below readable. */
enum {
	S = CHAR_VALUE,                    /* space, tab, bytes beyond ASCII, and " < > @ [ \ ] { } */
	P = S | CHAR_BOUNDARY,             /* , / : ? */
	D = S | CHAR_HOST,                 /* ; */
	B = S | CHAR_HOST | CHAR_BOUNDARY, /* ( ) = */
	T = S | CHAR_TOKEN,                /* # ^ ` | */
	H = T | CHAR_HOST,                 /* ! $ % & * */
	M = H | CHAR_BOUNDARY,             /* ' + */
	N = H | CHAR_UNRESERVED,           /* ~ */
	U = N | CHAR_BOUNDARY,             /* letters, digits, - . _ */
};

const uint8_t char_classes[256] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, S, 0, 0, 0, 0, 0, 0, /* 00 */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
	S, H, S, T, H, H, H, M, B, B, H, M, P, U, U, P, /* 20 */
	U, U, U, U, U, U, U, U, U, U, P, D, S, B, S, P, /* 30 */
	S, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, /* 40 */
	U, U, U, U, U, U, U, U, U, U, U, S, S, S, T, U, /* 50 */
	T, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, /* 60 */
	U, U, U, U, U, U, U, U, U, U, U, S, T, S, N, 0, /* 70 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* 80 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* 90 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* a0 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* b0 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* c0 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* d0 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* e0 */
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, /* f0 */
};

/* The port, or nothing. */
static bool
port_is_valid(struct slice port)
{
	for (size_t i = 0; i < port.length; i++) {
		if (port.data[i] < '0' || port.data[i] > '9')
			return false;
	}
	return port.length <= 5;
}

/* "[2001:db8::1]" or "[v1.x]", with what follows it. */
static bool
bracketed_is_valid(struct slice authority)
{
	size_t at = 1;

	while (at < authority.length && (char_is(authority.data[at], CHAR_HOST) || authority.data[at] == ':'))
		at++;
	if (at == 1 || at == authority.length || authority.data[at] != ']')
		return false;
	struct slice rest = slice_skip(authority, at + 1);
	return rest.length == 0 || (rest.data[0] == ':' && port_is_valid(slice_skip(rest, 1)));
}

bool
authority_is_valid(struct slice authority)
{
	size_t at = 0;

	if (authority.length > 0 && authority.data[0] == '[')
		return bracketed_is_valid(authority);
	while (at < authority.length && char_is(authority.data[at], CHAR_HOST))
		at++;
	if (at == 0)
		return false;
	return at == authority.length || (authority.data[at] == ':' && port_is_valid(slice_skip(authority, at + 1)));
}
