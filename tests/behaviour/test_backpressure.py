"""Whoever does not read stops whoever sends, and memory stays bounded."""
import time

import pytest

from harness import answers
from harness.answers import HELLO
from harness.client import chunk, wait_for
from harness.daemon import CHAT_PATH, is_sanitized
from harness.stage import in_order
from harness.wire import Ended

# Without quarantine AddressSanitizer gives freed memory back, so that what is counted is the daemon's own.
LEAN = {"ASAN_OPTIONS": "quarantine_size_mb=0:malloc_context_size=2:detect_stack_use_after_return=0"}
STREAM_BYTES = 90_000_000


def flood(total=STREAM_BYTES, headers=(answers.EVENT_STREAM,)):
    """A stream of that many bytes, as fast as it is taken."""
    piece = answers.chunk(HELLO * 300)
    count = total // (len(HELLO) * 300)

    def speak(exchange):
        exchange.send(answers.head(200, [*headers, ("Transfer-Encoding", "chunked")]))
        for _ in range(count):
            if not exchange.send(piece):
                return
        exchange.send(answers.chunk(answers.DONE) + b"0\r\n\r\n")

    speak.total = count * len(HELLO) * 300 + len(answers.DONE)
    return speak


def settled(value, seconds=15):
    """Waits until a number stops to grow."""
    last, since = value(), time.monotonic()
    deadline = since + seconds
    while time.monotonic() - since < 0.5:
        time.sleep(0.05)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < deadline, "it never stops to grow"
    return last


def test_eight_callers_that_do_not_read_cost_less_than_8_mb(stage):
    backend = stage.backend(default=flood())
    daemon = stage.daemon([backend], environment=LEAN)
    backend.then(answers.stream(*answers.CHAT))
    daemon.chat(stream=True)
    before = daemon.rss_bytes()
    clients = [daemon.open_chat(daemon.client(receive_buffer=65536), stream=True) for _ in range(8)]
    backend.await_requests(9)
    sent = settled(lambda: sum(exchange.sent for exchange in backend.exchanges))
    assert sent < 8 * 20_000_000, "the backends were never stopped"
    grown = daemon.rss_bytes() - before
    assert grown < (16 if is_sanitized() else 8) * 1_000_000
    for client in clients:
        client.close()
    for exchange in backend.exchanges[1:]:
        assert exchange.gone.wait(5)


def test_a_stream_that_was_stopped_goes_on_whole(stage):
    speak = flood(30_000_000)
    backend = stage.backend(speak)
    daemon = stage.daemon([backend])
    with daemon.client(receive_buffer=65536) as client:
        daemon.open_chat(client, stream=True)
        exchange = backend.await_requests(1)
        assert settled(lambda: exchange.sent) < speak.total
        got = client.read_answer()
        assert len(got.body) == speak.total
        assert got.body.startswith(HELLO * 300)
        assert got.body.endswith(HELLO + answers.DONE)


def test_a_slow_reader_does_not_slow_the_others(stage):
    backend = stage.backend(flood())
    daemon = stage.daemon([backend], workers=1)
    with daemon.client(receive_buffer=65536) as slow:
        daemon.open_chat(slow, stream=True)
        exchange = backend.await_requests(1)
        settled(lambda: exchange.sent)
        for _ in range(10):
            began = time.monotonic()
            assert daemon.chat().status == 200
            assert time.monotonic() - began < 1


def test_a_caller_that_blocks_longer_than_client_send_ms_is_let_go(stage):
    first, second = stage.backend(flood()), stage.backend()
    daemon = stage.daemon(in_order(first, second), timeouts={"client_send_ms": 400})
    with daemon.client(receive_buffer=65536) as client:
        daemon.open_chat(client, stream=True)
        exchange = first.await_requests(1)
        assert exchange.gone.wait(10)
        with pytest.raises(Ended):
            client.read_answer()
    assert daemon.chat().header("x-aoai-lb-backend") == "one"
    assert not daemon.find_lines("cooling down")


def test_a_backends_clock_stands_still_while_the_caller_blocks(stage):
    speak = flood(30_000_000)
    backend = stage.backend(speak)
    daemon = stage.daemon([backend], timeouts={"stream_idle_ms": 300})
    with daemon.client(receive_buffer=65536) as client:
        daemon.open_chat(client, stream=True)
        exchange = backend.await_requests(1)
        settled(lambda: exchange.sent)
        time.sleep(0.6)
        assert len(client.read_answer().body) == speak.total


