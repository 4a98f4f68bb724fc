"""Uploads that are streamed through: whichever of the two ends goes wrong, the other is told and nobody else is harmed."""
import socket
import threading
import time

import pytest

from harness import answers
from harness.answers import DONE, HELLO, STOP, Gate
from harness.client import chunk
from harness.daemon import CHAT_PATH, is_sanitized
from harness.wire import Ended

# Bodies above this are streamed instead of kept.
STREAMED = {"max_body_bytes": 1024}
# Without quarantine AddressSanitizer gives freed memory back, so that what is counted is the daemon's own.
LEAN = {"ASAN_OPTIONS": "quarantine_size_mb=0:malloc_context_size=2:detect_stack_use_after_return=0"}
CHUNKED = b"POST /v1/files HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_ANSWER = answers.head(200, [("Content-Type", "application/json"), ("Content-Length", "200000")]) + b"y" * 100_000


def upload_head(length):
    return b"POST /v1/files HTTP/1.1\r\nHost: lb\r\nContent-Length: %d\r\n\r\n" % length


def only_uploads(speak):
    """Speaks so when an upload's head is there; other requests take their usual way."""
    return lambda exchange: speak(exchange) if exchange.request.path.endswith("/files") else False


def unread(*pieces):
    """Sends these bytes and gates, never reads the body, and resets the connection in the end."""

    def speak(exchange):
        exchange.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        answers.parts(*pieces, end="reset")(exchange)

    return only_uploads(speak)


def push(client, length):
    """Sends that many bytes, or fewer if the daemon ends the connection, while the test goes on; returns the thread."""

    def send():
        piece = b"x" * 65_536
        try:
            for at in range(0, length, len(piece)):
                client.sock.sendall(piece[:length - at])
        except OSError:
            pass

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def refused_or_closed(client):
    """The connection ends, with or without a word."""
    try:
        assert client.read_answer().status == 400
    except Ended:
        return
    assert client.wait_closed() in ("end", "reset")


# ---- the caller's faults

def test_a_malformed_chunk_ends_that_upload_alone(stage):
    gate = Gate()
    backend = stage.backend(answers.stream(HELLO, gate, STOP, DONE), before_body=only_uploads(answers.hang()))
    daemon = stage.daemon([backend], workers=1, retry=STREAMED)
    with daemon.client() as other, daemon.client() as client:
        daemon.open_chat(other, stream=True)
        other.read_head()
        client.send(CHUNKED + chunk(b"x" * 2048))
        exchange = backend.await_requests(2)
        client.send(b"ZZ\r\n")
        time.sleep(0.05)
        try:
            client.send(b"more")
        except OSError:
            pass
        refused_or_closed(client)
        assert exchange.gone.wait(5)
        gate.open()
        assert other.read_payload_until(DONE) == HELLO + STOP + DONE
        assert other.read_chunk() == b""
    assert daemon.chat().status == 200
    assert not daemon.find_lines("cooling down")


def test_a_malformed_chunk_after_the_answer_began_cuts_it_off(stage):
    backend = stage.backend(before_body=only_uploads(answers.parts(LONG_ANSWER, end="hang")))
    daemon = stage.daemon([backend], workers=1, retry=STREAMED)
    with daemon.client() as client:
        client.send(CHUNKED + chunk(b"x" * 2048))
        assert client.read_head().status == 200
        client.send(b"ZZ\r\nmore")
        with pytest.raises(Ended):
            client.wire.exactly(200_000)
        assert backend.exchanges[0].gone.wait(5)
    assert daemon.chat().status == 200


def test_an_upload_that_stalls_is_a_408(stage):
    backend = stage.backend(before_body=only_uploads(answers.hang()))
    daemon = stage.daemon([backend], workers=1, retry=STREAMED, timeouts={"client_body_ms": 250})
    with daemon.client() as client:
        client.send(upload_head(100_000) + b"x" * 20_000)
        exchange = backend.await_requests(1)
        assert client.read_answer().status == 408
        assert client.wait_closed() in ("end", "reset")
        assert exchange.gone.wait(5), "the backend's connection stayed open"
    assert daemon.chat().status == 200
    assert not daemon.find_lines("cooling down")


