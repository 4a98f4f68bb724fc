/* proxy/explain.h: how an answer came about, in one line: which backends were tried with what outcome, and which were
 * passed over and why. The header x-aoai-lb-attempts and the access line say the same.
 *
 *	openai1=skip:cooling(29999ms;retry-after-ms),openai2=429(12000ms),openai3=200,+4
 *
 * The "+4" at the end: so many more were left out, since the line was long enough. No backend's name holds a "+".
 *
 * Part of an exchange and its worker's; a zeroed struct is empty.
 */
#ifndef PROXY_EXPLAIN_H
#define PROXY_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "config/config.h"

/* Backends that were passed over are named until the line is so long; attempts (a held request may make many) until it is
 * twice as long. What succeeded is named in any case. Proxies in front want an answer's whole head in 4 KiB (nginx's
 * proxy_buffer_size), or call it a bad gateway. */
#define EXPLAIN_SKIPS_MAX_BYTES 1024U
#define EXPLAIN_ATTEMPTS_MAX_BYTES 2048U

struct explanation {
	struct buffer text;
	uint64_t passed_over[(CONFIG_BACKENDS_MAX + 63) / 64]; /* these have been said */
	unsigned left_out;
};

/* An attempt is over. outcome: in a word, or NULL for status, which is then the answer's; rest_ms: how long the backend
 * rests for it, 0: it does not. */
void explain_attempt(struct explanation *explanation, const char *name, const char *outcome, unsigned status,
    uint64_t rest_ms);

/* Why a backend was not asked. */
struct passed_over {
	const char *reason;  /* a word */
	uint64_t rest_ms;    /* for how long, 0: nobody knows */
	const char *because; /* what that comes from; NULL: the reason says it. Blanks become hyphens. */
};

/* A backend was passed over; said once for each. backend: its index. */
void explain_passed_over(struct explanation *explanation, size_t backend, const char *name,
    const struct passed_over *why);

/* The line of an explanation that was cut, with its mark. */
struct slice explain_cut_line(const struct explanation *explanation, struct buffer *scratch);
/* The line, empty where there is nothing to say. Borrowed: from the explanation, or from scratch, which is
 * an empty buffer that the caller frees; only a line that was cut needs it. */
static inline struct slice
explain_line(const struct explanation *explanation, struct buffer *scratch)
{
	return LIKELY(explanation->left_out == 0) ? buffer_slice(&explanation->text)
						  : explain_cut_line(explanation, scratch);
}

void explain_free(struct explanation *explanation);

#endif
