#include "admin/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/status.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/small_file.h"
#include "proxy/measure.h"

struct sum {
	uint64_t key;
	uint64_t value;
};

/* All counters of all workers; sorted by key once they have been added up. */
struct sums {
	struct sum *items;
	size_t count, capacity;
};

static void
collect(uint64_t key, uint64_t value, void *context)
{
	struct sums *sums = context;

	if (sums->count == sums->capacity) {
		sums->capacity = sums->capacity > 0 ? 2 * sums->capacity : 256;
		sums->items = memory_resize(sums->items, sums->capacity * sizeof(*sums->items));
	}
	sums->items[sums->count++] = (struct sum){ key, value };
}

static int
by_key(const void *left, const void *right)
{
	const struct sum *a = left, *b = right;

	return (a->key > b->key) - (a->key < b->key);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static void
write_header(struct buffer *out, const char *name, const char *type, const char *help)
{
	buffer_append_format(out, "# HELP aoai_lb_%s %s\n# TYPE aoai_lb_%s %s\n", name, help, name, type);
}

/* A label's value escapes backslash, quote and line feed. */
static void
write_label(struct buffer *out, const char *name, struct slice value, bool *any)
{
	buffer_append_format(out, "%s%s=\"", *any ? "," : "{", name);
	*any = true;
	for (size_t i = 0; i < value.length; i++) {
		char byte = value.data[i];
		size_t sequence = slice_utf8_sequence(slice_skip(value, i));

		if (sequence > 1) {
			buffer_append(out, value.data + i, sequence);
			i += sequence - 1;
		} else if (sequence == 0) { /* the format is UTF-8; and no two names may become one */
			buffer_append_format(out, "\\\\x%02x", (unsigned)(unsigned char)byte);
		} else if (byte == '\n')
			buffer_append_string(out, "\\n");
		else if (byte == '"' || byte == '\\')
			buffer_append_format(out, "\\%c", byte);
		else
			buffer_append_byte(out, byte);
	}
	buffer_append_byte(out, '"');
}

static void
write_u64(struct buffer *out, bool any, uint64_t value)
{
	buffer_append_format(out, "%s %llu\n", any ? "}" : "", (unsigned long long)value);
}

/* Milliseconds as seconds, exactly. */
static void
write_seconds(struct buffer *out, bool any, uint64_t value_ms)
{
	buffer_append_format(out, "%s %llu.%03u\n", any ? "}" : "", (unsigned long long)(value_ms / 1000),
	    (unsigned)(value_ms % 1000));
}

/* ---- counters --------------------------------------------------------------------------------------------------- */

enum part {
	PART_NONE,
	PART_CLIENT,
	PART_BACKEND,
	PART_FROM,
	PART_DEPLOYMENT,
	PART_CODE,
	PART_REASON,
	PART_TOKENS,
	PART_BUDGET
};

static struct slice
name_of(const struct deployment_table *table, unsigned number)
{
	return number == MEASURE_NONE ? SLICE_EMPTY : deployment_name(table, number);
}

static void
write_part(struct buffer *out, const struct proxy *proxy, enum part part, unsigned number, bool *any)
{
	static const char *const tokens[] = { "prompt", "cached", "completion" };
	char code[OUTCOME_NAME_SIZE];

	switch (part) {
	case PART_NONE:
		break;
	case PART_CLIENT:
		write_label(out, "client", name_of(proxy->tables.clients, number), any);
		break;
	case PART_BACKEND:
	case PART_FROM:
		write_label(out, part == PART_FROM ? "from" : "backend", name_of(proxy->tables.backends, number), any);
		break;
	case PART_DEPLOYMENT:
		write_label(out, "deployment", name_of(proxy->tables.deployments, number), any);
		break;
	case PART_CODE:
	case PART_REASON:
		write_label(out, part == PART_REASON ? "reason" : "code", slice_from(measure_code_name(number, code)),
		    any);
		break;
	case PART_TOKENS:
		write_label(out, "type", slice_from(tokens[number % ARRAY_COUNT(tokens)]), any);
		break;
	case PART_BUDGET:
		write_label(out, "budget", number == BUDGET_UNSAFE ? SLICE("unsafe") : SLICE("safe"), any);
		break;
	}
}

static const struct counter {
	enum measure_family family;
	const char *name, *help;
	enum part parts[4];
	bool in_ms;
} counters[] = {
	{ MEASURE_REQUESTS, "requests_total", "Requests by the status that the caller got.",
	    { PART_CLIENT, PART_DEPLOYMENT, PART_CODE }, false },
	{ MEASURE_ATTEMPTS, "attempts_total", "Attempts on backends by how they ended.",
	    { PART_BACKEND, PART_DEPLOYMENT, PART_CODE }, false },
	{ MEASURE_THROTTLED, "throttled_total", "Attempts that a backend answered with 429, or inside its stream.",
	    { PART_BACKEND, PART_DEPLOYMENT }, false },
	{ MEASURE_SPILLOVERS, "spillovers_total",
	    "Answers that Azure served from another deployment, since this one's quota was spent.",
	    { PART_BACKEND, PART_DEPLOYMENT }, false },
	{ MEASURE_FAILOVERS, "failovers_total", "Requests that went on with another backend after this one failed.",
	    { PART_FROM, PART_REASON }, false },
	{ MEASURE_RETRIES, "retries_total",
	    "Attempts that followed a failed one: which the backend surely did not execute (safe), or maybe did "
	    "(unsafe).",
	    { PART_BUDGET }, false },
	{ MEASURE_COOLDOWN, "cooldown_seconds_total", "Time that backends were or are left alone.",
	    { PART_BACKEND, PART_DEPLOYMENT }, true },
	{ MEASURE_TOKENS, "tokens_total", "Tokens as the answers say; cached ones are part of the prompt's.",
	    { PART_CLIENT, PART_BACKEND, PART_DEPLOYMENT, PART_TOKENS }, false },
	{ MEASURE_DISCONNECTS, "client_disconnects_total", "Callers that left before their answer was whole.",
	    { PART_NONE }, false },
};

/* The first of the sorted sums that belongs to the family, or their end. */
static size_t
first_of(const struct sums *sums, enum measure_family family)
{
	size_t at = 0;

	while (at < sums->count && sums->items[at].key < measure_key(family, 0, 0, 0, 0))
		at++;
	return at;
}

static bool
is_of(const struct sums *sums, size_t at, enum measure_family family)
{
	return at < sums->count && sums->items[at].key >> 4 * MEASURE_BITS == (uint64_t)family;
}

static void
write_counter(struct buffer *out, const struct proxy *proxy, const struct sums *sums, const struct counter *counter)
{
	size_t at = first_of(sums, counter->family);
	char name[48];

	write_header(out, counter->name, "counter", counter->help);
	if (counter->parts[0] == PART_NONE && !is_of(sums, at, counter->family)) {
		buffer_append_format(out, "aoai_lb_%s 0\n", counter->name);
		return;
	}
	for (; is_of(sums, at, counter->family); at++) {
		bool any = false;

		snprintf(name, sizeof(name), "aoai_lb_%s", counter->name);
		buffer_append_string(out, name);
		for (unsigned i = 0; i < ARRAY_COUNT(counter->parts); i++)
			write_part(out, proxy, counter->parts[i], measure_part(sums->items[at].key, i), &any);
		if (counter->in_ms)
			write_seconds(out, any, sums->items[at].value);
		else
			write_u64(out, any, sums->items[at].value);
	}
}

/* ---- histograms ------------------------------------------------------------------------------------------------- */

static const struct histogram {
	enum measure_family family;
	const char *name, *help;
	enum part part;
} histograms[] = {
	{ MEASURE_REQUEST_SECONDS, "request_duration_seconds", "From a request's head to the end of its answer.",
	    PART_DEPLOYMENT },
	{ MEASURE_FIRST_EVENT_SECONDS, "time_to_first_event_seconds",
	    "From a request's head to the first content-bearing event of its stream.", PART_DEPLOYMENT },
	{ MEASURE_ATTEMPT_SECONDS, "attempt_duration_seconds", "From an attempt's begin to its end.", PART_BACKEND },
};

/* One name's buckets, which lie side by side among the sums. Returns where the next one's begin. */
static size_t
write_series(struct buffer *out, const struct proxy *proxy, const struct sums *sums, size_t at,
    const struct histogram *histogram)
{
	unsigned name = measure_part(sums->items[at].key, 0);
	uint64_t counts[MEASURE_BOUNDS + 1] = { 0 }, total_ms = 0, below = 0;
	bool any;

	for (; is_of(sums, at, histogram->family) && measure_part(sums->items[at].key, 0) == name; at++) {
		unsigned bucket = measure_part(sums->items[at].key, 3);

		if (bucket == MEASURE_SUM)
			total_ms = sums->items[at].value;
		else if (bucket <= MEASURE_BOUNDS)
			counts[bucket] = sums->items[at].value;
	}
	for (unsigned i = 0; i <= MEASURE_BOUNDS; i++) {
		char bound[24] = "+Inf";

		below += counts[i];
		any = false;
		if (i < MEASURE_BOUNDS)
			snprintf(bound, sizeof(bound), "%g", measure_bounds_ms[i] / 1000.0);
		buffer_append_format(out, "aoai_lb_%s_bucket", histogram->name);
		write_part(out, proxy, histogram->part, name, &any);
		write_label(out, "le", slice_from(bound), &any);
		write_u64(out, any, below);
	}
	any = false;
	buffer_append_format(out, "aoai_lb_%s_sum", histogram->name);
	write_part(out, proxy, histogram->part, name, &any);
	write_seconds(out, any, total_ms);
	any = false;
	buffer_append_format(out, "aoai_lb_%s_count", histogram->name);
	write_part(out, proxy, histogram->part, name, &any);
	write_u64(out, any, below);
	return at;
}

static void
write_histogram(struct buffer *out, const struct proxy *proxy, const struct sums *sums,
    const struct histogram *histogram)
{
	size_t at = first_of(sums, histogram->family);

	write_header(out, histogram->name, "histogram", histogram->help);
	while (is_of(sums, at, histogram->family))
		at = write_series(out, proxy, sums, at, histogram);
}

/* ---- the sums --------------------------------------------------------------------------------------------------- */

static enum part
part_of(enum measure_family family, unsigned n)
{
	for (size_t i = 0; i < ARRAY_COUNT(counters); i++) {
		if (counters[i].family == family)
			return counters[i].parts[n];
	}
	for (size_t i = 0; i < ARRAY_COUNT(histograms); i++) {
		if (histograms[i].family == family && n == 0)
			return histograms[i].part;
	}
	return PART_NONE;
}

/* Whoever is really called "other" is counted with those that have no number: one label, one sample. */
static void
join_others(const struct proxy *proxy, uint64_t *key)
{
	const struct deployment_table *const tables[] = {
		[PART_CLIENT] = proxy->tables.clients,
		[PART_BACKEND] = proxy->tables.backends,
		[PART_FROM] = proxy->tables.backends,
		[PART_DEPLOYMENT] = proxy->tables.deployments,
	};

	for (unsigned n = 0; n < 4; n++) {
		enum part part = part_of((enum measure_family)(*key >> 4 * MEASURE_BITS), n);
		unsigned number = measure_part(*key, n);

		if (part != PART_NONE && part <= PART_DEPLOYMENT && number != MEASURE_NONE &&
		    slice_equals(deployment_name(tables[part], number), SLICE("other")))
			*key &= ~((uint64_t)MEASURE_NONE << (3 - n) * MEASURE_BITS);
	}
}

static void
gather(const struct proxy *proxy, struct sums *sums)
{
	size_t kept = 0;

	for (unsigned i = 0; i < proxy->worker_count; i++)
		counters_each(proxy_worker_of(proxy->workers[i])->counters, collect, sums);
	if (sums->count == 0)
		return;
	for (size_t i = 0; i < sums->count; i++)
		join_others(proxy, &sums->items[i].key);
	qsort(sums->items, sums->count, sizeof(*sums->items), by_key);
	for (size_t i = 1; i < sums->count; i++) {
		if (sums->items[i].key == sums->items[kept].key)
			sums->items[kept].value += sums->items[i].value;
		else
			sums->items[++kept] = sums->items[i];
	}
	sums->count = kept + 1;
}

/* ---- states ----------------------------------------------------------------------------------------------------- */

static void
write_plain(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
	write_header(out, name, type, help);
	buffer_append_format(out, "aoai_lb_%s %llu\n", name, (unsigned long long)value);
}

/* Backends as a whole have deployment="". */
static void
write_state_line(struct buffer *out, const char *name, const struct fleet *fleet, size_t backend,
    struct slice deployment)
{
	bool any = false;

	buffer_append_format(out, "aoai_lb_%s", name);
	write_label(out, "backend", slice_from(fleet->backends[backend].config->name), &any);
	write_label(out, "deployment", deployment, &any);
}

static void
write_states(struct buffer *out, const struct fleet *fleet, uint64_t now_ms, const char *name, const char *help,
    bool remaining)
{
	write_header(out, name, "gauge", help);
	for (size_t i = 0; i < fleet->count; i++) {
		for (unsigned number = 0; number < deployment_count(fleet->table); number++) {
			const struct rest *rest = &fleet->backends[i].state->whole;
			uint64_t until_ms;

			if (number > 0 && !status_shows(fleet, i, number, &rest))
				continue;
			until_ms = rest_until_ms(rest);
			write_state_line(out, name, fleet, i,
			    number > 0 ? deployment_name(fleet->table, number) : SLICE_EMPTY);
			if (remaining)
				write_seconds(out, true, until_ms > now_ms ? until_ms - now_ms : 0);
			else
				write_u64(out, true, rest_availability(rest, now_ms) == AVAILABLE);
		}
	}
}

/* What the backends' answers say is left; no line where they say nothing, or said it long ago. */
static void
write_tokens_left(struct buffer *out, const struct fleet *fleet, uint64_t now_ms)
{
	const char *name = "backend_remaining_tokens";

	write_header(out, name, "gauge",
	    "Tokens that a deployment's quota still has, less what was sent since; a quota group's are the same on "
	    "each of its backends.");
	for (size_t i = 0; i < fleet->count; i++) {
		for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
			const struct headroom *room = fleet_room(fleet, i, number);
			uint64_t left;

			if (room == NULL || !headroom_tokens_left(room, now_ms, &left))
				continue;
			write_state_line(out, name, fleet, i, deployment_name(fleet->table, number));
			write_u64(out, true, left);
		}
	}
}

