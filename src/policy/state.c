#include "policy/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

/* Relaxed order is enough throughout: each word says all there is to know by itself, and nobody reaches other memory
 * through what it says. A worker that sees it a moment late sends one request too many or too few, no more. Only the
 * reference count, which frees memory, asks for more. */

#define REASON_BITS 8
#define REASON_MASK ((UINT64_C(1) << REASON_BITS) - 1)
#define UNTIL_MAX_MS (UINT64_MAX >> REASON_BITS)

static uint64_t
word_until_ms(uint64_t word)
{
	return word >> REASON_BITS;
}

bool
rest_begin(struct rest *rest, uint64_t until_ms, enum rest_reason reason)
{
	uint64_t until = until_ms > UNTIL_MAX_MS ? UNTIL_MAX_MS : until_ms;
	uint64_t wanted = until << REASON_BITS | (uint64_t)reason;
	uint64_t current = atomic_load_explicit(&rest->word, memory_order_relaxed);

	while (word_until_ms(current) < until) {
		if (!atomic_compare_exchange_weak_explicit(&rest->word, &current, wanted, memory_order_relaxed,
			memory_order_relaxed))
			continue;
		/* After this rest the probe of an earlier one proves nothing. */
		if (UNLIKELY(rest_probe_until_ms(rest) != 0) && rest_probe_until_ms(rest) <= until)
			rest_end_probe(rest);
		return true;
	}
	return false;
}

uint64_t
rest_backoff_ms(struct rest *rest, uint64_t base_ms, uint64_t max_ms, uint64_t now_ms, uint64_t random)
{
	uint32_t failures = atomic_load_explicit(&rest->failures, memory_order_relaxed);
	uint64_t cap_ms = max_ms > base_ms ? max_ms : base_ms;
	uint64_t rest_ms = base_ms;

	if (rest_until_ms(rest) > now_ms && failures > 0)
		failures--; /* one that was sent before the rest began */
	else
		atomic_fetch_add_explicit(&rest->failures, 1, memory_order_relaxed);
	for (uint32_t i = 0; i < failures && rest_ms < cap_ms; i++)
		rest_ms *= 2;
	if (rest_ms > cap_ms)
		rest_ms = cap_ms;
	return failures == 0 ? rest_ms : rest_ms - random % (rest_ms / 8 + 1);
}

static enum availability
availability_of(const struct rest *rest, uint64_t word, uint64_t now_ms)
{
	uint64_t probe_until_ms = rest_probe_until_ms(rest);

	if (now_ms < word_until_ms(word))
		return RESTING;
	if (now_ms < probe_until_ms)
		return PROBING;
	if (probe_until_ms != 0 && (word & REASON_MASK) == REST_THROTTLED)
		return AVAILABLE; /* the probe is out still, and was not refused */
	return PROBE_DUE;
}

enum availability
rest_availability(const struct rest *rest, uint64_t now_ms)
{
	uint64_t word = atomic_load_explicit(&rest->word, memory_order_relaxed);

	return LIKELY(word == 0) ? AVAILABLE : availability_of(rest, word, now_ms);
}

bool
rest_is_calm(const struct rest *rest)
{
	return atomic_load_explicit(&rest->word, memory_order_relaxed) == 0;
}

uint64_t
rest_probe_until_ms(const struct rest *rest)
{
	return atomic_load_explicit(&rest->probe_until_ms, memory_order_relaxed);
}

uint64_t
rest_until_ms(const struct rest *rest)
{
	return word_until_ms(atomic_load_explicit(&rest->word, memory_order_relaxed));
}

enum rest_reason
rest_reason(const struct rest *rest)
{
	return (enum rest_reason)(atomic_load_explicit(&rest->word, memory_order_relaxed) & REASON_MASK);
}

bool
rest_take_probe(struct rest *rest, uint64_t now_ms, uint64_t lease_ms)
{
	uint64_t lease = lease_ms == 0 ? 1 : lease_ms;
	uint64_t lease_until = now_ms > UINT64_MAX - lease ? UINT64_MAX : now_ms + lease;
	uint64_t current = atomic_load_explicit(&rest->probe_until_ms, memory_order_relaxed);
	uint64_t word = atomic_load_explicit(&rest->word, memory_order_relaxed);

	if (word == 0 || now_ms < word_until_ms(word))
		return false;
	if ((word & REASON_MASK) == REST_THROTTLED && lease > PROBE_THROTTLED_MS)
		lease_until = now_ms + PROBE_THROTTLED_MS;
	/* Strong, and once: who loses against another has no business to try again. */
	return current <= now_ms &&
	    atomic_compare_exchange_strong_explicit(&rest->probe_until_ms, &current, lease_until, memory_order_relaxed,
		memory_order_relaxed);
}

/* A probe that outlived its lease may here end its successor's: then a second one goes early, which does no harm. */
void
rest_end_probe(struct rest *rest)
{
	atomic_store_explicit(&rest->probe_until_ms, 0, memory_order_relaxed);
}

/* Forgets a rest that has run out by now_ms, where its word is current. */
static bool
forget(struct rest *rest, uint64_t current, uint64_t now_ms)
{
	while (current != 0 && word_until_ms(current) <= now_ms) {
		if (atomic_compare_exchange_weak_explicit(&rest->word, &current, 0, memory_order_relaxed,
			memory_order_relaxed))
			return true;
	}
	return false;
}

