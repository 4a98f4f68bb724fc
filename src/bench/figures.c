#include "bench/figures.h"

#include <stddef.h>

#define STEP_BITS 6U /* FIGURES_STEPS is 1 << STEP_BITS */

/* Values below FIGURES_STEPS have a bucket each; above, a bucket is as wide as the power of two that it belongs to has
 * steps. */
static size_t
bucket_of(uint64_t value)
{
	unsigned top, shift;

	if (value >> FIGURES_BITS != 0)
		value = (UINT64_C(1) << FIGURES_BITS) - 1;
	if (value < FIGURES_STEPS)
		return (size_t)value;
	top = 63U - (unsigned)__builtin_clzll(value);
	shift = top - STEP_BITS;
	return (size_t)(shift + 1) * FIGURES_STEPS + (size_t)(value >> shift) - FIGURES_STEPS;
}

/* The greatest value that falls into the bucket. */
static uint64_t
bucket_end(size_t bucket)
{
	unsigned shift;

	if (bucket < FIGURES_STEPS)
		return bucket;
	shift = (unsigned)(bucket / FIGURES_STEPS) - 1;
	return ((uint64_t)(bucket % FIGURES_STEPS) + FIGURES_STEPS + 1) * (UINT64_C(1) << shift) - 1;
}

void
figures_add(struct figures *figures, uint64_t value)
{
	if (figures->count == 0 || value < figures->least)
		figures->least = value;
	if (value > figures->most)
		figures->most = value;
	figures->count++;
	figures->sum += value;
	figures->buckets[bucket_of(value)]++;
}

uint64_t
figures_percentile(const struct figures *figures, double percent)
{
	double exact = (double)figures->count * percent / 100.0;
	uint64_t wanted = (uint64_t)exact, seen = 0;

	if (figures->count == 0)
		return 0;
	if ((double)wanted < exact || wanted == 0)
		wanted++;
	for (size_t i = 0; i < FIGURES_BUCKETS; i++) {
		seen += figures->buckets[i];
		if (seen >= wanted)
			return bucket_end(i) < figures->most ? bucket_end(i) : figures->most;
	}
	return figures->most;
}

double
figures_mean(const struct figures *figures)
{
	return figures->count == 0 ? 0 : (double)figures->sum / (double)figures->count;
}