static void
write_utilization(struct buffer *out, const struct fleet *fleet, uint64_t now_ms)
{
	const char *name = "backend_utilization_ratio";

	write_header(out, name, "gauge", "How full a provisioned deployment is; above 1 it refuses.");
	for (size_t i = 0; i < fleet->count; i++) {
		for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
			const struct headroom *room = fleet_room(fleet, i, number);
			uint32_t full;

			if (room == NULL || !headroom_utilisation(room, now_ms, &full))
				continue;
			write_state_line(out, name, fleet, i, deployment_name(fleet->table, number));
			buffer_append_format(out, "} %u.%04u\n", full / HEADROOM_FULL, full % HEADROOM_FULL);
		}
	}
}

static void
write_in_flight(struct buffer *out, const struct fleet *fleet)
{
	write_header(out, "backend_in_flight", "gauge", "Attempts under way.");
	for (size_t i = 0; i < fleet->count; i++) {
		bool any = false;

		buffer_append_string(out, "aoai_lb_backend_in_flight");
		write_label(out, "backend", slice_from(fleet->backends[i].config->name), &any);
		write_u64(out, any, rest_in_flight(&fleet->backends[i].state->whole));
	}
}

/* Backends that share an address share connections: these stand under the first of them. */
static bool
is_first_of_endpoint(const struct fleet *fleet, size_t backend)
{
	for (size_t i = 0; i < backend; i++) {
		if (fleet->backends[i].endpoint == fleet->backends[backend].endpoint)
			return false;
	}
	return true;
}

