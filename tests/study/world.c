#include "world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "base/random.h"
#include "policy/headroom.h"
#include "policy/hint.h"
#include "policy/retry.h"
#include "policy/select.h"
#include "policy/state.h"
#include "sim/call.h"
#include "sim/limiter.h"

/* As the daemon's defaults are. */
#define HOLD_MS 1000U
#define SERVER_ERROR_MS 10000U
static const struct hint_limits hint_limits = { .default_ms = 10000, .min_ms = 1000, .max_ms = 60000 };
/* As proxy/hold.h has them. */
#define WAITING_MAX 256U
#define RELEASED_AT_ONCE 4U
#define TURN_MS 4U
/* From the balancer to a backend; the same back. */
#define WIRE_MS 10U
#define LEASE_MS 600000U
/* A prompt stays cached this long on the backend that has seen it. */
#define CACHE_MS 300000U
#define ATTEMPTS_MAX 16384
#define EVENTS_MAX 300000
#define LAST_MS (RUN_MS + 240000U)
#define NONE UINT32_MAX

struct backend {
	struct sim_limiter limiter;
	struct rest whole, pair;
	struct headroom room;
	uint64_t cached_ms[CONVERSATIONS];
	uint32_t cached_generation[CONVERSATIONS];
	double served; /* share of its quota of a minute */
	double share;  /* of an average call */
	bool dead;
};

enum event_kind { ARRIVE, REACH, HEAD, END, TURN };

struct event {
	enum event_kind kind;
	uint32_t subject; /* a call or an attempt */
	uint32_t next;
};

struct attempt {
	uint32_t call, backend;
	struct headroom_ticket ticket;
	struct sim_verdict verdict;
	uint64_t sent_ms;
	bool refused_connection, probes_whole, probes_pair;
	bool home_had_room; /* where the conversation was before, when this one was begun */
};

struct request {
	uint32_t tried, throttled_by; /* a bit for each backend */
	struct tally tally;
	bool forced, queued;
	uint64_t hold_until_ms;
};

static struct world {
	struct scene scene;
	enum rule rule;
	const struct call *calls;
	struct request requests[CALLS_MAX];
	struct backend backends[FLEET_BACKENDS];
	struct attempt attempts[ATTEMPTS_MAX];
	uint32_t free_attempts[ATTEMPTS_MAX];
	unsigned free_attempt_count;
	struct event events[EVENTS_MAX];
	uint32_t free_event;
	uint32_t first[LAST_MS], last[LAST_MS]; /* events of each millisecond, in the order of their making */
	uint32_t waiting[WAITING_MAX];
	unsigned waiting_count;
	uint64_t turn_ms; /* the next turn of those who wait; 0: none */
	unsigned turn;    /* of round robin */
	struct random random;
	uint32_t generation[CONVERSATIONS], home[CONVERSATIONS],
	    moves[CONVERSATIONS]; /* home: the backend + 1 that served last */
	struct result result;
} world;

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void
schedule(enum event_kind kind, uint32_t subject, uint64_t at_ms)
{
	uint32_t index = world.free_event;

	if (at_ms >= LAST_MS)
		return;
	if (index == NONE)
		abort();
	world.free_event = world.events[index].next;
	world.events[index] = (struct event){ kind, subject, NONE };
	if (world.first[at_ms] == NONE)
		world.first[at_ms] = index;
	else
		world.events[world.last[at_ms]].next = index;
	world.last[at_ms] = index;
}

/* ---- backends ---------------------------------------------------------------------------------------------------- */

static uint64_t
output_estimate(const struct call *call)
{
	return call->limit != 0 ? call->limit : SIM_OUTPUT_ESTIMATE;
}

static bool
would_admit(unsigned index, const struct call *call, uint64_t now_ms, struct sim_verdict *verdict)
{
	struct sim_limiter copy = world.backends[index].limiter;

	sim_limiter_admit(&copy, now_ms, call->prompt, output_estimate(call), verdict);
	return !world.backends[index].dead && verdict->exceeded == SIM_LIMIT_NONE;
}