bool
rest_succeeded(struct rest *rest, uint64_t now_ms)
{
	uint64_t current = atomic_load_explicit(&rest->word, memory_order_relaxed);

	if (UNLIKELY(atomic_load_explicit(&rest->failures, memory_order_relaxed) != 0) &&
	    word_until_ms(current) <= now_ms)
		atomic_store_explicit(&rest->failures, 0, memory_order_relaxed);
	return forget(rest, current, now_ms);
}

bool
rest_admitted(struct rest *rest, uint64_t now_ms)
{
	uint64_t current = atomic_load_explicit(&rest->word, memory_order_relaxed);

	return (current & REASON_MASK) == REST_THROTTLED && forget(rest, current, now_ms);
}

bool
rest_forgive(struct rest *rest, enum rest_reason reason)
{
	uint64_t current = atomic_load_explicit(&rest->word, memory_order_relaxed);

	while (current != 0 && (current & REASON_MASK) == (uint64_t)reason) {
		if (atomic_compare_exchange_weak_explicit(&rest->word, &current, 0, memory_order_relaxed,
			memory_order_relaxed))
			return true;
	}
	return false;
}

void
rest_attempt_began(struct rest *rest)
{
	atomic_fetch_add_explicit(&rest->in_flight, 1, memory_order_relaxed);
}

void
rest_attempt_ended(struct rest *rest)
{
	if (UNLIKELY(atomic_fetch_sub_explicit(&rest->in_flight, 1, memory_order_relaxed) == 0))
		fatal("rest_attempt_ended: no attempt was under way");
}

uint32_t
rest_in_flight(const struct rest *rest)
{
	return atomic_load_explicit(&rest->in_flight, memory_order_relaxed);
}

bool
rest_is_misconfigured(enum rest_reason reason)
{
	return reason == REST_CREDENTIALS || reason == REST_MISSING_DEPLOYMENT;
}

const char *
rest_state_name(enum availability availability, enum rest_reason reason)
{
	/* REST_NONE: it has recovered between two looks. */
	if (availability == AVAILABLE || reason == REST_NONE)
		return "available";
	if (availability != RESTING)
		return "probing";
	if (reason == REST_THROTTLED)
		return "cooling";
	return rest_is_misconfigured(reason) ? "misconfigured" : "ejected";
}

const char *
rest_reason_name(enum rest_reason reason)
{
	switch (reason) {
	case REST_NONE:
		return "none";
	case REST_THROTTLED:
		return "throttled";
	case REST_SERVER_ERROR:
		return "server error";
	case REST_UNREACHABLE:
		return "unreachable";
	case REST_CREDENTIALS:
		return "credentials refused";
	case REST_NO_TOKEN:
		return "no token";
	case REST_MISSING_DEPLOYMENT:
		return "missing deployment";
	}
	return "none";
}

/* ---- one backend's state ---------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct rest) == 64, "one cache line each");

/* The state begins at a cache line, but zeroing aligned memory by hand would touch all its pages; calloc() gives pages
 * that the kernel has zeroed, at no particular line. So: a little more than needed, and where it began noted before the
 * state. */
struct allocation {
	void *memory;
};

static struct backend_state *
state_allocate(void)
{
	const size_t line = _Alignof(struct backend_state);
	char *memory = memory_take_zeroed(1, sizeof(struct allocation) + line + sizeof(struct backend_state));
	uintptr_t first = (uintptr_t)memory + sizeof(struct allocation);
	char *state = memory + ((first + line - 1) / line * line - (uintptr_t)memory);
	struct allocation allocation = { memory };

	memcpy(state - sizeof(allocation), &allocation, sizeof(allocation));
	return (struct backend_state *)(void *)state;
}

static void
state_free(struct backend_state *state)
{
	struct allocation allocation;

	memcpy(&allocation, (char *)state - sizeof(allocation), sizeof(allocation));
	free(state->name);
	free(state->url);
	free(allocation.memory);
}

struct backend_state *
backend_state_new(const char *name, const char *url)
{
	struct backend_state *state = state_allocate();

	state->name = memory_copy_string(name);
	state->url = memory_copy_string(url);
	atomic_init(&state->references, 1);
	pthread_mutex_init(&state->error_lock, NULL);
	return state;
}

void
backend_state_note_error(struct backend_state *state, const char *text)
{
	pthread_mutex_lock(&state->error_lock);
	snprintf(state->last_error, sizeof(state->last_error), "%s", text);
	pthread_mutex_unlock(&state->error_lock);
}

void
backend_state_error(struct backend_state *state, char out[BACKEND_ERROR_SIZE])
{
	pthread_mutex_lock(&state->error_lock);
	memcpy(out, state->last_error, BACKEND_ERROR_SIZE);
	pthread_mutex_unlock(&state->error_lock);
}

struct backend_state *
backend_state_share(struct backend_state *state)
{
	/* Who shares holds a reference, so the count cannot fall to nothing meanwhile. */
	atomic_fetch_add_explicit(&state->references, 1, memory_order_relaxed);
	return state;
}

void
backend_state_release(struct backend_state **state)
{
	struct backend_state *released = *state;

	*state = NULL;
	/* What the others did with the state happens before it is freed. */
	if (released && atomic_fetch_sub_explicit(&released->references, 1, memory_order_acq_rel) == 1)
		state_free(released);
}
