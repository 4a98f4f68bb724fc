#include "sim/text.h"

static const char *const words[] = { " This", " answer", " comes", " from", " a", " simulator", ":", " it", " neither",
	" reads", " nor", " understands", " what", " it", " is", " asked", ",", " but", " every", " chunk", ",",
	" field", " and", " error", " looks", " the", " way", " Azure", " OpenAI", " sends", " them", "." };

struct slice
sim_text_token(uint64_t index)
{
	const char *word = words[index % ARRAY_COUNT(words)];

	return slice_from(index == 0 ? word + 1 : word);
}

void
sim_text_append(struct buffer *out, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		buffer_append_slice(out, sim_text_token(i));
}
