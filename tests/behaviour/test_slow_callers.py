"""A caller may be slow, but not for ever."""
import time

import pytest

from harness.client import chunk
from harness.daemon import CHAT_PATH
from harness.wire import Ended

CLIENT_BODY_MS = 400
LENGTH = b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend], timeouts={"client_body_ms": CLIENT_BODY_MS})


@pytest.mark.parametrize("burst, drop", [
    (LENGTH + b"x" * 900_000, b"x"),
    (CHUNKED + chunk(b"x" * 900_000), b"1\r\nx\r\n"),
    (LENGTH, b"x"),
], ids=["length", "chunked", "no-burst"])
def test_a_body_that_drips_after_a_burst_is_ended(scene, burst, drop):
    backend, daemon = scene
    before = len(backend.requests)
    with daemon.client() as client:
        began = time.monotonic()
        client.send(burst)
        while client.nothing_comes(0.1):
            assert time.monotonic() - began < 2.5 * CLIENT_BODY_MS / 1000 + 1, "it may drip for ever"
            client.send(drop)
        try:
            assert client.read_answer().status == 408
        except Ended:
            pytest.fail("the 408 was lost")
        assert client.wait_closed() in ("end", "reset")
    assert len(backend.requests) == before


def test_a_body_that_comes_steadily_may_take_longer(scene):
    backend, daemon = scene
    with daemon.client() as client:
        client.send(LENGTH)
        for _ in range(10):
            client.send(b"x" * 100_000)
            time.sleep(0.12)
        assert client.read_answer().status == 200
    assert len(backend.requests[-1].body) == 1_000_000


@pytest.fixture(scope="module")
def hasty(shared_stage):
    return shared_stage.daemon([shared_stage.backend()], timeouts={"client_header_ms": 400, "keep_alive_ms": 400})


@pytest.mark.parametrize("behind", [False, True], ids=["first", "kept-alive"])
@pytest.mark.parametrize("begin", [b"\r", b"\r\n"], ids=["half-a-line", "a-line"])
def test_an_empty_line_buys_no_time(hasty, behind, begin):
    """It is no request, so the connection ends as an idle one does."""
    with hasty.client() as client:
        if behind:
            assert client.call("GET", "/healthz").status == 200
        client.send(begin)
        assert client.wait_closed() == "end"


def test_empty_lines_cannot_drip_for_ever(hasty):
    with hasty.client() as client:
        for byte in b"\r\n" * 2:
            client.send(bytes([byte]))
            if not client.nothing_comes(0.05):
                break
        assert client.read_answer().status == 400
        assert client.wait_closed() in ("end", "reset")
