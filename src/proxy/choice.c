#include "proxy/choice.h"

#include "base/hash.h"
#include "base/random.h"
#include "policy/hint.h"
#include "policy/pins.h"
#include "proxy/backend_set.h"
#include "proxy/proxy.h"

/* A probe's lease lasts this much longer than anything that ends it; it only matters if an end were ever missed. */
#define PROBE_LEASE_SPARE_MS 60000U

/* ---- selection ------------------------------------------------------------------------------------------------- */

static bool
was_tried(const struct exchange *exchange, size_t backend)
{
	return set_has(exchange->tried, backend);
}

static bool
was_throttled_by(const struct exchange *exchange, size_t backend)
{
	return set_has(exchange->throttled_by, backend);
}

bool
choice_find_rests(const struct exchange *exchange, size_t backend, struct rest **whole, struct rest **pair)
{
	struct backend_state *state = exchange->fleet->backends[backend].state;
	uint16_t number;

	*whole = &state->whole;
	*pair = NULL;
	if (exchange->deployment_length == 0)
		return true;
	number = fleet_serves(exchange->fleet, backend, exchange->deployment_number);
	if (number == FLEET_NOT_SERVED)
		return false;
	if (number != DEPLOYMENT_OTHER)
		*pair = &state->deployments[number];
	return true;
}

uint64_t
choice_unlisted_key(const struct exchange *exchange, size_t backend)
{
	return hash_bytes(slice_of(exchange->deployment, exchange->deployment_length),
	    (uint64_t)(uintptr_t)exchange->fleet->backends[backend].state);
}

/* What is known of the room for a pair. */
static struct headroom *
room_of(const struct exchange *exchange, size_t backend, const struct rest *pair)
{
	struct backend_state *state = exchange->fleet->backends[backend].state;

	if (UNLIKELY(exchange->fleet->backends[backend].group_first != backend))
		return fleet_room(exchange->fleet, backend, exchange->deployment_number);
	return &state->rooms[pair - state->deployments];
}

/* A deployment without a number, and so without a state, may rest all the same. */
static void
judge_unlisted(const struct exchange *exchange, size_t backend, uint64_t now_ms, struct candidate *out)
{
	struct unlisted_rest rest;

	if (exchange->deployment_length == 0 || out->availability == RESTING ||
	    !unlisted_rests(&proxy_worker_of(exchange->worker)->proxy->unlisted, choice_unlisted_key(exchange, backend),
		now_ms, &rest))
		return;
	out->availability = RESTING;
	out->reason = rest.reason;
	out->until_ms = rest.until_ms;
}

/* What the request takes of a room, as estimated by what answers from there have taught. */
static uint64_t
tokens_in(const struct headroom *room, const struct exchange *exchange)
{
	return headroom_estimate(room, exchange->estimate.prompt_bytes, exchange->estimate.output_tokens);
}

/* When the pair has room for the request, as far as is known: now, where it has or nothing is known. */
static uint64_t
room_at_ms(const struct exchange *exchange, size_t backend, const struct rest *pair, uint64_t now_ms)
{
	const struct headroom *room = room_of(exchange, backend, pair);

	return headroom_fits_at_ms(room, tokens_in(room, exchange), now_ms);
}

/* Whether it has room of its own; one that spills over has not, and makes nobody wait. */
static bool
has_room(const struct exchange *exchange, size_t backend, const struct rest *pair, uint64_t now_ms)
{
	const struct headroom *room = room_of(exchange, backend, pair);

	return headroom_fits(room, tokens_in(room, exchange), now_ms);
}

