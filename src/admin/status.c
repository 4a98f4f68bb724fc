/* What the daemon knows of its backends, for programs and for people. */
#include <stdio.h>

#include "admin/status.h"
#include "policy/hint.h"
#include "policy/state.h"

/* One thing that may rest, in words. */
struct condition {
	const char *state;
	char reason[80];
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
		break;
	}
	return "ejected";
}

static void
read_condition(const struct rest *rest, uint64_t now_ms, struct condition *out)
{
	enum availability availability = rest_availability(rest, now_ms);
	enum hint_source source = (enum hint_source)atomic_load_explicit(&rest->hint_source, memory_order_relaxed);
	uint64_t until_ms = rest_until_ms(rest);

	*out = (struct condition){ .state = "available", .in_flight = rest_in_flight(rest) };
	if (availability == AVAILABLE)
		return;
	out->state = availability == RESTING ? resting_state(rest_reason(rest)) : "probing";
	out->remaining_ms = until_ms > now_ms ? until_ms - now_ms : 0;
	snprintf(out->reason, sizeof(out->reason), "%s%s%s", rest_reason_name(rest_reason(rest)),
	    rest_reason(rest) == REST_THROTTLED ? ", by " : "",
	    rest_reason(rest) == REST_THROTTLED ? hint_source_name(source) : "");
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
		buffer_append_format(out, ",\"in_flight\":%u,", condition.in_flight);
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

		if (byte == '<')
			buffer_append_string(out, "&lt;");
		else if (byte == '&')
			buffer_append_string(out, "&amp;");
		else if (byte == '"')
			buffer_append_string(out, "&quot;");
		else
			buffer_append_byte(out, byte);
	}
}

static void
write_row(struct buffer *out, struct slice backend, struct slice deployment, const struct condition *condition,
    const char *note)
{
	buffer_append_string(out, "<tr><td>");
	append_escaped(out, backend);
	buffer_append_string(out, "</td><td>");
	append_escaped(out, deployment);
	buffer_append_format(out, "</td><td class=\"%s\">%s", condition->state, condition->state);
	if (condition->remaining_ms > 0)
		buffer_append_format(out, " for %llu ms", (unsigned long long)condition->remaining_ms);
	if (condition->reason[0] != '\0')
		buffer_append_format(out, " (%s)", condition->reason);
	buffer_append_format(out, "</td><td>%u</td><td>", condition->in_flight);
	append_escaped(out, slice_from(note));
	buffer_append_string(out, "</td></tr>\n");
}

void
status_write_page(const struct proxy *proxy, uint64_t started_ms, uint64_t now_ms, struct buffer *out)
{
	const struct fleet *fleet = proxy->fleet;

	buffer_append_string(out,
	    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" "
	    "content=\"2\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
	    "<title>aoai-lb</title>\n<style>body{font:16px "
	    "system-ui,sans-serif;margin:2em}table{border-collapse:collapse}"
	    "td,th{padding:.3em 1em;border-bottom:1px solid #ccc;text-align:left}.available{color:#05620e}"
	    ".cooling,.probing{color:#7a4b00}.ejected,.misconfigured{color:#a80000}</style></head>\n<body><h1>aoai-lb</"
	    "h1>\n");
	buffer_append_format(out, "<p>Version %s, up for %llu s, %s, %u requests in flight.</p>\n", AOAI_LB_VERSION,
	    (unsigned long long)((now_ms - started_ms) / 1000), atomic_load(&proxy->draining) ? "draining" : "ready",
	    atomic_load(&proxy->requests_in_flight));
	buffer_append_string(out,
	    "<table><thead><tr><th>Backend</th><th>Deployment</th><th>State</th><th>In flight</th>"
	    "<th>Last error</th></tr></thead><tbody>\n");
	for (size_t i = 0; i < fleet->count; i++) {
		const struct fleet_backend *backend = &fleet->backends[i];
		struct slice name = slice_from(backend->config->name);
		struct condition condition;
		char error[BACKEND_ERROR_SIZE];

		read_condition(&backend->state->whole, now_ms, &condition);
		backend_state_error(backend->state, error);
		write_row(out, name, slice_from(backend->config->url), &condition, error);
		for (unsigned number = 1; number < deployment_count(fleet->table); number++) {
			const struct rest *rest;

			if (!status_shows(fleet, i, number, &rest))
				continue;
			read_condition(rest, now_ms, &condition);
			write_row(out, name, deployment_name(fleet->table, number), &condition, "");
		}
	}
	buffer_append_string(out, "</tbody></table></body></html>\n");
}
