#include "proxy/hold.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "proxy/choice.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* Names that a turn has found to be waiting still; more of them are looked at one by one. */
#define BLOCKED_MAX 16U

static void turn(void *owner, uint64_t now_ms);

void
hold_init(struct hold_queue *queue, struct worker *worker)
{
	*queue = (struct hold_queue){ .worker = worker };
	timer_init(&queue->timer, turn, queue);
}

static struct hold_queue *
queue_of(const struct exchange *exchange)
{
	return &proxy_worker_of(exchange->worker)->hold;
}

/* All that the request keeps. An upload grows while it waits, but for no more than its window and what one read brings. */
static uint64_t
bytes_of(const struct exchange *exchange)
{
	uint64_t bytes = exchange->body.length + exchange->kept.body.length + exchange->kept.head_lines.length +
	    exchange->upstream_lines.length + exchange->credential_lines.length;

	return exchange->uploading ? bytes + UPLOAD_WINDOW_BYTES + WORKER_READ_BYTES : bytes;
}

/* In the order of tickets. One that comes back belongs near the front, any other near the end. */
static void
link_in(struct hold_queue *queue, struct exchange *exchange, bool again)
{
	struct hold_place *place = &exchange->hold;

	place->previous = again ? NULL : queue->last;
	place->next = again ? queue->first : NULL;
	while (again && place->next != NULL && place->next->hold.ticket < place->ticket) {
		place->previous = place->next;
		place->next = place->next->hold.next;
	}
	while (!again && place->previous != NULL && place->previous->hold.ticket > place->ticket) {
		place->next = place->previous;
		place->previous = place->previous->hold.previous;
	}
	if (place->next != NULL)
		place->next->hold.previous = exchange;
	else
		queue->last = exchange;
	if (place->previous != NULL)
		place->previous->hold.next = exchange;
	else
		queue->first = exchange;
	place->queued = true;
	place->bytes = bytes_of(exchange);
	place->since_ms = clock_now_ms(); /* by the clock that hold_leave() reads */
	queue->bytes += place->bytes;
	queue->count++;
	atomic_fetch_add_explicit(&proxy_worker_of(exchange->worker)->proxy->held_requests, 1, memory_order_relaxed);
}

uint64_t
hold_waited_ms(const struct exchange *exchange, uint64_t now_ms)
{
	const struct hold_place *place = &exchange->hold;

	return place->waited_ms + (place->queued && now_ms > place->since_ms ? now_ms - place->since_ms : 0);
}

void
hold_leave(struct exchange *exchange)
{
	struct hold_queue *queue = queue_of(exchange);
	struct hold_place *place = &exchange->hold;

	if (!place->queued)
		return;
	place->waited_ms = hold_waited_ms(exchange, clock_now_ms());
	if (place->previous != NULL)
		place->previous->hold.next = place->next;
	else
		queue->first = place->next;
	if (place->next != NULL)
		place->next->hold.previous = place->previous;
	else
		queue->last = place->previous;
	place->queued = false;
	queue->bytes -= place->bytes;
	queue->count--;
	atomic_fetch_sub_explicit(&proxy_worker_of(exchange->worker)->proxy->held_requests, 1, memory_order_relaxed);
	if (queue->first == NULL)
		timer_clear(exchange->worker->wheel, &queue->timer);
}

static void
wake_at(struct hold_queue *queue, uint64_t at_ms)
{
	if (at_ms < queue->next_turn_ms)
		at_ms = queue->next_turn_ms;
	if (!timer_is_set(&queue->timer) || queue->timer.deadline_ms > at_ms)
		timer_set(queue->worker->wheel, &queue->timer, at_ms);
}

/* From now on the ends of probes are told. Whatever ended before has been seen by who looks after this: both sides
 * exchange the flag, and the later of them sees what the other did. */
static void
want_news(struct hold_queue *queue)
{
	(void)atomic_exchange_explicit(&queue->listens, true, memory_order_acq_rel);
}

static void
look_again(struct worker *worker, void *argument)
{
	struct hold_queue *queue = &proxy_worker_of(worker)->hold;

	(void)argument;
	if (queue->first != NULL)
		wake_at(queue, clock_now_ms());
}

