/* policy/select.h: which backend takes the next attempt.
 *
 * The lowest priority number that has an eligible backend wins; among its equals one that has room for the request before
 * one that would answer 429, then the least busy one (attempts under way by weight), ties at random in proportion to
 * weight. With spill_early, room counts before priority. Requests with a common prompt (affinity) go to the same one of the
 * equals (rendezvous hashing) for as long as that is not much busier than its share (bounded load). A backend whose rest has just run out is eligible for one probe. Pure: the
 * caller fills in candidates and supplies the random number; safe from any thread.
 */
#ifndef POLICY_SELECT_H
#define POLICY_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/state.h"

struct candidate {
	uint32_t priority; /* smaller goes first */
	uint32_t weight;   /* at least 1 */
	uint32_t in_flight;
	uint64_t affinity; /* the higher, the rather; 0 for all: no request shares this one's prompt */
	bool no_room;      /* would answer 429, as far as is known … */
	uint64_t room_ms;  /* … until then */
	bool spill_early;  /* the same for all */
	bool excluded;     /* already tried by this request, or does not serve the deployment */
	enum availability availability;
	enum rest_reason reason; /* when not AVAILABLE */
	uint64_t until_ms;       /* when RESTING */
};

/* What two rests and the room say: availability, reason, until_ms, in_flight, no_room and room_ms of a candidate, whose
 * priority, weight and affinity the caller knows. pair and room: of the deployment; NULL for a call without one.
 *
 * tokens	the request's, as estimated with headroom_estimate() */
void candidate_judge(struct candidate *candidate, const struct rest *whole, const struct rest *pair,
    const struct headroom *room, uint64_t tokens, uint64_t now_ms);

#define SELECT_NONE SIZE_MAX

struct selection {
	size_t index;     /* into the candidates, or SELECT_NONE */
	bool probe;       /* the chosen one is PROBE_DUE: take its probe first, and if that fails select again */
	bool forced;      /* all rest for errors and none for throttling: the soonest, all the same */
	bool no_room;     /* nobody eligible has room, as far as is known, … */
	uint64_t room_ms; /* … before this */
	bool throttled;   /* SELECT_NONE: somebody eligible rests because of its quota … */
	uint64_t throttled_until_ms; /* … the soonest of them until then (now when it is being probed) */
};

/* random: any 64 random bits. allow_forced: whether a resting backend may be chosen at all (once per request). */
struct selection select_backend(const struct candidate *candidates, size_t count, uint64_t now_ms, uint64_t random,
    bool allow_forced);

/* ---- the same at a glance, where all candidates are available --------------------------------------------------- */

/* The best so far; at first index is SELECT_NONE, random any 64 random bits, and all else 0. */
struct glance {
	size_t index;
	uint64_t random;
	uint32_t priority, weight, in_flight; /* its own */
	uint64_t weights;                     /* of all that are as good */
};

/* Looks at one more candidate. Who is best in the end is so as select_backend() has it: by priority, then by attempts under
 * way by weight, and at random by weight among equals. */
void glance_at(struct glance *glance, size_t index, uint32_t priority, uint32_t weight, uint32_t in_flight);

#endif
