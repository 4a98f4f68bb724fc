/* admin/admin.h: the admin port: health, metrics, status for programs and people, reload.
 *
 * Served by the main thread's loop, with libevent's own HTTP server: it faces operators, not strangers. What it shows is
 * read from the shared states without locks on the workers' paths. Off loopback everything but health and metrics
 * needs admin.key. At most ADMIN_CONNECTIONS_MAX connections are open at once; more wait to be accepted. Made and freed by the main thread.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "config/config.h"
#include "proxy/proxy.h"

struct admin;

#define ADMIN_CONNECTIONS_MAX 32

/* Loads and swaps the configuration. False with what is wrong in faults. */
typedef bool admin_reload_fn(void *context, struct config_faults *faults);

/* Listens at once. NULL with the reason in fault. */
struct admin *admin_new(struct event_base *base, struct proxy *proxy, admin_reload_fn *reload, void *context,
    char *fault, size_t fault_size) MUST_CHECK;
uint16_t admin_port(const struct admin *admin);
void admin_free(struct admin **admin);

#endif
