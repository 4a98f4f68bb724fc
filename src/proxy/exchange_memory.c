/* What an exchange's body takes of the memory that all bodies share (proxy/exchange.h). */
#include <stdatomic.h>

#include "proxy/exchange.h"
#include "proxy/proxy.h"

uint64_t
exchange_budget(const struct exchange *exchange)
{
	uint64_t configured = exchange->fleet->config->max_buffered_bytes;
	uint64_t possible = proxy_worker_of(exchange->worker)->proxy->memory_cap;

	return configured < possible ? configured : possible;
}

bool
exchange_reserve(struct exchange *exchange, uint64_t bytes)
{
	struct proxy *proxy = proxy_worker_of(exchange->worker)->proxy;
	uint64_t before;

	if (bytes == 0)
		return true;
	before = atomic_fetch_add_explicit(&proxy->buffered_bytes, bytes, memory_order_relaxed);
	if (before + bytes > exchange_budget(exchange)) {
		atomic_fetch_sub_explicit(&proxy->buffered_bytes, bytes, memory_order_relaxed);
		return false;
	}
	exchange->reserved_bytes += bytes;
	return true;
}

/* Chunked bodies hold a share and want more, so that several could wait for each other until all of them are refused.
 * Together they may therefore hold no more than leaves room for one whole body (or half of the budget, where a body may
 * be larger than that); beyond it one of them alone goes on, and comes to its end. */
bool
exchange_reserve_growing(struct exchange *exchange, uint64_t bytes, uint64_t cap)
{
	struct proxy *proxy = proxy_worker_of(exchange->worker)->proxy;
	uint64_t budget = exchange_budget(exchange);
	uint64_t limit = budget - cap > budget / 2 ? budget - cap : budget / 2;
	uint64_t before;

	if (exchange->is_grower)
		return exchange_reserve(exchange, bytes);
	before = atomic_fetch_add_explicit(&proxy->growing_bytes, bytes, memory_order_relaxed);
	if (before + bytes <= limit && exchange_reserve(exchange, bytes)) {
		exchange->growing_bytes += bytes;
		return true;
	}
	atomic_fetch_sub_explicit(&proxy->growing_bytes, bytes, memory_order_relaxed);
	exchange->is_grower = !atomic_exchange_explicit(&proxy->grower_taken, true, memory_order_relaxed);
	return exchange->is_grower && exchange_reserve(exchange, bytes);
}

void
exchange_stop_growing(struct exchange *exchange)
{
	struct proxy *proxy = proxy_worker_of(exchange->worker)->proxy;

	if (exchange->growing_bytes > 0)
		atomic_fetch_sub_explicit(&proxy->growing_bytes, exchange->growing_bytes, memory_order_relaxed);
	if (exchange->is_grower)
		atomic_store_explicit(&proxy->grower_taken, false, memory_order_relaxed);
	exchange->growing_bytes = 0;
	exchange->is_grower = false;
}

void
exchange_unreserve(struct exchange *exchange)
{
	struct proxy *proxy = proxy_worker_of(exchange->worker)->proxy;

	exchange_stop_growing(exchange);
	if (exchange->reserved_bytes == 0)
		return;
	atomic_fetch_sub_explicit(&proxy->buffered_bytes, exchange->reserved_bytes, memory_order_relaxed);
	exchange->reserved_bytes = 0;
}
