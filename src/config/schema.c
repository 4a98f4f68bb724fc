/* schema.c: the JSON schema, along the table.
 *
 * Every string may hold ${NAME}, and a string with one may stand for a number or a boolean: a schema that did not say so
 * would underline a good file in red.
 */
#include <string.h>

#include "base/log.h"
#include "config/load.h"

#define DIALECT "https://json-schema.org/draft/2020-12/schema"
#define REFERENCE "\\$\\{"
#define DEPLOYMENT_NAME_PATTERN "^[^\\u0000-\\u001f\\u007f]{1,256}$"

static void
set(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0)
		fatal("a JSON tree cannot be built: out of memory");
}

static json_t *
array_of(const char *first, const char *second)
{
	json_t *array = json_array();

	if (json_array_append_new(array, json_string(first)) != 0 ||
	    (second != NULL && json_array_append_new(array, json_string(second)) != 0))
		fatal("a JSON tree cannot be built: out of memory");
	return array;
}

/* The pattern of a text, or a reference, or nothing where nothing is the default. */
static void
set_pattern(json_t *schema, const struct field *field)
{
	struct buffer pattern = { 0 };

	buffer_append_format(&pattern, "%s|" REFERENCE, field->shape->pattern);
	if (*field->default_text == '\0' && (field->flags & FIELD_REQUIRED) == 0)
		buffer_append_string(&pattern, "|^$");
	set(schema, "pattern", json_stringn(pattern.data, pattern.length));
	buffer_free(&pattern);
}

static void
describe_number(json_t *schema, const struct field *field)
{
	struct buffer pattern = { 0 };

	set(schema, "type", array_of("integer", "string"));
	set(schema, "minimum", json_integer((json_int_t)field->minimum));
	set(schema, "maximum", json_integer((json_int_t)field->maximum));
	buffer_append_string(&pattern, REFERENCE);
	if (field->zero_word != NULL)
		buffer_append_format(&pattern, "|^%s$", field->zero_word);
	set(schema, "pattern", json_stringn(pattern.data, pattern.length));
	buffer_free(&pattern);
	if (field->zero_word != NULL && field->default_number == 0)
		set(schema, "default", json_string(field->zero_word));
	else
		set(schema, "default", json_integer((json_int_t)field->default_number));
}

static void
describe_choice(json_t *schema, const struct field *field)
{
	struct buffer pattern = { 0 };

	buffer_append_string(&pattern, "^(");
	for (size_t i = 0; field->choices[i] != NULL; i++)
		buffer_append_format(&pattern, "%s%s", i > 0 ? "|" : "", field->choices[i]);
	buffer_append_string(&pattern, ")$|" REFERENCE);
	set(schema, "type", json_string("string"));
	set(schema, "pattern", json_stringn(pattern.data, pattern.length));
	set(schema, "default", json_string(field->choices[field->default_number]));
	buffer_free(&pattern);
}

/* "examples" is what editors offer. */
static void
offer_choices(json_t *schema, const struct field *field)
{
	json_t *examples = json_array();

	for (size_t i = 0; field->choices[i] != NULL; i++) {
		if (json_array_append_new(examples, json_string(field->choices[i])) != 0)
			fatal("a JSON tree cannot be built: out of memory");
	}
	set(schema, "examples", examples);
}

static json_t *
deployment_name(void)
{
	json_t *schema = json_object();

	set(schema, "type", json_string("string"));
	set(schema, "pattern", json_string(DEPLOYMENT_NAME_PATTERN));
	return schema;
}

static json_t *describe_table(const struct field_table *table);

static void
describe_collection(json_t *schema, const struct field *field)
{
	bool is_map = field->type == FIELD_MAP;

	set(schema, "type", json_string(is_map ? "object" : "array"));
	set(schema, is_map ? "minProperties" : "minItems", json_integer((json_int_t)field->minimum));
	set(schema, is_map ? "maxProperties" : "maxItems", json_integer((json_int_t)field->maximum));
	if (is_map) {
		set(schema, "propertyNames", deployment_name());
		set(schema, "additionalProperties", deployment_name());
	} else if (field->type == FIELD_NAMES) {
		set(schema, "items", deployment_name());
		set(schema, "uniqueItems", json_true());
	} else {
		set(schema, "items", describe_table(field->elements));
	}
}

static json_t *
describe_field(const struct field *field)
{
	json_t *schema = json_object();

	set(schema, "description", json_string(field->description));
	switch (field->type) {
	case FIELD_TEXT:
		set(schema, "type", json_string("string"));
		set_pattern(schema, field);
		if ((field->flags & FIELD_REQUIRED) == 0)
			set(schema, "default", json_string(field->default_text));
		break;
	case FIELD_NUMBER:
		describe_number(schema, field);
		break;
	case FIELD_BOOLEAN:
		set(schema, "type", array_of("boolean", "string"));
		set(schema, "pattern", json_string(REFERENCE));
		set(schema, "default", json_boolean(field->default_number != 0));
		break;
	case FIELD_CHOICE:
		describe_choice(schema, field);
		offer_choices(schema, field);
		break;
	case FIELD_NAMES:
	case FIELD_MAP:
	case FIELD_LIST:
		describe_collection(schema, field);
		break;
	case FIELD_BY_NAME:
		set(schema, "type", json_string("object"));
		set(schema, "maxProperties", json_integer((json_int_t)field->maximum));
		set(schema, "propertyNames", deployment_name());
		set(schema, "additionalProperties", describe_table(field->elements));
		break;
	case FIELD_IGNORED:
		set(schema, "type", json_string("string"));
		break;
	}
	return schema;
}

static json_t *
new_object_schema(void)
{
	json_t *schema = json_object();

	set(schema, "type", json_string("object"));
	set(schema, "additionalProperties", json_false());
	set(schema, "properties", json_object());
	return schema;
}

/* Puts a field's schema at its path, making the groups on the way. */
static void
place(json_t *schema, const struct field *field)
{
	const char *path = field->path;

	for (;;) {
		size_t length = strcspn(path, ".");
		json_t *properties = json_object_get(schema, "properties");

		if (path[length] == '\0')
			break;
		schema = json_object_getn(properties, path, length);
		if (schema == NULL) {
			schema = new_object_schema();
			if (json_object_setn_new(properties, path, length, schema) != 0)
				fatal("a JSON tree cannot be built: out of memory");
		}
		path += length + 1;
	}
	set(json_object_get(schema, "properties"), path, describe_field(field));
	if ((field->flags & FIELD_REQUIRED) == 0)
		return;
	if (json_object_get(schema, "required") == NULL)
		set(schema, "required", json_array());
	if (json_array_append_new(json_object_get(schema, "required"), json_string(path)) != 0)
		fatal("a JSON tree cannot be built: out of memory");
}

static json_t *
describe_table(const struct field_table *table)
{
	json_t *schema = new_object_schema();

	for (size_t i = 0; i < table->count; i++)
		place(schema, &table->fields[i]);
	return schema;
}

static int
append_dump(const char *data, size_t length, void *context)
{
	buffer_append(context, data, length);
	return 0;
}

void
config_write_schema(struct buffer *out)
{
	json_t *root = json_object(), *body = describe_table(&config_fields);

	set(root, "$schema", json_string(DIALECT));
	set(root, "title", json_string("Configuration of aoai-lb"));
	if (json_object_update(root, body) != 0 || json_dump_callback(root, append_dump, out, JSON_INDENT(2)) != 0)
		fatal("the schema cannot be written");
	buffer_append_byte(out, '\n');
	json_decref(body);
	json_decref(root);
}
