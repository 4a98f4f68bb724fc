#include "proxy/pinning.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "policy/pins.h"
#include "proxy/attempt.h"
#include "proxy/backend_set.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* A body is scanned in pieces, so that it can be left off as soon as there is no more to be learned from it. */
#define SCANNED_AT_ONCE 65536U

/* What was found in a request's body. */
struct request_ids {
	struct proxy *proxy;
	const struct fleet *fleet;
	uint64_t now_ms;
	uint64_t bound;    /* the resource of the first known id that binds */
	uint64_t referred; /* the same of ids of items, which bind only where an item is a reference */
	unsigned looked_up;
	bool has_references; /* {"type":"item_reference","id":"…"} */
	bool files_alone;    /* nothing else binds */
};

static struct proxy *
proxy_of(const struct exchange *exchange)
{
	return proxy_worker_of(exchange->worker)->proxy;
}

/* A resource that the configuration no longer has is as good as unknown. */
static uint64_t
find_resource(struct proxy *proxy, const struct fleet *fleet, uint64_t id, uint64_t now_ms)
{
	uint64_t resource = pins_find(proxy->pins, id, now_ms);

	for (size_t i = 0; i < fleet->count; i++) {
		if (fleet->backends[i].resource == resource)
			return resource;
	}
	return PIN_UNKNOWN;
}

static void
look_up(const struct id_found *found, void *context)
{
	struct request_ids *ids = context;
	uint64_t *place = found->member == ID_OWN ? &ids->referred : &ids->bound;

	if (ids->files_alone && found->member != ID_FILE)
		return;
	if (found->member == ID_TYPE)
		ids->has_references = ids->has_references || found->item_reference;
	else if (*place == PIN_UNKNOWN && ids->looked_up++ < PINNING_LOOKED_UP_MAX)
		*place = find_resource(ids->proxy, ids->fleet, found->hash, ids->now_ms);
}

static uint64_t
find_in_body(struct exchange *exchange, bool files_alone, uint64_t now_ms)
{
	struct request_ids ids = {
		.proxy = proxy_of(exchange),
		.fleet = exchange->fleet,
		.now_ms = now_ms,
		.files_alone = files_alone,
	};
	struct id_scanner scanner;
	struct slice rest;

	if (exchange->uploading || exchange->boundary[0] != '\0' || exchange->content_coded)
		return PIN_UNKNOWN;
	id_scanner_init(&scanner, ids.proxy->pin_seed, look_up, &ids);
	rest = buffer_slice(&exchange->body);
	while (rest.length > 0 && ids.bound == PIN_UNKNOWN && ids.looked_up < PINNING_LOOKED_UP_MAX) {
		size_t piece = rest.length < SCANNED_AT_ONCE ? rest.length : SCANNED_AT_ONCE;

		id_scanner_feed(&scanner, slice_of(rest.data, piece));
		rest = slice_skip(rest, piece);
	}
	return ids.bound != PIN_UNKNOWN || !ids.has_references ? ids.bound : ids.referred;
}

/* Whether "file_id" stands anywhere in the body. Looked for by its underscore, which texts seldom have: memchr() goes through
 * them several times as fast as memmem(). */
static bool
has_file_id(struct slice body)
{
	static const char name[] = "\"file_id\"";
	const size_t before = 5, length = sizeof(name) - 1;
	const char *at = body.data, *end = at + body.length;

	for (; at < end && (at = memchr(at, name[before], (size_t)(end - at))) != NULL; at++) {
		if ((size_t)(at - body.data) >= before && (size_t)(end - at) >= length - before &&
		    memcmp(at - before, name, length) == 0)
			return true;
	}
	return false;
}

/* {"type":"file","file":{"file_id":"file-1"}}: nearly no chat has one, so without a file that could be meant, and without
 * the name, nothing of the body is scanned. */
static bool
is_chat_with_files(const struct exchange *exchange)
{
	return atomic_load_explicit(&proxy_of(exchange)->files_seen, memory_order_relaxed) &&
	    exchange->method == METHOD_POST && !exchange->route.resource && exchange->fleet->count > 1 &&
	    slice_starts_with(exchange->route.operation, SLICE("/chat/completions")) && exchange->body.length > 0 &&
	    has_file_id(buffer_slice(&exchange->body));
}

static bool
is_stateful(const struct route *route)
{
	return route->resource || slice_starts_with(route->operation, SLICE("/responses")) ||
	    slice_starts_with(route->operation, SLICE("/videos")) ||
	    slice_starts_with(route->operation, SLICE("/video/generations"));
}

void
pinning_route(struct exchange *exchange, uint64_t now_ms)
{
	const struct route *route = &exchange->route;
	struct pinning *pinning = &exchange->pinning;
	struct proxy *proxy = proxy_of(exchange);
	struct slice id;

	if (UNLIKELY(is_chat_with_files(exchange))) {
		pinning->resource = find_in_body(exchange, true, now_ms);
		return;
	}
	if (route->kind != ROUTE_OPENAI && route->kind != ROUTE_AZURE)
		return;
	pinning->stateful = is_stateful(route);
	if (!pinning->stateful)
		return;
	id = id_in_path(route->operation);
	if (id.length > 0)
		pinning->path_id = id_hash(id, proxy->pin_seed);
	if (exchange->fleet->count < 2) /* nothing to choose; what it makes is learned for the day when there is */
		return;
	if (id.length > 0) {
		pinning->resource = find_resource(proxy, exchange->fleet, pinning->path_id, now_ms);
		pinning->asks_around = pinning->resource == PIN_UNKNOWN &&
		    (exchange->method == METHOD_GET || exchange->method == METHOD_HEAD);
	}
	if (pinning->resource == PIN_UNKNOWN)
		pinning->resource = find_in_body(exchange, false, now_ms);
	if (pinning->resource != PIN_UNKNOWN)
		pinning->asks_around = false;
}

