"""Connections are kept and used again, on both sides, and never longer than is safe."""
import re
import threading
import time

import pytest

from harness import answers
from harness.client import request_bytes, wait_for
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import in_order
from test_admin import Admin


def numbers(backend):
    """Which connection each request came on."""
    return [request.connection for request in backend.requests]


# ---- the caller's side

def test_a_callers_connection_serves_many_requests(stage):
    daemon = stage.daemon([stage.backend()])
    with daemon.client() as client:
        for _ in range(20):
            got = daemon.open_chat(client).read_answer()
            assert got.status == 200
            assert got.keeps_alive
        assert client.is_open()


def test_it_survives_refusals_and_failures(stage):
    backend = stage.backend(answers.wait_ms(10), answers.error(400, "x"))
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        assert client.call("GET", "/unknown").status == 404
        assert client.call("POST", "/v1/chat/completions", body={}).status == 400
        assert daemon.open_chat(client).read_answer().status == 429
        time.sleep(0.05)
        assert daemon.open_chat(client).read_answer().status == 400
        assert daemon.open_chat(client).read_answer().status == 200


@pytest.mark.parametrize("value", ["close", "Close", "x, close"])
def test_a_caller_that_asks_for_a_close_gets_one(stage, value):
    daemon = stage.daemon([stage.backend()])
    with daemon.client() as client:
        got = client.call("POST", CHAT_PATH, [("Connection", value)], CHAT_BODY)
        assert got.status == 200
        assert not got.keeps_alive
        assert client.wait_closed() == "end"


def test_http_1_0_is_closed_after_its_answer(stage):
    daemon = stage.daemon([stage.backend()])
    with daemon.client() as client:
        assert client.call("POST", CHAT_PATH, body=CHAT_BODY, version="HTTP/1.0").status == 200
        assert client.wait_closed() == "end"


def test_a_backend_that_closes_does_not_close_the_caller(stage):
    daemon = stage.daemon([stage.backend(default=answers.ok(headers=[("Connection", "close")]))])
    with daemon.client() as client:
        for _ in range(3):
            got = daemon.open_chat(client).read_answer()
            assert got.status == 200
            assert got.keeps_alive


def test_an_idle_caller_is_closed_in_the_end(stage):
    daemon = stage.daemon([stage.backend()], timeouts={"keep_alive_ms": 200})
    with daemon.client() as client:
        assert daemon.open_chat(client).read_answer().status == 200
        began = time.monotonic()
        assert client.wait_closed() == "end"
        assert 0.15 < time.monotonic() - began < 3


def test_a_waiting_caller_is_not_idle(stage):
    gate = answers.Gate()
    backend = stage.backend(answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], timeouts={"keep_alive_ms": 100, "client_header_ms": 100, "client_body_ms": 100})
    with daemon.client() as client:
        daemon.open_chat(client)
        backend.await_requests(1)
        assert client.nothing_comes(0.4)
        gate.open()
        assert client.read_answer().status == 200


def test_pipelined_requests_are_answered_in_order(stage):
    backend = stage.backend(*[answers.ok({"n": number}) for number in range(3)])
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        client.send(b"".join(request_bytes("POST", CHAT_PATH, body={"n": number}) for number in range(3)))
        assert [client.read_answer().json["n"] for _ in range(3)] == [0, 1, 2]
    assert [request.json["n"] for request in backend.requests] == [0, 1, 2]


def test_a_pipelined_request_waits_for_the_stream_before_it(stage):
    gate = answers.Gate()
    backend = stage.backend(answers.stream(answers.HELLO, gate, answers.STOP, answers.DONE))
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        client.send(request_bytes("POST", CHAT_PATH, body={"stream": True}) + request_bytes("POST", CHAT_PATH, body={"n": 2}))
        client.read_head()
        client.read_payload_until(b"Hello")
        assert len(backend.requests) == 1
        gate.open()
        client.read_payload_until(answers.DONE)
        assert client.read_chunk() == b""
        assert client.read_answer().json == answers.COMPLETION


def stands_still(daemon):
    """Whether it answers no more for the time being."""
    def answered():
        return re.findall(r"aoai_lb_requests_total.*", Admin(daemon).get("/metrics").body.decode())

    before = answered()
    time.sleep(0.1)
    return before and before == answered()


def test_what_is_behind_a_request_whose_answer_must_wait_is_not_lost(stage):
    """Heads that are refused at once, until their answers are more than a caller that does not read takes: what it sent
    behind them stays whole and in order."""
    daemon = stage.daemon([stage.backend()], workers=1, log={"requests": False})
    ask, count = request_bytes("GET", "/nothing", host="lb"), 15_000
    with daemon.client(receive_buffer=4096) as client:
        sender = threading.Thread(target=client.send, args=(ask * count,))
        sender.start()
        wait_for(lambda: stands_still(daemon), what="an answer that must wait")
        assert {client.read_answer("GET").status for _ in range(count)} == {404}
        assert client.call("GET", "/healthz").status == 200
        sender.join()


