#include "proxy/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "policy/hint.h"
#include "policy/pins.h"
#include "policy/select.h"
#include "proxy/access.h"
#include "proxy/answer.h"
#include "proxy/attempt.h"
#include "proxy/backend_set.h"
#include "proxy/choice.h"
#include "proxy/client.h"
#include "proxy/measure.h"
#include "proxy/proxy.h"
#include "proxy/token.h"

static const char *
state_name(enum exchange_state state)
{
	static const char *const names[] = { "READING", "ROUTING", "TRYING", "RELAYING", "ANSWERING", "CLOSED" };

	return names[state];
}

void
exchange_enter(struct exchange *exchange, enum exchange_state next)
{
	static const unsigned allowed[] = {
		[READING] = BIT(ROUTING) | BIT(ANSWERING) | BIT(CLOSED),
		[ROUTING] = BIT(TRYING) | BIT(ANSWERING) | BIT(CLOSED),
		[TRYING] = BIT(RELAYING) | BIT(ANSWERING) | BIT(CLOSED),
		[RELAYING] = BIT(CLOSED),
		[ANSWERING] = BIT(CLOSED),
		[CLOSED] = 0,
	};

	if (!(allowed[exchange->state] & BIT(next)))
		fatal("exchange: %s may not follow %s", state_name(next), state_name(exchange->state));
	exchange->state = next;
}

/* ---- attempts, one after another ----------------------------------------------------------------------------- */

static bool
may_try_again(struct exchange *exchange, uint64_t now_ms)
{
	const struct config *config = exchange->fleet->config;

	if (exchange->stopped_by != NULL) {
		return false;
	} else if (config->max_attempts > 0 && exchange->tally.attempts >= config->max_attempts) {
		exchange->stopped_by = "max_attempts";
	} else if (exchange->pinning.asked >= PINNING_ASKS_MAX) {
		exchange->stopped_by = "asked_enough";
	} else if (config->timeouts.request_ms > 0 && now_ms - exchange->started_ms >= config->timeouts.request_ms) {
		exchange->tally.timed_out = true;
		exchange->stopped_by = "request_ms";
	} else if (exchange->uploading && exchange->tally.attempts > 0) {
		exchange->stopped_by = "upload"; /* a body that was streamed once is gone */
	}
	return exchange->stopped_by == NULL;
}

/* Nobody has answered. */
static void
answer_bad_gateway(struct exchange *exchange, uint64_t wait_ms, uint64_t now_ms)
{
	bool pinned = exchange->pinning.resource != PIN_UNKNOWN;

	if (exchange->pinning.asked > 0)
		answer_error(exchange, 502, "bad_gateway",
		    "What this request names may be stored by a backend that could not be asked; the others do not "
		    "have it.",
		    wait_ms, false, now_ms); /* a question may be asked again */
	else
		answer_error(exchange, 502, "bad_gateway",
		    pinned ? "The backend that stores what this request refers to could not be reached, or gave no "
			     "usable answer."
			   : "No backend could be reached, or none gave a usable answer.",
		    wait_ms, exchange->tally.request_was_sent, now_ms);
}

static void
conclude_now(struct exchange *exchange, uint64_t now_ms)
{
	uint64_t recovery_ms = choice_soonest_recovery(exchange, now_ms);
	uint64_t wait_ms = recovery_ms > now_ms ? recovery_ms - now_ms : exchange->fleet->config->cooldown.min_ms;

	choice_explain_all(exchange, now_ms);
	if (choice_is_pinned_to_nobody(exchange)) {
		answer_error(exchange, 404, "DeploymentNotFound",
		    "The backend that stores what this request refers to does not serve this deployment.", 0, false,
		    now_ms);
		return;
	}
	if (exchange->kept.status == 404 && pinning_is_unsure(exchange, now_ms))
		exchange->tally.answered = false;
	switch (retry_conclude(&exchange->tally)) {
	case CONCLUDE_THROTTLED:
		answer_error(exchange, 429, "rate_limit_exceeded",
		    exchange->pinning.resource != PIN_UNKNOWN
			? "The backend that stores what this request refers to is throttled. Please retry after the "
			  "time given."
			: "All backends that serve this deployment are throttled. Please retry after the time given.",
		    wait_ms, false, now_ms);
		break;
	case CONCLUDE_PASS_ANSWER:
		answer_kept(exchange, wait_ms, now_ms);
		break;
	case CONCLUDE_TIMEOUT:
		answer_error(exchange, 504, "gateway_timeout", "No backend answered in time.", wait_ms, true, now_ms);
		break;
	case CONCLUDE_BAD_GATEWAY:
		answer_bad_gateway(exchange, wait_ms, now_ms);
		break;
	}
}