static void
write_connections(struct buffer *out, const struct fleet *fleet)
{
	static const char *const names[ENDPOINT_USES] = { [ENDPOINT_BUSY] = "busy", [ENDPOINT_IDLE] = "idle" };

	write_header(out, "upstream_connections", "gauge",
	    "Open connections to backends; those that share an address show them under the first.");
	for (size_t i = 0; i < fleet->count; i++) {
		if (!is_first_of_endpoint(fleet, i))
			continue;
		for (unsigned use = 0; use < ENDPOINT_USES; use++) {
			bool any = false;

			buffer_append_string(out, "aoai_lb_upstream_connections");
			write_label(out, "backend", slice_from(fleet->backends[i].config->name), &any);
			write_label(out, "state", slice_from(names[use]), &any);
			write_u64(out, any, endpoint_connections(fleet->backends[i].endpoint, (enum endpoint_use)use));
		}
	}
}

/* Backends with the same identity show the same figures. */
static void
write_tokens(struct buffer *out, const struct fleet *fleet)
{
	static const char *const results[] = { "error", "ok" };

	write_header(out, "token_refreshes_total", "counter", "Fetches of the backend's access token.");
	for (size_t i = 0; i < fleet->count; i++) {
		struct identity_counts counts;

		if (fleet->backends[i].identity == NULL)
			continue;
		counts = identity_counts(fleet->backends[i].identity);
		for (unsigned ok = 0; ok < ARRAY_COUNT(results); ok++) {
			bool any = false;

			buffer_append_string(out, "aoai_lb_token_refreshes_total");
			write_label(out, "backend", slice_from(fleet->backends[i].config->name), &any);
			write_label(out, "result", slice_from(results[ok]), &any);
			write_u64(out, any, ok ? counts.ok : counts.error);
		}
	}
}

