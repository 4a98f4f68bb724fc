#include "base/trim.h"

bool
trim_is_due(struct trim *trim, uint64_t made, uint64_t open)
{
	uint64_t change = made - trim->made + (open < trim->open ? trim->open - open : 0);
	bool goes_on;

	trim->made = made;
	trim->open = open;
	trim->burst += change;
	if (change > trim->peak)
		trim->peak = change;
	if (trim->rest > 0)
		trim->rest--;
	if (trim->burst < TRIM_CONNECTIONS || trim->burst < open / 8)
		return false;
	goes_on = change > trim->peak / 4;
	trim->quiet = goes_on ? 0 : trim->quiet + 1;
	trim->waited++;
	if (trim->rest > 0 || (trim->quiet < TRIM_QUIET_TICKS && trim->waited < TRIM_PATIENCE_TICKS))
		return false;
	*trim = (struct trim){ .made = made, .open = open, .rest = TRIM_REST_TICKS };
	return true;
}
