#include "sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "http/framing.h"
#include "http/reason.h"

/* Memory beyond this is given back between two answers. */
#define KEEP_BYTES 4096U
#define KEEP_MARKS 64U

static void
insert_mark(struct sim_wire *wire, size_t index, struct sim_mark mark)
{
	if (wire->mark_count == wire->mark_capacity) {
		wire->mark_capacity = wire->mark_capacity == 0 ? 8 : wire->mark_capacity * 2;
		wire->marks = memory_resize(wire->marks, wire->mark_capacity * sizeof(*wire->marks));
	}
	memmove(wire->marks + index + 1, wire->marks + index, (wire->mark_count - index) * sizeof(*wire->marks));
	wire->marks[index] = mark;
	wire->mark_count++;
}

static void
add_mark(struct sim_wire *wire, uint64_t at_us)
{
	insert_mark(wire, wire->mark_count, (struct sim_mark){ .end = wire->bytes.length, .at_us = at_us });
}

static void
frame_head(struct sim_wire *wire, const struct sim_answer *answer, bool keep_alive, struct slice date)
{
	struct buffer *out = &wire->bytes;

	buffer_append_string(out, "HTTP/1.1 ");
	buffer_append_u64(out, answer->status);
	buffer_append_byte(out, ' ');
	buffer_append_string(out, reason_phrase(answer->status));
	buffer_append_string(out, "\r\nDate: ");
	buffer_append_slice(out, date);
	buffer_append_string(out, "\r\n");
	buffer_append_slice(out, buffer_slice(&answer->fields));
	if (answer->framing == SIM_FRAMING_LENGTH) {
		buffer_append_string(out, "Content-Length: ");
		buffer_append_u64(out, answer->body.length);
		buffer_append_string(out, "\r\n");
	} else if (answer->framing == SIM_FRAMING_CHUNKED) {
		buffer_append_string(out, "Transfer-Encoding: chunked\r\n");
	}
	if (!keep_alive)
		buffer_append_string(out, "Connection: close\r\n");
	buffer_append_string(out, "\r\n");
	wire->head_length = out->length;
	add_mark(wire, answer->head_at_us);
}

static void
frame_piece(struct sim_wire *wire, const char *data, size_t length, bool chunked)
{
	char prefix[CHUNK_PREFIX_MAX_BYTES];
	size_t prefix_length;

	if (!chunked) {
		buffer_append(&wire->bytes, data, length);
		return;
	}
	prefix_length = chunk_prefix_before(prefix + sizeof(prefix), length);
	buffer_append(&wire->bytes, prefix + sizeof(prefix) - prefix_length, prefix_length);
	buffer_append(&wire->bytes, data, length);
	buffer_append(&wire->bytes, "\r\n", 2);
}

void
sim_wire_frame(struct sim_wire *wire, const struct sim_answer *answer, unsigned minor_version, bool keep_alive,
    struct slice date)
{
	struct sim_answer framed = *answer;
	size_t start = 0;
	bool chunked;

	if (framed.framing == SIM_FRAMING_CHUNKED && minor_version == 0)
		framed.framing = SIM_FRAMING_UNTIL_CLOSE;
	if (framed.framing == SIM_FRAMING_UNTIL_CLOSE || framed.close)
		keep_alive = false;
	chunked = framed.framing == SIM_FRAMING_CHUNKED;
	wire->chunked = chunked;

	buffer_reserve(&wire->bytes,
	    256 + framed.fields.length + framed.body.length + framed.piece_count * (chunked ? 12 : 0));
	frame_head(wire, &framed, keep_alive, date);
	for (size_t i = 0; i < framed.piece_count; i++) {
		if (framed.pieces[i].end == start)
			continue;
		frame_piece(wire, framed.body.data + start, framed.pieces[i].end - start, chunked);
		add_mark(wire, framed.pieces[i].at_us);
		start = framed.pieces[i].end;
		wire->piece_count++;
	}
	if (chunked) {
		buffer_append_slice(&wire->bytes, CHUNK_LAST);
		add_mark(wire, wire->marks[wire->mark_count - 1].at_us);
	}
	wire->end = keep_alive ? SIM_END_KEEP : SIM_END_CLOSE;
}

void
sim_wire_clear(struct sim_wire *wire)
{
	if (wire->bytes.capacity > KEEP_BYTES)
		buffer_free(&wire->bytes);
	buffer_clear(&wire->bytes);
	if (wire->mark_capacity > KEEP_MARKS) {
		free(wire->marks);
		wire->marks = NULL;
		wire->mark_capacity = 0;
	}
	wire->mark_count = wire->piece_count = wire->head_length = wire->sent = wire->next_mark = 0;
}

void
sim_wire_free(struct sim_wire *wire)
{
	buffer_free(&wire->bytes);
	free(wire->marks);
	memset(wire, 0, sizeof(*wire));
}