/* What the balancer reads off the answer, as the simulator writes it. */
struct head {
	struct headers headers;
	char texts[5][32];
};

static void
add_number(struct head *head, enum header_id id, uint64_t number)
{
	char *text = head->texts[head->headers.count];

	snprintf(text, sizeof(head->texts[0]), "%llu", (unsigned long long)number);
	head->headers.items[head->headers.count++] = (struct header){ .value = slice_from(text), .id = id };
	head->headers.ids |= HEADER_BIT(id);
}

static void
make_head(const struct attempt *attempt, struct head *head)
{
	const struct sim_verdict *verdict = &attempt->verdict;

	head->headers.count = 0;
	head->headers.ids = 0;
	if (world.backends[attempt->backend].limiter.quota.ptu != 0) {
		snprintf(head->texts[0], sizeof(head->texts[0]), "%.1f%%", verdict->utilisation * 100);
		head->headers.items[head->headers.count++] =
		    (struct header){ .value = slice_from(head->texts[0]), .id = HEADER_DEPLOYMENT_UTILIZATION };
		head->headers.ids |= HEADER_BIT(HEADER_DEPLOYMENT_UTILIZATION);
	} else {
		add_number(head, HEADER_X_RATELIMIT_REMAINING_TOKENS, verdict->remaining_tokens);
		add_number(head, HEADER_X_RATELIMIT_RESET_TOKENS, (verdict->reset_tokens_ms + 999) / 1000);
		add_number(head, HEADER_X_RATELIMIT_REMAINING_REQUESTS, verdict->remaining_requests);
		add_number(head, HEADER_X_RATELIMIT_RESET_REQUESTS, (verdict->reset_requests_ms + 999) / 1000);
	}
	if (verdict->exceeded != SIM_LIMIT_NONE)
		add_number(head, HEADER_RETRY_AFTER_MS, verdict->wait_ms);
}

static void
reach(uint32_t index, uint64_t now_ms)
{
	struct attempt *attempt = &world.attempts[index];
	struct backend *backend = &world.backends[attempt->backend];
	const struct call *call = &world.calls[attempt->call];

	attempt->refused_connection = backend->dead;
	attempt->verdict = (struct sim_verdict){ .exceeded = SIM_LIMIT_NONE };
	if (backend->dead) {
		schedule(HEAD, index, now_ms + WIRE_MS);
		return;
	}
	sim_limiter_admit(&backend->limiter, now_ms, call->prompt, output_estimate(call), &attempt->verdict);
	schedule(HEAD, index, now_ms + WIRE_MS + (attempt->verdict.exceeded == SIM_LIMIT_NONE ? call->head_ms : 0));
	if (attempt->verdict.exceeded == SIM_LIMIT_NONE)
		schedule(END, index, now_ms + WIRE_MS + call->whole_ms);
}

/* ---- the balancer ------------------------------------------------------------------------------------------------ */

static void next(uint32_t index, uint64_t now_ms);

static uint64_t
estimate(const struct backend *backend, const struct call *call)
{
	return headroom_estimate(&backend->room, call->bytes, call->limit);
}

static void
begin_attempt(uint32_t request, unsigned index, bool probes_whole, bool probes_pair, uint64_t now_ms)
{
	struct backend *backend = &world.backends[index];
	const struct call *call = &world.calls[request];
	uint32_t number, home = world.home[call->conversation];
	struct sim_verdict verdict;

	if (world.free_attempt_count == 0)
		abort();
	number = world.free_attempts[--world.free_attempt_count];
	world.attempts[number] = (struct attempt){ .call = request,
		.backend = index,
		.sent_ms = now_ms,
		.probes_whole = probes_whole,
		.probes_pair = probes_pair,
		.home_had_room = home != 0 && would_admit(home - 1, call, now_ms, &verdict) };
	rest_attempt_began(&backend->whole);
	rest_attempt_began(&backend->pair);
	headroom_sent(&backend->room, estimate(backend, call), now_ms, &world.attempts[number].ticket);
	world.requests[request].tried |= 1U << index;
	world.requests[request].tally.attempts++;
	if (world.rule == ORACLE)
		reach(number, now_ms);
	else
		schedule(REACH, number, now_ms + WIRE_MS);
}

