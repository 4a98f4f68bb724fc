#include "sim/sim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/memory.h"
#include "sim/config.h"
#include "sim/server.h"

struct sim {
	struct sim_config *config;
	struct sim_server *server;
	struct event *stop_event;
	int stop_fd; /* written to by sim_stop(): the loop ends */
	pthread_t thread;
};

static void
on_stop(evutil_socket_t fd, short events, void *context)
{
	struct sim *sim = context;

	(void)fd;
	(void)events;
	(void)event_base_loopbreak(sim->server->base);
}

static void *
run(void *context)
{
	struct sim *sim = context;

	sim_server_run(sim->server);
	return NULL;
}

/* Signals are the starter's business: the thread takes none. */
static bool
start_thread(struct sim *sim)
{
	sigset_t all, before;
	int reason;

	sigfillset(&all);
	if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0)
		return false;
	reason = pthread_create(&sim->thread, NULL, run, sim);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return reason == 0;
}

static void
release(struct sim *sim)
{
	if (sim->stop_event != NULL)
		event_free(sim->stop_event);
	if (sim->stop_fd >= 0)
		close(sim->stop_fd);
	sim_server_free(&sim->server);
	sim_config_free(&sim->config);
	free(sim);
}

struct sim *
sim_start(struct slice config_json, char *fault, size_t fault_size)
{
	struct sim *sim = memory_take_zeroed(1, sizeof(*sim));

	sim->stop_fd = -1;
	sim->config = sim_config_parse(config_json, fault, fault_size);
	if (sim->config != NULL)
		sim->server = sim_server_new(sim->config, fault, fault_size);
	if (sim->server == NULL) {
		release(sim);
		return NULL;
	}
	sim->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (sim->stop_fd >= 0)
		sim->stop_event = event_new(sim->server->base, sim->stop_fd, EV_READ, on_stop, sim);
	if (sim->stop_event == NULL || event_add(sim->stop_event, NULL) != 0 || !start_thread(sim)) {
		(void)snprintf(fault, fault_size, "the simulator's thread cannot be started");
		release(sim);
		return NULL;
	}
	return sim;
}

size_t
sim_resource_count(const struct sim *sim)
{
	return sim->config->resource_count;
}

const char *
sim_resource_name(const struct sim *sim, size_t resource)
{
	return sim->config->resources[resource].name;
}

const char *
sim_resource_address(const struct sim *sim, size_t resource)
{
	return sim->config->resources[resource].address;
}

bool
sim_resource_has_tls(const struct sim *sim, size_t resource)
{
	return sim->config->resources[resource].certificate_file[0] != '\0';
}

uint16_t
sim_port(const struct sim *sim, size_t resource)
{
	return sim->server->listeners[resource].port;
}

uint16_t
sim_control_port(const struct sim *sim)
{
	return sim->config->has_control ? sim->server->listeners[sim->config->resource_count].port : 0;
}

const char *
sim_control_address(const struct sim *sim)
{
	return sim->config->control_address;
}

void
sim_stop(struct sim **sim)
{
	uint64_t one = 1;

	if (*sim == NULL)
		return;
	if (write((*sim)->stop_fd, &one, sizeof(one)) != sizeof(one))
		fatal("simulator: its thread cannot be told to stop: %s", strerror(errno));
	(void)pthread_join((*sim)->thread, NULL);
	release(*sim);
	*sim = NULL;
}

/* Small latencies, so that a stream is seen to flow; and one quota that a few requests exhaust. */
#define DEMO_CHAT "\"latency\":{\"first_token_ms\":120,\"per_token_ms\":12,\"jitter\":0.3},\"completion_tokens\":48"
#define DEMO_OTHERS \
	"\"gpt-4o-mini\":{\"model\":\"gpt-4o-mini-2024-07-18\",\"tokens_per_minute\":200000,\"latency\":" \
	"{\"first_token_ms\":80,\"per_token_ms\":8,\"jitter\":0.3},\"completion_tokens\":48}," \
	"\"text-embedding-3-small\":{\"tokens_per_minute\":500000,\"latency\":{\"first_token_ms\":20,\"jitter\":0.3}}"
#define DEMO_RESOURCE(number, region, quota) \
	"{\"name\":\"openai" number "\",\"api_key\":\"demo-key-" number "\",\"region\":\"" region \
	"\",\"deployments\":{\"gpt-4o\":{\"model\":\"gpt-4o-2024-11-20\"," quota "," DEMO_CHAT "}," DEMO_OTHERS "}}"

struct slice
sim_demo_config(void)
{
	return SLICE("{\"record\":0,\"resources\":[" DEMO_RESOURCE("1", "East US",
	    "\"requests_per_minute\":12,\"request_window_ms\":14000") "," DEMO_RESOURCE("2", "Sweden Central",
	    "\"tokens_per_minute\":100000") "," DEMO_RESOURCE("3", "France Central",
	    "\"tokens_per_minute\":100000") "]}");
}
