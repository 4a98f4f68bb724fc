/* expand.c: ${NAME} and ${NAME:-default} in strings.
 *
 * What is put in is never looked at again, so a value that happens to hold "${" stays as it is. As in a shell, a default
 * also stands in for a variable that is set and empty.
 */
#include <string.h>

#include "config/load.h"

#define NAME_MAX_BYTES 255U

static bool
is_name_byte(char byte, bool first)
{
	if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_')
		return true;
	return !first && byte >= '0' && byte <= '9';
}

static size_t
name_length(struct slice text)
{
	size_t length = 0;

	while (length < text.length && is_name_byte(text.data[length], length == 0))
		length++;
	return length;
}

static const char *
look_up(const struct load *load, struct slice name)
{
	char copy[NAME_MAX_BYTES + 1];

	if (load->getenv_fn == NULL)
		return NULL;
	memcpy(copy, name.data, name.length);
	copy[name.length] = '\0';
	return load->getenv_fn(copy, load->context);
}

/* Appends what a reference stands for. inside: what is between the braces. */
static bool
append_reference(struct load *load, struct slice inside, struct buffer *out)
{
	struct slice name = slice_of(inside.data, name_length(inside));
	struct slice rest = slice_skip(inside, name.length);
	bool has_default = slice_starts_with(rest, SLICE(":-"));
	const char *value;

	if (name.length == 0 || name.length > NAME_MAX_BYTES || (rest.length > 0 && !has_default)) {
		load_fault(load, NULL,
		    "a reference must be ${NAME} or ${NAME:-default}, with a NAME of letters, digits and '_'; write "
		    "$${ for "
		    "a literal ${");
		return false;
	}
	value = look_up(load, name);
	if (has_default && (value == NULL || *value == '\0')) {
		buffer_append_slice(out, slice_skip(rest, 2));
	} else if (value != NULL) {
		buffer_append_string(out, value);
	} else {
		load_fault(load, NULL, "the environment variable %.*s is not set; set it, or write ${%.*s:-default}",
		    SLICE_PRINT(name), SLICE_PRINT(name));
		return false;
	}
	return true;
}

static bool
append_expanded(struct load *load, struct slice raw, struct buffer *out, bool *expanded)
{
	bool ok = true;

	while (raw.length > 0) {
		ptrdiff_t end;

		if (slice_starts_with(raw, SLICE("$${"))) {
			buffer_append_string(out, "${");
			raw = slice_skip(raw, 3);
			continue;
		}
		if (!slice_starts_with(raw, SLICE("${"))) {
			buffer_append_byte(out, raw.data[0]);
			raw = slice_skip(raw, 1);
			continue;
		}
		end = slice_find(raw, SLICE("}"));
		if (end < 0) {
			load_fault(load, NULL, "a ${ without its }; write $${ for a literal ${");
			return false;
		}
		*expanded = true;
		if (!append_reference(load, slice_of(raw.data + 2, (size_t)end - 2), out))
			ok = false;
		raw = slice_skip(raw, (size_t)end + 1);
	}
	return ok;
}

char *
load_expand(struct load *load, struct slice raw, bool *expanded)
{
	struct buffer out = { 0 };
	char *text = NULL;

	*expanded = false;
	buffer_reserve_exactly(&out, raw.length + 1);
	if (append_expanded(load, raw, &out, expanded)) {
		if (out.length > CONFIG_STRING_MAX_BYTES)
			load_fault(load, NULL, "longer than %u bytes; shorten it", CONFIG_STRING_MAX_BYTES);
		else
			text = slice_duplicate(buffer_slice(&out));
	}
	if (out.data != NULL)
		explicit_bzero(out.data, out.capacity);
	buffer_free(&out);
	return text;
}

void
load_escape(struct buffer *out, struct slice text)
{
	while (text.length > 0) {
		if (slice_starts_with(text, SLICE("${")))
			buffer_append_byte(out, '$');
		buffer_append_byte(out, text.data[0]);
		text = slice_skip(text, 1);
	}
}
