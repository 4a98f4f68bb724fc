/* sim/text.h: what the simulated models say. Pure. */
#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

/* The token of an answer's text at that index: a word, with a space before it unless it is the first. Needs no escaping
 * in JSON. */
struct slice sim_text_token(uint64_t index);
/* The first count tokens. */
void sim_text_append(struct buffer *out, uint64_t count);

/* What Azure's content filter says of harmless text. */
#define SIM_SAFE_CATEGORIES \
	"\"hate\":{\"filtered\":false,\"severity\":\"safe\"},\"self_harm\":{\"filtered\":false,\"severity\":\"safe\"}" \
	"," \
	"\"sexual\":{\"filtered\":false,\"severity\":\"safe\"},\"violence\":{\"filtered\":false,\"severity\":" \
	"\"safe\"}"
#define SIM_PROMPT_FILTER_RESULTS \
	"\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{" SIM_SAFE_CATEGORIES \
	",\"jailbreak\":{\"filtered\":false,\"detected\":false}}}]"

#endif
