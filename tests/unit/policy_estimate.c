/* What a request's body tells: its size, the answer's limit, and which others share its prompt. */
#include "policy/estimate.h"
#include "unit.h"

#include <stdio.h>

#define SEED 7U

static void
estimate_text(const char *body, bool whole, uint64_t seed, struct estimate *out)
{
	char *copy = exact_copy(body, strlen(body));

	estimate_read(slice_of(copy, strlen(body)), whole, seed, out);
	free(copy);
}

static const struct {
	const char *behaviour;
	const char *body;
	uint64_t prompt_bytes, output_tokens;
} sizes[] = {
	{ "the messages are the prompt", "{\"model\":\"m\",\"messages\":[1,2]}", 5, 0 },
	{ "or the input", "{\"input\":\"four\",\"model\":\"m\"}", 6, 0 },
	{ "messages before input", "{\"input\":\"four\",\"messages\":[]}", 2, 0 },
	{ "else all of it", "{\"prompt\":\"x\"}", 14, 0 },
	{ "nothing", "", 0, 0 },
	{ "of two limits the larger", "{\"max_tokens\":5,\"max_completion_tokens\":9}", 42, 9 },
	{ "in whatever order", "{\"max_completion_tokens\":9,\"max_tokens\":5}", 42, 9 },
	{ "a fraction is no limit", "{\"max_tokens\":5.5}", 18, 0 },
	{ "the limit of something else", "{\"tools\":{\"max_tokens\":5}}", 26, 0 },
	{ "as much as is believed", "{\"max_tokens\":10000000}", 23, 10000000 },
	{ "more than that", "{\"max_tokens\":10000001}", 23, 10000000 },
	{ "cut short: all that came", "{\"max_tokens\":5,\"mess", 21, 0 },
};

static void
sizes_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct estimate estimate;

		estimate_text(sizes[i].body, true, SEED, &estimate);
		CHECK_NUMBER(sizes[i].behaviour, estimate.prompt_bytes, sizes[i].prompt_bytes);
		CHECK_NUMBER(sizes[i].behaviour, estimate.output_tokens, sizes[i].output_tokens);
		/* A short body is read whole, whether that was asked for or not. */
		estimate_text(sizes[i].body, false, SEED, &estimate);
		CHECK_NUMBER(sizes[i].behaviour, estimate.output_tokens, sizes[i].output_tokens);
	}
}

static const struct {
	const char *behaviour;
	const char *one, *other;
	bool alike;
} pairs[] = {
	{ "the same key", "{\"prompt_cache_key\":\"a\"}", "{\"prompt_cache_key\":\"a\",\"messages\":[1]}", true },
	{ "another key", "{\"prompt_cache_key\":\"a\"}", "{\"prompt_cache_key\":\"b\"}", false },
	{ "a key in a message is none", "{\"prompt_cache_key\":\"a\"}", "{\"messages\":[{\"prompt_cache_key\":\"a\"}]}",
	    false },
	{ "a number is no key", "{\"prompt_cache_key\":\"1\"}", "{\"prompt_cache_key\":1}", false },
};

static void
keys_are_compared(void **state)
{
	struct estimate one, other;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
		estimate_text(pairs[i].one, true, SEED, &one);
		estimate_text(pairs[i].other, true, SEED, &other);
		CHECK(pairs[i].behaviour, one.affinity != 0);
		CHECK(pairs[i].behaviour, (one.affinity == other.affinity) == pairs[i].alike);
		estimate_text(pairs[i].one, true, SEED + 1, &other);
		CHECK("another seed, another number", one.affinity != other.affinity);
	}
}

