/* What a backend still has room for, told by its answers and by what was sent since. */
#include "policy/headroom.h"
#include "policy/estimate.h"
#include "unit.h"

#include <stdio.h>

#define NOW_MS 1000000U
#define MAX_MS 60000U

static void
told(struct headroom *room, struct headroom_ticket *ticket, const char *name, const char *value, const char *reset_name,
    const char *reset, uint64_t now_ms)
{
	struct headers headers = { .count = 1 };

	headers.items[0] = (struct header){ slice_from(name), slice_from(value), header_identify(slice_from(name)) };
	if (reset != NULL) {
		headers.items[1] = (struct header){ slice_from(reset_name), slice_from(reset),
			header_identify(slice_from(reset_name)) };
		headers.count = 2;
	}
	for (unsigned i = 0; i < headers.count; i++)
		headers.ids |= HEADER_BIT(headers.items[i].id);
	headroom_told(room, ticket, &headers, now_ms, MAX_MS);
}

#define TOKENS "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"
#define REQUESTS "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"
#define PERCENT_NAME "azure-openai-deployment-utilization"
#define PERCENT PERCENT_NAME, ""
#define SPILLED_NAME "x-ms-spillover-from-deployment"
#define SPILLED SPILLED_NAME, ""

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
	{ "a reset that is over already", TOKENS, "0", "0", 0, 500, true },
	{ "the same with its unit", TOKENS, "0", "0s", 0, 500, true },
	{ "a reset of minus one", TOKENS, "0", "-1", 0, 500, true },
	{ "no requests are left", REQUESTS, "0", "10", 0, 1, false },
	{ "one request is left", REQUESTS, "1", "10", 0, 1, true },
	{ "requests come back", REQUESTS, "0", "10", 10000, 1, true },
	{ "they have come back already", REQUESTS, "0", "0", 0, 1, true },
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

/* An answer that comes late tells what was left when its request came, not what is left now. */
static const struct {
	const char *behaviour;
	const char *name, *reset_name;
	const char *value, *reset;
	uint64_t head_ms, later_ms; /* after the request; after the head */
	bool fits;
} late[] = {
	{ "in time", TOKENS, "100000", NULL, 9000, 999, false },
	{ "no longer than from the sending", TOKENS, "100000", NULL, 9000, 1000, true },
	{ "minutes old", TOKENS, "100000", NULL, 300000, 0, true },
	{ "minutes old, with a reset", TOKENS, "100000", "60", 300000, 0, true },
	{ "requests, minutes old", REQUESTS, "100", NULL, 300000, 0, true },
	{ "within its reset", TOKENS, "100000", "60", 30000, 29999, false },
	{ "full, minutes ago", PERCENT, "101%", NULL, 300000, 0, true },
	{ "spilled over, minutes ago", SPILLED, "ptu", NULL, 300000, 0, true },
};

static void
old_news_is_unknown(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(late); i++) {
		struct headroom room = { 0 };
		struct headroom_ticket slow, other;
		uint64_t head_ms = NOW_MS + late[i].head_ms;

		headroom_sent(&room, 1000, NOW_MS, &slow);
		for (unsigned n = 0; n < 100; n++)
			headroom_sent(&room, 1000, NOW_MS + n, &other);
		told(&room, &slow, late[i].name, late[i].value, late[i].reset_name, late[i].reset, head_ms);
		CHECK(late[i].behaviour, headroom_fits(&room, 1000, head_ms + late[i].later_ms) == late[i].fits);
	}
}

