/* policy/state.h: which backends rest, why and until when, and how busy they are. Shared by all workers.
 *
 * Quota is per deployment, so there is one `struct rest` for each (backend, deployment) and one for each backend as a
 * whole (unreachable, or its credentials are refused). A rest is one atomic word: workers extend and clear it without
 * locks, and a late, short 429 never shortens a cool-down. After a rest has run out one request goes first as a probe;
 * the others follow once it has succeeded. Pure: time is a parameter. Safe from any thread.
 *
 *	switch (rest_availability(rest, now_ms)) {
 *	case REST_PROBE_DUE:
 *		if (rest_take_probe(rest, now_ms, lease_ms)) ... this request is the probe ...
 */
#ifndef POLICY_STATE_H
#define POLICY_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "policy/headroom.h"
#include "policy/ramp.h"

/* Why something rests. */
enum rest_reason {
	REST_NONE,
	REST_THROTTLED,          /* 429: its quota is spent */
	REST_SERVER_ERROR,       /* 408, 5xx, reset, time-out, garbled, broken stream */
	REST_UNREACHABLE,        /* no connection, or no TLS */
	REST_CREDENTIALS,        /* 401 or 403 on credentials that the daemon sent */
	REST_NO_TOKEN,           /* the identity has no token to send */
	REST_MISSING_DEPLOYMENT, /* 404 DeploymentNotFound */
};

enum availability {
	AVAILABLE,
	RESTING,   /* until rest_until_ms() */
	PROBE_DUE, /* its time is over, nobody has tried yet */
	PROBING,   /* one request is trying, until rest_probe_until_ms() at the latest */
};

/* A quota refuses at once, while the head of an answer may have to wait for its end: a probe of a throttled one that has not
 * been refused within this was let in, and the others follow. */
#define PROBE_THROTTLED_MS 2000U

/* One cache line; written by every worker, so never two in one. */
struct rest {
	_Alignas(64) _Atomic uint64_t word; /* end of the rest in ms << 8 | reason; 0: available */
	_Atomic uint64_t probe_until_ms;    /* end of the current probe's lease; 0: none */
	_Atomic uint32_t in_flight;         /* attempts under way */
	_Atomic uint32_t hint_source;       /* enum hint_source of the current rest, for the status page */
	_Atomic uint32_t failures;          /* rests for errors in a row, without a success between them */
	struct ramp ramp;                   /* how those who waited for its end come back */
};

/* Lets it rest until until_ms, or longer if it already does. Returns true when the end moved. */
bool rest_begin(struct rest *rest, uint64_t until_ms, enum rest_reason reason);

/* How long to rest after an error: base_ms the first time, twice as long after each probe that failed, up to max_ms; from the
 * second on up to an eighth is taken off by chance, so that replicas do not probe in step. Failures of attempts that were
 * under way together count as one. random: any 64 random bits. */
uint64_t rest_backoff_ms(struct rest *rest, uint64_t base_ms, uint64_t max_ms, uint64_t now_ms, uint64_t random);

enum availability rest_availability(const struct rest *rest, uint64_t now_ms);
/* Whether it neither rests nor is to be probed: AVAILABLE whatever the time. */
bool rest_is_calm(const struct rest *rest);
uint64_t rest_until_ms(const struct rest *rest);
enum rest_reason rest_reason(const struct rest *rest);

/* Makes the caller the probe: true for one caller at a time, until rest_end_probe() or the end of the lease (of what is
 * throttled, PROBE_THROTTLED_MS at most). */
bool rest_take_probe(struct rest *rest, uint64_t now_ms, uint64_t lease_ms) MUST_CHECK;
/* The end of the current probe's lease; 0: there is no probe. */
uint64_t rest_probe_until_ms(const struct rest *rest);
/* The probe is over, however it ended. */
void rest_end_probe(struct rest *rest);
/* An attempt went well: a rest that has run out is forgotten; one that somebody began meanwhile stays. Returns true when
 * it was resting and is available again. */
bool rest_succeeded(struct rest *rest, uint64_t now_ms);

/* A good answer has begun, or a 429 would have come by now: a rest for want of quota that has run out is forgotten, any
 * other stays, and so do the failures in a row, until the answer proves to be one. Returns true when it was resting and is
 * available again. */
