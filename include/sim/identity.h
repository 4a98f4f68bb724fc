/* sim/identity.h: a resource that is no model's but a token endpoint, and the tokens it has issued.
 *
 * It answers as Container Apps and App Service (GET with X-IDENTITY-HEADER), as a VM's metadata service (GET with Metadata)
 * and as Entra ID (POST of a form to /TENANT/oauth2/v2.0/token) do. Other resources look their Bearer tokens up here.
 * Everything happens on the simulator's thread.
 */
#ifndef SIM_IDENTITY_H
#define SIM_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "sim/answer.h"

struct sim_resource;
struct sim_exchange;

/* So many tokens are known at a time; the oldest is forgotten first. */
#define SIM_TOKENS_MAX 256U
#define SIM_TOKEN_SIZE 72U

struct sim_issuer {
	struct {
		char text[SIM_TOKEN_SIZE]; /* "": free */
		int64_t end_unix_ms;
	} tokens[SIM_TOKENS_MAX];
	size_t next;
	uint64_t issued;
};

/* Answers a request to a token endpoint. */
void sim_identity_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer);
/* Whether it issued the token, which has not ended and was not revoked. */
bool sim_issuer_knows(const struct sim_issuer *issuer, struct slice token, int64_t now_unix_ms);
/* Every token so far is refused from now on. */
void sim_issuer_revoke(struct sim_issuer *issuer);

#endif
