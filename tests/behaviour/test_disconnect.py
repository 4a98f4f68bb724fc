"""A caller that goes away costs nothing more: its upstream call is cancelled at once, and nobody is blamed."""
import time

import pytest

from harness import answers
from harness.answers import HELLO, QUIET
from harness.daemon import CHAT_PATH
from harness.stage import in_order

LEAVING = pytest.mark.parametrize("leave", ["reset", "close", "finish_sending"])


def cancelled(exchange, began):
    """The backend saw the end of its call within a moment."""
    assert exchange.gone.wait(5), "the upstream call was not cancelled"
    assert exchange.gone_at - began < 1


@LEAVING
def test_a_caller_that_leaves_while_it_waits_cancels_the_call(stage, leave):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client())
    exchange = backend.await_requests(1)
    began = time.monotonic()
    getattr(client, leave)()
    cancelled(exchange, began)


@LEAVING
def test_a_caller_that_leaves_inside_a_stream_cancels_the_call(stage, leave):
    backend = stage.backend(answers.stream(*QUIET, HELLO, end="hang"))
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client(), stream=True)
    client.read_head()
    client.read_payload_until(HELLO)
    began = time.monotonic()
    getattr(client, leave)()
    cancelled(backend.exchanges[0], began)


@LEAVING
def test_a_caller_that_leaves_before_the_commit_cancels_the_call(stage, leave):
    backend = stage.backend(answers.stream(*QUIET, end="hang"))
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client(), stream=True)
    exchange = backend.await_requests(1)
    time.sleep(0.05)
    began = time.monotonic()
    getattr(client, leave)()
    cancelled(exchange, began)


def test_a_caller_that_leaves_while_a_stream_rushes_cancels_the_call(stage):
    def rush(exchange):
        exchange.send(answers.head(200, [answers.EVENT_STREAM, ("Transfer-Encoding", "chunked")]))
        while exchange.send(answers.chunk(HELLO) * 50):
            pass

    backend = stage.backend(rush)
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client(), stream=True)
    client.read_head()
    client.read_payload_until(HELLO)
    began = time.monotonic()
    client.reset()
    cancelled(backend.exchanges[0], began)


def test_a_caller_that_leaves_a_json_answer_cancels_the_call(stage):
    head = answers.head(200, [("Content-Type", "application/json"), ("Content-Length", "1000")])
    backend = stage.backend(answers.parts(head + b"{", end="hang"))
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client())
    exchange = backend.await_requests(1)
    began = time.monotonic()
    client.close()
    cancelled(exchange, began)


def test_no_further_backend_is_asked_for_a_caller_that_left(stage):
    gate = answers.Gate()
    first, second = stage.backend(answers.gated(gate, answers.wait_ms(9_000))), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    client = daemon.open_chat(daemon.client())
    first.await_requests(1)
    client.reset()
    daemon.wait_for_line(r"POST .*/chat/completions")
    gate.open()
    first.await_open(0)
    assert daemon.get("/healthz").status == 200
    assert not second.requests


def test_a_caller_that_leaves_during_its_upload_reaches_no_backend(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 1000\r\n\r\n{")
        client.reset()
    assert daemon.get("/healthz").status == 200
    assert not backend.requests


def test_leaving_blames_no_backend(stage):
    first, second = stage.backend(answers.hang(), answers.stream(HELLO, end="hang")), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    for number in (1, 2):
        client = daemon.open_chat(daemon.client())
        exchange = first.await_requests(number)
        client.reset()
        assert exchange.gone.wait(5)
    for _ in range(3):
        assert daemon.chat().header("x-aoai-lb-backend") == "one"
    assert not daemon.find_lines("cooling down")


def test_leaving_frees_the_backend_for_the_next(stage):
    """What was in flight no longer counts once its caller has left."""
    first, second = stage.backend(answers.hang(), answers.hang(), answers.hang()), stage.backend()
    daemon = stage.daemon([first.entry(priority=1), second.entry(priority=2)])
    clients = [daemon.open_chat(daemon.client()) for _ in range(3)]
    first.await_requests(3)
    for client in clients:
        client.reset()
    for exchange in first.exchanges[:3]:
        assert exchange.gone.wait(5)
    first.await_open(0)
    assert daemon.chat().header("x-aoai-lb-backend") == "one"


def test_many_callers_leaving_at_once_leave_nothing_behind(stage):
    backend = stage.backend(*[answers.hang()] * 50)
    daemon = stage.daemon([backend])
    clients = [daemon.open_chat(daemon.client()) for _ in range(50)]
    backend.await_requests(50)
    for client in clients:
        client.reset()
    backend.await_open(0)
    assert daemon.chat().status == 200


def test_a_caller_that_leaves_behind_pipelined_requests_is_gone(stage):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client())
    exchange = backend.await_requests(1)
    daemon.open_chat(client)
    began = time.monotonic()
    client.reset()
    cancelled(exchange, began)
    assert daemon.get("/healthz").status == 200
    assert len(backend.requests) == 1


def test_a_left_request_has_its_access_line(stage):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend])
    client = daemon.open_chat(daemon.client())
    backend.await_requests(1)
    client.reset()
    daemon.wait_for_line(r"POST /openai/deployments/gpt-4o/chat/completions.*\b499\b")


def test_a_caller_that_leaves_while_a_backend_is_connected_to_is_gone(stage):
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.never_accepts(), second), timeouts={"connect_ms": 60_000})
    client = daemon.open_chat(daemon.client())
    daemon.wait_for_line("Proxying to")
    client.reset()
    daemon.wait_for_line(r"POST /openai/deployments/gpt-4o/chat/completions.*\b499\b", seconds=2)
    assert not second.requests