/* A prompt has a home from ESTIMATE_PREFIX_BYTES up, and a key goes before it. */
static void
long_prompts_have_a_home(void **state)
{
	char body[ESTIMATE_PREFIX_BYTES + 64];
	struct estimate shorter, longest, keyed;

	(void)state;
	for (unsigned longer = 0; longer < 2; longer++) {
		int beginning = snprintf(body, sizeof(body), "{\"input\":\"");
		size_t end = (size_t)beginning + ESTIMATE_PREFIX_BYTES - 3 + longer; /* two quotes are part of it */

		memset(body + beginning, 'x', end - (size_t)beginning);
		body[end] = '"';
		body[end + 1] = '}';
		body[end + 2] = '\0';
		estimate_text(body, true, SEED, longer ? &longest : &shorter);
	}
	CHECK_NUMBER("one byte too short", shorter.prompt_bytes, ESTIMATE_PREFIX_BYTES - 1);
	CHECK("one byte too short has none", shorter.affinity == 0);
	CHECK_NUMBER("long enough", longest.prompt_bytes, ESTIMATE_PREFIX_BYTES);
	CHECK("long enough has one", longest.affinity != 0);
	strcpy(body + strlen(body) - 1, ",\"prompt_cache_key\":\"k\"}");
	estimate_text(body, true, SEED, &keyed);
	estimate_text("{\"prompt_cache_key\":\"k\"}", true, SEED, &shorter);
	CHECK("the key before the prompt", keyed.affinity == shorter.affinity);
}

/* Of a long body only the two windows are read. Each row is put at the beginning, at the end, and in the middle. */
static const struct {
	const char *behaviour;
	const char *text;
	uint64_t tokens;
} windows[] = {
	{ "a limit", "\"max_tokens\":77,", 77 },
	{ "with spaces", "\"max_tokens\" :  77 ,", 77 },
	{ "the longest name", "\"max_completion_tokens\":78,", 78 },
	{ "of the Responses API", "\"max_output_tokens\":79,", 79 },
	{ "nothing", "\"max_tokens\":null,", 0 },
	{ "a text", "\"max_tokens\":\"77\",", 0 },
	{ "nought", "\"max_tokens\":0,", 0 },
	{ "absurd", "\"max_tokens\":99999999,", 10000000 },
	{ "another name", "\"max_retries\":77,", 0 },
	{ "too short a name", "\"max_t\":77,", 0 },
	{ "in a message", "\\\"max_tokens\\\":77,", 0 },
	{ "without its end", "\"max_tokens", 0 },
	{ "without its number", "\"max_tokens\":", 0 },
	{ "the second one", "\"max_retries\":3,\"max_tokens\":77,", 77 },
};

static void
windows_are_searched(void **state)
{
	const size_t size = 4 * ESTIMATE_SCAN_MAX_BYTES;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(windows); i++) {
		size_t length = strlen(windows[i].text);
		const size_t places[] = { 0, ESTIMATE_WINDOW_BYTES - length, size - ESTIMATE_WINDOW_BYTES,
			size - length, size / 2, ESTIMATE_WINDOW_BYTES - length + 1 };

		for (size_t p = 0; p < ARRAY_COUNT(places); p++) {
			char *body = memory_take(size);
			struct estimate estimate;
			/* In the middle nobody looks; and what a window cuts has lost its comma at most. */
			bool seen = p != 4;

			memset(body, 'x', size);
			memcpy(body + places[p], windows[i].text, length);
			estimate_read(slice_of(body, size), false, SEED, &estimate);
			CHECK_NUMBER(windows[i].behaviour, estimate.output_tokens, seen ? windows[i].tokens : 0);
			CHECK_NUMBER(windows[i].behaviour, estimate.prompt_bytes, size);
			CHECK_NUMBER(windows[i].behaviour, estimate.affinity, 0);
			free(body);
		}
	}
}

/* The first body that is too long to be read whole. */
static void
the_longest_that_is_read_whole(void **state)
{
	(void)state;
	for (unsigned longer = 0; longer < 2; longer++) {
		size_t size = ESTIMATE_SCAN_MAX_BYTES + longer;
		char *body = memory_take(size);
		struct estimate estimate;

		memset(body, ' ', size);
		memcpy(body, "{\"prompt_cache_key\":\"k\"", 23);
		body[size - 1] = '}';
		estimate_read(slice_of(body, size), false, SEED, &estimate);
		CHECK("the key is found where all is read", (estimate.affinity != 0) == (longer == 0));
		free(body);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_told),
		cmocka_unit_test(keys_are_compared),
		cmocka_unit_test(long_prompts_have_a_home),
		cmocka_unit_test(windows_are_searched),
		cmocka_unit_test(the_longest_that_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
