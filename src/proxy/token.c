#include "proxy/token.h"

#include <string.h>

#include "base/clock.h"
#include "net/worker.h"
#include "proxy/attempt.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* What is written into the head behind the token: the body's framing. */
#define FRAMING_SPARE_BYTES 64U

static uint64_t
newer_than(const struct attempt *attempt)
{
	const struct exchange *exchange = attempt->exchange;

	return attempt->renewed ? exchange->refused_token : 0;
}

static void
leave_list(struct attempt *attempt)
{
	if (attempt->awaiting_link == NULL)
		return;
	*attempt->awaiting_link = attempt->next_awaiting;
	if (attempt->next_awaiting != NULL)
		attempt->next_awaiting->awaiting_link = attempt->awaiting_link;
	attempt->awaiting_link = NULL;
	attempt->next_awaiting = NULL;
}

static void
enter_list(struct attempt *attempt)
{
	struct proxy_worker *own = proxy_worker_of(attempt->worker);

	if (attempt->awaiting_link != NULL)
		return;
	attempt->next_awaiting = own->awaiting_token;
	attempt->awaiting_link = &own->awaiting_token;
	if (attempt->next_awaiting != NULL)
		attempt->next_awaiting->awaiting_link = &attempt->next_awaiting;
	own->awaiting_token = attempt;
}

bool
token_obtain(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;

	if (exchange->token_until_ms == 0)
		attempt->token_until_ms = now_ms + TOKEN_WAIT_MS;
	else
		attempt->token_until_ms = exchange->token_until_ms;
	switch (identity_authorize(attempt->via->identity, newer_than(attempt), now_ms, attempt->token_until_ms,
	    FRAMING_SPARE_BYTES, &attempt->head, &attempt->token_generation)) {
	case TOKEN_READY:
		leave_list(attempt);
		return true;
	case TOKEN_COMING:
		exchange->token_until_ms = attempt->token_until_ms;
		break;
	case TOKEN_ABSENT: /* it fails in a later turn of the loop: its caller is in the middle of choosing backends */
		attempt->token_until_ms = now_ms;
		break;
	}
	enter_list(attempt);
	return false;
}

void
token_deadline(struct attempt *attempt, uint64_t now_ms)
{
	if (now_ms < attempt->token_until_ms) {
		attempt_watch(attempt, now_ms);
		return;
	}
	leave_list(attempt);
	attempt_fail_without_token(attempt, now_ms);
}

void
token_forget(struct attempt *attempt)
{
	leave_list(attempt);
	if (attempt->token_generation != 0 && attempt->head.data != NULL)
		explicit_bzero(attempt->head.data, attempt->head.length);
}

bool
token_renew(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	bool hope;

	if (attempt->via->identity == NULL || attempt->token_generation == 0)
		return false;
	/* The second refusal is not the token's fault, and no reason to fetch a third. */
	if (attempt->renewed)
		return false;
	hope = identity_refused(attempt->via->identity, attempt->token_generation, now_ms);
	if (hope && exchange->uploading)
		attempt->blameless = true; /* the body is gone, but others will do well with the fresh token */
	if (!hope || exchange->uploading)
		return false;
	exchange->refused_token = attempt->token_generation;
	exchange->refused_backend = attempt->backend;
	return true;
}

/* ---- news ------------------------------------------------------------------------------------------------------ */

/* Each attempt that waits looks again. One that goes on may end others, so the list is begun anew after each. */
static void
go_on(struct proxy_worker *own, const struct identity *identity)
{
	uint64_t now_ms = clock_now_ms();
	struct attempt *next = own->awaiting_token;

	for (struct attempt *attempt = next; attempt != NULL; attempt = attempt->next_awaiting)
		attempt->has_news = attempt->via->identity == identity;
	while (next != NULL) {
		if (!next->has_news) {
			next = next->next_awaiting;
			continue;
		}
		next->has_news = false;
		if (token_obtain(next, now_ms))
			attempt_connect(next, now_ms);
		else
			attempt_watch(next, now_ms);
		next = own->awaiting_token;
	}
}

static void
take_news(struct worker *worker, void *argument)
{
	struct proxy_worker *own = proxy_worker_of(worker);
	struct identity *identity = argument;
	uint64_t now_ms = clock_now_ms();

	/* Backends that rested for want of a token are good again. */
	for (size_t i = 0; i < own->fleet->count && identity_has_token(identity, now_ms); i++)
		if (own->fleet->backends[i].identity == identity)
			(void)rest_forgive(&own->fleet->backends[i].state->whole, REST_NO_TOKEN);
	go_on(own, identity);
	identity_release(&identity);
}

void
token_on_news(struct identity *identity, void *context)
{
	struct proxy *proxy = context;

	for (unsigned i = 0; i < proxy->worker_count; i++)
		worker_post(proxy->workers[i], take_news, identity_share(identity));
}
