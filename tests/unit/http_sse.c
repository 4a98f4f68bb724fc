/* http/sse.h */
#include "unit.h"

#include "http/sse.h"

/* Writes down what a scanner reports: "type|data;" for each event, "-" for one without data, "+" for a truncated one. */
static void
write_down(struct buffer *notes, const struct sse_event *event)
{
	buffer_append_slice(notes, event->type);
	buffer_append_byte(notes, event->has_data ? '|' : '-');
	buffer_append_slice(notes, event->data);
	buffer_append_string(notes, event->truncated ? "+;" : ";");
}

/* Gives bytes in pieces of the given size and notes the events; the pieces lie in memory of their exact size. */
static void
scan_in_pieces(struct sse_scanner *scanner, const char *bytes, size_t length, size_t piece, struct buffer *notes)
{
	struct sse_event event;

	for (size_t at = 0; at < length; at += piece) {
		size_t size = piece < length - at ? piece : length - at;
		char *copy = exact_copy(bytes + at, size);
		struct slice rest = slice_of(copy, size);
		while (sse_next(scanner, &rest, &event))
			write_down(notes, &event);
		CHECK_NUMBER("all was taken in", rest.length, 0);
		free(copy);
	}
}

static void
events_are_split(void **state)
{
	static const struct {
		const char *behaviour, *bytes, *want;
		bool boundary;
	} rows[] = {
		{ "nothing", "", "", true },
		{ "one event", "data: a\n\n", "|a;", true },
		{ "two events", "data: a\n\ndata: b\n\n", "|a;|b;", true },
		{ "CR LF", "data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;", true },
		{ "CR alone", "data: a\r\rdata: b\r\r", "|a;|b;", true },
		{ "line ends of every kind", "data: a\r\ndata: b\rdata: c\n\ndata: d\n\r\n", "|a\nb\nc;|d;", true },
		{ "an event that has not ended", "data: a\n\ndata: b\n", "|a;", false },
		{ "a line that has not ended", "data: a\n\ndata: b", "|a;", false },
		{ "no space behind the colon", "data:a\n\n", "|a;", true },
		{ "two spaces behind the colon", "data:  a\n\n", "| a;", true },
		{ "several lines of data", "data: a\ndata\ndata:\ndata: b\n\n", "|a\n\n\nb;", true },
		{ "empty lines of data", "data\ndata\n\n", "|\n;", true },
		{ "empty data", "data:\n\n", "|;", true },
		{ "a type", "event: response.created\ndata: {}\n\n", "response.created|{};", true },
		{ "a type behind the data", "data: {}\nevent: x\n\n", "x|{};", true },
		{ "the last of two types", "event: x\nevent: y\ndata: a\n\n", "y|a;", true },
		{ "a type alone", "event: x\n\n", "x-;", true },
		{ "a comment", ": keep-alive\n\n", "-;", true },
		{ "a comment in an event", ": a\ndata: b\n: c\n\n", "|b;", true },
		{ "a lone blank line", "\n", "-;", true },
		{ "blank lines", "\n\r\n\n", "-;-;-;", true },
		{ "fields that are passed over", "id: 1\nretry: 5\nfoo\ndata: a\n\n", "|a;", true },
		{ "field names count whole", "dat: a\ndatas: b\n data: c\nDATA: d\n\n", "-;", true },
		{ "a colon in the data", "data: a: b\n\n", "|a: b;", true },
		{ "a byte order mark",
		    "\xef\xbb\xbf"
		    "data: a\n\n",
		    "|a;", true },
		{ "a byte order mark later on",
		    "data: a\n\n\xef\xbb\xbf"
		    "data: b\n\n",
		    "|a;-;", true },
		{ "a long line", "data: 0123456789abcdef0123456789abcdef0123456789\n\n",
		    "|0123456789abcdef0123456789abcdef0123456789;", true },
		{ "the end of a stream", "data: {}\n\ndata: [DONE]\n\n", "|{};|[DONE];", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		size_t length = strlen(rows[i].bytes);
		for (size_t piece = 1; piece <= length + 1; piece++) {
			struct sse_scanner scanner;
			struct buffer notes = { 0 };
			sse_init(&scanner);
			CHECK("at the start", sse_at_boundary(&scanner));
			scan_in_pieces(&scanner, rows[i].bytes, length, piece, &notes);
			CHECK_TEXT(rows[i].behaviour, buffer_slice(&notes), rows[i].want);
			CHECK(rows[i].behaviour, sse_at_boundary(&scanner) == rows[i].boundary);
			CHECK(rows[i].behaviour, scanner.in_event == !rows[i].boundary);
			buffer_free(&notes);
			sse_free(&scanner);
		}
		/* Every cut into two. */
		for (size_t cut = 0; cut <= length; cut++) {
			struct sse_scanner scanner;
			struct buffer notes = { 0 };
			sse_init(&scanner);
			scan_in_pieces(&scanner, rows[i].bytes, cut, cut + 1, &notes);
			scan_in_pieces(&scanner, rows[i].bytes + cut, length - cut, length + 1, &notes);
			CHECK_TEXT(rows[i].behaviour, buffer_slice(&notes), rows[i].want);
			buffer_free(&notes);
			sse_free(&scanner);
		}
	}
}

static void
rest_begins_behind_the_event(void **state)
{
	static const char bytes[] = "data: a\r\n\r\ndata: b\n\ndata: c";
	struct slice rest = slice_of(bytes, sizeof(bytes) - 1);
	struct sse_scanner scanner;
	struct sse_event event;

	(void)state;
	sse_init(&scanner);
	CHECK("the first", sse_next(&scanner, &rest, &event));
	CHECK("behind the LF as well", rest.data == bytes + 11);
	CHECK("in place", event.data.data == bytes + 6 && scanner.partial.data == NULL);
	CHECK("the second", sse_next(&scanner, &rest, &event));
	CHECK("behind it", rest.data == bytes + 20);
	CHECK("no third", !sse_next(&scanner, &rest, &event));
	CHECK("only what is cut is kept", scanner.partial.length == 7 && !sse_at_boundary(&scanner));
	rest = SLICE("\n\n");
	CHECK("the third", sse_next(&scanner, &rest, &event));
	CHECK_TEXT("from both pieces", event.data, "c");
	CHECK("nothing more", !sse_next(&scanner, &rest, &event));
	CHECK("nothing is kept", scanner.partial.data == NULL);
	sse_free(&scanner);
}

static void
a_line_end_that_is_cut_is_no_boundary(void **state)
{
	static const struct {
		const char *behaviour, *first, *second, *want;
		bool boundary_between;
	} rows[] = {
		{ "behind the CR of a CR LF", "data: a\r\n\r", "\ndata: b\r\n\r\n", "|a;|b;", false },
		{ "behind the second of two CR", "data: a\r\r", "data: b\r\r", "|a;|b;", true },
		{ "behind the second of two CR, a LF follows", "data: a\r\r", "\ndata: b\r\r", "|a;|b;", true },
		{ "a CR for the second line end alone", "data: a\n\r", "data: b\n\n", "|a;|b;", false },
		{ "within the first line end", "data: a\r", "\n\r\n", "|a;", false },
		{ "between the line ends", "data: a\r\n", "\r\n", "|a;", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct sse_scanner scanner;
		struct buffer notes = { 0 };
		sse_init(&scanner);
		scan_in_pieces(&scanner, rows[i].first, strlen(rows[i].first), 100, &notes);
		CHECK(rows[i].behaviour, sse_at_boundary(&scanner) == rows[i].boundary_between);
		scan_in_pieces(&scanner, rows[i].second, strlen(rows[i].second), 100, &notes);
		CHECK(rows[i].behaviour, sse_at_boundary(&scanner));
		CHECK_TEXT(rows[i].behaviour, buffer_slice(&notes), rows[i].want);
		buffer_free(&notes);
		sse_free(&scanner);
	}
}

static void
long_events_are_reported_in_part(void **state)
{
	static const size_t pieces[] = { 1000, 65536, 10 * SSE_EVENT_MAX_BYTES };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
		for (size_t over = 0; over < 2; over++) {
			/* "data: " and the line's end belong to the event's bytes. */
			size_t length = SSE_EVENT_MAX_BYTES - 7 + over;
			struct buffer bytes = { 0 };
			struct sse_scanner scanner;
			struct sse_event event;
			bool found = false;

			buffer_append_string(&bytes, "data: ");
			for (size_t j = 0; j < length; j++)
				buffer_append_byte(&bytes, 'x');
			buffer_append_string(&bytes, "\n\ndata: next\n\n");
			sse_init(&scanner);
			for (size_t at = 0; at < bytes.length; at += pieces[i]) {
				size_t size = pieces[i] < bytes.length - at ? pieces[i] : bytes.length - at;
				struct slice rest = slice_of(bytes.data + at, size);
				while (sse_next(&scanner, &rest, &event)) {
					if (found) {
						CHECK_TEXT("the next", event.data, "next");
						CHECK("not truncated", !event.truncated);
						continue;
					}
					found = true;
					CHECK("truncated", event.truncated == (over > 0));
					CHECK_NUMBER("as much as is kept", event.data.length, length);
				}
				CHECK("never more than the cap", scanner.partial.length <= SSE_EVENT_MAX_BYTES);
			}
			CHECK("reported", found && scanner.partial.data == NULL);
			buffer_free(&bytes);
			sse_free(&scanner);
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_split),
		cmocka_unit_test(rest_begins_behind_the_event),
		cmocka_unit_test(a_line_end_that_is_cut_is_no_boundary),
		cmocka_unit_test(long_events_are_reported_in_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
