#include "sim/journal.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/buffer.h"
#include "base/memory.h"

#define SHA256_BYTES 32U

struct record {
	const char *resource;
	char *deployment;
	struct buffer head;
	struct buffer body; /* its beginning */
	uint64_t body_bytes;
	unsigned char sha256[SHA256_BYTES];
	unsigned status;
	uint64_t connection;
	int64_t unix_ms;
};

struct sim_journal {
	size_t capacity;
	uint64_t added;
	struct record *records; /* a ring */
};

struct sim_journal *
sim_journal_new(size_t capacity)
{
	struct sim_journal *journal = memory_take_zeroed(1, sizeof(*journal));

	journal->capacity = capacity;
	journal->records = memory_take_zeroed(capacity + 1, sizeof(*journal->records));
	return journal;
}

static void
clear_record(struct record *record)
{
	free(record->deployment);
	buffer_free(&record->head);
	buffer_free(&record->body);
	memset(record, 0, sizeof(*record));
}

void
sim_journal_clear(struct sim_journal *journal)
{
	for (size_t i = 0; i < journal->capacity; i++)
		clear_record(&journal->records[i]);
	journal->added = 0;
}

void
sim_journal_free(struct sim_journal **journal)
{
	if (*journal == NULL)
		return;
	sim_journal_clear(*journal);
	free((*journal)->records);
	free(*journal);
	*journal = NULL;
}

void
sim_journal_add(struct sim_journal *journal, const struct sim_journal_entry *entry)
{
	struct record *record;
	size_t kept = entry->body.length < SIM_JOURNAL_BODY_BYTES ? entry->body.length : SIM_JOURNAL_BODY_BYTES;

	if (journal->capacity == 0)
		return;
	record = &journal->records[journal->added++ % journal->capacity];
	clear_record(record);
	record->resource = entry->resource;
	record->deployment = memory_copy_string(entry->deployment);
	buffer_append_slice(&record->head, entry->head);
	buffer_append(&record->body, entry->body.data, kept);
	record->body_bytes = entry->body.length;
	(void)EVP_Digest(entry->body.data, entry->body.length, record->sha256, NULL, EVP_sha256(), NULL);
	record->status = entry->status;
	record->connection = entry->connection;
	record->unix_ms = entry->unix_ms;
}

/* A JSON string of bytes that need not be UTF-8. */
static json_t *
text_of(struct slice bytes)
{
	struct buffer quoted = { 0 };
	json_t *text;

	buffer_append_byte(&quoted, '"');
	buffer_append_json_text(&quoted, bytes);
	buffer_append_byte(&quoted, '"');
	text = json_loadb(quoted.data, quoted.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	buffer_free(&quoted);
	return text != NULL ? text : json_null();
}

/* Takes what is before separator from *text, and the separator. */
static struct slice
take_until(struct slice *text, struct slice separator)
{
	ptrdiff_t at = slice_find(*text, separator);
	struct slice taken = at < 0 ? *text : slice_of(text->data, (size_t)at);

	*text = at < 0 ? SLICE_EMPTY : slice_skip(*text, (size_t)at + separator.length);
	return taken;
}

/* The fields in their order, each as [name, value]: a list, since names may come twice. */
static json_t *
fields_of(struct slice head)
{
	json_t *fields = json_array();

	while (head.length > 0) {
		struct slice line = take_until(&head, SLICE("\r\n")), name;

		if (line.length == 0)
			break;
		name = take_until(&line, SLICE(":"));
		(void)json_array_append_new(fields, json_pack("[o, o]", text_of(name), text_of(slice_trim(line))));
	}
	return fields;
}

static json_t *
describe(const struct record *record)
{
	static const char digits[] = "0123456789abcdef";
	struct slice head = buffer_slice(&record->head), method, target;
	char hash[2 * SHA256_BYTES + 1] = "";

	for (size_t i = 0; i < SHA256_BYTES; i++) {
		hash[2 * i] = digits[record->sha256[i] >> 4];
		hash[2 * i + 1] = digits[record->sha256[i] & 15U];
	}
	method = take_until(&head, SLICE(" "));
	target = take_until(&head, SLICE(" "));
	(void)take_until(&head, SLICE("\r\n"));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:s, s:o, s:i, s:I, s:I}", "resource", record->resource,
	    "deployment", record->deployment, "method", text_of(method), "target", text_of(target), "headers",
	    fields_of(head), "body_bytes", (json_int_t)record->body_bytes, "body_sha256", hash, "body",
	    text_of(buffer_slice(&record->body)), "status", (int)record->status, "connection",
	    (json_int_t)record->connection, "unix_ms", (json_int_t)record->unix_ms);
}

json_t *
sim_journal_describe(const struct sim_journal *journal)
{
	json_t *array = json_array();
	uint64_t first = journal->added > journal->capacity ? journal->added - journal->capacity : 0;

	for (uint64_t i = first; i < journal->added; i++)
		(void)json_array_append_new(array, describe(&journal->records[i % journal->capacity]));
	return array;
}
