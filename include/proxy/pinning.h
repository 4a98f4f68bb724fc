/* proxy/pinning.h: keeps calls on stored things with the resource that stores them.
 *
 * A call that names a stored response, conversation, file, … may go to one resource alone: pinning_route() looks for
 * such ids in the path and in the body, and from then on pinning_forbids() says which backends cannot serve it. Answers
 * to calls of these kinds are scanned in passing, so that what they name is found again. A GET of something unknown asks
 * in turn until PINNING_ASKS_MAX resources have said that they do not have it. Chat completions may name files; their
 * bodies are looked through only once a file has been seen.
 *
 * Part of an exchange and its worker's; the table behind it is shared (policy/pins.h).
 */
#ifndef PROXY_PINNING_H
#define PROXY_PINNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/id_scanner.h"
#include "proxy/backend_set.h"

struct attempt;
struct exchange;

/* How many resources are asked for something that none is known to have; who could not answer does not count. */
#define PINNING_ASKS_MAX 3U
/* Ids of one body that are looked up: one that consists of ids must not hold the loop. */
#define PINNING_LOOKED_UP_MAX 4096U
/* Ids that are learned from one answer, besides its own: of items (any that a caller refers to binds the others as well),
 * and of files, stores, … A long answer may not displace what everybody else needs. */
#define PINNING_ITEMS_MAX 16U
#define PINNING_REFERENCES_MAX 32U

/* What an answer has named so far. */
struct pinning_answer {
	struct id_scanner scanner;
	uint64_t own; /* the hash of its own id, which comes first; 0: not yet */
	unsigned item_count, reference_count;
	uint64_t items[PINNING_ITEMS_MAX];
	uint64_t references[PINNING_REFERENCES_MAX];
};

struct pinning {
	bool stateful;                 /* the call makes or names stored things */
	bool asks_around;              /* unknown id, harmless method: a 404 is another backend's turn */
	uint64_t resource;             /* all other backends cannot serve it; PIN_UNKNOWN: any may */
	uint64_t path_id;              /* the hash of the id in the path, 0: none */
	uint64_t without[SET_WORDS];   /* backends whose resource has said that it does not have it */
	unsigned asked;                /* resources among these */
	size_t asked_last;             /* the last of these backends */
	struct pinning_answer *answer; /* while one is scanned; freed with the exchange */
};

/* Reads the request, which is complete or an upload: which resource must it go to? */
void pinning_route(struct exchange *exchange, uint64_t now_ms);
bool pinning_forbids(const struct exchange *exchange, size_t backend);

/* While a request asks around: */
/* The backend's resource does not have it; none of its backends needs to be asked any more. */
void pinning_not_there(struct exchange *exchange, size_t backend);
/* Whether an error answer that is kept says more than that 404 of the backend: that nobody knows. */
bool pinning_outweighs_404(const struct exchange *exchange, size_t backend);
/* Somebody who may have it could not be asked, or gave no answer: that the others do not have it says little. */
bool pinning_is_unsure(const struct exchange *exchange, uint64_t now_ms);

/* An answer's head has come, or a piece of its payload: learns what a good one names. */
void pinning_head(struct attempt *attempt, uint64_t now_ms);
void pinning_payload(struct attempt *attempt, struct slice payload);
void pinning_end(struct pinning *pinning);

#endif
