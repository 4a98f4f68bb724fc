/* proxy/token.h: an attempt on a backend that is sent an identity's token.
 *
 * The token is nearly always there and is copied into the attempt's head. Where there is none the attempt waits in its
 * worker's queue until the identity has news, for at most TOKEN_WAIT_MS of the request's life in all; then the next backend
 * is tried. A backend that refuses a token (401) is tried once more with a fresh one.
 *
 * All of it happens on the worker's thread, but token_on_news(), which may be called from any.
 */
#ifndef PROXY_TOKEN_H
#define PROXY_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "identity/identity.h"

struct attempt;
struct proxy;

/* How long one request may wait for tokens, however many backends it tries. */
#define TOKEN_WAIT_MS 5000U

/* Puts the token into the attempt's head. True: the request may be sent. False: the attempt waits, and goes on by itself
 * with attempt_connect() or fails. */
bool token_obtain(struct attempt *attempt, uint64_t now_ms) MUST_CHECK;
/* The attempt's time to wait may be over. */
void token_deadline(struct attempt *attempt, uint64_t now_ms);
/* The attempt has ended: it is taken from the queue, and the token in its head is wiped. */
void token_forget(struct attempt *attempt);

/* After a 401: whether the same backend deserves another try with a fresh token. Then the exchange remembers the refused
 * one, and the attempt that follows does not take it. */
bool token_renew(struct attempt *attempt, uint64_t now_ms) MUST_CHECK;

/* An identity_news_fn; context is the proxy. */
void token_on_news(struct identity *identity, bool granted, void *context);

#endif
