/* Rests, probes, deployment numbers and backend states: alone, and with many threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/compiler.h"
#include "base/random.h"
#include "policy/state.h"

static void
starts_available(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_int_equal(rest_availability(&rest, 0), AVAILABLE);
	assert_int_equal(rest_reason(&rest), REST_NONE);
	assert_int_equal(rest_until_ms(&rest), 0);
	assert_int_equal(rest_in_flight(&rest), 0);
	assert_false(rest_take_probe(&rest, 100, 50));
	assert_false(rest_succeeded(&rest, 100));
}

static void
a_late_short_rest_never_shortens(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, 5000, REST_THROTTLED));
	assert_false(rest_begin(&rest, 3000, REST_SERVER_ERROR));
	assert_false(rest_begin(&rest, 5000, REST_SERVER_ERROR));
	assert_int_equal(rest_until_ms(&rest), 5000);
	assert_int_equal(rest_reason(&rest), REST_THROTTLED);
	assert_true(rest_begin(&rest, 5001, REST_SERVER_ERROR));
	assert_int_equal(rest_until_ms(&rest), 5001);
	assert_int_equal(rest_reason(&rest), REST_SERVER_ERROR);
}

static void
a_rest_may_be_endless(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, UINT64_MAX, REST_MISSING_DEPLOYMENT));
	assert_int_equal(rest_until_ms(&rest), UINT64_MAX >> 8);
	assert_int_equal(rest_reason(&rest), REST_MISSING_DEPLOYMENT);
	assert_int_equal(rest_availability(&rest, (UINT64_MAX >> 8) - 1), RESTING);
	assert_false(rest_begin(&rest, UINT64_MAX - 1, REST_THROTTLED));
}

static void
one_probe_goes_first(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, 5000, REST_SERVER_ERROR));
	assert_int_equal(rest_availability(&rest, 4999), RESTING);
	assert_false(rest_take_probe(&rest, 4999, 100));
	assert_int_equal(rest_availability(&rest, 5000), PROBE_DUE);
	assert_true(rest_take_probe(&rest, 5000, 100));
	assert_false(rest_take_probe(&rest, 5000, 100));
	assert_false(rest_take_probe(&rest, 5099, 100));
	assert_int_equal(rest_availability(&rest, 5099), PROBING);
	/* A lease that ran out frees the place. */
	assert_int_equal(rest_availability(&rest, 5100), PROBE_DUE);
	assert_true(rest_take_probe(&rest, 5100, 100));
	rest_end_probe(&rest);
	assert_int_equal(rest_availability(&rest, 5101), PROBE_DUE);
	assert_true(rest_take_probe(&rest, 5101, UINT64_MAX));
	assert_int_equal(rest_availability(&rest, UINT64_MAX - 1), PROBING);
}

/* A quota refuses at once: a probe that has not been refused by the end of its lease was let in. */
static void
a_slow_probe_of_a_throttled_one_opens_the_gate(void **state)
{
	const uint64_t end_ms = 5000 + PROBE_THROTTLED_MS;
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, 5000, REST_THROTTLED));
	assert_int_equal(rest_probe_until_ms(&rest), 0);
	assert_true(rest_take_probe(&rest, 5000, UINT64_MAX));
	assert_int_equal(rest_probe_until_ms(&rest), end_ms);
	assert_int_equal(rest_availability(&rest, end_ms - 1), PROBING);
	assert_false(rest_take_probe(&rest, end_ms - 1, 100));
	assert_int_equal(rest_availability(&rest, end_ms), AVAILABLE);
	/* One of those who followed is refused: the next one goes alone again, whether the first is out still or not. */
	assert_true(rest_begin(&rest, end_ms + 100, REST_THROTTLED));
	assert_int_equal(rest_availability(&rest, end_ms + 99), RESTING);
	assert_int_equal(rest_availability(&rest, end_ms + 100), PROBE_DUE);
	assert_true(rest_take_probe(&rest, end_ms + 100, 50));
	assert_int_equal(rest_probe_until_ms(&rest), end_ms + 150);
	assert_true(rest_succeeded(&rest, end_ms + 120));
	rest_end_probe(&rest);
	assert_int_equal(rest_availability(&rest, end_ms + 120), AVAILABLE);
	/* Shorter leases stay as they are, and a probe that ended without an answer is followed by another. */
	assert_true(rest_begin(&rest, end_ms + 200, REST_THROTTLED));
	assert_true(rest_take_probe(&rest, end_ms + 200, 100));
	rest_end_probe(&rest);
	assert_int_equal(rest_availability(&rest, end_ms + 200), PROBE_DUE);
}

