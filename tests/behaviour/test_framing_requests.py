"""A request whose limits two parsers could see differently is refused, and the connection with it."""
import time

import pytest

from harness import answers
from harness.client import chunk, request_bytes
from harness.daemon import CHAT_PATH
from harness.wire import Ended

LINE = b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\n"
HOST = b"Host: lb\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: lb\r\n\r\n"


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend])


def refused(scene, request, *statuses):
    """The bytes get one refusal and a close; what comes behind them is never taken for a request."""
    backend, daemon = scene
    before = len(backend.requests)
    with daemon.client() as client:
        client.send(request + SMUGGLED)
        got = client.read_answer()
        assert got.status in (statuses or (400,)), got
        assert got.json["error"]["message"]
        assert not got.keeps_alive
        assert client.wait_closed() in ("end", "reset")
    assert len(backend.requests) == before


MALFORMED_HEADS = {
    "a bare LF ends the request line": b"POST /v1/embeddings HTTP/1.1\nHost: lb\r\n\r\n",
    "a bare LF ends a field": LINE + b"Host: lb\nX: y\r\n\r\n",
    "bare LFs end the head": LINE + b"Host: lb\r\nX: y\n\n",
    "a bare CR in a field": LINE + HOST + b"X: a\rb\r\n\r\n",
    "a bare CR in a name": LINE + HOST + b"X\rY: a\r\n\r\n",
    "a bare CR in the request line": b"POST /v1/embeddings\r HTTP/1.1\r\nHost: lb\r\n\r\n",
    "obs-fold": LINE + HOST + b"X: a\r\n b\r\n\r\n",
    "obs-fold with a tab": LINE + HOST + b"X: a\r\n\tb\r\n\r\n",
    "a folded first field": LINE + b" X: a\r\n" + HOST + b"\r\n",
    "NUL in a value": LINE + HOST + b"X: a\x00b\r\n\r\n",
    "NUL in a name": LINE + HOST + b"X\x00: ab\r\n\r\n",
    "a control byte in a value": LINE + HOST + b"X: a\x01b\r\n\r\n",
    "DEL in a value": LINE + HOST + b"X: a\x7fb\r\n\r\n",
    "ESC in a name": LINE + HOST + b"X\x1b: ab\r\n\r\n",
    "a space before a colon": LINE + HOST + b"Content-Length : 0\r\n\r\n",
    "a tab before a colon": LINE + HOST + b"X\t: 0\r\n\r\n",
    "a space inside a name": LINE + HOST + b"X Y: 0\r\n\r\n",
    "no colon": LINE + HOST + b"X\r\n\r\n",
    "an empty name": LINE + HOST + b": x\r\n\r\n",
    "a non-ASCII name": LINE + HOST + b"X\xe9: x\r\n\r\n",
    "no Host": LINE + b"X: y\r\n\r\n",
    "two Hosts": LINE + HOST + b"Host: other\r\n\r\n",
    "two equal Hosts": LINE + HOST + HOST + b"\r\n",
    "two Content-Lengths": LINE + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two equal Content-Lengths": LINE + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of Content-Lengths": LINE + HOST + b"Content-Length: 2, 2\r\n\r\n{}",
    "Content-Length with a plus": LINE + HOST + b"Content-Length: +2\r\n\r\n{}",
    "Content-Length below zero": LINE + HOST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal Content-Length": LINE + HOST + b"Content-Length: 0x2\r\n\r\n{}",
    "a Content-Length with a space inside": LINE + HOST + b"Content-Length: 1 2\r\n\r\n{}",
    "an empty Content-Length": LINE + HOST + b"Content-Length:\r\n\r\n",
    "a Content-Length beyond all numbers": LINE + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a Content-Length that wraps": LINE + HOST + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "length and coding": LINE + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": LINE + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": LINE + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings fields": LINE + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an empty coding": LINE + HOST + b"Transfer-Encoding:\r\n\r\n",
    "two spaces after the method": b"POST  /v1/embeddings HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces before the version": b"POST /v1/embeddings  HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the target": b"POST /v1/ embeddings HTTP/1.1\r\n" + HOST + b"\r\n",
    "a leading space": b" POST /v1/embeddings HTTP/1.1\r\n" + HOST + b"\r\n",
    "a trailing space": b"POST /v1/embeddings HTTP/1.1 \r\n" + HOST + b"\r\n",
    "no version": b"POST /v1/embeddings\r\n" + HOST + b"\r\n",
    "a lower-case version": b"POST /v1/embeddings http/1.1\r\n" + HOST + b"\r\n",
    "a long version": b"POST /v1/embeddings HTTP/1.10\r\n" + HOST + b"\r\n",
    "a version of letters": b"POST /v1/embeddings HTTP/a.b\r\n" + HOST + b"\r\n",
    "a method of brackets": b"PO(ST /v1/embeddings HTTP/1.1\r\n" + HOST + b"\r\n",
    "no method": b" /v1/embeddings HTTP/1.1\r\n" + HOST + b"\r\n",
    "a control byte in the target": b"POST /v1/emb\x01eddings HTTP/1.1\r\n" + HOST + b"\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("request_head", MALFORMED_HEADS.values(), ids=[name.replace(" ", "-") for name in MALFORMED_HEADS])
def test_a_malformed_head_is_refused(scene, request_head):
    refused(scene, request_head, 400, *((505,) if b"HTTP/2.0" in request_head else ()))


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"chunked, gzip", b"xchunked", b"chunked;q=1", b'"chunked"',
                                    b"chunked,", b",chunked"])