/* No further attempt is possible now: the request waits for one, or ends. */
static void
conclude(struct exchange *exchange, uint64_t now_ms)
{
	if (!exchange->tally.throttled || !may_try_again(exchange, now_ms) || !hold_enter(exchange, now_ms))
		conclude_now(exchange, now_ms);
}

void
exchange_hold_over(struct exchange *exchange, uint64_t now_ms)
{
	/* Who has not been asked yet is at last, whatever room is thought to be there, and so is one that would take it just
	 * now. */
	if (now_ms >= exchange->hold.until_ms && (exchange->tally.throttled || exchange->forced_once) &&
	    !choice_is_anybody_left(exchange, now_ms) && !choice_can_go(exchange, now_ms)) {
		conclude_now(exchange, now_ms);
		return;
	}
	/* Who was throttled may be asked again. */
	for (size_t i = 0; i < ARRAY_COUNT(exchange->tried); i++)
		exchange->tried[i] &= ~exchange->throttled_by[i];
	exchange_next(exchange, now_ms);
}

void
exchange_next(struct exchange *exchange, uint64_t now_ms)
{
	struct choice choice;
	const struct selection *selection = &choice.selection;
	bool of_pair, of_whole;

	switch (hold_line_up(exchange, now_ms)) {
	case HOLD_FIRST:
		break;
	case HOLD_BEHIND:
		return;
	case HOLD_TOO_MANY:
		exchange->tally.throttled = true;
		conclude_now(exchange, now_ms);
		return;
	}
	for (;;) {
		if (!may_try_again(exchange, now_ms)) {
			conclude(exchange, now_ms);
			return;
		}
		choice_make(exchange, now_ms, &choice);
		if (selection->index == SELECT_NONE) {
			exchange->tally.throttled = selection->throttled || !set_is_empty(exchange->throttled_by);
			conclude(exchange, now_ms);
			return;
		}
		of_pair = of_whole = false;
		/* Others are asking already whether it is back: better to wait for their answer than to ask as well. */
		if (selection->forced && choice.being_probed && hold_enter(exchange, now_ms))
			return;
		/* They would refuse it now, as far as is known, but not for long. */
		if (selection->no_room && selection->room_ms > now_ms && hold_enter(exchange, now_ms))
			return;
		if (selection->forced)
			exchange->forced_once = true;
		else if (!choice_take_probes(exchange, selection->index, now_ms, &of_pair, &of_whole))
			continue; /* another worker was faster: the states have changed */
		choice_explain_skipped(exchange, &choice, now_ms);
		set_add(exchange->tried, selection->index);
		set_remove(exchange->throttled_by, selection->index); /* what it says now counts */
		exchange->tally.attempts++;
		measure_failover(exchange);
		exchange->last_label = exchange->fleet->backends[selection->index].label;
		exchange->failed_code = 0;
		attempt_begin(exchange, selection->index, of_pair, of_whole, now_ms);
		return;
	}
}

/* ---- outcomes -------------------------------------------------------------------------------------------------- */

void
exchange_note_attempt(struct exchange *exchange, const struct attempt *attempt, const char *outcome, uint64_t rest_ms)
{
	explain_attempt(&exchange->explanation, attempt_backend_name(attempt), outcome, attempt->status, rest_ms);
}

/* Its deployment has got a number: what rests under its name goes on under that. */
static void
take_number(struct exchange *exchange, unsigned number, uint64_t now_ms)
{
	struct rest *whole, *pair;
	struct unlisted_rest rest;

	exchange->deployment_number = number;
	for (size_t i = 0; i < exchange->fleet->count; i++) {
		if (unlisted_rests(&proxy_worker_of(exchange->worker)->proxy->unlisted,
			choice_unlisted_key(exchange, i), now_ms, &rest) &&
		    choice_find_rests(exchange, i, &whole, &pair) && pair != NULL)
			(void)rest_begin(pair, rest.until_ms, rest.reason);
	}
}