static void
a_probe_that_succeeds_opens_the_gate(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, 5000, REST_THROTTLED));
	assert_true(rest_take_probe(&rest, 5000, 100));
	assert_true(rest_succeeded(&rest, 5050));
	rest_end_probe(&rest);
	assert_int_equal(rest_availability(&rest, 5050), AVAILABLE);
	assert_false(rest_succeeded(&rest, 5051));
}

static void
a_probe_that_fails_rests_again(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, 5000, REST_THROTTLED));
	assert_true(rest_take_probe(&rest, 5000, 100));
	assert_true(rest_begin(&rest, 6000, REST_SERVER_ERROR));
	assert_int_equal(rest_availability(&rest, 5050), RESTING);
	rest_end_probe(&rest);
	assert_int_equal(rest_availability(&rest, 5999), RESTING);
	assert_int_equal(rest_availability(&rest, 6000), PROBE_DUE);
}

static void
success_clears_no_rest_that_runs(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_true(rest_begin(&rest, 5000, REST_THROTTLED));
	assert_false(rest_succeeded(&rest, 4999));
	assert_int_equal(rest_availability(&rest, 4999), RESTING);
	assert_true(rest_succeeded(&rest, 5000));
}

static void
names_reasons(void **state)
{
	(void)state;
	assert_string_equal(rest_reason_name(REST_NONE), "none");
	assert_string_equal(rest_reason_name(REST_THROTTLED), "throttled");
	assert_string_equal(rest_reason_name(REST_SERVER_ERROR), "server error");
	assert_string_equal(rest_reason_name(REST_UNREACHABLE), "unreachable");
	assert_string_equal(rest_reason_name(REST_CREDENTIALS), "credentials refused");
	assert_string_equal(rest_reason_name(REST_NO_TOKEN), "no token");
	assert_string_equal(rest_reason_name(REST_MISSING_DEPLOYMENT), "missing deployment");
}

/* ---- many threads ----------------------------------------------------------------------------------------------- */

#define THREADS 8
#define ROUNDS 20000
/* Longer than any of the rounds. */
#define OUTLIVES_MS 40000U

struct crowd {
	struct rest rest;
	_Atomic uint64_t longest_ms;
	_Atomic unsigned probes_now;
	_Atomic unsigned probes;
	_Atomic unsigned moved;
	_Atomic unsigned numbers_given;
	struct deployment_table *table;
	struct backend_state *backend;
};

static void
run_crowd(void *(*work)(void *), struct crowd *crowd)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, crowd), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void *
begin_rests(void *context)
{
	struct crowd *crowd = context;
	struct random random;
	uint64_t longest_ms = 0, seen_ms = 0;

	random_seed(&random, (uint64_t)(uintptr_t)&random);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t until_ms = random_below(&random, 1000000);

		rest_attempt_began(&crowd->rest);
		longest_ms = until_ms > longest_ms ? until_ms : longest_ms;
		crowd->moved += rest_begin(&crowd->rest, until_ms, REST_THROTTLED);
		/* What is seen never goes back, and never lags behind what this thread itself asked for. */
		if (rest_until_ms(&crowd->rest) < seen_ms || rest_until_ms(&crowd->rest) < longest_ms)
			return context;
		seen_ms = rest_until_ms(&crowd->rest);
		rest_attempt_ended(&crowd->rest);
	}
	for (uint64_t current = crowd->longest_ms; current < longest_ms;) {
		if (atomic_compare_exchange_weak(&crowd->longest_ms, &current, longest_ms))
			break;
	}
	return NULL;
}

static void
the_longest_of_many_rests_stands(void **state)
{
	struct crowd crowd = { 0 };

	(void)state;
	run_crowd(begin_rests, &crowd);
	assert_int_equal(rest_until_ms(&crowd.rest), crowd.longest_ms);
	assert_int_equal(rest_in_flight(&crowd.rest), 0);
	assert_true(crowd.moved > 0);
}

