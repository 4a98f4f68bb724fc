/* study.c: how the ways to choose a backend compare, without sockets; see world.h.
 *
 * Three backends of one priority: two standard (tokens and requests a minute) and a provisioned one, or three equal
 * standard ones. Callers of several kinds (workload.c) offer shares of the joint quota; each rule gets the same calls.
 * Prints the table as Markdown, and fails when a bound that is promised is broken.
 *
 * usage: policy_study [SEEDS]	(README.md has the table of five; without, one is run)
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "world.h"

#define SEEDS_DEFAULT 1
#define SEEDS_MAX 100

/* What is promised, as shares. */
#define THROTTLED_MAX 0.1    /* 429 round trips at 90 %, of the sample's */
#define REFUSED_MAX 0.001    /* callers refused at 90 %, unless the oracle must refuse more */
#define REFUSED_BEYOND 0.01  /* callers refused at 90 % that the oracle need not refuse, anywhere */
#define HITS_MIN 0.95        /* prompt-cache hits at 60 %, of a single backend's that holds them all */
#define QUOTA_TOLERANCE 0.03 /* tokens served at 120 %, around the joint quota */
#define MOVED_MAX 0.001      /* calls that leave a living backend with room while another is dead */
#define UNTRUE_MAX 0.01      /* hints of standard deployments that are off by more than a tenth */

struct fleet {
	bool known_room; /* weights by quota leave room at 90 %: nobody need be refused */
	const char *name;
	struct quota_of backends[FLEET_BACKENDS];
};

static const struct fleet fleets[] = {
	{ true, "mixed", { { 300000, 1800, 0, 6 }, { 150000, 900, 0, 3 }, { 0, 0, 60, 3 } } },
	{ false, "equal", { { 200000, 1200, 0, 1 }, { 200000, 1200, 0, 1 }, { 200000, 1200, 0, 1 } } },
};

static const struct {
	const char *name;
	double load;
	bool dies;
} loads[] = {
	{ "60 %", 0.6, false },
	{ "90 %", 0.9, false },
	{ "100 %", 1.0, false },
	{ "120 %", 1.2, false },
	{ "60 %, one dies", 0.6, true },
};

/* One rule under one load, over all seeds. */
struct outcome_of {
	struct result sum;
	double refused; /* the largest share of the calls */
	double beyond;  /* by how much it is above the oracle's, at most */
	double quota_low, quota_high;
	double hits; /* the smallest share of those that a single backend for all would have */
	double unfairness;
};

static void
add(struct outcome_of *outcome, const struct result *result, const struct result *oracle, unsigned hits)
{
	outcome->sum.calls += result->calls;
	outcome->sum.served += result->served;
	outcome->sum.hits += result->hits;
	outcome->sum.throttled += result->throttled;
	outcome->sum.refused += result->refused;
	outcome->sum.needless += result->needless;
	outcome->sum.early += result->early;
	outcome->sum.late += result->late;
	outcome->sum.served_meanwhile += result->served_meanwhile;
	outcome->sum.left += result->left;
	outcome->sum.wandered += result->wandered;
	outcome->refused = fmax(outcome->refused, (double)result->refused / result->calls);
	outcome->quota_low = fmin(outcome->quota_low, result->quota_share);
	outcome->quota_high = fmax(outcome->quota_high, result->quota_share);
	outcome->beyond = fmax(outcome->beyond, ((double)result->refused - oracle->refused) / result->calls);
	outcome->hits = fmin(outcome->hits, hits > 0 ? (double)result->hits / hits : 1);
	outcome->unfairness = fmax(outcome->unfairness, result->unfairness);
}

static void
try_all(const struct fleet *fleet, const struct workload *workload, size_t load, unsigned seeds,
    struct outcome_of outcomes[RULES])
{
	static struct call calls[CALLS_MAX];
	struct result results[RULES], best;
	struct quota_of backends[FLEET_BACKENDS];
	struct scene scene = { .fleet = backends, .dies = loads[load].dies };
	const struct scene boundless = { .fleet = backends, .boundless = true };

	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		backends[i] = fleet->backends[i];
		backends[i].tokens_per_minute *= workload->size;
		backends[i].requests_per_minute *= workload->size;
		backends[i].ptu *= workload->size;
	}
	for (unsigned rule = 0; rule < RULES; rule++)
		outcomes[rule] = (struct outcome_of){ .quota_low = HUGE_VAL, .hits = HUGE_VAL };
	for (unsigned seed = 1; seed <= seeds; seed++) {
		unsigned count = workload_make(workload, backends, loads[load].load, seed, calls);

		world_run(&boundless, LEAST_BUSY, seed, calls, count, &best);
		for (unsigned rule = 0; rule < RULES; rule++)
			world_run(&scene, (enum rule)rule, seed, calls, count, &results[rule]);
		for (unsigned rule = 0; rule < RULES; rule++)
			add(&outcomes[rule], &results[rule], &results[ORACLE], best.hits);
	}
}