def test_a_coding_other_than_one_chunked_is_refused(scene, coding):
    refused(scene, LINE + HOST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n", 400)


def test_the_case_of_chunked_does_not_matter(scene):
    _, daemon = scene
    with daemon.client() as client:
        client.send(LINE + HOST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        assert client.read_answer().status == 200


CHUNKED = LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
MALFORMED_CHUNKS = {
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "a size with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size with a plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "a size below zero": b"-2\r\n{}\r\n0\r\n\r\n",
    "a size of letters": b"g\r\n{}\r\n0\r\n\r\n",
    "a size with a space in front": b" 2\r\n{}\r\n0\r\n\r\n",
    "a size beyond 16 digits": b"00000000000000002\r\n{}\r\n0\r\n\r\n",
    "a size that wraps": b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a bare LF behind the size": b"2\n{}\r\n0\r\n\r\n",
    "a bare LF behind the data": b"2\r\n{}\n0\r\n\r\n",
    "nothing behind the data": b"2\r\n{}0\r\n\r\n",
    "more data than announced": b"2\r\n{}}\r\n0\r\n\r\n",
    "a control byte in an extension": b"2;a=\x01\r\n{}\r\n0\r\n\r\n",
    "a bare CR in an extension": b"2;a=\rb\r\n{}\r\n0\r\n\r\n",
    "a bare LF at the end": b"2\r\n{}\r\n0\n\n",
    "a malformed trailer": b"2\r\n{}\r\n0\r\nX : y\r\n\r\n",
    "a trailer without a colon": b"2\r\n{}\r\n0\r\nnonsense\r\n\r\n",
    "an endless extension": b"2;" + b"x" * 5000 + b"\r\n{}\r\n0\r\n\r\n",
    "endless trailers": b"2\r\n{}\r\n0\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("chunks", MALFORMED_CHUNKS.values(), ids=[name.replace(" ", "-") for name in MALFORMED_CHUNKS])
def test_a_malformed_chunk_is_refused(scene, chunks):
    refused(scene, CHUNKED + chunks, 400)


# ---- sizes

def test_a_head_over_the_cap_is_a_431(scene):
    refused(scene, LINE + HOST + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431)


def test_a_head_that_never_ends_is_a_431(scene):
    _, daemon = scene
    with daemon.client() as client:
        client.send(LINE + HOST + b"X: " + b"y" * 70_000)
        assert client.read_answer().status == 431
        assert client.wait_closed() in ("end", "reset")


def test_too_many_fields_are_a_431(scene):
    refused(scene, LINE + HOST + b"X: y\r\n" * 2000 + b"\r\n", 431)


def test_a_large_head_below_the_cap_passes(scene):
    backend, daemon = scene
    assert daemon.chat([("X-Large", "y" * 60_000)]).status == 200
    assert backend.requests[-1].header("x-large") == "y" * 60_000


def test_the_heads_cap_can_be_configured(stage):
    daemon = stage.daemon([stage.backend()], limits={"max_header_bytes": 4096})
    assert daemon.chat([("X-Large", "y" * 3000)]).status == 200
    assert daemon.chat([("X-Large", "y" * 5000)]).status == 431


def test_an_endless_target_is_refused(scene):
    refused(scene, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: lb\r\n\r\n", 414, 431)


@pytest.fixture(scope="module")
def small(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend], retry={"max_body_bytes": 2000})


def test_a_body_over_the_cap_is_a_413(small):
    backend, daemon = small
    assert daemon.call("POST", CHAT_PATH, body=b"x" * 2001).status == 413
    assert daemon.call("POST", CHAT_PATH, body=b"x" * 2000).status == 200
    assert len(backend.requests) == 1


def test_a_body_far_over_the_cap_is_refused_unread(small):
    refused(small, LINE + HOST + b"Content-Length: 999999999\r\n\r\n", 413)


def test_a_body_over_the_cap_is_not_asked_for(small):
    """A caller that waits for its 100 would otherwise wait for nothing."""
    _, daemon = small
    with daemon.client() as client:
        client.send(LINE + HOST + b"Content-Length: 2001\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head(interim=True).status == 413


def test_a_chunked_body_over_the_cap_is_a_413(small):
    _, daemon = small
    with daemon.client() as client:
        client.send(CHUNKED + chunk(b"x" * 1200) + chunk(b"y" * 1200))
        assert client.read_answer().status == 413
        client.send(b"0\r\n\r\n")


def test_a_refusal_reaches_a_caller_that_is_still_sending(small):
    """A reset would take the answer away from a client that has not read it yet."""
    _, daemon = small
    for _ in range(5):
        with daemon.client() as client:
            client.send(LINE + HOST + b"Content-Length: 3000000\r\n\r\n")
            try:
                for _ in range(30):
                    client.send(b"x" * 100_000)
            except ConnectionError:
                pass
            assert client.read_answer().status == 413


# ---- versions, expectations

@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.1"])
def test_an_unknown_version_is_a_505(scene, version):
    refused(scene, b"POST /v1/embeddings " + version + b"\r\nHost: lb\r\n\r\n", 505)


def test_an_unknown_expectation_is_a_417(scene):
    _, daemon = scene
    assert daemon.call("POST", CHAT_PATH, [("Expect", "a-miracle")], b"{}").status == 417


@pytest.mark.parametrize("connection, upgrade", [("Upgrade, HTTP2-Settings", "h2c"), ("Upgrade", "h2c"), ("upgrade", "TLS/1.0")])
def test_an_upgrade_that_may_be_ignored_is(scene, connection, upgrade):
    """RFC 9110, 7.8. Some HTTP/2 clients offer h2c with every request."""
    backend, daemon = scene
    headers = [("Connection", connection), ("Upgrade", upgrade), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")]
    assert daemon.chat(headers).status == 200
    assert backend.requests[-1].header("upgrade") is None


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
def test_a_websocket_is_a_501(scene, upgrade):
    _, daemon = scene
    headers = [("Connection", "Upgrade"), ("Upgrade", upgrade), ("Sec-WebSocket-Version", "13")]
    assert daemon.get("/openai/realtime?deployment=gpt-4o", headers).status in (501, 404)
    assert daemon.get("/v1/chat/completions", headers).status == 501


# ---- time

def test_a_head_that_does_not_come_is_a_408(stage):
    daemon = stage.daemon([stage.backend()], timeouts={"client_header_ms": 200})
    with daemon.client() as client:
        client.send(b"POST /v1/emb")
        began = time.monotonic()
        assert client.read_answer().status == 408
        assert client.wait_closed() in ("end", "reset")
        assert time.monotonic() - began < 3


def test_a_head_that_drips_is_a_408(stage):
    daemon = stage.daemon([stage.backend()], timeouts={"client_header_ms": 300})
    with daemon.client() as client:
        try:
            for value in LINE + HOST + b"X: " + b"y" * 200:
                client.send(bytes([value]))
                time.sleep(0.01)
        except ConnectionError:
            pass
        try:
            assert client.read_answer().status == 408
        except Ended:
            pytest.fail("the 408 was lost")


def test_a_body_that_does_not_come_is_a_408(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], timeouts={"client_body_ms": 200})
    with daemon.client() as client:
        client.send(LINE + HOST + b"Content-Length: 100\r\n\r\n{")
        assert client.read_answer().status == 408
        assert client.wait_closed() in ("end", "reset")
    assert not backend.requests


def test_a_connection_that_says_nothing_is_closed(stage):
    daemon = stage.daemon([stage.backend()], timeouts={"client_header_ms": 200, "keep_alive_ms": 200})
    with daemon.client() as client:
        assert client.wait_closed(5) in ("end", "reset")


# ---- what is odd but clear

@pytest.mark.parametrize("request_head", [
    b"\r\n" + LINE + HOST + b"Content-Length: 0\r\n\r\n",
    LINE + b"hOST:lb\r\ncontent-length:0\r\n\r\n",
    LINE + b"Host:  \t lb \t\r\nContent-Length: 000\r\nX:\r\n\r\n",
    LINE + HOST + b"Content-Length: 0\r\nX: \xe9\xff\r\n\r\n",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + b'2;a=b;c="d"\r\n{}\r\n000\r\nX-Trailer: y\r\n\r\n',
    CHUNKED + b"0a\r\n{\"a\":true}\r\n0\r\n\r\n",
], ids=["leading-crlf", "no-spaces", "many-spaces", "obs-text", "empty-chunked", "extensions-and-trailers", "leading-zero"])
def test_what_is_odd_but_clear_passes(scene, request_head):
    _, daemon = scene
    with daemon.client() as client:
        client.send(request_head)
        assert client.read_answer().status == 200
        client.send(request_bytes("GET", "/healthz"))
        assert client.read_answer("GET").status == 200


@pytest.mark.parametrize("pieces", [(b"\r", b"\n"), (b"\r\n", b"")], ids=["inside", "behind-it"])
@pytest.mark.parametrize("behind", [False, True], ids=["first", "kept-alive"])
def test_a_leading_crlf_may_come_in_pieces(scene, pieces, behind):
    _, daemon = scene
    with daemon.client() as client:
        if behind:
            assert client.call("GET", "/healthz").status == 200
        client.send(pieces[0])
        time.sleep(0.05)
        client.send(pieces[1] + LINE + HOST + b"Content-Length: 2\r\n\r\n{}")
        assert client.read_answer().status == 200


def test_a_request_cut_off_reaches_no_backend(stage):
    backend = stage.backend(default=answers.ok())
    daemon = stage.daemon([backend])
    for request in (LINE, LINE + HOST, LINE + HOST + b"Content-Length: 10\r\n\r\n{", CHUNKED + b"2\r\n{}\r\n"):
        with daemon.client() as client:
            client.send(request)
            client.finish_sending()
            try:
                assert client.read_answer().status == 400
            except Ended:
                pass
    assert daemon.get("/healthz").status == 200
    assert not backend.requests