static void *
take_probes(void *context)
{
	struct crowd *crowd = context;

	for (int i = 0; i < ROUNDS; i++) {
		if (!rest_take_probe(&crowd->rest, 1000, 1000))
			continue;
		crowd->probes++;
		if (++crowd->probes_now != 1)
			crowd->probes += 1000000;
		crowd->probes_now--;
		rest_end_probe(&crowd->rest);
	}
	return NULL;
}

static void
of_many_one_is_the_probe(void **state)
{
	struct crowd crowd = { 0 };

	(void)state;
	assert_true(rest_begin(&crowd.rest, 500, REST_THROTTLED));
	run_crowd(take_probes, &crowd);
	assert_in_range(crowd.probes, 1, THREADS * ROUNDS);
	assert_int_equal(rest_availability(&crowd.rest, 1000), PROBE_DUE);
}

static void *
fail_and_succeed(void *context)
{
	struct crowd *crowd = context;
	struct random random;

	random_seed(&random, (uint64_t)(uintptr_t)&random);
	for (uint64_t now_ms = 1; now_ms < ROUNDS; now_ms++) {
		if (random_below(&random, 4) == 0)
			rest_begin(&crowd->rest, now_ms + 50, REST_SERVER_ERROR);
		else
			rest_succeeded(&crowd->rest, now_ms);
		if (rest_availability(&crowd->rest, now_ms) == PROBE_DUE && rest_take_probe(&crowd->rest, now_ms, 10))
			rest_end_probe(&crowd->rest);
	}
	/* The very last to say something: a rest that outlives every success. */
	rest_begin(&crowd->rest, OUTLIVES_MS, REST_UNREACHABLE);
	rest_succeeded(&crowd->rest, ROUNDS);
	return NULL;
}

static void
success_races_failure_and_loses(void **state)
{
	struct crowd crowd = { 0 };

	(void)state;
	run_crowd(fail_and_succeed, &crowd);
	assert_int_equal(rest_until_ms(&crowd.rest), OUTLIVES_MS);
	assert_int_equal(rest_reason(&crowd.rest), REST_UNREACHABLE);
}

/* ---- deployment names ------------------------------------------------------------------------------------------- */

static struct slice
numbered(char *out, size_t size, const char *prefix, unsigned number)
{
	int length = snprintf(out, size, "%s-%u", prefix, number);

	return slice_of(out, (size_t)length);
}

static void
gives_each_name_a_number(void **state)
{
	struct deployment_table *table = deployment_table_new();
	unsigned gpt, ada;

	(void)state;
	assert_int_equal(deployment_count(table), 1);
	assert_int_equal(deployment_find(table, SLICE("gpt-4o")), DEPLOYMENT_OTHER);
	gpt = deployment_add_configured(table, SLICE("gpt-4o"));
	ada = deployment_learn(table, SLICE("text-embedding-3-small"));
	assert_int_not_equal(gpt, DEPLOYMENT_OTHER);
	assert_int_not_equal(ada, DEPLOYMENT_OTHER);
	assert_int_not_equal(gpt, ada);
	assert_int_equal(deployment_add_configured(table, SLICE("gpt-4o")), gpt);
	assert_int_equal(deployment_learn(table, SLICE("gpt-4o")), gpt);
	assert_int_equal(deployment_add_configured(table, SLICE("text-embedding-3-small")), ada);
	assert_int_equal(deployment_find(table, SLICE("gpt-4o")), gpt);
	assert_int_equal(deployment_find(table, SLICE("GPT-4o")), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_find(table, SLICE("gpt-4")), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_count(table), 3);
	assert_true(slice_equals(deployment_name(table, gpt), SLICE("gpt-4o")));
	assert_true(slice_equals(deployment_name(table, DEPLOYMENT_OTHER), SLICE("other")));
	assert_true(slice_equals(deployment_name(table, 3), SLICE("other")));
	assert_true(slice_equals(deployment_name(table, UINT32_MAX), SLICE("other")));
	deployment_table_free(&table);
	assert_null(table);
	deployment_table_free(&table);
}

