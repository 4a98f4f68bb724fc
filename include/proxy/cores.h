/* proxy/cores.h: how many processors the container may use. Reads files; called once at start, by the main thread.
 *
 * A container with half a processor on a machine with 64 must not start 64 workers: the kernel would stop all of them for
 * most of each period. The quota is the smallest on the way from the process's own control group up to the root; under
 * version 1, that of its cpu controller.
 */
#ifndef PROXY_CORES_H
#define PROXY_CORES_H

#include "base/compiler.h"
#include "base/slice.h"

/* Whole processors that the CPU quota is worth, rounded up; 0: there is no quota.
 *
 * root		where control groups are mounted: "/sys/fs/cgroup"
 * membership	the text of /proc/self/cgroup
 */
unsigned cores_of_quota(const char *root, struct slice membership) MUST_CHECK;

/* What `workers: auto` means here: the quota, at most the processors that may be used, at least 1, at most 64. */
unsigned cores_for_workers(void) MUST_CHECK;

#endif