void
hold_wake(const struct worker *from)
{
	const struct proxy *proxy = proxy_worker_of(from)->proxy;

	for (unsigned i = 0; i < proxy->worker_count; i++) {
		struct worker *worker = proxy->workers[i];

		if (worker == NULL) /* the daemon ends, and it has gone already */
			continue;
		if (!atomic_exchange_explicit(&proxy_worker_of(worker)->hold.listens, false, memory_order_acq_rel))
			continue;
		if (worker == from)
			look_again(worker, NULL);
		else
			worker_post(worker, look_again, NULL);
	}
}

/* When to look again at a request that cannot go now: when a rest ends, or, where others ask already, when that is over,
 * which is told. At once would be a busy loop. */
static uint64_t
next_look(const struct throttle_end *end, uint64_t now_ms)
{
	uint64_t look_ms = end->soonest_ms <= now_ms ? now_ms + HOLD_LOOK_MS : UINT64_MAX;

	if (end->next_ms < look_ms)
		look_ms = end->next_ms;
	return look_ms > now_ms + HOLD_TURN_MS ? look_ms : now_ms + HOLD_TURN_MS;
}

static bool
is_of_same_deployment(const struct exchange *a, const struct exchange *b)
{
	return a->deployment_number == b->deployment_number && a->fleet == b->fleet;
}

/* Whoever has waited has its place for good: only others may find the queue full. */
static bool
is_full(const struct hold_queue *queue, const struct exchange *exchange)
{
	uint64_t bytes = bytes_of(exchange), bytes_alike = 0;
	unsigned alike = 0;

	if (exchange->hold.until_ms != 0 || queue->count == 0)
		return false;
	if (queue->count >= HOLD_MAX_REQUESTS || queue->bytes + bytes > HOLD_MAX_BYTES)
		return true;
	for (const struct exchange *other = queue->first; other != NULL; other = other->hold.next) {
		if (!is_of_same_deployment(other, exchange))
			continue;
		alike++;
		bytes_alike += other->hold.bytes;
	}
	return alike >= HOLD_MAX_OF_DEPLOYMENT || bytes_alike + bytes > HOLD_MAX_BYTES_OF_DEPLOYMENT;
}

/* Until when it may wait, now or again. */
static uint64_t
wait_ends(const struct exchange *exchange, uint64_t now_ms)
{
	const struct config *config = exchange->fleet->config;
	uint64_t until_ms = exchange->hold.until_ms != 0 ? exchange->hold.until_ms : now_ms + config->hold_ms;
	uint64_t request_ends_ms = exchange->started_ms + config->timeouts.request_ms;

	return config->timeouts.request_ms > 0 && request_ends_ms < until_ms ? request_ends_ms : until_ms;
}

static void
enter(struct exchange *exchange, uint64_t until_ms, uint64_t look_ms)
{
	struct hold_queue *queue = queue_of(exchange);
	bool again = exchange->hold.until_ms != 0;

	exchange->hold.until_ms = until_ms;
	link_in(queue, exchange, again);
	wake_at(queue, look_ms);
	wake_at(queue, until_ms);
}

bool
hold_enter(struct exchange *exchange, uint64_t now_ms)
{
	struct hold_queue *queue = queue_of(exchange);
	uint64_t until_ms = wait_ends(exchange, now_ms);
	struct throttle_end end;

	if (exchange->fleet->config->hold_ms == 0 || exchange->deployment_length == 0 || now_ms >= until_ms)
		return false;
	want_news(queue);
	if (!choice_throttle_ends(exchange, now_ms, &end) || end.soonest_ms >= until_ms || is_full(queue, exchange))
		return false;
	enter(exchange, until_ms, choice_can_go(exchange, now_ms) ? now_ms + HOLD_TURN_MS : next_look(&end, now_ms));
	return true;
}

/* Larger, near enough: a token is some four bytes. */
static bool
is_larger(const struct exchange *a, const struct exchange *b)
{
	return a->estimate.prompt_bytes / 4 + a->estimate.output_tokens >
	    b->estimate.prompt_bytes / 4 + b->estimate.output_tokens;
}

/* Whether somebody waits for the same whom this one, coming later, would overtake. A large one that waits for room keeps no
 * small one waiting. */