void
exchange_learn(struct exchange *exchange, uint64_t now_ms)
{
	bool is_new = exchange->deployment_number == DEPLOYMENT_OTHER;
	unsigned number =
	    deployment_learn(exchange->fleet->table, slice_of(exchange->deployment, exchange->deployment_length));

	if (is_new && number != DEPLOYMENT_OTHER)
		take_number(exchange, number, now_ms);
}

/* The state that a failure is booked under. A 429 for a name that is not in the table yet: the backend may well know it, and
 * to be waited for it needs a number. Any other failure says nothing about the name. */
static struct rest *
pair_to_rest(struct attempt *attempt, enum rest_reason reason, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	struct rest *whole, *pair;
	unsigned number;

	if (attempt->pair != NULL || exchange->deployment_length == 0 || reason != REST_THROTTLED)
		return attempt->pair;
	number =
	    deployment_suppose(exchange->fleet->table, slice_of(exchange->deployment, exchange->deployment_length));
	if (number != DEPLOYMENT_OTHER)
		take_number(exchange, number, now_ms);
	if (!choice_find_rests(exchange, attempt->backend, &whole, &pair))
		return NULL;
	return pair;
}

/* What has no state rests by its name's hash; a wait is remembered for this request's own answer as well. Returns for how
 * long, in ms. */
static uint64_t
rest_without_state(struct attempt *attempt, const struct verdict *verdict, uint64_t rest_ms, const char *source,
    uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	uint64_t until_ms = now_ms + rest_ms;

	if (verdict->reason == REST_THROTTLED &&
	    (exchange->throttled_until_ms == 0 || until_ms < exchange->throttled_until_ms))
		exchange->throttled_until_ms = until_ms;
	if (verdict->scope != REST_PAIR || exchange->deployment_length == 0 || rest_ms == 0)
		return 0;
	unlisted_begin(&proxy_worker_of(exchange->worker)->proxy->unlisted,
	    choice_unlisted_key(exchange, attempt->backend), until_ms, verdict->reason);
	/* A name that nobody knows is the caller's affair. */
	if (verdict->reason == REST_MISSING_DEPLOYMENT)
		return rest_ms;
	measure_cooldown(attempt, false, rest_ms);
	access_resting(attempt, false, verdict->reason, rest_ms, source);
	return rest_ms;
}

/* The others that draw on the same quota are throttled as well. */
static void
let_group_rest(const struct attempt *attempt, uint64_t until_ms, uint64_t now_ms)
{
	const struct exchange *exchange = attempt->exchange;
	struct rest *whole, *pair;
	uint64_t before_ms;

	if (attempt->via->config->quota_group[0] == '\0')
		return;
	for (size_t i = 0; i < exchange->fleet->count; i++) {
		if (i == attempt->backend || exchange->fleet->backends[i].group_first != attempt->via->group_first ||
		    !choice_find_rests(exchange, i, &whole, &pair) || pair == NULL)
			continue;
		before_ms = rest_until_ms(pair);
		if (!rest_begin(pair, until_ms, REST_THROTTLED))
			continue;
		ramp_restart(&pair->ramp);
		measure_group_cooldown(exchange, i, until_ms - (before_ms > now_ms ? before_ms : now_ms));
		atomic_store_explicit(&pair->hint_source, (uint32_t)attempt->hint.source, memory_order_relaxed);
	}
}

/* Lets pair or backend rest as the verdict says. Returns for how long, in ms. */
static uint64_t
let_rest(struct attempt *attempt, const struct verdict *verdict, uint64_t now_ms)
{
	struct rest *rest = NULL;
	uint64_t rest_ms = verdict->rest_ms, until_ms;
	const char *source = "";

	if (verdict->use_hint) {
		rest_ms = attempt->hint.wait_ms;
		source = hint_source_name(attempt->hint.source);
		if (verdict->reason != REST_THROTTLED && attempt->hint.source == HINT_NONE)
			rest_ms = attempt->exchange->fleet->config->server_error_ms;
	}
	if (verdict->scope == REST_BACKEND)
		rest = &attempt->via->state->whole;
	else if (verdict->scope == REST_PAIR)
		rest = pair_to_rest(attempt, verdict->reason, now_ms);
	if (rest == NULL)
		return rest_without_state(attempt, verdict, rest_ms, source, now_ms);
	if (rest_ms == 0)
		return 0;
	until_ms = rest_until_ms(rest);
	/* Where the backend has not said how long, each probe that fails makes the rest longer. */
	if (!rest_is_misconfigured(verdict->reason) && !(verdict->use_hint && attempt->hint.source != HINT_NONE))
		rest_ms = rest_backoff_ms(rest, rest_ms, attempt->exchange->fleet->config->cooldown.max_ms, now_ms,
		    random_next(&attempt->worker->random));
	if (verdict->reason == REST_THROTTLED) {
		let_group_rest(attempt, now_ms + rest_ms, now_ms);
		ramp_restart(&rest->ramp);
	}
	if (attempt->status == 429 && attempt->request_done_ms != 0 && attempt->head_ms >= attempt->request_done_ms)
		ramp_time_refusal(&rest->ramp, attempt->head_ms - attempt->request_done_ms);
	if (rest_begin(rest, now_ms + rest_ms, verdict->reason)) {
		measure_cooldown(attempt, verdict->scope == REST_BACKEND,
		    until_ms > now_ms && until_ms < now_ms + rest_ms ? now_ms + rest_ms - until_ms : rest_ms);
		atomic_store_explicit(&rest->hint_source, (uint32_t)attempt->hint.source, memory_order_relaxed);
		access_resting(attempt, verdict->scope == REST_BACKEND, verdict->reason, rest_ms, source);
	}
	return rest_ms;
}

