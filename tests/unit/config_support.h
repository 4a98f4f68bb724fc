/* config_support.h: what the tests of config share: a fake environment, JSON in single quotes, the project's files. */
#ifndef UNIT_CONFIG_SUPPORT_H
#define UNIT_CONFIG_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "config/config.h"

/* Looks a name up in a NULL-terminated array of "NAME=value". */
static inline const char *
fake_getenv(const char *name, void *context)
{
	const char *const *environment = context;
	size_t length = strlen(name);

	for (; environment != NULL && *environment != NULL; environment++) {
		if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
			return *environment + length + 1;
	}
	return NULL;
}

/* JSON with single quotes for double ones. */
static inline struct config *
load_quoted(const char *json, const char *const *environment, struct config_faults *faults)
{
	char *text = strdup(json);
	struct config *config;

	assert_non_null(text);
	for (char *at = text; *at != '\0'; at++) {
		if (*at == '\'')
			*at = '"';
	}
	/* A copy of exactly that length, so that a sanitizer sees a read beyond it. */
	config = config_load_text(slice_of(text, strlen(text)), fake_getenv, (void *)(uintptr_t)environment, faults);
	free(text);
	return config;
}

static inline struct config *
load_good(const char *json, const char *const *environment)
{
	struct config_faults faults = { NULL, 0 };
	struct config *config = load_quoted(json, environment, &faults);

	config_faults_print(&faults, stderr);
	assert_non_null(config);
	assert_int_equal(faults.count, 0);
	config_faults_free(&faults);
	return config;
}

static inline void
read_project_file(const char *name, struct buffer *out)
{
	char path[4096];
	size_t got;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", AOAI_SOURCE_DIR, name);
	file = fopen(path, "rb");
	if (file == NULL)
		fail_msg("%s cannot be opened", path);
	do {
		buffer_reserve(out, 65536);
		got = fread(out->data + out->length, 1, 65536, file);
		out->length += got;
	} while (got > 0);
	(void)fclose(file);
}

/* A file in /tmp with that content; the caller unlinks and frees its name. */
static inline char *
write_temporary(const void *content, size_t length)
{
	char *path = strdup("/tmp/aoai-lb-config-XXXXXX");
	int descriptor;
	FILE *file;

	assert_non_null(path);
	descriptor = mkstemp(path);
	assert_true(descriptor >= 0);
	file = fdopen(descriptor, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
	return path;
}

#endif
