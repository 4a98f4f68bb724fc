/* The faults of the transport: what they do to an answer's bytes, and when these go. */
#include "sim/fault.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "http/framing.h"

/* Faults combine, so a head may already have been changed: nothing about it is taken for granted. */
static struct slice
without_blank_line(struct slice head)
{
	return slice_of(head.data, head.length >= 2 ? head.length - 2 : 0);
}

/* Rewrites the value of the Content-Length in head as text, with whatever goes before and after its line. */
static void
append_with_length(struct buffer *out, struct slice head, const char *before, const char *value, const char *after)
{
	ptrdiff_t at = slice_find_nocase(head, SLICE("content-length: ")), end;
	struct slice tail;

	if (at < 0) {
		/* Chunked: the length line comes on top. */
		buffer_append_slice(out, without_blank_line(head));
		buffer_append_format(out, "%s%s%s\r\n", before, value, after);
		return;
	}
	buffer_append(out, head.data, (size_t)at);
	tail = slice_skip(head, (size_t)at);
	end = slice_find(tail, SLICE("\n"));
	tail = slice_skip(tail, end < 0 ? tail.length : (size_t)end + 1);
	buffer_append_format(out, "%s%s%s", before, value, after);
	buffer_append_slice(out, tail);
}

/* Puts text before the empty line that ends head. */
static void
append_with_line(struct buffer *out, struct slice head, struct slice line)
{
	buffer_append_slice(out, without_blank_line(head));
	buffer_append_slice(out, line);
	buffer_append_string(out, "\r\n");
}

static void
append_bare(struct buffer *out, struct slice head)
{
	for (size_t i = 0; i < head.length; i++) {
		if (head.data[i] != '\r')
			buffer_append_byte(out, head.data[i]);
	}
}