static void
refuses_names_that_do_not_fit(void **state)
{
	struct deployment_table *table = deployment_table_new();
	char name[DEPLOYMENT_NAME_MAX_BYTES + 1];

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_int_equal(deployment_learn(table, SLICE_EMPTY), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_find(table, SLICE_EMPTY), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_learn(table, slice_of(name, sizeof(name))), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_find(table, slice_of(name, sizeof(name))), DEPLOYMENT_OTHER);
	assert_int_not_equal(deployment_learn(table, slice_of(name, sizeof(name) - 1)), DEPLOYMENT_OTHER);
	assert_int_not_equal(deployment_find(table, slice_of(name, sizeof(name) - 1)), DEPLOYMENT_OTHER);
	deployment_table_free(&table);
}

static void
bounds_what_is_learned_and_configured_apart(void **state)
{
	struct deployment_table *table = deployment_table_new();
	char name[32];

	(void)state;
	for (unsigned i = 0; i < DEPLOYMENTS_LEARNED_MAX; i++)
		assert_int_equal(deployment_learn(table, numbered(name, sizeof(name), "learned", i)), 1 + i);
	assert_int_equal(deployment_learn(table, SLICE("one-more")), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_learn(table, SLICE("learned-7")), 8);

	/* A configuration that names a learned one gives its place back. */
	assert_int_equal(deployment_add_configured(table, SLICE("learned-7")), 8);
	assert_int_equal(deployment_learn(table, SLICE("one-more")), DEPLOYMENTS_LEARNED_MAX + 1);
	assert_int_equal(deployment_learn(table, SLICE("two-more")), DEPLOYMENT_OTHER);

	for (unsigned i = 1; i < DEPLOYMENTS_CONFIGURED_MAX; i++)
		assert_int_not_equal(deployment_add_configured(table, numbered(name, sizeof(name), "configured", i)),
		    DEPLOYMENT_OTHER);
	assert_int_equal(deployment_add_configured(table, SLICE("beyond")), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_add_configured(table, SLICE("learned-8")), 9);
	assert_int_equal(deployment_learn(table, SLICE("two-more")), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_count(table), DEPLOYMENTS_MAX);

	for (unsigned i = 0; i < deployment_count(table); i++)
		assert_int_equal(deployment_find(table, deployment_name(table, i)), i);
	assert_int_equal(deployment_find(table, SLICE("beyond")), DEPLOYMENT_OTHER);
	deployment_table_free(&table);
}

static void
bounds_what_is_only_supposed(void **state)
{
	struct deployment_table *table = deployment_table_new();
	char name[32];

	(void)state;
	for (unsigned i = 0; i < DEPLOYMENTS_SUPPOSED_MAX; i++)
		assert_int_equal(deployment_suppose(table, numbered(name, sizeof(name), "supposed", i)), 1 + i);
	assert_int_equal(deployment_suppose(table, SLICE("one-more")), DEPLOYMENT_OTHER);
	assert_int_equal(deployment_suppose(table, SLICE("supposed-7")), 8);
	assert_true(deployment_is_supposed(table, 8));
	assert_false(deployment_is_supposed(table, DEPLOYMENT_OTHER));
	assert_false(deployment_is_supposed(table, DEPLOYMENTS_MAX));

	/* One that proves to be a name keeps its number and gives its place back, for good. */
	assert_int_equal(deployment_learn(table, SLICE("supposed-7")), 8);
	assert_false(deployment_is_supposed(table, 8));
	assert_int_equal(deployment_suppose(table, SLICE("supposed-7")), 8);
	assert_false(deployment_is_supposed(table, 8));
	assert_int_equal(deployment_suppose(table, SLICE("one-more")), DEPLOYMENTS_SUPPOSED_MAX + 1);
	assert_int_equal(deployment_add_configured(table, SLICE("supposed-8")), 9);
	assert_int_equal(deployment_suppose(table, SLICE("two-more")), DEPLOYMENTS_SUPPOSED_MAX + 2);
	assert_int_equal(deployment_suppose(table, SLICE("three-more")), DEPLOYMENT_OTHER);

	/* Together they have the places of the learned ones, and no name is learned beyond these. */
	for (unsigned i = 1; i < DEPLOYMENTS_LEARNED_MAX - DEPLOYMENTS_SUPPOSED_MAX; i++)
		assert_int_not_equal(deployment_learn(table, numbered(name, sizeof(name), "learned", i)),
		    DEPLOYMENT_OTHER);
	assert_int_equal(deployment_learn(table, SLICE("four-more")), DEPLOYMENT_OTHER);
	assert_int_not_equal(deployment_learn(table, SLICE("supposed-9")), DEPLOYMENT_OTHER);
	deployment_table_free(&table);
}

