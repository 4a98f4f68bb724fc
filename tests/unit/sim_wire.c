/* sim/wire.h: what goes over the wire, and when. */
#include "unit.h"

#include "sim/wire.h"

#define HEAD "HTTP/1.1 200 OK\r\nDate: now\r\nx: y\r\n"

static void
make(struct sim_wire *wire, enum sim_framing framing, unsigned minor_version)
{
	struct sim_answer answer = { 0 };

	memset(wire, 0, sizeof(*wire));
	sim_answer_reset(&answer);
	answer.framing = framing;
	sim_answer_field(&answer, "x", SLICE("y"));
	buffer_append_string(&answer.body, "one");
	sim_answer_end_piece(&answer, 10);
	buffer_append_string(&answer.body, "second event");
	sim_answer_end_piece(&answer, 20);
	sim_wire_frame(wire, &answer, minor_version, true, SLICE("now"));
	sim_answer_free(&answer);
}

static void
answers_are_framed_as_asked(void **state)
{
	static const struct {
		const char *behaviour;
		enum sim_framing framing;
		unsigned minor_version;
		const char *bytes;
		enum sim_wire_end end;
	} cases[] = {
		{ "with a length", SIM_FRAMING_LENGTH, 1, HEAD "Content-Length: 15\r\n\r\nonesecond event",
		    SIM_END_KEEP },
		{ "a chunk for each piece", SIM_FRAMING_CHUNKED, 1,
		    HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\nc\r\nsecond event\r\n0\r\n\r\n", SIM_END_KEEP },
		{ "until the end", SIM_FRAMING_UNTIL_CLOSE, 1, HEAD "Connection: close\r\n\r\nonesecond event",
		    SIM_END_CLOSE },
		{ "no chunks for HTTP/1.0", SIM_FRAMING_CHUNKED, 0, HEAD "Connection: close\r\n\r\nonesecond event",
		    SIM_END_CLOSE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sim_wire wire;

		make(&wire, cases[i].framing, cases[i].minor_version);
		CHECK_TEXT(cases[i].behaviour, buffer_slice(&wire.bytes), cases[i].bytes);
		CHECK_NUMBER(cases[i].behaviour, wire.end, cases[i].end);
		sim_wire_free(&wire);
	}
}

static void
bytes_fall_due_piece_by_piece(void **state)
{
	struct sim_wire wire;
	uint64_t next;

	(void)state;
	make(&wire, SIM_FRAMING_CHUNKED, 1);
	CHECK_NUMBER("the head at once", sim_wire_due(&wire, 0, &next), wire.head_length);
	CHECK_NUMBER("then one waits for the first piece", next, 10);
	CHECK_NUMBER("which is a chunk", sim_wire_due(&wire, 10, &next), wire.head_length + 8);
	CHECK_NUMBER("and for the second", next, 20);
	CHECK_NUMBER("with which all goes", sim_wire_due(&wire, 1000, &next), wire.bytes.length);
	CHECK("and nothing is left", next == UINT64_MAX);
	sim_wire_free(&wire);
}

static void
stages_are_found(void **state)
{
	static const struct {
		const char *behaviour;
		enum sim_stage stage;
		uint64_t value;
		const char *left; /* of the body on the wire; NULL: not even the head is whole */
	} cases[] = {
		{ "nothing", SIM_STAGE_BEFORE_HEAD, 0, NULL },
		{ "half a head", SIM_STAGE_MID_HEAD, 0, NULL },
		{ "a head", SIM_STAGE_AFTER_HEAD, 0, "" },
		{ "no event", SIM_STAGE_AT_EVENT, 0, "" },
		{ "one event", SIM_STAGE_AT_EVENT, 1, "3\r\none\r\n" },
		{ "one and a half", SIM_STAGE_IN_EVENT, 1, "3\r\none\r\nc\r\nsecon" },
		{ "as many as there are", SIM_STAGE_AT_EVENT, 9, "3\r\none\r\nc\r\nsecond event\r\n" },
		{ "a byte", SIM_STAGE_AT_BYTE, 4, "3\r\no" },
		{ "all bytes", SIM_STAGE_AT_BYTE, 999, "3\r\none\r\nc\r\nsecond event\r\n0\r\n\r\n" },
		{ "all but the final chunk", SIM_STAGE_BEFORE_END, 0, "3\r\none\r\nc\r\nsecond event\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sim_wire wire;
		uint64_t next;

		make(&wire, SIM_FRAMING_CHUNKED, 1);
		sim_wire_cut(&wire, sim_wire_offset(&wire, cases[i].stage, cases[i].value), SIM_END_RESET);
		CHECK_NUMBER(cases[i].behaviour, wire.end, SIM_END_RESET);
		CHECK_NUMBER(cases[i].behaviour, sim_wire_due(&wire, 1000, &next), wire.bytes.length);
		if (cases[i].left == NULL)
			CHECK(cases[i].behaviour, wire.bytes.length < wire.head_length);
		else
			CHECK_TEXT(cases[i].behaviour, slice_skip(buffer_slice(&wire.bytes), wire.head_length),
			    cases[i].left);
		sim_wire_free(&wire);
	}
}

static void
a_length_lacks_its_last_byte_before_the_end(void **state)
{
	struct sim_wire wire;

	(void)state;
	make(&wire, SIM_FRAMING_LENGTH, 1);
	CHECK_NUMBER("one byte short", sim_wire_offset(&wire, SIM_STAGE_BEFORE_END, 0), wire.bytes.length - 1);
	sim_wire_free(&wire);
}

static void
delays_move_what_follows(void **state)
{
	struct sim_wire wire;
	uint64_t next;
	size_t offset;

	(void)state;
	make(&wire, SIM_FRAMING_LENGTH, 1);
	offset = sim_wire_offset(&wire, SIM_STAGE_IN_EVENT, 1);
	sim_wire_delay(&wire, offset, 100);
	CHECK_NUMBER("up to the stage as before", sim_wire_due(&wire, 20, &next), offset);
	CHECK_NUMBER("the rest later", next, 120);
	CHECK_NUMBER("but whole", sim_wire_due(&wire, 120, &next), wire.bytes.length);
	sim_wire_free(&wire);

	make(&wire, SIM_FRAMING_LENGTH, 1);
	sim_wire_delay(&wire, 0, 100);
	CHECK_NUMBER("nothing at first", sim_wire_due(&wire, 99, &next), 0);
	CHECK_NUMBER("then the head", sim_wire_due(&wire, 100, &next), wire.head_length);
	sim_wire_free(&wire);
}

static void
drips_go_step_by_step(void **state)
{
	struct sim_wire wire;
	uint64_t next;

	(void)state;
	make(&wire, SIM_FRAMING_LENGTH, 1);
	sim_wire_drip(&wire, wire.head_length, wire.bytes.length, 4, 5);
	CHECK_NUMBER("the head as before", sim_wire_due(&wire, 0, &next), wire.head_length);
	for (uint64_t i = 0; i < 4; i++) {
		size_t want = i < 3 ? wire.head_length + (i + 1) * 4 : wire.bytes.length;

		CHECK_NUMBER("a step each", sim_wire_due(&wire, 10 + i * 5, &next), want);
	}
	CHECK("to its end", next == UINT64_MAX);
	sim_wire_free(&wire);

	make(&wire, SIM_FRAMING_LENGTH, 1);
	sim_wire_drip(&wire, 0, wire.head_length, 1, 1);
	CHECK_NUMBER("a byte of the head", sim_wire_due(&wire, 0, &next), 1);
	CHECK_NUMBER("and another", sim_wire_due(&wire, 1, &next), 2);
	CHECK("the body comes behind it", sim_wire_due(&wire, wire.head_length - 1, &next) == wire.head_length);
	(void)sim_wire_due(&wire, UINT64_MAX - 1, &next);
	CHECK("all marks are used", wire.next_mark == wire.mark_count);
	sim_wire_free(&wire);
}

static void
heads_can_be_replaced(void **state)
{
	struct sim_wire wire;

	(void)state;
	make(&wire, SIM_FRAMING_LENGTH, 1);
	sim_wire_replace_head(&wire, SLICE("other\r\n\r\n"));
	CHECK_TEXT("the body stays", buffer_slice(&wire.bytes), "other\r\n\r\nonesecond event");
	CHECK_NUMBER("events are still found", sim_wire_offset(&wire, SIM_STAGE_AT_EVENT, 1), 12);
	sim_wire_free(&wire);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_framed_as_asked),
		cmocka_unit_test(bytes_fall_due_piece_by_piece),
		cmocka_unit_test(stages_are_found),
		cmocka_unit_test(a_length_lacks_its_last_byte_before_the_end),
		cmocka_unit_test(delays_move_what_follows),
		cmocka_unit_test(drips_go_step_by_step),
		cmocka_unit_test(heads_can_be_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
