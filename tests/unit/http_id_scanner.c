/* Ids of stored things are found in bodies and answers, whole or in pieces, and nothing else is taken for one. */
#include "unit.h"

#include <stdio.h>

#include "base/compiler.h"
#include "http/id_scanner.h"

#define SEED 0x5eedULL

struct notes {
	char text[256]; /* "member:hash " for each, with the hash of known ids as their text */
};

static const char *const known[] = { "resp_1", "resp_2", "conv_1", "file-1", "file-2", "vs_1", "a/b+c=", "rs_1",
	"asst_1", "thread_1", "cntr_1" };
static const char *const names[] = { "none", "id", "type", "previous", "conversation", "file", "vector_store",
	"assistant", "thread", "container", "encrypted" };

static void
note(const struct id_found *found, void *context)
{
	struct notes *notes = context;
	size_t used = strlen(notes->text);
	const char *what = found->item_reference ? "item_reference" : "?";

	for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
		if (found->hash == id_hash(slice_from(known[i]), SEED))
			what = known[i];
	}
	(void)snprintf(notes->text + used, sizeof(notes->text) - used, "%s=%s ", names[found->member], what);
}

static void
scan_in_pieces(const char *text, size_t piece, struct notes *notes)
{
	struct id_scanner scanner;
	size_t length = strlen(text);

	notes->text[0] = '\0';
	id_scanner_init(&scanner, SEED, note, notes);
	for (size_t at = 0; at < length; at += piece) {
		size_t size = length - at < piece ? length - at : piece;
		char *copy = exact_copy(text + at, size);

		id_scanner_feed(&scanner, slice_of(copy, size));
		free(copy);
	}
}

static const struct {
	const char *behaviour, *text, *want;
} cases[] = {
	{ "an empty text has none", "", "" },
	{ "a response to go on from", "{\"model\":\"m\",\"previous_response_id\":\"resp_1\"}", "previous=resp_1 " },
	{ "null names nothing", "{\"previous_response_id\":null,\"input\":\"x\"}", "" },
	{ "an empty id names nothing", "{\"previous_response_id\":\"\"}", "" },
	{ "blanks anywhere", "{ \"previous_response_id\" :\r\n\t\"resp_2\" }", "previous=resp_2 " },
	{ "a conversation as a string", "{\"conversation\":\"conv_1\"}", "conversation=conv_1 " },
	{ "a conversation as an object", "{\"conversation\":{\"id\":\"conv_1\"}}", "conversation=conv_1 " },
	{ "a conversation's id is the next name or none", "{\"conversation\":{\"x\":1},\"id\":\"resp_1\"}",
	    "id=resp_1 " },
	{ "a file deep inside", "{\"input\":[{\"content\":[{\"type\":\"input_file\",\"file_id\":\"file-1\"}]}]}",
	    "type=? file=file-1 " },
	{ "a list of stores", "{\"tools\":[{\"vector_store_ids\":[\"vs_1\", \"x\"],\"id\":\"resp_1\"}]}",
	    "vector_store=vs_1 vector_store=? id=resp_1 " },
	{ "an empty list", "{\"file_ids\":[],\"id\":\"resp_1\"}", "id=resp_1 " },
	{ "a list of other things", "{\"file_ids\":[{\"id\":\"resp_1\"}],\"file_id\":\"file-1\"}",
	    "id=resp_1 file=file-1 " },
	{ "a slash may be escaped", "{\"encrypted_content\":\"a\\/b+c=\"}", "encrypted=a/b+c= " },
	{ "and need not be", "{\"encrypted_content\":\"a/b+c=\"}", "encrypted=a/b+c= " },
	{ "a value is not taken for a name", "{\"input\":\"file_id\",\"x\":\"file-1\"}", "" },
	{ "a text that speaks of ids names none", "{\"input\":\"say \\\"file_id\\\":\\\"file-1\\\" please\"}", "" },
	{ "a backslash before a closing quote's backslash", "{\"input\":\"\\\\\",\"file_id\":\"file-1\"}",
	    "file=file-1 " },
	{ "numbers and words between", "{\"a\":1.5e3,\"b\":true,\"file_id\":\"file-2\",\"c\":null}", "file=file-2 " },
	{ "a reference to an item", "{\"input\":[{\"type\":\"item_reference\",\"id\":\"rs_1\"}]}",
	    "type=item_reference id=rs_1 " },
	{ "an event stream",
	    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n"
	    ": keep-alive\n\ndata: {\"item\":{\"id\":\"rs_1\",\"encrypted_content\":\"a/b+c=\"}}\n\ndata: [DONE]\n\n",
	    "type=? id=resp_1 id=rs_1 encrypted=a/b+c= " },
	{ "a raw line feed ends what was no string", "\"file_id\n\"file_id\":\"file-1\"", "file=file-1 " },
	{ "a long name is none of them", "{\"previous_response_id_previous_response_id\":\"resp_1\",\"id\":\"resp_2\"}",
	    "id=resp_2 " },
	{ "assistants, threads and containers",
	    "{\"assistant_id\":\"asst_1\",\"thread_id\":\"thread_1\",\"container\":\"cntr_1\"}",
	    "assistant=asst_1 thread=thread_1 container=cntr_1 " },
	{ "cut off in a value", "{\"file_id\":\"file-1", "" },
	{ "metadata are the caller's own words",
	    "{\"metadata\":{\"file_id\":\"x\",\"container\":[\"y\"]},\"id\":\"resp_1\"}", "id=resp_1 " },
	{ "at any depth", "{\"metadata\" : {\"a\":[{\"file_id\":\"x\"},{\"id\":{}}]} ,\"file_id\":\"file-1\"}",
	    "file=file-1 " },
	{ "braces in their texts end nothing",
	    "{\"metadata\":{\"}\":\"} \\\"}{\",\"b\":\"\\\\\",\"file_id\":\"x\"},\"file_id\":\"file-1\"}",
	    "file=file-1 " },
	{ "metadata that are none", "{\"metadata\":null,\"file_id\":\"file-1\",\"x\":\"metadata\",\"id\":\"resp_1\"}",
	    "file=file-1 id=resp_1 " },
	{ "empty metadata", "{\"metadata\":{},\"file_id\":\"file-1\"}", "file=file-1 " },
	{ "metadata in a list of things",
	    "{\"data\":[{\"metadata\":{\"id\":\"x\"},\"id\":\"resp_1\"},{\"id\":\"resp_2\"}]}",
	    "id=resp_1 id=resp_2 " },
	{ "attributes, parameters, schemas and headers are the caller's own as well",
	    "{\"attributes\":{\"file_id\":\"x\"},\"parameters\":{\"file_id\":\"x\"},\"schema\":{\"file_id\":\"x\"},"
	    "\"input_schema\":{\"file_id\":\"x\"},\"item_schema\":{\"file_id\":\"x\"},\"headers\":{\"file_id\":\"x\"}}",
	    "" },
	{ "so are the names of variables",
	    "{\"variables\":{\"file_id\":\"x\",\"container\":\"y\"},\"file_id\":\"file-1\"}", "file=file-1 " },
	{ "but not what a variable holds",
	    "{\"variables\":{\"file_id\":{\"type\":\"input_file\",\"file_id\":\"file-1\"},\"id\":\"x\"},\"id\":\"resp_"
	    "1\"}",
	    "type=? file=file-1 id=resp_1 " },
	{ "not even as an object of its own",
	    "{\"variables\":{\"a\":{\"conversation\":{\"id\":\"conv_1\"}},\"id\":\"x\"}}", "conversation=conv_1 " },
};

