#include "policy/select.h"

static uint64_t
weight_of(const struct candidate *candidate)
{
	return candidate->weight == 0 ? 1 : candidate->weight;
}

/* Attempts under way by weight: below 0 when a is less busy than b. Cross-multiplied: both factors have 32 bits. */
static int
compare_load(const struct candidate *a, const struct candidate *b)
{
	uint64_t left = (uint64_t)a->in_flight * weight_of(b);
	uint64_t right = (uint64_t)b->in_flight * weight_of(a);

	return (left > right) - (left < right);
}

/* Priority and room: below 0 when a is to be preferred, 0 for equals. */
static int
compare_rank(const struct candidate *a, const struct candidate *b)
{
	if (a->no_room != b->no_room && (a->spill_early || a->priority == b->priority))
		return a->no_room ? 1 : -1;
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return 0;
}

/* Below 0 when a is to be preferred, 0 when chance decides. */
static int
compare_eligible(const struct candidate *a, const struct candidate *b)
{
	int rank = compare_rank(a, b);

	return rank != 0 ? rank : compare_load(a, b);
}

void
candidate_judge(struct candidate *candidate, const struct rest *whole, const struct rest *pair,
    const struct headroom *room, uint64_t tokens, uint64_t now_ms)
{
	enum availability of_pair = pair != NULL ? rest_availability(pair, now_ms) : AVAILABLE;

	candidate->in_flight = rest_in_flight(pair != NULL ? pair : whole);
	candidate->no_room = room != NULL && !headroom_fits(room, tokens, now_ms);
	if (UNLIKELY(candidate->no_room))
		candidate->room_ms = headroom_fits_at_ms(room, tokens, now_ms);
	candidate->availability = rest_availability(whole, now_ms);
	candidate->reason = rest_reason(whole);
	candidate->until_ms = rest_until_ms(whole);
	/* The longer obstacle of the two counts: a rest before a probe under way before a probe that is due. */
	if (of_pair == AVAILABLE || (candidate->availability == RESTING && of_pair != RESTING) ||
	    (candidate->availability == RESTING && candidate->until_ms >= rest_until_ms(pair)) ||
	    (candidate->availability == PROBING && of_pair == PROBE_DUE))
		return;
	candidate->availability = of_pair;
	candidate->reason = rest_reason(pair);
	candidate->until_ms = rest_until_ms(pair);
}

static bool
is_eligible(const struct candidate *candidate)
{
	return !candidate->excluded && (candidate->availability == AVAILABLE || candidate->availability == PROBE_DUE);
}

/* Among the candidates as good as the best, whose weights sum up to weights, the one that holds the winning ticket. */
static size_t
draw(const struct candidate *candidates, size_t count, size_t best, uint64_t weights, uint64_t random)
{
	uint64_t ticket = random % weights;

	for (size_t i = best; i < count; i++) {
		if (!is_eligible(&candidates[i]) || compare_eligible(&candidates[i], &candidates[best]) != 0)
			continue;
		if (ticket < weight_of(&candidates[i]))
			return i;
		ticket -= weight_of(&candidates[i]);
	}
	return best;
}

#define COST_BITS 16

/* -log2 of a hash as a fraction of all hashes, in 1/65536. Between the powers of two it is a straight line, which is near
 * enough: at most 0.09 too little. */
static uint64_t
cost_of(uint64_t hash)
{
	unsigned zeros = hash == 0 ? 63 : (unsigned)__builtin_clzll(hash);
	uint64_t fraction = hash << zeros << 1 >> (64 - COST_BITS);

	return ((uint64_t)zeros << COST_BITS) + (UINT64_C(1) << COST_BITS) - fraction;
}

/* The equal of the best that the request's prompt belongs to: weighted rendezvous hashing (Schindelhauer, Schomaker), where
 * the lowest cost by weight wins, so that each gets its share, and a backend that goes takes only its own prompts with it.
 * Bounded load (Mirrokni, Thorup, Zadimoghaddam): none takes more than half above its share by weight, and five
 * requests more: that is three standard deviations of what chance alone brings together, however many there are, and
 * less would send conversations away for nothing. */
static size_t
home_of(const struct candidate *candidates, size_t count, size_t best)
{
	uint64_t busy = 1, weights = 0, home_cost = 0;
	size_t home = SELECT_NONE;

	for (size_t i = 0; i < count; i++) {
		if (!is_eligible(&candidates[i]) || compare_rank(&candidates[i], &candidates[best]) != 0)
			continue;
		busy += candidates[i].in_flight;
		weights += weight_of(&candidates[i]);
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t weight = weight_of(&candidates[i]), cost;

		if (!is_eligible(&candidates[i]) || compare_rank(&candidates[i], &candidates[best]) != 0)
			continue;
		/* At or above busy * weight / weights * 3/2 + 5, without a division. */
		if (candidates[i].in_flight > 5 && (candidates[i].in_flight - 5) * weights * 2 >= busy * weight * 3)
			continue;
		cost = cost_of(candidates[i].affinity);
		if (home != SELECT_NONE && cost * weight_of(&candidates[home]) >= home_cost * weight)
			continue;
		home = i;
		home_cost = cost;
	}
	return home != SELECT_NONE ? home : best;
}

