/* What the daemon knows of its backends, for programs and for people. */
#include <stdio.h>
#include <string.h>

#include "admin/status.h"
#include "policy/hint.h"
#include "policy/state.h"

/* One thing that may rest, in words. */
struct condition {
	const char *state;
	char reason[160];
	const char *hint; /* of a throttled one: where its wait was found, else "" */
	bool probed;      /* one request is trying it */
	uint64_t remaining_ms;
	uint32_t in_flight;
};

/* The deployments that one backend lists. */
struct listing {
	unsigned shown
	    [STATUS_NAMES_MAX]; /* numbers of names, the ones that rest or are busy first where some are left out */
	size_t shown_count;
	unsigned unserved[STATUS_NAMES_MAX]; /* … that others serve and it does not */
	size_t unserved_count;
	size_t left_out; /* of both */
};

/* What an operator has to mend. */
static const char *
remedy(enum rest_reason reason)
{
	if (reason == REST_CREDENTIALS)
		return " (check the auth of this backend)";
	if (reason == REST_MISSING_DEPLOYMENT)
		return " (create it there, or correct the deployments of this backend)";
	return "";
}

static void
read_condition(const struct rest *rest, uint64_t now_ms, struct condition *out)
{
	enum availability availability = rest_availability(rest, now_ms);
	enum hint_source source = (enum hint_source)atomic_load_explicit(&rest->hint_source, memory_order_relaxed);
	enum rest_reason reason = rest_reason(rest);
	uint64_t until_ms = rest_until_ms(rest);

	*out = (struct condition){
		.state = rest_state_name(availability, reason),
		.hint = "",
		.in_flight = rest_in_flight(rest),
	};
	if (availability == AVAILABLE || reason == REST_NONE)
		return; /* REST_NONE: it has recovered between two looks */
	out->probed = availability == PROBING;
	out->remaining_ms = until_ms > now_ms ? until_ms - now_ms : 0;
	if (reason == REST_THROTTLED)
		out->hint = hint_source_name(source);
	snprintf(out->reason, sizeof(out->reason), "%s%s%s%s%s",
	    availability == PROBING         ? "one request is trying it; it rested: "
		: availability == PROBE_DUE ? "the next request tries it; it rested: "
					    : "",
	    rest_reason_name(reason), reason == REST_THROTTLED ? ", by " : "", out->hint, remedy(reason));
}

/* A deployment's condition, which is also what is known of its room. */
static void
read_deployment(const struct rest *rest, const struct headroom *room, uint64_t now_ms, struct condition *out)
{
	read_condition(rest, now_ms, out);
	if (out->reason[0] != '\0' || headroom_fits(room, 1, now_ms))
		return;
	snprintf(out->reason, sizeof(out->reason), "no headroom: it would %s",
	    headroom_spills(room, now_ms) ? "spill over to another deployment" : "answer 429");
}

bool
status_shows(const struct fleet *fleet, size_t backend, unsigned number, const struct rest **rest)
{
	uint16_t own = fleet_serves(fleet, backend, number);
	struct slice mapped, name = deployment_name(fleet->table, number);
	const struct config_backend *config = fleet->backends[backend].config;

	if (own == FLEET_NOT_SERVED || own == DEPLOYMENT_OTHER)
		return false;
	*rest = &fleet->backends[backend].state->deployments[own];
	if (config->wildcard == NULL && config->has_map)
		return config_map_deployment(config, name, &mapped);
	/* Without a map, what was ever sent shows what is called; all names that a "*" takes share one count. */
	return atomic_load_explicit(&(*rest)->word, memory_order_relaxed) != 0 || rest_in_flight(*rest) > 0 ||
	    number >= fleet->served_rows ||
	    (!config->has_map &&
		atomic_load_explicit(&fleet_room(fleet, backend, number)->tokens_sent, memory_order_relaxed) != 0);
}

/* The names that some backend shows: those that callers use. */
static void
find_called(const struct fleet *fleet, bool called[DEPLOYMENTS_MAX])
{
	const struct rest *rest;

	memset(called, 0, DEPLOYMENTS_MAX * sizeof(*called)); /* names may be learned meanwhile */
	for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
		for (size_t i = 0; i < fleet->count && !called[number]; i++)
			called[number] = status_shows(fleet, i, number, &rest);
	}
}

