/* Whatever a token endpoint answers, what is granted can be sent in a header field and ends.
 *
 * Input: a byte that chooses the status, then the body. */
#include "fuzz.h"

#include "identity/token_answer.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned statuses[] = { 200, 400, 410, 429, 500, 302 };
	struct token_answer answer;
	char *body;

	if (size == 0)
		return 0;
	body = exact_copy(input_slice(data + 1, size - 1));
	token_answer_read(statuses[data[0] % 6], slice_of(body, size - 1), INT64_C(1795842000000), data[0],
	    SLICE("a-secret%2f"), &answer);
	PROMISE(memchr(answer.reason, '\0', sizeof(answer.reason)) != NULL);
	for (const char *byte = answer.reason; *byte != '\0'; byte++)
		PROMISE((unsigned char)*byte >= ' ' && *byte != 0x7f);
	PROMISE(strstr(answer.reason, "a-secret") == NULL);
	if (answer.verdict == TOKEN_GRANTED) {
		PROMISE(answer.lifetime_ms >= 1 && answer.lifetime_ms <= TOKEN_LIFETIME_MAX_MS);
		PROMISE(answer.token.length > 0 && answer.token.length <= TOKEN_MAX_BYTES);
		for (size_t i = 0; i < answer.token.length; i++)
			PROMISE(answer.token.data[i] > ' ' && answer.token.data[i] < 0x7f);
	} else {
		PROMISE(answer.token.data == NULL && answer.reason[0] != '\0');
	}
	token_answer_free(&answer);
	free(body);
	return 0;
}
