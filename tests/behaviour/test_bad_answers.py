"""Backends that say what no server should: each is bounded, told in words, and another one answers.

Many cases go through one daemon; each has a deployment of its own, so that the rest of one does not touch the next.
"""
import concurrent.futures
import itertools
import re

import pytest

from harness import answers
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import in_order
from harness.wire import read_chunks

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def endless(piece, first=b""):
    """Says first, and then piece until the daemon leaves."""
    def speak(exchange):
        if exchange.send(first):
            for _ in itertools.takewhile(lambda number: exchange.sent < 64 << 20, itertools.count()):
                if not exchange.send(piece):
                    return
        exchange.reset()

    return speak


def drip(data, gate, first=b""):
    """Says first, and then data over and over, byte by byte, until the daemon leaves."""
    def speak(exchange):
        exchange.send(first)
        for value in itertools.cycle(data):
            if gate.event.wait(0.02) or exchange.backend.closing.is_set() or not exchange.send(bytes([value])):
                break
        exchange.reset()

    return speak


def run(daemon, first, cases, expected):
    """Each case is the first backend's answer to one request; what is not as expected, all at once."""
    wrong = []
    for number, (name, speak) in enumerate(cases.items()):
        first.then(answers.raw(speak) if isinstance(speak, bytes) else speak)
        got = daemon.chat(deployment=f"case-{number}")
        if got.status != 200 or got.json != answers.COMPLETION or got.outcomes != [("one", expected), ("two", "200")]:
            wrong.append((name, got.status, got.outcomes, got.body[:100]))
    assert not wrong, "\n".join(map(str, wrong))
    assert len(first.requests) == len(cases)


@pytest.fixture
def pair(stage):
    """A backend for the worst, one that is well, and a daemon before them."""
    first, second = stage.backend(), stage.backend()
    return stage.daemon(in_order(first, second), workers=1), first, second


# ---- heads

ENDLESS = {
    "10 MB in one line": endless(b"y" * 65536, OK + b"X: "),
    "10 MB of status line": endless(b"O" * 65536, b"HTTP/1.1 200 "),
    "lines without end": endless(b"X-Filler: 0123456789\r\n" * 1000, OK),
    "thousands of short lines": OK + b"a:b\r\n" * 5000 + b"Content-Length: 2\r\n\r\n{}",
    "early hints without end": endless(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" * 200),
    "continues without end": endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 200),
}


def test_a_head_without_end_is_bounded(pair):
    daemon, first, _ = pair
    daemon.chat(deployment="warm-up")
    before = daemon.rss_bytes()
    first.requests.clear()
    run(daemon, first, ENDLESS, "garbled")
    for exchange in first.exchanges[1:]:
        assert exchange.sent < 64 << 20, "the daemon read on"
    assert daemon.rss_bytes() - before < 16 << 20
    assert daemon.wait_for_line(r"Backend one \(.*\): garbled: its answer's head is too large")
    assert daemon.wait_for_line(r"Backend one \(.*\): garbled: it sends interim answers without end")


# Of the first four the sender waits for an answer: they are known by their first bytes, not by any end.
HEADS = {
    "another protocol": b"220 smtp.example ESMTP",
    "HTTP/0.9": b"<html>no head at all",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x50",
    "an empty line before it": b"\r\n" + OK + b"Content-Length: 2\r\n\r\n{}",
    "bytes before it": b"{}" + OK + b"Content-Length: 2\r\n\r\n{}",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a negative status": b"HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a control byte in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\n{}",
    "no line after it": b"HTTP/1.1 200 OK\n\n{}",
    "a first line that is folded": OK + b" X: y\r\nContent-Length: 2\r\n\r\n{}",
    "a fold by a tab": OK + b"X: y\r\n\tz\r\nContent-Length: 2\r\n\r\n{}",
    "a fold of the length": OK + b"Content-Length: 2\r\n 0\r\n\r\n{}",
    "a line that ends in LF": OK + b"X: y\nContent-Length: 2\r\n\r\n{}",
    "an end in LF": OK + b"Content-Length: 2\r\n\n{}",
    "a name with a space": OK + b"Content Length: 2\r\n\r\n{}",
    "a name with NUL": OK + b"Content-Length\x00: 2\r\n\r\n{}",
    "a name beyond ASCII": OK + b"Content-L\xe9ngth: 2\r\n\r\n{}",
    "no name": OK + b": 2\r\nContent-Length: 2\r\n\r\n{}",
    "a tab before the colon": OK + b"Content-Length\t: 2\r\n\r\n{}",
    "NUL behind the length": OK + b"Content-Length: 2\x00\r\n\r\n{}",
    "DEL in a value": OK + b"X: \x7f\r\nContent-Length: 2\r\n\r\n{}",
    "a length with a minus": OK + b"Content-Length: -2\r\n\r\n{}",
    "a length with 0x": OK + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with a fraction": OK + b"Content-Length: 2.0\r\n\r\n{}",
    "a length with an exponent": OK + b"Content-Length: 2e0\r\n\r\n{}",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "two numbers as length": OK + b"Content-Length: 2 2\r\n\r\n{}",
    "a length of 2^64": OK + b"Content-Length: 18446744073709551616\r\n\r\n{}",
    "a length of 2^64 - 1": OK + b"Content-Length: 18446744073709551615\r\n\r\n{}",
    "a length of forty digits": OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "two lengths apart": OK + b"Content-Length: 2\r\nX: y\r\ncontent-length: 20\r\n\r\n{}",
    "coding before length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n" + LAST,
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\n{}",
    "chunked before another": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n" + LAST,
    "chunked in quotes": OK + b"Transfer-Encoding: \"chunked\"\r\n\r\n2\r\n{}\r\n" + LAST,
    "chunked with a parameter": OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n2\r\n{}\r\n" + LAST,
    "chunked behind a control byte": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n2\r\n{}\r\n" + LAST,
    "another word": OK + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n" + LAST,
    "an empty coding": OK + b"Transfer-Encoding:\r\n\r\n2\r\n{}\r\n" + LAST,
    "two codings apart": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + LAST,
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + LAST,
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "101 behind early hints": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a body behind early hints": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\n{}" + OK + b"Content-Length: 2\r\n\r\n{}",
}


