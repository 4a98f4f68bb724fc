/* Names that a backend does not know are remembered, each by itself, and displaced rather than piled up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policy/missing.h"

static struct missing_table table;

static int
empty(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	return 0;
}

static void
test_nothing_is_known_at_first(void **state)
{
	(void)state;
	assert_int_equal(missing_until(&table, 42), 0);
}

static void
test_what_was_noted_is_remembered(void **state)
{
	(void)state;
	missing_note(&table, 42, 1000);
	missing_note(&table, 43, 2000);
	assert_int_equal(missing_until(&table, 42), 1000);
	assert_int_equal(missing_until(&table, 43), 2000);
	assert_int_equal(missing_until(&table, 44), 0);
}

static void
test_a_newer_entry_displaces_the_one_in_its_place(void **state)
{
	(void)state;
	missing_note(&table, 42, 1000);
	missing_note(&table, 42 + MISSING_ENTRIES, 2000);
	assert_int_equal(missing_until(&table, 42), 0);
	assert_int_equal(missing_until(&table, 42 + MISSING_ENTRIES), 2000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nothing_is_known_at_first, empty),
		cmocka_unit_test_setup(test_what_was_noted_is_remembered, empty),
		cmocka_unit_test_setup(test_a_newer_entry_displaces_the_one_in_its_place, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
