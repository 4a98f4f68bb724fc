"""What an answer and the access line say of how it came about."""
import re

import pytest

from harness import answers
from harness.client import wait_for
from harness.stage import in_order, make_config
from test_admin import Admin, backend_of, deployment_of
from test_metrics import scrape

ACCESS = r"info 127\.0\.0\.1 \S+ POST "
ITEM = re.compile(r"[A-Za-z0-9._-]{1,64}=([0-9]{3}|skip:[a-z_]+|[a-z]+)(\([0-9]+ms(;[a-z-]+)?\))?")


def told(daemon, got, count=1):
    """What the header says, which the access line says as well."""
    text = got.header("x-aoai-lb-attempts")
    line = daemon.wait_for_line(ACCESS, count)
    assert f" {got.status} {text} " in line, line
    return text


def without_times(text):
    return re.sub(r"\([0-9]+ms", "(N", text)


# ---- why a backend was not used

def test_each_rest_is_told_with_its_cause(stage):
    """Throttled by a hint, failing, out of reach, without the deployment; the last one serves."""
    backends = in_order(stage.backend(answers.throttled(("retry-after", "50"))), stage.backend(answers.error(500, "500")),
                        stage.nobody(), stage.backend(answers.deployment_not_found()), stage.backend())
    daemon = stage.daemon(backends, cooldown={"server_error_ms": 50_000})
    assert daemon.chat().outcomes == [("one", "429"), ("two", "500"), ("three", "connect"), ("four", "404"), ("five", "200")]
    got = daemon.chat()
    assert without_times(told(daemon, got, 2)) == (
        "one=skip:cooling(N;retry-after),two=skip:ejected(N;server-error),three=skip:ejected(N;unreachable),"
        "four=skip:misconfigured(N;missing-deployment),five=200")


def test_credentials_that_were_refused_are_told(stage):
    first = stage.backend(answers.error(401, "401"))
    daemon = stage.daemon(in_order(first.entry(auth={"type": "api_key", "key": "k"}), stage.backend()))
    daemon.chat()
    assert without_times(told(daemon, daemon.chat(), 2)) == "one=skip:misconfigured(N;credentials-refused),two=200"


def test_who_does_not_serve_the_deployment_is_told_once_something_went_wrong(stage):
    first, second = stage.backend(answers.ok(), answers.wait_ms(50_000)), stage.backend(answers.error(400, "400"))
    other = stage.backend().entry(deployments={"gpt-4o-mini": "mini"})
    daemon = stage.daemon(in_order(first, other, second))
    assert told(daemon, daemon.chat()) == "one=200"
    assert told(daemon, daemon.chat(), 2) == "one=429(50000ms),two=skip:not_serving,three=400"


def test_a_refusal_explains_every_backend(stage):
    first, second = stage.backend(answers.wait_ms(50_000)), stage.backend(answers.wait_ms(40_000))
    daemon = stage.daemon(in_order(first, stage.backend().entry(deployments={"gpt-4o-mini": "mini"}), second))
    assert told(daemon, daemon.chat()) == "one=429(50000ms),two=skip:not_serving,three=429(40000ms)"
    assert without_times(told(daemon, daemon.chat(), 2)) == (
        "one=skip:cooling(N;retry-after-ms),two=skip:not_serving,three=skip:cooling(N;retry-after-ms)")


def test_a_probe_under_way_is_told(stage):
    gate = answers.Gate()
    first = stage.backend(answers.wait_ms(10), answers.gated(gate, answers.ok()))
    daemon = stage.daemon(in_order(first, stage.backend()))
    daemon.chat()
    wait_for(lambda: deployment_of(backend_of(Admin(daemon).status(), "one"), "gpt-4o")["state"] == "probing",
             what="the end of the rest")
    with daemon.client() as client:
        daemon.open_chat(client)
        first.await_requests(2)
        assert daemon.chat().header("x-aoai-lb-attempts") == "one=skip:probing,two=200"
        gate.open()
        assert client.read_answer().header("x-aoai-lb-attempts") == "one=200"