static void
test_what_is_found(void **state)
{
	static const size_t pieces[] = { 4096, 1, 2, 3, 7, 16 };
	struct notes notes;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		for (size_t k = 0; k < ARRAY_COUNT(pieces); k++) {
			scan_in_pieces(cases[i].text, pieces[k], &notes);
			CHECK_TEXT(cases[i].behaviour, slice_from(notes.text), cases[i].want);
		}
	}
}

static void
test_the_hash_depends_on_the_seed_and_on_every_byte(void **state)
{
	(void)state;
	assert_true(id_hash(SLICE("resp_1"), 1) != id_hash(SLICE("resp_1"), 2));
	assert_true(id_hash(SLICE("resp_1"), 1) != id_hash(SLICE("resp_2"), 1));
	assert_true(id_hash(SLICE("resp_"), 1) != id_hash(SLICE("resp_1"), 1));
	assert_true(id_hash(SLICE(""), 1) != id_hash(SLICE("a"), 1));
}

static const struct {
	const char *path, *want;
} paths[] = {
	{ "/responses/resp_1", "resp_1" },
	{ "/responses/resp_1/input_items", "resp_1" },
	{ "/responses", "" },
	{ "/responses/", "" },
	{ "/responses/compact", "" },
	{ "/responses/input_tokens", "" },
	{ "/files/file-1/content", "file-1" },
	{ "/vector_stores/vs_1/files/file-1", "vs_1" },
	{ "/batches/batch_1/cancel", "batch_1" },
	{ "/threads/thread_1/runs/run_1", "thread_1" },
	{ "/threads/runs", "" },
	{ "/fine_tuning/jobs/ft-1/events", "ft-1" },
	{ "/video/generations/jobs/job_1", "job_1" },
	{ "/video/generations/gen_1/content", "gen_1" },
	{ "/video/generations/jobs", "" },
	{ "/chat/completions/chatcmpl-1", "chatcmpl-1" },
	{ "/chat/completions", "" },
	{ "/embeddings", "" },
	{ "/filesystem/file-1", "" },
	{ "", "" },
};

static void
test_ids_in_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(paths); i++)
		CHECK_TEXT(paths[i].path, id_in_path(slice_from(paths[i].path)), paths[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_found),
		cmocka_unit_test(test_the_hash_depends_on_the_seed_and_on_every_byte),
		cmocka_unit_test(test_ids_in_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