bool rest_admitted(struct rest *rest, uint64_t now_ms);

/* The cause is gone: ends a rest that was begun for that reason; any other stays. Returns true when it did. */
bool rest_forgive(struct rest *rest, enum rest_reason reason);

void rest_attempt_began(struct rest *rest);
void rest_attempt_ended(struct rest *rest);
uint32_t rest_in_flight(const struct rest *rest);

/* The backend refuses what an operator has to mend: no time makes that better. */
bool rest_is_misconfigured(enum rest_reason reason);
/* What it amounts to, in the one word that the header, the access line and the status share: "available", "cooling",
 * "ejected", "misconfigured", "probing" (one is due or under way). */
const char *rest_state_name(enum availability availability, enum rest_reason reason);
/* As the log and the status page show it: "throttled", "server error", … */
const char *rest_reason_name(enum rest_reason reason);

/* ---- deployment names: a bounded, append-only table that gives each name a small number ----------------------- */

#define DEPLOYMENT_NAME_MAX_BYTES 256
/* Names from configurations (all that were ever loaded) and names learned from good answers. Of the learned ones' places so
 * many may go to names that were throttled and have not been answered otherwise: those that strangers make up may be
 * throttled as well. */
#define DEPLOYMENTS_CONFIGURED_MAX 2048
#define DEPLOYMENTS_LEARNED_MAX 256
#define DEPLOYMENTS_SUPPOSED_MAX 32
/* The number of every name that is not in the table; shown as "other". */
#define DEPLOYMENT_OTHER 0U
#define DEPLOYMENTS_MAX (1 + DEPLOYMENTS_CONFIGURED_MAX + DEPLOYMENTS_LEARNED_MAX)

struct deployment_table;

struct deployment_table *deployment_table_new(void) MUST_CHECK;
void deployment_table_free(struct deployment_table **table);
/* Lock-free look-up; DEPLOYMENT_OTHER when the name is not there. */
unsigned deployment_find(const struct deployment_table *table, struct slice name);
/* Adds a name (under a lock); the number it has, or DEPLOYMENT_OTHER when the table is full. */
unsigned deployment_add_configured(struct deployment_table *table, struct slice name);
unsigned deployment_learn(struct deployment_table *table, struct slice name);
/* The same for one of which only a 429 is known: few places. deployment_learn() makes it one like any other. */
unsigned deployment_suppose(struct deployment_table *table, struct slice name);
bool deployment_is_supposed(const struct deployment_table *table, unsigned number);
/* Borrowed, valid as long as the table. "other" for DEPLOYMENT_OTHER. */
struct slice deployment_name(const struct deployment_table *table, unsigned number);
/* Numbers in use, DEPLOYMENT_OTHER included. */
unsigned deployment_count(const struct deployment_table *table);

/* ---- one backend's state; outlives the configurations that name it -------------------------------------------- */

/* Room for the last error's text. */
#define BACKEND_ERROR_SIZE 160

struct backend_state {
	struct rest whole;                        /* the backend as a whole */
	struct rest deployments[DEPLOYMENTS_MAX]; /* by the number of the backend's own deployment name; pages that
						    * nobody touches cost nothing */
	struct headroom rooms[DEPLOYMENTS_MAX];   /* by the same number */
	char *name;
	char *url;
	_Atomic uint32_t references;
	pthread_mutex_t error_lock; /* guards last_error; a leaf: nothing else is locked while it is held */
	char last_error[BACKEND_ERROR_SIZE];
};

/* What the backend did wrong last, for the status page; cut to fit. */
void backend_state_note_error(struct backend_state *state, const char *text);
/* Copies it into out; "" when there was none. */
void backend_state_error(struct backend_state *state, char out[BACKEND_ERROR_SIZE]);

/* The state starts with one reference. */
struct backend_state *backend_state_new(const char *name, const char *url) MUST_CHECK;
struct backend_state *backend_state_share(struct backend_state *state) MUST_CHECK;
/* Gives one reference back and nulls the caller's pointer; the last one frees. */
void backend_state_release(struct backend_state **state);

#endif
