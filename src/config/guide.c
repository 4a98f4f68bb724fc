/* guide.c: the table of all keys in config/README.md. */
#include <string.h>

#include "config/load.h"

static void
append_default(const struct field *field, struct buffer *out)
{
	if ((field->flags & FIELD_REQUIRED) != 0) {
		buffer_append_string(out, "required");
		return;
	}
	switch (field->type) {
	case FIELD_TEXT:
		buffer_append_format(out, "`\"%s\"`", field->default_text);
		break;
	case FIELD_NUMBER:
		if (field->zero_word != NULL && field->default_number == 0)
			buffer_append_format(out, "`\"%s\"`", field->zero_word);
		else
			buffer_append_format(out, "`%llu`", (unsigned long long)field->default_number);
		break;
	case FIELD_BOOLEAN:
		buffer_append_string(out, field->default_number != 0 ? "`true`" : "`false`");
		break;
	case FIELD_CHOICE:
		buffer_append_format(out, "`\"%s\"`", field->choices[field->default_number]);
		break;
	case FIELD_LIST:
		buffer_append_string(out, "`[]`");
		break;
	case FIELD_BY_NAME:
		buffer_append_string(out, "`{}`");
		break;
	case FIELD_NAMES:
	case FIELD_MAP:
	case FIELD_IGNORED:
		buffer_append_string(out, "absent");
		break;
	}
}

static void
append_range(const struct field *field, struct buffer *out)
{
	switch (field->type) {
	case FIELD_TEXT:
		buffer_append_string(out, field->shape->expected);
		break;
	case FIELD_NUMBER:
		if (field->zero_word != NULL)
			buffer_append_format(out, "`\"%s\"` or ", field->zero_word);
		buffer_append_format(out, "%llu to %llu", (unsigned long long)field->minimum,
		    (unsigned long long)field->maximum);
		if (field->unit != UNIT_NONE)
			buffer_append_format(out, " %s", field_unit_name(field->unit));
		break;
	case FIELD_BOOLEAN:
		buffer_append_string(out, "`true` or `false`");
		break;
	case FIELD_CHOICE:
		for (size_t i = 0; field->choices[i] != NULL; i++)
			buffer_append_format(out, "%s`\"%s\"`", i > 0 ? ", " : "", field->choices[i]);
		break;
	case FIELD_NAMES:
	case FIELD_MAP:
	case FIELD_LIST:
	case FIELD_BY_NAME:
		buffer_append_format(out, "%llu to %llu elements", (unsigned long long)field->minimum,
		    (unsigned long long)field->maximum);
		break;
	case FIELD_IGNORED:
		buffer_append_string(out, "a string");
		break;
	}
}

static void
append_row(const struct field *field, const char *list, struct buffer *out)
{
	buffer_append_format(out, "| `%s%s` | ", list, field->path);
	append_default(field, out);
	buffer_append_string(out, " | ");
	append_range(field, out);
	buffer_append_string(out, (field->flags & FIELD_FIXED) != 0 ? " | no | " : " | yes | ");
	buffer_append_string(out, field->description);
	if ((field->flags & FIELD_SECRET) != 0)
		buffer_append_string(out, " Secret: never shown.");
	buffer_append_string(out, " |\n");
}

void
config_write_guide(struct buffer *out)
{
	buffer_append_string(out,
	    "| key | default | value | reload | what it does |\n| --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < config_fields.count; i++) {
		const struct field *field = &config_fields.fields[i];
		struct buffer list = { 0 };

		append_row(field, "", out);
		if (field->type != FIELD_LIST && field->type != FIELD_BY_NAME)
			continue;
		buffer_append_string(&list, field->path);
		buffer_append_string(&list, field->type == FIELD_LIST ? "[]." : ".NAME.");
		buffer_append_byte(&list, '\0');
		for (size_t j = 0; j < field->elements->count; j++)
			append_row(&field->elements->fields[j], list.data, out);
		buffer_free(&list);
	}
}
