/* policy/ramp.h: how requests that waited come back to a backend that was throttled: not as a herd.
 *
 * As in TCP's slow start (RFC 5681, 3.1) the number that may be out at once, with nobody knowing yet whether they will be
 * refused, begins at one after a 429 and grows by one with each that was taken: so it doubles with every round trip. After
 * RAMP_STEPS of them the backend is open again. A 429 comes at once where an answer may take minutes to be made, so a
 * request that has been silent for some round trips of a 429 counts as taken; but such silence proves less than an answer,
 * and lets the number grow to RAMP_SILENT_STEPS alone.
 *
 *	attempt->ramp_ticket = ramp_enter(&pair->ramp);
 *	... ramp_taken(&pair->ramp, ticket, …) when it was taken, else ramp_left(), once ...
 *
 * Part of a struct rest, shared by all workers without locks: two that look at once may let one more go than they should.
 * Pure; a zeroed struct is open.
 */
#ifndef POLICY_RAMP_H
#define POLICY_RAMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define RAMP_STEPS 64U
#define RAMP_SILENT_STEPS 16U

/* Silence that counts as an answer: some round trips of a 429, within these bounds; so much where none has been timed. */
#define RAMP_PATIENCE_MIN_MS 100U
#define RAMP_PATIENCE_MAX_MS 500U
#define RAMP_PATIENCE_UNKNOWN_MS 250U

struct ramp {
	_Atomic uint32_t word;       /* its run << 8 | step: 0 open, else 1 + requests taken in this run */
	_Atomic uint32_t unproven;   /* requests that are out, and may yet be refused */
	_Atomic uint32_t refusal_ms; /* how long a 429 takes, + 1; 0: nobody has seen one */
};

/* What a request that is out was let go in; 0: the backend was open, and nothing is counted for it. */
typedef uint32_t ramp_ticket;

/* The backend takes requests as they come. */
bool ramp_is_open(const struct ramp *ramp);
/* One more may go. */
bool ramp_has_room(const struct ramp *ramp);

/* A request goes out, room or not. */
ramp_ticket ramp_enter(struct ramp *ramp);
/* It was taken; silent: as far as can be told, no answer having come. Tells nothing of a run that began later. */
void ramp_taken(struct ramp *ramp, ramp_ticket ticket, bool silent);
/* It ended in another way. */
void ramp_left(struct ramp *ramp, ramp_ticket ticket);

/* Somebody was refused: a new run begins. */
void ramp_restart(struct ramp *ramp);
/* So long a 429 took to come. */
void ramp_time_refusal(struct ramp *ramp, uint64_t took_ms);
/* After so long without an answer a request counts as taken. */
uint64_t ramp_patience_ms(const struct ramp *ramp);

#endif
