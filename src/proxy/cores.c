#include "proxy/cores.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/small_file.h"

#define WORKERS_MAX 64U
#define PATH_MAX_BYTES 4096
#define FILE_MAX_BYTES 4096

static unsigned
whole_cores(struct slice quota, struct slice period)
{
	uint64_t quota_us, period_us;

	/* "max" and -1 are no numbers of microseconds: no quota. */
	if (!slice_to_u64(quota, &quota_us) || !slice_to_u64(period, &period_us) || quota_us == 0 || period_us == 0)
		return 0;
	return quota_us / period_us >= WORKERS_MAX ? WORKERS_MAX : (unsigned)((quota_us + period_us - 1) / period_us);
}

/* The quota of one group; 0: none. */
static unsigned
quota_of_group(const char *root, const char *controller, struct slice group)
{
	char path[PATH_MAX_BYTES], text[FILE_MAX_BYTES], more[FILE_MAX_BYTES];
	struct slice both, period;
	ptrdiff_t space;

	if (controller[0] == '\0') {
		snprintf(path, sizeof(path), "%s%.*s/cpu.max", root, SLICE_PRINT(group));
		both = small_file_read(path, text, sizeof(text));
		space = slice_find(both, SLICE(" "));
		return space < 0 ? 0
				 : whole_cores(slice_of(both.data, (size_t)space), slice_skip(both, (size_t)space + 1));
	}
	snprintf(path, sizeof(path), "%s/%s%.*s/cpu.cfs_quota_us", root, controller, SLICE_PRINT(group));
	both = small_file_read(path, text, sizeof(text));
	snprintf(path, sizeof(path), "%s/%s%.*s/cpu.cfs_period_us", root, controller, SLICE_PRINT(group));
	period = small_file_read(path, more, sizeof(more));
	return whole_cores(both, period);
}

/* The smallest quota of a group and those above it. */
static unsigned
quota_on_the_way(const char *root, const char *controller, struct slice group)
{
	unsigned least = 0;

	for (;;) {
		const char *slash;
		unsigned quota;

		while (group.length > 0 && group.data[group.length - 1] == '/')
			group.length--;
		quota = quota_of_group(root, controller, group);
		if (quota > 0 && (least == 0 || quota < least))
			least = quota;
		if (group.length == 0)
			return least;
		slash = memrchr(group.data, '/', group.length);
		group.length = slash != NULL ? (size_t)(slash - group.data) : 0;
	}
}

static bool
lists_cpu(struct slice controllers)
{
	while (controllers.length > 0) {
		const char *comma = memchr(controllers.data, ',', controllers.length);
		size_t length = comma != NULL ? (size_t)(comma - controllers.data) : controllers.length;

		if (slice_equals(slice_of(controllers.data, length), SLICE("cpu")))
			return true;
		controllers = slice_skip(controllers, comma != NULL ? length + 1 : length);
	}
	return false;
}

/* Takes "number:controllers:group" apart. */
static bool
take_line(struct slice *text, struct slice *controllers, struct slice *group)
{
	const char *end = memchr(text->data, '\n', text->length);
	struct slice line = slice_of(text->data, end != NULL ? (size_t)(end - text->data) : text->length);
	ptrdiff_t first, second;

	*text = slice_skip(*text, end != NULL ? line.length + 1 : line.length);
	first = slice_find(line, SLICE(":"));
	if (first < 0)
		return false;
	line = slice_skip(line, (size_t)first + 1);
	second = slice_find(line, SLICE(":"));
	if (second < 0)
		return false;
	*controllers = slice_of(line.data, (size_t)second);
	*group = slice_skip(line, (size_t)second + 1);
	return group->length < PATH_MAX_BYTES / 2;
}

unsigned
cores_of_quota(const char *root, struct slice membership)
{
	unsigned least = 0;

	while (membership.length > 0) {
		struct slice controllers, group;
		unsigned quota = 0;

		if (!take_line(&membership, &controllers, &group))
			continue;
		if (controllers.length == 0)
			quota = quota_on_the_way(root, "", group);
		else if (lists_cpu(controllers))
			quota = quota_on_the_way(root, "cpu", group);
		if (quota > 0 && (least == 0 || quota < least))
			least = quota;
	}
	return least;
}

unsigned
cores_for_workers(void)
{
	char text[FILE_MAX_BYTES];
	struct slice membership = small_file_read("/proc/self/cgroup", text, sizeof(text));
	unsigned cores = 1, quota = cores_of_quota("/sys/fs/cgroup", membership);
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) > 0)
		cores = (unsigned)CPU_COUNT(&allowed);
	if (quota > 0 && quota < cores)
		cores = quota;
	return cores < WORKERS_MAX ? cores : WORKERS_MAX;
}
