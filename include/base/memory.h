/* base/memory.h: heap memory that is there, or the end of the process.
 *
 * Every amount that a peer can influence is capped before it is asked for (see limits in config/config.h), so running
 * out of memory means that the machine is out of it: a daemon that stops at once and is started again serves better
 * than one that limps on half-built objects. Safe from any thread.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

#include "base/compiler.h"

/* bytes of memory, not cleared; the caller frees them with free(). */
void *memory_take(size_t bytes) MUST_CHECK __attribute__((malloc, alloc_size(1)));
/* count * size bytes, cleared; overflow aborts. The caller frees them with free(). */
void *memory_take_zeroed(size_t count, size_t size) MUST_CHECK __attribute__((malloc, alloc_size(1, 2)));
/* realloc() that cannot fail. */
void *memory_resize(void *memory, size_t bytes) MUST_CHECK __attribute__((alloc_size(2)));
/* strdup() that cannot fail; NULL stays NULL. */
char *memory_copy_string(const char *string) MUST_CHECK;

#endif
