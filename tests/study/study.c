/* study.c: how the ways to choose a backend compare, without sockets.
 *
 * Three backends of one priority, two standard (tokens a minute) and one provisioned (PTU), which the simulator's own
 * limiter plays; conversations whose prompts grow, in bursts; a fake clock; everything from a seed. The same calls are
 * offered to each rule: random (what the sample did), round robin, least busy, and the policy/ room as the daemon uses
 * it: select_backend(), rests with their probes, headroom, affinity and holding.
 *
 * Prints the table (worst of all seeds) as Markdown and fails when a bound that is promised is broken.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"
#include "policy/headroom.h"
#include "policy/select.h"
#include "policy/state.h"
#include "sim/limiter.h"

#define BACKENDS 3
#define SEEDS 5
#define RUN_MS 300000U
/* Tokens count from here on: by then the bucket of the provisioned one is no longer fuller than it can stay. */
#define WARM_MS 60000U
#define CONVERSATIONS 1200
#define TURNS 10
#define HOLD_MS 1000U
#define PTU 400U
#define SERVICE_MS 2500U
#define CALLS_MAX 30000
/* A prompt stays cached this long on the backend that has seen it. */
#define CACHE_MS 300000U
/* While one is dead, conversations of the living leave for no more than this share of the calls: bounded load. */
#define MOVED_MAX 0.01
/* The one that dies is gone between these. */
#define DYING 1
#define DIES_MS 100000U
#define RETURNS_MS 180000U

enum rule { RANDOM, ROUND_ROBIN, LEAST_BUSY, OURS, RULES };
/* As an operator would set them: by quota. Random and round robin know none. */
static const uint64_t standard_tpm[BACKENDS] = { 1200000, 600000, 0 };
static const uint32_t weights[BACKENDS] = { 6, 3, 4 };
static const char *const rule_names[] = { "random", "round robin", "least busy", "aoai-lb" };

struct call {
	uint64_t at_ms;
	unsigned conversation;
	unsigned generation; /* after its last turn a new conversation takes its place */
	uint64_t prompt, output;
};

struct ending {
	uint64_t at_ms;
	struct headroom_ticket ticket;
	uint64_t output, estimated;
};

struct backend {
	struct sim_limiter limiter;
	struct rest rest;
	struct headroom room;
	struct ending endings[4096];
	unsigned ending_count;
	uint64_t cached_ms[CONVERSATIONS];
	unsigned cached_generation[CONVERSATIONS];
	uint64_t served;
	bool dead;
};

struct result {
	unsigned calls, refused, throttled, served, hits, lies;
	unsigned served_meanwhile, moved_living; /* a conversation left a living backend while another was dead */
	uint64_t tokens;
	double quota_share; /* of the joint quota of the time */
	double unfairness;  /* the largest share of a backend by its quota, less the smallest */
};

struct world {
	struct backend backends[BACKENDS];
	struct random random;
	enum rule rule;
	unsigned turn;
	unsigned single;
	unsigned generation[CONVERSATIONS];
	unsigned home[CONVERSATIONS]; /* the backend + 1 that served last */
	struct result result;
};

/* Weighted tokens a minute, of which a provisioned deployment counts an output token thrice. */
static const double mean_prompt = 1100, mean_output = 200, mean_counted = 1400;

static double
capacity(unsigned backend)
{
	double rate = PTU * 2500.0;

	return standard_tpm[backend] > 0 ? (double)standard_tpm[backend]
					 : rate * mean_counted / (mean_prompt + 3 * mean_output);
}

static double
joint_quota(void)
{
	double sum = 0;

	for (unsigned i = 0; i < BACKENDS; i++)
		sum += capacity(i);
	return sum;
}

static void
world_init(struct world *world, enum rule rule, uint64_t seed, bool single)
{
	memset(world, 0, sizeof(*world));
	random_seed(&world->random, seed * 977 + (uint64_t)rule);
	world->rule = rule;
	world->single = single;
	for (unsigned i = 0; i < BACKENDS; i++) {
		struct sim_quota quota = { .token_window_ms = 60000, .request_window_ms = 10000 };

		sim_quota_set_rates(&quota, SLICE("gpt-4o"));
		if (single)
			quota.tokens_per_minute = UINT32_MAX;
		else if (standard_tpm[i] > 0)
			quota.tokens_per_minute = standard_tpm[i];
		else
			quota.ptu = PTU;
		sim_limiter_init(&world->backends[i].limiter, &quota);
	}
}

