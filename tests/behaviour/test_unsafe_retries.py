"""A request that a backend may have executed is tried again only as often as allowed: each execution is billed."""
import pytest

from harness import answers
from harness.stage import in_order


def run(stage, *script, **changes):
    backends = [answer if not callable(answer) else stage.backend(default=answer) for answer in script]
    daemon = stage.daemon(in_order(*backends), timeouts={"response_ms": 200}, **changes)
    got = daemon.chat()
    return got, [len(backend.requests) for backend in backends]


UNSAFE = pytest.mark.parametrize("unsafe", [answers.reset(), answers.close(), answers.hang(),
                                            answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "close")],
                                 ids=["reset", "close", "timeout", "truncated"])


@UNSAFE
def test_one_unsafe_retry_is_free_by_default(stage, unsafe):
    got, counts = run(stage, unsafe, answers.ok())
    assert got.status == 200
    assert counts == [1, 1]


@UNSAFE
def test_a_second_unsafe_retry_is_not_made(stage, unsafe):
    got, counts = run(stage, unsafe, unsafe, answers.ok())
    assert got.status in (502, 504)
    assert got.header("x-should-retry") == "false"
    assert counts == [1, 1, 0]


@UNSAFE
def test_none_is_made_when_none_is_allowed(stage, unsafe):
    got, counts = run(stage, unsafe, answers.ok(), retry={"max_unsafe_retries": 0})
    assert got.status in (502, 504)
    assert got.header("x-should-retry") == "false"
    assert counts == [1, 0]


@UNSAFE
def test_more_are_made_when_more_are_allowed(stage, unsafe):
    got, counts = run(stage, unsafe, unsafe, unsafe, answers.ok(), retry={"max_unsafe_retries": 3})
    assert got.status == 200
    assert counts == [1, 1, 1, 1]


@pytest.mark.parametrize("free", [answers.wait_ms(9000), answers.error(500, "500"), answers.error(503, "503"),
                                  answers.error(408, "Timeout"), answers.deployment_not_found()],
                         ids=["429", "500", "503", "408", "404"])
def test_answered_errors_are_free(stage, free):
    got, counts = run(stage, free, free, free, answers.ok(), retry={"max_unsafe_retries": 0})
    assert got.status == 200
    assert counts == [1, 1, 1, 1]


def test_refused_connections_are_free(stage):
    got, _ = run(stage, stage.nobody(), stage.nobody(), stage.nobody(), answers.ok(), retry={"max_unsafe_retries": 0})
    assert got.status == 200


def test_free_retries_may_follow_until_an_unsafe_one_is_needed(stage):
    got, counts = run(stage, answers.reset(), answers.wait_ms(9000), answers.error(500, "500"), answers.ok())
    assert got.status == 200
    assert counts == [1, 1, 1, 1]


def test_a_throttled_backend_decides_even_when_the_budget_is_spent(stage):
    got, counts = run(stage, answers.wait_ms(9000), answers.reset(), answers.reset(), answers.ok())
    assert got.status == 429
    assert counts == [1, 1, 1, 0]
