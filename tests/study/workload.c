#include "workload.h"

#include <math.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "base/random.h"
#include "sim/limiter.h"
#include "sim/call.h"

/* gpt-4o: one token of an answer weighs as much as three of a prompt; so many input tokens a minute and PTU. */
#define OUTPUT_WEIGHT 3U
#define TOKENS_PER_PTU 2500U

const struct workload workloads[] = {
	{ "smooth", 2, false, 1, 0, 300, 2000, 3.0, 200, 8, 150, 300 },
	{ "bursty", 4, false, 12, 400, 200, 12000, 1.2, 250, 6, 200, 500 },
	{ "few big", 10, false, 3, 2000, 6000, 30000, 1.5, 0, 3, 300, 800 },
	{ "alike", 2, false, 8, 300, 1000, 1000, 1.0, 0, 4, 150, 300 },
	{ "many small", 1, true, 20, 500, 40, 400, 1.5, 20, 3, 20, 50 },
};
const unsigned workload_count = ARRAY_COUNT(workloads);

static double
unit(struct random *random)
{
	return ((double)random_below(random, 1000000) + 1) / 1000000;
}

static double
exponential(struct random *random, double mean)
{
	return -log(unit(random)) * mean;
}

uint64_t
call_counted(const struct call *call)
{
	return call->prompt + (call->limit != 0 ? call->limit : SIM_OUTPUT_ESTIMATE);
}

uint64_t
call_weighted(const struct call *call)
{
	return call->prompt + (uint64_t)OUTPUT_WEIGHT * call->output;
}

double
fleet_share(const struct quota_of *backend, const struct call *calls, unsigned count)
{
	double counted = 0, weighted = 0;

	for (unsigned i = 0; i < count; i++) {
		counted += (double)call_counted(&calls[i]);
		weighted += (double)call_weighted(&calls[i]);
	}
	if (backend->ptu != 0)
		return weighted / count / ((double)backend->ptu * TOKENS_PER_PTU);
	return fmax(counted / count / (double)backend->tokens_per_minute, 1 / (double)backend->requests_per_minute);
}

/* Calls a minute that all of them take together. */
static double
joint_rate(const struct quota_of fleet[FLEET_BACKENDS], const struct call *calls, unsigned count)
{
	double rate = 0;

	for (unsigned i = 0; i < FLEET_BACKENDS; i++)
		rate += 1 / fleet_share(&fleet[i], calls, count);
	return rate;
}

struct conversation {
	uint32_t generation, turn, turns;
	uint32_t prompt;
};

static void
begin_conversation(struct conversation *conversation, const struct workload *workload, struct random *random)
{
	double prompt = workload->smallest * pow(unit(random), -1 / workload->exponent);

	conversation->turn = 0;
	conversation->turns = 1 + (uint32_t)random_below(random, 2 * workload->turns - 1);
	conversation->prompt = prompt < workload->largest ? (uint32_t)prompt : workload->largest;
}

static void
draw_call(struct call *call, const struct workload *workload, struct conversation *conversations, struct random *random)
{
	uint32_t who = (uint32_t)random_below(random, CONVERSATIONS);
	struct conversation *conversation = &conversations[who];
	uint32_t output = 1 + (uint32_t)exponential(random, workload->answer);
	uint32_t first_ms, end_ms;

	if (++conversation->turn > conversation->turns) {
		begin_conversation(conversation, workload, random);
		conversation->generation++;
	}
	call->conversation = who;
	call->generation = conversation->generation;
	call->prompt = conversation->prompt;
	call->limit = random_below(random, 3) == 0 ? 0 : workload->limit;
	call->output = output < workload->limit ? output : workload->limit;
	/* Three to five bytes a token, by language and subject; each conversation has its own. */
	call->bytes = (uint32_t)(conversation->prompt * (3.0 + (who * 7919 % 100) / 50.0));
	first_ms = 200 + call->prompt / 20 + (uint32_t)random_below(random, 200);
	end_ms = first_ms + call->output * 15;
	/* Two of three are streams, whose heads come early; the heads of the others come with their ends. */
	call->head_ms = random_below(random, 3) == 0 ? end_ms : first_ms / 2;
	call->whole_ms = end_ms;
	conversation->prompt += (uint32_t)random_below(random, 2 * workload->growth + 1);
}

static int
by_time(const void *a, const void *b)
{
	const struct call *left = a, *right = b;

	if (left->at_ms != right->at_ms)
		return left->at_ms < right->at_ms ? -1 : 1;
	return (left->conversation > right->conversation) - (left->conversation < right->conversation);
}

unsigned
workload_make(const struct workload *workload, const struct quota_of fleet[FLEET_BACKENDS], double load, uint64_t seed,
    struct call calls[CALLS_MAX])
{
	static double when[CALLS_MAX];
	struct conversation conversations[CONVERSATIONS] = { 0 };
	struct random random;
	unsigned count = 0, wanted = 2000;
	double at = 0;

	random_seed(&random, seed * 7919 + 17);
	for (unsigned i = 0; i < CONVERSATIONS; i++) {
		begin_conversation(&conversations[i], workload, &random);
		/* They are under way when it begins. */
		conversations[i].turn = (uint32_t)random_below(&random, conversations[i].turns + 1);
		conversations[i].prompt += conversations[i].turn * workload->growth;
	}
	/* How many fill the run is known once their sizes are: the number converges from a first guess. */
	while (count < wanted && count < CALLS_MAX) {
		unsigned together = workload->burst > 1 ? 1 + (unsigned)exponential(&random, workload->burst - 1) : 1;

		/* In units of one call: as much time passes as calls came. */
		at += exponential(&random, workload->burst);
		for (unsigned i = 0; i < together && count < CALLS_MAX; i++) {
			draw_call(&calls[count], workload, conversations, &random);
			when[count++] = at;
		}
		if (count >= wanted)
			wanted = (unsigned)(load * joint_rate(fleet, calls, count) * RUN_MS / 60000);
	}
	count = wanted < count ? wanted : count;
	for (unsigned i = 0; i < count; i++) {
		calls[i].at_ms = (uint64_t)(when[i] / (when[count - 1] + 1) * (RUN_MS - workload->spread_ms));
		if (workload->spread_ms > 0)
			calls[i].at_ms += random_below(&random, workload->spread_ms);
	}
	qsort(calls, count, sizeof(*calls), by_time);
	return count;
}
