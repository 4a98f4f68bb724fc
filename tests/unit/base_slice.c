/* base/slice.h */
#include "unit.h"

static void
numbers_are_digits_and_nothing_else(void **state)
{
	static const struct {
		const char *behaviour, *digits;
		bool ok;
		uint64_t want;
	} rows[] = {
		{ "zero", "0", true, 0 },
		{ "leading zeros count for nothing", "00042", true, 42 },
		{ "the largest", "18446744073709551615", true, UINT64_MAX },
		{ "one more overflows", "18446744073709551616", false, 0 },
		{ "ten more overflow", "18446744073709551625", false, 0 },
		{ "the largest of nineteen digits", "9999999999999999999", true, 9999999999999999999U },
		{ "the largest behind zeros", "00000000000000000018446744073709551615", true, UINT64_MAX },
		{ "many digits overflow", "99999999999999999999999", false, 0 },
		{ "nothing", "", false, 0 },
		{ "a plus", "+1", false, 0 },
		{ "a minus", "-1", false, 0 },
		{ "white space before", " 1", false, 0 },
		{ "white space behind", "1 ", false, 0 },
		{ "hex", "0x1", false, 0 },
		{ "a point", "1.0", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint64_t value = 7;
		bool ok = slice_to_u64(slice_from(rows[i].digits), &value);
		CHECK(rows[i].behaviour, ok == rows[i].ok);
		CHECK_NUMBER(rows[i].behaviour, value, ok ? rows[i].want : 7);
	}
}

static void
slices_compare_by_length_and_bytes(void **state)
{
	static const struct {
		const char *behaviour, *a, *b;
		bool same, same_nocase, starts, starts_nocase;
	} rows[] = {
		{ "two empty ones", "", "", true, true, true, true },
		{ "the same", "abc", "abc", true, true, true, true },
		{ "case", "aBc-1", "AbC-1", false, true, false, true },
		{ "a prefix", "abcd", "abc", false, false, true, true },
		{ "a prefix in another case", "ABcd", "abc", false, false, false, true },
		{ "too short for the prefix", "ab", "abc", false, false, false, false },
		{ "letters alone have case", "@[", "`{", false, false, false, false },
		{ "bytes beyond ASCII have none", "\xc4", "\xe4", false, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct slice a = slice_from(rows[i].a), b = slice_from(rows[i].b);
		CHECK(rows[i].behaviour, slice_equals(a, b) == rows[i].same);
		CHECK(rows[i].behaviour, slice_equals_nocase(a, b) == rows[i].same_nocase);
		CHECK(rows[i].behaviour, slice_starts_with(a, b) == rows[i].starts);
		CHECK(rows[i].behaviour, slice_starts_with_nocase(a, b) == rows[i].starts_nocase);
	}
	CHECK("no data at all", slice_equals(SLICE_EMPTY, SLICE("")));
	CHECK("no string at all", slice_from(NULL).length == 0);
}

static void
needles_are_found_where_they_begin(void **state)
{
	static const struct {
		const char *behaviour, *text, *needle;
		ptrdiff_t want, want_nocase;
	} rows[] = {
		{ "at the front", "retry after", "retry", 0, 0 },
		{ "at the end", "retry after", "after", 6, 6 },
		{ "the whole", "after", "after", 0, 0 },
		{ "not there", "retry", "after", -1, -1 },
		{ "in another case", "Retry AFTER", "after", -1, 6 },
		{ "an empty needle", "abc", "", 0, 0 },
		{ "an empty needle in nothing", "", "", 0, 0 },
		{ "longer than the text", "a", "aa", -1, -1 },
		{ "a false start", "aab", "ab", 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct slice text = slice_from(rows[i].text), needle = slice_from(rows[i].needle);
		CHECK(rows[i].behaviour, slice_find(text, needle) == rows[i].want);
		CHECK(rows[i].behaviour, slice_find_nocase(text, needle) == rows[i].want_nocase);
	}
}

static void
trimming_takes_spaces_and_tabs(void **state)
{
	(void)state;
	CHECK_TEXT("both ends", slice_trim(SLICE(" \t a b\t ")), "a b");
	CHECK_TEXT("white space alone", slice_trim(SLICE(" \t ")), "");
	CHECK_TEXT("nothing", slice_trim(SLICE_EMPTY), "");
	CHECK_TEXT("line ends stay", slice_trim(SLICE(" \r\n ")), "\r\n");
	CHECK_TEXT("skipping", slice_skip(SLICE("abc"), 2), "c");
	CHECK_TEXT("skipping all", slice_skip(SLICE("abc"), 3), "");
	CHECK_TEXT("skipping nothing of nothing", slice_skip(SLICE_EMPTY, 0), "");
}

static void
copies_end_in_nul(void **state)
{
	char *copy = slice_duplicate(slice_of("abcdef", 3));
	char *empty = slice_duplicate(SLICE_EMPTY);

	(void)state;
	assert_string_equal(copy, "abc");
	assert_string_equal(empty, "");
	free(copy);
	free(empty);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_digits_and_nothing_else),
		cmocka_unit_test(slices_compare_by_length_and_bytes),
		cmocka_unit_test(needles_are_found_where_they_begin),
		cmocka_unit_test(trimming_takes_spaces_and_tabs),
		cmocka_unit_test(copies_end_in_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
