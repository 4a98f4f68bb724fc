/* shapes.c: what texts must look like. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/load.h"
#include "http/target.h"

#define NAME_MAX_BYTES 64U
#define HOST_MAX_BYTES 253U
#define LABEL_MAX_BYTES 63U

static bool
is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool
is_alphanumeric(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || is_digit(byte);
}

static bool
name_fits(struct slice value)
{
	if (value.length == 0 || value.length > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < value.length; i++) {
		char byte = value.data[i];

		if (!is_alphanumeric(byte) && byte != '.' && byte != '_' && byte != '-')
			return false;
	}
	return true;
}

/* Fit for a header: a line break in it would let it say more than its own field. */
static bool
key_fits(struct slice value)
{
	for (size_t i = 0; i < value.length; i++) {
		if (value.data[i] <= ' ' || value.data[i] >= 0x7f)
			return false;
	}
	return value.length > 0;
}

static bool
plain_fits(struct slice value)
{
	for (size_t i = 0; i < value.length; i++) {
		if (value.data[i] < ' ' || value.data[i] >= 0x7f)
			return false;
	}
	return value.length > 0;
}

static bool
https_fits(struct slice value)
{
	return key_fits(value) && slice_starts_with(value, SLICE("https://"));
}

static bool
file_fits(struct slice value)
{
	for (size_t i = 0; i < value.length; i++) {
		if ((unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f)
			return false;
	}
	return value.length > 0;
}

static bool
parses_as_address(int family, struct slice text)
{
	unsigned char address[sizeof(struct in6_addr)];
	char copy[INET6_ADDRSTRLEN];

	if (text.length >= sizeof(copy) || memchr(text.data, '\0', text.length) != NULL)
		return false;
	memcpy(copy, text.data, text.length);
	copy[text.length] = '\0';
	return inet_pton(family, copy, address) == 1;
}

static bool
address_fits(struct slice value)
{
	return value.length > 0 && (parses_as_address(AF_INET, value) || parses_as_address(AF_INET6, value));
}

static bool
label_fits(struct slice label)
{
	if (label.length == 0 || label.length > LABEL_MAX_BYTES || label.data[0] == '-' ||
	    label.data[label.length - 1] == '-')
		return false;
	for (size_t i = 0; i < label.length; i++) {
		if (!is_alphanumeric(label.data[i]) && label.data[i] != '-' && label.data[i] != '_')
			return false;
	}
	return true;
}

static bool
all_digits(struct slice text)
{
	for (size_t i = 0; i < text.length; i++) {
		if (!is_digit(text.data[i]))
			return false;
	}
	return true;
}

/* A name whose last label is a number would be an IPv4 address to some and a name to others: it must be one. */
static bool
dns_name_fits(struct slice host)
{
	ptrdiff_t dot;

	if (host.length == 0 || host.length > HOST_MAX_BYTES)
		return false;
	while ((dot = slice_find(host, SLICE("."))) >= 0) {
		if (!label_fits(slice_of(host.data, (size_t)dot)))
			return false;
		host = slice_skip(host, (size_t)dot + 1);
	}
	return label_fits(host) && !all_digits(host);
}

bool
shape_host_fits(struct slice host)
{
	return address_fits(host) || dns_name_fits(host);
}

bool
shape_path_fits(struct slice path)
{
	struct target target;
	const char *fault = NULL;
	char *storage;
	bool fits;

	if (path.length == 0 || path.data[0] != '/')
		return false;
	storage = memory_take(path.length + 1);
	fits = target_parse(path, storage, &target, &fault) == TARGET_OK && !target.has_query &&
	    slice_equals(target.path, path);
	free(storage);
	return fits;
}

const struct text_shape shape_name = {
	.expected = "1 to 64 letters, digits, '.', '_' or '-'",
	.pattern = "^[A-Za-z0-9._-]{1,64}$",
	.fits = name_fits,
};

const struct text_shape shape_api_version = {
	.expected = "an API version such as 2024-10-21",
	.pattern = "^[A-Za-z0-9._-]{1,64}$",
	.fits = name_fits,
};

const struct text_shape shape_key = {
	.expected = "printable ASCII without spaces and line breaks",
	.pattern = "^[!-~]+$",
	.fits = key_fits,
};

const struct text_shape shape_plain = {
	.expected = "printable ASCII",
	.pattern = "^[ -~]+$",
	.fits = plain_fits,
};

const struct text_shape shape_https = {
	.expected = "a URL that begins with https://",
	.pattern = "^https://[!-~]*$",
	.fits = https_fits,
};

const struct text_shape shape_file = {
	.expected = "the path of a file, without control characters",
	.pattern = "^[^\\u0000-\\u001f\\u007f]+$",
	.fits = file_fits,
};

const struct text_shape shape_address = {
	.expected = "an IPv4 or IPv6 address such as 0.0.0.0, 127.0.0.1 or ::",
	.pattern = "^[0-9A-Fa-f.:]+$",
	.fits = address_fits,
};

const struct text_shape shape_host = {
	.expected = "a host name or an address",
	.pattern = "^[A-Za-z0-9._:-]+$",
	.fits = shape_host_fits,
};

const struct text_shape shape_base_path = {
	.expected = "a path such as /api/v1, without dot segments, repeated slashes, query or special characters",
	.pattern = "^/[^?#\\s\\\\]*$",
	.fits = shape_path_fits,
};

/* Taken apart later, with a fault of its own for each thing that can be wrong. */
const struct text_shape shape_url_text = {
	.expected = "a URL such as https://NAME.openai.azure.com",
	.pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^@?#\\s\\\\]+$",
	.fits = plain_fits,
};
