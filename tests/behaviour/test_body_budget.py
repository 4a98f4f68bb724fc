"""The memory that all request bodies share: they take turns, and none of them waits for another that waits for it."""
import threading
import time

from harness import answers
from harness.client import chunk, request_bytes
from harness.daemon import CHAT_PATH

BUDGET = {"max_buffered_bytes": 1_000_000}


def chat_bytes(body_bytes):
    return request_bytes("POST", CHAT_PATH, body=b'{"x":"' + b"y" * (body_bytes - 8) + b'"}')


def test_bodies_that_come_together_take_turns(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1, limits=BUDGET, timeouts={"client_body_ms": 4000})
    request = chat_bytes(90_000)
    clients = [daemon.client() for _ in range(20)]
    began = time.monotonic()
    for client in clients:
        client.send(request[:52_000])
    time.sleep(0.2)
    for client in clients:
        client.send(request[52_000:])
    assert [client.read_answer().status for client in clients] == [200] * 20
    assert time.monotonic() - began < 2.5, "somebody had to wait for client_body_ms"
    assert len(backend.requests) == 20
    for client in clients:
        client.close()


def test_a_caller_that_leaves_gives_its_share_back(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1, limits=BUDGET)
    for _ in range(5):
        with daemon.client() as client:
            client.send(chat_bytes(900_000)[:880_000])
            client.reset()
    began = time.monotonic()
    with daemon.client() as client:
        client.send(chat_bytes(900_000))
        assert client.read_answer().status == 200
    assert time.monotonic() - began < 3


def test_uploads_that_are_streamed_hold_no_share(stage):
    def uploads_hang(exchange):
        return exchange.wait_until_gone() if exchange.request.path.endswith("/files") else False

    backend = stage.backend(before_body=uploads_hang)
    daemon = stage.daemon([backend], workers=1, limits=BUDGET, retry={"max_body_bytes": 100_000})
    uploads = [daemon.client() for _ in range(14)]
    for number, client in enumerate(uploads, 1):
        client.send(b"POST /v1/files HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 16_384) * 8)
        backend.await_requests(number)
    began = time.monotonic()
    with daemon.client() as client:
        client.send(chat_bytes(99_000))
        assert client.read_answer().status == 200
    assert time.monotonic() - began < 2
    for client in uploads:
        client.close()


def test_a_share_is_given_back_with_the_answer(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], workers=1, limits=BUDGET)
    with daemon.client() as first, daemon.client() as second:
        first.send(chat_bytes(800_000))
        backend.await_requests(1)
        second.send(chat_bytes(800_000))
        assert second.nothing_comes(0.2)
        gate.open()
        assert first.read_answer().status == 200
        assert second.read_answer().status == 200


def test_half_read_chunked_bodies_do_not_wait_for_each_other(stage):
    """Nobody knows how long they will be: each holds a share, and together they hold all of it but want more."""
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1, limits=BUDGET, retry={"max_body_bytes": 400_000}, timeouts={"client_body_ms": 8000})
    head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    clients = [daemon.client() for _ in range(6)]
    senders = []
    for client in clients:
        senders.append(threading.Thread(target=client.send, args=(head + chunk(b"x" * 10_000) * 33,)))
        senders[-1].start()
    time.sleep(0.5)
    for sender, client in zip(list(senders), clients):
        senders.append(threading.Thread(target=lambda before, one: (before.join(), one.send(chunk(b"y" * 10_000) * 6 + b"0\r\n\r\n")), args=(sender, client)))
        senders[-1].start()
    assert [client.read_answer().status for client in clients] == [200] * 6
    for sender in senders:
        sender.join()
    assert sorted(len(request.body) for request in backend.requests) == [390_000] * 6
    for client in clients:
        client.close()


def test_a_chunked_body_that_is_given_up_lets_the_next_one_grow(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=1, limits=BUDGET, retry={"max_body_bytes": 900_000})
    head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for end in (b"", b"malformed\r\n", b"0\r\n\r\n"):
        for _ in range(3):
            with daemon.client() as client:
                client.send(head + chunk(b"x" * 10_000) * 80 + end)
                if end:
                    assert client.read_answer().status in (200, 400)
                else:
                    client.reset()