static void
fill_candidate(const struct exchange *exchange, size_t backend, uint64_t now_ms, struct candidate *out)
{
	const struct config_backend *config = exchange->fleet->backends[backend].config;
	const struct headroom *room = NULL;
	struct rest *whole, *pair;
	uint64_t tokens = 0;

	*out = (struct candidate){ .priority = config->priority,
		.weight = config->weight,
		.spill_early = exchange->fleet->config->spill_early };
	out->excluded = was_tried(exchange, backend) || pinning_forbids(exchange, backend) ||
	    !choice_find_rests(exchange, backend, &whole, &pair);
	if (out->excluded)
		return;
	if (exchange->estimate.affinity != 0 && exchange->fleet->config->prompt_cache_affinity)
		out->affinity = hash_mix(exchange->estimate.affinity, exchange->fleet->backends[backend].affinity_key);
	if (pair != NULL) {
		room = room_of(exchange, backend, pair);
		tokens = tokens_in(room, exchange);
	}
	candidate_judge(out, whole, pair, room, tokens, now_ms);
	/* Who waits for it goes in order: others are out, and may yet be refused. */
	if (exchange->hold.until_ms > now_ms && pair != NULL && out->availability == AVAILABLE &&
	    !ramp_has_room(&pair->ramp)) {
		out->availability = PROBING;
		out->reason = REST_THROTTLED;
	}
	if (pair == NULL)
		judge_unlisted(exchange, backend, now_ms, out);
}

static bool
take_probe(struct rest *rest, uint64_t now_ms, uint64_t lease_ms, bool *taken)
{
	*taken = false;
	if (rest == NULL || rest_availability(rest, now_ms) != PROBE_DUE)
		return rest == NULL || rest_availability(rest, now_ms) == AVAILABLE;
	*taken = rest_take_probe(rest, now_ms, lease_ms);
	return *taken;
}

bool
choice_take_probes(struct exchange *exchange, size_t backend, uint64_t now_ms, bool *of_pair, bool *of_whole)
{
	const struct config_timeouts *timeouts = &exchange->fleet->config->timeouts;
	uint64_t lease_ms = timeouts->connect_ms + timeouts->response_ms + timeouts->commit_ms + PROBE_LEASE_SPARE_MS;
	struct rest *whole, *pair;

	if (!choice_find_rests(exchange, backend, &whole, &pair) || !take_probe(whole, now_ms, lease_ms, of_whole))
		return false;
	if (take_probe(pair, now_ms, lease_ms, of_pair))
		return true;
	if (*of_whole) {
		rest_end_probe(whole);
		hold_wake(exchange->worker);
	}
	return false;
}

/* Whether a glance may do: nothing is known of the request that makes backends differ for it. */
static bool
may_glance(const struct exchange *exchange)
{
	return exchange->fleet->count > CHOICE_GLANCE_MIN && exchange->deployment_number != DEPLOYMENT_OTHER &&
	    exchange->tally.attempts == 0 && exchange->hold.until_ms == 0 &&
	    exchange->pinning.resource == PIN_UNKNOWN &&
	    (exchange->estimate.affinity == 0 || !exchange->fleet->config->prompt_cache_affinity);
}

/* Chooses where nobody rests and the best one has room, with as little looking as that takes: with a hundred backends it is
 * this that a request costs more than with three. SELECT_NONE where it is not as simple as that. */
static size_t
choose_at_a_glance(const struct exchange *exchange, uint64_t now_ms, uint64_t random)
{
	const struct fleet *fleet = exchange->fleet;
	struct glance glance = { .index = SELECT_NONE, .random = random };
	struct rest *whole, *pair;

	for (size_t i = 0; i < fleet->count; i++) {
		const struct config_backend *config = fleet->backends[i].config;

		if (!choice_find_rests(exchange, i, &whole, &pair))
			continue;
		if (pair == NULL || !rest_is_calm(whole) || !rest_is_calm(pair))
			return SELECT_NONE;
		glance_at(&glance, i, config->priority, config->weight, rest_in_flight(pair));
	}
	if (glance.index == SELECT_NONE || !choice_find_rests(exchange, glance.index, &whole, &pair) ||
	    !has_room(exchange, glance.index, pair, now_ms))
		return SELECT_NONE;
	return glance.index;
}

