#include "policy/estimate.h"

#include <string.h>

#include "base/compiler.h"
#include "base/hash.h"

/* More is no limit but a mistake. */
#define OUTPUT_TOKENS_MAX 10000000U

void
estimate_wants(struct json_want wants[ESTIMATE_MEMBERS])
{
	memset(wants, 0, ESTIMATE_MEMBERS * sizeof(*wants));
	wants[ESTIMATE_MODEL].key = SLICE("model");
	wants[ESTIMATE_MAX_TOKENS].key = SLICE("max_tokens");
	wants[ESTIMATE_MAX_COMPLETION_TOKENS].key = SLICE("max_completion_tokens");
	wants[ESTIMATE_MAX_OUTPUT_TOKENS].key = SLICE("max_output_tokens");
	wants[ESTIMATE_CACHE_KEY].key = SLICE("prompt_cache_key");
	wants[ESTIMATE_MESSAGES].key = SLICE("messages");
	wants[ESTIMATE_INPUT].key = SLICE("input");
}

static uint64_t
affinity_of(struct slice text, uint64_t seed)
{
	uint64_t hash = hash_bytes(text, seed);

	return hash == 0 ? 1 : hash;
}

void
estimate_from(const struct json_want wants[ESTIMATE_MEMBERS], struct slice body, uint64_t seed, struct estimate *out)
{
	const struct json_want *key = &wants[ESTIMATE_CACHE_KEY];
	const struct json_want *prompt =
	    wants[ESTIMATE_MESSAGES].found > 0 ? &wants[ESTIMATE_MESSAGES] : &wants[ESTIMATE_INPUT];

	*out = (struct estimate){ .prompt_bytes = prompt->found > 0 ? prompt->value.length : body.length };
	for (unsigned i = ESTIMATE_MAX_TOKENS; i <= ESTIMATE_MAX_OUTPUT_TOKENS; i++) {
		uint64_t tokens;

		if (wants[i].kind == JSON_NUMBER && json_to_u64(wants[i].value, &tokens) && tokens > out->output_tokens)
			out->output_tokens = tokens < OUTPUT_TOKENS_MAX ? tokens : OUTPUT_TOKENS_MAX;
	}
	if (key->kind == JSON_STRING && key->value.length > 2)
		out->affinity = affinity_of(key->value, seed);
	else if (prompt->value.length >= ESTIMATE_PREFIX_BYTES)
		out->affinity = affinity_of(slice_of(prompt->value.data, ESTIMATE_PREFIX_BYTES), seed);
}

/* The number behind "max_…tokens": in a window, or 0. What stands in a message's text has a backslash before its quotes. */
static uint64_t
find_limit(struct slice window)
{
	static const char beginning[] = "\"max_";
	const char *at = window.data, *end = window.data + window.length;

	while ((at = memchr(at, '"', (size_t)(end - at))) != NULL) {
		struct slice rest = slice_of(at, (size_t)(end - at));
		uint64_t tokens = 0;
		size_t i, digits;

		at++;
		if (!slice_starts_with(rest, slice_of(beginning, sizeof(beginning) - 1)))
			continue;
		const char *quote = memchr(at, '"', (size_t)(end - at));
		if (quote == NULL || quote - at < 10 || memcmp(quote - 6, "tokens", 6) != 0)
			continue;
		rest = slice_of(quote + 1, (size_t)(end - quote - 1));
		for (i = 0; i < rest.length && (rest.data[i] == ':' || rest.data[i] == ' '); i++)
			;
		for (digits = 0; i < rest.length && rest.data[i] >= '0' && rest.data[i] <= '9' && digits < 8;
		     i++, digits++)
			tokens = tokens * 10 + (uint64_t)(rest.data[i] - '0');
		if (digits > 0)
			return tokens < OUTPUT_TOKENS_MAX ? tokens : OUTPUT_TOKENS_MAX;
	}
	return 0;
}

void
estimate_read(struct slice body, bool whole, uint64_t seed, struct estimate *out)
{
	struct json_want wants[ESTIMATE_MEMBERS];

	*out = (struct estimate){ .prompt_bytes = body.length };
	if (whole || body.length <= ESTIMATE_SCAN_MAX_BYTES) {
		estimate_wants(wants);
		if (json_scan(body, wants, ESTIMATE_MEMBERS) == JSON_OK)
			estimate_from(wants, body, seed, out);
		return;
	}
	out->output_tokens =
	    find_limit(slice_of(body.data + body.length - ESTIMATE_WINDOW_BYTES, ESTIMATE_WINDOW_BYTES));
	if (out->output_tokens == 0)
		out->output_tokens = find_limit(slice_of(body.data, ESTIMATE_WINDOW_BYTES));
}
