/* world.h: one run of the study: callers, a balancer and three backends on a fake clock, event by event.
 *
 * Requests take time to arrive, heads take time to come back (those of whole answers until the answer is there), so a
 * decision knows only what the daemon would know. The backends are the simulator's own limiter. The balancer aoai-lb is made
 * of the functions that the daemon decides with (select_backend(), retry_judge(), hint_read(), rests with their probes,
 * headroom, affinity) put together as proxy/exchange.c and proxy/hold.c do.
 */
#ifndef STUDY_WORLD_H
#define STUDY_WORLD_H

#include "workload.h"

enum rule {
	RANDOM,      /* Microsoft's sample: any that does not cool; Retry-After in whole seconds */
	ROUND_ROBIN, /* in turn among those that do not cool; knows milliseconds, as the next does */
	LEAST_BUSY,  /* by attempts under way and weight */
	OURS,
	ORACLE, /* sees into the backends and loses no time on the way: asks nobody in vain, waits as long as ours does */
	RULES,
};

/* The one that dies is gone between these. */
#define DYING 1
#define DIES_MS 100000U
#define RETURNS_MS 180000U
/* Tokens count from here on: by then the bucket of a provisioned backend is no longer fuller than it can stay. */
#define WARM_MS 60000U

struct result {
	unsigned calls, served, hits;
	unsigned throttled;        /* 429s that came back from backends */
	unsigned refused;          /* 429s that callers got, of these: */
	unsigned needless;         /* somebody would have taken the request */
	unsigned early, late;      /* the hint was off by more than a tenth: nobody would, or somebody long before */
	unsigned served_meanwhile; /* while one was dead */
	unsigned left;             /* conversations that left a living backend meanwhile that had room for them */
	unsigned wandered;         /* conversations that moved more than once meanwhile, from one that had room */
	double quota_share;        /* what was served, of the joint quota of the time */
	double unfairness;         /* the largest share of a backend by its quota, less the smallest */
	uint64_t waited_ms;        /* by those that were held and served, in all */
};

struct scene {
	const struct quota_of *fleet;
	bool dies;
	bool boundless; /* one backend without a quota takes everything */
};

void world_run(const struct scene *scene, enum rule rule, uint64_t seed, const struct call *calls, unsigned count,
    struct result *result);

#endif
