/* parse.c: from JSON to a snapshot, along the table. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "config/load.h"

static void parse_group(struct load *load, const struct field_table *table, struct slice group, json_t *json,
    void *target);

const char *
load_kind(const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

/* ---- what a fault says ------------------------------------------------------------------------------------------ */

/* What a field wants: "a whole number from 1 to 86400000 (milliseconds)". */
static void
describe_expected(const struct field *field, struct buffer *out)
{
	switch (field->type) {
	case FIELD_TEXT:
		buffer_append_string(out, field->shape->expected);
		break;
	case FIELD_NUMBER:
		if (field->zero_word != NULL)
			buffer_append_format(out, "\"%s\" or ", field->zero_word);
		buffer_append_format(out, "a whole number from %llu to %llu", (unsigned long long)field->minimum,
		    (unsigned long long)field->maximum);
		if (field->unit != UNIT_NONE)
			buffer_append_format(out, " (%s)", field_unit_name(field->unit));
		break;
	case FIELD_BOOLEAN:
		buffer_append_string(out, "true or false");
		break;
	case FIELD_CHOICE:
		for (size_t i = 0; field->choices[i] != NULL; i++) {
			const char *next = field->choices[i + 1];
			const char *comma = i == 0 ? "" : next == NULL ? " or " : ", ";

			buffer_append_format(out, "%s\"%s\"", comma, field->choices[i]);
		}
		break;
	case FIELD_NAMES:
	case FIELD_LIST:
		buffer_append_string(out, "an array");
		break;
	case FIELD_MAP:
	case FIELD_BY_NAME:
		buffer_append_string(out, "an object");
		break;
	case FIELD_IGNORED:
		buffer_append_string(out, "a string");
		break;
	}
}

/* What was found. Secrets are not shown, nor what a reference stands for: it may be a secret that went astray. Nor are
 * URLs: they may hold a password. */
static void
describe_found(const struct field *field, const json_t *json, struct buffer *out)
{
	switch (json_typeof(json)) {
	case JSON_STRING:
		if ((field->flags & FIELD_SECRET) != 0 || field->shape == &shape_url_text)
			buffer_append_string(out, "another string");
		else
			load_show(out, slice_of(json_string_value(json), json_string_length(json)));
		break;
	case JSON_INTEGER:
		if ((field->flags & FIELD_SECRET) != 0)
			buffer_append_string(out, "a number");
		else
			buffer_append_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		buffer_append_string(out, json_is_true(json) ? "true" : "false");
		break;
	case JSON_OBJECT:
	case JSON_ARRAY:
	case JSON_REAL:
	case JSON_NULL:
		buffer_append_string(out, load_kind(json));
		break;
	}
}

