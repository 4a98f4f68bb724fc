/* sim/call.h: what the JSON body of an inference request asks for. Pure; slices borrow from the body. */
#ifndef SIM_CALL_H
#define SIM_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"
#include "sim/answer.h"
#include "sim/route.h"

/* Output tokens that a request without max_tokens is charged for beforehand. */
#define SIM_OUTPUT_ESTIMATE 16U
#define SIM_CHOICES_MAX 16U
#define SIM_EMBEDDING_INPUTS_MAX 2048U

/* Texts in a prompt that bring about what a model does of itself now and then. */
enum sim_trigger {
	SIM_TRIGGER_NONE,
	SIM_TRIGGER_CONTENT_FILTER, /* "trigger-content-filter": 400, the prompt is refused */
	SIM_TRIGGER_OUTPUT_FILTER,  /* "trigger-output-filter": 200, cut by finish_reason content_filter */
	SIM_TRIGGER_TOOL_CALL,      /* "trigger-tool-call": the answer is a call of the first tool */
};

struct sim_call {
	struct slice model; /* raw, with its quotes; empty when absent */
	bool stream;
	bool include_usage;
	bool store;
	bool base64;
	bool encrypted_reasoning; /* include asks for reasoning.encrypted_content */
	uint64_t max_tokens;      /* UINT64_MAX: not given */
	uint64_t choices;
	uint64_t dimensions; /* 0: not given */
	struct slice prompt; /* raw: messages, prompt or input */
	bool prompt_is_array;
	uint64_t input_count;           /* embeddings: how many texts */
	bool input_is_list;             /* embeddings: an array of texts, not of one text's tokens */
	struct slice previous_response; /* raw; empty when absent */
	uint64_t prompt_tokens;
	uint64_t output_estimate;
	enum sim_trigger trigger;
};

/* Reads the body. False when it is not what the endpoint takes: then answer is the 400. */
bool sim_call_read(struct sim_call *call, enum sim_endpoint endpoint, struct slice body,
    struct sim_answer *answer) MUST_CHECK;

#endif
