"""Streams: every event at once, nothing before the commit, and never a clean end where there was none."""
import json
import threading
import time

import pytest

from harness import answers
from harness.answers import CHAT, COMPLETED, CREATED, DONE, FILTER, HELLO, IN_PROGRESS, QUIET, RESPONSES, ROLE, STOP, TEXT, WORLD, Gate
from harness.daemon import CHAT_PATH, run
from harness.stage import in_order, make_config
from harness.wire import Ended

WHOLE = b"".join(CHAT)
RESPONSES_PATH = "/v1/responses"


def begin(daemon, client, path=CHAT_PATH):
    """Sends a streaming request and reads its answer's head."""
    client.request("POST", path, body={"model": "gpt-4o", "stream": True, "messages": []})
    return client.read_head()


def streamed(daemon, path=CHAT_PATH):
    with daemon.client() as client:
        client.request("POST", path, body={"model": "gpt-4o", "stream": True, "messages": []})
        return client.read_answer()


def events_of(data):
    """The data of each event, decoded; comments are left out."""
    result = []
    for block in data.decode().split("\n\n"):
        lines = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
        if lines:
            result.append(lines[0] if lines[0] == "[DONE]" else json.loads("\n".join(lines)))
    return result


# ---- as it should be

@pytest.mark.parametrize("path, events", [(CHAT_PATH, CHAT), ("/v1/chat/completions", CHAT), (RESPONSES_PATH, RESPONSES)])
def test_a_stream_arrives_byte_for_byte(stage, path, events):
    daemon = stage.daemon([stage.backend(answers.stream(*events))])
    got = streamed(daemon, path)
    assert got.status == 200
    assert got.header("content-type") == "text/event-stream; charset=utf-8"
    assert got.chunked
    assert got.body == b"".join(events)


def test_each_event_is_on_its_way_as_soon_as_it_is_there(stage):
    gates = [Gate() for _ in range(5)]
    words = [answers.delta(content=f"word-{number}") for number in range(5)]
    pieces = [piece for pair in zip(gates, words) for piece in pair]
    daemon = stage.daemon([stage.backend(answers.stream(HELLO, *pieces, STOP, DONE))])
    with daemon.client() as client:
        assert begin(daemon, client).status == 200
        client.read_payload_until(HELLO)
        for gate, word in zip(gates, words):
            assert client.nothing_comes(0.05)
            gate.open()
            began = time.monotonic()
            client.read_payload_until(word)
            assert time.monotonic() - began < 0.5
        client.read_payload_until(DONE)
        assert client.read_chunk() == b""


def test_events_cut_anywhere_arrive_whole(stage):
    data = b"".join(CHAT)
    daemon = stage.daemon([stage.backend(answers.stream(*[data[at:at + 3] for at in range(0, len(data), 3)]))])
    assert streamed(daemon).body == data


def test_other_line_ends_and_comments_pass(stage):
    data = (b": comment\r\n\r\n" + HELLO.replace(b"\n", b"\r\n") + b"event: x\rdata: {\"a\":1}\r\r" + b"data: {\ndata: \"b\":2}\n\n"
            + b"id: 1\nretry: 5\n\n" + STOP + DONE)
    daemon = stage.daemon([stage.backend(answers.stream(data))])
    assert streamed(daemon).body == data


def test_a_stream_that_is_not_chunked_passes(stage):
    head = answers.head(200, [answers.EVENT_STREAM, ("Connection", "close")])
    daemon = stage.daemon([stage.backend(answers.raw(head + WHOLE, "close"))])
    got = streamed(daemon)
    assert got.status == 200
    assert got.body == WHOLE


def test_a_stream_with_a_length_passes(stage):
    daemon = stage.daemon([stage.backend(answers.answer(200, [answers.EVENT_STREAM], WHOLE))])
    assert streamed(daemon).body == WHOLE