def test_an_upload_that_stalls_after_the_answer_began_is_cut_off(stage):
    backend = stage.backend(before_body=only_uploads(answers.parts(LONG_ANSWER, end="hang")))
    daemon = stage.daemon([backend], workers=1, retry=STREAMED, timeouts={"client_body_ms": 250})
    with daemon.client() as client:
        client.send(upload_head(100_000) + b"x" * 20_000)
        assert client.read_head().status == 200
        with pytest.raises(Ended):
            client.wire.exactly(200_000)
        assert backend.exchanges[0].gone.wait(5), "the backend's connection stayed open"
    assert daemon.chat().status == 200


def test_a_caller_that_leaves_inside_an_upload_cancels_it(stage):
    backend = stage.backend(before_body=only_uploads(answers.hang()))
    daemon = stage.daemon([backend], workers=1, retry=STREAMED)
    with daemon.client() as client:
        client.send(upload_head(100_000) + b"x" * 20_000)
        exchange = backend.await_requests(1)
        client.reset()
    assert exchange.gone.wait(5)
    assert daemon.chat().status == 200
    assert not daemon.find_lines("cooling down")


# ---- the backend's pace

def test_an_upload_to_a_backend_that_stops_reading_ends_within_response_ms(stage):
    gate = Gate()
    backend = stage.backend(before_body=unread(gate))
    daemon = stage.daemon([backend], retry=STREAMED, timeouts={"response_ms": 400})
    with daemon.client() as client:
        client.send(upload_head(80_000_000))
        began = time.monotonic()
        pushing = push(client, 80_000_000)
        got = client.read_answer()
        assert time.monotonic() - began < 4
        assert got.status == 504
        assert got.header("x-should-retry") == "false"
    gate.open()
    pushing.join(5)
    assert not pushing.is_alive()


def test_a_slow_upload_does_not_use_up_response_ms(stage):
    """The wait for the answer begins with the end of the request."""
    backend = stage.backend()
    daemon = stage.daemon([backend], retry=STREAMED, timeouts={"response_ms": 250})
    with daemon.client() as client:
        client.send(upload_head(60_000))
        for _ in range(6):
            client.send(b"x" * 10_000)
            time.sleep(0.1)
        assert client.read_answer().status == 200
    assert backend.request.body == b"x" * 60_000


def test_a_backend_that_answers_early_and_reads_on_gets_all_of_it(stage):
    def early(exchange):
        time.sleep(0.2)  # by now the upload has come to a halt
        exchange.send(answers.head(200, [("Content-Type", "application/json"), ("Content-Length", "2")]))
        time.sleep(0.1)
        exchange.read_body()
        exchange.send(b"{}")

    length = 20_000_000
    backend = stage.backend(before_body=only_uploads(early))
    daemon = stage.daemon([backend], retry=STREAMED)
    with daemon.client() as client:
        client.send(upload_head(length))
        push(client, length)
        got = client.read_answer()
        assert got.status == 200
        assert got.body == b"{}"
    assert backend.request.body == b"x" * length


def test_an_early_answer_does_not_unbind_the_uploads_window(stage):
    gate = Gate()
    backend = stage.backend(before_body=unread(LONG_ANSWER, gate))
    daemon = stage.daemon([backend], environment=LEAN, workers=1, retry=STREAMED)
    daemon.get("/healthz")
    with daemon.client() as client:
        client.send(upload_head(1_000_000_000))
        assert client.read_head().status == 200
        before = daemon.rss_bytes()
        client.sock.settimeout(0.5)
        sent = 0
        try:
            while sent < 100_000_000:
                sent += client.sock.send(b"x" * 262_144)
        except TimeoutError:
            pass
        assert sent < 50_000_000, "the upload was never stopped"
        assert daemon.rss_bytes() - before < (16 if is_sanitized() else 8) * 1_000_000
    gate.open()


def test_an_upload_does_not_delay_the_others(stage):
    gate = Gate()
    backend = stage.backend(before_body=unread(gate))
    daemon = stage.daemon([backend], workers=1, retry=STREAMED)
    with daemon.client() as client:
        client.send(CHUNKED)
        client.sock.settimeout(0.3)
        try:
            for _ in range(300):
                client.send(chunk(b"x" * 65_536))
        except TimeoutError:
            pass
        began = time.monotonic()
        assert daemon.call("POST", CHAT_PATH, body=b"{}").status == 200
        assert time.monotonic() - began < 1
    gate.open()
