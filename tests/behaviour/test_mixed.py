"""Many callers, failing backends, all at once: everybody gets the answer to what he asked, and only that."""
import json
import random

import pytest

from harness import answers
from harness.client import wait_for
from harness.crowd import crowd
from harness.daemon import CHAT_PATH
from harness.stage import equals
from harness.wire import Ended


def echo(exchange):
    """The request's body as the answer."""
    answers.answer(200, [("Content-Type", "application/json")], exchange.request.body)(exchange)


def echo_stream(exchange):
    text = exchange.request.body.decode()
    pieces = [answers.delta(content=text[at:at + 1000]) for at in range(0, len(text), 1000)]
    answers.stream(answers.ROLE, *pieces, answers.STOP, answers.DONE)(exchange)


def moody(seed, good=(echo,)):
    """A backend's mood: mostly good, else one of all the ways to fail."""
    dice = random.Random(seed)
    bad = [answers.wait_ms(30), answers.error(500, "500"), answers.error(503, "503", headers=[("retry-after-ms", "20")]),
           answers.reset(), answers.close(), answers.raw(b"garbage\r\n\r\n", "close"),
           answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "close"), answers.stream(*answers.QUIET, end="close")]

    def speak(exchange):
        dice.choice(bad if dice.random() < 0.3 else good)(exchange)

    return speak


MOODS = {"cooldown": {"server_error_ms": 20, "min_ms": 10, "default_ms": 20}, "retry": {"max_unsafe_retries": 9}}


@pytest.mark.parametrize("streaming", [False, True], ids=["json", "stream"])
def test_nobody_gets_anothers_answer(stage, streaming):
    backends = [stage.backend(default=moody(seed, (echo_stream,) if streaming else (echo,))) for seed in range(3)]
    reliable = stage.backend(default=echo_stream if streaming else echo)
    daemon = stage.daemon([*equals(*backends), reliable.entry(priority=9)], **MOODS)

    def caller(number):
        dice = random.Random(number)
        with daemon.client() as client:
            for turn in range(12):
                body = f'{{"caller":{number},"turn":{turn},"pad":"{"x" * dice.choice([0, 10, 3000, 120_000])}"}}'.encode()
                got = client.call("POST", CHAT_PATH, body=body)
                assert got.status == 200, got
                if streaming:
                    data = [json.loads(line[6:]) for line in got.body.decode().split("\n\n")
                            if line.startswith("data: {")]
                    got.body = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in data).encode()
                assert got.body == body

    crowd(16, caller)


def test_callers_that_leave_at_any_moment_do_no_harm(stage):
    backends = [stage.backend(default=moody(seed, (echo, echo_stream))) for seed in range(3)]
    daemon = stage.daemon([*equals(*backends), stage.backend(default=echo).entry(priority=9)], **MOODS)

    def caller(number):
        dice = random.Random(number)
        for _ in range(25):
            with daemon.client() as client:
                body = b'{"pad":"' + b"x" * dice.choice([0, 3000, 200_000]) + b'"}'
                request = (f"POST {CHAT_PATH} HTTP/1.1\r\nHost: lb\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
                client.sock.settimeout(dice.choice([0.001, 0.005, 0.02]))
                try:
                    client.send(request[:dice.choice([10, 80, 5000, len(request)])])
                    client.read_head()
                except (TimeoutError, Ended, OSError):
                    pass
                if dice.random() < 0.5:
                    client.reset()

    crowd(12, caller)
    for backend in backends:
        backend.default = echo
    wait_for(lambda: daemon.call("POST", CHAT_PATH, body=b"{}").body == b"{}", 5, "a whole answer")
