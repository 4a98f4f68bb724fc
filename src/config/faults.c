/* faults.c: what is wrong with a configuration, and where. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "config/load.h"

PRINTF_LIKE(1, 0)
static char *
format_text(const char *format, va_list arguments)
{
	char *text = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		fatal("a fault's text cannot be written: %s", strerror(errno));
	return text;
}

/* Takes over the fault's texts. */
static void
append_fault(struct config_faults *faults, struct config_fault fault)
{
	faults->items = memory_resize(faults->items, (faults->count + 1) * sizeof(*faults->items));
	faults->items[faults->count++] = fault;
}

void
config_faults_add(struct config_faults *faults, const char *path, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	append_fault(faults, (struct config_fault){ memory_copy_string(path), format_text(format, arguments) });
	va_end(arguments);
}

void
config_faults_print(const struct config_faults *faults, FILE *out)
{
	for (size_t i = 0; i < faults->count; i++) {
		const struct config_fault *fault = &faults->items[i];

		(void)fprintf(out, "%s%s%s\n", fault->path, *fault->path != '\0' ? ": " : "", fault->text);
	}
}

void
config_faults_free(struct config_faults *faults)
{
	for (size_t i = 0; i < faults->count; i++) {
		free(faults->items[i].path);
		free(faults->items[i].text);
	}
	free(faults->items);
	*faults = (struct config_faults){ NULL, 0 };
}

void
load_show(struct buffer *out, struct slice text)
{
	bool cut = text.length > CONFIG_SHOWN_MAX_BYTES;

	if (cut)
		text.length = CONFIG_SHOWN_MAX_BYTES;
	buffer_append_byte(out, '"');
	buffer_append_json_text(out, text);
	buffer_append_string(out, cut ? "…\"" : "\"");
}

static bool
is_plain_word(const char *member)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-$";
	size_t length = strlen(member);

	return length > 0 && length <= CONFIG_SHOWN_MAX_BYTES && strspn(member, word) == length;
}

size_t
load_enter(struct load *load, const char *member)
{
	size_t mark = load->path.length;

	if (is_plain_word(member)) {
		if (mark > 0)
			buffer_append_byte(&load->path, '.');
		buffer_append_string(&load->path, member);
	} else {
		buffer_append_byte(&load->path, '[');
		load_show(&load->path, slice_from(member));
		buffer_append_byte(&load->path, ']');
	}
	return mark;
}

size_t
load_enter_index(struct load *load, size_t index)
{
	size_t mark = load->path.length;

	buffer_append_format(&load->path, "[%zu]", index);
	return mark;
}

void
load_leave(struct load *load, size_t mark)
{
	load->path.length = mark;
}

/* The path of a member below the current one, NUL-terminated; valid until the next call of any function here. */
static const char *
member_path(struct load *load, const char *member)
{
	size_t mark = load->path.length;

	if (member != NULL) {
		if (mark > 0)
			buffer_append_byte(&load->path, '.');
		buffer_append_string(&load->path, member);
	}
	buffer_append_byte(&load->path, '\0');
	load->path.length = mark;
	return load->path.data;
}

/* Whether path is base, or lies below it. */
static bool
is_at_or_below(const char *path, const char *base)
{
	size_t length = strlen(base);

	return strncmp(path, base, length) == 0 && (path[length] == '\0' || path[length] == '.' || path[length] == '[');
}

static const struct load_alias *
find_alias(const struct load *load, const char *path)
{
	for (size_t i = 0; i < load->alias_count; i++) {
		if (is_at_or_below(path, load->aliases[i].path))
			return &load->aliases[i];
	}
	return NULL;
}

void
load_fault(struct load *load, const char *member, const char *format, ...)
{
	const char *path = member_path(load, member);
	const struct load_alias *alias = find_alias(load, path);
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	if (alias != NULL && alias->note != NULL) {
		config_faults_add(load->faults, alias->variable, "%s: %s", alias->note, text);
		free(text);
	} else {
		path = alias != NULL ? alias->variable : path;
		append_fault(load->faults, (struct config_fault){ memory_copy_string(path), text });
	}
}

bool
load_has_fault(struct load *load, const char *member)
{
	const char *path = member_path(load, member);
	const struct load_alias *alias = find_alias(load, path);

	if (alias != NULL)
		path = alias->variable;
	for (size_t i = 0; i < load->faults->count; i++) {
		if (is_at_or_below(load->faults->items[i].path, path))
			return true;
	}
	return false;
}
