/* Which backend takes the next attempt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/random.h"
#include "policy/select.h"

#define NOW_MS 1000000U

#define FREE(p, w, busy) \
	{ \
		.priority = (p), .weight = (w), .in_flight = (busy) \
	}
#define DUE(p) \
	{ \
		.priority = (p), .weight = 1, .availability = PROBE_DUE, .reason = REST_THROTTLED, .until_ms = NOW_MS \
	}
#define PROBED(p, why) \
	{ \
		.priority = (p), .weight = 1, .availability = PROBING, .reason = (why), .until_ms = NOW_MS - 5 \
	}
#define RESTS(p, why, left) \
	{ \
		.priority = (p), .weight = 1, .availability = RESTING, .reason = (why), .until_ms = NOW_MS + (left) \
	}
/* Full ones have room again after as many milliseconds as their priority is. */
#define FULL(p, busy) \
	{ \
		.priority = (p), .weight = 1, .in_flight = (busy), .no_room = true, .room_ms = NOW_MS + (p) \
	}
#define EARLY(p, full) \
	{ \
		.priority = (p), .weight = 1, .no_room = (full), .room_ms = NOW_MS + (p), .spill_early = true \
	}
#define HOME(score, busy) \
	{ \
		.priority = 1, .weight = 1, .in_flight = (busy), .affinity = (score) \
	}
#define TRIED(p) \
	{ \
		.priority = (p), .weight = 1, .excluded = true \
	}
#define TRIED_AND_THROTTLED(p) \
	{ \
		.priority = (p), .weight = 1, .excluded = true, .availability = RESTING, .reason = REST_THROTTLED, \
		.until_ms = NOW_MS + 1 \
	}