static bool
others_wait(const struct hold_queue *queue, const struct exchange *exchange, uint64_t now_ms)
{
	for (const struct exchange *other = queue->first; other != NULL; other = other->hold.next) {
		if (is_of_same_deployment(other, exchange) && other->pinning.resource == exchange->pinning.resource &&
		    !choice_has_failed(other) && !(is_larger(other, exchange) && choice_is_anybody_left(other, now_ms)))
			return true;
	}
	return false;
}

enum hold_line
hold_line_up(struct exchange *exchange, uint64_t now_ms)
{
	struct hold_queue *queue = queue_of(exchange);

	if (exchange->hold.ticket != 0)
		return HOLD_FIRST;
	exchange->hold.ticket = ++queue->tickets;
	if (LIKELY(queue->count == 0) || exchange->fleet->config->hold_ms == 0 || exchange->deployment_length == 0 ||
	    !others_wait(queue, exchange, now_ms))
		return HOLD_FIRST;
	if (is_full(queue, exchange)) /* it does not matter who goes first where all may go */
		return choice_flows(exchange, now_ms) ? HOLD_FIRST : HOLD_TOO_MANY;
	want_news(queue);
	enter(exchange, wait_ends(exchange, now_ms), now_ms + HOLD_LOOK_MS);
	return HOLD_BEHIND;
}

struct blocked {
	unsigned numbers[BLOCKED_MAX];
	const struct fleet *fleets[BLOCKED_MAX];
	unsigned count;
};

static bool
is_blocked(const struct blocked *blocked, const struct exchange *exchange)
{
	for (unsigned i = 0; i < blocked->count; i++)
		if (blocked->numbers[i] == exchange->deployment_number && blocked->fleets[i] == exchange->fleet)
			return true;
	return false;
}

/* The first that can be served, or has waited long enough. */
static struct exchange *
next_to_leave(struct hold_queue *queue, struct blocked *blocked, uint64_t now_ms, uint64_t *next_ms)
{
	struct throttle_end end;
	uint64_t look_ms;

	for (struct exchange *exchange = queue->first; exchange != NULL; exchange = exchange->hold.next) {
		if (now_ms >= exchange->hold.until_ms)
			return exchange;
		if (exchange->hold.until_ms < *next_ms)
			*next_ms = exchange->hold.until_ms;
		if (!choice_is_particular(exchange, now_ms) && is_blocked(blocked, exchange))
			continue;
		if (choice_can_go(exchange, now_ms))
			return exchange;
		if (!choice_throttle_ends(exchange, now_ms, &end))
			return exchange; /* nothing to wait for any more */
		look_ms = next_look(&end, now_ms);
		if (look_ms < *next_ms)
			*next_ms = look_ms;
		if (blocked->count < BLOCKED_MAX && !choice_is_particular(exchange, now_ms)) {
			blocked->numbers[blocked->count] = exchange->deployment_number;
			blocked->fleets[blocked->count++] = exchange->fleet;
		}
	}
	return NULL;
}

/* What leaves may end its neighbours as well (a client with another request), so each is looked for from the front. */
static void
turn(void *owner, uint64_t now_ms)
{
	struct hold_queue *queue = owner;
	struct blocked blocked = { .count = 0 };
	uint64_t next_ms = UINT64_MAX;
	unsigned left = HOLD_RELEASED_AT_ONCE;
	struct exchange *exchange;

	want_news(queue);
	exchange = next_to_leave(queue, &blocked, now_ms, &next_ms);
	while (exchange != NULL && left > 0) {
		bool over = now_ms >= exchange->hold.until_ms;

		hold_leave(exchange);
		if (!over)
			left--;
		exchange_hold_over(exchange, now_ms);
		exchange = next_to_leave(queue, &blocked, now_ms, &next_ms);
	}
	if (left < HOLD_RELEASED_AT_ONCE)
		queue->next_turn_ms = now_ms + HOLD_TURN_MS;
	if (exchange != NULL)
		next_ms = now_ms + HOLD_TURN_MS;
	if (queue->first != NULL && next_ms != UINT64_MAX)
		wake_at(queue, next_ms);
}
