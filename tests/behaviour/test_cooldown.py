"""How long a throttled backend is left alone, and how it comes back."""
import email.utils
import re
import threading
import time

import pytest

from harness import answers
from harness.client import wait_for
from harness.daemon import CHAT_BODY
from harness.stage import in_order
from test_admin import Admin


def rest_after(stage, answer, **changes):
    """The rest in ms that the first backend gets for that answer."""
    first, second = stage.backend(answer), stage.backend()
    daemon = stage.daemon(in_order(first, second), **changes)
    got = daemon.chat()
    assert got.status == 200
    assert [name for name, _, _ in got.attempts] == ["one", "two"]
    return got.attempts[0][2]


HINTS = [
    ("milliseconds are taken as they are", [("retry-after-ms", "12000")], 12_000),
    ("short milliseconds are believed", [("retry-after-ms", "43")], 43),
    ("a hint below ten milliseconds counts as ten", [("retry-after-ms", "3")], 10),
    ("milliseconds may have decimals", [("retry-after-ms", "1500.0")], 1_500),
    ("the dotnet spelling", [("x-ms-retry-after-ms", "2500")], 2_500),
    ("seconds", [("Retry-After", "7")], 7_000),
    ("milliseconds beat seconds", [("Retry-After", "7"), ("retry-after-ms", "6100")], 6_100),
    ("requests reset", [("x-ratelimit-reset-requests", "4")], 4_000),
    ("tokens reset", [("x-ratelimit-reset-tokens", "9")], 9_000),
    ("the later of both resets", [("x-ratelimit-reset-requests", "4"), ("x-ratelimit-reset-tokens", "9")], 9_000),
    ("seconds beat the resets", [("x-ratelimit-reset-tokens", "9"), ("Retry-After", "3")], 3_000),
    ("the odd spelling of tokens reset", [("x-rate-limit-reset-tokens", "55")], 55_000),
    ("the odd spelling of requests reset", [("x-rate-limit-reset-requests", "5")], 5_000),
    ("a reset with its unit", [("x-ratelimit-reset-requests", "4s")], 4_000),
    ("a reset in milliseconds", [("x-ratelimit-reset-tokens", "400ms")], 400),
    ("a reset in minutes and seconds", [("x-ratelimit-reset-tokens", "0m30s")], 30_000),
    ("a day is capped", [("Retry-After", "86400")], 60_000),
    ("a day of milliseconds is capped", [("retry-after-ms", "86400000")], 60_000),
    ("a number beyond all bounds is capped", [("Retry-After", "99999999999999999999999999")], 60_000),
    ("zero makes no storm", [("retry-after-ms", "0")], 1_000),
    ("less than zero makes no storm", [("x-ratelimit-reset-tokens", "-1")], 1_000),
    ("zero yields to a positive hint elsewhere", [("retry-after-ms", "0"), ("Retry-After", "5")], 5_000),
    ("no hint at all", [], 10_000),
    ("an unreadable hint", [("Retry-After", "soon")], 10_000),
    ("an unreadable hint yields to a readable one", [("retry-after-ms", "soon"), ("Retry-After", "6")], 6_000),
    ("a date that has passed", [("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")], 1_000),
]


@pytest.mark.parametrize("headers, rest_ms", [case[1:] for case in HINTS], ids=[case[0].replace(" ", "-") for case in HINTS])
def test_a_hint_is_understood(stage, headers, rest_ms):
    assert rest_after(stage, answers.throttled(*headers)) == rest_ms


@pytest.mark.parametrize("message, rest_ms", [
    ("Requests have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 9 seconds. Please go", 9_000),
    ("The system is currently experiencing high demand. Please retry after 1 second.", 1_000),
    ("Please retry after 86400 seconds.", 60_000),
    ("Please try later.", 10_000),
])
def test_the_bodys_hint_is_understood(stage, message, rest_ms):
    assert rest_after(stage, answers.throttled(message=message)) == rest_ms


def test_headers_beat_the_body(stage):
    assert rest_after(stage, answers.throttled(("Retry-After", "3"), message="Please retry after 9 seconds.")) == 3_000


