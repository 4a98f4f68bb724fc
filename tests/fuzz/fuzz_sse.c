/* Event streams: the same events, whole or in pieces. */
#include "fuzz.h"

#include "base/buffer.h"
#include "http/sse.h"

static void
write_down(struct buffer *notes, const struct sse_event *event)
{
	buffer_append_format(notes, "%zu,%zu,%d,%d:", event->type.length, event->data.length, event->has_data,
	    event->truncated);
	buffer_append_slice(notes, event->type);
	buffer_append_slice(notes, event->data);
}

static struct buffer
scan(struct slice input, bool in_pieces, bool *at_boundary)
{
	struct buffer notes = { 0 };
	struct sse_scanner scanner;
	struct sse_event event;

	sse_init(&scanner);
	for (size_t at = 0; at < input.length;) {
		size_t size = in_pieces ? next_piece(input, at) : input.length;
		char *piece = exact_copy(slice_of(input.data + at, size));
		struct slice rest = slice_of(piece, size);
		while (sse_next(&scanner, &rest, &event)) {
			PROMISE(event.has_data || event.data.length == 0);
			PROMISE(!scanner.in_event);
			write_down(&notes, &event);
		}
		PROMISE(rest.length == 0 && lies_in(rest, slice_of(piece, size)));
		PROMISE(scanner.in_event == (scanner.partial.length > 0));
		PROMISE(!scanner.in_event || !sse_at_boundary(&scanner));
		at += size;
		free(piece);
	}
	*at_boundary = sse_at_boundary(&scanner);
	sse_free(&scanner);
	return notes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = input_slice(data, size);
	bool whole_boundary, pieces_boundary;
	struct buffer whole = scan(input, false, &whole_boundary), pieces = scan(input, true, &pieces_boundary);

	PROMISE(slice_equals(buffer_slice(&whole), buffer_slice(&pieces)));
	PROMISE(whole_boundary == pieces_boundary);
	buffer_free(&whole);
	buffer_free(&pieces);
	return 0;
}
