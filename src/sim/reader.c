#include "sim/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct sim_reader
sim_reader_begin(char *fault, size_t fault_size)
{
	return (struct sim_reader){ .fault = fault, .fault_size = fault_size, .failed = false };
}

void
sim_reader_fail(struct sim_reader *reader, const char *path, const char *format, ...)
{
	char text[256];
	va_list arguments;

	if (reader->failed)
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	(void)snprintf(reader->fault, reader->fault_size, "%s: %s", path, text);
	reader->failed = true;
}

static bool
is_among(const char *key, const char *const *keys)
{
	for (; *keys != NULL; keys++) {
		if (strcmp(*keys, key) == 0)
			return true;
	}
	return false;
}

void
sim_reader_keys(struct sim_reader *reader, const json_t *object, const char *path, const char *const *keys)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object)) {
		sim_reader_fail(reader, path, "expected an object");
		return;
	}
	/* jansson's iteration wants a pointer it could write through, and does not. */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (!is_among(key, keys))
			sim_reader_fail(reader, path, "unknown key \"%s\"", key);
	}
}

char *
sim_reader_text(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    const char *otherwise)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return memory_copy_string(otherwise);
	if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
		return memory_copy_string(json_string_value(value));
	sim_reader_fail(reader, path, "\"%s\" must be a string", key);
	return memory_copy_string(otherwise);
}

uint64_t
sim_reader_u64(struct sim_reader *reader, const json_t *object, const char *path, const char *key, uint64_t otherwise,
    uint64_t most)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return otherwise;
	if (json_is_integer(value) && json_integer_value(value) >= 0 && (uint64_t)json_integer_value(value) <= most)
		return (uint64_t)json_integer_value(value);
	sim_reader_fail(reader, path, "\"%s\" must be a whole number of at most %llu", key, (unsigned long long)most);
	return otherwise;
}

double
sim_reader_real(struct sim_reader *reader, const json_t *object, const char *path, const char *key, double otherwise,
    double most)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return otherwise;
	if (json_is_number(value) && json_number_value(value) >= 0 && json_number_value(value) <= most)
		return json_number_value(value);
	sim_reader_fail(reader, path, "\"%s\" must be a number from 0 to %g", key, most);
	return otherwise;
}

bool
sim_reader_bool(struct sim_reader *reader, const json_t *object, const char *path, const char *key, bool otherwise)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return otherwise;
	if (json_is_boolean(value))
		return json_is_true(value);
	sim_reader_fail(reader, path, "\"%s\" must be true or false", key);
	return otherwise;
}

int
sim_reader_choice(struct sim_reader *reader, const json_t *object, const char *path, const char *key,
    const char *const *choices, int otherwise)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return otherwise;
	for (int i = 0; json_is_string(value) && choices[i] != NULL; i++) {
		if (strcmp(choices[i], json_string_value(value)) == 0)
			return i;
	}
	sim_reader_fail(reader, path, "\"%s\" must be one of those that the documentation lists", key);
	return otherwise;
}
