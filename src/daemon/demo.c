/* aoai-lb --demo: the simulator's three resources as backends, in this process. */
#include <stdio.h>

#include "base/buffer.h"
#include "daemon/daemon.h"
#include "sim/sim.h"

char *
demo_start(struct sim **sim)
{
	char fault[SIM_FAULT_SIZE];
	struct buffer text = { 0 };

	*sim = sim_start(sim_demo_config(), fault, sizeof(fault));
	if (*sim == NULL) {
		fprintf(stderr, "aoai-lb: the simulator cannot start: %s\n", fault);
		return NULL;
	}
	buffer_append_string(&text,
	    "{ \"listen\": { \"port\": \"${PORT:-8080}\" }, "
	    "\"admin\": { \"address\": \"${ADMIN_ADDRESS:-127.0.0.1}\", \"port\": \"${ADMIN_PORT:-9090}\" }, "
	    "\"log\": { \"format\": \"${LOG_FORMAT:-text}\" }, \"backends\": [");
	for (size_t i = 0; i < sim_resource_count(*sim); i++)
		buffer_append_format(&text,
		    "%s{ \"name\": \"%s\", \"url\": \"http://127.0.0.1:%u\", \"priority\": %zu, "
		    "\"auth\": { \"type\": \"api_key\", \"key\": \"demo-key-%zu\" }, "
		    "\"deployments\": { \"gpt-4o\": \"gpt-4o\", \"gpt-4o-mini\": \"gpt-4o-mini\", "
		    "\"text-embedding-3-small\": \"text-embedding-3-small\" } }",
		    i > 0 ? ", " : "", sim_resource_name(*sim, i), sim_port(*sim, i), i == 0 ? (size_t)1 : (size_t)2,
		    i + 1);
	buffer_append_string(&text, "] }");
	buffer_append_byte(&text, '\0');
	return text.data;
}
