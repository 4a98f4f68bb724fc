/* sim/resource.h: one simulated Azure OpenAI resource: its deployments with their quotas, what it stores, what it counted.
 *
 * Everything here happens on the simulator's thread.
 */
#ifndef SIM_RESOURCE_H
#define SIM_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/random.h"
#include "base/slice.h"
#include "http/head.h"
#include "sim/answer.h"
#include "sim/call.h"
#include "sim/config.h"
#include "sim/identity.h"
#include "sim/limiter.h"
#include "sim/route.h"

/* Statuses are counted below this; 0 counts answers that were cut before their head. */
#define SIM_STATUS_MAX 600U
/* How many responses and files a resource keeps; the oldest goes first. */
#define SIM_STORED_RESPONSES 256U
#define SIM_STORED_FILES 64U
#define SIM_STORED_FILE_BYTES (1024U * 1024U)
#define SIM_ID_SIZE 72U

struct sim_counts {
	uint64_t requests;
	uint64_t aborted; /* by the client, before the answer's end */
	uint64_t by_status[SIM_STATUS_MAX];
};

struct sim_deployment {
	const struct sim_deployment_config *config;
	struct sim_limiter limiter;
	struct sim_counts counts;
};

struct sim_stored_response {
	char id[SIM_ID_SIZE]; /* "": free */
	struct buffer json;
};

struct sim_stored_file {
	char id[SIM_ID_SIZE]; /* "": free */
	char name[128];
	char purpose[32];
	uint64_t bytes;
	int64_t created;
	struct buffer content; /* its first SIM_STORED_FILE_BYTES */
};

struct sim_resource {
	const struct sim_resource_config *config;
	struct sim_issuer *issuer;       /* its own, when it is a token endpoint; else NULL */
	const struct sim_issuer *trusts; /* whose tokens it takes; NULL: nobody's */
	struct sim_deployment *deployments;
	struct random random;
	struct sim_counts counts;
	uint64_t connections_accepted;
	uint64_t connections_open;
	uint64_t bytes_in, bytes_out;
	uint64_t malformed; /* requests whose head or body could not be read */
	struct sim_stored_response responses[SIM_STORED_RESPONSES];
	size_t next_response;
	struct sim_stored_file files[SIM_STORED_FILES];
	size_t next_file;
};

/* One request as it came, and what became clear about it on the way to its answer. */
struct sim_exchange {
	const struct request_head *head;
	struct slice path, query;
	struct slice body;
	struct sim_route route;
	uint64_t now_ms;
	int64_t unix_ms;

	struct sim_deployment *deployment; /* NULL: none */
	struct sim_call call;
	bool admitted; /* the quota let it in */
	char request_id[37];
};

struct sim_resource *sim_resource_new(const struct sim_resource_config *config, uint64_t seed) MUST_CHECK;
/* Nulls the caller's pointer. */
void sim_resource_free(struct sim_resource **resource);
/* Forgets quotas used, counts, responses and files. */
void sim_resource_reset(struct sim_resource *resource);

struct sim_deployment *sim_resource_find_deployment(struct sim_resource *resource, struct slice name);

/* Answers a request whose head, path and body are set in exchange. */
void sim_resource_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
/* Puts the fields of every answer of Azure's: request ids, region. */
void sim_resource_begin_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
/* The answer has gone, or will not go on: output_tokens were used. */
void sim_resource_finish(struct sim_deployment *deployment, uint64_t now_ms, uint64_t estimate, uint64_t output_tokens);

void sim_counts_add(struct sim_counts *counts, unsigned status);

/* prefix and count random characters into id (of SIM_ID_SIZE). */
void sim_make_id(struct random *random, const char *prefix, size_t count, char *id);

/* The endpoints, each in its own file. The call has been read, admitted and found free of triggered refusals. */
void sim_chat_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
void sim_embeddings_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
void sim_responses_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
/* What has no model: stored responses, models, files. */
void sim_stored_response_answer(struct sim_resource *resource, struct sim_exchange *exchange,
    struct sim_answer *answer);
void sim_models_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
void sim_files_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);

#endif