def test_a_backend_that_reads_slowly_gets_the_whole_body(stage):
    gate = answers.Gate()

    def slowly(exchange):
        gate.wait(exchange)
        return False

    backend = stage.backend(before_body=slowly)
    daemon = stage.daemon([backend])
    body = b'{"x":"' + b"y" * 20_000_000 + b'"}'
    with daemon.client() as client:
        client.request("POST", CHAT_PATH, body=body)
        backend.await_requests(1)
        gate.open()
        assert client.read_answer().status == 200
    assert backend.request.body == body


def test_an_upload_beyond_the_cap_is_streamed_through(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], retry={"max_body_bytes": 100_000})
    body = bytes(range(256)) * 20_000
    headers = [("Content-Type", "multipart/form-data; boundary=x")]
    assert daemon.call("POST", "/openai/files?api-version=1", headers, body).status == 200
    assert backend.request.body == body


def test_a_chunked_upload_beyond_the_cap_is_streamed_through(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], retry={"max_body_bytes": 100_000})
    body = bytes(range(256)) * 8_000
    with daemon.client() as client:
        client.send(b"POST /v1/files HTTP/1.1\r\nHost: lb\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 50_000):
            client.send(chunk(body[start:start + 50_000]))
        client.send(b"0\r\n\r\n")
        assert client.read_answer().status == 200
    assert backend.request.body == body


def test_a_streamed_upload_is_not_kept_in_memory(stage):
    gate = answers.Gate()

    def stuck(exchange):
        gate.wait(exchange)
        return False

    backend = stage.backend(before_body=stuck)
    daemon = stage.daemon([backend], environment=LEAN, retry={"max_body_bytes": 100_000})
    daemon.get("/healthz")
    before = daemon.rss_bytes()
    with daemon.client() as client:
        client.sock.settimeout(1)
        client.send(b"POST /v1/files HTTP/1.1\r\nHost: lb\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                    b"Content-Length: 80000000\r\n\r\n")
        sent = 0
        try:
            while sent < 80_000_000:
                sent += client.sock.send(b"x" * 100_000)
        except TimeoutError:
            pass
        assert sent < 40_000_000, "the upload was never stopped"
        assert daemon.rss_bytes() - before < 8_000_000
    gate.open()


# ---- limits of all requests together

def test_a_body_larger_than_all_memory_for_bodies_is_a_413(stage):
    daemon = stage.daemon([stage.backend()], limits={"max_buffered_bytes": 1_000_000})
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 1500000\r\n\r\n")
        assert client.read_answer().status == 413


def test_bodies_beyond_the_memory_for_bodies_wait_their_turn(stage):
    gate = answers.Gate()
    backend = stage.backend(answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], limits={"max_buffered_bytes": 1_000_000})
    body = b'"' + b"x" * 700_000 + b'"'
    with daemon.client() as first, daemon.client() as second:
        first.request("POST", CHAT_PATH, body=body)
        backend.await_requests(1)
        second.request("POST", CHAT_PATH, body=body)
        assert second.nothing_comes(0.3)
        assert len(backend.requests) == 1
        gate.open()
        assert first.read_answer().status == 200
        assert second.read_answer().status == 200


def test_bodies_that_wait_too_long_for_memory_get_a_503_with_hints(stage):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend], limits={"max_buffered_bytes": 1_000_000}, timeouts={"client_body_ms": 300})
    body = b'"' + b"x" * 700_000 + b'"'
    with daemon.client() as first, daemon.client() as second:
        first.request("POST", CHAT_PATH, body=body)
        backend.await_requests(1)
        second.request("POST", CHAT_PATH, body=body)
        got = second.read_answer()
        assert got.status == 503
        assert 1 <= int(got.header("retry-after")) <= 60
        assert 1 <= int(got.header("retry-after-ms")) <= 60_000


def test_connections_above_the_limit_wait_unaccepted(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], limits={"max_connections": 2})
    wait_for(lambda: daemon.call("GET", "/healthz").status == 200)
    clients = [daemon.open_chat(daemon.client()) for _ in range(2)]
    backend.await_requests(2)
    with daemon.client() as third:
        daemon.open_chat(third)
        assert third.nothing_comes(0.3)
        assert len(backend.requests) == 2
        gate.open()
        for client in clients:
            assert client.read_answer().status == 200
            client.close()
        assert third.read_answer().status == 200
