/* sim/reader.h: takes members out of parsed JSON and remembers the first thing that is wrong with them.
 *
 *	struct sim_reader reader = sim_reader_begin(fault, sizeof(fault));
 *	static const char *const keys[] = { "name", "port", NULL };
 *	sim_reader_keys(&reader, object, "resources[0]", keys);
 *	port = sim_reader_u64(&reader, object, "resources[0]", "port", 0, 65535);
 *	if (reader.failed) ...
 */
#ifndef SIM_READER_H
#define SIM_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/compiler.h"

struct sim_reader {
	char *fault;
	size_t fault_size;
	bool failed;
};

/* The first fault found will be written to fault. */
struct sim_reader sim_reader_begin(char *fault, size_t fault_size);
/* Remembers "path: text" unless there was a fault before. */
void sim_reader_fail(struct sim_reader *reader, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);
/* object must be an object with no other members than keys (NULL at their end). */
void sim_reader_keys(struct sim_reader *reader, const json_t *object, const char *path, const char *const *keys);
/* Members that may be absent; a copy, which the caller frees. */
char *sim_reader_text(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    const char *otherwise) MUST_CHECK;
uint64_t sim_reader_u64(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    uint64_t otherwise, uint64_t most);
/* A number from 0 to most. */
double sim_reader_real(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    double otherwise, double most);
bool sim_reader_bool(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    bool otherwise);
/* The index in choices (NULL at their end) of a text; otherwise when it is absent. */
int sim_reader_choice(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    const char *const *choices, int otherwise);

#endif
