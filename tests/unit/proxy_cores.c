/* Quotas of control groups, laid out in a directory as the kernel lays them out. */
#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/cores.h"

#define FILES_MAX 4

static const struct {
	const char *behaviour, *membership;
	struct {
		const char *path, *text;
	} files[FILES_MAX];
	unsigned want;
} cases[] = {
	{ "no groups, no quota", "", { { NULL, NULL } }, 0 },
	{ "half a processor is one worker", "0::/\n", { { "/cpu.max", "50000 100000\n" } }, 1 },
	{ "two and a half are three", "0::/\n", { { "/cpu.max", "250000 100000\n" } }, 3 },
	{ "exactly two are two", "0::/\n", { { "/cpu.max", "200000 100000\n" } }, 2 },
	{ "max is no quota", "0::/\n", { { "/cpu.max", "max 100000\n" } }, 0 },
	{ "the process's own group", "0::/kube/pod7\n", { { "/kube/pod7/cpu.max", "150000 100000\n" } }, 2 },
	{ "a group above has less", "0::/kube/pod7\n",
	    { { "/kube/pod7/cpu.max", "400000 100000\n" }, { "/kube/cpu.max", "100000 100000\n" } }, 1 },
	{ "a group above has more", "0::/kube/pod7\n",
	    { { "/kube/pod7/cpu.max", "200000 100000\n" }, { "/kube/cpu.max", "900000 100000\n" } }, 2 },
	{ "the group is not mounted here, as in a container", "0::/../../kube/pod7\n",
	    { { "/cpu.max", "200000 100000\n" } }, 2 },
	{ "version 1", "5:memory:/x\n4:cpu,cpuacct:/docker/1\n",
	    { { "/cpu/docker/1/cpu.cfs_quota_us", "150000\n" }, { "/cpu/docker/1/cpu.cfs_period_us", "100000\n" } },
	    2 },
	{ "version 1 without a quota", "4:cpu,cpuacct:/docker/1\n",
	    { { "/cpu/docker/1/cpu.cfs_quota_us", "-1\n" }, { "/cpu/docker/1/cpu.cfs_period_us", "100000\n" } }, 0 },
	{ "cpuacct alone is another controller", "4:cpuacct:/docker/1\n",
	    { { "/cpu/docker/1/cpu.cfs_quota_us", "100000\n" }, { "/cpu/docker/1/cpu.cfs_period_us", "100000\n" } },
	    0 },
	{ "nonsense is no quota", "0::/\n", { { "/cpu.max", "lots of it\n" } }, 0 },
	{ "a period of nought is no quota", "0::/\n", { { "/cpu.max", "100000 0\n" } }, 0 },
	{ "a quota of nought is no quota", "0::/\n", { { "/cpu.max", "0 100000\n" } }, 0 },
	{ "a huge one is bounded", "0::/\n", { { "/cpu.max", "18446744073709551615 1\n" } }, 64 },
	{ "lines that are none", "nothing\n:\n0:\n0::/\n", { { "/cpu.max", "100000 100000\n" } }, 1 },
};

/* Makes the directories on the way to a file, and the file. */
static void
write_file(const char *root, const char *path, const char *text)
{
	char full[512];
	FILE *file;

	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		(void)mkdir(full, 0700);
		*slash = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
remove_tree(const char *root)
{
	char command[600];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
	assert_int_equal(system(command), 0);
}

static void
test_quotas(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char root[] = "/tmp/aoai-cores-XXXXXX";

		assert_non_null(mkdtemp(root));
		for (size_t k = 0; k < FILES_MAX && cases[i].files[k].path != NULL; k++)
			write_file(root, cases[i].files[k].path, cases[i].files[k].text);
		CHECK_NUMBER(cases[i].behaviour, cores_of_quota(root, slice_from(cases[i].membership)), cases[i].want);
		remove_tree(root);
	}
}

static void
test_there_is_always_a_worker(void **state)
{
	(void)state;
	assert_in_range(cores_for_workers(), 1, 64);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quotas),
		cmocka_unit_test(test_there_is_always_a_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
