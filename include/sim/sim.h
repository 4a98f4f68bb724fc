/* sim/sim.h: a simulator of Azure OpenAI resources that runs beside whatever needs one.
 *
 * One thread of its own, with its own event loop, serves every resource of the configuration (see sim/config.h) and the
 * control port. The demo embeds it, the tests talk to it, aoai-sim is a program around it.
 *
 *	char fault[SIM_FAULT_SIZE];
 *	struct sim *sim = sim_start(sim_demo_config(), fault, sizeof(fault));
 *	if (sim == NULL)
 *		... fault says why ...
 *	printf("http://127.0.0.1:%u\n", sim_port(sim, 0));
 *	sim_stop(&sim);
 *
 * Owned by the thread that started it.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

struct sim;

#define SIM_FAULT_SIZE 512U

/* Starts the simulator; every port is bound when it returns. Returns NULL when the configuration is faulty or a port
 * cannot be had, with the reason in fault (NUL-terminated). */
struct sim *sim_start(struct slice config_json, char *fault, size_t fault_size) MUST_CHECK;

size_t sim_resource_count(const struct sim *sim);
/* Borrowed; valid until sim_stop(). */
const char *sim_resource_name(const struct sim *sim, size_t resource);
const char *sim_resource_address(const struct sim *sim, size_t resource);
bool sim_resource_has_tls(const struct sim *sim, size_t resource);
uint16_t sim_port(const struct sim *sim, size_t resource);
/* The control port, or 0 when there is none. */
uint16_t sim_control_port(const struct sim *sim);
const char *sim_control_address(const struct sim *sim);

/* Ends the thread, closes every connection and frees all. Nulls the caller's pointer; NULL in it is harmless. */
void sim_stop(struct sim **sim);

/* Three resources openai1 to openai3 on any free ports, with deployments gpt-4o, gpt-4o-mini and
 * text-embedding-3-small and the keys demo-key-1 to demo-key-3. Three requests to openai1's gpt-4o exhaust its quota for
 * about 12 seconds. */
struct slice sim_demo_config(void);

#endif