/* How many names one backend may list. */
static size_t
names_each(const struct fleet *fleet)
{
	size_t share = STATUS_NAMES_MAX / (fleet->count > 0 ? fleet->count : 1);

	return share > STATUS_NAMES_EACH_MIN ? share : STATUS_NAMES_EACH_MIN;
}

/* Adds the shown names that are remarkable (they rest or are busy), or the others. */
static void
list_shown(const struct fleet *fleet, size_t backend, size_t most, bool remarkable, struct listing *out)
{
	const struct rest *rest;

	for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
		if (!status_shows(fleet, backend, number, &rest))
			continue;
		bool is_remarkable =
		    atomic_load_explicit(&rest->word, memory_order_relaxed) != 0 || rest_in_flight(rest) > 0;

		if (is_remarkable == remarkable && out->shown_count < most)
			out->shown[out->shown_count++] = number;
	}
}

static void
make_listing(const struct fleet *fleet, size_t backend, const bool *called, struct listing *out)
{
	size_t most = names_each(fleet), shown = 0, unserved = 0;
	const struct rest *rest;

	out->shown_count = out->unserved_count = 0;
	for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
		if (status_shows(fleet, backend, number, &rest)) {
			if (++shown <= most)
				out->shown[out->shown_count++] = number;
		} else if (called[number] && fleet_serves(fleet, backend, number) == FLEET_NOT_SERVED) {
			if (++unserved <= most)
				out->unserved[out->unserved_count++] = number;
		}
	}
	if (shown > most) {
		out->shown_count = 0;
		list_shown(fleet, backend, most, true, out);
		list_shown(fleet, backend, most, false, out);
	}
	out->left_out = shown - out->shown_count + unserved - out->unserved_count;
}

static void
append_member(struct buffer *out, const char *name, const char *value)
{
	buffer_append_format(out, "\"%s\":\"", name);
	buffer_append_json_text(out, slice_from(value));
	buffer_append_byte(out, '"');
}

/* The members that backends and deployments have in common. */
static void
write_members(const struct condition *condition, struct buffer *out)
{
	append_member(out, "state", condition->state);
	buffer_append_byte(out, ',');
	append_member(out, "reason", condition->reason);
	buffer_append_byte(out, ',');
	append_member(out, "hint", condition->hint);
	buffer_append_format(out, ",\"probe_under_way\":%s,\"cooldown_remaining_ms\":%llu,\"in_flight\":%u",
	    condition->probed ? "true" : "false", (unsigned long long)condition->remaining_ms, condition->in_flight);
}

/* null: unknown, which counts as room. */
static void
write_headroom(const struct headroom *room, uint64_t now_ms, struct buffer *out)
{
	uint64_t left;
	uint32_t full;

	buffer_append_string(out, ",\"headroom\":{\"tokens\":");
	if (headroom_tokens_left(room, now_ms, &left))
		buffer_append_u64(out, left);
	else
		buffer_append_string(out, "null");
	buffer_append_string(out, ",\"requests\":");
	if (headroom_requests_left(room, now_ms, &left))
		buffer_append_u64(out, left);
	else
		buffer_append_string(out, "null");
	buffer_append_string(out, ",\"utilization\":");
	if (headroom_utilisation(room, now_ms, &full))
		buffer_append_format(out, "%u.%04u}", full / HEADROOM_FULL, full % HEADROOM_FULL);
	else
		buffer_append_string(out, "null}");
}

/* What a listed deployment is like, and what is known of its room. */
static const struct headroom *
read_listed(const struct fleet *fleet, size_t backend, unsigned number, uint64_t now_ms, struct condition *out)
{
	const struct headroom *room = fleet_room(fleet, backend, number);
	const struct rest *rest;

	(void)status_shows(fleet, backend, number, &rest);
	read_deployment(rest, room, now_ms, out);
	return room;
}

static void
write_deployments(const struct fleet *fleet, size_t backend, const struct listing *listing, uint64_t now_ms,
    struct buffer *out)
{
	buffer_append_string(out, ",\"deployments\":[");
	for (size_t i = 0; i < listing->shown_count; i++) {
		struct condition condition;
		const struct headroom *room = read_listed(fleet, backend, listing->shown[i], now_ms, &condition);

		buffer_append_string(out, i == 0 ? "{\"name\":\"" : ",{\"name\":\"");
		buffer_append_json_text(out, deployment_name(fleet->table, listing->shown[i]));
		buffer_append_string(out, "\",");
		write_members(&condition, out);
		write_headroom(room, now_ms, out);
		buffer_append_byte(out, '}');
	}
	buffer_append_string(out, "],\"not_serving\":[");
	for (size_t i = 0; i < listing->unserved_count; i++) {
		buffer_append_string(out, i == 0 ? "\"" : ",\"");
		buffer_append_json_text(out, deployment_name(fleet->table, listing->unserved[i]));
		buffer_append_byte(out, '"');
	}
	buffer_append_format(out, "],\"left_out\":%zu", listing->left_out);
}