static void
give_probes_back(struct attempt *attempt)
{
	struct backend *backend = &world.backends[attempt->backend];

	if (attempt->probes_pair)
		rest_end_probe(&backend->pair);
	if (attempt->probes_whole)
		rest_end_probe(&backend->whole);
	attempt->probes_pair = attempt->probes_whole = false;
}

static void
end_attempt(uint32_t index)
{
	struct attempt *attempt = &world.attempts[index];

	give_probes_back(attempt);
	rest_attempt_ended(&world.backends[attempt->backend].whole);
	rest_attempt_ended(&world.backends[attempt->backend].pair);
	world.free_attempts[world.free_attempt_count++] = index;
}

/* As exchange.c's let_rest(). The sample reads whole seconds, and rests a backend that it could not reach for ten. */
static void
let_rest(const struct attempt *attempt, const struct verdict *verdict, const struct head *head, uint64_t now_ms)
{
	struct backend *backend = &world.backends[attempt->backend];
	struct rest *rest = verdict->scope == REST_BACKEND ? &backend->whole : &backend->pair;
	struct hint hint = hint_read(&head->headers, SLICE_EMPTY, 0, &hint_limits);
	uint64_t rest_ms = verdict->use_hint ? hint.wait_ms : verdict->rest_ms;

	if (world.rule == RANDOM && verdict->use_hint)
		rest_ms = (rest_ms + 999) / 1000 * 1000;
	if (!verdict->use_hint || hint.source == HINT_NONE)
		rest_ms = rest_backoff_ms(rest, rest_ms, hint_limits.max_ms, now_ms, random_next(&world.random));
	(void)rest_begin(rest, now_ms + rest_ms, verdict->reason);
}

/* As exchange.c's exchange_throttle_ends(). */
static bool
throttle_ends(const struct request *request, uint64_t now_ms, uint64_t *at_ms)
{
	const struct call *call = &world.calls[request - world.requests];
	bool found = false;

	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		const struct rest *pair = &world.backends[i].pair;
		enum availability of_whole = rest_availability(&world.backends[i].whole, now_ms);
		enum availability of_pair = rest_availability(pair, now_ms);
		uint64_t until_ms = of_pair == RESTING ? rest_until_ms(pair) : now_ms;
		uint64_t room_ms =
		    headroom_fits_at_ms(&world.backends[i].room, estimate(&world.backends[i], call), now_ms);

		if (of_whole == RESTING || (request->tried & ~request->throttled_by) >> i & 1 ||
		    (rest_reason(pair) != REST_THROTTLED && of_pair != PROBING && of_whole != PROBING &&
			room_ms <= now_ms))
			continue;
		if (room_ms > until_ms)
			until_ms = room_ms;
		if (!found || until_ms < *at_ms)
			*at_ms = until_ms;
		found = true;
	}
	return found;
}

/* As exchange.c's exchange_can_go(). */
static bool
can_go(const struct request *request, uint64_t now_ms)
{
	const struct call *call = &world.calls[request - world.requests];

	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		enum availability of_whole = rest_availability(&world.backends[i].whole, now_ms);
		enum availability of_pair = rest_availability(&world.backends[i].pair, now_ms);

		if ((of_whole == AVAILABLE || of_whole == PROBE_DUE) &&
		    (of_pair == AVAILABLE || of_pair == PROBE_DUE) &&
		    !((request->tried & ~request->throttled_by) >> i & 1) &&
		    headroom_fits(&world.backends[i].room, estimate(&world.backends[i], call), now_ms))
			return true;
	}
	return false;
}

