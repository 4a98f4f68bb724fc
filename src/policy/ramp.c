#include "policy/ramp.h"

#include "base/log.h"

#define STEP_BITS 8
#define STEP_MASK ((UINT32_C(1) << STEP_BITS) - 1)

_Static_assert(1 + RAMP_STEPS <= STEP_MASK, "a step has its place in the word");

static uint32_t
load(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* The first is followed by one, that one by two, and these by four. */
static uint32_t
allowed(uint32_t step)
{
	return step <= 2 ? 1 : step - 1;
}

bool
ramp_is_open(const struct ramp *ramp)
{
	return (load(&ramp->word) & STEP_MASK) == 0;
}

bool
ramp_has_room(const struct ramp *ramp)
{
	uint32_t step = load(&ramp->word) & STEP_MASK;

	return step == 0 || load(&ramp->unproven) < allowed(step);
}

ramp_ticket
ramp_enter(struct ramp *ramp)
{
	uint32_t word = load(&ramp->word);

	if (LIKELY((word & STEP_MASK) == 0))
		return 0;
	atomic_fetch_add_explicit(&ramp->unproven, 1, memory_order_relaxed);
	return word;
}

void
ramp_left(struct ramp *ramp, ramp_ticket ticket)
{
	if (ticket != 0 && atomic_fetch_sub_explicit(&ramp->unproven, 1, memory_order_relaxed) == 0)
		fatal("ramp_left: no request was out");
}

void
ramp_taken(struct ramp *ramp, ramp_ticket ticket, bool silent)
{
	uint32_t word = load(&ramp->word);

	ramp_left(ramp, ticket);
	while (ticket != 0 && word >> STEP_BITS == ticket >> STEP_BITS && (word & STEP_MASK) != 0) {
		uint32_t step = (word & STEP_MASK) + 1;

		if (silent && allowed(step) > RAMP_SILENT_STEPS)
			return;
		if (step > RAMP_STEPS)
			step = 0;
		if (atomic_compare_exchange_weak_explicit(&ramp->word, &word, (word & ~STEP_MASK) | step,
			memory_order_relaxed, memory_order_relaxed))
			return;
	}
}

void
ramp_restart(struct ramp *ramp)
{
	uint32_t word = load(&ramp->word);

	while (!atomic_compare_exchange_weak_explicit(&ramp->word, &word, ((word >> STEP_BITS) + 1) << STEP_BITS | 1,
	    memory_order_relaxed, memory_order_relaxed))
		continue;
}

/* The slowest of late: a longer one counts at once, shorter ones by and by. Two that are timed together may be one. */
void
ramp_time_refusal(struct ramp *ramp, uint64_t took_ms)
{
	uint32_t known = load(&ramp->refusal_ms);
	uint32_t took = 1 + (uint32_t)(took_ms < RAMP_PATIENCE_MAX_MS ? took_ms : RAMP_PATIENCE_MAX_MS);

	atomic_store_explicit(&ramp->refusal_ms, took > known ? took : known - (known - took + 3) / 4,
	    memory_order_relaxed);
}

uint64_t
ramp_patience_ms(const struct ramp *ramp)
{
	uint32_t known = load(&ramp->refusal_ms);
	uint64_t patience_ms = known == 0 ? RAMP_PATIENCE_UNKNOWN_MS : UINT64_C(3) * (known - 1);

	if (patience_ms < RAMP_PATIENCE_MIN_MS)
		return RAMP_PATIENCE_MIN_MS;
	return patience_ms < RAMP_PATIENCE_MAX_MS ? patience_ms : RAMP_PATIENCE_MAX_MS;
}
