"""A backend that fails is passed over at once, and the caller never learns."""
import time

import pytest

from harness import answers
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import equals, in_order

AUTH = {"type": "api_key", "key": "k"}


def failing_over(stage, answer, **changes):
    """One request whose first backend answers so: (first, second, answer)."""
    first, second = stage.backend(answer), stage.backend()
    daemon = stage.daemon(in_order(first, second), **changes)
    return first, second, daemon.chat()


@pytest.mark.parametrize("status", [408, 429, 500, 501, 502, 503, 504])
def test_it_is_retried_on_the_next_backend(stage, status):
    first, second, got = failing_over(stage, answers.error(status, str(status)))
    assert got.status == 200
    assert got.json == answers.COMPLETION
    assert got.header("x-aoai-lb-backend") == "two"
    assert got.outcomes == [("one", str(status)), ("two", "200")]
    assert first.request.json == second.request.json == CHAT_BODY
    assert got.header("retry-after") is None
    assert got.header("retry-after-ms") is None


def test_a_429_is_retried_at_once_whatever_its_hint(stage):
    first, second = stage.backend(answers.wait_ms(30_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    began = time.monotonic()
    assert daemon.chat().status == 200
    assert time.monotonic() - began < 1


def test_a_refused_connection_is_retried(stage):
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.nobody(), second))
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "connect"), ("two", "200")]


def test_a_connection_that_is_not_taken_up_is_retried(stage):
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.never_accepts(), second), timeouts={"connect_ms": 300})
    began = time.monotonic()
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "connect"), ("two", "200")]
    assert 0.2 < time.monotonic() - began < 3


def test_a_name_that_does_not_resolve_is_retried(stage):
    second = stage.backend()
    daemon = stage.daemon(in_order({"url": "http://no-such-host.invalid"}, second), timeouts={"connect_ms": 2000})
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "connect"), ("two", "200")]


@pytest.mark.parametrize("answer", [answers.reset(), answers.close(), answers.raw(b"HTTP/1.1 200", then="close"),
                                    answers.raw(b"HTTP/1.1 200 OK\r\nContent-Le", then="reset")],
                         ids=["reset", "close", "cut-in-the-status", "reset-in-the-head"])
def test_a_connection_lost_before_the_answer_is_retried(stage, answer):
    _, _, got = failing_over(stage, answer)
    assert got.status == 200
    assert got.outcomes == [("one", "reset"), ("two", "200")]


@pytest.mark.parametrize("body, then", [
    (b"Content-Length: 100\r\n\r\n{\"id\":", "close"),
    (b"Content-Length: 100\r\n\r\n", "close"),
    (b"Content-Length: 100\r\n\r\n{\"id\":", "reset"),
    (b"Transfer-Encoding: chunked\r\n\r\n", "close"),
    (b"Transfer-Encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n", "close"),
    (b"Transfer-Encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n0\r\n", "close"),
    (b"Transfer-Encoding: chunked\r\n\r\nff\r\n{\"id\":", "reset"),
])
def test_a_truncated_answer_is_retried(stage, body, then):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    _, _, got = failing_over(stage, answers.raw(head + body, then))
    assert got.status == 200
    assert got.json == answers.COMPLETION
    assert got.outcomes[0][0] == "one"
    assert got.outcomes[0][1] in ("reset", "garbled")


def test_a_backend_that_does_not_answer_in_time_is_retried(stage):
    first, _, got = failing_over(stage, answers.hang(), timeouts={"response_ms": 300})
    assert got.status == 200
    assert got.outcomes == [("one", "timeout"), ("two", "200")]
    assert first.exchanges[0].gone.wait(5), "the slow call was not cancelled"


def test_a_backend_whose_head_stays_unfinished_is_retried(stage):
    _, _, got = failing_over(stage, answers.parts(b"HTTP/1.1 200 OK\r\nContent-Type:", end="hang"), timeouts={"response_ms": 300})
    assert got.status == 200
    assert got.outcomes == [("one", "timeout"), ("two", "200")]


def test_a_garbled_answer_is_retried(stage):
    _, _, got = failing_over(stage, answers.raw(b"220 smtp.example ESMTP\r\n\r\n", then="close"))
    assert got.status == 200
    assert got.outcomes == [("one", "garbled"), ("two", "200")]


# ---- the operator's faults on a backend

@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_of_the_daemons_are_retried(stage, status):
    first, second = stage.backend(answers.error(status, str(status))), stage.backend()
    daemon = stage.daemon(in_order(first.entry(auth=AUTH), second.entry(auth=AUTH)))
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", str(status)), ("two", "200")]


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_of_the_daemons_rest_the_whole_backend(stage, status):
    first, second = stage.backend(answers.error(status, str(status))), stage.backend()
    daemon = stage.daemon(in_order(first.entry(auth=AUTH), second.entry(auth=AUTH)))
    for deployment in ("gpt-4o", "gpt-4o", "gpt-4o-mini"):
        assert daemon.chat(deployment=deployment).header("x-aoai-lb-backend") == "two"
    assert len(first.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_callers_own_refused_credentials_pass(stage, status):
    first, second, got = failing_over(stage, answers.error(status, str(status), "Access denied."))
    assert got.status == status
    assert got.json["error"]["message"] == "Access denied."
    assert not second.requests
    assert len(first.requests) == 1


def test_a_refused_resource_call_rests_nobody(stage):
    first, second = stage.backend(answers.error(403, "403")), stage.backend()
    daemon = stage.daemon(in_order(first.entry(auth=AUTH), second.entry(auth=AUTH)))
    daemon.get("/openai/files/of-somebody-else")
    assert daemon.chat().header("x-aoai-lb-backend") == "one"


def test_a_missing_deployment_is_looked_for_elsewhere(stage):
    _, _, got = failing_over(stage, answers.deployment_not_found())
    assert got.status == 200
    assert got.outcomes == [("one", "404"), ("two", "200")]


def test_a_missing_deployment_skips_that_pair_alone(stage):
    first, second = stage.backend(answers.deployment_not_found()), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    assert daemon.chat(deployment="gpt-4o-mini").header("x-aoai-lb-backend") == "one"
    assert len(first.requests) == 2


def test_a_missing_deployment_of_a_map_is_looked_for_elsewhere(stage):
    first, second = stage.backend(answers.deployment_not_found()), stage.backend()
    daemon = stage.daemon(in_order(first.entry(auth=AUTH, deployments={"gpt-4o": "no-such"}), second.entry(auth=AUTH)))
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "404"), ("two", "200")]