/* As exchange.c's soonest_recovery(). */
static uint64_t
soonest_recovery(const struct request *request, uint64_t now_ms)
{
	uint64_t soonest_ms = 0;

	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		struct candidate candidate = { .weight = 1 };
		uint64_t back_ms = now_ms + 1;

		candidate_judge(&candidate, &world.backends[i].whole, &world.backends[i].pair, &world.backends[i].room,
		    estimate(&world.backends[i], &world.calls[request - world.requests]), now_ms);
		if (candidate.availability == AVAILABLE && candidate.room_ms > back_ms)
			back_ms = candidate.room_ms;
		if (request->tried >> i & 1 && candidate.availability == AVAILABLE)
			continue;
		if (candidate.availability == RESTING)
			back_ms = candidate.until_ms;
		else if (candidate.availability == PROBING && candidate.reason == REST_THROTTLED)
			back_ms = rest_probe_until_ms(&world.backends[i].pair);
		else if (candidate.availability == PROBING)
			back_ms = now_ms + hint_limits.min_ms;
		if (soonest_ms == 0 || back_ms < soonest_ms)
			soonest_ms = back_ms;
	}
	return soonest_ms;
}

/* A hint is true when it is, within a tenth (or what the way there and back takes), how long it is until the first of the
 * backends would take this very request, were nobody else to come: what others take meanwhile is no lie. */
static void
refuse(uint32_t index, uint64_t back_ms, uint64_t now_ms)
{
	uint64_t hint_ms = hint_for_caller_ms(back_ms > now_ms ? back_ms - now_ms : hint_limits.min_ms);
	uint64_t soonest_ms = UINT64_MAX, tolerance_ms;

	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		struct sim_verdict verdict;

		if (would_admit(i, &world.calls[index], now_ms, &verdict))
			soonest_ms = 0;
		else if (!world.backends[i].dead && verdict.wait_ms < soonest_ms)
			soonest_ms = verdict.wait_ms;
	}
	tolerance_ms = soonest_ms / 10 > 2 * WIRE_MS ? soonest_ms / 10 : 2 * WIRE_MS;
	world.result.refused++;
	world.result.needless += soonest_ms == 0;
	world.result.early += hint_ms + tolerance_ms < soonest_ms;
	world.result.late += soonest_ms > 0 && hint_ms > soonest_ms + tolerance_ms;
}

static void
wake_at(uint64_t at_ms)
{
	if (world.turn_ms != 0 && world.turn_ms <= at_ms)
		return;
	world.turn_ms = at_ms;
	schedule(TURN, 0, at_ms);
}

/* As hold.c's hold_enter(). */
static bool
hold(uint32_t index, uint64_t now_ms)
{
	struct request *request = &world.requests[index];
	bool again = request->hold_until_ms != 0;
	uint64_t until_ms = again ? request->hold_until_ms : now_ms + HOLD_MS, recovery_ms;

	if (now_ms >= until_ms || !throttle_ends(request, now_ms, &recovery_ms) || recovery_ms >= until_ms ||
	    world.waiting_count == WAITING_MAX)
		return false;
	request->hold_until_ms = until_ms;
	if (again)
		memmove(world.waiting + 1, world.waiting, world.waiting_count * sizeof(*world.waiting));
	world.waiting[again ? 0 : world.waiting_count] = index;
	world.waiting_count++;
	wake_at(recovery_ms > now_ms + TURN_MS ? recovery_ms : now_ms + TURN_MS);
	return true;
}

static void
conclude(uint32_t index, uint64_t now_ms)
{
	struct request *request = &world.requests[index];

	if (world.rule != OURS || !request->tally.throttled || !hold(index, now_ms))
		refuse(index, soonest_recovery(request, now_ms), now_ms);
}

