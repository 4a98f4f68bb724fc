"""An answer whose limits two parsers could see differently is garbled: another backend is asked."""
import pytest

from harness import answers
from harness.daemon import CHAT_PATH
from harness.stage import in_order

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"\r\n{}"
GARBLED = {
    "another protocol": b"220 smtp.example ESMTP\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
    "a bare LF behind the status": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n" + BODY,
    "bare LFs": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "a bare CR": OK + b"X: a\rb\r\nContent-Length: 2\r\n" + BODY,
    "obs-fold": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n" + BODY,
    "NUL": OK + b"X: a\x00b\r\nContent-Length: 2\r\n" + BODY,
    "a control byte": OK + b"X: a\x02b\r\nContent-Length: 2\r\n" + BODY,
    "a space before a colon": OK + b"Content-Length : 2\r\n" + BODY,
    "no colon": OK + b"nonsense\r\nContent-Length: 2\r\n" + BODY,
    "two Content-Lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n" + BODY,
    "two equal Content-Lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n" + BODY,
    "a Content-Length with a plus": OK + b"Content-Length: +2\r\n" + BODY,
    "a Content-Length of letters": OK + b"Content-Length: two\r\n" + BODY,
    "an empty Content-Length": OK + b"Content-Length:\r\n" + BODY,
    "a Content-Length that wraps": OK + b"Content-Length: 18446744073709551618\r\n" + BODY,
    "length and coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n" + BODY,
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n" + BODY,
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n" + BODY,
    "a status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n" + BODY,
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n" + BODY,
    "a chunk size of letters": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk size with 0x": OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk without its end": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    "a chunk size with a bare LF": OK + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
    "a malformed trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nnonsense\r\n\r\n",
    "an endless head": OK + b"X: " + b"y" * 200_000 + b"\r\nContent-Length: 2\r\n" + BODY,
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz",
}


@pytest.mark.parametrize("data", GARBLED.values(), ids=[name.replace(" ", "-") for name in GARBLED])
def test_it_is_garbled_and_another_backend_answers(stage, data):
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.backend(answers.raw(data, "close")), second))
    got = daemon.chat()
    assert got.status == 200
    assert got.json == answers.COMPLETION
    assert got.outcomes == [("one", "garbled"), ("two", "200")]


CLEAR = {
    "no reason": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n" + BODY,
    "no spaces": OK + b"content-length:2\r\n" + BODY,
    "zeros in front": OK + b"Content-Length: 002\r\n" + BODY,
    "extensions and trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
    "the case of chunked": OK + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.0 with a length": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n" + BODY,
    "HTTP/1.0 without a length": b"HTTP/1.0 200 OK\r\n" + BODY,
    "no length at all": OK + b"Content-Type: application/json\r\n" + BODY,
    "a reason in Latin-1": b"HTTP/1.1 200 \xc0 la carte\r\nContent-Length: 2\r\n" + BODY,
}


@pytest.mark.parametrize("data", CLEAR.values(), ids=[name.replace(" ", "-") for name in CLEAR])
def test_what_is_odd_but_clear_passes(stage, data):
    daemon = stage.daemon([stage.backend(answers.raw(data, "close"))])
    with daemon.client() as client:
        client.request("POST", CHAT_PATH, body=b"{}")
        head = client.wire.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        client.wire.buffer[:0] = head if b"\xc0" not in head else head.replace(b"\xc0", b"?")
        got = client.read_answer()
    assert got.body == b"{}"
    assert got.outcomes == [("one", "200")]


def test_an_answer_that_comes_byte_by_byte_is_understood(stage):
    data = OK + b"Transfer-Encoding: chunked\r\nX-Kept: 1\r\n\r\n4\r\n{\"a\"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n"
    daemon = stage.daemon([stage.backend(answers.parts(*[bytes([value]) for value in data]))])
    got = daemon.chat()
    assert got.body == b'{"a":1}'
    assert got.header("x-kept") == "1"


def test_bytes_behind_an_answer_are_nobodys_answer(stage):
    """Whatever follows an answer must never be taken for the answer to the next request."""
    backend = stage.backend(answers.raw(OK + b"Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"))
    daemon = stage.daemon([backend], workers=1)
    with daemon.client() as client:
        assert daemon.open_chat(client).read_answer().body == b"{}"
        assert daemon.open_chat(client).read_answer().json == answers.COMPLETION
    assert [request.connection for request in backend.requests] == [1, 2]


def test_bytes_without_a_request_are_nobodys_answer(stage):
    gate = answers.Gate()
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    backend = stage.backend(answers.parts(OK + b"Content-Length: 2\r\n\r\n{}", gate, poison))
    daemon = stage.daemon([backend], workers=1)
    with daemon.client() as client:
        assert daemon.open_chat(client).read_answer().body == b"{}"
        gate.open()
        backend.await_open(0, 5)
        assert daemon.open_chat(client).read_answer().json == answers.COMPLETION


def test_an_early_answer_does_not_stay_in_the_pool(stage):
    """A backend that answers before it has read the whole body leaves the connection in an unclear state."""
    gate = answers.Gate()

    def early(exchange):
        if len(exchange.backend.requests) == 1:
            answers.ok()(exchange)
            gate.wait(exchange)  # nothing is read meanwhile: the body cannot have left the daemon
            exchange.wait_until_gone()
            return True
        return False

    backend = stage.backend(before_body=early)
    daemon = stage.daemon([backend], workers=1)
    body = b'{"x":"' + b"y" * 30_000_000 + b'"}'
    with daemon.client() as client:
        assert client.call("POST", CHAT_PATH, body=body).status == 200
    gate.open()
    assert daemon.call("POST", CHAT_PATH, body=b"{}").status == 200
    assert [request.connection for request in backend.requests] == [1, 2]