def test_a_date_is_understood(stage):
    when = email.utils.formatdate(time.time() + 21, usegmt=True)
    assert 17_000 <= rest_after(stage, answers.throttled(("Retry-After", when))) <= 21_000


@pytest.mark.parametrize("headers, rest_ms", [
    ([], 333), ([("retry-after-ms", "0")], 222), ([("retry-after-ms", "99999")], 4_444), ([("retry-after-ms", "50")], 50)])
def test_the_limits_are_the_configurations(stage, headers, rest_ms):
    limits = {"default_ms": 333, "min_ms": 222, "max_ms": 4_444}
    assert rest_after(stage, answers.throttled(*headers), cooldown=limits) == rest_ms


def test_a_503_with_a_hint_rests_that_long(stage):
    assert rest_after(stage, answers.error(503, "503", headers=[("retry-after-ms", "7000")])) == 7_000


@pytest.mark.parametrize("answer", [answers.error(500, "500"), answers.reset()], ids=["500", "reset"])
def test_errors_rest_as_long_as_configured(stage, answer):
    assert rest_after(stage, answer, cooldown={"server_error_ms": 5_678}) == 5_678


# ---- while it rests

def test_a_resting_backend_is_left_alone(stage):
    first, second = stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    for _ in range(10):
        assert daemon.chat().header("x-aoai-lb-backend") == "two"
    assert len(first.requests) == 1


@pytest.mark.parametrize("answer", [answers.error(500, "500"), answers.error(503, "503"), answers.reset(),
                                    answers.raw(b"garbage\r\n\r\n", then="close")], ids=["500", "503", "reset", "garbled"])
def test_a_failing_backend_rests_too(stage, answer):
    first, second = stage.backend(answer), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    for _ in range(3):
        assert daemon.chat().header("x-aoai-lb-backend") == "two"
    assert len(first.requests) == 1


def test_an_unreachable_backend_rests_too(stage):
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.nobody(), second))
    assert ("one", "connect") in daemon.chat().outcomes
    assert daemon.chat().outcomes == [("two", "200")]


def test_quota_is_per_deployment(stage):
    first, second = stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat(deployment="gpt-4o").header("x-aoai-lb-backend") == "two"
    assert daemon.chat(deployment="gpt-4o-mini").header("x-aoai-lb-backend") == "one"
    assert daemon.chat(deployment="gpt-4o").header("x-aoai-lb-backend") == "two"
    assert daemon.post("/v1/chat/completions", {"model": "gpt-4o"}).header("x-aoai-lb-backend") == "two"
    assert daemon.post("/v1/embeddings", {"model": "ada"}).header("x-aoai-lb-backend") == "one"


def test_two_names_of_one_deployment_rest_together(stage):
    first, second = stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"a": "gpt-4o", "b": "gpt-4o"}), second))
    assert daemon.chat(deployment="a").header("x-aoai-lb-backend") == "two"
    assert daemon.chat(deployment="b").header("x-aoai-lb-backend") == "two"
    assert len(first.requests) == 1


def test_a_late_short_hint_does_not_shorten_a_rest(stage):
    gate = answers.Gate()
    first = stage.backend(answers.gated(gate, answers.wait_ms(20)), answers.wait_ms(50_000))
    second = stage.backend()
    daemon = stage.daemon(in_order(first, second))
    with daemon.client() as slow:
        daemon.open_chat(slow)
        first.await_requests(1)
        assert daemon.chat().header("x-aoai-lb-backend") == "two"
        gate.open()
        assert slow.read_answer().header("x-aoai-lb-backend") == "two"
    time.sleep(0.1)
    assert daemon.chat().outcomes == [("two", "200")]
    assert len(first.requests) == 2