def test_a_malformed_head_is_garbled(pair):
    daemon, first, second = pair
    run(daemon, first, HEADS, "garbled")
    assert len(second.requests) == len(HEADS)


# ---- bodies

CHUNKS = {
    "no size": b"\r\n{}\r\n" + LAST,
    "a size with a minus": b"-2\r\n{}\r\n" + LAST,
    "a size with a plus": b"+2\r\n{}\r\n" + LAST,
    "a space before the size": b" 2\r\n{}\r\n" + LAST,
    "a space behind the size": b"2 \r\n{}\r\n" + LAST,
    "an underscore in the size": b"0_2\r\n{}\r\n" + LAST,
    "a size of 17 digits": b"00000000000000002\r\n{}\r\n" + LAST,
    "zeros without end": b"0" * 100_000,
    "NUL in the size": b"2\x00\r\n{}\r\n" + LAST,
    "a size that ends in CR": b"2\r{}\r\n" + LAST,
    "an extension that ends in LF": b"2;a=b\n{}\r\n" + LAST,
    "an extension with a control byte": b"2;a=\x01\r\n{}\r\n" + LAST,
    "an extension of 10 kB": b"2;a=" + b"b" * 10_000 + b"\r\n{}\r\n" + LAST,
    "data longer than its size": b"2\r\n{ }\r\n" + LAST,
    "data shorter than its size": b"3\r\n{}\r\n" + LAST,
    "LF behind the data": b"2\r\n{}\n" + LAST,
    "trailers of 20 kB": b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 3_500 + b"\r\n",
    "a trailer without end": b"2\r\n{}\r\n0\r\nX: " + b"y" * 100_000,
    "a folded trailer": b"2\r\n{}\r\n0\r\nX: y\r\n z\r\n\r\n",
    "a trailer with NUL": b"2\r\n{}\r\n0\r\nX: \x00\r\n\r\n",
    "an end in LF": b"2\r\n{}\r\n0\r\n\n",
}


def test_malformed_chunks_are_garbled(pair):
    daemon, first, _ = pair
    run(daemon, first, {name: CHUNKED + body for name, body in CHUNKS.items()}, "garbled")


HALF_HEAD = OK + b"Content-Length: 2\r\n"
CUT = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "half a head": HALF_HEAD,
    "early hints alone": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "a head": HALF_HEAD + b"\r\n",
    "less than its length": OK + b"Content-Length: 20\r\n\r\n{}",
    "a chunked head": CHUNKED,
    "half a size": CHUNKED + b"2",
    "half a chunk": CHUNKED + b"4\r\n{}",
    "a chunk": CHUNKED + b"2\r\n{}\r\n",
    "a last chunk without its end": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "trailers without their end": CHUNKED + b"2\r\n{}\r\n0\r\nX: y\r\n",
}


@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_answer_that_is_cut_anywhere_is_asked_for_elsewhere(pair, end):
    daemon, first, _ = pair
    run(daemon, first, {name: answers.raw(data, end) for name, data in CUT.items()}, "reset")


def test_a_stall_anywhere_is_bounded(stage):
    """And so is a drip that never makes a head."""
    gate = answers.Gate()
    cases = {**{name: answers.parts(data, end="hang") for name, data in CUT.items()},
             "a head byte by byte": drip(b"X: y\r\n", gate, OK),
             "interim answers one by one": drip(b"HTTP/1.1 102 Processing\r\n\r\n", gate)}
    first = stage.backend()
    daemon = stage.daemon(in_order(first, stage.backend()), timeouts={"response_ms": 2000, "stream_idle_ms": 2000})
    first.script.extend(cases.values())
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        got = list(pool.map(lambda number: daemon.chat(deployment=f"case-{number}"), range(len(cases))))
    gate.open()
    assert [one.status for one in got] == [200] * len(cases)
    assert [one.outcomes for one in got] == [[("one", "timeout"), ("two", "200")]] * len(cases)


