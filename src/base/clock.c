#include "base/clock.h"

#include <time.h>

uint64_t
clock_now_us(void)
{
	struct timespec now;

	/* Cannot fail: the clock exists and the pointer is good. The second on top keeps a fresh boot away from 0. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return ((uint64_t)now.tv_sec + 1) * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
clock_now_ms(void)
{
	return clock_now_us() / 1000;
}

int64_t
clock_unix_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
