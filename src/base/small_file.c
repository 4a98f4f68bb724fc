#include "base/small_file.h"

#include <stdio.h>

struct slice
small_file_read(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t length;

	if (file == NULL)
		return SLICE_EMPTY;
	length = fread(out, 1, size, file);
	(void)fclose(file);
	return slice_trim(slice_of(out, length > 0 && out[length - 1] == '\n' ? length - 1 : length));
}