def test_a_later_longer_hint_extends_a_rest(stage):
    gate = answers.Gate()
    first = stage.backend(answers.gated(gate, answers.wait_ms(50_000)), answers.wait_ms(20))
    second = stage.backend()
    daemon = stage.daemon(in_order(first, second))
    with daemon.client() as slow:
        daemon.open_chat(slow)
        first.await_requests(1)
        assert daemon.chat().header("x-aoai-lb-backend") == "two"
        gate.open()
        assert slow.read_answer().header("x-aoai-lb-backend") == "two"
    time.sleep(0.1)
    assert daemon.chat().outcomes == [("two", "200")]


# ---- names that strangers make up

def chat_on(client, deployment):
    return client.call("POST", f"/openai/deployments/{deployment}/chat/completions?api-version=1", body=CHAT_BODY)


def fill_with_unknown_names(daemon, count=300):
    """More names than the daemon keeps a state for."""
    with daemon.client() as client:
        for number in range(count):
            assert chat_on(client, f"unknown-{number}").status == 404


def knows(*good, answer=None):
    """A backend that serves these deployments and no other."""

    def speak(exchange):
        name = exchange.request.path.split("/")[3]
        (answer or answers.ok() if name in good else answers.deployment_not_found())(exchange)

    return speak


def test_unknown_names_leave_room_for_the_good_ones(stage):
    backend = stage.backend(default=knows("gpt-4o", answer=answers.wait_ms(9_000)))
    daemon = stage.daemon([backend], workers=1)
    fill_with_unknown_names(daemon)
    got = daemon.chat()
    assert got.status == 429
    assert got.attempts == [("one", "429", 9_000)]
    assert 8_000 < int(got.header("retry-after-ms")) <= 9_000
    asked = len(backend.requests)
    got = daemon.chat()
    assert got.status == 429
    assert 7_000 < int(got.header("retry-after-ms")) <= 9_000
    assert len(backend.requests) == asked


def test_an_unknown_name_is_not_asked_for_again(stage):
    first, second = stage.backend(default=knows()), stage.backend(default=knows("gpt-4o"))
    daemon = stage.daemon(in_order(first, second), workers=1)
    fill_with_unknown_names(daemon)
    for name in ("unknown-299", "another"):
        assert daemon.chat(deployment=name).status == 404
        asked = len(first.requests) + len(second.requests)
        got = daemon.chat(deployment=name)
        assert got.status == 404
        assert got.json["error"]["code"] == "DeploymentNotFound"
        assert len(first.requests) + len(second.requests) <= asked + 1
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    asked = len(first.requests)
    assert daemon.chat().outcomes == [("two", "200")]
    assert len(first.requests) == asked


FAILURES = {"500": answers.error(500, "500"), "reset": answers.reset(), "429": answers.wait_ms(10)}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_names_made_up_in_bad_times_leave_room_for_the_good_ones(stage, failure):
    backend = stage.backend(default=failure)
    daemon = stage.daemon([backend], workers=1)
    with daemon.client() as client:
        for number in range(300):
            assert chat_on(client, f"made-up-{number}").status >= 429
    backend.default = answers.wait_ms(30_000)
    asked = len(backend.requests)
    for _ in range(3):
        got = daemon.chat()
        assert got.status == 429
        assert 10_000 < int(got.header("retry-after-ms")) <= 30_000
    assert len(backend.requests) == asked + 1
    metrics = Admin(daemon).get("/metrics").body.decode()
    assert len(set(re.findall(r"made-up-\d+", metrics))) <= (32 if failure is FAILURES["429"] else 0)
    backend.default = answers.ok()
    assert daemon.chat(deployment="good").status == 200
    assert 'deployment="good"' in Admin(daemon).get("/metrics").body.decode()


def test_an_unknown_name_that_fails_is_left_alone_for_a_while(stage):
    first, second = stage.backend(answers.error(500, "500")), stage.backend(answers.error(501, "501"))
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat().outcomes == [("one", "500"), ("two", "501")]
    assert daemon.chat().outcomes == [("two", "200")]
    assert len(first.requests) == 1


# ---- its way back

