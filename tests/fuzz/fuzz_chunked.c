/* Chunked bodies: the same payload, whole or in pieces; framing written here is read back. */
#include "fuzz.h"

#include "base/buffer.h"
#include "http/framing.h"

struct outcome {
	enum body_status status;
	size_t consumed;
	struct buffer payload;
};

static struct body_reader
chunked_reader(void)
{
	static const struct request_head head = { .chunked = true, .content_length = NO_CONTENT_LENGTH };
	struct body_reader reader;

	body_reader_init_request(&reader, &head);
	return reader;
}

static struct outcome
read_chunks(struct slice input, bool in_pieces)
{
	struct outcome outcome = { .status = BODY_MORE };
	struct body_reader reader = chunked_reader();

	for (size_t at = 0; at < input.length && outcome.status == BODY_MORE;) {
		size_t size = in_pieces ? next_piece(input, at) : input.length;
		char *piece = exact_copy(slice_of(input.data + at, size));
		size_t payload, consumed;
		outcome.status = body_read(&reader, piece, size, &payload, &consumed);
		PROMISE(consumed <= size && payload <= consumed);
		PROMISE(outcome.status == BODY_DONE || consumed == size);
		buffer_append(&outcome.payload, piece, payload);
		outcome.consumed += consumed;
		at += size;
		free(piece);
	}
	PROMISE(reader.payload_bytes == outcome.payload.length);
	PROMISE(body_read_end(&reader) == (outcome.status == BODY_DONE));
	return outcome;
}

/* The payload as one chunk and the last, read back. */
static void
check_round_trip(struct slice payload)
{
	char room[CHUNK_PREFIX_MAX_BYTES];
	struct buffer bytes = { 0 };
	struct body_reader reader = chunked_reader();
	size_t read, consumed;

	if (payload.length > 0) {
		size_t length = chunk_prefix_before(room + sizeof(room), payload.length);
		buffer_append(&bytes, room + sizeof(room) - length, length);
		buffer_append_slice(&bytes, payload);
		buffer_append_string(&bytes, "\r\n");
	}
	buffer_append_slice(&bytes, CHUNK_LAST);
	PROMISE(body_read(&reader, bytes.data, bytes.length, &read, &consumed) == BODY_DONE);
	PROMISE(consumed == bytes.length && slice_equals(slice_of(bytes.data, read), payload));
	buffer_free(&bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = input_slice(data, size);
	struct outcome whole = read_chunks(input, false), pieces = read_chunks(input, true);

	PROMISE(whole.status == pieces.status);
	PROMISE(slice_equals(buffer_slice(&whole.payload), buffer_slice(&pieces.payload)));
	PROMISE(whole.status != BODY_DONE || whole.consumed == pieces.consumed);
	buffer_free(&whole.payload);
	buffer_free(&pieces.payload);
	check_round_trip(input);
	return 0;
}
