/* What a backend still has room for, told by its answers and by what was sent since. */
#include "policy/headroom.h"
#include "policy/estimate.h"
#include "unit.h"

#include <stdio.h>

#define NOW_MS 1000000U
#define MAX_MS 60000U

static void
told(struct headroom *room, const struct headroom_ticket *ticket, const char *name, const char *value,
    const char *reset_name, const char *reset, uint64_t now_ms)
{
	struct headers headers = { .count = 1 };

	headers.items[0] = (struct header){ slice_from(name), slice_from(value), header_identify(slice_from(name)) };
	if (reset != NULL) {
		headers.items[1] = (struct header){ slice_from(reset_name), slice_from(reset),
			header_identify(slice_from(reset_name)) };
		headers.count = 2;
	}
	headroom_told(room, ticket, &headers, now_ms, MAX_MS);
}

#define TOKENS "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"
#define REQUESTS "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"
#define PERCENT "azure-openai-deployment-utilization", ""

static const struct {
	const char *behaviour;
	const char *name, *reset_name;
	const char *value, *reset;
	uint64_t later_ms;
	uint64_t tokens;
	bool fits;
} cases[] = {
	{ "enough tokens are left", TOKENS, "500", "30", 0, 500, true },
	{ "one too few", TOKENS, "499", "30", 0, 500, false },
	{ "none are left", TOKENS, "0", "30", 0, 1, false },
	{ "minus one is unknown", TOKENS, "-1", "30", 0, 500, true },
	{ "a word is unknown", TOKENS, "none", "30", 0, 500, true },
	{ "an absurd number is unknown", TOKENS, "18446744073709551615", "30", 0, 500, true },
	{ "it holds until its reset", TOKENS, "0", "30", 29999, 500, false },
	{ "and no longer", TOKENS, "0", "30", 30000, 500, true },
	{ "a reset of hours is bounded", TOKENS, "0", "16h", MAX_MS, 500, true },
	{ "a reset in milliseconds", TOKENS, "0", "400ms", 400, 500, true },
	{ "without a reset it is old soon", TOKENS, "0", NULL, HEADROOM_FRESH_MS, 500, true },
	{ "without a reset it holds a while", TOKENS, "0", NULL, HEADROOM_FRESH_MS - 1, 500, false },
	{ "an unreadable reset is none", TOKENS, "0", "soon", HEADROOM_FRESH_MS, 500, true },
	{ "no requests are left", REQUESTS, "0", "10", 0, 1, false },
	{ "one request is left", REQUESTS, "1", "10", 0, 1, true },
	{ "requests come back", REQUESTS, "0", "10", 10000, 1, true },
	{ "requests of minus one are unknown", REQUESTS, "-1", "10", 0, 1, true },
	{ "nearly full is not full", PERCENT, "99.5%", NULL, 0, 500, true },
	{ "full, but for a hair", PERCENT, "99.6%", NULL, 0, 500, false },
	{ "above full", PERCENT, "100.5%", NULL, 0, 500, false },
	{ "without its sign", PERCENT, "101", NULL, 0, 500, false },
	{ "it drains", PERCENT, "100.5%", NULL, 600, 500, true },
	{ "it has not drained yet", PERCENT, "100.5%", NULL, 599, 500, false },
	{ "far above, but long ago", PERCENT, "900%", NULL, HEADROOM_FRESH_MS, 500, true },
	{ "no percentage", PERCENT, "full", NULL, 0, 500, true },
	{ "half a percentage", PERCENT, "101.5x", NULL, 0, 500, true },
};

static void
news_decides(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct headroom room = { 0 };
		struct headroom_ticket ticket;

		headroom_sent(&room, 100, NOW_MS, &ticket);
		CHECK("unknown is room", headroom_fits(&room, 1U << 30, NOW_MS));
		told(&room, &ticket, cases[i].name, cases[i].value, cases[i].reset_name, cases[i].reset, NOW_MS);
		CHECK(cases[i].behaviour,
		    headroom_fits(&room, cases[i].tokens, NOW_MS + cases[i].later_ms) == cases[i].fits);
	}
}

#define TELL(ticket, left) \
	told(&room, &(ticket), "x-ratelimit-remaining-tokens", left, "x-ratelimit-reset-tokens", "30", NOW_MS)
#define LEFT(behaviour, want) \
	do { \
		uint64_t left_ = 0; \
		CHECK(behaviour, headroom_tokens_left(&room, NOW_MS, &left_)); \
		CHECK_NUMBER(behaviour, left_, want); \
	} while (0)