static void *
learn_names(void *context)
{
	struct crowd *crowd = context;
	struct random random;
	char text[32];

	random_seed(&random, (uint64_t)(uintptr_t)&random);
	for (int i = 0; i < ROUNDS; i++) {
		/* Of twice as many names as there is room for. */
		struct slice name = numbered(text, sizeof(text), "name",
		    (unsigned)random_below(&random, UINT64_C(2) * DEPLOYMENTS_LEARNED_MAX));
		unsigned number =
		    i % 2 == 0 ? deployment_learn(crowd->table, name) : deployment_find(crowd->table, name);

		if (number == DEPLOYMENT_OTHER)
			continue;
		crowd->numbers_given++;
		if (number >= deployment_count(crowd->table) ||
		    !slice_equals(deployment_name(crowd->table, number), name))
			crowd->moved++;
	}
	return NULL;
}

static void
many_learn_at_once(void **state)
{
	struct crowd crowd = { .table = deployment_table_new() };

	(void)state;
	run_crowd(learn_names, &crowd);
	assert_int_equal(crowd.moved, 0);
	assert_true(crowd.numbers_given > 0);
	assert_int_equal(deployment_count(crowd.table), 1 + DEPLOYMENTS_LEARNED_MAX);
	for (unsigned i = 1; i < deployment_count(crowd.table); i++)
		assert_int_equal(deployment_find(crowd.table, deployment_name(crowd.table, i)), i);
	deployment_table_free(&crowd.table);
}

/* ---- a backend's state ------------------------------------------------------------------------------------------ */

static void
a_state_begins_clean_and_aligned(void **state)
{
	struct backend_state *backend = backend_state_new("openai1", "https://openai1.openai.azure.com");
	struct backend_state *again = backend_state_share(backend);

	(void)state;
	assert_ptr_equal(backend, again);
	assert_int_equal((uintptr_t)backend % 64, 0);
	assert_string_equal(backend->name, "openai1");
	assert_string_equal(backend->url, "https://openai1.openai.azure.com");
	assert_int_equal(rest_availability(&backend->whole, 1), AVAILABLE);
	assert_int_equal(rest_availability(&backend->deployments[DEPLOYMENTS_MAX - 1], 1), AVAILABLE);
	backend_state_release(&backend);
	assert_null(backend);
	assert_string_equal(again->name, "openai1");
	backend_state_release(&again);
	assert_null(again);
	backend_state_release(&again);
}

static void *
share_and_release(void *context)
{
	struct crowd *crowd = context;

	for (int i = 0; i < ROUNDS; i++) {
		struct backend_state *mine = backend_state_share(crowd->backend);

		rest_attempt_began(&mine->whole);
		rest_attempt_ended(&mine->whole);
		backend_state_release(&mine);
	}
	return NULL;
}

static void
many_share_a_state(void **state)
{
	struct crowd crowd = { .backend = backend_state_new("openai1", "http://127.0.0.1") };

	(void)state;
	run_crowd(share_and_release, &crowd);
	assert_int_equal(crowd.backend->references, 1);
	backend_state_release(&crowd.backend);
}