/* Calls that belong to a resource and to no deployment go to the first available backend in priority order. */
static size_t
first_in_order(const struct candidate *candidates, size_t count)
{
	size_t best = SELECT_NONE;

	for (size_t i = 0; i < count; i++) {
		if (candidates[i].excluded ||
		    (candidates[i].availability != AVAILABLE && candidates[i].availability != PROBE_DUE))
			continue;
		if (best == SELECT_NONE || candidates[i].priority < candidates[best].priority)
			best = i;
	}
	return best;
}

uint64_t
choice_soonest_recovery(const struct exchange *exchange, uint64_t now_ms)
{
	uint64_t soonest_ms = exchange->throttled_until_ms;

	for (size_t i = 0; i < exchange->fleet->count; i++) {
		struct candidate candidate;
		uint64_t back_ms = now_ms + 1;
		struct rest *whole, *pair;

		if (pinning_forbids(exchange, i) || !choice_find_rests(exchange, i, &whole, &pair))
			continue;
		candidate_judge(&candidate, whole, pair, NULL, 0, now_ms);
		if (pair == NULL)
			judge_unlisted(exchange, i, now_ms, &candidate);
		if (candidate.availability == AVAILABLE && pair != NULL) {
			uint64_t room_ms = room_at_ms(exchange, i, pair, now_ms);

			if (room_ms == UINT64_MAX) /* nobody knows */
				back_ms = now_ms + exchange->fleet->config->cooldown.min_ms;
			else if (room_ms > now_ms)
				back_ms = room_ms;
		}
		if (rest_is_misconfigured(candidate.reason))
			continue;
		/* It takes requests and has failed this one all the same: nothing says when that will be otherwise. But
		 * one that was throttled then, and now is not, has room again. */
		if (was_tried(exchange, i) &&
		    (pair == NULL || (candidate.availability == AVAILABLE && !was_throttled_by(exchange, i))))
			continue;
		if (candidate.availability == RESTING)
			back_ms = candidate.until_ms;
		else if (candidate.availability == PROBING && candidate.reason == REST_THROTTLED && pair != NULL &&
		    rest_probe_until_ms(pair) > now_ms)
			back_ms = rest_probe_until_ms(pair);
		else if (candidate.availability == PROBING ||
		    (pair != NULL && !ramp_has_room(&pair->ramp))) /* who knows */
			back_ms = now_ms + exchange->fleet->config->cooldown.min_ms;
		if (soonest_ms == 0 || back_ms < soonest_ms)
			soonest_ms = back_ms;
	}
	return soonest_ms;
}

/* Why a backend is passed over, in a word; NULL when it is not. */
static const char *
reason_to_skip(const struct exchange *exchange, size_t backend, const struct candidate *candidate)
{
	if (was_tried(exchange, backend))
		return NULL;
	if (candidate->excluded)
		return pinning_forbids(exchange, backend) ? "pinned" : "not_serving";
	if (candidate->availability == RESTING || candidate->availability == PROBING)
		return rest_state_name(candidate->availability, candidate->reason);
	if (exchange->stopped_by != NULL)
		return exchange->stopped_by;
	return candidate->no_room ? "no_headroom" : NULL;
}

/* "openai1=skip:cooling(29999ms;retry-after-ms)" */
static void
explain(struct exchange *exchange, size_t backend, const struct candidate *candidate, uint64_t now_ms)
{
	struct passed_over why = { .reason = reason_to_skip(exchange, backend, candidate) };
	struct rest *whole, *pair;

	if (why.reason == NULL)
		return;
	if (!candidate->excluded && candidate->availability == RESTING && candidate->until_ms > now_ms) {
		why.rest_ms = candidate->until_ms - now_ms;
		why.because = rest_reason_name(candidate->reason);
		if (candidate->reason == REST_THROTTLED && choice_find_rests(exchange, backend, &whole, &pair) &&
		    pair != NULL)
			why.because = hint_source_name(
			    (enum hint_source)atomic_load_explicit(&pair->hint_source, memory_order_relaxed));
	}
	explain_passed_over(&exchange->explanation, backend, exchange->fleet->backends[backend].config->name, &why);
}