static bool
is_open(unsigned backend, uint64_t now_ms)
{
	enum availability of_whole = rest_availability(&world.backends[backend].whole, now_ms);
	enum availability of_pair = rest_availability(&world.backends[backend].pair, now_ms);

	return (of_whole == AVAILABLE || of_whole == PROBE_DUE) && (of_pair == AVAILABLE || of_pair == PROBE_DUE);
}

static bool
is_anybody_left(const struct request *request, uint64_t now_ms)
{
	for (unsigned i = 0; i < FLEET_BACKENDS; i++)
		if (!(request->tried >> i & 1) && is_open(i, now_ms))
			return true;
	return false;
}

/* As hold.c's next_to_leave(), for one deployment: the first that can go or has waited long enough. */
static unsigned
next_to_leave(uint64_t now_ms, uint64_t *next_ms)
{
	bool blocked = false;

	for (unsigned i = 0; i < world.waiting_count; i++) {
		const struct request *request = &world.requests[world.waiting[i]];
		uint64_t recovery_ms;
		bool particular = (request->tried & ~request->throttled_by) != 0 || is_anybody_left(request, now_ms);

		if (now_ms >= request->hold_until_ms)
			return i;
		if (request->hold_until_ms < *next_ms)
			*next_ms = request->hold_until_ms;
		if (!particular && blocked)
			continue;
		if (can_go(request, now_ms) || !throttle_ends(request, now_ms, &recovery_ms))
			return i;
		recovery_ms = recovery_ms > now_ms + TURN_MS ? recovery_ms : now_ms + TURN_MS;
		if (recovery_ms < *next_ms)
			*next_ms = recovery_ms;
		blocked = blocked || !particular;
	}
	return WAITING_MAX;
}

/* As hold.c's turn(). */
static void
turn(uint64_t now_ms)
{
	unsigned left = RELEASED_AT_ONCE, position;
	uint64_t next_ms = UINT64_MAX;

	if (world.turn_ms != now_ms)
		return; /* it was set anew */
	world.turn_ms = 0;
	while ((position = next_to_leave(now_ms, &next_ms)) < WAITING_MAX && left > 0) {
		uint32_t index = world.waiting[position];
		struct request *request = &world.requests[index];
		bool over = now_ms >= request->hold_until_ms;

		memmove(world.waiting + position, world.waiting + position + 1,
		    (--world.waiting_count - position) * sizeof(*world.waiting));
		if (over && request->tally.throttled && !is_anybody_left(request, now_ms)) {
			refuse(index, soonest_recovery(request, now_ms), now_ms);
			continue;
		}
		if (!over)
			left--;
		request->tried &= ~request->throttled_by;
		next(index, now_ms);
	}
	if (position < WAITING_MAX)
		next_ms = now_ms + TURN_MS;
	if (world.waiting_count > 0 && next_ms != UINT64_MAX)
		wake_at(next_ms);
}

static void
fill_candidates(const struct request *request, const struct call *call, struct candidate *candidates, uint64_t now_ms)
{
	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		struct backend *backend = &world.backends[i];

		candidates[i] = (struct candidate){ .priority = 1, .weight = world.scene.fleet[i].weight };
		candidates[i].excluded = (request->tried >> i & 1) || (world.scene.boundless && i > 0);
		candidates[i].affinity =
		    hash_mix(call->conversation + CONVERSATIONS * (uint64_t)call->generation + 1, i + 1);
		candidate_judge(&candidates[i], &backend->whole, &backend->pair, &backend->room,
		    estimate(backend, call), now_ms);
	}
}

