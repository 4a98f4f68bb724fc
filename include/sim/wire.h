/* sim/wire.h: the bytes of one answer as they go over the wire, and when.
 *
 * Framed from a sim_answer; then faults of the transport (cuts, stalls, drips, garbled heads) rewrite bytes, marks and the
 * end. The connection plays it: it sends up to the last mark that is due and sleeps until the next. Pure but for memory.
 */
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"
#include "sim/answer.h"

/* The bytes before end may go at at_us after the request. */
struct sim_mark {
	size_t end;
	uint64_t at_us;
};

/* What happens once every byte has gone. */
enum sim_wire_end {
	SIM_END_KEEP, /* the connection waits for the next request */
	SIM_END_CLOSE,
	SIM_END_QUIET, /* closed without TLS's close_notify */
	SIM_END_RESET, /* RST */
	SIM_END_HOLD,  /* nothing, until the client goes */
};

struct sim_wire {
	struct buffer bytes;
	size_t head_length;
	bool chunked;
	size_t piece_count;     /* marks after the head's that are pieces of the body */
	struct sim_mark *marks; /* the first is the head's */
	size_t mark_count, mark_capacity;
	enum sim_wire_end end;
	size_t sent;
	size_t next_mark; /* the first that was not due yet */
};

/* Where an answer is cut. */
enum sim_stage {
	SIM_STAGE_BEFORE_HEAD,
	SIM_STAGE_MID_HEAD,
	SIM_STAGE_AFTER_HEAD,
	SIM_STAGE_AT_EVENT,   /* value events have gone */
	SIM_STAGE_IN_EVENT,   /* value events have gone, and half of the next */
	SIM_STAGE_AT_BYTE,    /* value bytes of the body have gone, its framing counted */
	SIM_STAGE_BEFORE_END, /* all has gone but the final chunk, or the last byte */
};

/* Frames the answer. date: the value of the Date field. */
void sim_wire_frame(struct sim_wire *wire, const struct sim_answer *answer, unsigned minor_version, bool keep_alive,
    struct slice date);
/* Empties it; a small buffer is kept for the next answer. */
void sim_wire_clear(struct sim_wire *wire);
void sim_wire_free(struct sim_wire *wire);

/* The offset in bytes that a stage means; never beyond the end. */
size_t sim_wire_offset(const struct sim_wire *wire, enum sim_stage stage, uint64_t value);
/* Drops every byte from offset on and ends as told. */
void sim_wire_cut(struct sim_wire *wire, size_t offset, enum sim_wire_end end);
/* Delays every byte from offset on. */
void sim_wire_delay(struct sim_wire *wire, size_t offset, uint64_t delay_us);
/* Sends the bytes [from, to) in steps of step bytes, interval_us apart; later ones move accordingly. */
void sim_wire_drip(struct sim_wire *wire, size_t from, size_t to, size_t step, uint64_t interval_us);
/* Replaces the head's bytes. */
void sim_wire_replace_head(struct sim_wire *wire, struct slice head);

/* The end of what may be sent now; sets *next_us to the moment of the next mark, or UINT64_MAX. */
size_t sim_wire_due(struct sim_wire *wire, uint64_t elapsed_us, uint64_t *next_us);

#endif
