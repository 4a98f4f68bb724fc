"""What a caller gets when no backend could answer, and what it will make of it."""
import re
import time

import pytest

from harness import answers
from harness.stage import equals, in_order


def check_hints(got):
    """Both hints are there, within bounds, and say the same; returns them in ms."""
    wait_ms = int(got.header("retry-after-ms"))
    seconds = int(got.header("retry-after"))
    assert 1 <= wait_ms <= 60_000
    assert 1 <= seconds <= 60
    assert seconds == -(-wait_ms // 1000)
    return wait_ms


def check_error(got):
    error = got.json["error"]
    assert set(error) == {"code", "message", "type", "param"}
    assert isinstance(error["message"], str) and error["message"]
    assert got.header("content-type").startswith("application/json")
    return error


def failing(stage, *script, **changes):
    """A request that fails on backends that answer so, in that order."""
    backends = [answer if not callable(answer) else stage.backend(default=answer) for answer in script]
    daemon = stage.daemon(in_order(*backends), **changes)
    got = daemon.chat()
    return daemon, backends, got


# ---- throttled

def test_all_throttled_is_a_429_with_the_soonest_recovery(stage):
    _, _, got = failing(stage, answers.wait_ms(30_000), answers.wait_ms(7_000), answers.wait_ms(20_000))
    assert got.status == 429
    check_error(got)
    assert 6_000 <= check_hints(got) <= 7_000
    assert got.outcomes == [("one", "429"), ("two", "429"), ("three", "429")]


@pytest.mark.parametrize("other", [answers.error(500, "500"), answers.reset(), answers.error(503, "503")],
                         ids=["500", "reset", "503"])
@pytest.mark.parametrize("throttled_first", [True, False])
def test_one_throttled_among_failures_makes_a_429(stage, other, throttled_first):
    script = [answers.wait_ms(7_000), other]
    _, _, got = failing(stage, *(script if throttled_first else script[::-1]))
    assert got.status == 429
    assert 6_000 <= check_hints(got) <= 7_000


def test_one_throttled_among_the_unreachable_makes_a_429(stage):
    _, _, got = failing(stage, stage.nobody(), answers.wait_ms(7_000), stage.nobody())
    assert got.status == 429
    assert 6_000 <= check_hints(got) <= 7_000


def test_resting_throttled_backends_are_not_asked_again(stage):
    daemon, backends, _ = failing(stage, answers.wait_ms(30_000), answers.wait_ms(7_000))
    for _ in range(3):
        began = time.monotonic()
        got = daemon.chat()
        assert time.monotonic() - began < 1
        assert got.status == 429
        check_error(got)
        assert 5_000 <= check_hints(got) <= 7_000
    assert [len(backend.requests) for backend in backends] == [1, 1]


def test_the_advertised_wait_is_true(stage):
    backend = stage.backend(answers.wait_ms(700))
    daemon = stage.daemon([backend])
    got = daemon.chat()
    assert got.status == 429
    wait_ms = check_hints(got)
    assert wait_ms <= 700
    time.sleep(wait_ms / 1000 + 0.02)
    assert daemon.chat().status == 200


def test_a_huge_wait_is_never_advertised(stage):
    _, _, got = failing(stage, answers.throttled(("Retry-After", "86400"), ("retry-after-ms", "86400000")))
    assert got.status == 429
    assert 59_000 <= check_hints(got) <= 60_000


def test_no_wait_of_zero_is_ever_advertised(stage):
    _, _, got = failing(stage, answers.throttled(("retry-after-ms", "0"), ("Retry-After", "0")))
    assert got.status == 429
    assert 900 <= check_hints(got) <= 1_000


def test_a_429_of_the_daemons_may_be_retried_by_the_sdks(stage):
    _, _, got = failing(stage, answers.wait_ms(100))
    assert got.header("x-should-retry") != "false"


def test_a_throttled_call_without_a_deployment_is_told_the_backends_wait(stage):
    daemon = stage.daemon([stage.backend(default=answers.throttled(("Retry-After", "30")))])
    for _ in range(2):
        got = daemon.get("/v1/files")
        assert got.status == 429
        assert 29_000 <= check_hints(got) <= 30_000


def test_throttled_calls_without_a_deployment_are_told_the_soonest_wait(stage):
    daemon = stage.daemon(in_order(*[stage.backend(default=answers.wait_ms(wait_ms)) for wait_ms in (30_000, 7_000)]))
    got = daemon.get("/openai/batches?api-version=1")
    assert got.status == 429
    assert 6_000 <= check_hints(got) <= 7_000


# ---- an answered error

def test_the_last_answered_error_passes_as_it_came(stage):
    body = b'{ "error": {"code":"last","message":"the last one"} }\n'
    _, _, got = failing(stage, answers.error(500, "first"),
                        answers.answer(503, [("Content-Type", "application/json"), ("apim-request-id", "9")], body))
    assert got.status == 503
    assert got.body == body
    assert got.header("apim-request-id") == "9"
    assert got.header("x-aoai-lb-backend") == "two"
    assert got.outcomes == [("one", "500"), ("two", "503")]
    check_hints(got)


def test_an_answered_error_says_more_than_a_reset(stage):
    _, _, got = failing(stage, answers.error(500, "500", "the answered one"), answers.reset())
    assert got.status == 500
    assert got.json["error"]["message"] == "the answered one"
    check_hints(got)


def test_an_answered_error_says_more_than_a_timeout(stage):
    _, _, got = failing(stage, answers.error(500, "500", "the answered one"), answers.hang(), timeouts={"response_ms": 200})
    assert got.status == 500


def test_a_passed_errors_own_hints_are_replaced_by_sane_ones(stage):
    _, _, got = failing(stage, answers.error(503, "503", headers=[("Retry-After", "86400")]))
    assert got.status == 503
    assert check_hints(got) <= 60_000


def test_a_passed_504_may_not_be_retried(stage):
    """Behind it a backend may still be at work."""
    _, _, got = failing(stage, answers.error(504, "504", "the backend's own"))
    assert got.status == 504
    assert got.json["error"]["message"] == "the backend's own"
    assert got.header("x-should-retry") == "false"
    check_hints(got)


def test_a_large_error_passes_whole(stage):
    body = b'{"error":"' + b"x" * 50_000 + b'"}'
    _, _, got = failing(stage, answers.answer(500, [("Content-Type", "application/json")], body, "chunked"), stage.nobody())
    assert got.status == 500
    assert got.body == body


def test_a_unanimous_missing_deployment_passes(stage):
    _, backends, got = failing(stage, answers.deployment_not_found(), answers.deployment_not_found())
    assert got.status == 404
    assert got.json["error"]["code"] == "DeploymentNotFound"
    assert [len(backend.requests) for backend in backends] == [1, 1]


def test_a_missing_deployment_stays_a_404_while_it_is_skipped(stage):
    daemon, _, _ = failing(stage, answers.deployment_not_found(), answers.deployment_not_found())
    got = daemon.chat()
    assert got.status == 404
    assert got.json["error"]["code"] == "DeploymentNotFound"


# ---- nothing answered

def test_a_timeout_is_a_504(stage):
    _, _, got = failing(stage, answers.hang(), timeouts={"response_ms": 200})
    assert got.status == 504
    check_error(got)
    check_hints(got)
    assert got.header("x-should-retry") == "false"
    assert got.outcomes == [("one", "timeout")]


def test_a_timeout_says_more_than_a_refused_connection(stage):
    _, _, got = failing(stage, stage.nobody(), answers.hang(), stage.nobody(), timeouts={"response_ms": 200})
    assert got.status == 504
    assert got.outcomes == [("one", "connect"), ("two", "timeout"), ("three", "connect")]


def test_nobody_there_is_a_502_that_may_be_retried(stage):
    _, _, got = failing(stage, stage.nobody(), stage.nobody())
    assert got.status == 502
    check_error(got)
    check_hints(got)
    assert got.header("x-should-retry") != "false"
    assert got.outcomes == [("one", "connect"), ("two", "connect")]


def test_a_reset_after_the_request_was_sent_is_a_502_that_may_not(stage):
    _, _, got = failing(stage, answers.reset())
    assert got.status == 502
    check_error(got)
    check_hints(got)
    assert got.header("x-should-retry") == "false"


def test_a_garbled_answer_is_a_502(stage):
    _, _, got = failing(stage, answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"))
    assert got.status == 502
    check_hints(got)


def test_request_ms_bounds_all_attempts_together(stage):
    backends = [stage.backend(default=answers.hang()) for _ in range(3)]
    daemon = stage.daemon(in_order(*backends), timeouts={"request_ms": 500, "response_ms": 400}, retry={"max_unsafe_retries": 9})
    began = time.monotonic()
    got = daemon.chat()
    assert got.status == 504
    assert 0.4 < time.monotonic() - began < 2
    assert not backends[2].requests


def test_an_end_of_request_ms_rests_nobody(stage):
    """The time was the request's own, whatever an earlier backend had used of it."""
    first = stage.backend(answers.hang())
    daemon = stage.daemon(in_order(first, stage.backend()), timeouts={"request_ms": 250})
    got = daemon.chat()
    assert got.status == 504
    assert got.attempts == [("one", "timeout", None), ("two", "skip:request_ms", None)]
    assert daemon.chat().header("x-aoai-lb-backend") == "one"
    assert not daemon.find_lines("cooling down")


def test_a_backend_does_not_pay_for_the_time_that_another_took(stage):
    slow = answers.Gate()
    first, second = stage.backend(answers.gated(slow, answers.error(500, "500"))), stage.backend(answers.hang())
    daemon = stage.daemon(in_order(first, second), timeouts={"request_ms": 500})
    with daemon.client() as client:
        daemon.open_chat(client)
        first.await_requests(1)
        time.sleep(0.2)
        slow.open()
        got = client.read_answer()
    assert got.status == 500
    assert [attempt[:2] for attempt in got.attempts] == [("one", "500"), ("two", "timeout")]
    assert got.attempts[1][2] is None
    assert daemon.chat().outcomes == [("two", "200")]


# ---- all rest for errors

def test_when_all_rest_for_errors_the_soonest_is_tried_all_the_same(stage):
    first, second = stage.backend(answers.error(500, "500")), stage.backend(answers.error(503, "503", headers=[("retry-after-ms", "50000")]))
    daemon = stage.daemon(in_order(second, first))
    assert daemon.chat().status == 500
    got = daemon.chat()
    assert got.status == 200
    assert got.header("x-aoai-lb-backend") == "two"
    assert len(second.requests) == 1


def test_a_lone_backend_that_failed_is_tried_at_once_again(stage):
    backend = stage.backend(answers.error(500, "500"), answers.reset())
    daemon = stage.daemon([backend])
    assert daemon.chat().status == 500
    assert daemon.chat().status == 502
    assert daemon.chat().status == 200


def test_an_unreachable_lone_backend_is_tried_at_once_again(stage):
    daemon = stage.daemon([stage.nobody()])
    assert daemon.chat().outcomes == [("one", "connect")]
    assert daemon.chat().outcomes == [("one", "connect")]


def test_one_resting_throttled_backend_keeps_the_failed_ones_at_rest(stage):
    daemon, backends, _ = failing(stage, answers.error(500, "500"), answers.wait_ms(30_000))
    got = daemon.chat()
    assert got.status == 429
    assert 8_000 <= check_hints(got) <= 10_000  # the failed one is asked again first
    assert [len(backend.requests) for backend in backends] == [1, 1]


# ---- in every case

def test_the_connection_stays_usable(stage):
    backend = stage.backend(answers.wait_ms(100), answers.error(500, "500"), answers.reset())
    daemon = stage.daemon([backend], cooldown={"server_error_ms": 50})
    with daemon.client() as client:
        for status in (429, 500, 502, 200):
            assert daemon.open_chat(client).read_answer().status == status
            time.sleep(0.12)


def test_a_request_id_is_given_to_failures_too(stage):
    daemon, _, got = failing(stage, stage.nobody())
    assert got.header("x-request-id")
    assert daemon.get("/unknown").header("x-request-id")


def test_an_openai_stream_that_fails_gets_a_json_error(stage):
    daemon = stage.daemon(equals(stage.backend(default=answers.wait_ms(3_000)), stage.backend(default=answers.wait_ms(3_000))))
    got = daemon.chat(stream=True)
    assert got.status == 429
    check_error(got)


def test_the_message_names_no_secret(stage):
    backend = stage.backend(default=answers.reset())
    daemon = stage.daemon([backend.entry(auth={"type": "api_key", "key": "very-secret-key"})])
    got = daemon.chat([("api-key", "callers-secret")])
    assert not re.search("secret", got.body.decode() + got.head.decode())
