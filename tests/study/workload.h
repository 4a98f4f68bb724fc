/* workload.h: what callers ask for in the study: conversations whose prompts grow, in bursts, of several kinds.
 *
 * Everything follows from a seed. The times are stretched so that the calls of a run use exactly the wanted share of the
 * fleet's joint quota, whatever sizes chance has drawn; how they crowd within the run stays as it was drawn.
 */
#ifndef STUDY_WORKLOAD_H
#define STUDY_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#define FLEET_BACKENDS 3
#define CONVERSATIONS 800
#define RUN_MS 300000U
#define CALLS_MAX 100000

/* One backend: a standard deployment, or a provisioned one. */
struct quota_of {
	uint64_t tokens_per_minute, requests_per_minute;
	uint64_t ptu;
	uint32_t weight; /* as an operator would set it */
};

struct workload {
	const char *name;
	unsigned size; /* the fleet is so many times larger for it */
	bool tight;    /* at 90 % its bursts are more than the short windows of requests let in, whoever chooses */
	/* Calls come in Poisson bursts, so many together on the average, within spread_ms. */
	unsigned burst, spread_ms;
	/* A conversation's first prompt in tokens: Pareto from smallest with this exponent; each turn adds to it. */
	unsigned smallest, largest;
	double exponent;
	unsigned growth, turns;
	/* Tokens of an answer: exponential; the limit that callers set, if they do (two of three). */
	unsigned answer, limit;
};

extern const struct workload workloads[];
extern const unsigned workload_count;

struct call {
	uint64_t at_ms;
	uint32_t conversation, generation; /* after its last turn a new conversation takes its place */
	uint32_t prompt, output;           /* true tokens */
	uint32_t limit;                    /* max_tokens; 0: not said */
	uint32_t bytes;                    /* of the prompt */
	uint32_t head_ms, whole_ms;        /* from the request's arrival to the answer's head and to its end */
};

/* What a standard deployment counts a call as, and a provisioned one (in input tokens). */
uint64_t call_counted(const struct call *call);
uint64_t call_weighted(const struct call *call);

/* The share of a minute's quota that an average call of those takes from a backend. */
double fleet_share(const struct quota_of *backend, const struct call *calls, unsigned count);

/* Writes the calls of one run in the order of their times; returns how many. */
unsigned workload_make(const struct workload *workload, const struct quota_of fleet[FLEET_BACKENDS], double load,
    uint64_t seed, struct call calls[CALLS_MAX]);

#endif
