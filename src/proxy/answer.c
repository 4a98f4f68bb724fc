#include "proxy/answer.h"

#include <stdio.h>

#include "base/log.h"
#include "http/framing.h"
#include "http/reason.h"
#include "policy/hint.h"
#include "proxy/client.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"

void
answer_write_status(struct buffer *out, unsigned status)
{
	buffer_append_string(out, "HTTP/1.1 ");
	buffer_append_u64(out, status);
	buffer_append_byte(out, ' ');
	buffer_append_string(out, reason_phrase(status));
	buffer_append_string(out, "\r\n");
}

static void
append_hex(struct buffer *out, uint64_t value)
{
	static const char digits[] = "0123456789abcdef";
	char text[16];

	for (unsigned i = 0; i < 16; i++)
		text[i] = digits[value >> (60 - 4 * i) & 15];
	buffer_append(out, text, sizeof(text));
}

static void
append_request_id(struct exchange *exchange, struct buffer *out)
{
	struct proxy_worker *own = proxy_worker_of(exchange->worker);

	buffer_append_string(out, "x-request-id: ");
	append_hex(out, random_next(&exchange->worker->random));
	append_hex(out, own->request_prefix++);
	buffer_append_string(out, "\r\n");
}

void
answer_write_own_lines(struct exchange *exchange, struct buffer *out, const char *backend, bool has_request_id,
    bool close, uint64_t wait_ms, bool no_retry)
{
	struct buffer cut = { 0 };
	struct slice attempts;

	if (wait_ms > 0) {
		buffer_append_string(out, "retry-after-ms: ");
		buffer_append_u64(out, hint_for_caller_ms(wait_ms));
		buffer_append_string(out, "\r\nretry-after: ");
		buffer_append_u64(out, hint_for_caller_seconds(wait_ms));
		buffer_append_string(out, "\r\n");
	}
	if (no_retry)
		buffer_append_string(out, "x-should-retry: false\r\n");
	if (backend != NULL) {
		buffer_append_string(out, "x-aoai-lb-backend: ");
		buffer_append_string(out, backend);
		buffer_append_string(out, "\r\n");
	}
	attempts = explain_line(&exchange->explanation, &cut);
	if (attempts.length > 0) {
		buffer_append_string(out, "x-aoai-lb-attempts: ");
		buffer_append_slice(out, attempts);
		buffer_append_string(out, "\r\n");
	}
	buffer_free(&cut);
	if (!has_request_id)
		append_request_id(exchange, out);
	/* A draining daemon takes no further request on this connection. */
	if (exchange->client->close_after)
		exchange->keep_alive = false;
	if (close || !exchange->keep_alive)
		buffer_append_string(out, "connection: close\r\n");
	else if (exchange->http_1_0)
		buffer_append_string(out, "connection: keep-alive\r\n");
}

static const char *
error_type(unsigned status)
{
	if (status == 401)
		return "authentication_error";
	if (status == 403)
		return "permission_error";
	if (status == 429)
		return "rate_limit_error";
	return status >= 500 ? "server_error" : "invalid_request_error";
}

void
answer_write_error_object(struct buffer *out, unsigned status, const char *code, const char *message)
{
	buffer_append_string(out, "{\"error\":{\"code\":\"");
	buffer_append_json_text(out, slice_from(code));
	buffer_append_string(out, "\",\"message\":\"");
	buffer_append_json_text(out, slice_from(message));
	buffer_append_string(out, "\",\"type\":\"");
	buffer_append_string(out, error_type(status));
	buffer_append_string(out, "\",\"param\":null}}");
}

/* Finishes the head, sends it with the body, and ends the exchange. */
static void
send_whole(struct exchange *exchange, struct buffer *head, struct slice body, uint64_t now_ms)
{
	struct iovec parts[2];
	int count = 1;
	bool sent;

	buffer_append_string(head, "content-length: ");
	buffer_append_u64(head, body.length);
	buffer_append_string(head, "\r\n\r\n");
	exchange->first_byte_ms = now_ms;
	exchange->delimited = true;
	parts[0] = (struct iovec){ .iov_base = head->data, .iov_len = head->length };
	if (body.length > 0 && exchange->method != METHOD_HEAD) {
		parts[count++] = (struct iovec){ .iov_base = (void *)(uintptr_t)body.data, .iov_len = body.length };
		exchange->answer_bytes = body.length;
	}
	sent = client_send(exchange->client, parts, count, now_ms);
	buffer_free(head);
	if (sent)
		exchange_end(exchange);
	else
		client_leave(exchange->client, "the connection broke");
}

static void
begin(struct exchange *exchange, unsigned status, struct buffer *head)
{
	exchange_enter(exchange, ANSWERING);
	exchange->status = status;
	if (!exchange->body_complete)
		exchange->keep_alive = false;
	answer_write_status(head, status);
}

void
answer_error(struct exchange *exchange, unsigned status, const char *code, const char *message, uint64_t wait_ms,
    bool no_retry, uint64_t now_ms)
{
	struct buffer head = { 0 }, body = { 0 };

	begin(exchange, status, &head);
	answer_write_error_object(&body, status, code, message);
	buffer_append_string(&head, "content-type: application/json\r\n");
	if (status == 405)
		buffer_append_string(&head, "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
	answer_write_own_lines(exchange, &head, NULL, false, false, wait_ms, no_retry);
	send_whole(exchange, &head, buffer_slice(&body), now_ms);
	buffer_free(&body);
}

void
answer_ok(struct exchange *exchange, const char *content_type, struct slice body, uint64_t now_ms)
{
	struct buffer head = { 0 };

	begin(exchange, 200, &head);
	buffer_append_string(&head, "content-type: ");
	buffer_append_string(&head, content_type);
	buffer_append_string(&head, "\r\n");
	answer_write_own_lines(exchange, &head, NULL, false, false, 0, false);
	send_whole(exchange, &head, body, now_ms);
}

void
answer_kept(struct exchange *exchange, uint64_t wait_ms, uint64_t now_ms)
{
	struct kept_answer *kept = &exchange->kept;
	struct buffer head = { 0 }, body = { 0 };
	const char *backend = exchange->fleet->backends[kept->backend].config->name;
	bool hints = kept->status == 408 || kept->status >= 500;
	bool has_request_id = slice_find_nocase(buffer_slice(&kept->head_lines), SLICE("x-request-id:")) >= 0;

	begin(exchange, kept->status, &head);
	if (kept->complete) {
		buffer_append_slice(&head, buffer_slice(&kept->head_lines));
		body = kept->body;
		kept->body = (struct buffer){ 0 };
	} else {
		answer_write_error_object(&body, kept->status, "backend_error",
		    "The backend's error answer was cut short.");
		buffer_append_string(&head, "content-type: application/json\r\n");
		has_request_id = false;
	}
	answer_write_own_lines(exchange, &head, backend, has_request_id, false, hints ? wait_ms : 0,
	    kept->status == 504 || kept->status == 502);
	send_whole(exchange, &head, buffer_slice(&body), now_ms);
	buffer_free(&body);
}
