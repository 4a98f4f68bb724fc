/* Files, in a small way: enough to see that they belong to one resource. */
#include "sim/resource.h"

#include <inttypes.h>
#include <string.h>

#include "http/multipart.h"

static void
append_file(struct buffer *out, const struct sim_stored_file *file)
{
	buffer_append_format(out,
	    "{\"id\":\"%s\",\"object\":\"file\",\"bytes\":%" PRIu64 ",\"created_at\":%" PRId64 ",\"filename\":\"",
	    file->id, file->bytes, file->created);
	buffer_append_json_text(out, slice_from(file->name));
	buffer_append_string(out, "\",\"purpose\":\"");
	buffer_append_json_text(out, slice_from(file->purpose));
	buffer_append_string(out, "\",\"status\":\"processed\"}");
}

static struct sim_stored_file *
find_file(struct sim_resource *resource, struct slice id)
{
	for (size_t i = 0; i < SIM_STORED_FILES; i++) {
		if (resource->files[i].id[0] != '\0' && slice_equals(slice_from(resource->files[i].id), id))
			return &resource->files[i];
	}
	return NULL;
}

static void
copy_text(char *out, size_t size, struct slice text)
{
	size_t length = text.length < size - 1 ? text.length : size - 1;

	memcpy(out, text.data, length);
	out[length] = '\0';
}

/* The part with a filename: its name and content. */
static bool
find_upload(struct slice body, struct slice boundary, struct slice *name, struct slice *content)
{
	ptrdiff_t at = slice_find(body, SLICE("filename=\"")), quote, blank, end;

	if (at < 0)
		return false;
	body = slice_skip(body, (size_t)at + 10);
	quote = slice_find(body, SLICE("\""));
	blank = slice_find(body, SLICE("\r\n\r\n"));
	if (quote < 0 || blank < quote)
		return false;
	*name = slice_of(body.data, (size_t)quote);
	body = slice_skip(body, (size_t)blank + 4);
	for (struct slice rest = body;; rest = slice_skip(rest, (size_t)end + 4)) {
		end = slice_find(rest, SLICE("\r\n--"));
		if (end < 0)
			return false;
		if (!slice_starts_with(slice_skip(rest, (size_t)end + 4), boundary))
			continue;
		*content = slice_of(body.data, (size_t)(rest.data - body.data) + (size_t)end);
		return true;
	}
}

static void
create_file(struct sim_resource *resource, const struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct header *type = headers_find(&exchange->head->headers, HEADER_CONTENT_TYPE);
	struct sim_stored_file *file = &resource->files[resource->next_file];
	struct slice boundary, purpose, name, content;
	bool found = false;

	if (type == NULL || !multipart_boundary(type->value, &boundary)) {
		sim_answer_model_error(answer, 415, "invalid_request_error", NULL, "unsupported_media_type",
		    "Unsupported Media Type: expected multipart/form-data.");
		return;
	}
	if (multipart_find(exchange->body, boundary, SLICE("purpose"), &purpose, &found) != MULTIPART_OK || !found ||
	    !find_upload(exchange->body, boundary, &name, &content)) {
		sim_answer_model_error(answer, 400, "invalid_request_error", NULL, "invalidPayload",
		    "The form needs a 'purpose' and a 'file'.");
		return;
	}
	resource->next_file = (resource->next_file + 1) % SIM_STORED_FILES;
	sim_make_id(&resource->random, "file-", 24, file->id);
	copy_text(file->name, sizeof(file->name), name);
	copy_text(file->purpose, sizeof(file->purpose), purpose);
	file->bytes = content.length;
	file->created = exchange->unix_ms / 1000;
	buffer_clear(&file->content);
	buffer_append(&file->content, content.data,
	    content.length < SIM_STORED_FILE_BYTES ? content.length : SIM_STORED_FILE_BYTES);
	append_file(&answer->body, file);
	sim_answer_end_json(answer, 0);
}

static void
list_files(const struct sim_resource *resource, struct sim_answer *answer)
{
	bool first = true;

	buffer_append_string(&answer->body, "{\"data\":[");
	for (size_t i = 0; i < SIM_STORED_FILES; i++) {
		if (resource->files[i].id[0] == '\0')
			continue;
		if (!first)
			buffer_append_byte(&answer->body, ',');
		append_file(&answer->body, &resource->files[i]);
		first = false;
	}
	buffer_append_string(&answer->body, "],\"object\":\"list\"}");
	sim_answer_end_json(answer, 0);
}

static void
answer_one(const struct sim_exchange *exchange, struct sim_stored_file *file, struct sim_answer *answer)
{
	if (exchange->route.endpoint == SIM_ENDPOINT_FILE_CONTENT) {
		buffer_append_slice(&answer->body, buffer_slice(&file->content));
		sim_answer_field(answer, "Content-Type", SLICE("application/octet-stream"));
		sim_answer_end_piece(answer, 0);
		return;
	}
	if (exchange->route.endpoint == SIM_ENDPOINT_FILE_GET) {
		append_file(&answer->body, file);
	} else {
		buffer_append_format(&answer->body, "{\"id\":\"%s\",\"object\":\"file\",\"deleted\":true}", file->id);
		file->id[0] = '\0';
		buffer_free(&file->content);
	}
	sim_answer_end_json(answer, 0);
}

void
sim_files_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	struct sim_stored_file *file;

	if (exchange->route.endpoint == SIM_ENDPOINT_FILES_CREATE) {
		create_file(resource, exchange, answer);
		return;
	}
	if (exchange->route.endpoint == SIM_ENDPOINT_FILES_LIST) {
		list_files(resource, answer);
		return;
	}
	file = find_file(resource, exchange->route.id);
	if (file == NULL)
		sim_answer_error(answer, 404, "resourceNotFound", "File is not found.");
	else
		answer_one(exchange, file, answer);
}