void
choice_make(const struct exchange *exchange, uint64_t now_ms, struct choice *choice)
{
	uint64_t random = random_next(&exchange->worker->random);
	size_t count = exchange->fleet->count;
	struct selection *selection = &choice->selection;

	choice->being_probed = false;
	if (may_glance(exchange)) {
		*selection = (struct selection){ .index = choose_at_a_glance(exchange, now_ms, random) };
		choice->calm = selection->index != SELECT_NONE;
		if (choice->calm)
			return;
	}
	choice->calm = false;
	for (size_t i = 0; i < count; i++)
		fill_candidate(exchange, i, now_ms, &choice->candidates[i]);
	*selection = select_backend(choice->candidates, count, now_ms, random, !exchange->forced_once);
	if (exchange->deployment_length == 0 && selection->index != SELECT_NONE && !selection->forced)
		selection->index = first_in_order(choice->candidates, count);
	choice->being_probed =
	    selection->index != SELECT_NONE && choice->candidates[selection->index].availability == PROBING;
}

void
choice_explain_skipped(struct exchange *exchange, const struct choice *choice, uint64_t now_ms)
{
	const struct candidate *chosen = &choice->candidates[choice->selection.index];
	/* That one does not serve the deployment is no news while all goes well. */
	bool excluded_matter = exchange->tally.attempts > 0 || exchange->pinning.resource != PIN_UNKNOWN;

	if (choice->calm)
		return;
	for (size_t i = 0; i < exchange->fleet->count; i++) {
		const struct candidate *candidate = &choice->candidates[i];

		if (candidate == chosen || candidate->priority > chosen->priority)
			continue;
		if (candidate->excluded ? excluded_matter
					: candidate->availability != AVAILABLE || candidate->no_room > chosen->no_room)
			explain(exchange, i, candidate, now_ms);
	}
}

void
choice_explain_all(struct exchange *exchange, uint64_t now_ms)
{
	for (size_t i = 0; i < exchange->fleet->count; i++) {
		struct candidate candidate;

		fill_candidate(exchange, i, now_ms, &candidate);
		explain(exchange, i, &candidate, now_ms);
	}
}

/* ---- waiting for a throttled backend ---------------------------------------------------------------------------- */

/* What the pair is like, whether it has been tried or not. False when the backend does not serve the deployment. */
static bool
look_at_pair(const struct exchange *exchange, size_t backend, uint64_t now_ms, enum availability *of_whole,
    enum availability *of_pair, struct rest **pair)
{
	struct rest *whole;

	if (pinning_forbids(exchange, backend) || !choice_find_rests(exchange, backend, &whole, pair) || *pair == NULL)
		return false;
	*of_whole = rest_availability(whole, now_ms);
	*of_pair = rest_availability(*pair, now_ms);
	return true;
}

/* An error is not waited for, but while there is something else to wait for its end may come first; and who has waited for a
 * probe that failed goes on to wait for the next one, instead of asking beside all the others. */
static void
note_error_ends(const struct exchange *exchange, const struct rest *rest, enum availability availability,
    uint64_t now_ms, struct throttle_end *out)
{
	enum rest_reason reason = rest_reason(rest);
	uint64_t until_ms = rest_until_ms(rest);

	if (availability != RESTING || until_ms <= now_ms || reason == REST_THROTTLED || rest_is_misconfigured(reason))
		return;
	if (until_ms < out->next_ms)
		out->next_ms = until_ms;
	if (exchange->hold.until_ms != 0 && until_ms < out->soonest_ms)
		out->soonest_ms = until_ms;
}

