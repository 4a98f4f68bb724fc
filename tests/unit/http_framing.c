/* http/framing.h */
#include "unit.h"

#include "http/framing.h"

/* What came of reading a body: in pieces of the given size, until it is done or broken. */
struct outcome {
	enum body_status status;
	struct buffer payload;
	size_t consumed;
};

static struct outcome
read_body(struct body_reader reader, const char *bytes, size_t length, size_t piece)
{
	struct outcome outcome = { .status = BODY_MORE };

	for (size_t at = 0; outcome.status == BODY_MORE && at < length; at += piece) {
		size_t size = piece < length - at ? piece : length - at;
		size_t payload, consumed;
		char *copy = exact_copy(bytes + at, size);
		outcome.status = body_read(&reader, copy, size, &payload, &consumed);
		buffer_append(&outcome.payload, copy, payload);
		outcome.consumed += consumed;
		free(copy);
	}
	return outcome;
}

static struct body_reader
chunked_reader(void)
{
	struct request_head head = { .chunked = true, .content_length = NO_CONTENT_LENGTH };
	struct body_reader reader;

	body_reader_init_request(&reader, &head);
	return reader;
}

static void
chunks_are_squeezed_together(void **state)
{
	static const struct {
		const char *behaviour, *bytes;
		enum body_status want;
		const char *payload, *rest;
	} rows[] = {
		{ "no chunk", "0\r\n\r\n", BODY_DONE, "", "" },
		{ "one chunk", "5\r\nhello\r\n0\r\n\r\n", BODY_DONE, "hello", "" },
		{ "two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", BODY_DONE, "abcde", "" },
		{ "more is to come", "3\r\nabc\r\n2\r\nd", BODY_MORE, "abcd", "" },
		{ "the next message is left alone", "1\r\na\r\n0\r\n\r\nGET /", BODY_DONE, "a", "GET /" },
		{ "hex digits of both cases", "A\r\n0123456789\r\nb\r\n01234567890\r\n0\r\n\r\n", BODY_DONE,
		    "012345678901234567890", "" },
		{ "line ends in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", BODY_DONE, "\r\n\r\n", "" },
		{ "zeros before the size", "0000000000000001\r\na\r\n000\r\n\r\n", BODY_DONE, "a", "" },
		{ "an extension", "1;a=b\r\na\r\n0;c\r\n\r\n", BODY_DONE, "a", "" },
		{ "an extension in quotes", "1;a=\"b; c\"\r\na\r\n0\r\n\r\n", BODY_DONE, "a", "" },
		{ "white space before an extension", "1 \t;a\r\na\r\n0\r\n\r\n", BODY_DONE, "a", "" },
		{ "trailers are dropped", "1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\nrest", BODY_DONE, "a", "rest" },

		{ "no size", "\r\n", BODY_MALFORMED, "", NULL },
		{ "no size but an extension", ";a\r\n", BODY_MALFORMED, "", NULL },
		{ "a size that is no hex", "g\r\n", BODY_MALFORMED, "", NULL },
		{ "a sign", "+1\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "a minus", "-1\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "0x", "0x1\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "white space before the size", " 1\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "white space behind the size", "1 \r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "digits behind white space", "1 2\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "17 digits", "00000000000000001\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "a bare LF behind the size", "1\na\r\n", BODY_MALFORMED, "", NULL },
		{ "a bare CR behind the size", "1\ra\r\n", BODY_MALFORMED, "", NULL },
		{ "a bare LF in an extension", "1;a\na\r\n", BODY_MALFORMED, "", NULL },
		{ "a control byte in an extension", "1;a\x01\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "DEL in an extension", "1;a\x7f\r\na\r\n", BODY_MALFORMED, "", NULL },
		{ "a chunk longer than its size", "1\r\nab\r\n0\r\n\r\n", BODY_MALFORMED, "a", NULL },
		{ "a bare LF behind the data", "1\r\na\n0\r\n\r\n", BODY_MALFORMED, "a", NULL },
		{ "no LF behind the data", "1\r\na\r0\r\n\r\n", BODY_MALFORMED, "a", NULL },
		{ "a bare LF for the last line", "0\r\n\n", BODY_MALFORMED, "", NULL },
		{ "a trailer without a colon", "0\r\nX\r\n\r\n", BODY_MALFORMED, "", NULL },
		{ "a trailer with a space before the colon", "0\r\nX : y\r\n\r\n", BODY_MALFORMED, "", NULL },
		{ "a trailer without a name", "0\r\n: y\r\n\r\n", BODY_MALFORMED, "", NULL },
		{ "a trailer that is folded", "0\r\nX: y\r\n z\r\n\r\n", BODY_MALFORMED, "", NULL },
		{ "a trailer that ends in a bare LF", "0\r\nX: y\n\r\n", BODY_MALFORMED, "", NULL },
		{ "a control byte in a trailer", "0\r\nX: \x02\r\n\r\n", BODY_MALFORMED, "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].bytes);
		for (size_t piece = 1; piece <= length; piece++) {
			struct outcome outcome = read_body(chunked_reader(), rows[i].bytes, length, piece);
			CHECK_NUMBER(rows[i].behaviour, outcome.status, rows[i].want);
			CHECK_TEXT(rows[i].behaviour, buffer_slice(&outcome.payload), rows[i].payload);
			if (rows[i].rest)
				CHECK_NUMBER(rows[i].behaviour, outcome.consumed, length - strlen(rows[i].rest));
			buffer_free(&outcome.payload);
		}
	}
}

static void
what_is_broken_stays_broken(void **state)
{
	struct body_reader reader = chunked_reader();
	char bad[] = "x", good[] = "0\r\n\r\n";
	size_t payload, consumed;

	(void)state;
	assert_int_equal(body_read(&reader, bad, 1, &payload, &consumed), BODY_MALFORMED);
	assert_int_equal(body_read(&reader, good, 5, &payload, &consumed), BODY_MALFORMED);
	CHECK("may not end there", !body_read_end(&reader));
	reader = chunked_reader();
	assert_int_equal(body_read(&reader, good, 5, &payload, &consumed), BODY_DONE);
	assert_int_equal(body_read(&reader, good, 5, &payload, &consumed), BODY_DONE);
	CHECK_NUMBER("nothing more is taken", consumed, 0);
	CHECK("may end there", body_read_end(&reader));
}

/* Bytes that repeat, behind a prefix, as far as they are taken. */
static enum body_status
read_many(const char *prefix, char byte, size_t count, const char *suffix)
{
	struct buffer bytes = { 0 };

	buffer_append_string(&bytes, prefix);
	for (size_t i = 0; i < count; i++)
		buffer_append_byte(&bytes, byte);
	buffer_append_string(&bytes, suffix);
	struct outcome outcome = read_body(chunked_reader(), bytes.data, bytes.length, 1000);
	buffer_free(&bytes);
	buffer_free(&outcome.payload);
	return outcome.status;
}

static void
lines_and_trailers_are_capped(void **state)
{
	(void)state;
	CHECK_NUMBER("an extension that fits", read_many("1;", 'a', CHUNK_LINE_MAX_BYTES - 3, "\r\na\r\n0\r\n\r\n"),
	    BODY_DONE);
	CHECK_NUMBER("an extension that does not", read_many("1;", 'a', CHUNK_LINE_MAX_BYTES, "\r\na\r\n0\r\n\r\n"),
	    BODY_MALFORMED);
	CHECK_NUMBER("white space that does not end", read_many("1", ' ', CHUNK_LINE_MAX_BYTES, ""), BODY_MALFORMED);
	CHECK_NUMBER("trailers that fit", read_many("0\r\nX: ", 'a', TRAILER_MAX_BYTES - 8, "\r\n\r\n"), BODY_DONE);
	CHECK_NUMBER("trailers that do not", read_many("0\r\nX: ", 'a', TRAILER_MAX_BYTES, "\r\n\r\n"), BODY_MALFORMED);
}

static void
a_length_ends_a_body(void **state)
{
	struct request_head head = { .content_length = 5 };
	struct body_reader reader;

	(void)state;
	for (size_t piece = 1; piece <= 8; piece++) {
		body_reader_init_request(&reader, &head);
		struct outcome outcome = read_body(reader, "helloGET", 8, piece);
		CHECK_NUMBER("done", outcome.status, BODY_DONE);
		CHECK_TEXT("its bytes", buffer_slice(&outcome.payload), "hello");
		CHECK_NUMBER("the rest is left alone", outcome.consumed, 5);
		buffer_free(&outcome.payload);
	}
	body_reader_init_request(&reader, &head);
	struct outcome outcome = read_body(reader, "hell", 4, 4);
	CHECK_NUMBER("too short", outcome.status, BODY_MORE);
	buffer_free(&outcome.payload);
	CHECK("may not end there", !body_read_end(&reader));
}

static void
the_head_says_how_a_body_ends(void **state)
{
	static const struct {
		const char *behaviour;
		unsigned status;
		bool answers_head, chunked;
		uint64_t length;
		enum body_kind want;
	} rows[] = {
		{ "chunks", 200, false, true, NO_CONTENT_LENGTH, BODY_CHUNKED },
		{ "a length", 200, false, false, 3, BODY_LENGTH },
		{ "a length of nothing", 200, false, false, 0, BODY_NONE },
		{ "neither", 200, false, false, NO_CONTENT_LENGTH, BODY_UNTIL_CLOSE },
		{ "an answer to HEAD", 200, true, false, 3, BODY_NONE },
		{ "chunks in an answer to HEAD", 200, true, true, NO_CONTENT_LENGTH, BODY_NONE },
		{ "100", 100, false, false, NO_CONTENT_LENGTH, BODY_NONE },
		{ "204", 204, false, false, NO_CONTENT_LENGTH, BODY_NONE },
		{ "304 with a length", 304, false, false, 3, BODY_NONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct response_head head = { .status = rows[i].status,
			.chunked = rows[i].chunked,
			.content_length = rows[i].length };
		struct body_reader reader;
		size_t payload, consumed;
		char bytes[] = "0\r\n\r\n";

		body_reader_init_response(&reader, &head, rows[i].answers_head);
		CHECK_NUMBER(rows[i].behaviour, reader.kind, rows[i].want);
		CHECK(rows[i].behaviour,
		    body_read_end(&reader) == (rows[i].want == BODY_NONE || rows[i].want == BODY_UNTIL_CLOSE));
		if (rows[i].want != BODY_NONE)
			continue;
		CHECK_NUMBER(rows[i].behaviour, body_read(&reader, bytes, 5, &payload, &consumed), BODY_DONE);
		CHECK(rows[i].behaviour, payload == 0 && consumed == 0);
	}

	struct request_head request = { .content_length = NO_CONTENT_LENGTH };
	struct body_reader reader;
	body_reader_init_request(&reader, &request);
	CHECK("a request without a length has no body", reader.kind == BODY_NONE && reader.done);
}

static void
the_end_of_the_connection_ends_some_bodies(void **state)
{
	struct response_head head = { .status = 200, .content_length = NO_CONTENT_LENGTH };
	struct body_reader reader;

	(void)state;
	body_reader_init_response(&reader, &head, false);
	struct outcome outcome = read_body(reader, "anything", 8, 3);
	CHECK_NUMBER("never done", outcome.status, BODY_MORE);
	CHECK_TEXT("all is the body's", buffer_slice(&outcome.payload), "anything");
	CHECK("may end anywhere", body_read_end(&reader));
	buffer_free(&outcome.payload);
}

static void
chunk_sizes_are_written_backwards(void **state)
{
	static const struct {
		size_t size;
		const char *want;
	} rows[] = {
		{ 1, "1\r\n" },
		{ 15, "f\r\n" },
		{ 16, "10\r\n" },
		{ 65536, "10000\r\n" },
		{ SIZE_MAX, "ffffffffffffffff\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char room[CHUNK_PREFIX_MAX_BYTES];
		size_t length = chunk_prefix_before(room + sizeof(room), rows[i].size);
		CHECK_TEXT(rows[i].want, slice_of(room + sizeof(room) - length, length), rows[i].want);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks_are_squeezed_together),
		cmocka_unit_test(what_is_broken_stays_broken),
		cmocka_unit_test(lines_and_trailers_are_capped),
		cmocka_unit_test(a_length_ends_a_body),
		cmocka_unit_test(the_head_says_how_a_body_ends),
		cmocka_unit_test(the_end_of_the_connection_ends_some_bodies),
		cmocka_unit_test(chunk_sizes_are_written_backwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
