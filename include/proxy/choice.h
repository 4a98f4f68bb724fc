/* proxy/choice.h: which backend takes an exchange's next attempt, when others are back, and why they are passed over.
 *
 * What policy/select.h decides from numbers, asked with the fleet's state for one request: what it has tried, what it is
 * pinned to, how large it is. Where all is calm, a glance at each backend does; else each is judged in full, and the reasons
 * are told in the answer's attempts header.
 *
 *	choice_make(exchange, now_ms, &choice);
 *	if (choice.selection.index != SELECT_NONE) ...
 *
 * Nothing is owned here; the exchange's worker only.
 */
#ifndef PROXY_CHOICE_H
#define PROXY_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "config/config.h"
#include "policy/select.h"
#include "policy/state.h"
#include "proxy/exchange.h"

/* In fleets of more than this a glance is tried first. Smaller ones are judged in full at little cost, and then those beside
 * the chosen one that have no room are named as well. */
#define CHOICE_GLANCE_MIN 8U

struct choice {
	struct selection selection;
	bool being_probed; /* the chosen one: others are asking already whether it is back */
	bool calm;         /* chosen at a glance: nobody rests, and candidates is not filled in */
	struct candidate candidates[CONFIG_BACKENDS_MAX];
};

/* Chooses. Changes nothing yet, but for the worker's random numbers. */
void choice_make(const struct exchange *exchange, uint64_t now_ms, struct choice *choice);
/* Becomes the probe of whatever is due on the backend. False when another request was faster. */
bool choice_take_probes(struct exchange *exchange, size_t backend, uint64_t now_ms, bool *of_pair,
    bool *of_whole) MUST_CHECK;

/* Says why backends were passed over that go before the chosen one, or beside it. */
void choice_explain_skipped(struct exchange *exchange, const struct choice *choice, uint64_t now_ms);
/* Says of each backend that was not tried why not. */
void choice_explain_all(struct exchange *exchange, uint64_t now_ms);

/* The state that a call of this exchange would meet on a backend. The rest of the pair is NULL where the call names no
 * deployment or one that is not in the table: such calls see the backend as a whole. False: it does not serve it. */
bool choice_find_rests(const struct exchange *exchange, size_t backend, struct rest **whole,
    struct rest **pair) MUST_CHECK;
/* The name of a deployment that is not in the table, on one backend (policy/unlisted.h). */
uint64_t choice_unlisted_key(const struct exchange *exchange, size_t backend);
/* What it refers to is stored where its deployment is not served. */
bool choice_is_pinned_to_nobody(const struct exchange *exchange);

/* When a request like this one could be served soonest, were it to come again: every backend that knows the deployment
 * and does not rest for want of rights counts, whether this request has tried it or not. 0: nobody can tell. */
uint64_t choice_soonest_recovery(const struct exchange *exchange, uint64_t now_ms);

/* When backends that are throttled or have no room, and serve a request, are back. */
struct throttle_end {
	/* The first of them; now: a probe is due or under way, also one of a backend that failed. */
	uint64_t soonest_ms;
	/* The first after now, of whatever rest but one that an operator has to mend; UINT64_MAX: there is none. */
	uint64_t next_ms;
};

/* False when there is none to wait for. Backends it has tried already count. */
bool choice_throttle_ends(const struct exchange *exchange, uint64_t now_ms, struct throttle_end *out) MUST_CHECK;
/* Whether a backend would take it now, were it chosen again, and has room as far as is known. */
bool choice_can_go(const struct exchange *exchange, uint64_t now_ms);
/* Whether somebody takes requests who has not been asked yet. */
bool choice_is_anybody_left(const struct exchange *exchange, uint64_t now_ms);
/* Whether a backend takes such requests as they come: it is not just coming back from a rest. */
bool choice_flows(const struct exchange *exchange, uint64_t now_ms);
/* It has failed on a backend, other than by being throttled. */
bool choice_has_failed(const struct exchange *exchange);
/* What holds for others of the same deployment may not hold for it: it is pinned, has failed, or somebody takes requests, but
 * has no room for one of its size. */
bool choice_is_particular(const struct exchange *exchange, uint64_t now_ms);

#endif