static double
percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

static void
print_head(void)
{
	printf("| fleet | callers | load | 429s per 1000: random | round robin | least busy | aoai-lb | refused: "
	       "random | aoai-lb "
	       "| oracle | quota used | cache hits kept | hints too early | needless |\n"
	       "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
}

static void
print_row(const struct fleet *fleet, const struct workload *workload, size_t load,
    const struct outcome_of outcomes[RULES])
{
	const struct outcome_of *ours = &outcomes[OURS];

	printf("| %s | %s | %s |", fleet->name, workload->name, loads[load].name);
	for (unsigned rule = RANDOM; rule <= OURS; rule++)
		printf(" %.1f |", 1000.0 * outcomes[rule].sum.throttled / outcomes[rule].sum.calls);
	printf(" %.2f %% | %.2f %% | %.2f %% |", percent(outcomes[RANDOM].sum.refused, outcomes[RANDOM].sum.calls),
	    percent(ours->sum.refused, ours->sum.calls),
	    percent(outcomes[ORACLE].sum.refused, outcomes[ORACLE].sum.calls));
	printf(" %.0f–%.0f %% | %.0f %% |", 100 * ours->quota_low, 100 * ours->quota_high, 100 * ours->hits);
	printf(" %.1f %% | %.0f %% |\n", percent(ours->sum.early, ours->sum.refused),
	    percent(ours->sum.needless, ours->sum.refused));
}

/* Counts and reports a broken promise. */
static int
fault(bool broken, const struct fleet *fleet, const struct workload *workload, size_t load, const char *what,
    double value, double bound)
{
	if (broken)
		fprintf(stderr, "%s, %s, %s: %s: %.4f, not within %.4f\n", fleet->name, workload->name,
		    loads[load].name, what, value, bound);
	return broken;
}

static int
check(const struct fleet *fleet, const struct workload *workload, size_t load, const struct outcome_of outcomes[RULES])
{
	const struct outcome_of *ours = &outcomes[OURS];
	double throttled = THROTTLED_MAX * outcomes[RANDOM].sum.throttled;
	double moved = (ours->sum.left + ours->sum.wandered) / fmax(1, ours->sum.served_meanwhile);
	double untrue = (ours->sum.early + ours->sum.late) / fmax(1, ours->sum.refused);
	bool feasible = fleet->known_room && !workload->tight;
	int faults = 0;

	if (loads[load].dies)
		return fault(!workload->tight && moved > MOVED_MAX, fleet, workload, load, "moved", moved, MOVED_MAX);
	if (loads[load].load < 0.7)
		faults += fault(!workload->tight && ours->hits < HITS_MIN, fleet, workload, load, "cache hits",
		    ours->hits, HITS_MIN);
	if (loads[load].load < 0.95) {
		faults += fault(feasible && ours->sum.throttled > throttled, fleet, workload, load, "429 round trips",
		    ours->sum.throttled, throttled);
		/* Where chance has made a minute of more than a minute's quota, the oracle must refuse some as well. */
		faults += fault(feasible && ours->refused > REFUSED_MAX && ours->beyond > 0, fleet, workload, load,
		    "refused", ours->refused, REFUSED_MAX);
		faults += fault(ours->beyond > REFUSED_BEYOND, fleet, workload, load, "refused beyond the oracle",
		    ours->beyond, REFUSED_BEYOND);
	}
	if (loads[load].load > 1.1) {
		faults += fault(!workload->tight && ours->quota_low < 1 - QUOTA_TOLERANCE, fleet, workload, load,
		    "quota used", ours->quota_low, 1 - QUOTA_TOLERANCE);
		faults += fault(ours->quota_high > 1 + QUOTA_TOLERANCE, fleet, workload, load, "quota used",
		    ours->quota_high, 1 + QUOTA_TOLERANCE);
		faults += fault(!fleet->known_room && untrue > UNTRUE_MAX, fleet, workload, load, "untrue hints",
		    untrue, UNTRUE_MAX);
	}
	return faults;
}

int
main(int argc, char **argv)
{
	struct outcome_of outcomes[RULES];
	uint64_t seeds = SEEDS_DEFAULT;
	int faults = 0;

	if (argc > 1 && (!slice_to_u64(slice_from(argv[1]), &seeds) || seeds == 0 || seeds > SEEDS_MAX))
		return 2;
	print_head();
	for (size_t f = 0; f < ARRAY_COUNT(fleets); f++)
		for (unsigned w = 0; w < workload_count; w++)
			for (size_t l = 0; l < ARRAY_COUNT(loads); l++) {
				try_all(&fleets[f], &workloads[w], l, (unsigned)seeds, outcomes);
				print_row(&fleets[f], &workloads[w], l, outcomes);
				faults += check(&fleets[f], &workloads[w], l, outcomes);
			}
	return faults == 0 ? 0 : 1;
}