static unsigned
make_calls(struct call *calls, uint64_t seed, double load)
{
	struct random random;
	double gap_ms = 60000.0 * mean_counted / (joint_quota() * load), at = 0;
	unsigned turns[CONVERSATIONS] = { 0 }, generation[CONVERSATIONS] = { 0 }, count = 0;

	random_seed(&random, seed);
	/* Conversations are under way when it begins. */
	for (unsigned i = 0; i < CONVERSATIONS; i++)
		turns[i] = (unsigned)random_below(&random, TURNS);
	while (at < RUN_MS && count < CALLS_MAX) {
		/* Bursts: one to four calls at once, with the same mean rate. */
		unsigned burst = 1 + (unsigned)random_below(&random, 4);
		double unit = ((double)random_below(&random, 1000000) + 1) / 1000000;

		at += -log(unit) * gap_ms * 2.5;
		for (unsigned i = 0; i < burst && count < CALLS_MAX && at < RUN_MS; i++) {
			unsigned who = (unsigned)random_below(&random, CONVERSATIONS);

			turns[who] = (turns[who] + 1) % TURNS;
			generation[who] += turns[who] == 0;
			calls[count++] = (struct call){ (uint64_t)at + random_below(&random, 50), who, generation[who],
				200 + turns[who] * 200, 100 + random_below(&random, 201) };
		}
	}
	/* The jitter has put some out of order. */
	for (unsigned i = 1; i < count; i++)
		for (unsigned j = i; j > 0 && calls[j - 1].at_ms > calls[j].at_ms; j--) {
			struct call swap = calls[j];

			calls[j] = calls[j - 1];
			calls[j - 1] = swap;
		}
	return count;
}

static void
finish_endings(struct backend *backend, uint64_t now_ms)
{
	for (unsigned i = 0; i < backend->ending_count;) {
		struct ending *ending = &backend->endings[i];

		if (ending->at_ms > now_ms) {
			i++;
			continue;
		}
		sim_limiter_correct(&backend->limiter, now_ms, ending->estimated, ending->output);
		rest_attempt_ended(&backend->rest);
		*ending = backend->endings[--backend->ending_count];
	}
}

static void
tell(struct backend *backend, const struct headroom_ticket *ticket, const struct sim_verdict *verdict, uint64_t now_ms)
{
	struct headers headers = { .count = 2 };
	char left[32], reset[32];

	if (backend->limiter.quota.ptu != 0) {
		snprintf(left, sizeof(left), "%.1f%%", verdict->utilisation * 100);
		headers.items[0] = (struct header){ SLICE_EMPTY, slice_from(left), HEADER_DEPLOYMENT_UTILIZATION };
		headers.count = 1;
	} else {
		snprintf(left, sizeof(left), "%llu", (unsigned long long)verdict->remaining_tokens);
		snprintf(reset, sizeof(reset), "%llu", (unsigned long long)((verdict->reset_tokens_ms + 999) / 1000));
		headers.items[0] =
		    (struct header){ SLICE_EMPTY, slice_from(left), HEADER_X_RATELIMIT_REMAINING_TOKENS };
		headers.items[1] = (struct header){ SLICE_EMPTY, slice_from(reset), HEADER_X_RATELIMIT_RESET_TOKENS };
	}
	headroom_told(&backend->room, ticket, &headers, now_ms, 60000);
}

