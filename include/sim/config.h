/* sim/config.h: what the simulator is to pretend.
 *
 * JSON, all of it optional but the resources' names; the defaults are shown:
 *
 *	{
 *	  "seed": 1,                      ids, jitter and probabilities repeat with the same seed
 *	  "log": false,                   one line a request on stdout
 *	  "record": 32,                   how many of the last requests GET /stats shows; 0: none
 *	  "control": { "address": "127.0.0.1", "port": 0 },      absent: no control port
 *	  "resources": [ {
 *	    "name": "openai1", "address": "127.0.0.1", "port": 0,
 *	    "api_key": "",                taken as api-key and as Bearer token; "": any will do, or none
 *	    "region": "East US",
 *	    "keep_alive_ms": 0,           an idle connection is closed after this time; 0: never
 *	    "tls": { "certificate_file": "", "private_key_file": "" },
 *	    "tokens_of": "",              the name of a resource that is a token endpoint: its tokens are taken, and no other
 *	    "identity": {                 makes the resource a token endpoint (managed identity and Entra ID, see sim/identity.h)
 *	      "lifetime_s": 3600,         of its tokens
 *	      "header": "",               the X-IDENTITY-HEADER that is wanted; "": any
 *	      "client_secret": ""         what an application must know; "": anything
 *	    },
 *	    "deployments": { "gpt-4o": {
 *	      "model": "gpt-4o",          as the answers name it; the deployment's name when absent
 *	      "tokens_per_minute": 0,     0: no limit
 *	      "requests_per_minute": 0,   0: six for every 1000 tokens_per_minute
 *	      "token_window_ms": 60000, "request_window_ms": 10000,   quotas are counted in windows of this length
 *	      "ptu": 0,                   more than 0: provisioned; the two limits above are then not looked at
 *	      "latency": { "first_token_ms": 0, "per_token_ms": 0, "jitter": 0 },    jitter 0.2: plus or minus 20 %
 *	      "completion_tokens": 64,    length of an answer that max_tokens does not cut
 *	      "context_tokens": 128000
 *	    } }
 *	  } ],
 *	  "faults": [ ]                   see sim/fault.h
 *	}
 *
 * Immutable once parsed.
 */
#ifndef SIM_CONFIG_H
#define SIM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "sim/limiter.h"
#include "sim/pacing.h"

/* Jansson's; its header and http/json.h cannot be had in one file. */
struct json_t;

#define SIM_RESOURCES_MAX 64U
#define SIM_DEPLOYMENTS_MAX 64U
#define SIM_RECORD_MAX 4096U

struct sim_deployment_config {
	char *name;
	char *model;
	struct sim_quota quota;
	struct sim_latency latency;
	uint64_t completion_tokens;
	uint64_t context_tokens;
};

struct sim_resource_config {
	char *name;
	char *address;
	uint16_t port;
	char *api_key;
	char *region;
	uint64_t keep_alive_ms;
	char *certificate_file; /* "": plain HTTP */
	char *private_key_file;
	char *tokens_of; /* "": nobody's */
	bool is_issuer;
	uint64_t token_lifetime_s;
	char *identity_header;
	char *client_secret;
	struct sim_deployment_config *deployments;
	size_t deployment_count;
};

struct sim_config {
	uint64_t seed;
	bool log;
	uint64_t record;
	bool has_control;
	char *control_address;
	uint16_t control_port;
	struct sim_resource_config *resources;
	size_t resource_count;
	struct json_t *faults; /* an array, or NULL */
};

/* Parses; NULL on the first fault found, which is written to fault with its JSON path. */
struct sim_config *sim_config_parse(struct slice json, char *fault, size_t fault_size) MUST_CHECK;
/* Nulls the caller's pointer. */
void sim_config_free(struct sim_config **config);

#endif