static const struct {
	const char *behaviour;
	struct candidate candidates[4];
	size_t count;
	bool refuse_forced;
	struct selection want;
} cases[] = {
	{ "nobody there", { { 0 } }, 0, false, { .index = SELECT_NONE } },
	{ "the only one", { FREE(1, 1, 7) }, 1, false, { .index = 0 } },
	{ "the lowest priority number", { FREE(2, 1, 0), FREE(1, 1, 9), FREE(3, 1, 0) }, 3, false, { .index = 1 } },
	{ "the less busy of equals", { FREE(1, 1, 3), FREE(1, 1, 2), FREE(1, 1, 3) }, 3, false, { .index = 1 } },
	{ "busy by weight", { FREE(1, 1, 2), FREE(1, 10, 19), FREE(1, 5, 10) }, 3, false, { .index = 1 } },
	{ "no overflow in the comparison", { FREE(1, UINT32_MAX, UINT32_MAX), FREE(1, 1, 2) }, 2, false,
	    { .index = 0 } },
	{ "a weight of 0 counts as 1", { FREE(1, 0, 1), FREE(1, 1, 2) }, 2, false, { .index = 0 } },
	{ "a tried one is passed over", { TRIED(1), FREE(2, 1, 0) }, 2, false, { .index = 1 } },
	{ "a resting one is passed over", { RESTS(1, REST_THROTTLED, 5), FREE(2, 1, 0) }, 2, false, { .index = 1 } },
	{ "one that is being probed is passed over", { PROBED(1, REST_THROTTLED), FREE(2, 1, 0) }, 2, false,
	    { .index = 1 } },
	{ "a due probe goes by priority", { FREE(2, 1, 0), DUE(1) }, 2, false, { .index = 1, .probe = true } },
	{ "a due probe is not preferred", { FREE(1, 1, 0), DUE(2) }, 2, false, { .index = 0 } },
	{ "room before busyness", { FULL(1, 0), FREE(1, 1, 9) }, 2, false, { .index = 1 } },
	{ "priority before room", { FULL(1, 0), FREE(2, 1, 0) }, 2, false, { .index = 0 } },
	{ "room before priority, where asked for", { EARLY(1, true), EARLY(2, false) }, 2, false, { .index = 1 } },
	{ "priority among those with room", { EARLY(2, false), EARLY(1, false) }, 2, false, { .index = 1 } },
	{ "no room anywhere: tried all the same", { FULL(1, 3), FULL(1, 2) }, 2, false,
	    { .index = 1, .no_room = true, .room_ms = NOW_MS + 1 } },
	{ "no room anywhere, early: by priority", { EARLY(2, true), EARLY(1, true) }, 2, false,
	    { .index = 1, .no_room = true, .room_ms = NOW_MS + 1 } },
	{ "no room here, but behind", { FULL(1, 0), FULL(2, 0), FREE(3, 1, 0) }, 3, false, { .index = 0 } },
	{ "no room, and the rest rests: the soonest room", { FULL(2, 0), FULL(3, 0), RESTS(1, REST_THROTTLED, 9) }, 3,
	    false, { .index = 0, .no_room = true, .room_ms = NOW_MS + 2 } },
	{ "no room, and who has some was tried", { FULL(4, 0), TRIED(1) }, 2, false,
	    { .index = 0, .no_room = true, .room_ms = NOW_MS + 4 } },
	{ "home before busyness", { HOME(5, 0), HOME(9, 1), HOME(7, 0) }, 3, false, { .index = 1 } },
	{ "a home as busy as chance may make it stays", { HOME(5, 0), HOME(9, 10), HOME(7, 0) }, 3, false,
	    { .index = 1 } },
	{ "a home much busier than its share yields", { HOME(5, 0), HOME(9, 11), HOME(7, 0) }, 3, false,
	    { .index = 2 } },
	{ "no home outside the best priority", { HOME(5, 0), { .priority = 2, .weight = 1, .affinity = 9 } }, 2, false,
	    { .index = 0 } },
	{ "a full home yields", { HOME(5, 0), { .priority = 1, .weight = 1, .affinity = 9, .no_room = true } }, 2,
	    false, { .index = 0 } },
	{ "all were tried", { TRIED(1), TRIED(2) }, 2, false, { .index = SELECT_NONE } },
	{ "who was tried does not count as throttled", { TRIED_AND_THROTTLED(1) }, 1, false, { .index = SELECT_NONE } },
	{ "all throttled: the soonest", { RESTS(1, REST_THROTTLED, 9), RESTS(2, REST_THROTTLED, 5) }, 2, false,
	    { .index = SELECT_NONE, .throttled = true, .throttled_until_ms = NOW_MS + 5 } },
	{ "throttled and being probed: now", { RESTS(1, REST_THROTTLED, 9), PROBED(2, REST_THROTTLED) }, 2, false,
	    { .index = SELECT_NONE, .throttled = true, .throttled_until_ms = NOW_MS } },
	{ "one throttled, one failing: nobody is forced",
	    { RESTS(1, REST_THROTTLED, 9), RESTS(2, REST_UNREACHABLE, 5) }, 2, false,
	    { .index = SELECT_NONE, .throttled = true, .throttled_until_ms = NOW_MS + 9 } },
	{ "all failing: the soonest all the same", { RESTS(1, REST_SERVER_ERROR, 9), RESTS(2, REST_UNREACHABLE, 5) }, 2,
	    false, { .index = 1, .forced = true } },
	{ "but once a request", { RESTS(1, REST_SERVER_ERROR, 9), RESTS(2, REST_UNREACHABLE, 5) }, 2, true,
	    { .index = SELECT_NONE } },
	{ "failing and tried are not forced", { TRIED(1), RESTS(2, REST_UNREACHABLE, 5) }, 2, false,
	    { .index = 1, .forced = true } },
	{ "a throttled one that was tried forbids no force", { TRIED_AND_THROTTLED(1), RESTS(2, REST_UNREACHABLE, 5) },
	    2, false, { .index = 1, .forced = true } },
	{ "forced among those as soon: by priority", { RESTS(2, REST_SERVER_ERROR, 5), RESTS(1, REST_SERVER_ERROR, 5) },
	    2, false, { .index = 1, .forced = true } },
	{ "one that failed and is being probed is the soonest",
	    { RESTS(1, REST_SERVER_ERROR, 5), PROBED(2, REST_UNREACHABLE) }, 2, false, { .index = 1, .forced = true } },
	{ "one that failed is being probed, others rest longer for errors: to be waited for, or forced",
	    { PROBED(2, REST_SERVER_ERROR), RESTS(1, REST_SERVER_ERROR, 1), RESTS(1, REST_NO_TOKEN, 1) }, 3, false,
	    { .index = 0, .forced = true } },
	{ "two that failed are being probed: by priority",
	    { PROBED(2, REST_SERVER_ERROR), PROBED(1, REST_UNREACHABLE) }, 2, false, { .index = 1, .forced = true } },
	{ "the probe of one that failed is no reason to force while another is throttled",
	    { PROBED(1, REST_SERVER_ERROR), RESTS(2, REST_THROTTLED, 9) }, 2, false,
	    { .index = SELECT_NONE, .throttled = true, .throttled_until_ms = NOW_MS + 9 } },
	{ "the probe of one that failed goes on while another serves", { PROBED(1, REST_SERVER_ERROR), FREE(2, 1, 0) },
	    2, false, { .index = 1 } },
	{ "nor does it matter where another's probe is due", { PROBED(1, REST_SERVER_ERROR), DUE(2) }, 2, false,
	    { .index = 1, .probe = true } },
	{ "who waited for the probe of one that failed is not forced again", { PROBED(1, REST_SERVER_ERROR), TRIED(2) },
	    2, true, { .index = SELECT_NONE } },
	{ "misconfigured ones last", { RESTS(1, REST_CREDENTIALS, 1), RESTS(2, REST_SERVER_ERROR, 5) }, 2, false,
	    { .index = 1, .forced = true } },
	{ "a missing deployment last", { RESTS(2, REST_SERVER_ERROR, 5), RESTS(1, REST_MISSING_DEPLOYMENT, 1) }, 2,
	    false, { .index = 0, .forced = true } },
	{ "a missing deployment, for the true 404", { RESTS(1, REST_MISSING_DEPLOYMENT, 9) }, 1, false,
	    { .index = 0, .forced = true } },
	{ "refused credentials, for want of others", { RESTS(1, REST_CREDENTIALS, 9), TRIED(1) }, 2, false,
	    { .index = 0, .forced = true } },
};