static void
what_was_sent_since_is_subtracted(void **state)
{
	struct headroom room = { 0 };
	struct headroom_ticket first, second, third;

	(void)state;
	headroom_sent(&room, 100, NOW_MS, &first);
	headroom_sent(&room, 200, NOW_MS, &second);
	TELL(first, "1000");
	LEFT("the second was not known to the news", 800);
	headroom_sent(&room, 300, NOW_MS, &third);
	LEFT("nor was the third", 500);
	TELL(second, "800");
	LEFT("the second has been counted", 500);
	TELL(first, "5");
	LEFT("older news is no news", 500);
	headroom_give_back(&room, &second);
	LEFT("what the news has left out is not given back twice", 500);
	headroom_give_back(&room, &third);
	LEFT("a failed one is given back", 800);
	headroom_give_back(&room, &third);
	LEFT("once", 800);
	headroom_sent(&room, 5000, NOW_MS, &first);
	LEFT("less than nothing is nothing", 0);
}

static void
estimates_learn(void **state)
{
	struct headroom room = { 0 };

	(void)state;
	CHECK_NUMBER("four bytes a token", headroom_estimate(&room, 4000, 50), 1050);
	CHECK_NUMBER("no limit, nothing known", headroom_estimate(&room, 4000, 0), 1000);
	headroom_learn(&room, 4000, 2000, 70);
	CHECK_NUMBER("two bytes a token, as seen", headroom_estimate(&room, 4000, 50), 2050);
	CHECK_NUMBER("the usual answer", headroom_estimate(&room, 4000, 0), 2070);
	headroom_learn(&room, 4000, 40000000, 0);
	CHECK("one odd usage does not spoil it", headroom_estimate(&room, 4000, 50) < 2500);
}

#define AT "{\"messages\":[{\"role\":\"user\",\"content\":\"max_tokens 9 \\\"max_tokens\\\":9\"}],"

static const struct {
	const char *behaviour;
	const char *body;
	uint64_t output;
	bool keyed;
} bodies[] = {
	{ "no limit", AT "\"n\":1}", 0, false },
	{ "max_tokens", AT "\"max_tokens\":7}", 7, false },
	{ "max_completion_tokens", AT "\"max_completion_tokens\":8}", 8, false },
	{ "max_output_tokens", "{\"input\":\"x\",\"max_output_tokens\":6}", 6, false },
	{ "null", AT "\"max_tokens\":null}", 0, false },
	{ "less than none", AT "\"max_tokens\":-5}", 0, false },
	{ "a text", AT "\"max_tokens\":\"9\"}", 0, false },
	{ "absurd", AT "\"max_tokens\":99999999999}", 10000000, false },
	{ "a key", AT "\"prompt_cache_key\":\"k\"}", 0, true },
	{ "an empty key is none", AT "\"prompt_cache_key\":\"\"}", 0, false },
	{ "no JSON", "--boundary", 0, false },
};

static void
bodies_tell_their_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
		char *body = exact_copy(bodies[i].body, strlen(bodies[i].body));
		struct estimate estimate;

		estimate_read(slice_of(body, strlen(bodies[i].body)), true, 1, &estimate);
		CHECK_NUMBER(bodies[i].behaviour, estimate.output_tokens, bodies[i].output);
		CHECK(bodies[i].behaviour, (estimate.affinity != 0) == bodies[i].keyed);
		CHECK(bodies[i].behaviour, estimate.prompt_bytes > 0);
		free(body);
	}
}

/* A long body in front of, or behind, the limit. */
static void
long_bodies_are_read_at_their_ends(void **state)
{
	const size_t size = 40000;
	char *body = memory_take(size);
	struct estimate estimate, other;
	int length;

	(void)state;
	memset(body, 'x', size);
	length = snprintf(body, 100, "{\"max_tokens\": 321,\"messages\":[{\"content\":\"");
	body[length] = 'x';
	memcpy(body + size - 4, "\"}]}", 4);
	estimate_read(slice_of(body, size), false, 1, &estimate);
	CHECK_NUMBER("at its beginning", estimate.output_tokens, 321);
	CHECK_NUMBER("no affinity asked for", estimate.affinity, 0);
	estimate_read(slice_of(body, size), true, 1, &estimate);
	CHECK_NUMBER("read whole", estimate.output_tokens, 321);
	CHECK("a long prompt has a home", estimate.affinity != 0);
	body[size / 2] = 'y';
	estimate_read(slice_of(body, size), true, 1, &other);
	CHECK("which its beginning decides", other.affinity == estimate.affinity);
	body[200] = 'y';
	estimate_read(slice_of(body, size), true, 1, &other);
	CHECK("another beginning, another home", other.affinity != estimate.affinity);
	memset(body, 'x', 60);
	memcpy(body, "{\"messages\":[{\"content\":\"", 25);
	memcpy(body + size - 22, "\"}],\"max_tokens\":654 }", 22);
	estimate_read(slice_of(body, size), false, 1, &estimate);
	CHECK_NUMBER("at its end", estimate.output_tokens, 654);
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_decides),
		cmocka_unit_test(what_was_sent_since_is_subtracted),
		cmocka_unit_test(estimates_learn),
		cmocka_unit_test(bodies_tell_their_size),
		cmocka_unit_test(long_bodies_are_read_at_their_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