/* One attempt. True when it was served. */
static bool
attempt(struct world *world, unsigned index, const struct call *call, uint64_t now_ms)
{
	struct backend *backend = &world->backends[index];
	struct headroom_ticket ticket;
	struct sim_verdict verdict;

	if (backend->dead) {
		(void)rest_begin(&backend->rest,
		    now_ms + rest_backoff_ms(&backend->rest, 10000, 60000, now_ms, random_next(&world->random)),
		    REST_UNREACHABLE);
		rest_end_probe(&backend->rest);
		return false;
	}
	/* The estimate knows the prompt by its bytes and the limit by its member. */
	headroom_sent(&backend->room, headroom_estimate(&backend->room, call->prompt * 4, 300), now_ms, &ticket);
	sim_limiter_admit(&backend->limiter, now_ms, call->prompt, 300, &verdict);
	rest_end_probe(&backend->rest);
	if (verdict.exceeded != SIM_LIMIT_NONE) {
		world->result.throttled++;
		headroom_give_back(&backend->room, &ticket);
		(void)rest_begin(&backend->rest, now_ms + (verdict.wait_ms < 60000 ? verdict.wait_ms : 60000),
		    REST_THROTTLED);
		return false;
	}
	(void)rest_succeeded(&backend->rest, now_ms);
	tell(backend, &ticket, &verdict, now_ms);
	rest_attempt_began(&backend->rest);
	if (backend->ending_count == ARRAY_COUNT(backend->endings))
		abort();
	backend->endings[backend->ending_count++] = (struct ending){ now_ms + SERVICE_MS, ticket, call->output, 300 };
	backend->served += call->prompt + 300;
	world->result.served++;
	if (now_ms >= WARM_MS && now_ms < RUN_MS)
		world->result.tokens += call->prompt + 300;
	world->result.served_meanwhile += world->backends[DYING].dead;
	if (backend->cached_ms[call->conversation] != 0 &&
	    backend->cached_generation[call->conversation] == call->generation &&
	    now_ms < backend->cached_ms[call->conversation] + CACHE_MS)
		world->result.hits++;
	backend->cached_ms[call->conversation] = now_ms;
	backend->cached_generation[call->conversation] = call->generation;
	if (world->generation[call->conversation] != call->generation)
		world->home[call->conversation] = 0;
	world->generation[call->conversation] = call->generation;
	if (world->home[call->conversation] != 0 && world->home[call->conversation] != index + 1) {
		if (world->backends[DYING].dead && world->home[call->conversation] != DYING + 1)
			world->result.moved_living++;
	}
	world->home[call->conversation] = index + 1;
	return true;
}

static unsigned
choose(struct world *world, const struct call *call, unsigned tried, uint64_t now_ms)
{
	struct candidate candidates[BACKENDS];
	unsigned open[BACKENDS], count = 0, best = 0;

	memset(candidates, 0, sizeof(candidates));
	for (unsigned i = 0; i < BACKENDS; i++) {
		struct backend *backend = &world->backends[i];
		struct candidate *candidate = &candidates[i];

		candidate->weight = weights[i];
		candidate->excluded = (tried >> i & 1) || (world->single && i > 0);
		candidate_judge(candidate, &backend->rest, NULL, &backend->room,
		    headroom_estimate(&backend->room, call->prompt * 4, 300), now_ms);
		candidate->affinity =
		    hash_mix(call->conversation + CONVERSATIONS * (uint64_t)call->generation + 1, i + 1);
		if (!candidate->excluded && candidate->availability != RESTING)
			open[count++] = i;
	}
	if (world->rule == OURS)
		return (unsigned)select_backend(candidates, BACKENDS, now_ms, random_next(&world->random), true).index;
	if (count == 0)
		return UINT32_MAX;
	if (world->rule == RANDOM)
		return open[random_below(&world->random, count)];
	if (world->rule == ROUND_ROBIN)
		return open[world->turn++ % count];
	for (unsigned i = 1; i < count; i++)
		if (candidates[open[i]].in_flight * weights[open[best]] <
		    candidates[open[best]].in_flight * weights[open[i]])
			best = i;
	return open[best];
}

/* When the first of those that throttle is back. */
static uint64_t
soonest(const struct world *world, uint64_t now_ms)
{
	uint64_t at_ms = UINT64_MAX;

	for (unsigned i = 0; i < BACKENDS; i++) {
		const struct rest *rest = &world->backends[i].rest;
		uint64_t until_ms = rest_until_ms(rest) > now_ms ? rest_until_ms(rest) : now_ms;

		if (rest_reason(rest) == REST_THROTTLED && until_ms < at_ms)
			at_ms = until_ms;
	}
	return at_ms;
}