static void
unfit_value(struct load *load, const struct field *field, const json_t *json, const char *remedy)
{
	struct buffer expected = { 0 }, found = { 0 };

	describe_expected(field, &expected);
	describe_found(field, json, &found);
	load_fault(load, NULL, "expected %.*s, found %.*s%s", SLICE_PRINT(buffer_slice(&expected)),
	    SLICE_PRINT(buffer_slice(&found)), remedy);
	buffer_free(&expected);
	buffer_free(&found);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

char *
load_string(struct load *load, const json_t *json, bool *expanded)
{
	struct slice raw = slice_of(json_string_value(json), json_string_length(json));
	json_t *checked;
	char *text;

	*expanded = false;
	if (load->from_environment)
		return slice_duplicate(raw);
	text = load_expand(load, raw, expanded);
	if (text == NULL || !*expanded)
		return text;
	/* The environment may hold any bytes. */
	checked = json_string(text);
	if (checked == NULL) {
		load_fault(load, NULL, "the environment's value is not valid UTF-8");
		load_free_text(&text);
		return NULL;
	}
	load_free_json(&checked);
	return text;
}

static void
parse_text(struct load *load, const struct field *field, const json_t *json, void *target)
{
	bool expanded;
	char *text;

	if (!json_is_string(json)) {
		unfit_value(load, field, json, "");
		return;
	}
	text = load_string(load, json, &expanded);
	if (text == NULL)
		return;
	if (*text == '\0' ? *field->default_text != '\0' || (field->flags & FIELD_REQUIRED) != 0
			  : !field->shape->fits(slice_from(text))) {
		if (*text == '\0')
			load_fault(load, NULL, "is empty; expected %s", field->shape->expected);
		else
			unfit_value(load, field, json, "");
		load_free_text(&text);
		return;
	}
	field_set_text(field, target, text);
}

/* A number or boolean may be written as a string only where that string came from the environment. */
static char *
take_word(struct load *load, const struct field *field, const json_t *json)
{
	bool expanded;
	char *word = load_string(load, json, &expanded);

	if (word != NULL && !expanded && !load->from_environment &&
	    (field->zero_word == NULL || strcmp(word, field->zero_word) != 0)) {
		unfit_value(load, field, json, "; write it without quotes");
		load_free_text(&word);
	}
	return word;
}

static bool
read_number(const struct field *field, const json_t *json, const char *word, uint64_t *value)
{
	if (word != NULL) {
		if (field->zero_word != NULL && strcmp(word, field->zero_word) == 0) {
			*value = 0;
			return true;
		}
		if (!slice_to_u64(slice_from(word), value))
			return false;
	} else {
		if (!json_is_integer(json) || json_integer_value(json) < 0)
			return false;
		*value = (uint64_t)json_integer_value(json);
	}
	return *value >= field->minimum && *value <= field->maximum;
}

static void
parse_number(struct load *load, const struct field *field, const json_t *json, void *target)
{
	char *word = NULL;
	uint64_t value;

	if (json_is_string(json)) {
		word = take_word(load, field, json);
		if (word == NULL)
			return;
	}
	if (read_number(field, json, word, &value))
		field_set_number(field, target, value);
	else
		unfit_value(load, field, json, "");
	load_free_text(&word);
}

static void
parse_boolean(struct load *load, const struct field *field, const json_t *json, void *target)
{
	bool value = json_is_true(json), fits = json_is_boolean(json);

	if (json_is_string(json)) {
		char *word = take_word(load, field, json);

		if (word == NULL)
			return;
		value = strcmp(word, "true") == 0;
		fits = value || strcmp(word, "false") == 0;
		load_free_text(&word);
	}
	if (fits)
		field_set_number(field, target, value);
	else
		unfit_value(load, field, json, "");
}

static void
parse_choice(struct load *load, const struct field *field, const json_t *json, void *target)
{
	struct suggestion near;
	struct buffer remedy = { 0 };
	bool expanded;
	char *word;

	if (!json_is_string(json)) {
		unfit_value(load, field, json, "");
		return;
	}
	word = load_string(load, json, &expanded);
	if (word == NULL)
		return;
	suggestion_begin(&near, slice_from(word));
	for (size_t i = 0; field->choices[i] != NULL; i++) {
		if (strcmp(word, field->choices[i]) == 0) {
			field_set_number(field, target, i);
			load_free_text(&word);
			return;
		}
		suggestion_consider(&near, slice_from(field->choices[i]));
	}
	if (near.best.length > 0)
		buffer_append_format(&remedy, "; did you mean \"%.*s\"?", SLICE_PRINT(near.best));
	buffer_append_byte(&remedy, '\0');
	unfit_value(load, field, json, remedy.data);
	buffer_free(&remedy);
	load_free_text(&word);
}

static void
parse_list(struct load *load, const struct field *field, json_t *json, void *target)
{
	const struct field_table *table = field->elements;
	size_t *count = (size_t *)(void *)((char *)target + field->count_offset);
	size_t found = json_array_size(json);
	char *elements;

	if (!json_is_array(json)) {
		unfit_value(load, field, json, "");
		return;
	}
	if (found < field->minimum || found > field->maximum) {
		load_fault(load, NULL, "expected %llu to %llu elements, found %zu", (unsigned long long)field->minimum,
		    (unsigned long long)field->maximum, found);
		return;
	}
	if (found == 0)
		return;
	elements = memory_take_zeroed(found, table->element_size);
	*(void **)field_member(field, target) = elements;
	*count = found;
	for (size_t i = 0; i < found; i++) {
		void *element = elements + i * table->element_size;
		size_t mark = load_enter_index(load, i);

		fields_set_defaults(table, element);
		parse_group(load, table, SLICE_EMPTY, json_array_get(json, i), element);
		if (table == &config_backend_fields)
			load_finish_backend(load, element);
		load_leave(load, mark);
	}
}

static int
compare_first_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted by name in the end. Two keys may be one name once references in them are expanded. */
static void
parse_by_name(struct load *load, const struct field *field, json_t *json, void *target)
{
	const struct field_table *table = field->elements;
	size_t *count = (size_t *)(void *)((char *)target + field->count_offset);
	size_t size = table->element_size;
	char *elements;
	const char *key;
	json_t *value;

	if (!json_is_object(json)) {
		unfit_value(load, field, json, "");
		return;
	}
	if (json_object_size(json) > field->maximum) {
		load_fault(load, NULL, "expected at most %llu names, found %zu", (unsigned long long)field->maximum,
		    json_object_size(json));
		return;
	}
	elements = memory_take_zeroed(json_object_size(json) + 1, size);
	*(void **)field_member(field, target) = elements;
	json_object_foreach(json, key, value)
	{
		size_t mark = load_enter(load, key);
		char *name = load_deployment_key(load, key);
		void *element = elements + *count * size;

		if (name != NULL) {
			*(char **)element = name;
			*count += 1;
			fields_set_defaults(table, element);
			parse_group(load, table, SLICE_EMPTY, value, element);
		}
		load_leave(load, mark);
	}
	qsort(elements, *count, size, compare_first_names);
	for (size_t i = 1; i < *count; i++) {
		if (compare_first_names(elements + (i - 1) * size, elements + i * size) == 0)
			load_fault(load, NULL, "a name is there twice; remove one of the two");
	}
}

static void
parse_field(struct load *load, const struct field *field, json_t *json, void *target)
{
	switch (field->type) {
	case FIELD_TEXT:
		parse_text(load, field, json, target);
		break;
	case FIELD_NUMBER:
		parse_number(load, field, json, target);
		break;
	case FIELD_BOOLEAN:
		parse_boolean(load, field, json, target);
		break;
	case FIELD_CHOICE:
		parse_choice(load, field, json, target);
		break;
	case FIELD_NAMES:
		load_client_deployments(load, target, json);
		break;
	case FIELD_MAP:
		load_deployment_map(load, target, json);
		break;
	case FIELD_LIST:
		parse_list(load, field, json, target);
		break;
	case FIELD_BY_NAME:
		parse_by_name(load, field, json, target);
		break;
	case FIELD_IGNORED:
		if (!json_is_string(json))
			unfit_value(load, field, json, "");
		break;
	}
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

/* The part of a row's path below the group, or NULL when the row is not in the group. */
static const char *
path_below(const struct field *field, struct slice group)
{
	return strncmp(field->path, group.data != NULL ? group.data : "", group.length) == 0
	    ? field->path + group.length
	    : NULL;
}

/* Finds what a key of a group means: a row, or a group below it (*below is then the path up to and with its dot). */
static const struct field *
find_key(const struct field_table *table, struct slice group, const char *key, struct slice *below)
{
	size_t length = strlen(key);

	*below = SLICE_EMPTY;
	if (length == 0 || strchr(key, '.') != NULL)
		return NULL;
	for (size_t i = 0; i < table->count; i++) {
		const char *rest = path_below(&table->fields[i], group);

		if (rest == NULL || strncmp(rest, key, length) != 0)
			continue;
		if (rest[length] == '\0')
			return &table->fields[i];
		if (rest[length] == '.')
			*below = slice_of(table->fields[i].path, group.length + length + 1);
	}
	return NULL;
}

/* What people write who know other programs. */
static const char *
habitual(const char *key)
{
	static const struct {
		const char *wrong, *right;
	} habits[] = {
		{ "api_key", "auth.key" },
		{ "apikey", "auth.key" },
		{ "endpoint", "url" },
		{ "base_url", "url" },
		{ "model", "deployments" },
		{ "models", "deployments" },
		{ "host", "listen.address" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(habits); i++) {
		if (slice_equals_nocase(slice_from(key), slice_from(habits[i].wrong)))
			return habits[i].right;
	}
	return NULL;
}

/* The row that an unknown key most likely meant: one that people often call so, one of that very name in another group,
 * or one that is named nearly so in this group. */
static struct slice
suggest_key(const struct field_table *table, struct slice group, const char *key)
{
	struct suggestion near;
	const char *habit = habitual(key);

	if (habit != NULL && field_find(table, habit) != NULL)
		return slice_from(habit);
	for (size_t i = 0; i < table->count; i++) {
		const char *last = strrchr(table->fields[i].path, '.');

		if (last != NULL && strcmp(last + 1, key) == 0)
			return slice_from(table->fields[i].path);
	}
	suggestion_begin(&near, slice_from(key));
	for (size_t i = 0; i < table->count; i++) {
		const char *rest = path_below(&table->fields[i], group);

		if (rest != NULL)
			suggestion_consider(&near, slice_of(rest, strcspn(rest, ".")));
	}
	return near.best;
}

static void
unknown_key(struct load *load, const struct field_table *table, struct slice group, const char *key)
{
	struct slice meant = suggest_key(table, group, key);

	if (meant.length > 0)
		load_fault(load, NULL, "unknown key; did you mean \"%.*s\"?", SLICE_PRINT(meant));
	else
		load_fault(load, NULL, "unknown key; remove it (config/README.md lists all keys)");
}

/* Rows directly in the group that must be there and are not. */
static void
check_required(struct load *load, const struct field_table *table, struct slice group, const json_t *json)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct field *field = &table->fields[i];
		const char *key = path_below(field, group);
		struct buffer expected = { 0 };

		if (key == NULL || (field->flags & FIELD_REQUIRED) == 0 || json_object_get(json, key) != NULL ||
		    load_has_fault(load, key))
			continue;
		describe_expected(field, &expected);
		load_fault(load, key, "is missing; expected %.*s", SLICE_PRINT(buffer_slice(&expected)));
		buffer_free(&expected);
	}
}

static void
parse_group(struct load *load, const struct field_table *table, struct slice group, json_t *json, void *target)
{
	const char *key;
	json_t *value;

	if (!json_is_object(json)) {
		load_fault(load, NULL, "expected an object, found %s", load_kind(json));
		return;
	}
	json_object_foreach(json, key, value)
	{
		struct slice below;
		const struct field *field = find_key(table, group, key, &below);
		size_t mark = load_enter(load, key);

		if (field != NULL)
			parse_field(load, field, value, target);
		else if (below.length > 0)
			parse_group(load, table, below, value, target);
		else
			unknown_key(load, table, group, key);
		load_leave(load, mark);
	}
	check_required(load, table, group, json);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

struct config *
load_config(struct load *load, json_t *root)
{
	struct config *config = memory_take_zeroed(1, sizeof(*config));
	size_t faults_before = load->faults->count;

	atomic_init(&config->references, 1);
	fields_set_defaults(&config_fields, config);
	parse_group(load, &config_fields, SLICE_EMPTY, root, config);
	load_check(load, config);
	if (load->faults->count > faults_before)
		config_release(&config);
	return config;
}

/* jansson's text ends in "near '…'", which may show a secret; only a duplicate key is worth that. */
static void
syntax_fault(struct config_faults *faults, const json_error_t *error)
{
	struct slice text = slice_from(error->text);
	ptrdiff_t near = slice_find(text, SLICE(" near "));
	char shown[LOG_TEXT_SAFE_SIZE];

	if (near >= 0 && json_error_code(error) != json_error_duplicate_key)
		text.length = (size_t)near;
	config_faults_add(faults, "", "no valid JSON at line %d, column %d: %s", error->line, error->column,
	    log_text_safe(text, shown, sizeof(shown)));
}

struct config *
config_load_text(struct slice json, config_getenv_fn *getenv_fn, void *context, struct config_faults *faults)
{
	struct load load = { .faults = faults, .getenv_fn = getenv_fn, .context = context };
	struct config *config;
	json_error_t error;
	json_t *root;

	/* Some editors put a byte order mark before the text. */
	if (slice_starts_with(json, SLICE("\xef\xbb\xbf")))
		json = slice_skip(json, 3);
	root = json_loadb(json.length > 0 ? json.data : "", json.length, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL) {
		syntax_fault(faults, &error);
		return NULL;
	}
	config = load_config(&load, root);
	load_free_json(&root);
	buffer_free(&load.path);
	return config;
}

struct config *
config_load_file(const char *path, config_getenv_fn *getenv_fn, void *context, struct config_faults *faults)
{
	struct config *config = NULL;
	struct buffer text = { 0 };
	const char *why = "";

	if (load_read_file(path, CONFIG_FILE_MAX_BYTES, false, &text, &why))
		config = config_load_text(buffer_slice(&text), getenv_fn, context, faults);
	else
		config_faults_add(faults, "", "cannot read the configuration file %s: %s", path, why);
	if (text.data != NULL)
		explicit_bzero(text.data, text.capacity);
	buffer_free(&text);
	return config;
}