/* A refusal's hint says when to come again; what else it tells keeps nobody away for much longer. */
static const struct {
	const char *behaviour;
	const char *name, *value;
	const char *hint_name, *hint;
	uint64_t until_ms; /* it does not fit before */
} refusals[] = {
	{ "above full by a hair", PERCENT_NAME, "100.1%", "retry-after-ms", "50", 50 },
	{ "above full", PERCENT_NAME, "105%", "retry-after-ms", "50", 55 },
	{ "far above full", PERCENT_NAME, "900%", "retry-after-ms", "50", 50 },
	{ "it drains slowly", PERCENT_NAME, "101%", "retry-after-ms", "2000", 2150 },
	{ "above full for long", PERCENT_NAME, "100.1%", "retry-after-ms", "5000", 5000 },
	{ "a fraction", PERCENT_NAME, "105%", "retry-after-ms", "49.2", 55 },
	{ "the other spelling", PERCENT_NAME, "105%", "x-ms-retry-after-ms", "50", 55 },
	{ "in seconds", PERCENT_NAME, "130%", "retry-after", "2", 2000 },
	{ "at once", PERCENT_NAME, "130%", "retry-after-ms", "0", 1 },
	{ "no tokens are left", "x-ratelimit-remaining-tokens", "0", "retry-after-ms", "400", 400 },
	{ "no requests are left", "x-ratelimit-remaining-requests", "0", "retry-after", "4", 4000 },
	{ "a hint that is none", "x-ratelimit-remaining-tokens", "0", "retry-after", "soon", HEADROOM_FRESH_MS },
	{ "a hint that goes beyond the news", "x-ratelimit-remaining-tokens", "0", "retry-after", "40",
	    HEADROOM_FRESH_MS },
};

static void
the_hint_ends_what_a_refusal_tells(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
		struct headroom room = { 0 };
		struct headroom_ticket ticket;
		const char *behaviour = refusals[i].behaviour;

		headroom_sent(&room, 100, NOW_MS, &ticket);
		told(&room, &ticket, refusals[i].name, refusals[i].value, refusals[i].hint_name, refusals[i].hint,
		    NOW_MS);
		headroom_give_back(&room, &ticket);
		CHECK(behaviour, !headroom_fits(&room, 100, NOW_MS));
		CHECK_NUMBER(behaviour, headroom_fits_at_ms(&room, 100, NOW_MS), NOW_MS + refusals[i].until_ms);
		CHECK(behaviour, !headroom_fits(&room, 100, NOW_MS + refusals[i].until_ms - 1));
		CHECK(behaviour, headroom_fits(&room, 100, NOW_MS + refusals[i].until_ms));
	}
}

/* Azure serves what a provisioned deployment has no room for from another one, and says so. */
static void
spillover_shows_that_it_is_full(void **state)
{
	struct headroom room = { 0 };
	struct headroom_ticket own, spilled;
	uint32_t percent;

	(void)state;
	headroom_sent(&room, 100, NOW_MS, &own);
	headroom_sent(&room, 100, NOW_MS + 1, &spilled);
	told(&room, &spilled, SPILLED_NAME, "ptu", NULL, NULL, NOW_MS + 10);
	CHECK_NUMBER("it has taken no room", spilled.tokens, 0);
	CHECK("another is better", !headroom_fits(&room, 1, NOW_MS + 10));
	CHECK("it would spill", headroom_spills(&room, NOW_MS + 10));
	CHECK_NUMBER("but it refuses nobody", headroom_fits_at_ms(&room, 1, NOW_MS + 10), NOW_MS + 10);
	CHECK("how full was not told", !headroom_utilisation(&room, NOW_MS + 10, &percent));
	told(&room, &own, "azure-openai-deployment-utilization", "50%", NULL, NULL, NOW_MS + 20);
	CHECK("older news does not end it", !headroom_fits(&room, 1, NOW_MS + 9 + HEADROOM_SPILLED_MS));
	CHECK("it is not for long", headroom_fits(&room, 1, NOW_MS + 10 + HEADROOM_SPILLED_MS));
	CHECK("it is over", !headroom_spills(&room, NOW_MS + 10 + HEADROOM_SPILLED_MS));

	told(&room, &spilled, SPILLED_NAME, "ptu", NULL, NULL, NOW_MS + 10);
	headroom_sent(&room, 100, NOW_MS + 30, &own);
	told(&room, &own, "azure-openai-deployment-utilization", "50%", NULL, NULL, NOW_MS + 40);
	CHECK("newer news does", headroom_fits(&room, 1, NOW_MS + 40));
	CHECK("how full is told again", headroom_utilisation(&room, NOW_MS + 40, &percent));
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

/* What becomes of the room when a request has ended. first and second are 100 and 200 tokens; the news of 1000 left comes
 * with one of them, or not at all. */
enum told_by { NOBODY, FIRST, SECOND };
enum settled { GIVEN_BACK, CORRECTED };

static const struct {
	const char *behaviour;
	enum told_by news;
	enum settled how;
	bool is_first; /* the one that ends; else the second */
	uint64_t tokens;
	uint64_t left;
} endings[] = {
	{ "smaller than estimated, behind the news", FIRST, CORRECTED, false, 150, 850 },
	{ "larger than estimated, behind the news", FIRST, CORRECTED, false, 260, 740 },
	{ "as estimated", FIRST, CORRECTED, false, 200, 800 },
	{ "nothing at all", FIRST, CORRECTED, false, 0, 1000 },
	{ "beyond what is left", FIRST, CORRECTED, false, 5000, 0 },
	{ "the news was its own: counted already", FIRST, CORRECTED, true, 50, 800 },
	{ "the news is younger: counted already", SECOND, CORRECTED, true, 50, 1000 },
	{ "younger news, larger than estimated", SECOND, CORRECTED, true, 5000, 1000 },
	{ "given back, behind the news", FIRST, GIVEN_BACK, false, 0, 1000 },
	{ "given back, with the news", FIRST, GIVEN_BACK, true, 0, 800 },
};

static void
endings_settle(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
		struct headroom room = { 0 };
		struct headroom_ticket first, second, *ended = endings[i].is_first ? &first : &second;

		headroom_sent(&room, 100, NOW_MS, &first);
		headroom_sent(&room, 200, NOW_MS, &second);
		if (endings[i].news == FIRST)
			TELL(first, "1000");
		else
			TELL(second, "1000");
		/* A ticket counts once, whatever comes after. */
		for (unsigned again = 0; again < 2; again++) {
			if (endings[i].how == CORRECTED)
				headroom_correct(&room, ended, endings[i].tokens);
			else
				headroom_give_back(&room, ended);
			LEFT(endings[i].behaviour, endings[i].left);
		}
	}
}