def test_a_coded_stream_passes_unread(stage):
    speak, body = answers.zipped_stream(*CHAT)
    daemon = stage.daemon([stage.backend(speak)])
    got = streamed(daemon)
    assert got.header("content-encoding") == "gzip"
    assert got.body == body


def test_a_coded_stream_without_an_end_in_it_is_no_broken_one(stage):
    speak, body = answers.zipped_stream(HELLO)
    daemon = stage.daemon([stage.backend(speak)])
    assert streamed(daemon).body == body


def test_two_hundred_streams_at_once_are_whole(stage):
    words = [answers.delta(content=f"word {number} ") for number in range(40)]
    gate = Gate()
    body = b"".join([*QUIET, *words, STOP, DONE])
    backend = stage.backend(default=answers.stream(*QUIET, words[0], gate, *words[1:], STOP, DONE))
    daemon = stage.daemon([backend])
    clients = [daemon.client() for _ in range(200)]
    for client in clients:
        client.request("POST", CHAT_PATH, body={"stream": True})
    backend.await_requests(200)
    threading.Timer(0.2, gate.open).start()
    for client in clients:
        got = client.read_answer()
        assert got.status == 200
        assert got.body == body
        client.close()


def test_a_stream_of_a_very_large_event_arrives_whole(stage):
    large = answers.delta(content="x" * 2_000_000)
    daemon = stage.daemon([stage.backend(answers.stream(ROLE, large, STOP, DONE))])
    assert streamed(daemon).body == ROLE + large + STOP + DONE


# ---- the commit

NO_COMMIT = [(FILTER, CHAT_PATH), (ROLE, CHAT_PATH), (b": comment\n\n", CHAT_PATH), (answers.event({"type": "keepalive"}), CHAT_PATH),
             (CREATED, RESPONSES_PATH), (IN_PROGRESS, RESPONSES_PATH), (answers.typed("response.queued"), RESPONSES_PATH),
             (answers.typed("keepalive"), RESPONSES_PATH)]