def test_it_comes_back_when_its_time_is_over(stage):
    first, second = stage.backend(answers.wait_ms(300)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    began = time.monotonic()
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", 3, "the return of the first backend")
    assert time.monotonic() - began > 0.28


def test_one_probe_goes_first_and_the_rest_follow_its_success(stage):
    gate = answers.Gate()
    first = stage.backend(answers.error(500, "500"), answers.gated(gate, answers.ok()))
    second = stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"gpt-4o": "gpt-4o"}), second), cooldown={"server_error_ms": 200})
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    time.sleep(0.3)
    with daemon.client() as probe:
        daemon.open_chat(probe)
        first.await_requests(2)
        for _ in range(5):
            assert daemon.chat().header("x-aoai-lb-backend") == "two"
        gate.open()
        assert probe.read_answer().header("x-aoai-lb-backend") == "one"
    for _ in range(5):
        assert daemon.chat().header("x-aoai-lb-backend") == "one"


def test_a_crowd_sends_one_probe_only(stage):
    gate = answers.Gate()
    first = stage.backend(answers.error(500, "500"), default=answers.gated(gate, answers.ok()))
    second = stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"gpt-4o": "gpt-4o"}), second), cooldown={"server_error_ms": 200})
    assert daemon.chat().status == 200
    time.sleep(0.3)
    clients = [daemon.client() for _ in range(20)]
    threads = [threading.Thread(target=daemon.open_chat, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.await_requests(1 + 19)
    assert len(first.requests) == 2
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


def test_while_a_probe_is_under_way_the_others_are_told_to_wait(stage):
    """Not for long: a 429 would come soon. On a busy machine one of some tries is quick enough to see it."""
    def late(exchange):
        time.sleep(0.4)
        answers.wait_ms(50)(exchange)

    for _ in range(8):
        gate = answers.Gate()
        backend = stage.backend(late, answers.gated(gate, answers.ok()))
        daemon = stage.daemon([backend], cooldown={"min_ms": 700})
        assert daemon.chat().status == 429
        time.sleep(0.1)
        with daemon.client() as probe:
            daemon.open_chat(probe)
            backend.await_requests(2)
            got = daemon.chat()
            gate.open()
            assert probe.read_answer().status == 200
        assert daemon.chat().status == 200
        if got.status == 429:
            assert 700 <= int(got.header("retry-after-ms")) <= 60_000
            assert 1 <= int(got.header("retry-after")) <= 60
            return
        assert got.status == 200
    raise AssertionError("nobody is told to wait")


def test_a_failed_probe_costs_its_request_nothing_and_begins_a_new_rest(stage):
    first, second = stage.backend(answers.wait_ms(200), answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat().status == 200
    time.sleep(0.3)
    probe = daemon.chat()
    assert probe.status == 200
    assert probe.outcomes == [("one", "429"), ("two", "200")]
    for _ in range(3):
        assert daemon.chat().outcomes == [("two", "200")]
    assert len(first.requests) == 2


def test_a_probe_whose_caller_leaves_lets_another_go(stage):
    first, second = stage.backend(answers.error(500, "500"), answers.hang()), stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"gpt-4o": "gpt-4o"}), second), cooldown={"server_error_ms": 200})
    assert daemon.chat().status == 200
    time.sleep(0.3)
    probe = daemon.open_chat(daemon.client())
    first.await_requests(2)
    probe.reset()
    assert first.exchanges[1].gone.wait(5)
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", 3, "the return of the first backend")


def test_a_callers_fault_is_a_success_of_the_probe(stage):
    first, second = stage.backend(answers.wait_ms(100), answers.error(400, "content_filter")), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat().status == 200
    time.sleep(0.2)
    assert daemon.chat().status == 400
    assert daemon.chat().header("x-aoai-lb-backend") == "one"


def test_all_workers_share_what_one_has_learned(stage):
    first, second = stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second), workers=4)
    assert daemon.chat().status == 200
    clients = [daemon.client() for _ in range(16)]
    for client in clients:
        assert client.call("POST", "/v1/chat/completions", body={"model": "gpt-4o", **CHAT_BODY}).outcomes == [("two", "200")]
        client.close()
    assert len(first.requests) == 1
