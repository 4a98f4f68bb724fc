/* Embeddings: vectors of length one that depend on seed, input and dimension alone. */
#include "sim/resource.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"
#include "http/json.h"

#define DIMENSIONS_DEFAULT 1536U
#define DIMENSIONS_LARGE 3072U
/* Components are whole multiples of a hundred millionth, so that text and base64 say the same. */
#define UNIT 100000000

struct embedding {
	struct buffer *out;
	uint64_t dimensions;
	bool base64;
	uint64_t index;
	uint64_t inputs;
	int32_t *components;
};

static void
fill_vector(struct embedding *embedding, struct slice input)
{
	struct random random;
	double sum = 0, scale;

	random_seed(&random, hash_bytes(input, 1));
	for (uint64_t i = 0; i < embedding->dimensions; i++) {
		embedding->components[i] = (int32_t)random_below(&random, 2001) - 1000;
		sum += (double)embedding->components[i] * embedding->components[i];
	}
	scale = sum > 0 ? UNIT / sqrt(sum) : 0;
	for (uint64_t i = 0; i < embedding->dimensions; i++)
		embedding->components[i] = (int32_t)(embedding->components[i] * scale);
}

/* 0.01234567: eight digits behind the point. */
static void
append_component(struct buffer *out, int32_t component)
{
	char digits[8];
	uint32_t rest = (uint32_t)(component < 0 ? -component : component);

	if (component < 0)
		buffer_append_byte(out, '-');
	buffer_append_byte(out, (char)('0' + rest / UNIT));
	buffer_append_byte(out, '.');
	rest %= UNIT;
	for (size_t i = sizeof(digits); i-- > 0; rest /= 10)
		digits[i] = (char)('0' + rest % 10);
	buffer_append(out, digits, sizeof(digits));
}

static void
append_numbers(const struct embedding *embedding)
{
	buffer_reserve(embedding->out, embedding->dimensions * 12);
	buffer_append_byte(embedding->out, '[');
	for (uint64_t i = 0; i < embedding->dimensions; i++) {
		if (i > 0)
			buffer_append_byte(embedding->out, ',');
		append_component(embedding->out, embedding->components[i]);
	}
	buffer_append_byte(embedding->out, ']');
}

/* Byte i of the little-endian 32-bit floats; 0 behind their end. */
static uint32_t
float_byte(const struct embedding *embedding, uint64_t i)
{
	uint64_t index = i / 4;
	float component;
	uint32_t bits;

	if (index >= embedding->dimensions)
		return 0;
	component = (float)((double)embedding->components[index] / UNIT);
	memcpy(&bits, &component, sizeof(bits));
	return (bits >> (i % 4 * 8)) & 0xffU;
}

static void
append_base64(const struct embedding *embedding)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t bytes = embedding->dimensions * 4;

	buffer_reserve(embedding->out, (bytes + 2) / 3 * 4 + 2);
	buffer_append_byte(embedding->out, '"');
	for (uint64_t i = 0; i < bytes; i += 3) {
		uint32_t group =
		    float_byte(embedding, i) << 16 | float_byte(embedding, i + 1) << 8 | float_byte(embedding, i + 2);
		char text[4] = { alphabet[group >> 18], alphabet[group >> 12 & 63U], alphabet[group >> 6 & 63U],
			alphabet[group & 63U] };

		if (i + 1 >= bytes)
			text[2] = '=';
		if (i + 2 >= bytes)
			text[3] = '=';
		buffer_append(embedding->out, text, sizeof(text));
	}
	buffer_append_byte(embedding->out, '"');
}

static bool
append_embedding(struct slice input, enum json_kind kind, void *context)
{
	struct embedding *embedding = context;

	(void)kind;
	fill_vector(embedding, input);
	buffer_append_string(embedding->out, embedding->index == 0 ? "{\"embedding\":" : ",{\"embedding\":");
	if (embedding->base64)
		append_base64(embedding);
	else
		append_numbers(embedding);
	buffer_append_format(embedding->out, ",\"index\":%" PRIu64 ",\"object\":\"embedding\"}", embedding->index);
	return ++embedding->index < embedding->inputs;
}

/* False: the model has no such dimension, and answer says so. */
static bool
choose_dimensions(const struct sim_exchange *exchange, uint64_t *dimensions, struct sim_answer *answer)
{
	struct slice model = slice_from(exchange->deployment->config->model);
	uint64_t most =
	    slice_starts_with(model, SLICE("text-embedding-3-large")) ? DIMENSIONS_LARGE : DIMENSIONS_DEFAULT;

	*dimensions = exchange->call.dimensions != 0 ? exchange->call.dimensions : most;
	if (exchange->call.dimensions != 0 && slice_starts_with(model, SLICE("text-embedding-ada"))) {
		sim_answer_model_error(answer, 400, "invalid_request_error", NULL, NULL,
		    "This model does not support specifying dimensions.");
		return false;
	}
	if (*dimensions > most) {
		sim_answer_model_error(answer, 400, "invalid_request_error", NULL, NULL,
		    "Invalid value for 'dimensions' = %" PRIu64 ". Must be less than or equal to %" PRIu64 ".",
		    *dimensions, most);
		return false;
	}
	return true;
}

void
sim_embeddings_answer(struct sim_resource *resource, struct sim_exchange *exchange, struct sim_answer *answer)
{
	const struct sim_call *call = &exchange->call;
	struct embedding embedding = { .out = &answer->body, .base64 = call->base64, .inputs = call->input_count };
	struct sim_pacing pacing;
	uint64_t dimensions;

	if (!choose_dimensions(exchange, &dimensions, answer))
		return;
	embedding.dimensions = dimensions;
	embedding.components = memory_take(dimensions * sizeof(*embedding.components));
	buffer_append_string(&answer->body, "{\"data\":[");
	if (!call->input_is_list || !json_each(call->prompt, append_embedding, &embedding))
		(void)append_embedding(call->prompt, JSON_STRING, &embedding);
	free(embedding.components);
	buffer_append_format(&answer->body,
	    "],\"model\":\"%s\",\"object\":\"list\",\"usage\":{\"prompt_tokens\":%" PRIu64 ",\"total_tokens\":%" PRIu64
	    "}}",
	    exchange->deployment->config->model, call->prompt_tokens, call->prompt_tokens);
	sim_pacing_init(&pacing, &exchange->deployment->config->latency, &resource->random);
	sim_answer_end_json(answer, sim_pacing_first(&pacing));
}
