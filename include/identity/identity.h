/* identity/identity.h: tokens of identities, shared by all workers, fetched ahead of need.
 *
 * `struct identities` holds every identity that some configuration in use names, and the thread that fetches their tokens.
 * An identity is found again by its settings, so that a reload keeps its token. The way of a request takes one short lock
 * and copies the token; it never waits here: who finds none is told whether one may come, and news says when to look again.
 *
 *	struct identities *identities = identities_new(on_news, proxy);
 *	backend->identity = identity_get(identities, &config->auth);
 *	if (!identities_start(identities, fault, sizeof(fault)))
 *		... no libcurl ...
 *	switch (identity_authorize(identity, 0, now_ms, patience_until_ms, &head, &generation)) ...
 *
 * identities_new, _start, _stop, _free and identity_get belong to the main thread; everything else may be called from any
 * thread. References are counted; the last identity_release() may come from any thread.
 * Locks: that of struct identities is taken before that of an identity, and no other is taken while holding either.
 */
#ifndef IDENTITY_IDENTITY_H
#define IDENTITY_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "config/config.h"

/* For identity_describe(). */
#define IDENTITY_NAME_SIZE 128U

struct identities;
struct identity;

/* An identity has a new token (granted), or has failed to get one. Called by the thread that fetches, without a lock. */
typedef void identity_news_fn(struct identity *identity, bool granted, void *context);

enum token_state {
	TOKEN_READY,  /* written to out */
	TOKEN_COMING, /* wait for news */
	TOKEN_ABSENT, /* the last try failed, and the next one is too far away */
};

struct identities *identities_new(identity_news_fn *on_news, void *context) MUST_CHECK;
/* Loads libcurl and starts the thread, once the first identity is there; does nothing before and after that. False with
 * the reason in fault. */
bool identities_start(struct identities *identities, char *fault, size_t fault_size) MUST_CHECK;
/* Ends the thread; no news comes after it returns. */
void identities_stop(struct identities *identities);
/* All references must have been released. Nulls the caller's pointer. */
void identities_free(struct identities **identities);

/* The identity of an auth that is of one of the three types; the caller's reference. One that is known and whose last
 * fetch was refused is asked for again at once. */
struct identity *identity_get(struct identities *identities, const struct config_auth *auth) MUST_CHECK;
struct identity *identity_share(struct identity *identity) MUST_CHECK;
void identity_release(struct identity **identity);

/* Appends "authorization: Bearer …\r\n" with a token that is valid at now_ms and of a generation above newer_than (0: any),
 * and says which generation it is. out is not moved in memory by what is written, nor by spare further bytes: no copy of a
 * token is left behind by a growing buffer. until_ms: how long the caller would wait. */
enum token_state identity_authorize(struct identity *identity, uint64_t newer_than, uint64_t now_ms, uint64_t until_ms,
    size_t spare, struct buffer *out, uint64_t *generation) MUST_CHECK;

/* A backend refused the token of that generation (401). True: a fresh one is there or on its way, and is worth a try; of
 * any number of callers with the same token one causes a fetch. False: the refused token was itself fetched for such a
 * refusal a moment ago, so that another would be no better. */
bool identity_refused(struct identity *identity, uint64_t generation, uint64_t now_ms) MUST_CHECK;

/* Fetches so far, by their result; what token_refreshes_total counts. */
struct identity_counts {
	uint64_t ok, error;
};
struct identity_counts identity_counts(struct identity *identity);

/* As the log calls it: "managed identity 1234-…"; borrowed. */
const char *identity_describe(const struct identity *identity);

#endif