bool
choice_throttle_ends(const struct exchange *exchange, uint64_t now_ms, struct throttle_end *out)
{
	enum availability of_whole, of_pair;
	struct rest *pair;

	*out = (struct throttle_end){ UINT64_MAX, UINT64_MAX };
	for (size_t i = 0; i < exchange->fleet->count; i++) {
		uint64_t until_ms, room_ms;

		if (!look_at_pair(exchange, i, now_ms, &of_whole, &of_pair, &pair))
			continue;
		/* Who failed in another way will not be asked again. */
		if (was_tried(exchange, i) && !was_throttled_by(exchange, i))
			continue;
		note_error_ends(exchange, &exchange->fleet->backends[i].state->whole, of_whole, now_ms, out);
		note_error_ends(exchange, pair, of_pair, now_ms, out);
		if (of_whole == RESTING)
			continue;
		room_ms = room_at_ms(exchange, i, pair, now_ms);
		if (rest_reason(pair) != REST_THROTTLED && of_pair != PROBING && of_whole != PROBING &&
		    room_ms <= now_ms && ramp_has_room(&pair->ramp) &&
		    (of_pair == RESTING || !was_throttled_by(exchange, i)))
			continue;
		until_ms = of_pair == RESTING && rest_until_ms(pair) > room_ms ? rest_until_ms(pair) : room_ms;
		if (until_ms < out->soonest_ms)
			out->soonest_ms = until_ms;
		if (until_ms > now_ms && until_ms < out->next_ms)
			out->next_ms = until_ms;
	}
	return out->soonest_ms != UINT64_MAX;
}

/* Whether the backend takes requests. */
static bool
is_open(const struct exchange *exchange, size_t backend, uint64_t now_ms, struct rest **pair)
{
	enum availability of_whole, of_pair;
	/* It has waited as long as it may: better to be refused by the backend than for it. */
	bool is_tired = exchange->hold.until_ms != 0 && exchange->hold.until_ms <= now_ms;

	return look_at_pair(exchange, backend, now_ms, &of_whole, &of_pair, pair) &&
	    (of_whole == AVAILABLE || of_whole == PROBE_DUE) &&
	    (of_pair == PROBE_DUE || (of_pair == AVAILABLE && (is_tired || ramp_has_room(&(*pair)->ramp))));
}

bool
choice_can_go(const struct exchange *exchange, uint64_t now_ms)
{
	struct rest *pair;

	for (size_t i = 0; i < exchange->fleet->count; i++) {
		if (is_open(exchange, i, now_ms, &pair) && (!was_tried(exchange, i) || was_throttled_by(exchange, i)) &&
		    room_at_ms(exchange, i, pair, now_ms) <= now_ms)
			return true;
	}
	return false;
}

bool
choice_is_anybody_left(const struct exchange *exchange, uint64_t now_ms)
{
	struct rest *pair;

	for (size_t i = 0; i < exchange->fleet->count; i++)
		if (!was_tried(exchange, i) && is_open(exchange, i, now_ms, &pair))
			return true;
	return false;
}

bool
choice_flows(const struct exchange *exchange, uint64_t now_ms)
{
	enum availability of_whole, of_pair;
	struct rest *pair;

	for (size_t i = 0; i < exchange->fleet->count; i++) {
		if (!was_tried(exchange, i) && look_at_pair(exchange, i, now_ms, &of_whole, &of_pair, &pair) &&
		    of_whole == AVAILABLE && of_pair == AVAILABLE && ramp_is_open(&pair->ramp))
			return true;
	}
	return false;
}

bool
choice_has_failed(const struct exchange *exchange)
{
	uint64_t failed = 0;

	for (size_t i = 0; i < ARRAY_COUNT(exchange->tried); i++)
		failed |= exchange->tried[i] & ~exchange->throttled_by[i];
	return failed != 0;
}

bool
choice_is_particular(const struct exchange *exchange, uint64_t now_ms)
{
	return exchange->pinning.resource != PIN_UNKNOWN || choice_has_failed(exchange) ||
	    choice_is_anybody_left(exchange, now_ms);
}

bool
choice_is_pinned_to_nobody(const struct exchange *exchange)
{
	struct rest *whole, *pair;

	for (size_t i = 0; i < exchange->fleet->count; i++)
		if (!pinning_forbids(exchange, i) && choice_find_rests(exchange, i, &whole, &pair))
			return false;
	return exchange->pinning.resource != PIN_UNKNOWN;
}