static void
a_correction_without_news_is_harmless(void **state)
{
	struct headroom room = { 0 };
	struct headroom_ticket ticket;
	uint64_t left;

	(void)state;
	headroom_sent(&room, 100, NOW_MS, &ticket);
	headroom_correct(&room, &ticket, 5000);
	CHECK("nothing is known", !headroom_tokens_left(&room, NOW_MS, &left));
	CHECK("unknown is room", headroom_fits(&room, 1U << 30, NOW_MS));
	headroom_sent(&room, 0, NOW_MS, &ticket);
	CHECK_NUMBER("a request of nothing books one", ticket.tokens, 1);
	TELL(ticket, "10");
	LEFT("news after it counts as told", 10);
}

/* Resets are whole seconds, rounded up, and count from when the request was sent. */
static const struct {
	const char *behaviour;
	uint64_t sent_ms[2], told_ms[2];
	const char *reset[2];
	uint64_t until_ms;
} resets[] = {
	{ "from the sending, not from the head", { 0, 0 }, { 4000, 4000 }, { "10", "10" }, 10000 },
	{ "of the same moment the earliest", { 0, 700 }, { 0, 700 }, { "10", "10" }, 10000 },
	{ "the later news knows better", { 0, 100 }, { 0, 100 }, { "10", "9" }, 9100 },
	{ "another moment is another window", { 0, 5000 }, { 0, 5000 }, { "10", "10" }, 15000 },
	{ "what had run out says nothing", { 0, 10500 }, { 0, 10500 }, { "10", "0.5" }, 11000 },
};

static void
resets_are_narrowed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(resets); i++) {
		struct headroom room = { 0 };

		for (unsigned n = 0; n < 2; n++) {
			struct headroom_ticket ticket;

			headroom_sent(&room, 1, NOW_MS + resets[i].sent_ms[n], &ticket);
			told(&room, &ticket, "x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests",
			    resets[i].reset[n], NOW_MS + resets[i].told_ms[n]);
		}
		CHECK_NUMBER(resets[i].behaviour, headroom_fits_at_ms(&room, 1, NOW_MS + resets[i].told_ms[1]) - NOW_MS,
		    resets[i].until_ms);
		CHECK(resets[i].behaviour, !headroom_fits(&room, 1, NOW_MS + resets[i].until_ms - 1));
		CHECK(resets[i].behaviour, headroom_fits(&room, 1, NOW_MS + resets[i].until_ms));
	}
}