/* As exchange.c's exchange_next(). */
static void
next_of_ours(uint32_t index, uint64_t now_ms)
{
	struct request *request = &world.requests[index];
	struct candidate candidates[FLEET_BACKENDS];

	for (;;) {
		struct selection selection;
		struct backend *backend;
		bool of_whole = false, of_pair = false;

		fill_candidates(request, &world.calls[index], candidates, now_ms);
		selection =
		    select_backend(candidates, FLEET_BACKENDS, now_ms, random_next(&world.random), !request->forced);
		if (selection.index == SELECT_NONE) {
			request->tally.throttled = request->tally.throttled || selection.throttled;
			conclude(index, now_ms);
			return;
		}
		backend = &world.backends[selection.index];
		if (selection.forced && candidates[selection.index].availability == PROBING && hold(index, now_ms))
			return;
		/* Nobody has room, as far as is known, but somebody will soon. */
		if (selection.no_room && hold(index, now_ms))
			return;
		if (selection.forced) {
			request->forced = true;
		} else {
			if (rest_availability(&backend->whole, now_ms) == PROBE_DUE)
				of_whole = rest_take_probe(&backend->whole, now_ms, LEASE_MS);
			if (rest_availability(&backend->pair, now_ms) == PROBE_DUE)
				of_pair = rest_take_probe(&backend->pair, now_ms, LEASE_MS);
		}
		begin_attempt(index, (unsigned)selection.index, of_whole, of_pair, now_ms);
		return;
	}
}

/* Among those that would take it now: where the conversation is, else where most is left. */
static void
next_of_oracle(uint32_t index, uint64_t now_ms)
{
	struct request *request = &world.requests[index];
	const struct call *call = &world.calls[index];
	uint64_t soonest_ms = UINT64_MAX;
	unsigned best = NONE;
	double most_left = 0;

	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		struct sim_verdict verdict;
		double left;

		if (!would_admit(i, call, now_ms, &verdict)) {
			if (!world.backends[i].dead && verdict.wait_ms < soonest_ms)
				soonest_ms = verdict.wait_ms;
			continue;
		}
		left = world.scene.fleet[i].ptu != 0 ? 1 - verdict.utilisation
						     : (double)verdict.remaining_tokens / (double)verdict.limit_tokens;
		if (world.home[call->conversation] == i + 1 && world.generation[call->conversation] == call->generation)
			left = 2;
		if (best != NONE && left <= most_left)
			continue;
		best = i;
		most_left = left;
	}
	if (best != NONE) {
		begin_attempt(index, best, false, false, now_ms);
		return;
	}
	if (request->hold_until_ms == 0)
		request->hold_until_ms = now_ms + HOLD_MS;
	if (now_ms < request->hold_until_ms && now_ms + soonest_ms <= request->hold_until_ms)
		schedule(ARRIVE, index, now_ms + soonest_ms);
	else
		refuse(index, now_ms + soonest_ms, now_ms);
}

static void
next(uint32_t index, uint64_t now_ms)
{
	struct request *request = &world.requests[index];
	struct candidate candidates[FLEET_BACKENDS];
	unsigned open[FLEET_BACKENDS], count = 0, best = 0;

	if (world.rule == OURS) {
		next_of_ours(index, now_ms);
		return;
	}
	if (world.rule == ORACLE) {
		next_of_oracle(index, now_ms);
		return;
	}
	fill_candidates(request, &world.calls[index], candidates, now_ms);
	for (unsigned i = 0; i < FLEET_BACKENDS; i++)
		if (!candidates[i].excluded && candidates[i].availability != RESTING)
			open[count++] = i;
	if (count == 0) {
		conclude(index, now_ms);
		return;
	}
	if (world.rule == RANDOM)
		best = (unsigned)random_below(&world.random, count);
	else if (world.rule == ROUND_ROBIN)
		best = world.turn++ % count;
	else
		for (unsigned i = 1; i < count; i++)
			if (candidates[open[i]].in_flight * candidates[open[best]].weight <
			    candidates[open[best]].in_flight * candidates[open[i]].weight)
				best = i;
	begin_attempt(index, open[best], false, false, now_ms);
}

/* ---- what becomes of attempts ------------------------------------------------------------------------------------ */

