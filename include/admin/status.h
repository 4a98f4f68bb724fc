/* admin/status.h: the state of every backend and deployment, in words. Called by the main thread.
 */
#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "policy/state.h"
#include "proxy/proxy.h"

/* Names of deployments, of all backends together: each lists its share, and at least so many. */
#define STATUS_NAMES_MAX 4096U
#define STATUS_NAMES_EACH_MIN 16U

/* As /status.json and /status have it. started_ms, now_ms: the monotonic clock's. */
void status_write_json(const struct proxy *proxy, uint64_t started_ms, uint64_t now_ms, struct buffer *out);
void status_write_page(const struct proxy *proxy, uint64_t started_ms, uint64_t now_ms, struct buffer *out);

/* Whether the backend shows the deployment (its map names it, or it has had a call for it); *rest is its state where
 * it is served. */
bool status_shows(const struct fleet *fleet, size_t backend, unsigned number, const struct rest **rest);

#endif