static void
selects(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		for (uint64_t random = 0; random < 32; random++) {
			struct selection got = select_backend(cases[i].candidates, cases[i].count, NOW_MS,
			    random * UINT64_C(0x9e3779b97f4a7c15), !cases[i].refuse_forced);

			if (got.index != cases[i].want.index || got.probe != cases[i].want.probe ||
			    got.forced != cases[i].want.forced || got.throttled != cases[i].want.throttled ||
			    got.throttled_until_ms != cases[i].want.throttled_until_ms ||
			    got.no_room != cases[i].want.no_room ||
			    (got.no_room && got.room_ms != cases[i].want.room_ms))
				fail_msg("%s: index %zd probe %d forced %d throttled %d until %llu no room %d before "
					 "%llu",
				    cases[i].behaviour, (ptrdiff_t)got.index, got.probe, got.forced, got.throttled,
				    (unsigned long long)got.throttled_until_ms, got.no_room,
				    (unsigned long long)got.room_ms);
		}
	}
}

/* ---- what a backend's rests and room make of it -------------------------------------------------------------------- */

/* How a rest came to be as it is. */
struct past {
	enum rest_reason reason; /* REST_NONE: it never rested */
	int left_ms;             /* of it; 0 and less: it is over */
	bool probed;
	uint32_t in_flight;
};

#define NEVER \
	{ \
		.reason = REST_NONE \
	}
#define BUSY(count) \
	{ \
		.in_flight = (count) \
	}
#define LEFT(why, ms) \
	{ \
		.reason = (why), .left_ms = (ms) \
	}
#define TRYING(why) \
	{ \
		.reason = (why), .left_ms = -5, .probed = true \
	}