static void
attempt_failed(uint32_t index, const struct head *head, uint64_t now_ms)
{
	struct attempt *attempt = &world.attempts[index];
	struct request *request = &world.requests[attempt->call];
	struct outcome outcome = { .kind = OUTCOME_ANSWERED, .status = 429, .request_sent = true, .inference = true };
	uint32_t call = attempt->call;
	struct verdict verdict;

	if (attempt->refused_connection)
		outcome = (struct outcome){ .kind = OUTCOME_CONNECT, .inference = true };
	verdict = retry_judge(&outcome, SERVER_ERROR_MS);
	let_rest(attempt, &verdict, head, now_ms);
	if (verdict.reason == REST_THROTTLED) {
		world.result.throttled++;
		request->tally.throttled = true;
		request->throttled_by |= 1U << attempt->backend;
	}
	headroom_give_back(&world.backends[attempt->backend].room, &attempt->ticket);
	end_attempt(index);
	next(call, now_ms);
}

/* Where the conversation is now, and whether it was there before. */
static void
follow_conversation(const struct call *call, uint32_t index, bool had_room)
{
	uint32_t who = call->conversation, before;

	if (world.generation[who] != call->generation)
		world.home[who] = world.moves[who] = 0;
	world.generation[who] = call->generation;
	before = world.home[who];
	world.home[who] = index + 1;
	if (!world.backends[DYING].dead) {
		world.moves[who] = 0;
		return;
	}
	world.result.served_meanwhile++;
	if (before == 0 || before == index + 1)
		return;
	/* Nobody is to stay where there is no room. */
	/* The first move of a dead one's conversation is what is wanted. */
	if (before == DYING + 1)
		world.moves[who] = 1;
	else if (world.moves[who]++ > 0)
		world.result.wandered += had_room;
	else
		world.result.left += had_room;
}

static void
head_came(uint32_t index, uint64_t now_ms)
{
	struct attempt *attempt = &world.attempts[index];
	struct backend *backend = &world.backends[attempt->backend];
	const struct call *call = &world.calls[attempt->call];
	struct head head;

	head.headers.count = 0;
	if (!attempt->refused_connection) {
		make_head(attempt, &head);
		headroom_told(&backend->room, &attempt->ticket, &head.headers, now_ms, hint_limits.max_ms);
	}
	if (attempt->refused_connection || attempt->verdict.exceeded != SIM_LIMIT_NONE) {
		attempt_failed(index, &head, now_ms);
		return;
	}
	(void)rest_succeeded(&backend->whole, now_ms);
	(void)rest_succeeded(&backend->pair, now_ms);
	give_probes_back(attempt);
	world.result.served++;
	backend->served += backend->limiter.quota.ptu != 0 ? (double)call_weighted(call) : (double)call_counted(call);
	if (world.rule == OURS && world.requests[attempt->call].hold_until_ms != 0)
		world.result.waited_ms += now_ms - call->at_ms;
	if (backend->cached_ms[call->conversation] != 0 &&
	    backend->cached_generation[call->conversation] == call->generation &&
	    now_ms < backend->cached_ms[call->conversation] + CACHE_MS)
		world.result.hits++;
	backend->cached_ms[call->conversation] = now_ms;
	backend->cached_generation[call->conversation] = call->generation;
	follow_conversation(call, attempt->backend, attempt->home_had_room);
}