COMMITS = [
    (HELLO, CHAT_PATH), (STOP, CHAT_PATH), (answers.delta(refusal="I cannot."), CHAT_PATH),
    (answers.delta(tool_calls=[{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]), CHAT_PATH),
    (answers.delta(function_call={"name": "f", "arguments": ""}), CHAT_PATH),
    (answers.delta(reasoning_content="Let me think"), CHAT_PATH),
    (answers.event({"object": "text_completion", "choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}), CHAT_PATH),
    (answers.event({"something": "unknown"}), CHAT_PATH),
    (TEXT, RESPONSES_PATH), (answers.typed("response.output_item.added"), RESPONSES_PATH),
    (answers.typed("response.something_new"), RESPONSES_PATH),
]


@pytest.mark.parametrize("quiet, path", NO_COMMIT)
def test_the_head_is_held_before_anything_has_content(stage, quiet, path):
    gate = Gate()
    ending = [TEXT, COMPLETED] if path == RESPONSES_PATH else [HELLO, STOP, DONE]
    backend = stage.backend(answers.stream(quiet, gate, *ending))
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        client.request("POST", path, body={"model": "gpt-4o", "stream": True})
        backend.await_requests(1)
        assert client.nothing_comes(0.25)
        gate.open()
        got = client.read_answer()
        assert got.status == 200
        assert got.body == quiet + b"".join(ending)


@pytest.mark.parametrize("event, path", COMMITS)
def test_an_event_with_content_commits(stage, event, path):
    gate = Gate()
    quiet = [CREATED] if path == RESPONSES_PATH else QUIET
    ending = [COMPLETED] if path == RESPONSES_PATH else [STOP, DONE]
    backend = stage.backend(answers.stream(*quiet, event, gate, *ending))
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        began = time.monotonic()
        assert begin(daemon, client, path).status == 200
        client.read_payload_until(event)
        assert time.monotonic() - began < 5
        gate.open()
        client.read_payload_until(ending[-1])
        assert client.read_chunk() == b""


def test_the_head_is_held_no_longer_than_commit_ms(stage):
    gate = Gate()
    daemon = stage.daemon([stage.backend(answers.stream(*QUIET, gate, HELLO, STOP, DONE))], timeouts={"commit_ms": 200})
    with daemon.client() as client:
        began = time.monotonic()
        assert begin(daemon, client).status == 200
        assert 0.15 < time.monotonic() - began < 3
        client.read_payload_until(ROLE)
        gate.open()
        client.read_payload_until(DONE)


def test_no_more_than_64_kib_are_held(stage):
    gate = Gate()
    quiet = [b": " + b"x" * 1000 + b"\n\n"] * 80
    daemon = stage.daemon([stage.backend(answers.stream(*quiet, gate, HELLO, STOP, DONE))])
    with daemon.client() as client:
        assert begin(daemon, client).status == 200
        gate.open()
        data = b""
        while DONE not in data:
            data += client.read_chunk()
        assert data == b"".join([*quiet, HELLO, STOP, DONE])


# ---- broken before the commit: another backend answers

ERROR_429 = [answers.error_event("429"), answers.error_event("rate_limit_exceeded"), answers.error_event("too_many_requests"),
             answers.error_event("x", type="rate_limit_exceeded"),
             answers.typed("error", code="rate_limit_exceeded", message="Slow down.", param=None)]
ERROR_500 = [answers.error_event(), answers.error_event(None), answers.event({"error": "something"}),
             answers.typed("error", code="server_error", message="Oh.", param=None),
             answers.typed("response.failed", response={"id": "r", "status": "failed", "error": {"code": "server_error", "message": "Oh."}})]


@pytest.mark.parametrize("error, status", [(error, 429) for error in ERROR_429] + [(error, 500) for error in ERROR_500])
@pytest.mark.parametrize("quiet", [[], QUIET, [CREATED, IN_PROGRESS]], ids=["first", "after-role", "after-created"])
def test_an_error_event_before_the_commit_is_a_failed_attempt(stage, quiet, error, status):
    daemon = stage.daemon(in_order(stage.backend(answers.stream(*quiet, error)), stage.backend(answers.stream(*CHAT))))
    got = streamed(daemon)
    assert got.status == 200
    assert got.body == WHOLE
    assert got.outcomes == [("one", f"stream:{status}"), ("two", "200")]


@pytest.mark.parametrize("end", ["close", "reset", "clean"])
@pytest.mark.parametrize("quiet", [[], QUIET, [ROLE[:20]]], ids=["at-once", "after-role", "inside-an-event"])
def test_a_break_or_end_before_the_commit_is_a_failed_attempt(stage, quiet, end):
    daemon = stage.daemon(in_order(stage.backend(answers.stream(*quiet, end=end)), stage.backend(answers.stream(*CHAT))))
    got = streamed(daemon)
    assert got.status == 200
    assert got.body == WHOLE
    assert got.outcomes[1] == ("two", "200")
    assert got.outcomes[0][0] == "one"


def test_a_responses_stream_that_ends_before_the_commit_is_a_failed_attempt(stage):
    daemon = stage.daemon(in_order(stage.backend(answers.stream(CREATED, IN_PROGRESS)), stage.backend(answers.stream(*RESPONSES))))
    got = streamed(daemon, RESPONSES_PATH)
    assert got.body == b"".join(RESPONSES)


def test_first_event_ms_ends_the_wait_for_content(stage):
    first = stage.backend(answers.stream(*QUIET, end="hang"))
    daemon = stage.daemon(in_order(first, stage.backend(answers.stream(*CHAT))), timeouts={"first_event_ms": 200})
    got = streamed(daemon)
    assert got.body == WHOLE
    assert got.outcomes == [("one", "timeout"), ("two", "200")]
    assert first.exchanges[0].gone.wait(5)


def test_a_deployments_own_first_event_ms_goes_before_the_common_one(stage):
    first = stage.backend(default=answers.stream(*answers.QUIET, end="hang"))
    daemon = stage.daemon(in_order(first, stage.backend(default=answers.stream(*CHAT))),
                          deployment_settings={"gpt-4o": {"first_event_ms": 200}}, cooldown={"server_error_ms": 10})
    got = daemon.chat(stream=True)
    assert got.header("x-aoai-lb-attempts").startswith("one=timeout"), got
    with daemon.client() as client:
        client.request("POST", CHAT_PATH.replace("gpt-4o", "slow-thinker"), body={"messages": [], "stream": True})
        assert client.nothing_comes(0.6), "another deployment waits by the common setting"


@pytest.mark.parametrize("settings, path", [
    ({"gpt-4o": {"first_event": 1}}, r"deployment_settings"),
    ({"gpt-4o": {"first_event_ms": -1}}, r"deployment_settings"),
    ({"gpt-4o": 5}, r"deployment_settings"),
    ([], r"deployment_settings"),
])
def test_faulty_deployment_settings_are_named(stage, settings, path):
    config = make_config([stage.backend()], {"deployment_settings": settings})
    file = stage.directory() / "config.json"
    file.write_text(json.dumps(config))
    result = run("--config", str(file), "--check-config")
    assert result.returncode == 1
    assert path in result.stdout + result.stderr


def test_a_429_in_a_stream_cools_like_any_other(stage):
    first = stage.backend(answers.stream(answers.error_event("429", "Slow down.")))
    daemon = stage.daemon(in_order(first, stage.backend(default=answers.stream(*CHAT))))
    assert streamed(daemon).attempts[0] == ("one", "stream:429", 10_000)
    assert streamed(daemon).outcomes == [("two", "200")]
    assert len(first.requests) == 1


def test_a_429_in_a_streams_hint_is_understood(stage):
    first = stage.backend(answers.stream(answers.error_event("429", "Please retry after 33 seconds.")))
    daemon = stage.daemon(in_order(first, stage.backend(default=answers.stream(*CHAT))))
    assert streamed(daemon).attempts[0] == ("one", "stream:429", 33_000)


def test_a_429_in_a_streams_head_is_understood(stage):
    first = stage.backend(answers.stream(answers.error_event("429"), headers=[("retry-after-ms", "22000")]))
    daemon = stage.daemon(in_order(first, stage.backend(default=answers.stream(*CHAT))))
    assert streamed(daemon).attempts[0] == ("one", "stream:429", 22_000)


@pytest.mark.parametrize("events, status", [([answers.error_event("429")], 429), ([answers.error_event()], 500),
                                            ([*QUIET, answers.error_event("rate_limit_exceeded")], 429)])
def test_with_no_backend_left_the_caller_gets_the_errors_status(stage, events, status):
    daemon = stage.daemon([stage.backend(answers.stream(*events))])
    got = streamed(daemon)
    assert got.status == status
    assert got.json["error"]["message"]
    assert 1 <= int(got.header("retry-after")) <= 60
    assert 1 <= int(got.header("retry-after-ms")) <= 60_000


@pytest.mark.parametrize("end", ["clean", "close", "reset"])
def test_with_no_backend_left_a_break_is_never_a_200(stage, end):
    daemon = stage.daemon([stage.backend(answers.stream(*QUIET, end=end))])
    got = streamed(daemon)
    assert got.status in (500, 502)
    assert got.json["error"]["message"]


def test_a_failed_first_stream_leaves_no_trace(stage):
    daemon = stage.daemon(in_order(stage.backend(answers.stream(FILTER, ROLE, answers.error_event(), headers=[("X-First", "1")])),
                                   stage.backend(answers.stream(*RESPONSES))))
    got = streamed(daemon, RESPONSES_PATH)
    assert got.body == b"".join(RESPONSES)
    assert got.header("x-first") is None


# ---- broken after the commit

def broken_after(stage, end, *pieces, path=CHAT_PATH):
    """What a caller gets behind these pieces of a stream that then breaks."""
    gate = Gate()
    whole = b"".join(pieces)
    daemon = stage.daemon([stage.backend(answers.stream(*pieces, gate, end=end))])
    with daemon.client() as client:
        assert begin(daemon, client, path).status == 200
        data = client.read_payload(len(whole))
        assert data == whole
        gate.open()  # only now: a reset takes what was not read yet away
        return client.read_broken_payload()


@pytest.mark.parametrize("end", ["close", "reset", "clean"])
def test_a_break_between_events_gets_an_error_event_and_no_clean_end(stage, end):
    rest = broken_after(stage, end, *QUIET, HELLO, WORLD)
    last = events_of(rest)
    assert len(last) == 1
    assert last[0]["error"]["message"]
    assert rest.startswith(b"data: ")
    assert rest.endswith(b"\n\n")


@pytest.mark.parametrize("end", ["close", "reset", "clean"])
@pytest.mark.parametrize("cut", [5, 1])
def test_a_break_inside_an_event_gets_nothing_more(stage, cut, end):
    assert broken_after(stage, end, HELLO, WORLD[:-cut]) == b""


@pytest.mark.parametrize("end", ["close", "reset", "clean"])
def test_a_broken_responses_stream_gets_its_own_error_shape(stage, end):
    rest = broken_after(stage, end, CREATED, TEXT, path=RESPONSES_PATH)
    assert rest.startswith(b"event: error\ndata: ")
    last = events_of(rest)
    assert len(last) == 1
    assert last[0]["type"] == "error"
    assert last[0]["message"]
    assert last[0]["sequence_number"] == 2  # strict readers refuse an event without one


def test_a_completions_stream_without_done_broke(stage):
    text = answers.event({"object": "text_completion", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]})
    daemon = stage.daemon([stage.backend(answers.stream(text))])
    with daemon.client() as client:
        begin(daemon, client, "/openai/deployments/gpt-4o/completions?api-version=1")
        assert client.read_broken_payload().startswith(text)


@pytest.mark.parametrize("last", [COMPLETED, answers.typed("response.incomplete", response={"id": "r"}),
                                  answers.typed("response.failed", response={"id": "r", "error": {"code": "x", "message": "y"}})],
                         ids=["completed", "incomplete", "failed"])
def test_a_responses_stream_ends_cleanly_after_its_last_event(stage, last):
    daemon = stage.daemon([stage.backend(answers.stream(CREATED, TEXT, last))])
    assert streamed(daemon, RESPONSES_PATH).body == CREATED + TEXT + last


def test_an_error_event_after_the_commit_passes_as_it_is(stage):
    error = answers.error_event("content_filter", "Filtered.")
    daemon = stage.daemon([stage.backend(answers.stream(HELLO, error, DONE))])
    assert streamed(daemon).body == HELLO + error + DONE


def test_an_error_event_after_a_timed_commit_passes_as_it_is(stage):
    gate = Gate()
    error = answers.error_event("server_error")
    daemon = stage.daemon(in_order(stage.backend(answers.stream(*QUIET, gate, error, DONE)), stage.backend()),
                          timeouts={"commit_ms": 100})
    with daemon.client() as client:
        assert begin(daemon, client).status == 200
        gate.open()
        data = client.read_payload_until(DONE)
    assert data == b"".join(QUIET) + error + DONE


@pytest.mark.parametrize("behind", [[], [b'data: {"cho', b'ices":[]}\n\n']], ids=["last", "not-last"])
def test_an_error_event_after_a_timed_commit_may_end_the_stream(stage, behind):
    """The backend has said what went wrong: nothing is added, and its end in good order stays one."""
    gate, cut = Gate(), Gate()
    error = answers.error_event("server_error")
    pieces = [error + behind[0], cut, behind[1]] if behind else [error]
    daemon = stage.daemon([stage.backend(answers.stream(*QUIET, gate, *pieces))], timeouts={"commit_ms": 80})
    with daemon.client() as client:
        assert begin(daemon, client).status == 200
        gate.open()
        client.read_payload_until(error)
        cut.open()
        assert b"".join(iter(client.read_chunk, b"")) == b"".join(behind)
        assert client.is_open()


def test_silence_beyond_stream_idle_ms_is_a_break(stage):
    backend = stage.backend(answers.stream(HELLO, end="hang"))
    daemon = stage.daemon([backend], timeouts={"stream_idle_ms": 250})
    with daemon.client() as client:
        begin(daemon, client)
        data = client.read_broken_payload()
    assert data.startswith(HELLO)
    assert events_of(data)[-1]["error"]["message"]
    assert backend.exchanges[0].gone.wait(5)


def test_a_break_is_not_retried_after_the_commit(stage):
    gate = Gate()
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.backend(answers.stream(HELLO, gate, end="reset")), second))
    with daemon.client() as client:
        begin(daemon, client)
        gate.open()
        client.read_broken_payload()
    assert not second.requests


def test_a_garbled_chunk_after_the_commit_is_a_break(stage):
    head = answers.head(200, [answers.EVENT_STREAM, ("Transfer-Encoding", "chunked")])
    gate = Gate()
    daemon = stage.daemon([stage.backend(answers.parts(head + answers.chunk(HELLO), gate, b"nonsense\r\n", end="hang"))])
    with daemon.client() as client:
        begin(daemon, client)
        gate.open()
        assert client.read_broken_payload().startswith(HELLO)


def test_a_length_that_stays_short_after_the_commit_is_a_break(stage):
    head = answers.head(200, [answers.EVENT_STREAM, ("Content-Length", "90000")])
    daemon = stage.daemon([stage.backend(answers.raw(head + HELLO, "close"))])
    with daemon.client() as client:
        got = begin(daemon, client)
        if got.chunked:
            assert client.read_broken_payload().startswith(HELLO)
        else:
            with pytest.raises(Ended):
                client.wire.exactly(got.length)


# ---- silence

def test_silence_gets_a_comment_between_events(stage):
    gate = Gate()
    daemon = stage.daemon([stage.backend(answers.stream(HELLO, gate, STOP, DONE))], timeouts={"heartbeat_ms": 150})
    with daemon.client() as client:
        begin(daemon, client)
        client.read_payload_until(HELLO)
        for _ in range(3):
            began = time.monotonic()
            assert client.read_payload_until(b"\n\n") == b": keep-alive\n\n"
            assert time.monotonic() - began < 3
        gate.open()
        rest = client.read_payload_until(DONE).replace(b": keep-alive\n\n", b"")
        assert rest == STOP + DONE
        assert client.read_chunk() == b""


@pytest.mark.parametrize("pieces", [[HELLO[:25]], [HELLO[:-1]], [HELLO, b"data: {"]], ids=["early", "before-the-blank-line", "second"])
def test_silence_inside_an_event_gets_nothing(stage, pieces):
    gate = Gate()
    whole = b"".join(pieces)
    rest = HELLO[len(whole):] if len(pieces) == 1 else b"}\n\n"
    daemon = stage.daemon([stage.backend(answers.stream(WORLD, *pieces, gate, rest, STOP, DONE))], timeouts={"heartbeat_ms": 100})
    with daemon.client() as client:
        begin(daemon, client)
        data = b""
        while len(data) < len(WORLD + whole):
            data += client.read_chunk()
        assert data == WORLD + whole
        assert client.nothing_comes(0.35)
        gate.open()
        assert client.read_payload_until(DONE).replace(b": keep-alive\n\n", b"") == rest + STOP + DONE


def test_silence_in_a_json_answer_gets_nothing(stage):
    gate = Gate()
    body = b'{"x":"' + b"y" * 100_000 + b'"}'
    head = answers.head(200, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    daemon = stage.daemon([stage.backend(answers.parts(head + body[:90_000], gate, body[90_000:]))], timeouts={"heartbeat_ms": 80})
    with daemon.client() as client:
        daemon.open_chat(client)
        got = client.read_head()
        threading.Timer(0.3, gate.open).start()
        data = client.wire.exactly(len(body)) if got.length is not None else b"".join(iter(client.read_chunk, b""))
        assert data == body


def test_silence_in_a_coded_stream_gets_nothing(stage):
    gate = Gate()
    head = answers.head(200, [answers.EVENT_STREAM, ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")])
    daemon = stage.daemon([stage.backend(answers.parts(head + answers.chunk(b"\x1f\x8bcoded\n\n"), gate, b"3\r\nend\r\n0\r\n\r\n"))],
                          timeouts={"heartbeat_ms": 80, "commit_ms": 50})
    with daemon.client() as client:
        daemon.open_chat(client)
        client.read_head()
        threading.Timer(0.3, gate.open).start()
        assert b"".join(iter(client.read_chunk, b"")) == b"\x1f\x8bcoded\n\nend"


@pytest.mark.parametrize("coded", [b"\x1f\x8bab", b"\n\n", HELLO], ids=["binary", "blank-line", "like-an-event"])
def test_silence_in_a_coded_stream_gets_nothing_wherever_it_falls(stage, coded):
    gate = Gate()
    head = answers.head(200, [answers.EVENT_STREAM, ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")])
    daemon = stage.daemon([stage.backend(answers.parts(head + answers.chunk(coded), gate, b"4\r\ncdef\r\n0\r\n\r\n"))],
                          timeouts={"heartbeat_ms": 80, "response_ms": 300})
    with daemon.client() as client:
        assert begin(daemon, client).status == 200
        assert client.read_payload(len(coded)) == coded
        assert client.nothing_comes(0.35)
        gate.open()
        assert b"".join(iter(client.read_chunk, b"")) == b"cdef"


# ---- answers that are no streams

def test_a_short_answer_is_held_until_it_is_whole(stage):
    gate = Gate()
    body = json.dumps(answers.COMPLETION).encode()
    head = answers.head(200, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    backend = stage.backend(answers.parts(head + body[:20], gate, body[20:]))
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        daemon.open_chat(client)
        backend.await_requests(1)
        assert client.nothing_comes(0.25)
        gate.open()
        assert client.read_answer().body == body


def test_a_long_answer_is_not_held(stage):
    gate = Gate()
    body = b'"' + b"x" * 200_000 + b'"'
    head = answers.head(200, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    daemon = stage.daemon([stage.backend(answers.parts(head + body[:100_000], gate, body[100_000:]))])
    with daemon.client() as client:
        daemon.open_chat(client)
        assert client.read_head().status == 200
        gate.open()


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_long_answer_that_breaks_never_ends_cleanly(stage, framing, end):
    field = ("Content-Length", "200000") if framing == "length" else ("Transfer-Encoding", "chunked")
    data = b"x" * 150_000
    head = answers.head(200, [("Content-Type", "application/json"), field])
    second = stage.backend()
    gate = Gate()
    daemon = stage.daemon(in_order(stage.backend(answers.parts(head + (data if framing == "length" else answers.chunk(data)), gate,
                                                               end=end)), second))
    with daemon.client() as client:
        daemon.open_chat(client)
        assert client.read_head().status == 200
        gate.open()
        received = b""
        with pytest.raises(Ended):
            while True:
                received += client.wire.some()
    assert len(received) < 200_000
    assert not received.endswith(b"0\r\n\r\n")
    assert not second.requests
