/* The guide, the schema and the examples say what the daemon does: the first two are made from its table of keys.
 *
 * After a change of the table, AOAI_UPDATE_DOCS=1 makes this test write both anew instead of comparing them.
 */
#include "config/fields.h"
#include "config_support.h"

#define KEYS_BEGIN "<!-- keys: begin -->\n"
#define KEYS_END "<!-- keys: end -->\n"

static const char *const environment[] = { "OPENAI1_NAME=one", "OPENAI2_NAME=two", "OPENAI3_NAME=three",
	"OPENAI1_API_KEY=key-1", "OPENAI2_API_KEY=key-2", "OPENAI3_API_KEY=key-3", "CHAT_APP_KEY=chat",
	"NIGHTLY_BATCH_KEY=batch", "OPERATORS_KEY=operators", NULL };

static void
compare_or_update(const char *name, const struct buffer *have, const struct buffer *want)
{
	char path[4096];
	FILE *file;

	if (getenv("AOAI_UPDATE_DOCS") == NULL) {
		if (!slice_equals(buffer_slice(have), buffer_slice(want)))
			fail_msg("%s is not what the table of keys says; run this test with AOAI_UPDATE_DOCS=1", name);
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", AOAI_SOURCE_DIR, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(want->data, 1, want->length, file), want->length);
	assert_int_equal(fclose(file), 0);
}

static void
the_guide_lists_all_keys(void **state)
{
	struct buffer have = { 0 }, want = { 0 };
	ptrdiff_t begin, end;

	(void)state;
	read_project_file("config/README.md", &have);
	begin = slice_find(buffer_slice(&have), SLICE(KEYS_BEGIN));
	end = slice_find(buffer_slice(&have), SLICE(KEYS_END));
	assert_true(begin > 0 && end > begin);
	buffer_append(&want, have.data, (size_t)begin + sizeof(KEYS_BEGIN) - 1);
	config_write_guide(&want);
	buffer_append(&want, have.data + end, have.length - (size_t)end);
	compare_or_update("config/README.md", &have, &want);
	buffer_free(&have);
	buffer_free(&want);
}

static void
the_schema_describes_all_keys(void **state)
{
	struct buffer have = { 0 }, want = { 0 };

	(void)state;
	if (getenv("AOAI_UPDATE_DOCS") == NULL)
		read_project_file("config/aoai-lb.schema.json", &have);
	config_write_schema(&want);
	compare_or_update("config/aoai-lb.schema.json", &have, &want);
	buffer_free(&have);
	buffer_free(&want);
}

static struct config *
load_example(const char *name)
{
	struct config_faults faults = { NULL, 0 };
	struct config *config;
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/config/%s", AOAI_SOURCE_DIR, name);
	config = config_load_file(path, fake_getenv, (void *)(uintptr_t)environment, &faults);
	config_faults_print(&faults, stderr);
	assert_non_null(config);
	assert_int_equal(faults.count, 0);
	return config;
}

static void
every_example_loads(void **state)
{
	static const struct {
		const char *name;
		size_t backends, clients;
	} examples[] = {
		{ "passthrough.json", 2, 0 },
		{ "three-regions.json", 3, 0 },
		{ "provisioned-first.json", 3, 0 },
		{ "with-clients.json", 2, 3 },
		{ "local-simulator.json", 2, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		struct config *config = load_example(examples[i].name);

		assert_int_equal(config->backend_count, examples[i].backends);
		assert_int_equal(config->client_count, examples[i].clients);
		config_release(&config);
		assert_null(config);
	}
}

static void
the_provisioned_example_spills_over(void **state)
{
	struct config *config = load_example("provisioned-first.json");
	struct slice name;

	(void)state;
	assert_true(config->models_listed);
	assert_string_equal(config->backends[0].url, config->backends[1].url);
	assert_true(config_map_deployment(&config->backends[0], SLICE("gpt-4o"), &name));
	assert_true(slice_equals(name, SLICE("gpt-4o-ptu")));
	assert_true(config_map_deployment(&config->backends[1], SLICE("gpt-4o"), &name));
	assert_true(slice_equals(name, SLICE("gpt-4o")));
	assert_false(config_map_deployment(&config->backends[0], SLICE("text-embedding-3-small"), &name));
	config_release(&config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guide_lists_all_keys),
		cmocka_unit_test(the_schema_describes_all_keys),
		cmocka_unit_test(every_example_loads),
		cmocka_unit_test(the_provisioned_example_spills_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
