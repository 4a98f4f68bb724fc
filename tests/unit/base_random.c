/* base/random.h, base/hash.h and base/clock.h */
#include "unit.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/random.h"

static void
the_same_seed_gives_the_same_numbers(void **state)
{
	struct random a, b, c;
	unsigned different = 0;

	(void)state;
	random_seed(&a, 0);
	random_seed(&b, 0);
	random_seed(&c, 1);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t number = random_next(&a);
		assert_true(number == random_next(&b));
		different += number != random_next(&c);
	}
	CHECK_NUMBER("another seed, other numbers", different, 100);
	random_seed_from_system(&a);
	random_seed_from_system(&b);
	CHECK("the kernel's seeds differ", random_next(&a) != random_next(&b));
}

static void
numbers_below_a_bound_are_even(void **state)
{
	struct random random;
	unsigned counts[10] = { 0 };

	(void)state;
	random_seed(&random, 42);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t number = random_below(&random, 10);
		assert_in_range(number, 0, 9);
		counts[number]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(counts[i], 9500, 10500);
	CHECK_NUMBER("a bound of one", random_below(&random, 1), 0);
	CHECK("a huge bound", random_below(&random, UINT64_MAX) < UINT64_MAX);
}

static void
hashes_depend_on_every_byte_and_the_seed(void **state)
{
	char text[24];
	uint64_t seen[3 * (sizeof(text) + 1)];
	size_t count = 0;

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t length = 0; length <= sizeof(text); length++) {
		seen[count++] = hash_bytes(slice_of(text, length), 1);
		seen[count++] = hash_bytes(slice_of(text, length), 2);
		assert_true(seen[count - 2] == hash_bytes(slice_of(text, length), 1));
		if (length == 0)
			continue;
		text[length - 1] = 'b';
		seen[count++] = hash_bytes(slice_of(text, length), 1);
		text[length - 1] = 'a';
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
	}
}

static void
the_clock_never_goes_back(void **state)
{
	uint64_t before_ms = clock_now_ms(), before_us = clock_now_us();

	(void)state;
	CHECK("never 0", before_ms > 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = clock_now_us();
		assert_true(now >= before_us);
		before_us = now;
	}
	CHECK("one clock, two units", clock_now_us() / 1000 - before_ms < 60000);
	CHECK("the wall clock is past 2020", clock_unix_ms() > INT64_C(1577836800000));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_numbers),
		cmocka_unit_test(numbers_below_a_bound_are_even),
		cmocka_unit_test(hashes_depend_on_every_byte_and_the_seed),
		cmocka_unit_test(the_clock_never_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