void
status_write_json(const struct proxy *proxy, uint64_t started_ms, uint64_t now_ms, struct buffer *out)
{
	const struct fleet *fleet = proxy->fleet;
	bool called[DEPLOYMENTS_MAX];
	struct listing listing;

	find_called(fleet, called);
	buffer_append_format(out,
	    "{\"version\":\"%s\",\"uptime_ms\":%llu,\"ready\":%s,\"requests_in_flight\":%u,\"backends\":[",
	    AOAI_LB_VERSION, (unsigned long long)(now_ms - started_ms),
	    atomic_load(&proxy->draining) ? "false" : "true", atomic_load(&proxy->requests_in_flight));
	for (size_t i = 0; i < fleet->count; i++) {
		const struct fleet_backend *backend = &fleet->backends[i];
		struct condition condition;
		char error[BACKEND_ERROR_SIZE];

		read_condition(&backend->state->whole, now_ms, &condition);
		backend_state_error(backend->state, error);
		buffer_append_string(out, i > 0 ? ",{" : "{");
		append_member(out, "name", backend->config->name);
		buffer_append_byte(out, ',');
		append_member(out, "url", backend->config->url);
		buffer_append_format(out, ",\"priority\":%u,", backend->config->priority);
		write_members(&condition, out);
		buffer_append_byte(out, ',');
		append_member(out, "last_error", error);
		make_listing(fleet, i, called, &listing);
		write_deployments(fleet, i, &listing, now_ms, out);
		buffer_append_byte(out, '}');
	}
	buffer_append_string(out, "]}\n");
}

static void
append_escaped(struct buffer *out, struct slice text)
{
	for (size_t i = 0; i < text.length; i++) {
		char byte = text.data[i];
		size_t sequence = slice_utf8_sequence(slice_skip(text, i));

		if (sequence != 1) { /* whole, or replaced where it is no UTF-8 */
			buffer_append(out, sequence > 0 ? text.data + i : "\xef\xbf\xbd", sequence > 0 ? sequence : 3);
			i += sequence > 0 ? sequence - 1 : 0;
			continue;
		}
		if (byte == '<')
			buffer_append_string(out, "&lt;");
		else if (byte == '&')
			buffer_append_string(out, "&amp;");
		else if (byte == '"')
			buffer_append_string(out, "&quot;");
		else if (byte == '\'')
			buffer_append_string(out, "&#39;");
		else
			buffer_append_byte(out, byte);
	}
}

/* How long, for people: "12.3 s". */
static void
append_span(struct buffer *out, uint64_t span_ms)
{
	buffer_append_format(out, "%llu.%llu s", (unsigned long long)(span_ms / 1000),
	    (unsigned long long)(span_ms % 1000 / 100));
}

static void
write_condition(struct buffer *out, const struct condition *condition)
{
	buffer_append_format(out, "<b class=\"%s\">%s", condition->state, condition->state);
	if (condition->remaining_ms > 0) {
		buffer_append_string(out, " for ");
		append_span(out, condition->remaining_ms);
	}
	buffer_append_string(out, "</b>");
	if (condition->reason[0] != '\0') {
		buffer_append_byte(out, ' ');
		append_escaped(out, slice_from(condition->reason));
	}
	if (condition->in_flight > 0)
		buffer_append_format(out, " <i>%u in flight</i>", condition->in_flight);
}

/* What is known of a deployment's room, for people. */
static void
write_room(struct buffer *out, const struct headroom *room, uint64_t now_ms)
{
	uint64_t left;
	uint32_t full;

	if (headroom_tokens_left(room, now_ms, &left))
		buffer_append_format(out, " <i>%llu tokens left</i>", (unsigned long long)left);
	if (headroom_requests_left(room, now_ms, &left))
		buffer_append_format(out, " <i>%llu requests left</i>", (unsigned long long)left);
	if (headroom_utilisation(room, now_ms, &full))
		buffer_append_format(out, " <i>%u.%u %% used</i>", full / 100, full % 100 / 10);
}

