/* What the daemon knows of its backends, for programs and for people. */
#include <stdio.h>

#include "admin/status.h"
#include "policy/hint.h"
#include "policy/state.h"

/* One thing that may rest, in words. */
struct condition {
	const char *state;
	char reason[160];
	uint64_t remaining_ms;
	uint32_t in_flight;
};

static const char *
resting_state(enum rest_reason reason)
{
	switch (reason) {
	case REST_THROTTLED:
		return "cooling";
	case REST_CREDENTIALS:
	case REST_MISSING_DEPLOYMENT:
		return "misconfigured";
	case REST_NONE:
	case REST_SERVER_ERROR:
	case REST_UNREACHABLE:
	case REST_NO_TOKEN:
		break;
	}
	return "ejected";
}

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

	*out = (struct condition){ .state = "available", .in_flight = rest_in_flight(rest) };
	if (availability == AVAILABLE || reason == REST_NONE)
		return; /* REST_NONE: it has recovered between two looks */
	out->state = availability == RESTING ? resting_state(reason) : "probing";
	out->remaining_ms = until_ms > now_ms ? until_ms - now_ms : 0;
	snprintf(out->reason, sizeof(out->reason), "%s%s%s%s%s",
	    availability == PROBING         ? "one request is trying it; it rested: "
		: availability == PROBE_DUE ? "the next request tries it; it rested: "
					    : "",
	    rest_reason_name(reason), reason == REST_THROTTLED ? ", by " : "",
	    reason == REST_THROTTLED ? hint_source_name(source) : "", remedy(reason));
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
	return atomic_load_explicit(&(*rest)->word, memory_order_relaxed) != 0 || rest_in_flight(*rest) > 0 ||
	    number >= fleet->served_rows;
}

static void
append_member(struct buffer *out, const char *name, const char *value)
{
	buffer_append_format(out, "\"%s\":\"", name);
	buffer_append_json_text(out, slice_from(value));
	buffer_append_byte(out, '"');
}

static void
write_deployments(const struct fleet *fleet, size_t backend, uint64_t now_ms, struct buffer *out)
{
	bool first = true;

	for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
		struct condition condition;
		const struct rest *rest;

		if (!status_shows(fleet, backend, number, &rest))
			continue;
		read_condition(rest, now_ms, &condition);
		buffer_append_string(out, first ? "{\"name\":\"" : ",{\"name\":\"");
		first = false;
		buffer_append_json_text(out, deployment_name(fleet->table, number));
		buffer_append_string(out, "\",");
		append_member(out, "state", condition.state);
		buffer_append_byte(out, ',');
		append_member(out, "reason", condition.reason);
		buffer_append_format(out, ",\"cooldown_remaining_ms\":%llu,\"in_flight\":%u}",
		    (unsigned long long)condition.remaining_ms, condition.in_flight);
	}
}

void
status_write_json(const struct proxy *proxy, uint64_t started_ms, uint64_t now_ms, struct buffer *out)
{
	const struct fleet *fleet = proxy->fleet;

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
		append_member(out, "state", condition.state);
		buffer_append_byte(out, ',');
		append_member(out, "reason", condition.reason);
		buffer_append_format(out, ",\"cooldown_remaining_ms\":%llu,\"in_flight\":%u,",
		    (unsigned long long)condition.remaining_ms, condition.in_flight);
		append_member(out, "last_error", error);
		buffer_append_string(out, ",\"deployments\":[");
		write_deployments(fleet, i, now_ms, out);
		buffer_append_string(out, "]}");
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

/* One backend: name, address, its own state, its last error; then its deployments. */
static void
write_card(const struct fleet *fleet, size_t at, uint64_t now_ms, struct buffer *out)
{
	const struct fleet_backend *backend = &fleet->backends[at];
	struct condition condition;
	char error[BACKEND_ERROR_SIZE];
	const struct rest *rest;

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
	buffer_append_string(out, "<dl>\n");
	for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
		if (!status_shows(fleet, at, number, &rest))
			continue;
		read_condition(rest, now_ms, &condition);
		buffer_append_string(out, "<dt>");
		append_escaped(out, deployment_name(fleet->table, number));
		buffer_append_string(out, "</dt><dd>");
		write_condition(out, &condition);
		buffer_append_string(out, "</dd>\n");
	}
	buffer_append_string(out, "</dl></section>\n");
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

	buffer_append_string(out, page_head);
	buffer_append_format(out, "<p>Version %s, up for %llu s, %s, %u requests in flight.</p>\n", AOAI_LB_VERSION,
	    (unsigned long long)((now_ms - started_ms) / 1000), atomic_load(&proxy->draining) ? "draining" : "ready",
	    atomic_load(&proxy->requests_in_flight));
	for (size_t i = 0; i < fleet->count; i++)
		write_card(fleet, i, now_ms, out);
	buffer_append_string(out, "</body></html>\n");
}