/* Tries all that are open. True when one served it. */
static bool
offer(struct world *world, const struct call *call, uint64_t now_ms)
{
	unsigned tried = 0, index;

	for (unsigned i = 0; i < BACKENDS; i++)
		finish_endings(&world->backends[i], now_ms);
	while ((index = choose(world, call, tried, now_ms)) < BACKENDS) {
		struct rest *rest = &world->backends[index].rest;

		if (rest_availability(rest, now_ms) == PROBE_DUE)
			(void)!rest_take_probe(rest, now_ms, 1000);
		tried |= 1U << index;
		if (attempt(world, index, call, now_ms))
			return true;
	}
	return false;
}

struct waiting {
	const struct call *call;
	uint64_t until_ms;
};

#define WAITING_MAX 1024
/* Judges hints that were told: had the caller come again at that moment, within a tenth, somebody would have had room for
 * this very request. It comes first in its millisecond. */
struct promises {
	struct {
		uint64_t told_ms, back_ms, prompt;
		bool kept;
	} items[CALLS_MAX];
	unsigned count, first; /* first: those before it are settled */
};

static bool
would_serve(const struct world *world, uint64_t prompt, uint64_t now_ms)
{
	for (unsigned i = 0; i < BACKENDS; i++) {
		struct sim_limiter copy = world->backends[i].limiter;
		struct sim_verdict verdict;

		if (world->backends[i].dead)
			continue;
		sim_limiter_admit(&copy, now_ms, prompt, 300, &verdict);
		if (verdict.exceeded == SIM_LIMIT_NONE)
			return true;
	}
	return false;
}

/* A promise is looked at when its moment has come, and from a tenth before to a tenth behind it. */
static void
judge_promises(struct promises *promises, const struct world *world, uint64_t now_ms)
{
	for (unsigned i = promises->first; i < promises->count; i++) {
		uint64_t back_ms = promises->items[i].back_ms, slack_ms = (back_ms - promises->items[i].told_ms) / 10;

		if (i == promises->first && (promises->items[i].kept || now_ms > back_ms + slack_ms + 1))
			promises->first++;
		if (!promises->items[i].kept && now_ms + slack_ms >= back_ms && now_ms <= back_ms + slack_ms + 1)
			promises->items[i].kept = would_serve(world, promises->items[i].prompt, now_ms);
	}
}

/* A 429 with the soonest recovery as its hint. */
static void
refuse(struct world *world, struct promises *promises, const struct call *call, uint64_t now_ms)
{
	uint64_t back_ms = soonest(world, now_ms);

	world->result.refused++;
	if (back_ms == UINT64_MAX || promises->count == CALLS_MAX)
		return;
	promises->items[promises->count].told_ms = now_ms;
	promises->items[promises->count].back_ms = back_ms;
	promises->items[promises->count].prompt = call->prompt;
	promises->items[promises->count++].kept = false;
}

static void
run(struct world *world, const struct call *calls, unsigned count, bool dies)
{
	static struct promises promises;
	static struct waiting queue[WAITING_MAX];
	unsigned next = 0, waiting = 0;

	promises.count = promises.first = 0;
	for (uint64_t now_ms = 1; now_ms < RUN_MS + 2 * HOLD_MS; now_ms++) {
		unsigned kept = 0;
		bool blocked = false;

		judge_promises(&promises, world, now_ms);
		world->backends[DYING].dead = dies && now_ms >= DIES_MS && now_ms < RETURNS_MS;
		if (now_ms % 4 == 0 && waiting > 0) {
			for (unsigned i = 0; i < waiting; i++) {
				if (!blocked && soonest(world, now_ms) <= now_ms && offer(world, queue[i].call, now_ms))
					continue;
				blocked = true;
				if (now_ms < queue[i].until_ms) {
					queue[kept++] = queue[i];
					continue;
				}
				refuse(world, &promises, queue[i].call, now_ms);
			}
			waiting = kept;
		}
		for (; next < count && calls[next].at_ms <= now_ms; next++) {
			uint64_t back_ms;

			if (offer(world, &calls[next], now_ms))
				continue;
			back_ms = soonest(world, now_ms);
			if (world->rule == OURS && back_ms < now_ms + HOLD_MS && waiting < WAITING_MAX) {
				queue[waiting++] = (struct waiting){ &calls[next], now_ms + HOLD_MS };
				continue;
			}
			refuse(world, &promises, &calls[next], now_ms);
		}
	}
	world->result.calls = count;
	for (unsigned i = 0; i < promises.count; i++)
		if (!promises.items[i].kept && promises.items[i].back_ms + HOLD_MS < RUN_MS)
			world->result.lies++;
	double low = 1e9, high = 0;
	for (unsigned i = 0; i < BACKENDS; i++) {
		double share = (double)world->backends[i].served / (capacity(i) * RUN_MS / 60000);

		low = share < low ? share : low;
		high = share > high ? share : high;
	}
	world->result.unfairness = high - low;
	world->result.quota_share = (double)world->result.tokens / (joint_quota() * (RUN_MS - WARM_MS) / 60000);
}

