/* proxy/answer.h: answers that the daemon makes itself, and the fields that it adds to others. */
#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

struct exchange;

/* A whole answer of the daemon's own for this exchange: JSON error, with hints where wait_ms is not 0, and
 * x-should-retry: false where no_retry. Sends it and ends the exchange. */
void answer_error(struct exchange *exchange, unsigned status, const char *code, const char *message, uint64_t wait_ms,
    bool no_retry, uint64_t now_ms);
/* 200 with a body, for /healthz and the models list. */
void answer_ok(struct exchange *exchange, const char *content_type, struct slice body, uint64_t now_ms);
/* A kept error answer of a backend. */
void answer_kept(struct exchange *exchange, uint64_t wait_ms, uint64_t now_ms);

/* "HTTP/1.1 200 OK\r\n" */
void answer_write_status(struct buffer *out, unsigned status);
/* connection, hints, x-aoai-lb-*, x-request-id (unless has_request_id). backend: NULL for none. */
void answer_write_own_lines(struct exchange *exchange, struct buffer *out, const char *backend, bool has_request_id,
    bool close, uint64_t wait_ms, bool no_retry);

/* The error object, as bodies and stream events carry it. */
void answer_write_error_object(struct buffer *out, unsigned status, const char *code, const char *message);

#endif