static void
note_error(const struct attempt *attempt, const char *outcome, const char *reason)
{
	char text[BACKEND_ERROR_SIZE];

	snprintf(text, sizeof(text), "%s%s%s", outcome, reason[0] != '\0' ? ": " : "", reason);
	backend_state_note_error(attempt->via->state, text);
}

/* The same backend once more, with a fresh token: free, since the backend has executed nothing. */
static void
try_fresh_token(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	size_t backend = attempt->backend;
	bool probes_pair = attempt->probes_pair, probes_whole = attempt->probes_whole;

	exchange_note_attempt(exchange, attempt, NULL, 0);
	buffer_free(&exchange->held);
	buffer_free(&exchange->answer_lines);
	attempt->probes_pair = attempt->probes_whole = false; /* the next one goes on with them */
	attempt_end(attempt, attempt->reusable, now_ms);
	attempt_begin(exchange, backend, probes_pair, probes_whole, now_ms);
}

void
exchange_attempt_failed(struct attempt *attempt, const struct outcome *outcome, const char *reason, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	const struct config *config = exchange->fleet->config;
	struct verdict verdict = retry_judge(outcome, config->server_error_ms);
	bool refused = outcome->kind == OUTCOME_ANSWERED && outcome->status == 401;
	char name[OUTCOME_NAME_SIZE];
	uint64_t rest_ms;
	bool answered = outcome->kind == OUTCOME_ANSWERED;

	if (refused && token_renew(attempt, now_ms)) {
		try_fresh_token(attempt, now_ms);
		return;
	}
	/* A pooled connection that the backend closed as we wrote says nothing about the backend's health. */
	if (outcome->kind == OUTCOME_RESET && attempt->upstream != NULL && attempt->upstream->reused &&
	    attempt->head_ms == 0)
		verdict.scope = REST_NOBODY;
	if (attempt->blameless)
		verdict.scope = REST_NOBODY;
	rest_ms = let_rest(attempt, &verdict, now_ms);
	access_failed(attempt, outcome_name(outcome, name), reason);
	if (!verdict.success && verdict.reason != REST_THROTTLED)
		note_error(attempt, name, reason);
	exchange_note_attempt(exchange, attempt, name, rest_ms);
	exchange->failed_code = (uint16_t)measure_code(outcome);
	measure_attempt(attempt, exchange->failed_code);
	if (verdict.reason == REST_THROTTLED)
		measure_throttled(attempt);
	exchange->tally.request_was_sent = exchange->tally.request_was_sent || outcome->request_sent;
	exchange->tally.timed_out = exchange->tally.timed_out || outcome->kind == OUTCOME_TIMEOUT;
	if (verdict.reason == REST_THROTTLED)
		set_add(exchange->throttled_by, attempt->backend);
	if (answered && outcome->asks_around && outcome->status == 404)
		pinning_not_there(exchange, attempt->backend);
	exchange->tally.throttled = !set_is_empty(exchange->throttled_by);
	if (attempt->room != NULL)
		headroom_give_back(attempt->room, &attempt->ticket);
	exchange->tally.answered = exchange->kept.status != 0;
	if (verdict.success)
		attempt_succeeded(attempt, now_ms);
	/* What was held of this answer must never be taken for the next one's. */
	buffer_free(&exchange->held);
	buffer_free(&exchange->answer_lines);
	/* A connection whose answer was read whole goes back to the pool. */
	attempt_end(attempt, answered && attempt->reusable, now_ms);
	if (verdict.retry && verdict.unsafe) {
		if (exchange->tally.unsafe_retries >= config->max_unsafe_retries)
			exchange->stopped_by = "max_unsafe_retries";
		else
			exchange->tally.unsafe_retries++;
	}
	exchange->retries_unsafely = verdict.unsafe;
	if (verdict.retry)
		exchange_next(exchange, now_ms);
	else if (verdict.success)
		answer_kept(exchange, 0, now_ms);
	else
		conclude(exchange, now_ms);
}