static const struct {
	const char *name;
	double load;
	bool dies;
} scenes[] = { { "60 %", 0.6, false }, { "90 %", 0.9, false }, { "100 %", 1.0, false }, { "120 %", 1.2, false },
	{ "60 %, one dies and returns", 0.6, true } };

static double
per(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

int
main(void)
{
	static struct call calls[CALLS_MAX];
	static struct world world;
	int faults = 0;

	printf("| load | rule | refused | 429 round trips per 1000 | tokens by quota | cache hits | unfairness | "
	       "untrue hints |\n"
	       "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
	for (size_t s = 0; s < ARRAY_COUNT(scenes); s++) {
		double random_throttled = 0;

		for (enum rule rule = 0; rule < RULES; rule++) {
			double refused = 0, throttled = 0, tokens = 1e9, hits = 1, unfairness = 0, lies = 0, moved = 0,
			       hit_ratio = 1;

			for (uint64_t seed = 1; seed <= SEEDS; seed++) {
				unsigned count = make_calls(calls, seed, scenes[s].load);

				world_init(&world, rule, seed, true);
				run(&world, calls, count, false);
				double best_hits = world.result.hits;
				world_init(&world, rule, seed, false);
				run(&world, calls, count, scenes[s].dies);
				refused = fmax(refused, per(world.result.refused, count));
				throttled = fmax(throttled, 1000 * per(world.result.throttled, count));
				tokens = fmin(tokens, world.result.quota_share);
				hits = fmin(hits, per(world.result.hits, world.result.served));
				hit_ratio = fmin(hit_ratio, per(world.result.hits, best_hits));
				moved = fmax(moved, per(world.result.moved_living, world.result.served_meanwhile));
				unfairness = fmax(unfairness, world.result.unfairness);
				lies = fmax(lies, per(world.result.lies, world.result.refused));
				if (rule == RANDOM)
					random_throttled =
					    fmax(random_throttled, 1000 * per(world.result.throttled, count));
			}
			printf("| %s | %s | %.2f %% | %.1f | %.0f %% | %.0f %% | %.2f | %.0f %% |\n", scenes[s].name,
			    rule_names[rule], 100 * refused, throttled, 100 * tokens, 100 * hits, unfairness,
			    100 * lies);
			if (rule == OURS) {
				if (s == 0 && hit_ratio < 0.95)
					faults += fprintf(stderr, "60 %%: only %.1f %% of the cache hits\n",
						      100 * hit_ratio) > 0;
				if (s == 1 && throttled > random_throttled / 10)
					faults += fprintf(stderr, "90 %%: %.1f 429s, random has %.1f\n", throttled,
						      random_throttled) > 0;
				if (s == 4 && moved > MOVED_MAX)
					faults +=
					    fprintf(stderr, "one dies: %.2f %% of the calls leave a living backend\n",
						100 * moved) > 0;
				if (s == 3 && fabs(tokens - 1) > 0.03)
					faults += fprintf(stderr, "120 %%: %.1f %% of the quota\n", 100 * tokens) > 0;
				if (lies > 0)
					faults += fprintf(stderr, "%s: %.1f %% of the hints are untrue\n",
						      scenes[s].name, 100 * lies) > 0;
				if (s == 1 && refused > 0.001)
					faults += fprintf(stderr, "90 %%: %.2f %% refused\n", 100 * refused) > 0;
			}
		}
	}
	return faults == 0 ? 0 : 1;
}