def test_another_404_is_the_callers_own(stage):
    _, second, got = failing_over(stage, answers.error(404, "NotFound", "No such response."))
    assert got.status == 404
    assert got.json["error"]["message"] == "No such response."
    assert not second.requests


# ---- how far it goes

def test_the_failures_of_all_but_the_last_are_passed_over(stage):
    backends = [stage.backend(answers.wait_ms(9000)), stage.nobody(), stage.backend(answers.error(500, "500")),
                stage.backend(answers.error(503, "503")), stage.backend()]
    daemon = stage.daemon(in_order(*backends))
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "429"), ("two", "connect"), ("three", "500"), ("four", "503"), ("five", "200")]


def test_nothing_is_tried_twice_for_one_request(stage):
    backends = [stage.backend(default=answers.error(500, "500")) for _ in range(3)]
    daemon = stage.daemon(equals(*backends))
    got = daemon.chat()
    assert got.status == 500
    assert sorted(name for name, _ in got.outcomes) == ["one", "three", "two"]
    assert [len(backend.requests) for backend in backends] == [1, 1, 1]


@pytest.mark.parametrize("most", [1, 2])
def test_max_attempts_ends_the_search(stage, most):
    backends = [stage.backend(default=answers.error(500, "500")), stage.backend(default=answers.error(500, "500")), stage.backend()]
    daemon = stage.daemon(in_order(*backends), retry={"max_attempts": most})
    got = daemon.chat()
    assert got.status == 500
    assert [len(backend.requests) for backend in backends] == [1] * most + [0] * (3 - most)


def test_backends_that_do_not_serve_the_deployment_are_never_tried(stage):
    first, second, third = stage.backend(answers.wait_ms(9000)), stage.backend(), stage.backend()
    daemon = stage.daemon(in_order(first, second.entry(deployments={"ada": "ada"}), third))
    got = daemon.chat()
    assert got.outcomes == [("one", "429"), ("three", "200")]
    assert not second.requests


def test_a_large_failing_answer_is_passed_over(stage):
    _, _, got = failing_over(stage, answers.answer(500, [("Content-Type", "text/html")], b"x" * 3_000_000))
    assert got.status == 200


def test_the_attempts_header_tells_the_rest(stage):
    _, _, got = failing_over(stage, answers.wait_ms(12_000))
    assert got.header("x-aoai-lb-attempts") == "one=429(12000ms),two=200"


def test_openai_style_fails_over_too(stage):
    first, second = stage.backend(answers.wait_ms(9000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.post("/responses", {"model": "gpt-4o", "input": "x"}).status == 200
    assert first.request.body == second.request.body


def test_a_get_fails_over_too(stage):
    first, second = stage.backend(answers.error(503, "503")), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    got = daemon.get("/openai/files")
    assert got.status == 200
    assert got.outcomes == [("one", "503"), ("two", "200")]


def test_an_answer_that_comes_before_the_body_was_sent_is_taken(stage):
    """A backend may say 429 as soon as it has read the head."""
    first = stage.backend(before_body=lambda exchange: (answers.wait_ms(9000)(exchange), exchange.wait_until_gone()))
    second = stage.backend()
    daemon = stage.daemon(in_order(first, second))
    body = b'{"x":"' + b"y" * 8_000_000 + b'"}'
    got = daemon.call("POST", CHAT_PATH, body=body)
    assert got.status == 200
    assert got.outcomes == [("one", "429"), ("two", "200")]
    assert second.request.body == body


def test_many_failovers_at_once_are_all_answered(stage):
    first, second = stage.backend(default=answers.error(500, "500")), stage.backend()
    daemon = stage.daemon(in_order(first, second), cooldown={"server_error_ms": 1000})
    clients = [daemon.open_chat(daemon.client()) for _ in range(60)]
    for client in clients:
        assert client.read_answer().header("x-aoai-lb-backend") == "two"
        client.close()


def test_a_failover_costs_little(stage):
    """429 here, 200 there: one more exchange with a backend on an open connection, and nothing else."""
    first, second = stage.backend(default=answers.wait_ms(10)), stage.backend()
    daemon = stage.daemon(in_order(first, second), workers=1)
    for _ in range(3):
        daemon.chat()
        time.sleep(0.03)
    durations = []
    for _ in range(30):
        time.sleep(0.03)
        with daemon.client() as client:
            began = time.monotonic()
            assert daemon.open_chat(client).read_answer().outcomes == [("one", "429"), ("two", "200")]
            durations.append(time.monotonic() - began)
    assert sorted(durations)[15] < 0.1
    assert first.accepted == second.accepted == 1
