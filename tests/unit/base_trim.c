/* base/trim.h */
#include "unit.h"

#include "base/trim.h"

static void
memory_is_trimmed_once_a_burst_is_over(void **state)
{
	static const struct {
		const char *behaviour;
		uint64_t made[6], open[6]; /* by each tick */
		unsigned want;             /* the tick that trims, from 1; 0: none does */
	} rows[] = {
		{ "nothing happens", { 0 }, { 0 }, 0 },
		{ "a few connections", { 10, 20, 30, 40, 50, 63 }, { 0 }, 0 },
		{ "a burst that ends", { 500, 1000, 1000, 1000, 1000, 1000 }, { 500, 1000, 1000, 1000, 1000, 1000 },
		    4 },
		{ "a burst that peters out", { 500, 1000, 1100, 1100, 1100, 1100 }, { 0 }, 4 },
		{ "a burst that halts once", { 500, 500, 1000, 1000, 1500, 2000 }, { 0 }, 0 },
		{ "a burst that goes on", { 500, 1000, 1500, 2000, 2500, 3000 }, { 0 }, 0 },
		{ "a crowd that leaves", { 0 }, { 1000, 1000, 500, 0, 0, 0 }, 6 },
		{ "some of many that leave", { 0 }, { 1000, 900, 900, 900, 900, 900 }, 0 },
		{ "a crowd that comes without TLS", { 0 }, { 100, 1000, 2000, 3000, 3000, 3000 }, 0 },
		{ "few a tick, many in time", { 20, 40, 60, 80, 80, 80 }, { 0 }, 6 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct trim trim = { 0 };
		unsigned first = 0;

		for (unsigned tick = 0; tick < ARRAY_COUNT(rows[i].made); tick++) {
			if (trim_is_due(&trim, rows[i].made[tick], rows[i].open[tick]) && first == 0)
				first = tick + 1;
		}
		CHECK_NUMBER(rows[i].behaviour, first, rows[i].want);
	}
}

static void
a_burst_without_end_is_trimmed_now_and_then(void **state)
{
	struct trim trim = { 0 };
	uint64_t made = 0;
	unsigned count = 0;

	(void)state;
	for (unsigned tick = 0; tick < 600; tick++)
		count += trim_is_due(&trim, made += 1000 * (tick + 1), 0);
	CHECK_NUMBER("times", count, 10);
	trim = (struct trim){ 0 };
	count = 0;
	for (unsigned tick = 0; tick < 600; tick++)
		count += trim_is_due(&trim, 0, tick % 2 == 0 ? 1000 : 1050);
	CHECK("nor is what goes up and down trimmed all the time", count > 0 && count <= 10);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_trimmed_once_a_burst_is_over),
		cmocka_unit_test(a_burst_without_end_is_trimmed_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
