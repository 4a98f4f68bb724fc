/* http/multipart.h */
#include "unit.h"

#include "base/buffer.h"
#include "http/multipart.h"

static void
boundaries_are_read_from_the_type(void **state)
{
	static const struct {
		const char *behaviour, *type;
		const char *want; /* none: unfit */
	} rows[] = {
		{ "a token", "multipart/form-data; boundary=----WebKitFormBoundary7MA4", "----WebKitFormBoundary7MA4" },
		{ "in quotes", "multipart/form-data; boundary=\"a b'()+_,-./:=?\"", "a b'()+_,-./:=?" },
		{ "in another case", "Multipart/Form-Data;BOUNDARY=x", "x" },
		{ "behind another parameter", "multipart/form-data; charset=utf-8; boundary=x", "x" },
		{ "before another parameter", "multipart/form-data ; boundary=x ; charset=\"a;b\"", "x" },
		{ "a semicolon at the end", "multipart/form-data; boundary=x;", "x" },
		{ "70 bytes",
		    "multipart/form-data; "
		    "boundary=0123456789012345678901234567890123456789012345678901234567890123456789",
		    "0123456789012345678901234567890123456789012345678901234567890123456789" },
		{ "71 bytes",
		    "multipart/form-data; "
		    "boundary=01234567890123456789012345678901234567890123456789012345678901234567890",
		    NULL },
		{ "none", "multipart/form-data", NULL },
		{ "none but another parameter", "multipart/form-data; charset=utf-8", NULL },
		{ "empty", "multipart/form-data; boundary=", NULL },
		{ "empty in quotes", "multipart/form-data; boundary=\"\"", NULL },
		{ "twice", "multipart/form-data; boundary=x; boundary=x", NULL },
		{ "a quote that is not closed", "multipart/form-data; boundary=\"x", NULL },
		{ "bytes behind the quote", "multipart/form-data; boundary=\"x\"y", NULL },
		{ "a byte that may not be in it", "multipart/form-data; boundary=\"x@y\"", NULL },
		{ "a space at its end", "multipart/form-data; boundary=\"x \"", NULL },
		{ "an escape", "multipart/form-data; boundary=\"x\\y\"", NULL },
		{ "another type", "multipart/mixed; boundary=x", NULL },
		{ "a longer type", "multipart/form-data2; boundary=x", NULL },
		{ "JSON", "application/json", NULL },
		{ "nothing", "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].type);
		char *type = exact_copy(rows[i].type, length);
		struct slice boundary = SLICE_EMPTY;
		CHECK(rows[i].behaviour,
		    multipart_boundary(slice_of(type, length), &boundary) == (rows[i].want != NULL));
		if (rows[i].want)
			CHECK_TEXT(rows[i].behaviour, boundary, rows[i].want);
		free(type);
	}
}

#define MODEL "Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper"
#define END "\r\n--b--\r\n"

static void
a_field_is_found(void **state)
{
	static const struct {
		const char *behaviour, *body;
		enum multipart_status want;
		const char *value; /* none: not found */
	} rows[] = {
		{ "alone", "--b\r\n" MODEL END, MULTIPART_OK, "whisper" },
		{ "no line end behind the closing delimiter", "--b\r\n" MODEL "\r\n--b--", MULTIPART_OK, "whisper" },
		{ "behind a file",
		    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: "
		    "audio/mpeg\r\n"
		    "\r\n\x01\r\n\r\n--x\r\n-\r\n--b\r\n" MODEL END,
		    MULTIPART_OK, "whisper" },
		{ "before another field",
		    "--b\r\n" MODEL "\r\n--b\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nen" END,
		    MULTIPART_OK, "whisper" },
		{ "a name without quotes", "--b\r\nContent-Disposition: form-data; name=model\r\n\r\nx" END,
		    MULTIPART_OK, "x" },
		{ "a header in another case", "--b\r\ncontent-disposition:FORM-DATA;NAME=\"model\"\r\n\r\nx" END,
		    MULTIPART_OK, "x" },
		{ "other headers", "--b\r\nContent-Type: text/plain\r\n" MODEL END, MULTIPART_OK, "whisper" },
		{ "an empty value", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" END, MULTIPART_OK,
		    "" },
		{ "no value at all", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n" END, MULTIPART_OK,
		    "" },
		{ "white space behind a delimiter", "--b \t\r\n" MODEL "\r\n--b-- \r\n", MULTIPART_OK, "whisper" },
		{ "text before and behind", "hello\r\n--b\r\n" MODEL END "bye\r\n", MULTIPART_OK, "whisper" },
		{ "dashes in a value that make no delimiter",
		    "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na--b--" END, MULTIPART_OK, "a--b--" },

		{ "another name", "--b\r\nContent-Disposition: form-data; name=\"Model\"\r\n\r\nx" END, MULTIPART_OK,
		    NULL },
		{ "a file of that name",
		    "--b\r\nContent-Disposition: form-data; name=\"model\"; filename=\"x\"\r\n\r\nx" END, MULTIPART_OK,
		    NULL },
		{ "a file of that name, extended",
		    "--b\r\nContent-Disposition: form-data; name=\"model\"; filename*=utf-8''x\r\n\r\nx" END,
		    MULTIPART_OK, NULL },
		{ "a name in a file's name",
		    "--b\r\nContent-Disposition: form-data; filename=\"; name=model\"; name=\"f\"\r\n\r\nx" END,
		    MULTIPART_OK, NULL },
		{ "a file's name with backslashes",
		    "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"C:\\a\\\\\"\r\n\r\nx" END,
		    MULTIPART_OK, NULL },

		{ "two of them", "--b\r\n" MODEL "\r\n--b\r\n" MODEL END, MULTIPART_DUPLICATE, NULL },

		{ "nothing", "", MULTIPART_MALFORMED, NULL },
		{ "no delimiter", "hello", MULTIPART_MALFORMED, NULL },
		{ "no closing delimiter", "--b\r\n" MODEL "\r\n", MULTIPART_MALFORMED, NULL },
		{ "no part", "--b--\r\n", MULTIPART_OK, NULL },
		{ "a part without headers", "--b\r\n\r\nx" END, MULTIPART_MALFORMED, NULL },
		{ "a part without anything", "--b\r\n--b--\r\n", MULTIPART_MALFORMED, NULL },
		{ "no disposition", "--b\r\nContent-Type: a/b\r\n\r\nx" END, MULTIPART_MALFORMED, NULL },
		{ "another disposition", "--b\r\nContent-Disposition: attachment; name=\"model\"\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "no name", "--b\r\nContent-Disposition: form-data\r\n\r\nx" END, MULTIPART_MALFORMED, NULL },
		{ "two names", "--b\r\nContent-Disposition: form-data; name=\"f\"; name=\"model\"\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "an extended name",
		    "--b\r\nContent-Disposition: form-data; name=\"f\"; name*=utf-8''model\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "an escape in a name", "--b\r\nContent-Disposition: form-data; name=\"mod\\el\"\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "an escaped quote",
		    "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"; "
		    "name=\\\"model\"\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "two dispositions",
		    "--b\r\nContent-Disposition: form-data; name=\"f\"\r\nContent-Disposition: form-data; "
		    "name=\"model\"\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "a header that is folded", "--b\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nx" END,
		    MULTIPART_MALFORMED, NULL },
		{ "a header that ends in a bare LF",
		    "--b\r\nContent-Disposition: form-data; name=\"model\"\n\r\n\r\nx" END, MULTIPART_MALFORMED, NULL },
		{ "a header without a colon", "--b\r\nContent-Disposition\r\n\r\nx" END, MULTIPART_MALFORMED, NULL },
		{ "a delimiter behind a bare LF", "--b\r\n" MODEL "\n--b\r\n" MODEL END, MULTIPART_MALFORMED, NULL },
		{ "a delimiter behind a bare CR", "--b\r\n" MODEL "\r--b--\r\n" END, MULTIPART_MALFORMED, NULL },
		{ "a delimiter that ends in a bare LF", "--b\n" MODEL END, MULTIPART_MALFORMED, NULL },
		{ "a delimiter that goes on", "--b\r\n" MODEL "\r\n--bc\r\n" END, MULTIPART_MALFORMED, NULL },
		{ "a delimiter behind the closing one", "--b\r\n" MODEL END "--b\r\n" MODEL END, MULTIPART_MALFORMED,
		    NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].body);
		char *body = exact_copy(rows[i].body, length);
		struct slice value;
		bool found;
		enum multipart_status status =
		    multipart_find(slice_of(body, length), SLICE("b"), SLICE("model"), &value, &found);
		CHECK_NUMBER(rows[i].behaviour, status, rows[i].want);
		if (status == MULTIPART_OK) {
			CHECK(rows[i].behaviour, found == (rows[i].value != NULL));
			CHECK_TEXT(rows[i].behaviour, value, rows[i].value);
		}
		free(body);
		/* What is cut before the closing delimiter is refused. */
		for (size_t cut = 0; rows[i].want == MULTIPART_OK && cut + 6 < length && rows[i].value; cut++) {
			body = exact_copy(rows[i].body, cut);
			status = multipart_find(slice_of(body, cut), SLICE("b"), SLICE("model"), &value, &found);
			bool closed = slice_find(slice_of(body, cut), SLICE("\r\n--b--")) >= 0;
			CHECK(rows[i].behaviour, status == MULTIPART_MALFORMED || closed);
			free(body);
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(boundaries_are_read_from_the_type),
		cmocka_unit_test(a_field_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
