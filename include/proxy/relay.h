/* proxy/relay.h: the way of an answer's body to the caller: held until the commit, then sent on as it comes.
 *
 * Until the commit nothing goes to the caller, so that a failure can still be retried elsewhere; after it nothing is
 * retried, and an answer that breaks is never given a clean end. Functions return false when they have ended the attempt.
 */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct attempt;
struct exchange;

/* Payload of the answer, in order; last: the body is whole. data may be rewritten. */
void relay_payload(struct attempt *attempt, char *data, size_t length, bool last, uint64_t now_ms);
/* The answer ended before it was whole (reason in words). An event stream that had said all ends all the same. */
void relay_cut(struct attempt *attempt, const char *reason, bool garbled, uint64_t now_ms);
/* commit_ms is over: what is held goes out. */
void relay_commit_now(struct attempt *attempt, uint64_t now_ms);
/* heartbeat_ms of silence: a comment, if the stream is at an event boundary. */
void relay_heartbeat(struct attempt *attempt, uint64_t now_ms);

#endif
