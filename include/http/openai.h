/* http/openai.h: what the events and bodies of the OpenAI wire mean to a balancer.
 *
 * Chat and completions streams send chunks ({"object":"chat.completion.chunk","choices":[…]}) and end in "[DONE]";
 * Responses streams send typed events and end in response.completed, .failed or .incomplete. Both may carry an error
 * inside a 200. These functions say what one event is, so that the relay can decide when a stream is committed, whether
 * it broke, and what it cost. Pure; safe from any thread; no allocation.
 */
#ifndef HTTP_OPENAI_H
#define HTTP_OPENAI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "http/sse.h"

enum openai_event_kind {
	OPENAI_EVENT_QUIET, /* nothing for the reader yet: role delta, prompt filter, created, queued, in_progress, keepalive */
	OPENAI_EVENT_CONTENT, /* content-bearing: commits the answer */
	OPENAI_EVENT_ERROR,   /* stands for a status: see error_status */
	OPENAI_EVENT_DONE,    /* data: [DONE] */
	OPENAI_EVENT_TERMINAL, /* response.completed, response.incomplete: the stream may end now (content-bearing as well) */
};

/* What a stream speaks, once an event has shown it. */
enum openai_dialect { OPENAI_DIALECT_UNKNOWN, OPENAI_DIALECT_CHUNKS, OPENAI_DIALECT_RESPONSES };

struct openai_usage {
	bool known;
	uint64_t prompt_tokens;
	uint64_t cached_tokens;
	uint64_t completion_tokens;
	uint64_t total_tokens;
};

struct openai_event {
	enum openai_event_kind kind;
	enum openai_dialect dialect; /* UNKNOWN when the event does not tell */
	unsigned error_status;       /* OPENAI_EVENT_ERROR: 429 for a code or type of 429, rate_limit_exceeded,
				      * too_many_requests; else 500 */
	bool response_failed; /* response.failed: an error that may be followed by an error event of the same cause */
	struct openai_usage usage;
};

/* Reads one event. Content-bearing are: a choice with non-empty content, text, refusal, tool_calls, function_call or
 * reasoning, or with a finish_reason; any response.* event but created, queued, in_progress and failed; any unknown
 * event but keepalive. Data with a truthy top-level "error", event type "error", {"type":"error"} and response.failed are
 * errors. */
void openai_event_read(const struct sse_event *event, struct openai_event *out);

/* Whether an event of a stream that speaks the dialect, and has shown content before, surely says no more than that the
 * stream goes on: no error, no usage, no end. Such an event need not be read, which would cost ten times as much. */
bool openai_event_only_goes_on(const struct sse_event *event, enum openai_dialect dialect);

/* Reads "usage" of a whole JSON answer (chat, completions, embeddings: prompt_tokens, completion_tokens, total_tokens,
 * prompt_tokens_details.cached_tokens; Responses: input_tokens, output_tokens, input_tokens_details.cached_tokens).
 * usage->known says whether there was one. */
void openai_usage_read(struct slice json_body, struct openai_usage *usage);
/* The same from the last bytes of an answer too long to keep: looks for the last "usage" member in them. */
void openai_usage_read_tail(struct slice tail, struct openai_usage *usage);

/* The top-level error.code of a JSON error body, or empty. Raw, between its quotes; numbers as they are. */
struct slice openai_error_code(struct slice json_body);

#endif
