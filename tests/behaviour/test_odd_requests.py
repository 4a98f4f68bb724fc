"""Rare forms that HTTP/1.1 allows work, and what the backend is sent is what was meant."""
import pytest

from harness.client import request_bytes
from harness.daemon import CHAT_PATH
from hostile.odd import CHAT, HOST, ODD

HEADERS_MAX = 128
HEAD_MAX_BYTES = 65536


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(auth={"type": "api_key", "key": "own-key"})], workers=1)


def check(scene, row, pieces):
    backend, daemon = scene
    before = len(backend.requests)
    with daemon.client() as client:
        for piece in pieces:
            client.send(piece)
        if row.alive:
            client.send(request_bytes("GET", "/healthz"))
        for method in row.methods:
            got = client.read_answer(method)
            assert got.status == 200, (row.name, got)
        if row.alive:
            assert client.read_answer("GET").body == b"ok\n", row.name
        else:
            assert client.wait_closed() in ("end", "reset"), row.name
    seen = backend.requests[before:]
    assert tuple(request.body for request in seen) == row.bodies, row.name
    for request in seen:
        assert request.header("host") == backend.authority
        assert request.header("api-key") == "own-key"
        assert request.header("authorization") is None
        names = request.headers.names()
        assert not set(row.absent) & set(names), row.name
        for name, value in row.present:
            assert request.header(name) == value, row.name
        assert row.target in (None, request.target), row.name


def test_there_are_many_of_them():
    assert len({row.data for row in ODD}) >= 200


def test_they_are_understood(scene):
    for row in ODD:
        check(scene, row, [row.data])


def test_they_are_understood_byte_by_byte(scene):
    for row in [row for row in ODD if len(row.data) < 300][::3]:
        check(scene, row, [row.data[at:at + 1] for at in range(len(row.data))])


def test_they_are_understood_wherever_they_are_cut(scene):
    for row in [row for row in ODD if len(row.data) < 250][::25]:
        for at in range(1, len(row.data)):
            check(scene, row, [row.data[:at], row.data[at:]])


def test_the_most_fields_that_a_head_may_have_pass(scene):
    """The cap counts all of them; one more is a 431."""
    _, daemon = scene
    first = b"POST " + CHAT + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n"
    for count, status in ((HEADERS_MAX - 2, 200), (HEADERS_MAX - 1, 431)):
        with daemon.client() as client:
            client.send(first + b"Accept-X: y\r\n" * count + b"\r\n")
            assert client.read_answer().status == status


def test_the_longest_head_passes(scene):
    """To the byte."""
    _, daemon = scene
    first = b"POST " + CHAT + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nX-Custom: "
    for length, status in ((HEAD_MAX_BYTES, 200), (HEAD_MAX_BYTES + 1, 431)):
        with daemon.client() as client:
            client.send(first + b"y" * (length - len(first) - 4) + b"\r\n\r\n")
            assert client.read_answer().status == status


def test_the_longest_target_passes(scene):
    _, daemon = scene
    last = b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n"
    for length, status in ((HEAD_MAX_BYTES - len(last), 200), (HEAD_MAX_BYTES, 414)):
        with daemon.client() as client:
            client.send((b"POST " + CHAT + b"?x=").ljust(length, b"x") + last)
            assert client.read_answer().status == status


@pytest.mark.parametrize("target, headers, status", [
    (CHAT_PATH, [("Content-Length", "33554433")], 413),
    ("/nothing/here", [("Content-Length", "5000")], 404),
    ("/v1/chat/completions", [("Content-Length", "5000"), ("Content-Encoding", "gzip")], 415),
    (CHAT_PATH.replace("gpt-4o", "a%0ab"), [("Content-Length", "5000")], 400),
])
def test_a_body_that_will_be_refused_is_not_asked_for(scene, target, headers, status):
    _, daemon = scene
    with daemon.client() as client:
        client.send(request_bytes("POST", target, [*headers, ("Expect", "100-continue")]))
        assert client.read_head(interim=True).status == status


def test_a_100_comes_first_and_once(scene):
    _, daemon = scene
    with daemon.client() as client:
        for _ in range(3):
            client.send(request_bytes("POST", CHAT_PATH, [("Expect", "100-continue"), ("Content-Length", "2")]))
            assert client.read_head(interim=True).status == 100
            client.send(b"{}")
            got = client.read_head(interim=True)
            assert got.status == 200
            client.wire.exactly(got.length)