/* ---- the process ------------------------------------------------------------------------------------------------ */

static uint64_t
resident_bytes(void)
{
	char text[128];
	struct slice sizes = small_file_read("/proc/self/statm", text, sizeof(text));
	ptrdiff_t space = slice_find(sizes, SLICE(" "));
	struct slice resident;
	uint64_t pages = 0;

	if (space < 0)
		return 0;
	resident = slice_skip(sizes, (size_t)space + 1);
	space = slice_find(resident, SLICE(" "));
	if (space >= 0)
		resident.length = (size_t)space;
	return slice_to_u64(resident, &pages) ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t
open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (directory == NULL)
		return 0;
	while (readdir(directory) != NULL)
		count++;
	(void)closedir(directory);
	return count > 3 ? count - 3 : 0; /* ".", ".." and the directory's own */
}

static void
write_process(struct buffer *out, int64_t started_unix_ms)
{
	struct rusage usage;
	uint64_t cpu_ms = 0;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		cpu_ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
		    (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
	/* These have the names that every process's have, without the prefix. */
	buffer_append_format(out,
	    "# HELP process_resident_memory_bytes Resident memory.\n# TYPE process_resident_memory_bytes gauge\n"
	    "process_resident_memory_bytes %llu\n"
	    "# HELP process_cpu_seconds_total User and system time.\n# TYPE process_cpu_seconds_total counter\n"
	    "process_cpu_seconds_total %llu.%03u\n"
	    "# HELP process_open_fds Open descriptors.\n# TYPE process_open_fds gauge\nprocess_open_fds %llu\n"
	    "# HELP process_start_time_seconds When the process began, since the epoch.\n"
	    "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld.%03u\n",
	    (unsigned long long)resident_bytes(), (unsigned long long)(cpu_ms / 1000), (unsigned)(cpu_ms % 1000),
	    (unsigned long long)open_descriptors(), (long long)(started_unix_ms / 1000),
	    (unsigned)(started_unix_ms % 1000));
}

void
metrics_write(const struct proxy *proxy, int64_t started_unix_ms, uint64_t now_ms, struct buffer *out)
{
	const struct fleet *fleet = proxy->fleet;
	struct sums sums = { 0 };
	uint64_t lost = 0;

	gather(proxy, &sums);
	for (size_t i = 0; i < ARRAY_COUNT(counters); i++)
		write_counter(out, proxy, &sums, &counters[i]);
	for (size_t i = 0; i < ARRAY_COUNT(histograms); i++)
		write_histogram(out, proxy, &sums, &histograms[i]);
	free(sums.items);
	write_plain(out, "requests_in_flight", "gauge", "Requests that are not answered yet.",
	    atomic_load(&proxy->requests_in_flight));
	write_plain(out, "held_requests", "gauge", "Requests that wait for a throttled backend.",
	    atomic_load(&proxy->held_requests));
	write_states(out, fleet, now_ms, "backend_available",
	    "Whether the deployment, or with deployment=\"\" the backend as a whole, takes requests.", false);
	write_states(out, fleet, now_ms, "backend_cooldown_remaining_seconds", "How long it is still left alone.",
	    true);
	write_tokens_left(out, fleet, now_ms);
	write_utilization(out, fleet, now_ms);
	write_in_flight(out, fleet);
	write_connections(out, fleet);
	write_tokens(out, fleet);
	write_header(out, "config_reloads_total", "counter", "Reloads of the configuration.");
	buffer_append_format(out, "aoai_lb_config_reloads_total{result=\"failed\"} %llu\n",
	    (unsigned long long)proxy->reloads[false]);
	buffer_append_format(out, "aoai_lb_config_reloads_total{result=\"ok\"} %llu\n",
	    (unsigned long long)proxy->reloads[true]);
	write_plain(out, "log_lines_dropped_total", "counter", "Log lines that a slow stdout cost.", log_dropped());
	for (unsigned i = 0; i < proxy->worker_count; i++)
		lost += counters_lost(proxy_worker_of(proxy->workers[i])->counters);
	write_plain(out, "counts_lost_total", "counter", "What was not counted because too many names were in use.",
	    lost);
	write_header(out, "build_info", "gauge", "Always 1.");
	buffer_append_string(out, "aoai_lb_build_info{version=\"" AOAI_LB_VERSION "\"} 1\n");
	write_process(out, started_unix_ms);
}
