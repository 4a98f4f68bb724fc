/* identity/token_answer.h: what a token endpoint answered.
 *
 * Container Apps, App Service, the VM's metadata service and Entra ID differ in their details and agree in the main:
 * 200 and JSON with access_token, and an end in one of half a dozen spellings; or an error, as {error, error_description},
 * {error: {code, message}} or {message}. Pure; safe from any thread.
 *
 *	struct token_answer answer;
 *	token_answer_read(status, body, now_unix_ms, took_ms, secret, &answer);
 *	if (answer.verdict == TOKEN_GRANTED) ... answer.token, answer.lifetime_ms ...
 *	token_answer_free(&answer);
 */
#ifndef IDENTITY_TOKEN_ANSWER_H
#define IDENTITY_TOKEN_ANSWER_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

/* Longer tokens are refused: the backends would refuse so long a header field, too. */
#define TOKEN_MAX_BYTES 16384U
/* A longer life is taken for a mistake and cut to this; Entra's tokens live for 28 hours at most. */
#define TOKEN_LIFETIME_MAX_MS UINT64_C(604800000)
#define TOKEN_REASON_SIZE 320U

enum token_verdict {
	TOKEN_GRANTED,
	TOKEN_LATER,   /* busy, or it broke: the same request may do well later */
	TOKEN_SOON,    /* 410: the metadata service is being updated, for at most 70 s */
	TOKEN_REFUSED, /* what was asked for is wrong: somebody has to mend something */
};

struct token_answer {
	enum token_verdict verdict;
	struct buffer token;            /* without line ends or spaces; only if granted */
	uint64_t lifetime_ms;           /* from now on; at least 1 */
	char reason[TOKEN_REASON_SIZE]; /* why not, escaped for the log; "" if granted */
};

/* Reads an answer.
 *
 * status	100 to 999
 * body		as much of it as came; of an error it may be cut
 * now_unix_ms	the wall clock, for ends given as a moment
 * took_ms	since the question; a life given as a span may have begun as early as that
 * secret	what the question held and no reason may repeat, not even in part
 *
 * Never fails: what cannot be read counts as TOKEN_LATER. The caller ends it with token_answer_free(). */
void token_answer_read(unsigned status, struct slice body, int64_t now_unix_ms, uint64_t took_ms, struct slice secret,
    struct token_answer *out);
/* Wipes and frees the token. */
void token_answer_free(struct token_answer *answer);

#endif
