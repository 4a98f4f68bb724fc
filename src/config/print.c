/* print.c: the effective configuration, along the table, in its order. */
#include <string.h>

#include "base/log.h"
#include "config/load.h"

#define REDACTED "***"

static void
set(json_t *object, const char *key, size_t key_length, json_t *value)
{
	if (json_object_setn_new(object, key, key_length, value) != 0)
		fatal("a JSON tree cannot be built: out of memory, or a text that is no UTF-8");
}

/* A text as a configuration file would have to write it. */
static json_t *
write_text(const char *text)
{
	struct buffer escaped = { 0 };
	json_t *json;

	load_escape(&escaped, slice_from(text));
	json = json_stringn(escaped.length > 0 ? escaped.data : "", escaped.length);
	buffer_free(&escaped);
	return json;
}

static json_t *
write_names(char *const *names)
{
	json_t *array = json_array();

	for (; *names != NULL; names++) {
		if (json_array_append_new(array, write_text(*names)) != 0)
			fatal("a JSON tree cannot be built: out of memory, or a text that is no UTF-8");
	}
	return array;
}

static void
set_mapping(json_t *map, const char *name, const char *backend_name)
{
	struct buffer key = { 0 };

	load_escape(&key, slice_from(name));
	set(map, key.data, key.length, write_text(backend_name));
	buffer_free(&key);
}

static json_t *
write_map(const struct config_backend *backend)
{
	json_t *map = json_object();

	for (size_t i = 0; i < backend->deployment_count; i++)
		set_mapping(map, backend->deployments[i].name, backend->deployments[i].backend_name);
	if (backend->wildcard != NULL)
		set_mapping(map, "*", backend->wildcard);
	return map;
}

static json_t *write_table(const struct field_table *table, const void *target);

static json_t *
write_list(const struct field *field, const void *target)
{
	json_t *array = json_array();
	const char *elements = *(char *const *)field_member_const(field, target);
	size_t count = *(const size_t *)(const void *)((const char *)target + field->count_offset);

	for (size_t i = 0; i < count; i++) {
		json_t *element = write_table(field->elements, elements + i * field->elements->element_size);

		if (json_array_append_new(array, element) != 0)
			fatal("a JSON tree cannot be built: out of memory");
	}
	return array;
}

static json_t *
write_by_name(const struct field *field, const void *target)
{
	json_t *map = json_object();
	const char *elements = *(char *const *)field_member_const(field, target);
	size_t count = *(const size_t *)(const void *)((const char *)target + field->count_offset);

	for (size_t i = 0; i < count; i++) {
		const void *element = elements + i * field->elements->element_size;
		struct buffer key = { 0 };

		load_escape(&key, slice_from(*(char *const *)element));
		set(map, key.data, key.length, write_table(field->elements, element));
		buffer_free(&key);
	}
	return map;
}

/* The value of a field, or NULL when it is absent. */
static json_t *
write_field(const struct field *field, const void *target)
{
	uint64_t number;
	char *const *names;

	switch (field->type) {
	case FIELD_TEXT:
		if ((field->flags & FIELD_SECRET) != 0)
			return json_string(*field_text(field, target) != '\0' ? REDACTED : "");
		return write_text(field_text(field, target));
	case FIELD_NUMBER:
		number = field_number(field, target);
		if (field->zero_word != NULL && number == 0)
			return json_string(field->zero_word);
		return json_integer((json_int_t)number);
	case FIELD_BOOLEAN:
		return json_boolean(field_number(field, target) != 0);
	case FIELD_CHOICE:
		return json_string(field->choices[field_number(field, target)]);
	case FIELD_NAMES:
		names = *(char **const *)field_member_const(field, target);
		return names != NULL ? write_names(names) : NULL;
	case FIELD_MAP:
		return ((const struct config_backend *)target)->has_map ? write_map(target) : NULL;
	case FIELD_LIST:
		return write_list(field, target);
	case FIELD_BY_NAME:
		return write_by_name(field, target);
	case FIELD_IGNORED:
		break;
	}
	return NULL;
}

/* Sets a value at its dotted path, making the objects on the way. */
static void
set_path(json_t *root, const char *path, json_t *value)
{
	for (;;) {
		size_t length = strcspn(path, ".");
		json_t *below;

		if (path[length] == '\0') {
			set(root, path, length, value);
			return;
		}
		below = json_object_getn(root, path, length);
		if (below == NULL) {
			below = json_object();
			set(root, path, length, below);
		}
		root = below;
		path += length + 1;
	}
}

/* A secret that came from a file is not printed beside the file's name: both together would be a fault. */
static bool
is_read_from_file(const struct field *field, const struct config_backend *backend)
{
	return (strcmp(field->path, "auth.key") == 0 && *backend->auth.key_file != '\0') ||
	    (strcmp(field->path, "auth.client_secret") == 0 && *backend->auth.client_secret_file != '\0');
}

static bool
is_shown(const struct field_table *table, const struct field *field, const void *target)
{
	const struct config_backend *backend = target;

	if (table != &config_backend_fields || field->auth_types == 0)
		return true;
	return (field->auth_types & BIT(backend->auth.type)) != 0 && !is_read_from_file(field, backend);
}

static json_t *
write_table(const struct field_table *table, const void *target)
{
	json_t *root = json_object();

	for (size_t i = 0; i < table->count; i++) {
		const struct field *field = &table->fields[i];
		json_t *value = is_shown(table, field, target) ? write_field(field, target) : NULL;

		if (value != NULL)
			set_path(root, field->path, value);
	}
	return root;
}

static int
append_dump(const char *data, size_t length, void *context)
{
	buffer_append(context, data, length);
	return 0;
}

void
config_print(const struct config *config, struct buffer *out)
{
	json_t *root = write_table(&config_fields, config);

	if (json_dump_callback(root, append_dump, out, JSON_INDENT(2)) != 0)
		fatal("the configuration cannot be printed");
	buffer_append_byte(out, '\n');
	json_decref(root);
}
