/* proxy/access.h: what is logged of requests and attempts. */
#ifndef PROXY_ACCESS_H
#define PROXY_ACCESS_H

#include <stdint.h>

#include "base/slice.h"
#include "policy/hint.h"
#include "policy/state.h"

struct attempt;
struct exchange;

/* "Proxying to https://openai3.openai.azure.com/openai/deployments/…" */
void access_proxying(const struct attempt *attempt, struct slice target);
/* "Backend openai1 deployment gpt-4o cooling down for 12000 ms (retry-after-ms)" */
void access_resting(const struct attempt *attempt, bool whole, enum rest_reason reason, uint64_t rest_ms,
    const char *source);
/* "Backend openai1 deployment gpt-4o available again" */
void access_available(const struct attempt *attempt, bool whole);
/* An attempt failed, or an operator has to mend something: why, and on which backend. */
void access_failed(const struct attempt *attempt, const char *outcome, const char *reason);
/* The one line at a request's end. */
void access_request(const struct exchange *exchange, uint64_t now_ms, const char *note);

#endif
