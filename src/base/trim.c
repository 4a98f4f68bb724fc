#include "base/trim.h"

bool
trim_is_due(struct trim *trim, uint64_t made, uint64_t open)
{
	uint64_t change = made - trim->made + (open < trim->open ? trim->open - open : 0);

	trim->made = made;
	trim->open = open;
	trim->burst += change;
	if (change > trim->peak)
		trim->peak = change;
	if (trim->burst < TRIM_CONNECTIONS)
		return false;
	if (change > trim->peak / 4 && ++trim->waited < TRIM_PATIENCE_TICKS)
		return false;
	trim->burst = 0;
	trim->peak = 0;
	trim->waited = 0;
	return true;
}
