#include "proxy/measure.h"

#include <stdio.h>

#include "base/counters.h"
#include "proxy/attempt.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* Codes: a status as it is, one inside a stream from 1000 on, the other ends from 2001 on. */
#define CODE_STREAM 1000U
#define CODE_KIND 2001U

const uint32_t measure_bounds_ms[MEASURE_BOUNDS] = { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000,
	60000, 300000 };

unsigned
measure_code(const struct outcome *outcome)
{
	if (outcome->kind == OUTCOME_ANSWERED)
		return outcome->status % 1000;
	if (outcome->kind == OUTCOME_STREAM && outcome->status != 0)
		return CODE_STREAM + outcome->status % 1000;
	return CODE_KIND + (unsigned)outcome->kind;
}

const char *
measure_code_name(unsigned code, char *out)
{
	struct outcome outcome = { .kind = OUTCOME_ANSWERED, .status = code };

	if (code == MEASURE_CANCELLED) {
		snprintf(out, OUTCOME_NAME_SIZE, "cancelled");
		return out;
	}
	if (code >= CODE_KIND)
		outcome = (struct outcome){ .kind = (enum outcome_kind)(code - CODE_KIND) };
	else if (code >= CODE_STREAM)
		outcome = (struct outcome){ .kind = OUTCOME_STREAM, .status = code - CODE_STREAM };
	return outcome_name(&outcome, out);
}

static struct counters *
counters_of(const struct exchange *exchange)
{
	return proxy_worker_of(exchange->worker)->counters;
}

static unsigned
deployment_of(const struct exchange *exchange)
{
	return exchange->deployment_length > 0 ? exchange->deployment_number : MEASURE_NONE;
}

static unsigned
client_of(const struct exchange *exchange)
{
	return exchange->client_index > 0 ? exchange->fleet->client_labels[exchange->client_index - 1] : MEASURE_NONE;
}

static void
observe(struct counters *counters, enum measure_family family, unsigned name, uint64_t span_ms)
{
	unsigned bucket = 0;

	while (bucket < MEASURE_BOUNDS && span_ms > measure_bounds_ms[bucket])
		bucket++;
	counters_add(counters, measure_key(family, name, 0, 0, bucket), 1);
	counters_add(counters, measure_key(family, name, 0, 0, MEASURE_SUM), span_ms);
}

static void
count_tokens(const struct exchange *exchange)
{
	struct counters *counters = counters_of(exchange);
	const struct openai_usage *usage = &exchange->usage;
	const uint64_t amounts[] = { usage->prompt_tokens, usage->cached_tokens, usage->completion_tokens };

	for (unsigned type = TOKENS_PROMPT; type <= TOKENS_COMPLETION; type++) {
		if (amounts[type] > 0)
			counters_add(counters,
			    measure_key(MEASURE_TOKENS, client_of(exchange), exchange->last_label,
				deployment_of(exchange), type),
			    amounts[type]);
	}
}

void
measure_request(const struct exchange *exchange, uint64_t now_ms)
{
	struct counters *counters = counters_of(exchange);
	unsigned deployment = deployment_of(exchange);

	if (exchange->route.kind == ROUTE_HEALTH || exchange->route.kind == ROUTE_READY)
		return;
	counters_add(counters,
	    measure_key(MEASURE_REQUESTS, client_of(exchange), deployment, exchange->status % 1000, 0), 1);
	observe(counters, MEASURE_REQUEST_SECONDS, deployment, now_ms - exchange->started_ms);
	if (exchange->usage.known)
		count_tokens(exchange);
}

void
measure_disconnect(const struct exchange *exchange)
{
	counters_add(counters_of(exchange), measure_key(MEASURE_DISCONNECTS, 0, 0, 0, 0), 1);
}

void
measure_first_event(const struct exchange *exchange, uint64_t now_ms)
{
	observe(counters_of(exchange), MEASURE_FIRST_EVENT_SECONDS, deployment_of(exchange),
	    now_ms - exchange->started_ms);
}

void
measure_attempt(const struct attempt *attempt, unsigned code)
{
	counters_add(counters_of(attempt->exchange),
	    measure_key(MEASURE_ATTEMPTS, attempt->via->label, deployment_of(attempt->exchange), code, 0), 1);
}

void
measure_attempt_length(const struct attempt *attempt, uint64_t now_ms)
{
	observe(counters_of(attempt->exchange), MEASURE_ATTEMPT_SECONDS, attempt->via->label,
	    now_ms - attempt->started_ms);
}

void
measure_throttled(const struct attempt *attempt)
{
	counters_add(counters_of(attempt->exchange),
	    measure_key(MEASURE_THROTTLED, attempt->via->label, deployment_of(attempt->exchange), 0, 0), 1);
}

void
measure_spillover(const struct attempt *attempt)
{
	counters_add(counters_of(attempt->exchange),
	    measure_key(MEASURE_SPILLOVERS, attempt->via->label, deployment_of(attempt->exchange), 0, 0), 1);
}

void
measure_cooldown(const struct attempt *attempt, bool whole, uint64_t more_ms)
{
	unsigned deployment = whole ? MEASURE_NONE : deployment_of(attempt->exchange);

	counters_add(counters_of(attempt->exchange),
	    measure_key(MEASURE_COOLDOWN, attempt->via->label, deployment, 0, 0), more_ms);
}

void
measure_group_cooldown(const struct exchange *exchange, size_t backend, uint64_t more_ms)
{
	counters_add(counters_of(exchange),
	    measure_key(MEASURE_COOLDOWN, exchange->fleet->backends[backend].label, deployment_of(exchange), 0, 0),
	    more_ms);
}

void
measure_failover(const struct exchange *exchange)
{
	struct counters *counters = counters_of(exchange);
	unsigned budget = exchange->retries_unsafely ? BUDGET_UNSAFE : BUDGET_SAFE;

	if (exchange->failed_code == 0)
		return;
	counters_add(counters, measure_key(MEASURE_FAILOVERS, exchange->last_label, exchange->failed_code, 0, 0), 1);
	counters_add(counters, measure_key(MEASURE_RETRIES, budget, 0, 0, 0), 1);
}