/* When a resting or probing candidate may be back: one that is being probed, any moment. */
static uint64_t
back_at(const struct candidate *candidate, uint64_t now_ms)
{
	return candidate->availability == RESTING && candidate->until_ms > now_ms ? candidate->until_ms : now_ms;
}

/* Rests that one more attempt has little hope to end: only for want of others, so that the caller gets the true error. */
static bool
is_misconfigured(const struct candidate *candidate)
{
	return rest_is_misconfigured(candidate->reason) || candidate->reason == REST_NO_TOKEN;
}

/* Whether to try a rather than b, when all rest for errors. */
static bool
is_sooner(const struct candidate *a, const struct candidate *b, uint64_t now_ms)
{
	if (is_misconfigured(a) != is_misconfigured(b))
		return is_misconfigured(b);
	if (back_at(a, now_ms) != back_at(b, now_ms))
		return back_at(a, now_ms) < back_at(b, now_ms);
	return compare_eligible(a, b) < 0;
}

/* Nobody is eligible: who is throttled until when, or who is to be tried all the same. */
static struct selection
select_resting(const struct candidate *candidates, size_t count, uint64_t now_ms, bool allow_forced)
{
	struct selection selection = { .index = SELECT_NONE };
	size_t soonest = SELECT_NONE;

	for (size_t i = 0; i < count; i++) {
		if (candidates[i].excluded)
			continue;
		if (candidates[i].reason == REST_THROTTLED) {
			uint64_t until_ms = back_at(&candidates[i], now_ms);

			if (!selection.throttled || until_ms < selection.throttled_until_ms)
				selection.throttled_until_ms = until_ms;
			selection.throttled = true;
		} else if (soonest == SELECT_NONE || is_sooner(&candidates[i], &candidates[soonest], now_ms)) {
			soonest = i;
		}
	}
	if (allow_forced && !selection.throttled && soonest != SELECT_NONE) {
		selection.index = soonest;
		selection.forced = true;
	}
	return selection;
}

/* Whether nobody eligible has room, of whatever priority; and when the first of them will. */
static bool
nobody_has_room(const struct candidate *candidates, size_t count, uint64_t *room_ms)
{
	*room_ms = UINT64_MAX;
	for (size_t i = 0; i < count; i++) {
		if (!is_eligible(&candidates[i]))
			continue;
		if (!candidates[i].no_room)
			return false;
		if (candidates[i].room_ms < *room_ms)
			*room_ms = candidates[i].room_ms;
	}
	return true;
}

struct selection
select_backend(const struct candidate *candidates, size_t count, uint64_t now_ms, uint64_t random, bool allow_forced)
{
	size_t best = SELECT_NONE;
	uint64_t weights = 0;

	/* The best is the first of its equals; weights is the sum of all of them. */
	for (size_t i = 0; i < count; i++) {
		if (!is_eligible(&candidates[i]))
			continue;

		int order = best == SELECT_NONE ? -1 : compare_eligible(&candidates[i], &candidates[best]);
		if (order < 0) {
			best = i;
			weights = 0;
		}
		if (order <= 0)
			weights += weight_of(&candidates[i]);
	}
	if (best == SELECT_NONE)
		return select_resting(candidates, count, now_ms, allow_forced);

	size_t chosen = candidates[best].affinity != 0 ? home_of(candidates, count, best)
						       : draw(candidates, count, best, weights, random);
	struct selection selection = { .index = chosen, .probe = candidates[chosen].availability == PROBE_DUE };
	if (UNLIKELY(candidates[chosen].no_room))
		selection.no_room = nobody_has_room(candidates, count, &selection.room_ms);
	return selection;
}

void
glance_at(struct glance *glance, size_t index, uint32_t priority, uint32_t weight, uint32_t in_flight)
{
	uint32_t own_weight = weight == 0 ? 1 : weight;
	uint64_t left = (uint64_t)in_flight * glance->weight, right = (uint64_t)glance->in_flight * own_weight;

	if (glance->index == SELECT_NONE || priority < glance->priority ||
	    (priority == glance->priority && left < right)) {
		glance->weights = own_weight;
	} else if (priority == glance->priority && left == right) {
		/* The latest of the equals takes the first place with its weight's share of chance: so each gets its own.
		 * The numbers are Knuth's MMIX generator's, of which the upper bits are good. */
		glance->weights += own_weight;
		glance->random = glance->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		if ((glance->random >> 32) * glance->weights >= (uint64_t)own_weight << 32)
			return;
	} else {
		return;
	}
	glance->index = index;
	glance->priority = priority;
	glance->weight = own_weight;
	glance->in_flight = in_flight;
}
