#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Says so without allocating: the log might have to. */
static NO_RETURN void
out_of_memory(void)
{
	static const char message[] = "aoai-lb: out of memory\n";
	ssize_t written = write(STDERR_FILENO, message, sizeof(message) - 1);

	(void)written;
	abort();
}

void *
memory_take(size_t bytes)
{
	void *memory = malloc(bytes > 0 ? bytes : 1);

	if (!memory)
		out_of_memory();
	return memory;
}

void *
memory_take_zeroed(size_t count, size_t size)
{
	/* calloc() itself refuses a product that overflows. */
	void *memory = count > 0 && size > 0 ? calloc(count, size) : calloc(1, 1);

	if (!memory)
		out_of_memory();
	return memory;
}

void *
memory_resize(void *memory, size_t bytes)
{
	void *resized = realloc(memory, bytes > 0 ? bytes : 1);

	if (!resized)
		out_of_memory();
	return resized;
}

char *
memory_copy_string(const char *string)
{
	if (!string)
		return NULL;
	size_t size = strlen(string) + 1;
	char *copy = memory_take(size);
	memcpy(copy, string, size);
	return copy;
}
