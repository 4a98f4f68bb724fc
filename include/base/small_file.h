/* base/small_file.h: reads what the kernel tells in small files, such as a control group's limits. Blocks for as long as
 * the file does; safe from any thread.
 *
 *	char text[64];
 *	struct slice quota = small_file_read("/sys/fs/cgroup/cpu.max", text, sizeof(text));
 */
#ifndef BASE_SMALL_FILE_H
#define BASE_SMALL_FILE_H

#include <stddef.h>

#include "base/slice.h"

/* The file's first size bytes, without a final line feed and the blanks at both ends; they stand in out. Empty where the
 * file cannot be read. */
struct slice small_file_read(const char *path, char *out, size_t size);

#endif