@pytest.mark.parametrize("setting, changes, script", [
    ("max_attempts", {"retry": {"max_attempts": 1}}, answers.error(500, "500")),
    ("max_unsafe_retries", {"retry": {"max_unsafe_retries": 0}}, answers.reset()),
])
def test_the_setting_that_forbids_further_attempts_is_named(stage, setting, changes, script):
    daemon = stage.daemon(in_order(stage.backend(script), stage.backend()), **changes)
    assert re.fullmatch(rf"one=(500|reset)\(10000ms\),two=skip:{setting}", told(daemon, daemon.chat()))


def test_what_may_not_be_repeated_is_not_repeated_after_a_wait_either(stage):
    first, second = stage.backend(answers.wait_ms(100)), stage.backend(answers.reset())
    daemon = stage.daemon(in_order(first, second), retry={"hold_ms": 20_000, "max_unsafe_retries": 0})
    got = daemon.chat()
    assert got.outcomes == [("one", "429"), ("two", "reset")]
    assert len(first.requests) == 1


# ---- waiting

def test_the_access_line_says_for_how_long_a_request_waited(stage):
    daemon = stage.daemon([stage.backend(answers.wait_ms(200))], retry={"hold_ms": 30_000})
    assert told(daemon, daemon.chat()) == "one=429(200ms),one=200"
    assert int(re.search(r" held_ms=([0-9]+) ", daemon.wait_for_line(ACCESS))[1]) >= 190
    daemon.chat()
    assert "held_ms" not in daemon.wait_for_line(ACCESS, 2)


def test_the_access_line_of_a_caller_that_left_while_it_waited_says_so(stage):
    daemon = stage.daemon([stage.backend(default=answers.wait_ms(40_000))], retry={"hold_ms": 60_000})
    client = daemon.open_chat(daemon.client())
    wait_for(lambda: scrape(daemon).total("aoai_lb_held_requests") == 1, what="one that waits")
    client.reset()
    assert re.search(r" 499 one=429\(40000ms\) .* held_ms=[0-9]+ ", daemon.wait_for_line(ACCESS))


# ---- how long it may become

def many(backend, count):
    """So many backends with the longest names, on one resource."""
    entries = [backend.entry() for _ in range(count)]
    config = make_config(entries[:1])
    config["backends"] = [{**entry, "name": f"{'n' * 60}{number:04}", "priority": 1} for number, entry in enumerate(entries)]
    return config


def check_cut(text, named_and_left_out):
    """Whole items, then the mark; nothing is counted twice or forgotten."""
    *items, mark = text.split(",")
    assert all(ITEM.fullmatch(item) for item in items), text
    assert re.fullmatch(r"\+[1-9][0-9]*", mark), text
    assert len(items) + int(mark) == named_and_left_out
    return items


def test_a_long_explanation_is_cut_and_says_so(stage):
    backend = stage.backend(default=answers.wait_ms(50_000))
    daemon = stage.start(many(backend, 80))
    got = daemon.chat()
    assert got.status == 429
    items = check_cut(told(daemon, got), 80)
    assert all(item.endswith("=429(50000ms)") for item in items)
    assert 1900 < len(got.header("x-aoai-lb-attempts")) < 2150
    got = daemon.chat()
    assert got.status == 429
    items = check_cut(told(daemon, got, 2), 80)
    assert all("=skip:cooling(" in item for item in items)
    assert 900 < len(got.header("x-aoai-lb-attempts")) < 1024 + len(",+80") + 1


def test_what_served_is_named_behind_a_long_explanation(stage):
    config = many(stage.backend(default=answers.wait_ms(50_000)), 30)
    config["backends"].append({**stage.backend().entry(), "name": "last", "priority": 2})
    daemon = stage.start(config)
    assert daemon.chat().status == 200
    got = daemon.chat()
    assert got.header("x-aoai-lb-backend") == "last"
    assert check_cut(told(daemon, got, 2), 31)[-1] == "last=200"