static const struct {
	const char *behaviour;
	struct past whole, pair;
	bool no_pair;
	enum availability availability;
	enum rest_reason reason; /* looked at unless it is available, like the next */
	int left_ms;
	uint32_t in_flight;
} judged[] = {
	{ "nothing is known", NEVER, NEVER, false, AVAILABLE, REST_NONE, 0, 0 },
	{ "without a deployment the backend counts", BUSY(7), NEVER, true, AVAILABLE, REST_NONE, 0, 7 },
	{ "with one its own attempts count", BUSY(7), BUSY(2), false, AVAILABLE, REST_NONE, 0, 2 },
	{ "the deployment rests", NEVER, LEFT(REST_THROTTLED, 9), false, RESTING, REST_THROTTLED, 9, 0 },
	{ "the backend rests", LEFT(REST_UNREACHABLE, 9), NEVER, false, RESTING, REST_UNREACHABLE, 9, 0 },
	{ "the backend rests, without a deployment", LEFT(REST_CREDENTIALS, 9), NEVER, true, RESTING, REST_CREDENTIALS,
	    9, 0 },
	{ "both rest: the longer counts", LEFT(REST_UNREACHABLE, 4), LEFT(REST_THROTTLED, 9), false, RESTING,
	    REST_THROTTLED, 9, 0 },
	{ "both rest, the backend longer", LEFT(REST_UNREACHABLE, 9), LEFT(REST_THROTTLED, 4), false, RESTING,
	    REST_UNREACHABLE, 9, 0 },
	{ "both rest alike: the backend's reason", LEFT(REST_UNREACHABLE, 9), LEFT(REST_THROTTLED, 9), false, RESTING,
	    REST_UNREACHABLE, 9, 0 },
	{ "a rest that is over is a probe that is due", NEVER, LEFT(REST_THROTTLED, 0), false, PROBE_DUE,
	    REST_THROTTLED, 0, 0 },
	{ "the same of the backend", LEFT(REST_UNREACHABLE, 0), NEVER, false, PROBE_DUE, REST_UNREACHABLE, 0, 0 },
	{ "both are due: the deployment's reason", LEFT(REST_UNREACHABLE, -1), LEFT(REST_THROTTLED, -2), false,
	    PROBE_DUE, REST_THROTTLED, -2, 0 },
	{ "a probe is under way", NEVER, TRYING(REST_SERVER_ERROR), false, PROBING, REST_SERVER_ERROR, -5, 0 },
	{ "a probe of the backend is under way", TRYING(REST_UNREACHABLE), NEVER, false, PROBING, REST_UNREACHABLE, -5,
	    0 },
	{ "a rest before a probe under way", TRYING(REST_UNREACHABLE), LEFT(REST_THROTTLED, 9), false, RESTING,
	    REST_THROTTLED, 9, 0 },
	{ "the same the other way round", LEFT(REST_UNREACHABLE, 9), TRYING(REST_THROTTLED), false, RESTING,
	    REST_UNREACHABLE, 9, 0 },
	{ "a rest before a probe that is due", LEFT(REST_UNREACHABLE, 9), LEFT(REST_THROTTLED, 0), false, RESTING,
	    REST_UNREACHABLE, 9, 0 },
	{ "a probe under way before one that is due", TRYING(REST_UNREACHABLE), LEFT(REST_THROTTLED, 0), false, PROBING,
	    REST_UNREACHABLE, -5, 0 },
	{ "the same the other way round", LEFT(REST_UNREACHABLE, 0), TRYING(REST_THROTTLED), false, PROBING,
	    REST_THROTTLED, -5, 0 },
	{ "two probes under way: the deployment's reason", TRYING(REST_UNREACHABLE), TRYING(REST_THROTTLED), false,
	    PROBING, REST_THROTTLED, -5, 0 },
};

static void
live_through(struct rest *rest, const struct past *past)
{
	uint64_t until_ms = (uint64_t)((int64_t)NOW_MS + past->left_ms);

	if (past->reason != REST_NONE)
		assert_true(rest_begin(rest, until_ms, past->reason));
	if (past->probed)
		assert_true(rest_take_probe(rest, NOW_MS - 1, 1000));
	for (uint32_t i = 0; i < past->in_flight; i++)
		rest_attempt_began(rest);
}

static void
judges_a_candidate(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(judged); i++) {
		struct candidate got = { .priority = 3, .weight = 5, .affinity = 7 };
		struct rest whole = { 0 }, pair = { 0 };

		live_through(&whole, &judged[i].whole);
		live_through(&pair, &judged[i].pair);
		candidate_judge(&got, &whole, judged[i].no_pair ? NULL : &pair, NULL, 0, NOW_MS);
		if (got.availability != judged[i].availability || got.in_flight != judged[i].in_flight || got.no_room ||
		    got.priority != 3 || got.weight != 5 || got.affinity != 7 || got.excluded)
			fail_msg("%s: availability %d in_flight %u no_room %d", judged[i].behaviour, got.availability,
			    got.in_flight, got.no_room);
		if (got.availability != AVAILABLE &&
		    (got.reason != judged[i].reason || got.until_ms != (uint64_t)((int64_t)NOW_MS + judged[i].left_ms)))
			fail_msg("%s: %s until %llu", judged[i].behaviour, rest_reason_name(got.reason),
			    (unsigned long long)got.until_ms);
	}
}

