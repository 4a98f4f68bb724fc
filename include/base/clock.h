/* base/clock.h: what time it is.
 *
 * Pure rooms take the time as a parameter; the rooms above them read it here, once per event. Safe from any thread.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since some moment before the process started; never goes back, never 0. */
uint64_t clock_now_ms(void);
/* Microseconds of the same clock. */
uint64_t clock_now_us(void);
/* Wall clock: milliseconds since 1970-01-01T00:00:00Z. */
int64_t clock_unix_ms(void);

#endif
