#include "proxy/token.h"

#include <string.h>

#include "base/clock.h"
#include "net/worker.h"
#include "proxy/attempt.h"
#include "proxy/exchange.h"
#include "proxy/hold.h"
#include "proxy/proxy.h"

/* What is written into the head behind the token: the body's framing. */
#define FRAMING_SPARE_BYTES 64U
/* So many attempts go on in one turn of the loop when a token comes: each may open a connection. */
#define TURN_MOST 64U

static uint64_t
newer_than(const struct attempt *attempt)
{
	const struct exchange *exchange = attempt->exchange;

	return attempt->renewed ? exchange->refused_token : 0;
}

static void
leave_queue(struct attempt *attempt)
{
	struct proxy_worker *own = proxy_worker_of(attempt->worker);

	if (attempt->awaiting_link == NULL)
		return;
	*attempt->awaiting_link = attempt->next_awaiting;
	if (attempt->next_awaiting != NULL)
		attempt->next_awaiting->awaiting_link = attempt->awaiting_link;
	else
		own->awaiting_tail = attempt->awaiting_link;
	attempt->awaiting_link = NULL;
	attempt->next_awaiting = NULL;
}

static void
enter_queue(struct attempt *attempt)
{
	struct proxy_worker *own = proxy_worker_of(attempt->worker);

	if (attempt->awaiting_link != NULL)
		return;
	attempt->news_round = own->news_round;
	attempt->awaiting_link = own->awaiting_tail;
	*own->awaiting_tail = attempt;
	own->awaiting_tail = &attempt->next_awaiting;
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
		leave_queue(attempt);
		return true;
	case TOKEN_COMING:
		exchange->token_until_ms = attempt->token_until_ms;
		break;
	case TOKEN_ABSENT: /* it fails in a later turn of the loop: its caller is in the middle of choosing backends */
		attempt->token_until_ms = now_ms;
		break;
	}
	enter_queue(attempt);
	return false;
}

void
token_deadline(struct attempt *attempt, uint64_t now_ms)
{
	if (now_ms < attempt->token_until_ms) {
		attempt_watch(attempt, now_ms);
		return;
	}
	leave_queue(attempt);
	attempt_fail_without_token(attempt, now_ms);
}

void
token_forget(struct attempt *attempt)
{
	leave_queue(attempt);
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

/* Each attempt that waits for that identity looks again, the longest waiting first. One that goes on may end others, so
 * the next is always the queue's first; whoever has been looked at and stays is behind all others, in the new round. */
static void
look_again(struct worker *worker, void *argument)
{
	struct proxy_worker *own = proxy_worker_of(worker);
	struct identity *identity = argument;
	uint64_t now_ms = clock_now_ms();
	unsigned gone_on = 0;

	own->news_round++;
	while (own->awaiting_token != NULL && own->awaiting_token->news_round != own->news_round) {
		struct attempt *attempt = own->awaiting_token;

		if (gone_on == TURN_MOST) {
			worker_post(worker, look_again, identity_share(identity));
			break;
		}
		leave_queue(attempt);
		if (attempt->via->identity != identity) {
			enter_queue(attempt);
		} else if (token_obtain(attempt, now_ms)) {
			gone_on++;
			attempt_connect(attempt, now_ms);
		} else {
			attempt_watch(attempt, now_ms);
		}
	}
	identity_release(&identity);
}

/* Backends that rested for want of a token are good again. */
static void
take_grant(struct worker *worker, void *argument)
{
	const struct fleet *fleet = proxy_worker_of(worker)->fleet;
	bool forgiven = false;

	for (size_t i = 0; i < fleet->count; i++)
		if (fleet->backends[i].identity == argument)
			forgiven = rest_forgive(&fleet->backends[i].state->whole, REST_NO_TOKEN) || forgiven;
	if (forgiven)
		hold_wake(worker);
	look_again(worker, argument);
}

void
token_on_news(struct identity *identity, bool granted, void *context)
{
	struct proxy *proxy = context;

	for (unsigned i = 0; i < proxy->worker_count; i++)
		worker_post(proxy->workers[i], granted ? take_grant : look_again, identity_share(identity));
}