static void
write_list(const struct fleet *fleet, size_t backend, const struct listing *listing, uint64_t now_ms,
    struct buffer *out)
{
	buffer_append_string(out, "<dl>\n");
	for (size_t i = 0; i < listing->shown_count; i++) {
		struct condition condition;
		const struct headroom *room = read_listed(fleet, backend, listing->shown[i], now_ms, &condition);

		buffer_append_string(out, "<dt>");
		append_escaped(out, deployment_name(fleet->table, listing->shown[i]));
		buffer_append_string(out, "</dt><dd>");
		write_condition(out, &condition);
		write_room(out, room, now_ms);
		buffer_append_string(out, "</dd>\n");
	}
	buffer_append_string(out, "</dl>");
	for (size_t i = 0; i < listing->unserved_count; i++) {
		buffer_append_string(out, i == 0 ? "<p>not serving " : ", ");
		append_escaped(out, deployment_name(fleet->table, listing->unserved[i]));
	}
	if (listing->unserved_count > 0)
		buffer_append_string(out, "</p>");
	if (listing->left_out > 0)
		buffer_append_format(out, "<p>… and %zu more</p>", listing->left_out);
}

/* One backend: name, address, its own state, its last error; then its deployments. */
static void
write_card(const struct fleet *fleet, size_t at, const struct listing *listing, uint64_t now_ms, struct buffer *out)
{
	const struct fleet_backend *backend = &fleet->backends[at];
	struct condition condition;
	char error[BACKEND_ERROR_SIZE];

	buffer_append_string(out, "<section><h2>");
	append_escaped(out, slice_from(backend->config->name));
	buffer_append_format(out, " <small>priority %u</small></h2><p class=\"url\">", backend->config->priority);
	append_escaped(out, slice_from(backend->config->url));
	buffer_append_string(out, "</p><p>");
	read_condition(&backend->state->whole, now_ms, &condition);
	write_condition(out, &condition);
	buffer_append_string(out, "</p>\n");
	backend_state_error(backend->state, error);
	if (error[0] != '\0') {
		buffer_append_string(out, "<p>last error: ");
		append_escaped(out, slice_from(error));
		buffer_append_string(out, "</p>\n");
	}
	write_list(fleet, at, listing, now_ms, out);
	buffer_append_string(out, "</section>\n");
}

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>aoai-lb</title>\n<style>"
    ":root{color-scheme:light dark}body{font:16px/1.4 system-ui,sans-serif;margin:1em auto;max-width:60em;padding:0 "
    "1em}"
    "h1{margin:0}h2{margin:0;font-size:1.1em}small,i,.url{opacity:.7;font-weight:normal;font-style:normal}"
    "p{margin:.2em 0;overflow-wrap:anywhere}section{border:1px solid #8886;border-radius:.5em;padding:.7em "
    "1em;margin:1em 0}"
    "dl{display:grid;grid-template-columns:minmax(8em,1fr) 3fr;gap:.2em 1em;margin:.5em 0 0}"
    "dt,dd{margin:0;overflow-wrap:anywhere}@media(max-width:30em){dl{display:block}dd{margin:0 0 .4em 1em}}"
    ".available{color:light-dark(#05620e,#6fdc7a)}.cooling,.probing{color:light-dark(#7a4b00,#ffbe55)}"
    ".ejected,.misconfigured{color:light-dark(#a80000,#ff8a80)}</style></head>\n<body><h1>aoai-lb</h1>\n";

void
status_write_page(const struct proxy *proxy, uint64_t started_ms, uint64_t now_ms, struct buffer *out)
{
	const struct fleet *fleet = proxy->fleet;
	bool called[DEPLOYMENTS_MAX];
	struct listing listing;

	find_called(fleet, called);
	buffer_append_string(out, page_head);
	buffer_append_format(out, "<p>Version %s, up for %llu s, %s, %u requests in flight.</p>\n", AOAI_LB_VERSION,
	    (unsigned long long)((now_ms - started_ms) / 1000), atomic_load(&proxy->draining) ? "draining" : "ready",
	    atomic_load(&proxy->requests_in_flight));
	for (size_t i = 0; i < fleet->count; i++) {
		make_listing(fleet, i, called, &listing);
		write_card(fleet, i, &listing, now_ms, out);
	}
	buffer_append_string(out, "</body></html>\n");
}
