/* sim/answer.h: one answer before it is put on the wire: status, fields, and a body in pieces that are due one by one.
 *
 * Endpoints fill it, faults change it, sim/wire.h frames it. All moments are microseconds after the request. Pure but for
 * memory; owned by one thread, and used again for the next request (sim_answer_reset() keeps the memory).
 */
#ifndef SIM_ANSWER_H
#define SIM_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"

enum sim_framing {
	SIM_FRAMING_LENGTH,
	SIM_FRAMING_CHUNKED, /* every piece is a chunk */
	SIM_FRAMING_UNTIL_CLOSE,
	SIM_FRAMING_EMPTY, /* 204: no body, no length */
};

/* A run of the body: from the end of the piece before to its own. In an event stream a piece is an event. */
struct sim_piece {
	size_t end;
	uint64_t at_us;
};

struct sim_answer {
	unsigned status;
	enum sim_framing framing;
	bool close; /* says "Connection: close" and does it */
	bool event_stream;
	uint64_t head_at_us;
	struct buffer fields; /* "name: value\r\n" lines, without those of framing, Date and Connection */
	struct buffer body;
	struct sim_piece *pieces;
	size_t piece_count, piece_capacity;
	uint64_t output_tokens; /* for the quota's correction */
};

/* An empty 200; keeps the memory. */
void sim_answer_reset(struct sim_answer *answer);
void sim_answer_free(struct sim_answer *answer);

void sim_answer_field(struct sim_answer *answer, const char *name, struct slice value);
void sim_answer_field_u64(struct sim_answer *answer, const char *name, uint64_t value);

/* Ends the current piece at the end of the body as it is. */
void sim_answer_end_piece(struct sim_answer *answer, uint64_t at_us);
/* Makes the answer an event stream: content type and framing. */
void sim_answer_begin_stream(struct sim_answer *answer);
/* The body is whole JSON, due at the moment given. */
void sim_answer_end_json(struct sim_answer *answer, uint64_t at_us);

/* Makes it Azure's {"error":{"code":…,"message":…}}; what was in the body is dropped, the fields stay. */
void sim_answer_error(struct sim_answer *answer, unsigned status, const char *code, const char *message_format, ...)
    PRINTF_LIKE(4, 5);
/* Makes it the model's {"error":{"message":…,"type":…,"param":…,"code":…}}; param and code may be NULL. */
void sim_answer_model_error(struct sim_answer *answer, unsigned status, const char *type, const char *param,
    const char *code, const char *message_format, ...) PRINTF_LIKE(6, 7);

/* Makes it an error of that body, which is JSON. */
void sim_answer_error_body(struct sim_answer *answer, unsigned status, struct slice json);

/* Removes body and pieces. */
void sim_answer_clear_body(struct sim_answer *answer);

#endif
