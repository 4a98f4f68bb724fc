/* url.c: where a backend is.
 *
 * The URL is never shown in a fault: it may hold a password, or be a key that went astray.
 */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

#define EXAMPLE "https://NAME.openai.azure.com"

/* The URL, taken apart. */
struct parts {
	bool secure;
	bool bracketed;
	struct slice host; /* without brackets */
	struct slice port; /* digits; empty when absent */
	bool has_port;
	struct slice path; /* without its final slash; empty mostly */
};

static bool
take_scheme(struct slice *rest, struct parts *parts)
{
	if (slice_starts_with_nocase(*rest, SLICE("https://"))) {
		parts->secure = true;
		*rest = slice_skip(*rest, 8);
		return true;
	}
	if (slice_starts_with_nocase(*rest, SLICE("http://"))) {
		*rest = slice_skip(*rest, 7);
		return true;
	}
	return false;
}

/* Splits host and port. False for a bracket without its fellow. */
static bool
take_authority(struct slice authority, struct parts *parts)
{
	ptrdiff_t end;

	if (authority.length > 0 && authority.data[0] == '[') {
		end = slice_find(authority, SLICE("]"));
		if (end < 0)
			return false;
		parts->bracketed = true;
		parts->host = slice_of(authority.data + 1, (size_t)end - 1);
		authority = slice_skip(authority, (size_t)end + 1);
		if (authority.length == 0)
			return true;
		if (authority.data[0] != ':')
			return false;
		end = 0;
	} else {
		end = slice_find(authority, SLICE(":"));
		parts->host = slice_of(authority.data, end < 0 ? authority.length : (size_t)end);
	}
	if (end >= 0) {
		parts->has_port = true;
		parts->port = slice_skip(authority, (size_t)end + 1);
	}
	return true;
}

static bool
host_fits(const struct parts *parts)
{
	bool has_colon = slice_find(parts->host, SLICE(":")) >= 0;

	return shape_host_fits(parts->host) && has_colon == parts->bracketed;
}

/* What is wrong with the URL, or NULL. */
static const char *
take_apart(struct slice url, struct parts *parts, uint64_t *port)
{
	ptrdiff_t slash;

	if (!take_scheme(&url, parts))
		return "must begin with https:// or http://, such as " EXAMPLE;
	if (slice_find(url, SLICE("?")) >= 0)
		return "may not have a query; give " EXAMPLE ", and the version as api_version";
	if (slice_find(url, SLICE("#")) >= 0)
		return "may not have a fragment (#…)";
	slash = slice_find(url, SLICE("/"));
	if (slash >= 0)
		parts->path = slice_skip(url, (size_t)slash);
	if (slice_find(slash >= 0 ? slice_of(url.data, (size_t)slash) : url, SLICE("@")) >= 0)
		return "may not have a user name or password; give credentials as auth";
	if (!take_authority(slash >= 0 ? slice_of(url.data, (size_t)slash) : url, parts) || !host_fits(parts))
		return "has no valid host: expected a DNS name, an IPv4 address or an [IPv6 address], such as " EXAMPLE;
	*port = parts->secure ? 443 : 80;
	if (parts->has_port && (!slice_to_u64(parts->port, port) || *port < 1 || *port > 65535))
		return "has a port that is no number from 1 to 65535";
	if (parts->path.length > 0 && !shape_path_fits(parts->path))
		return "has a path with dot segments, repeated slashes, spaces or other characters that may not be in "
		       "one";
	if (parts->path.length > 0 && parts->path.data[parts->path.length - 1] == '/')
		parts->path.length--;
	return NULL;
}

static void
lower_case(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
	}
}

/* "host", "[host]", "host:port", … */
static char *
write_authority(const struct config_backend *backend, bool bracketed)
{
	struct buffer out = { 0 };
	char *authority;

	buffer_append_format(&out, bracketed ? "[%s]" : "%s", backend->host);
	if (backend->port != (backend->secure ? 443 : 80))
		buffer_append_format(&out, ":%u", (unsigned)backend->port);
	authority = slice_duplicate(buffer_slice(&out));
	buffer_free(&out);
	return authority;
}

void
load_url(struct load *load, struct config_backend *backend)
{
	struct parts parts = { 0 };
	size_t length = strlen(backend->url);
	uint64_t port = 0;
	const char *wrong = take_apart(slice_of(backend->url, length), &parts, &port);

	if (wrong != NULL) {
		load_fault(load, "url", "%s", wrong);
		return;
	}
	backend->secure = parts.secure;
	backend->host = slice_duplicate(parts.host);
	lower_case(backend->host);
	backend->port = (uint16_t)port;
	backend->authority = write_authority(backend, parts.bracketed);
	backend->prefix = slice_duplicate(parts.path);
	if (backend->url[length - 1] == '/')
		backend->url[length - 1] = '\0';
}