bool
pinning_forbids(const struct exchange *exchange, size_t backend)
{
	uint64_t resource = exchange->pinning.resource;

	return resource != PIN_UNKNOWN && exchange->fleet->backends[backend].resource != resource;
}

/* ---- asking around --------------------------------------------------------------------------------------------- */

void
pinning_not_there(struct exchange *exchange, size_t backend)
{
	const struct fleet *fleet = exchange->fleet;
	struct pinning *pinning = &exchange->pinning;

	pinning->asked++;
	pinning->asked_last = backend;
	for (size_t i = 0; i < fleet->count; i++) {
		if (fleet->backends[i].resource != fleet->backends[backend].resource)
			continue;
		set_add(pinning->without, i);
		set_add(exchange->tried, i);
	}
}

bool
pinning_outweighs_404(const struct exchange *exchange, size_t backend)
{
	const struct fleet_backend *backends = exchange->fleet->backends;
	const struct kept_answer *kept = &exchange->kept;

	return exchange->pinning.asks_around && kept->status != 0 && kept->status != 404 &&
	    backends[kept->backend].resource != backends[backend].resource;
}

/* Calls without a deployment go by priority, then as configured. */
static bool
goes_before(const struct fleet *fleet, size_t a, size_t b)
{
	unsigned of_a = fleet->backends[a].config->priority, of_b = fleet->backends[b].config->priority;

	return of_a < of_b || (of_a == of_b && a < b);
}

bool
pinning_is_unsure(const struct exchange *exchange, uint64_t now_ms)
{
	const struct pinning *pinning = &exchange->pinning;

	for (size_t i = 0; pinning->asks_around && i < exchange->fleet->count; i++) {
		enum availability availability = rest_availability(&exchange->fleet->backends[i].state->whole, now_ms);

		if (set_has(pinning->without, i))
			continue;
		if (set_has(exchange->tried, i))
			return true;
		/* Its turn would have come, had it not rested. */
		if ((availability == RESTING || availability == PROBING) &&
		    (pinning->asked < PINNING_ASKS_MAX || goes_before(exchange->fleet, i, pinning->asked_last)))
			return true;
	}
	return false;
}

/* ---- learning -------------------------------------------------------------------------------------------------- */

/* Whether the hash is new and the list has room; then it is in it. */
static bool
note_new(uint64_t *list, unsigned *count, unsigned max, uint64_t hash)
{
	for (unsigned i = 0; i < *count; i++) {
		if (list[i] == hash)
			return false;
	}
	if (*count == max)
		return false;
	list[(*count)++] = hash;
	return true;
}

static void
learn(const struct id_found *found, void *context)
{
	struct attempt *attempt = context;
	struct pinning_answer *answer = attempt->exchange->pinning.answer;
	enum pin_kind kind = PIN_THING;

	if (found->member == ID_TYPE || found->hash == answer->own)
		return;
	if (found->member == ID_OWN && answer->own == 0) {
		answer->own = found->hash;
	} else if (found->member == ID_OWN || found->member == ID_ENCRYPTED) {
		kind = PIN_ITEM;
		if (!note_new(answer->items, &answer->item_count, PINNING_ITEMS_MAX, found->hash))
			return;
	} else if (!note_new(answer->references, &answer->reference_count, PINNING_REFERENCES_MAX, found->hash)) {
		return;
	}
	pins_learn(proxy_of(attempt->exchange)->pins, found->hash, kind, attempt->via->resource, clock_now_ms());
}

void
pinning_head(struct attempt *attempt, uint64_t now_ms)
{
	struct exchange *exchange = attempt->exchange;
	struct pinning *pinning = &exchange->pinning;

	if (!pinning->stateful)
		return;
	/* A former attempt is gone, and this one may have its address. */
	pinning_end(pinning);
	if (attempt->status < 200 || attempt->status > 299)
		return;
	if (slice_starts_with(exchange->route.operation, SLICE("/files")) ||
	    slice_starts_with(exchange->route.operation, SLICE("/uploads")))
		atomic_store_explicit(&proxy_of(exchange)->files_seen, true, memory_order_relaxed);
	if (pinning->path_id != 0 && exchange->method != METHOD_DELETE)
		pins_learn(proxy_of(exchange)->pins, pinning->path_id, PIN_THING, attempt->via->resource, now_ms);
	if (attempt->coded || !(attempt->is_json || attempt->mode == MODE_EVENTS))
		return;
	pinning->answer = memory_take_zeroed(1, sizeof(*pinning->answer));
	id_scanner_init(&pinning->answer->scanner, proxy_of(exchange)->pin_seed, learn, attempt);
}

void
pinning_payload(struct attempt *attempt, struct slice payload)
{
	struct pinning_answer *answer = attempt->exchange->pinning.answer;

	/* What is left of an earlier attempt's answer is not this one's. */
	if (answer != NULL && answer->scanner.context == attempt)
		id_scanner_feed(&answer->scanner, payload);
}

void
pinning_end(struct pinning *pinning)
{
	free(pinning->answer);
	pinning->answer = NULL;
}