/* ---- ends ------------------------------------------------------------------------------------------------------ */

static void
destroy(struct grave *grave)
{
	struct exchange *exchange = CONTAINER_OF(grave, struct exchange, grave);

	fleet_release(&exchange->fleet);
	free(exchange->target_text);
	buffer_free(&exchange->upstream_lines);
	if (exchange->credential_lines.data != NULL)
		explicit_bzero(exchange->credential_lines.data, exchange->credential_lines.length);
	buffer_free(&exchange->credential_lines);
	buffer_free(&exchange->body);
	buffer_free(&exchange->kept.head_lines);
	buffer_free(&exchange->kept.body);
	explain_free(&exchange->explanation);
	pinning_end(&exchange->pinning);
	buffer_free(&exchange->answer_lines);
	buffer_free(&exchange->held);
	free(exchange);
}

void
exchange_book_usage(struct exchange *exchange)
{
	const struct config_client *client;

	if (exchange->client_index == 0 || !exchange->usage.known || exchange->usage_booked)
		return;
	exchange->usage_booked = true;
	client = &exchange->fleet->config->clients[exchange->client_index - 1];
	quota_spend_tokens(exchange->fleet->quotas[exchange->client_index - 1], client->tokens_per_minute,
	    exchange->usage.total_tokens, clock_now_ms());
}

static void
finish(struct exchange *exchange)
{
	if (exchange->attempt != NULL)
		fatal("exchange: it ended before its attempt");
	hold_leave(exchange);
	exchange_book_usage(exchange);
	exchange_enter(exchange, CLOSED);
	exchange_unreserve(exchange);
	atomic_fetch_sub_explicit(&proxy_worker_of(exchange->worker)->proxy->requests_in_flight, 1,
	    memory_order_relaxed);
	worker_bury(exchange->worker, &exchange->grave, destroy);
}

bool
exchange_abandon_attempt(struct exchange *exchange)
{
	if (exchange->state == RELAYING)
		return false;
	if (exchange->attempt == NULL)
		return true;
	exchange_note_attempt(exchange, exchange->attempt, "cancelled", 0);
	measure_attempt(exchange->attempt, MEASURE_CANCELLED);
	attempt_end(exchange->attempt, false, clock_now_ms());
	return true;
}

void
exchange_cancel(struct exchange *exchange, const char *reason)
{
	uint64_t now_ms = clock_now_ms();

	if (exchange->state == CLOSED)
		return;
	if (exchange->attempt != NULL) {
		exchange_note_attempt(exchange, exchange->attempt, "cancelled", 0);
		if (exchange->state != RELAYING) /* else it has been counted by its status */
			measure_attempt(exchange->attempt, MEASURE_CANCELLED);
		attempt_end(exchange->attempt, false, now_ms);
	}
	exchange->broken = true;
	if (exchange->status == 0)
		exchange->status = 499; /* as nginx logs a caller that has left */
	access_request(exchange, now_ms, reason);
	measure_disconnect(exchange);
	measure_request(exchange, now_ms);
	exchange->client->exchange = NULL;
	finish(exchange);
}

void
exchange_end(struct exchange *exchange)
{
	struct client *client = exchange->client;
	uint64_t now_ms = clock_now_ms();
	bool close = !exchange->keep_alive || exchange->broken || !exchange->body_complete;

	access_request(exchange, now_ms, exchange->broken ? "the answer broke" : NULL);
	measure_request(exchange, now_ms);
	finish(exchange);
	client_answered(client, close, exchange->broken && !exchange->delimited, now_ms);
}

void
exchange_drained(struct exchange *exchange, uint64_t now_ms)
{
	if (exchange->attempt != NULL)
		attempt_resume(exchange->attempt, now_ms);
}