static void
judges_a_candidates_room(void **state)
{
	static const struct {
		const char *behaviour;
		uint64_t end, until_ms, tokens;
		bool no_room;
	} rooms[] = {
		{ "nothing is known", 0, 0, 1000, false },
		{ "enough", 1000, NOW_MS + 5, 1000, false },
		{ "too little", 999, NOW_MS + 5, 1000, true },
		{ "nothing, but that is old", 0, NOW_MS, 1000, false },
	};
	struct rest whole = { 0 }, pair = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rooms); i++) {
		struct headroom room = { .tokens_end = rooms[i].end, .tokens_until_ms = rooms[i].until_ms };
		struct candidate got = { .no_room = !rooms[i].no_room };

		candidate_judge(&got, &whole, &pair, &room, rooms[i].tokens, NOW_MS);
		if (got.no_room != rooms[i].no_room || got.availability != AVAILABLE)
			fail_msg("%s: no_room %d availability %d", rooms[i].behaviour, got.no_room, got.availability);
	}
}

/* ---- properties ------------------------------------------------------------------------------------------------- */

#define MANY 24

static size_t
make_candidates(struct random *random, struct candidate *candidates)
{
	size_t count = (size_t)random_below(random, MANY + 1);

	for (size_t i = 0; i < count; i++) {
		struct candidate *candidate = &candidates[i];

		memset(candidate, 0, sizeof(*candidate));
		candidate->priority = (uint32_t)random_below(random, 3);
		candidate->weight = 1 + (uint32_t)random_below(random, 4);
		candidate->in_flight = (uint32_t)random_below(random, 4);
		candidate->excluded = random_below(random, 3) == 0;
		/* Three times in four mostly resting, so that both halves of the decision are met. */
		candidate->availability = (enum availability)random_below(random, 4);
		if (random_below(random, 4) != 0 && candidate->availability != PROBING)
			candidate->availability = RESTING;
		if (candidate->availability != AVAILABLE)
			candidate->reason = (enum rest_reason)(1 + random_below(random, 5));
		if (candidate->availability == RESTING)
			candidate->until_ms = NOW_MS + 1 + random_below(random, 50);
	}
	return count;
}

static bool
eligible(const struct candidate *candidate)
{
	return !candidate->excluded && (candidate->availability == AVAILABLE || candidate->availability == PROBE_DUE);
}

static void
check_chosen(const struct candidate *candidates, size_t count, const struct candidate *chosen)
{
	for (size_t i = 0; i < count; i++) {
		if (!eligible(&candidates[i]))
			continue;
		assert_true(chosen->priority <= candidates[i].priority);
		if (chosen->priority == candidates[i].priority)
			assert_true((uint64_t)chosen->in_flight * candidates[i].weight <=
			    (uint64_t)candidates[i].in_flight * chosen->weight);
	}
}

static void
holds_for_any_candidates(void **state)
{
	struct candidate candidates[MANY];
	struct random random;

	(void)state;
	random_seed(&random, 20261122);
	for (int round = 0; round < 200000; round++) {
		size_t count = make_candidates(&random, candidates);
		bool allow_forced = random_below(&random, 2) == 0, any_eligible = false, any_throttled = false,
		     any_error = false;
		struct selection got = select_backend(candidates, count, NOW_MS, random_next(&random), allow_forced);

		for (size_t i = 0; i < count; i++) {
			any_eligible |= eligible(&candidates[i]);
			if (candidates[i].excluded || eligible(&candidates[i]))
				continue;
			any_throttled |= candidates[i].reason == REST_THROTTLED;
			any_error |= candidates[i].reason != REST_THROTTLED;
		}
		if (any_eligible) {
			assert_true(got.index < count && eligible(&candidates[got.index]));
			assert_true(!got.forced && !got.throttled);
			assert_true(got.probe == (candidates[got.index].availability == PROBE_DUE));
			check_chosen(candidates, count, &candidates[got.index]);
		} else if (allow_forced && any_error && !any_throttled) {
			assert_true(got.index < count && !candidates[got.index].excluded);
			assert_true(got.forced && !got.probe && !got.throttled);
		} else {
			assert_true(got.index == SELECT_NONE && !got.forced && !got.probe);
			assert_true(got.throttled == any_throttled);
			assert_true(!got.throttled || got.throttled_until_ms >= NOW_MS);
		}
	}
}

