/* changes.c: what a reload cannot change. */
#include <string.h>

#include "config/load.h"

static bool
differs(const struct field *field, const struct config *before, const struct config *after)
{
	if (field->type == FIELD_TEXT)
		return strcmp(field_text(field, before), field_text(field, after)) != 0;
	return field_number(field, before) != field_number(field, after);
}

size_t
config_fixed_changes(const struct config *before, const struct config *after, struct config_faults *changes)
{
	size_t count = 0;

	for (size_t i = 0; i < config_fields.count; i++) {
		const struct field *field = &config_fields.fields[i];

		if ((field->flags & FIELD_FIXED) == 0 || !differs(field, before, after))
			continue;
		config_faults_add(changes, field->path, "a reload does not change this; restart the daemon for it");
		count++;
	}
	return count;
}