@pytest.mark.parametrize("begin", [0, 60_000], ids=["at-once", "in-two-parts"])
def test_many_requests_behind_a_slow_one_are_all_answered(stage, begin):
    """More of them than the daemon takes up before it has answered the first."""
    gate = answers.Gate()
    backend = stage.backend(answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend])
    small = request_bytes("GET", "/healthz", host="lb")
    count = 128 * 1024 // len(small)
    with daemon.client() as client:
        daemon.open_chat(client)
        backend.await_requests(1)
        client.send((small * count)[:begin])
        time.sleep(0.1)
        sender = threading.Thread(target=client.sock.sendall, args=((small * count)[begin:],))
        sender.start()
        time.sleep(0.1)
        gate.open()
        for _ in range(1 + count):
            assert client.read_answer().status == 200
        sender.join()
        assert client.is_open()


# ---- the backend's side

def test_a_connection_to_a_backend_is_used_again(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        for _ in range(10):
            assert daemon.open_chat(client).read_answer().status == 200
    assert numbers(backend) == [1] * 10


def test_another_caller_uses_it_again(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1)
    for _ in range(10):
        assert daemon.chat().status == 200
    assert numbers(backend) == [1] * 10


def test_many_callers_need_few_connections(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    for _ in range(60):
        assert daemon.chat().status == 200
    assert backend.accepted <= 4


@pytest.mark.parametrize("answer", [answers.wait_ms(10), answers.error(500, "500"), answers.error(400, "x"),
                                    answers.stream(*answers.CHAT), answers.answer(200, [], b"x" * 500_000, "chunked")],
                         ids=["429", "500", "400", "stream", "large"])
def test_it_is_used_again_after_any_whole_answer(stage, answer):
    backend = stage.backend(answer)
    daemon = stage.daemon([backend], workers=1, cooldown={"server_error_ms": 10})
    daemon.chat()
    time.sleep(0.05)
    assert daemon.chat().status == 200
    assert numbers(backend) == [1, 1]


@pytest.mark.parametrize("answer", [
    answers.ok(headers=[("Connection", "close")]),
    answers.answer(200, [], b"{}", "close"),
    answers.raw(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}"),
], ids=["close", "until-close", "http-1.0", "close-without-closing"])
def test_it_is_not_used_again_when_the_backend_says_so(stage, answer):
    backend = stage.backend(answer)
    daemon = stage.daemon([backend], workers=1)
    assert daemon.chat().status == 200
    assert daemon.chat().status == 200
    assert numbers(backend) == [1, 2]


def test_concurrent_requests_have_connections_of_their_own(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], workers=1)
    clients = [daemon.open_chat(daemon.client()) for _ in range(5)]
    backend.await_requests(5)
    assert sorted(numbers(backend)) == [1, 2, 3, 4, 5]
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_connection_that_the_backend_has_closed_is_replaced_silently(stage, end):
    gate = answers.Gate()
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    backend = stage.backend(answers.parts(body, gate, end=end))
    other = stage.backend()
    daemon = stage.daemon(in_order(backend, other), workers=1, retry={"max_unsafe_retries": 0})
    assert daemon.chat().status == 200
    gate.open()
    backend.await_open(0)
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "200")]
    assert not other.requests


def test_a_pooled_connection_that_closes_under_a_request_is_replaced_silently(stage):
    """The close and the next request cross on the wire: nothing of an answer came, so nothing was executed. A backend that
    reads the request and then closes cannot be told from one that executed it, though: that is a reset."""
    def close_instead(exchange):
        if len(exchange.backend.requests) == 2:
            exchange.close()
            return True
        return False

    backend = stage.backend(before_body=close_instead)
    other = stage.backend()
    daemon = stage.daemon(in_order(backend, other), workers=1)
    assert daemon.chat().outcomes == [("one", "200")]
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes in ([("one", "200")], [("one", "reset"), ("two", "200")])


def test_an_idle_connection_to_a_backend_is_closed_in_the_end(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1, pool={"idle_ms": 300})
    assert daemon.chat().status == 200
    began = time.monotonic()
    backend.await_open(0, 10)
    assert time.monotonic() - began < 5
    assert daemon.chat().status == 200
    assert numbers(backend) == [1, 2]


def test_a_connection_to_a_backend_is_retired_at_its_age(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1, pool={"max_age_ms": 400, "idle_ms": 60_000})
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert daemon.chat().status == 200
        time.sleep(0.02)
    assert 2 <= backend.accepted <= 8
    assert numbers(backend) == sorted(numbers(backend))