static void
append_garbled(struct buffer *out, const struct sim_fault *fault, struct slice head, size_t body_bytes)
{
	char length[24];
	struct buffer number = { 0 };
	ptrdiff_t end;

	buffer_append_u64(&number, body_bytes);
	memcpy(length, number.data, number.length);
	length[number.length] = '\0';
	buffer_free(&number);
	switch ((enum sim_garbled_form)fault->form) {
	case SIM_GARBLED_NOT_HTTP:
		buffer_append_string(out, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
		break;
	case SIM_GARBLED_BARE_LF:
		append_bare(out, head);
		break;
	case SIM_GARBLED_OBS_FOLD:
		append_with_line(out, head, SLICE("x-folded: one\r\n two\r\n"));
		break;
	case SIM_GARBLED_TWO_LENGTHS:
		append_with_length(out, head, "Content-Length: 3\r\nContent-Length: ", length, "\r\n");
		break;
	case SIM_GARBLED_LENGTH_AND_CHUNKED:
		append_with_length(out, head, "Transfer-Encoding: chunked\r\nContent-Length: ", length, "\r\n");
		break;
	case SIM_GARBLED_NUL:
		append_with_line(out, head, SLICE("x-nul: a\0b\r\n"));
		break;
	case SIM_GARBLED_SPACE_BEFORE_COLON:
		append_with_line(out, head, SLICE("x-space : a\r\n"));
		break;
	case SIM_GARBLED_SIGNED_LENGTH:
		append_with_length(out, head, "Content-Length: +", length, "\r\n");
		break;
	case SIM_GARBLED_BAD_STATUS:
		buffer_append_string(out, "HTTP/1.1 2OO OK");
		end = slice_find(head, SLICE("\r\n"));
		buffer_append_slice(out, end < 0 ? SLICE("\r\n\r\n") : slice_skip(head, (size_t)end));
		break;
	case SIM_GARBLED_NO_END:
		buffer_append_slice(out, without_blank_line(head));
		break;
	case SIM_GARBLED_GZIP_CHUNKED:
		append_with_line(out, head, SLICE("Transfer-Encoding: gzip, chunked\r\n"));
		break;
	case SIM_GARBLED_RAW:
		buffer_append_slice(out, buffer_slice(&fault->text));
		break;
	}
}

static void
append_wrong_length(struct buffer *out, const struct sim_fault *fault, struct slice head, size_t body_bytes)
{
	struct buffer value = { 0 };
	int64_t length = (int64_t)body_bytes + fault->delta;

	if (slice_find_nocase(head, SLICE("content-length: ")) < 0) {
		buffer_append_slice(out, head);
		return;
	}
	buffer_append_u64(&value, length > 0 ? (uint64_t)length : 0);
	buffer_append_byte(&value, '\0');
	append_with_length(out, head, "Content-Length: ", value.data, "\r\n");
	buffer_free(&value);
}

static void
change_head(const struct sim_fault *fault, struct sim_wire *wire)
{
	struct slice head = slice_of(wire->bytes.data, wire->head_length);
	size_t body_bytes = wire->bytes.length - wire->head_length;
	struct buffer changed = { 0 };

	if (fault->kind == SIM_FAULT_GARBLED_HEAD) {
		append_garbled(&changed, fault, head, body_bytes);
		/* A head that does not end takes the body for more of itself; only the connection's end ends it. */
		if (fault->form == SIM_GARBLED_NO_END)
			wire->end = SIM_END_CLOSE;
	} else if (fault->kind == SIM_FAULT_WRONG_LENGTH) {
		append_wrong_length(&changed, fault, head, body_bytes);
		/* Where fewer bytes come than were told, only the end of the connection can say so. */
		if (fault->delta > 0)
			wire->end = SIM_END_CLOSE;
	} else if (fault->kind == SIM_FAULT_INFORMATIONAL) {
		buffer_append_string(&changed, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
		buffer_append_slice(&changed, head);
	} else {
		return;
	}
	sim_wire_replace_head(wire, buffer_slice(&changed));
	buffer_free(&changed);
}

/* Gives every chunk of a chunked answer an extension and leading zeros, and the last one trailers. */
static void
make_chunks_odd(struct sim_wire *wire)
{
	struct buffer bytes = { 0 };
	size_t start = wire->head_length;

	if (!wire->chunked)
		return;
	buffer_append(&bytes, wire->bytes.data, start);
	for (size_t i = 1; i < wire->mark_count; i++) {
		struct slice chunk = slice_of(wire->bytes.data + start, wire->marks[i].end - start);
		ptrdiff_t digits = slice_find(chunk, SLICE("\r\n"));

		start = wire->marks[i].end;
		if (digits < 0)
			fatal("simulator: a chunk without a size line");
		buffer_append_string(&bytes, "000");
		buffer_append(&bytes, chunk.data, (size_t)digits);
		buffer_append_string(&bytes, ";name=\"quoted; value\";flag\r\n");
		if (i + 1 < wire->mark_count)
			buffer_append_slice(&bytes, slice_skip(chunk, (size_t)digits + 2));
		else
			buffer_append_string(&bytes, "x-trailer: dropped\r\nx-another: too\r\n\r\n");
		wire->marks[i].end = bytes.length;
	}
	buffer_free(&wire->bytes);
	wire->bytes = bytes;
}

/* Offset of a fault that strikes at a stage. */
struct strike {
	const struct sim_fault *fault;
	size_t offset;
};

static bool
strikes_at_stage(const struct sim_fault *fault)
{
	return fault->kind == SIM_FAULT_STALL || fault->kind == SIM_FAULT_TRUNCATE || fault->kind == SIM_FAULT_RESET;
}

/* Where the chunk begins that holds the byte at offset, of an answer not yet cut; offset itself between two chunks. *size:
 * the chunk's. */
static size_t
chunk_start(const struct sim_wire *wire, size_t offset, size_t *size)
{
	size_t start = wire->head_length;

	while (start < offset) {
		struct slice rest = slice_of(wire->bytes.data + start, wire->bytes.length - start);
		struct body_reader reader = { .kind = BODY_CHUNKED };
		ptrdiff_t line = slice_find(rest, SLICE("\r\n"));
		size_t payload, consumed, end;

		/* The size line alone says how much is to come; it is read as the receiver reads it, and not rewritten. */
		if (line < 0 ||
		    body_read(&reader, wire->bytes.data + start, (size_t)line + 2, &payload, &consumed) != BODY_MORE)
			return start;
		*size = (size_t)reader.remaining;
		end = start + (size_t)line + 2 + *size + 2;
		if (end > offset || reader.remaining == 0) /* what follows the last size are trailers */
			return start;
		start = end;
	}
	return start;
}

/* A chunk that ends inside its payload is given the size of what is left of it; one that ends in its framing goes. */
static void
close_chunk(struct sim_wire *wire, size_t start, size_t size)
{
	struct slice chunk = slice_of(wire->bytes.data + start, wire->bytes.length - start);
	ptrdiff_t line = slice_find(chunk, SLICE("\r\n"));
	struct buffer payload = { 0 };
	char prefix[CHUNK_PREFIX_MAX_BYTES];
	size_t prefix_length;

	if (line >= 0)
		buffer_append_slice(&payload, slice_skip(chunk, (size_t)line + 2));
	wire->bytes.length = start;
	if (payload.length > size)
		payload.length = size; /* it was cut in the CRLF behind it */
	if (payload.length > 0) {
		prefix_length = chunk_prefix_before(prefix + sizeof(prefix), payload.length);
		buffer_append(&wire->bytes, prefix + sizeof(prefix) - prefix_length, prefix_length);
		buffer_append_slice(&wire->bytes, buffer_slice(&payload));
		buffer_append_string(&wire->bytes, "\r\n");
	}
	buffer_free(&payload);
}

static void
cut(struct sim_wire *wire, const struct sim_fault *fault, size_t offset)
{
	bool final_chunk = fault->final_chunk && wire->chunked && offset >= wire->head_length;
	size_t start, size = 0;

	if (offset > wire->bytes.length)
		return;
	if (fault->kind == SIM_FAULT_STALL && fault->ms > 0) {
		sim_wire_delay(wire, offset, fault->ms * 1000);
		return;
	}
	start = final_chunk ? chunk_start(wire, offset, &size) : offset;
	/* Without chunks nothing but the connection's end can end an answer early. */
	sim_wire_cut(wire, offset, fault->final_chunk && !final_chunk ? SIM_END_CLOSE : fault->end);
	if (final_chunk && wire->mark_count > 0) {
		if (start < offset)
			close_chunk(wire, start, size);
		for (size_t i = 0; i < wire->mark_count; i++)
			if (wire->marks[i].end > wire->bytes.length)
				wire->marks[i].end = wire->bytes.length;
		buffer_append_slice(&wire->bytes, CHUNK_LAST);
		wire->marks[wire->mark_count - 1].end = wire->bytes.length;
	}
}

void
sim_faults_change_wire(struct sim_fault *const *struck, size_t count, struct sim_wire *wire)
{
	struct strike strikes[SIM_FAULTS_MAX];
	bool odd_chunks = false;

	/* Chunks before heads: a garbled head may speak of chunks that are not there. */
	for (size_t i = 0; i < count; i++) {
		if (struck[i]->kind == SIM_FAULT_ODD_CHUNKS)
			odd_chunks = true;
	}
	if (odd_chunks)
		make_chunks_odd(wire);
	for (size_t i = 0; i < count; i++) {
		change_head(struck[i], wire);
		if (struck[i]->kind == SIM_FAULT_CLOSE_AFTER)
			wire->end = SIM_END_CLOSE;
	}
	/* Stages are looked up while the marks are still those of head and events. */
	for (size_t i = 0; i < count; i++)
		strikes[i] = (struct strike){ struck[i], sim_wire_offset(wire, struck[i]->stage, struck[i]->at) };
	for (size_t i = 0; i < count; i++) {
		if (struck[i]->kind == SIM_FAULT_SLOW_HEAD)
			sim_wire_drip(wire, 0, wire->head_length, (size_t)struck[i]->bytes, struck[i]->ms * 1000);
		if (struck[i]->kind == SIM_FAULT_SLOW_BODY)
			sim_wire_drip(wire, wire->head_length, wire->bytes.length, (size_t)struck[i]->bytes,
			    struck[i]->ms * 1000);
	}
	for (size_t i = 0; i < count; i++) {
		if (strikes_at_stage(strikes[i].fault))
			cut(wire, strikes[i].fault, strikes[i].offset);
	}
}
