/* file.c: files that a configuration is read from or refers to. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"

#define READ_BYTES 4096U

/* A file descriptor, or -1 with *why. Secrets and certificates must be regular files: a pipe would hang the daemon. */
static int
open_file(const char *path, bool regular_only, size_t *size, const char **why)
{
	struct stat status = { 0 };
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | (regular_only ? O_NONBLOCK : 0));

	if (descriptor < 0) {
		*why = strerror(errno);
		return -1;
	}
	if (fstat(descriptor, &status) != 0) {
		*why = strerror(errno);
	} else if (S_ISDIR(status.st_mode)) {
		*why = "it is a directory";
	} else if (regular_only && !S_ISREG(status.st_mode)) {
		*why = "it is no regular file";
	} else {
		*size = status.st_size > 0 ? (size_t)status.st_size : 0;
		return descriptor;
	}
	(void)close(descriptor);
	return -1;
}

bool
load_read_file(const char *path, size_t cap, bool regular_only, struct buffer *out, const char **why)
{
	size_t size = 0;
	int descriptor = open_file(path, regular_only, &size, why);
	bool ok = false;

	if (descriptor < 0)
		return false;
	/* All at once, so that no copy of a secret is left behind where the buffer grew. */
	buffer_reserve_exactly(out, out->length + (size < cap ? size : cap) + READ_BYTES);
	for (;;) {
		ssize_t got;

		buffer_reserve(out, READ_BYTES);
		got = read(descriptor, out->data + out->length, READ_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			*why = strerror(errno);
			break;
		}
		if (got == 0) {
			ok = true;
			break;
		}
		out->length += (size_t)got;
		if (out->length > cap) {
			*why = "it is too long";
			break;
		}
	}
	(void)close(descriptor);
	return ok;
}

bool
load_can_read(const char *path, const char **why)
{
	size_t size;
	int descriptor = open_file(path, true, &size, why);

	if (descriptor < 0)
		return false;
	(void)close(descriptor);
	return true;
}
