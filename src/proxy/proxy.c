#include "proxy/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/small_file.h"
#include "net/endpoint.h"
#include "net/upstream.h"
#include "proxy/client.h"
#include "proxy/cores.h"
#include "proxy/token.h"

/* Descriptors that are no connections: listeners, epoll, logs, files read while reloading. */
#define DESCRIPTORS_SPARE 64U

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* Half of the memory that the container may use; UINT64_MAX where that is not limited. */
static uint64_t
container_memory_cap(void)
{
	char text[64];
	uint64_t bytes;

	if (slice_to_u64(small_file_read("/sys/fs/cgroup/memory.max", text, sizeof(text)), &bytes) ||
	    slice_to_u64(small_file_read("/sys/fs/cgroup/memory/memory.limit_in_bytes", text, sizeof(text)), &bytes))
		return bytes / 2;
	return UINT64_MAX;
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

/* The configured cap, lowered to what the descriptors allow: a connection needs two. */
static uint64_t
connections_cap(struct proxy *proxy, const struct config *config)
{
	struct rlimit limit;
	uint64_t possible;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return config->max_connections;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return config->max_connections;
	possible =
	    limit.rlim_cur > 2 * DESCRIPTORS_SPARE ? (limit.rlim_cur - DESCRIPTORS_SPARE) / 2 : limit.rlim_cur / 4;
	if (possible >= config->max_connections)
		return config->max_connections;
	if (proxy->lowered_from == config->max_connections)
		return possible; /* each reload would say it again */
	proxy->lowered_from = config->max_connections;
	log_record(LOG_WARNING, "connections_lowered",
	    LOG_FIELDS(LOG_NUMBER("max_connections", possible), LOG_NUMBER("nofile", limit.rlim_cur)),
	    "limits.max_connections is lowered from %llu to %llu: no more than %llu descriptors may be open (raise "
	    "nofile)",
	    (unsigned long long)config->max_connections, (unsigned long long)possible,
	    (unsigned long long)limit.rlim_cur);
	return possible;
}

static struct worker *
make_worker(struct proxy *proxy, unsigned index)
{
	struct proxy_worker *own = memory_take_zeroed(1, sizeof(*own));
	struct worker *worker = worker_new(index, client_accept, own);

	own->proxy = proxy;
	own->worker = worker;
	own->awaiting_tail = &own->awaiting_token;
	hold_init(&own->hold, worker);
	own->fleet = fleet_share(proxy->fleet);
	own->counters = counters_new();
	own->request_prefix = random_next(&worker->random);
	return worker;
}

struct proxy *
proxy_new(struct config *config, char *fault, size_t fault_size)
{
	struct proxy *proxy = memory_take_zeroed(1, sizeof(*proxy));
	struct random random;

	proxy->tables = (struct fleet_tables){
		.deployments = deployment_table_new(),
		.backends = deployment_table_new(),
		.clients = deployment_table_new(),
	};
	proxy->pins = pin_table_new();
	random_seed_from_system(&random);
	proxy->pin_seed = random_next(&random);
	proxy->identities = identities_new(token_on_news, proxy);
	proxy->memory_cap = container_memory_cap();
	proxy->fleet = fleet_new(config, NULL, &proxy->tables, proxy->identities, fault, fault_size);
	if (proxy->fleet == NULL) {
		proxy_free(&proxy);
		return NULL;
	}
	config = proxy->fleet->config;
	proxy->worker_count = config->workers > 0 ? config->workers : cores_for_workers();
	proxy->workers = memory_take_zeroed(proxy->worker_count, sizeof(struct worker *));
	for (unsigned i = 0; i < proxy->worker_count; i++)
		proxy->workers[i] = make_worker(proxy, i);
	return proxy;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static void
go_on_with_name(struct worker *worker, void *argument)
{
	struct endpoint *endpoint = argument;

	upstream_resolved(worker, endpoint);
	endpoint_release(&endpoint);
}

/* From a resolver thread: every worker may have connections that wait for the name. */
static void
on_resolved(struct endpoint *endpoint, void *context)
{
	struct proxy *proxy = context;

	for (unsigned i = 0; i < proxy->worker_count; i++)
		worker_post(proxy->workers[i], go_on_with_name, endpoint_share(endpoint));
}

/* ---- running --------------------------------------------------------------------------------------------------- */

bool
proxy_start(struct proxy *proxy, struct event_base *main_base, char *fault, size_t fault_size)
{
	const struct config *config = proxy->fleet->config;
	struct listener_settings settings = {
		.address = config->listen.address,
		.port = config->listen.port,
		.max_connections = connections_cap(proxy, config),
		.workers = proxy->workers,
		.worker_count = proxy->worker_count,
	};

	proxy->listener = listener_new(&settings, fault, fault_size);
	if (proxy->listener == NULL)
		return false;
	if (!identities_start(proxy->identities, fault, fault_size))
		return false;
	if (!resolver_start(on_resolved, proxy)) {
		snprintf(fault, fault_size, "no thread for looking up names can be started");
		return false;
	}
	/* A single worker accepts by itself: no connection changes threads. */
	listener_start(proxy->listener, proxy->worker_count == 1 ? proxy->workers[0]->base : main_base);
	for (unsigned i = 0; i < proxy->worker_count; i++) {
		if (!worker_start(proxy->workers[i])) {
			snprintf(fault, fault_size, "no thread for a worker can be started");
			return false;
		}
	}
	return true;
}

uint16_t
proxy_port(const struct proxy *proxy)
{
	return listener_port(proxy->listener);
}

static void
take_fleet(struct worker *worker, void *argument)
{
	struct proxy_worker *own = proxy_worker_of(worker);
	struct fleet *old = own->fleet;

	own->fleet = argument;
	fleet_release(&old);
	/* Endpoints that nobody uses any more must not live on in the pool. */
	upstream_pool_clear(worker);
}

bool
proxy_reload(struct proxy *proxy, struct config *config, char *fault, size_t fault_size)
{
	struct fleet *fleet = fleet_new(config, proxy->fleet, &proxy->tables, proxy->identities, fault, fault_size);

	if (fleet == NULL || !identities_start(proxy->identities, fault, fault_size)) {
		fleet_release(&fleet);
		return false;
	}
	for (unsigned i = 0; i < proxy->worker_count; i++)
		worker_post(proxy->workers[i], take_fleet, fleet_share(fleet));
	fleet_release(&proxy->fleet);
	proxy->fleet = fleet;
	listener_set_cap(proxy->listener, connections_cap(proxy, fleet->config));
	return true;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

void
proxy_fail_readiness(struct proxy *proxy)
{
	atomic_store(&proxy->draining, true);
}

static void
drain_worker(struct worker *worker, void *argument)
{
	struct proxy *proxy = argument;

	if (proxy->worker_count == 1)
		listener_finish(proxy->listener);
	client_drain_all(worker);
	atomic_fetch_sub_explicit(&proxy->workers_to_drain, 1, memory_order_release);
}

void
proxy_stop_accepting(struct proxy *proxy)
{
	atomic_store_explicit(&proxy->workers_to_drain, proxy->worker_count, memory_order_relaxed);
	if (proxy->worker_count > 1)
		listener_finish(proxy->listener);
	for (unsigned i = 0; i < proxy->worker_count; i++)
		worker_post(proxy->workers[i], drain_worker, proxy);
}

unsigned
proxy_connections(const struct proxy *proxy)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < proxy->worker_count; i++)
		sum += atomic_load_explicit(&proxy->workers[i]->connections, memory_order_relaxed);
	return sum;
}

bool
proxy_is_drained(const struct proxy *proxy)
{
	return atomic_load_explicit(&proxy->workers_to_drain, memory_order_acquire) == 0 &&
	    proxy_connections(proxy) == 0;
}

static void
end_worker(struct worker *worker, void *unused)
{
	(void)unused;
	while (proxy_worker_of(worker)->clients != NULL)
		client_leave(proxy_worker_of(worker)->clients, "the daemon stopped");
}

static void
free_worker(struct worker **worker)
{
	struct proxy_worker *own;

	if (*worker == NULL)
		return;
	own = proxy_worker_of(*worker);
	end_worker(*worker, NULL);
	worker_free(worker);
	fleet_release(&own->fleet);
	counters_free(&own->counters);
	free(own);
}

void
proxy_free(struct proxy **proxy)
{
	struct proxy *gone = *proxy;

	if (gone == NULL)
		return;
	*proxy = NULL;
	for (unsigned i = 0; i < gone->worker_count; i++) {
		if (!gone->workers[i]->running)
			continue;
		worker_post(gone->workers[i], end_worker, NULL);
		worker_stop(gone->workers[i]);
	}
	for (unsigned i = 0; i < gone->worker_count; i++)
		worker_join(gone->workers[i]);
	resolver_stop();
	identities_stop(gone->identities);
	listener_free(&gone->listener);
	for (unsigned i = 0; i < gone->worker_count; i++)
		free_worker(&gone->workers[i]);
	free(gone->workers);
	fleet_release(&gone->fleet);
	identities_free(&gone->identities);
	deployment_table_free(&gone->tables.deployments);
	deployment_table_free(&gone->tables.backends);
	deployment_table_free(&gone->tables.clients);
	pin_table_free(&gone->pins);
	free(gone);
}
