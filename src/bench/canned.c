#include "bench/canned.h"

#include <string.h>

#define SMALL_REQUEST_BYTES 2048U
#define SMALL_ANSWER_BYTES 1536U
#define LARGE_BYTES 40960U

static bool
read_stream_name(struct slice name, struct canned_call *out)
{
	struct slice rest = slice_skip(name, strlen("stream-"));
	ptrdiff_t dash = slice_find(rest, SLICE("-"));
	uint64_t events, gap_ms;

	if (dash < 0 || !slice_to_u64(slice_of(rest.data, (size_t)dash), &events) ||
	    !slice_to_u64(slice_skip(rest, (size_t)dash + 1), &gap_ms) || events > CANNED_EVENTS_MAX ||
	    gap_ms > CANNED_GAP_MAX_MS)
		return false;
	out->kind = CANNED_STREAM;
	out->events = (unsigned)events;
	out->gap_ms = (unsigned)gap_ms;
	return true;
}

bool
canned_read_name(struct slice name, struct canned_call *out)
{
	uint64_t number;

	*out = (struct canned_call){ .kind = CANNED_JSON, .name = name };
	if (name.length == 0 || name.length > CANNED_NAME_MAX_BYTES)
		return false;
	if (slice_equals(name, SLICE("json")) || (name.data[0] == 'd' && slice_to_u64(slice_skip(name, 1), &number)))
		return true;
	if (slice_equals(name, SLICE("request_40k")))
		out->kind = CANNED_REQUEST_40K;
	else if (slice_equals(name, SLICE("answer_40k")))
		out->kind = CANNED_ANSWER_40K;
	else
		return slice_starts_with(name, SLICE("stream-")) && read_stream_name(name, out);
	return true;
}

bool
canned_read_target(struct slice target, struct canned_call *out)
{
	struct slice prefix = SLICE("/openai/deployments/"), rest;
	ptrdiff_t end;

	if (!slice_starts_with(target, prefix))
		return false;
	rest = slice_skip(target, prefix.length);
	end = slice_find(rest, SLICE("/"));
	return end > 0 && canned_read_name(slice_of(rest.data, (size_t)end), out);
}

/* Appends before, so many x that the whole has so many bytes, and after. */
static void
append_padded(struct buffer *out, const char *before, const char *after, size_t bytes)
{
	size_t padding = bytes - strlen(before) - strlen(after);

	buffer_append_string(out, before);
	buffer_reserve(out, padding);
	memset(out->data + out->length, 'x', padding);
	out->length += padding;
	buffer_append_string(out, after);
}

static void
append_length(struct buffer *out, size_t bytes)
{
	buffer_append_string(out, "Content-Length: ");
	buffer_append_u64(out, bytes);
	buffer_append_string(out, "\r\n\r\n");
}

void
canned_write_request(const struct canned_call *call, struct buffer *out)
{
	size_t bytes = call->kind == CANNED_REQUEST_40K ? LARGE_BYTES : SMALL_REQUEST_BYTES;
	const char *after = call->kind == CANNED_STREAM ? "\"}],\"max_tokens\":200,\"stream\":true}"
							: "\"}],\"max_tokens\":200,\"stream\":false}";

	buffer_append_string(out, "POST /openai/deployments/");
	buffer_append_slice(out, call->name);
	buffer_append_string(out,
	    "/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n"
	    "Host: 127.0.0.1\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: *\r\n"
	    "Content-Type: application/json\r\nUser-Agent: AzureOpenAI/JS 6.9.0\r\n"
	    "api-key: 0123456789abcdef0123456789abcdef\r\nX-Stainless-Lang: js\r\n"
	    "X-Stainless-Package-Version: 6.9.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"
	    "X-Stainless-Runtime: node\r\nX-Stainless-Retry-Count: 0\r\n");
	append_length(out, bytes);
	append_padded(out,
	    "{\"messages\":[{\"role\":\"system\",\"content\":\"You answer "
	    "briefly.\"},{\"role\":\"user\",\"content\":\"",
	    after, bytes);
}

static size_t
answer_bytes(const struct canned_call *call)
{
	return call->kind == CANNED_ANSWER_40K ? LARGE_BYTES : SMALL_ANSWER_BYTES;
}

void
canned_write_head(const struct canned_call *call, struct buffer *out)
{
	bool is_stream = call->kind == CANNED_STREAM;

	buffer_append_string(out, "HTTP/1.1 200 OK\r\nContent-Type: ");
	buffer_append_string(out, is_stream ? "text/event-stream; charset=utf-8" : "application/json");
	buffer_append_string(out,
	    "\r\nCache-Control: no-cache, must-revalidate\r\napim-request-id: 5f0c3c5e-33b2-4c1a-9d8e\r\n"
	    "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n"
	    "X-Content-Type-Options: nosniff\r\nazureml-model-session: d042-20241113\r\nx-accel-buffering: no\r\n"
	    "x-ms-client-request-id: 5f0c3c5e-33b2-4c1a-9d8e\r\nx-ms-region: Sweden Central\r\n"
	    "x-ratelimit-remaining-requests: 99\r\nx-ratelimit-remaining-tokens: 9876\r\n"
	    "x-request-id: 0b8b1f3c-9d8e-4c1a\r\n");
	if (is_stream)
		buffer_append_string(out, "Transfer-Encoding: chunked\r\n\r\n");
	else
		append_length(out, answer_bytes(call));
}

void
canned_write_body(const struct canned_call *call, struct buffer *out)
{
	append_padded(out,
	    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1732000000,\"model\":\"gpt-4o-2024-11-"
	    "20\","
	    "\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"",
	    "\"}}],\"usage\":{\"prompt_tokens\":420,\"completion_tokens\":310,\"total_tokens\":730}}",
	    answer_bytes(call));
}

void
canned_write_event(const struct canned_call *call, unsigned event, struct buffer *out)
{
	if (event > call->events) {
		buffer_append_string(out, "data: [DONE]\n\n");
		return;
	}
	buffer_append_string(out,
	    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1732000000,"
	    "\"model\":\"gpt-4o-2024-11-20\",\"system_fingerprint\":\"fp_04751d0b65\",\"choices\":[{\"index\":0,");
	if (event == call->events) {
		buffer_append_string(out, "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
		return;
	}
	buffer_append_string(out, "\"delta\":{\"content\":\" token ");
	buffer_append_u64(out, event);
	buffer_append_string(out, "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
}

void
canned_write_refusal(unsigned status, unsigned wait_ms, struct buffer *out)
{
	static const char throttled[] =
	    "{\"error\":{\"code\":\"429\",\"message\":\"Requests have exceeded the token rate "
	    "limit. Please retry.\"}}";
	static const char failing[] = "{\"error\":{\"code\":\"503\",\"message\":\"The service is temporarily unable to "
				      "process your request.\"}}";
	const char *body = status == 429 ? throttled : failing;

	buffer_append_string(out,
	    status == 429 ? "HTTP/1.1 429 Too Many Requests\r\n" : "HTTP/1.1 503 Service Unavailable\r\n");
	buffer_append_string(out, "Content-Type: application/json\r\nx-ms-region: Sweden Central\r\n");
	buffer_append_string(out, "apim-request-id: 5f0c3c5e-33b2-4c1a-9d8e\r\nretry-after-ms: ");
	buffer_append_u64(out, wait_ms);
	buffer_append_string(out, "\r\n");
	append_length(out, strlen(body));
	buffer_append_string(out, body);
}