static void
shares_ties_by_weight(void **state)
{
	static const struct candidate candidates[] = { FREE(1, 1, 0), TRIED(1), FREE(1, 3, 0), FREE(1, 6, 0),
		FREE(2, 90, 0), FREE(1, 50, 1) };
	static const double want[] = { 0.1, 0, 0.3, 0.6, 0, 0 };
	const int rounds = 200000;
	int counts[ARRAY_COUNT(candidates)] = { 0 };
	struct random random;

	(void)state;
	random_seed(&random, 7);
	for (int i = 0; i < rounds; i++)
		counts[select_backend(candidates, ARRAY_COUNT(candidates), NOW_MS, random_next(&random), true).index]++;
	for (size_t i = 0; i < ARRAY_COUNT(candidates); i++) {
		double share = (double)counts[i] / rounds;

		/* Five standard deviations are below 0.0055. */
		if (share < want[i] - 0.006 || share > want[i] + 0.006)
			fail_msg("candidate %zu has %.4f instead of %.4f", i, share, want[i]);
	}
}

/* Requests that never end pile up in proportion to weight. */
static void
fills_by_weight(void **state)
{
	struct candidate candidates[] = { FREE(1, 1, 0), FREE(1, 2, 0), FREE(1, 5, 0) };
	struct random random;

	(void)state;
	random_seed(&random, 11);
	for (int i = 0; i < 8000; i++)
		candidates[select_backend(candidates, 3, NOW_MS, random_next(&random), true).index].in_flight++;
	assert_int_equal(candidates[0].in_flight, 1000);
	assert_int_equal(candidates[1].in_flight, 2000);
	assert_int_equal(candidates[2].in_flight, 5000);
}

static size_t
glance_over(const struct candidate *candidates, size_t count, uint64_t random)
{
	struct glance glance = { .index = SELECT_NONE, .random = random };

	for (size_t i = 0; i < count; i++)
		glance_at(&glance, i, candidates[i].priority, candidates[i].weight, candidates[i].in_flight);
	return glance.index;
}

static void
a_glance_finds_one_as_good(void **state)
{
	struct random random;

	(void)state;
	random_seed(&random, 13);
	assert_true(glance_over(NULL, 0, 1) == SELECT_NONE);
	for (int round = 0; round < 20000; round++) {
		struct candidate candidates[20];
		size_t count = 1 + random_below(&random, ARRAY_COUNT(candidates)), glanced, chosen;

		for (size_t i = 0; i < count; i++)
			candidates[i] = (struct candidate){ .priority = (uint32_t)random_below(&random, 3),
				.weight = (uint32_t)random_below(&random, 4), /* 0 counts as 1 */
				.in_flight = (uint32_t)random_below(&random, 5) };
		glanced = glance_over(candidates, count, random_next(&random));
		chosen = select_backend(candidates, count, NOW_MS, random_next(&random), true).index;
		assert_true(glanced < count);
		assert_int_equal(candidates[glanced].priority, candidates[chosen].priority);
		assert_int_equal(candidates[glanced].in_flight *
			(candidates[chosen].weight ? candidates[chosen].weight : 1),
		    candidates[chosen].in_flight * (candidates[glanced].weight ? candidates[glanced].weight : 1));
	}
}

static void
a_glance_shares_ties_by_weight(void **state)
{
	static const struct candidate candidates[] = { FREE(2, 90, 0), FREE(1, 1, 0), FREE(1, 3, 0), FREE(1, 50, 1),
		FREE(1, 6, 0), FREE(2, 90, 0) };
	static const double want[] = { 0, 0.1, 0.3, 0, 0.6, 0 };
	const int rounds = 200000;
	int counts[ARRAY_COUNT(candidates)] = { 0 };
	struct random random;

	(void)state;
	random_seed(&random, 17);
	for (int i = 0; i < rounds; i++)
		counts[glance_over(candidates, ARRAY_COUNT(candidates), random_next(&random))]++;
	for (size_t i = 0; i < ARRAY_COUNT(candidates); i++) {
		double share = (double)counts[i] / rounds;

		if (share < want[i] - 0.006 || share > want[i] + 0.006)
			fail_msg("candidate %zu has %.4f instead of %.4f", i, share, want[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selects),
		cmocka_unit_test(judges_a_candidate),
		cmocka_unit_test(judges_a_candidates_room),
		cmocka_unit_test(holds_for_any_candidates),
		cmocka_unit_test(shares_ties_by_weight),
		cmocka_unit_test(fills_by_weight),
		cmocka_unit_test(a_glance_finds_one_as_good),
		cmocka_unit_test(a_glance_shares_ties_by_weight),
	};

	return cmocka_run_group_tests_name("policy/select", tests, NULL, NULL);
}
