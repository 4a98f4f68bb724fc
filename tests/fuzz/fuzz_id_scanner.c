/* Text of any kind, scanned whole and in pieces: the same ids are found, and the scanner keeps within its word. */
#include "fuzz.h"

#include "http/id_scanner.h"

#define SEED 42U

struct sum {
	uint64_t ids;
	size_t count;
};

static void
add(const struct id_found *found, void *context)
{
	struct sum *sum = context;

	PROMISE(found->member > ID_NONE && found->member <= ID_ENCRYPTED);
	PROMISE(!found->item_reference || found->member == ID_TYPE);
	sum->ids = sum->ids * 31 + found->hash + (uint64_t)found->member;
	sum->count++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = input_slice(data, size);
	struct id_scanner scanner;
	struct sum whole = { 0 }, pieces = { 0 };

	id_scanner_init(&scanner, SEED, add, &whole);
	id_scanner_feed(&scanner, input);
	PROMISE(whole.count <= size / 4); /* an element of a list is a quote, a byte, a quote, a comma */

	id_scanner_init(&scanner, SEED, add, &pieces);
	for (size_t at = 0; at < size;) {
		size_t piece = next_piece(input, at);
		char *copy = exact_copy(slice_of(input.data + at, piece));

		id_scanner_feed(&scanner, slice_of(copy, piece));
		free(copy);
		at += piece;
	}
	PROMISE(whole.count == pieces.count && whole.ids == pieces.ids);
	PROMISE(lies_in(id_in_path(input), input));
	return 0;
}