/* The end of the first count events, or of all there are. */
static size_t
events_end(const struct sim_wire *wire, uint64_t count)
{
	size_t index = count < wire->piece_count ? (size_t)count : wire->piece_count;

	return wire->marks[index].end;
}

size_t
sim_wire_offset(const struct sim_wire *wire, enum sim_stage stage, uint64_t value)
{
	size_t length = wire->bytes.length;

	switch (stage) {
	case SIM_STAGE_BEFORE_HEAD:
		return 0;
	case SIM_STAGE_MID_HEAD:
		return wire->head_length / 2;
	case SIM_STAGE_AFTER_HEAD:
		return wire->head_length;
	case SIM_STAGE_AT_EVENT:
		return events_end(wire, value);
	case SIM_STAGE_IN_EVENT:
		return events_end(wire, value) + (events_end(wire, value + 1) - events_end(wire, value)) / 2;
	case SIM_STAGE_AT_BYTE:
		return value < length - wire->head_length ? wire->head_length + (size_t)value : length;
	case SIM_STAGE_BEFORE_END:
		break;
	}
	/* With chunks the last mark is the final chunk's. */
	if (wire->mark_count > wire->piece_count + 1)
		return wire->marks[wire->mark_count - 2].end;
	return length > wire->head_length ? length - 1 : length;
}

/* Makes sure that a mark ends at offset; returns the index of the first mark that ends beyond it. */
static size_t
split_at(struct sim_wire *wire, size_t offset)
{
	size_t index = 0;

	while (index < wire->mark_count && wire->marks[index].end < offset)
		index++;
	if (index == wire->mark_count || offset == 0)
		return index;
	if (wire->marks[index].end != offset)
		insert_mark(wire, index, (struct sim_mark){ .end = offset, .at_us = wire->marks[index].at_us });
	return index + 1;
}

void
sim_wire_cut(struct sim_wire *wire, size_t offset, enum sim_wire_end end)
{
	size_t index = split_at(wire, offset);

	if (wire->bytes.length > offset)
		wire->bytes.length = offset;
	wire->mark_count = index;
	wire->end = end;
}

void
sim_wire_delay(struct sim_wire *wire, size_t offset, uint64_t delay_us)
{
	for (size_t i = split_at(wire, offset); i < wire->mark_count; i++)
		wire->marks[i].at_us += delay_us;
}

void
sim_wire_drip(struct sim_wire *wire, size_t from, size_t to, size_t step, uint64_t interval_us)
{
	struct sim_mark *old;
	size_t first, last, count, old_count;
	uint64_t moment = 0, shift = 0;

	if (step == 0 || from >= to || to > wire->bytes.length)
		return;
	(void)split_at(wire, to);
	first = split_at(wire, from);
	last = first;
	while (last < wire->mark_count && wire->marks[last].end < to)
		last++;
	if (first == wire->mark_count)
		return;

	/* The marks inside the run are replaced by one a step; those behind it come as much later as the run does. */
	moment = wire->marks[first].at_us;
	count = (to - from + step - 1) / step;
	shift = moment + interval_us * (count - 1);
	shift = shift > wire->marks[last].at_us ? shift - wire->marks[last].at_us : 0;
	old_count = wire->mark_count;
	old = wire->marks;
	wire->marks = memory_take((old_count + count) * sizeof(*wire->marks));
	wire->mark_capacity = old_count + count;
	memcpy(wire->marks, old, first * sizeof(*old));
	wire->mark_count = first;
	for (size_t i = 0; i < count; i++) {
		size_t end = from + (i + 1) * step;

		wire->marks[wire->mark_count++] =
		    (struct sim_mark){ .end = end < to ? end : to, .at_us = moment + interval_us * i };
	}
	for (size_t i = last + 1; i < old_count; i++)
		wire->marks[wire->mark_count++] = (struct sim_mark){ .end = old[i].end, .at_us = old[i].at_us + shift };
	free(old);
}

void
sim_wire_replace_head(struct sim_wire *wire, struct slice head)
{
	struct buffer bytes = { 0 };
	size_t old = wire->head_length;

	buffer_reserve(&bytes, head.length + wire->bytes.length - old);
	buffer_append_slice(&bytes, head);
	buffer_append(&bytes, wire->bytes.data + old, wire->bytes.length - old);
	buffer_free(&wire->bytes);
	wire->bytes = bytes;
	for (size_t i = 0; i < wire->mark_count; i++)
		wire->marks[i].end = wire->marks[i].end - old + head.length;
	wire->head_length = head.length;
}

size_t
sim_wire_due(struct sim_wire *wire, uint64_t elapsed_us, uint64_t *next_us)
{
	while (wire->next_mark < wire->mark_count && wire->marks[wire->next_mark].at_us <= elapsed_us)
		wire->next_mark++;
	*next_us = wire->next_mark < wire->mark_count ? wire->marks[wire->next_mark].at_us : UINT64_MAX;
	return wire->next_mark > 0 ? wire->marks[wire->next_mark - 1].end : 0;
}
