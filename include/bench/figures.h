/* bench/figures.h: durations, counted into a histogram, and what can be said of them.
 *
 * Log-linear: within each power of two there are FIGURES_STEPS buckets, so that a percentile is at most 1/FIGURES_STEPS too
 * high whatever its size, and adding a value is a few instructions. Pure; one thread.
 *
 *	figures_add(&latencies, took_us);
 *	p99_us = figures_percentile(&latencies, 99.0);
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdint.h>

#define FIGURES_STEPS 64U
/* Values from 2^FIGURES_BITS on count as the greatest that fits: 2^40 us are twelve days. */
#define FIGURES_BITS 40U
#define FIGURES_BUCKETS ((FIGURES_BITS - 5U) * FIGURES_STEPS)

/* Zeroed to start. */
struct figures {
	uint64_t count;
	uint64_t sum;
	uint64_t least, most; /* exact; 0 when there are none */
	uint64_t buckets[FIGURES_BUCKETS];
};

void figures_add(struct figures *figures, uint64_t value);
/* The value that percent of all values do not exceed (0 < percent <= 100), rounded up to its bucket's end, but never above
 * the greatest value. 0 when there are no values. */
uint64_t figures_percentile(const struct figures *figures, double percent);
/* 0 when there are none. */
double figures_mean(const struct figures *figures);

#endif
