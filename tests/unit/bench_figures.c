/* The histogram behind the benchmark's percentiles: exact where values are few and small, never too low, never far off. */
#include "bench/figures.h"

#include "unit.h"

static struct figures figures;

static int
clear(void **state)
{
	(void)state;
	figures = (struct figures){ 0 };
	return 0;
}

static void
test_percentiles_of_small_values_are_exact(void **state)
{
	static const struct {
		const char *behaviour;
		double percent;
		uint64_t want;
	} cases[] = {
		{ "the least percentile is the least value", 0.001, 1 },
		{ "one percent of fifty values is the first", 1, 1 },
		{ "half of them", 50, 25 },
		{ "a fraction of a value counts as one more", 50.1, 26 },
		{ "all but one", 98, 49 },
		{ "between the last two it is the last", 98.5, 50 },
		{ "all", 100, 50 },
	};

	(void)state;
	for (uint64_t value = 50; value > 0; value--)
		figures_add(&figures, value);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_NUMBER(cases[i].behaviour, figures_percentile(&figures, cases[i].percent), cases[i].want);
	CHECK_NUMBER("least", figures.least, 1);
	CHECK_NUMBER("most", figures.most, 50);
	CHECK("mean", figures_mean(&figures) > 25.49 && figures_mean(&figures) < 25.51);
}

static void
test_nothing_counted_is_nothing_said(void **state)
{
	(void)state;
	CHECK_NUMBER("percentile", figures_percentile(&figures, 99), 0);
	CHECK("mean", figures_mean(&figures) == 0);
}

static void
test_a_percentile_is_never_below_its_value_and_at_most_a_bucket_above(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < FIGURES_BITS; bit++) {
		for (int offset = -1; offset <= 1; offset++) {
			uint64_t value = (UINT64_C(1) << bit) + (UINT64_C(1) << bit) / 3 + (uint64_t)(int64_t)offset;
			uint64_t got;

			if (value >> FIGURES_BITS != 0)
				continue;
			figures = (struct figures){ 0 };
			figures_add(&figures, value);
			figures_add(&figures,
			    UINT64_C(1) << (FIGURES_BITS - 1) << 1); /* so that the greatest does not cap it */
			got = figures_percentile(&figures, 50);
			if (got < value || got > value + value / FIGURES_STEPS + 1)
				fail_msg("%llu became %llu", (unsigned long long)value, (unsigned long long)got);
		}
	}
}

static void
test_what_is_too_great_falls_into_the_last_bucket(void **state)
{
	(void)state;
	figures_add(&figures, UINT64_MAX);
	figures_add(&figures, 7);
	CHECK_NUMBER("the small one", figures_percentile(&figures, 50), 7);
	CHECK_NUMBER("the great one", figures_percentile(&figures, 100), (UINT64_C(1) << FIGURES_BITS) - 1);
	CHECK_NUMBER("the greatest is exact", figures.most, UINT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_percentiles_of_small_values_are_exact, clear),
		cmocka_unit_test_setup(test_nothing_counted_is_nothing_said, clear),
		cmocka_unit_test_setup(test_a_percentile_is_never_below_its_value_and_at_most_a_bucket_above, clear),
		cmocka_unit_test_setup(test_what_is_too_great_falls_into_the_last_bucket, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