static const struct {
	const char *behaviour;
	const char *tokens, *requests, *utilisation; /* told; NULL: not */
	uint64_t later_ms, size;
	uint64_t at_ms; /* when it fits; 0: now */
} waits[] = {
	{ "nothing is known", NULL, NULL, NULL, 0, 500, 0 },
	{ "it fits", "500", "1", "50%", 0, 500, 0 },
	{ "too few tokens: their reset", "499", "1", NULL, 0, 500, 30000 },
	{ "no requests: their reset", "500", "0", NULL, 0, 500, 10000 },
	{ "neither: the later one", "499", "0", NULL, 0, 500, 30000 },
	{ "tokens have come back", "499", NULL, NULL, 30000, 500, 0 },
	{ "nearly full: soon", NULL, NULL, "100%", 0, 500, 301 },
	{ "it has drained a little", NULL, NULL, "100%", 100, 500, 305 },
	{ "far above full: nobody has said how long", NULL, NULL, "130%", 0, 500, UINT64_MAX - NOW_MS },
	{ "old news of it: now", NULL, NULL, "130%", HEADROOM_FRESH_MS, 500, 0 },
};

static void
says_when_it_fits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(waits); i++) {
		struct headroom room = { 0 };
		struct headroom_ticket ticket;
		uint64_t now_ms = NOW_MS + waits[i].later_ms, at_ms;

		headroom_sent(&room, 1, NOW_MS, &ticket);
		if (waits[i].tokens != NULL)
			told(&room, &ticket, "x-ratelimit-remaining-tokens", waits[i].tokens,
			    "x-ratelimit-reset-tokens", "30", NOW_MS);
		if (waits[i].requests != NULL)
			told(&room, &ticket, "x-ratelimit-remaining-requests", waits[i].requests,
			    "x-ratelimit-reset-requests", "10", NOW_MS);
		if (waits[i].utilisation != NULL)
			told(&room, &ticket, "azure-openai-deployment-utilization", waits[i].utilisation, NULL, NULL,
			    NOW_MS);
		at_ms = headroom_fits_at_ms(&room, waits[i].size, now_ms);
		CHECK_NUMBER(waits[i].behaviour, at_ms, waits[i].at_ms == 0 ? now_ms : NOW_MS + waits[i].at_ms);
		CHECK(waits[i].behaviour, (at_ms == now_ms) == headroom_fits(&room, waits[i].size, now_ms));
	}
}

/* A provisioned deployment of a size that nobody knows, which fills and drains as it does. */
static void
a_provisioned_deployment_is_learned(void **state)
{
	const uint64_t drain_per_s = 500, fill_per_1000 = 20; /* in 1/10000 */
	struct headroom room = { 0 };
	struct headroom_ticket ticket;
	uint64_t level = 8000, now_ms = NOW_MS;
	char text[32];

	(void)state;
	/* A refusal says how fast it drains: 5 % above full, one second. */
	headroom_sent(&room, 1000, now_ms, &ticket);
	struct headers refusal = { .count = 2,
		.ids = HEADER_BIT(HEADER_DEPLOYMENT_UTILIZATION) | HEADER_BIT(HEADER_RETRY_AFTER_MS),
		.items = { { .value = SLICE("105.0%"), .id = HEADER_DEPLOYMENT_UTILIZATION },
		    { .value = SLICE("1000"), .id = HEADER_RETRY_AFTER_MS } } };
	headroom_told(&room, &ticket, &refusal, now_ms, MAX_MS);
	CHECK_NUMBER("until it is nearly full", headroom_fits_at_ms(&room, 1, now_ms), now_ms + 1100);
	headroom_give_back(&room, &ticket);
	CHECK_NUMBER("what was refused has filled nothing", headroom_fits_at_ms(&room, 1, now_ms), now_ms + 1100);
	/* Requests of 1000 tokens, of which a half turns out to be unused, every 100 ms: in the long run it stays as it is. */
	for (unsigned i = 0; i < 200; i++) {
		now_ms += 100;
		level -= drain_per_s / 10;
		headroom_sent(&room, 5000, now_ms, &ticket);
		level += 5 * fill_per_1000;
		snprintf(text, sizeof(text), "%u.%u%%", (unsigned)(level / 100), (unsigned)(level / 10 % 10));
		told(&room, &ticket, "azure-openai-deployment-utilization", text, NULL, NULL, now_ms);
		headroom_correct(&room, &ticket, 2500);
		level -= 5 * fill_per_1000 / 2;
	}
	CHECK("there is room", headroom_fits(&room, 1, now_ms));
	/* 20 % are left, which are 100,000 tokens. */
	headroom_sent(&room, 80000, now_ms, &ticket);
	CHECK("there is some left", headroom_fits(&room, 1, now_ms));
	headroom_sent(&room, 30000, now_ms, &ticket);
	CHECK("what was sent since has filled it", !headroom_fits(&room, 1, now_ms));
	headroom_correct(&room, &ticket, 0);
	CHECK("what was not used is free again", headroom_fits(&room, 1, now_ms));
}