# ---- what is odd but clear

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_interim_answers_are_skipped(pair):
    daemon, first, _ = pair
    first.then(answers.raw(INTERIM * 20 + OK + b"Content-Length: 2\r\n\r\n{}"))
    with daemon.client() as client:
        daemon.open_chat(client)
        got = client.read_head(interim=True)
    assert got.status == 200
    assert got.header("link") is None


BODILESS = {
    "204 with a body": ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n{}"),
    "304 with a length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
    "304 with a body": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n{}"),
    "304 with chunks": ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + LAST),
    "HEAD with a length": ("HEAD", OK + b"Content-Length: 2\r\n\r\n"),
    "HEAD with a body": ("HEAD", OK + b"Content-Length: 2\r\n\r\n{}"),
    "HEAD with chunks": ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + LAST),
    "HEAD without a length": ("HEAD", OK + b"\r\n"),
}


def test_an_answer_without_a_body_has_none(pair):
    """Whatever its head promises, and whatever comes behind it."""
    daemon, first, _ = pair
    for name, (method, data) in BODILESS.items():
        first.then(answers.raw(data))
        with daemon.client() as client:
            got = client.call(method, "/v1/files/file-1")
            assert got.status == int(data[9:12]), name
            assert got.body == b"", name
            # Nothing is left over for the next answer on either side.
            assert client.call("POST", CHAT_PATH, body=CHAT_BODY).json == answers.COMPLETION, name


# ---- surplus

SURPLUS = {
    "behind a length": OK + b"Content-Length: 2\r\n\r\n{}",
    "behind the last chunk": CHUNKED + b"2\r\n{}\r\n" + LAST,
    "behind an error": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
    "behind a length of zero": OK + b"Content-Length: 0\r\n\r\n",
}
POISON = [b"\r\n", b"x", OK + b"Content-Length: 6\r\n\r\npoison"]


def test_a_connection_with_surplus_bytes_is_not_used_again(pair):
    daemon, first, _ = pair
    for number, (data, poison) in enumerate(itertools.product(SURPLUS.values(), POISON)):
        first.then(answers.raw(data + poison))
        with daemon.client() as client:
            daemon.open_chat(client)
            assert client.read_answer().status in (200, 400)
            daemon.open_chat(client)
            assert client.read_answer().json == answers.COMPLETION
        before, after = first.requests[2 * number:]
        assert before.connection != after.connection, (data, poison)


# ---- answers before the request was there

EARLY = {401: answers.error(401, "401", "No."), 413: answers.error(413, "too_large", "Too long."), 200: answers.ok()}


@pytest.mark.parametrize("status", EARLY)
@pytest.mark.parametrize("then", ["keep", "close", "reset"])
def test_an_early_answer_passes_and_the_rest_of_the_body_stays_here(stage, status, then):
    """The backend answers to the head and reads no further."""
    gate = answers.Gate()

    def early(exchange):
        if len(exchange.backend.requests) > 1:
            return False
        EARLY[status](exchange)
        gate.wait(exchange)
        if then == "keep":
            exchange.wait_until_gone()
        answers.finish(exchange, then)
        return True

    backend = stage.backend(before_body=early)
    daemon = stage.daemon([backend], workers=1)
    body = b'{"x":"' + b"y" * 20_000_000 + b'"}'
    with daemon.client() as client:
        got = client.call("POST", CHAT_PATH, [("Content-Type", "application/json")], body)
        assert got.status == status
        assert got.outcomes == [("one", str(status))]
        gate.open()
        assert len(backend.exchanges[0].wire.buffer) < len(body)
        assert client.call("POST", CHAT_PATH, body=CHAT_BODY).status == 200
    assert [request.connection for request in backend.requests] == [1, 2]


# ---- streams that lack their end only

@pytest.mark.parametrize("events", [answers.CHAT, answers.RESPONSES], ids=["chat", "responses"])
@pytest.mark.parametrize("end", ["close", "reset", "hang", "garbled"])
def test_a_stream_that_has_said_all_ends_cleanly(stage, events, end):
    """Its final chunk is all that is missing: the caller has what it asked for."""
    gate = answers.Gate()  # the answer is committed before its last events come
    first = answers.stream(*events[:3], gate, *events[3:], end=end)
    if end == "garbled":
        chunks = [b"".join(map(answers.chunk, part)) for part in (events[:3], events[3:])]
        head = answers.head(200, [answers.EVENT_STREAM, ("Transfer-Encoding", "chunked")])
        first = answers.parts(head + chunks[0], gate, chunks[1] + b"nonsense\r\n")
    backend = stage.backend(first)
    daemon = stage.daemon([backend], workers=1)
    path = "/v1/responses" if events is answers.RESPONSES else "/v1/chat/completions"
    with daemon.client() as client:
        client.request("POST", path, body={"model": "gpt-4o", "stream": True})
        client.read_head()
        gate.open()
        assert read_chunks(client.wire) == b"".join(events)
        assert client.call("POST", path, body={"model": "gpt-4o"}).status == 200
    assert [request.connection for request in backend.requests] == [1, 2]
    assert daemon.wait_for_line(r"Backend one \(.*\): its stream had said all, but ")
    assert not daemon.find_lines(re.escape("the answer broke"))
