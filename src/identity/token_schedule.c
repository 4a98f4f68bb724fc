#include "identity/token_schedule.h"

#define TWO_HOURS_MS 7200000U
#define TEN_MINUTES_MS 600000U
#define FIVE_MINUTES_MS 300000U
#define FIRST_WAIT_MS 500U

uint64_t
token_refresh_at_ms(uint64_t now_ms, uint64_t expires_ms)
{
	uint64_t left_ms = expires_ms > now_ms ? expires_ms - now_ms : 0, wait_ms;

	if (left_ms > TWO_HOURS_MS || left_ms < TEN_MINUTES_MS)
		wait_ms = left_ms / 2;
	else
		wait_ms = left_ms - FIVE_MINUTES_MS;
	return now_ms + (wait_ms > TOKEN_REFRESH_LEAST_MS ? wait_ms : TOKEN_REFRESH_LEAST_MS);
}

uint64_t
token_retry_wait_ms(enum token_verdict verdict, unsigned failures, uint64_t retry_after_ms, uint64_t random)
{
	uint64_t most_ms = verdict == TOKEN_SOON ? TOKEN_SOON_MOST_MS : TOKEN_RETRY_MOST_MS;
	uint64_t wait_ms = FIRST_WAIT_MS;

	for (unsigned i = 1; i < failures && wait_ms < most_ms; i++)
		wait_ms *= 2;
	if (verdict == TOKEN_REFUSED && wait_ms < TOKEN_REFUSED_LEAST_MS)
		wait_ms = TOKEN_REFUSED_LEAST_MS;
	if (wait_ms > most_ms)
		wait_ms = most_ms;
	wait_ms = wait_ms * (80 + random % 41) / 100;
	if (retry_after_ms > TOKEN_RETRY_AFTER_MOST_MS)
		retry_after_ms = TOKEN_RETRY_AFTER_MOST_MS;
	return wait_ms > retry_after_ms ? wait_ms : retry_after_ms;
}