static void
older_news_of_a_utilisation_is_no_news(void **state)
{
	struct headroom room = { 0 };
	struct headroom_ticket first, second;
	uint32_t percent;

	(void)state;
	headroom_sent(&room, 1, NOW_MS, &first);
	headroom_sent(&room, 1, NOW_MS + 50, &second);
	told(&room, &second, "azure-openai-deployment-utilization", "40.5%", NULL, NULL, NOW_MS + 60);
	told(&room, &first, "azure-openai-deployment-utilization", "100.9%", NULL, NULL, NOW_MS + 70);
	CHECK("fresh", headroom_utilisation(&room, NOW_MS + 70, &percent));
	CHECK_NUMBER("what was sent last", percent, 4050);
	CHECK("not for ever", !headroom_utilisation(&room, NOW_MS + 50 + HEADROOM_FRESH_MS, &percent));
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

/* A ratio is kept within a token in 16 bytes and a token a byte; nothing teaches nothing. */
static const struct {
	const char *behaviour;
	uint64_t bytes, prompt, completion; /* learned */
	uint64_t want_prompt, want_whole;   /* estimated: 16 KiB with a limit of 1, and without one */
} lessons[] = {
	{ "nothing learned", 0, 0, 0, 4097, 4096 },
	{ "no bytes", 0, 100, 0, 4097, 4096 },
	{ "no tokens", 100, 0, 0, 4097, 4096 },
	{ "as few as there may be", 16000, 1000, 0, 1025, 1024 },
	{ "fewer than that", 16000, 1, 0, 1025, 1024 },
	{ "a token a byte", 1000, 1000, 0, 16385, 16384 },
	{ "more than that", 1000, 1000000, 0, 16385, 16384 },
	{ "more than a word holds", 1000, UINT64_MAX, 0, 4097, 4096 },
	{ "an answer alone", 0, 0, 300, 4097, 4396 },
	{ "an answer that no word holds", 0, 0, UINT64_MAX, 4097, 4096 },
};

static void
lessons_are_bounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(lessons); i++) {
		struct headroom room = { 0 };

		headroom_learn(&room, lessons[i].bytes, lessons[i].prompt, lessons[i].completion);
		CHECK_NUMBER(lessons[i].behaviour, headroom_estimate(&room, 16384, 1), lessons[i].want_prompt);
		CHECK_NUMBER(lessons[i].behaviour, headroom_estimate(&room, 16384, 0), lessons[i].want_whole);
	}
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
		cmocka_unit_test(old_news_is_unknown),
		cmocka_unit_test(the_hint_ends_what_a_refusal_tells),
		cmocka_unit_test(spillover_shows_that_it_is_full),
		cmocka_unit_test(what_was_sent_since_is_subtracted),
		cmocka_unit_test(endings_settle),
		cmocka_unit_test(a_correction_without_news_is_harmless),
		cmocka_unit_test(resets_are_narrowed),
		cmocka_unit_test(says_when_it_fits),
		cmocka_unit_test(a_provisioned_deployment_is_learned),
		cmocka_unit_test(older_news_of_a_utilisation_is_no_news),
		cmocka_unit_test(estimates_learn),
		cmocka_unit_test(lessons_are_bounded),
		cmocka_unit_test(bodies_tell_their_size),
		cmocka_unit_test(long_bodies_are_read_at_their_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