static void
answer_ended(uint32_t index, uint64_t now_ms)
{
	struct attempt *attempt = &world.attempts[index];
	struct backend *backend = &world.backends[attempt->backend];
	const struct call *call = &world.calls[attempt->call];

	sim_limiter_correct(&backend->limiter, now_ms, output_estimate(call), call->output);
	headroom_correct(&backend->room, &attempt->ticket, (uint64_t)call->prompt + call->output);
	headroom_learn(&backend->room, call->bytes, call->prompt, call->limit == 0 ? call->output : 0);
	end_attempt(index);
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

static void
prepare(const struct scene *scene, enum rule rule, uint64_t seed, const struct call *calls, unsigned count)
{
	memset(&world, 0, sizeof(world));
	world.scene = *scene;
	world.rule = rule;
	world.calls = calls;
	random_seed(&world.random, seed * 977 + (uint64_t)rule);
	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		struct sim_quota quota = { .token_window_ms = 60000, .request_window_ms = 10000 };

		sim_quota_set_rates(&quota, SLICE("gpt-4o"));
		quota.ptu = scene->boundless ? 0 : scene->fleet[i].ptu;
		quota.tokens_per_minute = scene->boundless ? UINT32_MAX : scene->fleet[i].tokens_per_minute;
		quota.requests_per_minute = scene->boundless ? UINT32_MAX : scene->fleet[i].requests_per_minute;
		sim_limiter_init(&world.backends[i].limiter, &quota);
		world.backends[i].share = fleet_share(&scene->fleet[i], calls, count);
	}
	world.free_event = 0;
	for (uint32_t i = 0; i < EVENTS_MAX; i++)
		world.events[i].next = i + 1 < EVENTS_MAX ? i + 1 : NONE;
	memset(world.first, 0xff, sizeof(world.first));
	for (uint32_t i = 0; i < ATTEMPTS_MAX; i++)
		world.free_attempts[world.free_attempt_count++] = i;
	for (uint32_t i = 0; i < count; i++)
		schedule(ARRIVE, i, calls[i].at_ms + 1);
}

static void
happen(const struct event *event, uint64_t now_ms)
{
	switch (event->kind) {
	case ARRIVE:
		next(event->subject, now_ms);
		break;
	case REACH:
		reach(event->subject, now_ms);
		break;
	case HEAD:
		head_came(event->subject, now_ms);
		break;
	case END:
		answer_ended(event->subject, now_ms);
		break;
	case TURN:
		turn(now_ms);
		break;
	}
}

void
world_run(const struct scene *scene, enum rule rule, uint64_t seed, const struct call *calls, unsigned count,
    struct result *result)
{
	double low = 1e9, high = 0, before[FLEET_BACKENDS] = { 0 }, level[FLEET_BACKENDS] = { 0 }, used = 0,
	       possible = 0;
	const double minutes = (RUN_MS - WARM_MS) / 60000.0;

	prepare(scene, rule, seed, calls, count);
	for (uint64_t now_ms = 1; now_ms < LAST_MS; now_ms++) {
		world.backends[DYING].dead = scene->dies && now_ms >= DIES_MS && now_ms < RETURNS_MS;
		for (unsigned i = 0; (now_ms == WARM_MS || now_ms == RUN_MS) && i < FLEET_BACKENDS; i++) {
			before[i] = world.backends[i].served - before[i];
			level[i] = world.backends[i].limiter.level - level[i];
		}
		while (world.first[now_ms] != NONE) {
			uint32_t index = world.first[now_ms];
			struct event event = world.events[index];

			/* What happens now may schedule more for this very millisecond. */
			happen(&event, now_ms);
			world.first[now_ms] = world.events[index].next;
			world.events[index].next = world.free_event;
			world.free_event = index;
		}
	}
	/* Shares of quota: a call's tokens over the tokens of an average call, times the share that such a call takes. */
	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		double mean = 0, share;

		for (unsigned c = 0; c < count; c++)
			mean +=
			    (double)(scene->fleet[i].ptu != 0 ? call_weighted(&calls[c]) : call_counted(&calls[c])) /
			    count;
		/* What a bucket is fuller by was served on credit. */
		share = (before[i] - level[i]) / mean * world.backends[i].share / minutes;
		low = fmin(low, share);
		high = fmax(high, share);
		used += share / world.backends[i].share;
		possible += 1 / world.backends[i].share;
	}
	world.result.calls = count;
	world.result.unfairness = high - low;
	world.result.quota_share = used / possible;
	*result = world.result;
}
