/* Replays files through a fuzz target without a fuzzer: every file that is named, and every file in the directories that
 * are named. A target that finds something wrong aborts. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define READ_BYTES 65536U

static bool
read_file(const char *path, struct buffer *bytes)
{
	FILE *file = fopen(path, "rb");
	size_t got;

	if (!file) {
		perror(path);
		return false;
	}
	do {
		buffer_reserve(bytes, READ_BYTES);
		got = fread(bytes->data + bytes->length, 1, READ_BYTES, file);
		bytes->length += got;
	} while (got > 0);
	(void)fclose(file);
	return true;
}

static bool
replay_file(const char *path)
{
	struct buffer bytes = { 0 };

	if (!read_file(path, &bytes))
		return false;
	/* Cut down to its exact size, so that the sanitizers see a read beyond the end. */
	uint8_t *data = memory_resize(bytes.data, bytes.length);
	(void)LLVMFuzzerTestOneInput(data, bytes.length);
	free(data);
	return true;
}

static bool
replay_directory(const char *path)
{
	DIR *directory = opendir(path);
	struct buffer name = { 0 };
	const struct dirent *entry;
	bool all = true;

	if (!directory) {
		perror(path);
		return false;
	}
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		buffer_clear(&name);
		buffer_append_format(&name, "%s/%s", path, entry->d_name);
		buffer_append_byte(&name, '\0');
		all = replay_file(name.data) && all;
	}
	(void)closedir(directory);
	buffer_free(&name);
	return all;
}

int
main(int argc, char **argv)
{
	bool all = true;

	for (int i = 1; i < argc; i++) {
		struct stat status;
		bool directory = stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode);
		all = (directory ? replay_directory(argv[i]) : replay_file(argv[i])) && all;
	}
	return all ? EXIT_SUCCESS : EXIT_FAILURE;
}
