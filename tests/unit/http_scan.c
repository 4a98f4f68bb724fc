/* src/http/scan.h, against the plain loops that it stands for. */
#include "unit.h"

#include "../../src/http/chars.h"
#include "../../src/http/scan.h"
#include "base/random.h"

/* Longer than two blocks and one turn of the loop over four. */
#define LENGTH_MAX 120

static const struct scanner {
	const char *what;
	const char *(*scan)(const char *at, const char *end);
	bool (*stops)(unsigned char c);
} scanners[] = {
	{ "JSON strings", scan_json_string, scan_stops_json },
	{ "field values", scan_control, scan_stops_control },
	{ "targets", scan_blank, scan_stops_blank },
	{ "field names", scan_name, scan_stops_name },
	{ "lines", scan_line_end, scan_stops_line_end },
};

static void
quoted_letters_are_found_wherever_they_stand(void **state)
{
	static const char letters[] = "etu\\ds\"v";

	(void)state;
	for (size_t length = 2; length < LENGTH_MAX; length++) {
		for (size_t at = 0; at + 1 < length; at++) {
			for (size_t i = 0; letters[i] != '\0'; i++) {
				char text[LENGTH_MAX], *copy;

				memset(text, 'u', sizeof(text));
				text[at] = '"';
				text[at + 1] = letters[i];
				copy = exact_copy(text, length);
				CHECK_NUMBER("place", scan_quoted_etu(copy, copy + length) - copy,
				    i < 4 || (letters[i] == '"' && at + 2 < length) ? at + (letters[i] == '"' ? 1 : 0)
										    : length);
				free(copy);
			}
		}
	}
}

static void
every_byte_stops_or_passes_wherever_it_stands(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(scanners); i++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			for (size_t at = 0; at < LENGTH_MAX; at++) {
				char text[LENGTH_MAX];
				const char *found;
				bool stops = scanners[i].stops((unsigned char)byte);

				memset(text, 'x', sizeof(text));
				text[at] = (char)byte;
				found = scanners[i].scan(text, text + sizeof(text));
				CHECK_NUMBER(scanners[i].what, found - text, stops ? at : sizeof(text));
			}
		}
	}
}

static void
nothing_is_read_behind_the_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(scanners); i++) {
		for (size_t length = 0; length <= LENGTH_MAX; length++) {
			char text[LENGTH_MAX], *copy;

			memset(text, 'x', sizeof(text));
			copy = exact_copy(text, length);
			CHECK_NUMBER(scanners[i].what, scanners[i].scan(copy, copy + length) - copy, length);
			free(copy);
		}
	}
}

static void
a_name_s_letters_are_a_part_of_what_tokens_are_made_of(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		if (!scan_stops_name((unsigned char)byte))
			CHECK("a token's", char_is((char)byte, CHAR_TOKEN));
	}
}

static void
a_mask_has_a_bit_for_each_hit_on_every_machine(void **state)
{
	struct random random;

	(void)state;
	random_seed(&random, 1);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned want = i < 16 ? 1U << i : (unsigned)random_below(&random, 1U << SCAN_BLOCK_BYTES);
		uint8_t bytes[SCAN_BLOCK_BYTES];
		scan_block hits;

		for (unsigned at = 0; at < SCAN_BLOCK_BYTES; at++)
			bytes[at] = (want >> at & 1) != 0 ? 0xff : 0;
		memcpy(&hits, bytes, sizeof(hits));
		CHECK_NUMBER("here", scan_mask(hits), want);
		CHECK_NUMBER("anywhere", scan_mask_anywhere(hits), want);
	}
}

static void
line_feeds_are_all_found_in_turns(void **state)
{
	struct random random;

	(void)state;
	random_seed(&random, 2);
	for (size_t length = 0; length <= LENGTH_MAX; length++) {
		char text[LENGTH_MAX], *copy;
		size_t width;

		for (size_t at = 0; at < length; at++)
			text[at] = random_below(&random, 4) == 0 ? '\n' : 'x';
		copy = exact_copy(text, length);
		for (size_t at = 0; at < length; at += width) {
			uint64_t feeds = scan_line_feeds(copy + at, copy + length, &width);

			CHECK("it goes on", width > 0 && width <= 64 && at + width <= length);
			for (size_t i = 0; i < width; i++)
				CHECK_NUMBER("a feed", feeds >> i & 1, text[at + i] == '\n');
			CHECK("none beyond", width == 64 || feeds >> width == 0);
		}
		free(copy);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_stops_or_passes_wherever_it_stands),
		cmocka_unit_test(nothing_is_read_behind_the_end),
		cmocka_unit_test(a_name_s_letters_are_a_part_of_what_tokens_are_made_of),
		cmocka_unit_test(a_mask_has_a_bit_for_each_hit_on_every_machine),
		cmocka_unit_test(line_feeds_are_all_found_in_turns),
		cmocka_unit_test(quoted_letters_are_found_wherever_they_stand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
