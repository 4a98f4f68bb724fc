/* admin/metrics.h: all that is counted, in Prometheus' text format (version 0.0.4).
 *
 * Adds up what the workers count (proxy/measure.h) and reads the states as they are now. Nothing is counted twice and
 * nothing is reset: each counter lives as long as the process, over reloads. Called by the main thread.
 */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include <stdint.h>

#include "base/buffer.h"
#include "proxy/proxy.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* started_unix_ms: when the process began. */
void metrics_write(const struct proxy *proxy, int64_t started_unix_ms, uint64_t now_ms, struct buffer *out);

#endif
