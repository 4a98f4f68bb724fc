/* How an answer came about, in one line that is never long. */
#include "unit.h"

#include <stdio.h>

#include "base/compiler.h"
#include "proxy/explain.h"

#define ITEMS_MAX 4

/* An attempt has an outcome or a status, a backend that was passed over has why. */
struct item {
	const char *name, *outcome;
	unsigned status;
	uint64_t rest_ms;
	struct passed_over why;
};

static const struct {
	const char *behaviour;
	struct item items[ITEMS_MAX];
	const char *want;
} cases[] = {
	{ "nothing to say", { { .name = NULL } }, "" },
	{ "the answer's status", { { .name = "one", .status = 200 } }, "one=200" },
	{ "outcomes in their order, with rests",
	    { { .name = "one", .outcome = "429", .rest_ms = 12000 }, { .name = "two", .outcome = "connect" },
		{ .name = "three", .status = 201 } },
	    "one=429(12000ms),two=connect,three=201" },
	{ "why one was passed over",
	    { { .name = "one", .why = { "cooling", 29999, "retry-after-ms" } }, { .name = "two", .status = 200 } },
	    "one=skip:cooling(29999ms;retry-after-ms),two=200" },
	{ "a cause in several words", { { .name = "one", .why = { "misconfigured", 5, "missing deployment" } } },
	    "one=skip:misconfigured(5ms;missing-deployment)" },
	{ "a time without a cause", { { .name = "one", .why = { "cooling", 7, NULL } } }, "one=skip:cooling(7ms)" },
	{ "a cause without a time is left out", { { .name = "one", .why = { "probing", 0, "server error" } } },
	    "one=skip:probing" },
};

static void
add(struct explanation *explanation, size_t index, const struct item *item)
{
	if (item->why.reason != NULL)
		explain_passed_over(explanation, index, item->name, &item->why);
	else
		explain_attempt(explanation, item->name, item->outcome, item->status, item->rest_ms);
}

static void
test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct explanation explanation = { 0 };
		struct buffer scratch = { 0 };

		for (size_t k = 0; k < ITEMS_MAX && cases[i].items[k].name != NULL; k++)
			add(&explanation, k, &cases[i].items[k]);
		CHECK_TEXT(cases[i].behaviour, explain_line(&explanation, &scratch), cases[i].want);
		assert_null(scratch.data); /* only what was cut is copied */
		buffer_free(&scratch);
		explain_free(&explanation);
	}
}

static void
test_a_backend_is_passed_over_once(void **state)
{
	static const struct passed_over why = { .reason = "probing" };
	struct explanation explanation = { 0 };
	struct buffer scratch = { 0 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		explain_passed_over(&explanation, 3, "one", &why);
		explain_passed_over(&explanation, CONFIG_BACKENDS_MAX - 1, "last", &why);
	}
	CHECK_TEXT("said once", explain_line(&explanation, &scratch), "one=skip:probing,last=skip:probing");
	explain_free(&explanation);
}

#define LONG_NAME "n123456789n123456789n123456789n123456789n123456789n123456789n123"

/* The number behind the last "+"; fails where the line does not end in it. */
static unsigned
mark_of(struct slice line)
{
	char text[2 * EXPLAIN_ATTEMPTS_MAX_BYTES];
	const char *plus;
	unsigned count = 0;
	char after = 0;

	assert_true(line.length < sizeof(text));
	memcpy(text, line.data, line.length);
	text[line.length] = '\0';
	plus = strrchr(text, '+');
	assert_non_null(plus);
	assert_true(plus == text || plus[-1] == ',');
	assert_int_equal(sscanf(plus, "+%u%c", &count, &after), 1);
	return count;
}

static unsigned
items_of(struct slice line)
{
	unsigned count = 0;

	for (size_t i = 0; i < line.length; i++)
		count += line.data[i] == '=';
	return count;
}

static void
test_what_was_passed_over_ends_at_its_cap(void **state)
{
	static const struct passed_over why = { "cooling", 60000, "x-ratelimit-reset-requests" };
	struct explanation explanation = { 0 };
	struct buffer scratch = { 0 };
	struct slice line;

	(void)state;
	for (size_t i = 0; i < CONFIG_BACKENDS_MAX; i++)
		explain_passed_over(&explanation, i, LONG_NAME, &why);
	assert_true(explanation.text.length <= EXPLAIN_SKIPS_MAX_BYTES);
	assert_true(explanation.text.length > EXPLAIN_SKIPS_MAX_BYTES - 128);
	line = explain_line(&explanation, &scratch);
	assert_int_equal(items_of(line) + mark_of(line), CONFIG_BACKENDS_MAX);
	buffer_free(&scratch);

	/* Attempts are told all the same. */
	explain_attempt(&explanation, "one", "429", 0, 20);
	explain_attempt(&explanation, "two", NULL, 200, 0);
	line = explain_line(&explanation, &scratch);
	assert_int_equal(items_of(line) + mark_of(line), CONFIG_BACKENDS_MAX + 2);
	buffer_append_byte(&scratch, 0);
	assert_non_null(strstr(scratch.data, ",one=429(20ms),two=200,+"));
	buffer_free(&scratch);
	explain_free(&explanation);
}

static void
test_attempts_without_end_are_cut_but_not_the_last(void **state)
{
	struct explanation explanation = { 0 };
	struct buffer scratch = { 0 };
	struct slice line;

	(void)state;
	for (int i = 0; i < 3000; i++)
		explain_attempt(&explanation, LONG_NAME, "429", 0, 20);
	assert_true(explanation.text.length <= EXPLAIN_ATTEMPTS_MAX_BYTES + 32);
	assert_true(explanation.text.length > EXPLAIN_ATTEMPTS_MAX_BYTES - 128);
	explain_attempt(&explanation, "two", NULL, 200, 0);
	line = explain_line(&explanation, &scratch);
	assert_int_equal(items_of(line) + mark_of(line), 3001);
	buffer_append_byte(&scratch, 0);
	assert_non_null(strstr(scratch.data, ",two=200,+"));
	buffer_free(&scratch);
	explain_free(&explanation);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_a_backend_is_passed_over_once),
		cmocka_unit_test(test_what_was_passed_over_ends_at_its_cap),
		cmocka_unit_test(test_attempts_without_end_are_cut_but_not_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