static void
failed_probes_wait_longer_each_time(void **state)
{
	struct rest rest = { 0 };
	uint64_t now_ms = 1000, want_ms = 100;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		uint64_t random = i * UINT64_C(0x9e3779b97f4a7c15);
		uint64_t rest_ms = rest_backoff_ms(&rest, 100, 1000, now_ms, random);

		assert_true(rest_ms <= want_ms && rest_ms >= want_ms - want_ms / 8);
		if (i == 0)
			assert_int_equal(rest_ms, 100);
		assert_true(rest_begin(&rest, now_ms + rest_ms, REST_SERVER_ERROR));
		/* One that had been under way with it makes it no longer. */
		assert_true(rest_backoff_ms(&rest, 100, 1000, now_ms, random) <= want_ms);
		now_ms += rest_ms;
		want_ms = want_ms * 2 < 1000 ? want_ms * 2 : 1000;
	}
	assert_true(rest_succeeded(&rest, now_ms));
	assert_int_equal(rest_backoff_ms(&rest, 100, 1000, now_ms, 7), 100);
	assert_int_equal(rest_backoff_ms(&rest, 5000, 1000, now_ms, 0), 5000);
}

static void
says_what_a_rest_amounts_to(void **state)
{
	static const struct {
		enum availability availability;
		enum rest_reason reason;
		const char *want;
	} names[] = {
		{ AVAILABLE, REST_NONE, "available" },
		{ AVAILABLE, REST_THROTTLED, "available" },
		{ RESTING, REST_NONE, "available" }, /* it has recovered between two looks */
		{ RESTING, REST_THROTTLED, "cooling" },
		{ RESTING, REST_SERVER_ERROR, "ejected" },
		{ RESTING, REST_UNREACHABLE, "ejected" },
		{ RESTING, REST_NO_TOKEN, "ejected" },
		{ RESTING, REST_CREDENTIALS, "misconfigured" },
		{ RESTING, REST_MISSING_DEPLOYMENT, "misconfigured" },
		{ PROBE_DUE, REST_THROTTLED, "probing" },
		{ PROBING, REST_CREDENTIALS, "probing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		assert_string_equal(rest_state_name(names[i].availability, names[i].reason), names[i].want);
}

static void
a_good_head_ends_a_rest_for_want_of_quota_alone(void **state)
{
	struct rest rest = { 0 };

	(void)state;
	assert_false(rest_admitted(&rest, 100));
	assert_true(rest_begin(&rest, 200, REST_THROTTLED));
	assert_false(rest_admitted(&rest, 199));
	assert_true(rest_admitted(&rest, 200));
	assert_int_equal(rest_availability(&rest, 200), AVAILABLE);

	assert_int_equal(rest_backoff_ms(&rest, 100, 10000, 200, 0), 100);
	assert_true(rest_begin(&rest, 300, REST_SERVER_ERROR));
	assert_false(rest_admitted(&rest, 300));
	assert_int_equal(rest_availability(&rest, 300), PROBE_DUE);
	/* The failures in a row go on. */
	assert_int_equal(rest_backoff_ms(&rest, 100, 10000, 300, 0), 200);
	assert_true(rest_succeeded(&rest, 300));
	assert_int_equal(rest_backoff_ms(&rest, 100, 10000, 300, 0), 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_available),
		cmocka_unit_test(a_late_short_rest_never_shortens),
		cmocka_unit_test(a_rest_may_be_endless),
		cmocka_unit_test(one_probe_goes_first),
		cmocka_unit_test(a_slow_probe_of_a_throttled_one_opens_the_gate),
		cmocka_unit_test(a_probe_that_succeeds_opens_the_gate),
		cmocka_unit_test(a_probe_that_fails_rests_again),
		cmocka_unit_test(success_clears_no_rest_that_runs),
		cmocka_unit_test(names_reasons),
		cmocka_unit_test(says_what_a_rest_amounts_to),
		cmocka_unit_test(the_longest_of_many_rests_stands),
		cmocka_unit_test(of_many_one_is_the_probe),
		cmocka_unit_test(success_races_failure_and_loses),
		cmocka_unit_test(gives_each_name_a_number),
		cmocka_unit_test(refuses_names_that_do_not_fit),
		cmocka_unit_test(bounds_what_is_learned_and_configured_apart),
		cmocka_unit_test(bounds_what_is_only_supposed),
		cmocka_unit_test(a_good_head_ends_a_rest_for_want_of_quota_alone),
		cmocka_unit_test(many_learn_at_once),
		cmocka_unit_test(a_state_begins_clean_and_aligned),
		cmocka_unit_test(many_share_a_state),
		cmocka_unit_test(failed_probes_wait_longer_each_time),
	};

	return cmocka_run_group_tests_name("policy/state", tests, NULL, NULL);
}
