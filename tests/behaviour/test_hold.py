"""Requests that wait for a throttled backend, backends that share a quota, room that is known, and prompts at home."""
import pathlib
import re
import time

import pytest

from harness import answers
from harness.client import wait_for
from harness.daemon import CHAT_BODY
from harness.stage import equals, in_order
from test_admin import Admin, backend_of, deployment_of
from test_metrics import scrape


KNOWN = {"gpt-4o": "gpt-4o"}  # a deployment that has failed and never succeeded has a state if it is configured


def held(daemon):
    return scrape(daemon).total("aoai_lb_held_requests")


def state_of(daemon, backend, deployment):
    return deployment_of(backend_of(Admin(daemon).status(), backend), deployment)["state"]


def test_a_short_cooldown_never_reaches_the_caller(stage):
    backend = stage.backend(answers.wait_ms(150))
    daemon = stage.daemon([backend], retry={"hold_ms": 20_000})
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "429"), ("one", "200")]
    assert len(backend.requests) == 2


def test_a_long_cooldown_is_told_at_once(stage):
    backend = stage.backend(answers.wait_ms(50_000))
    daemon = stage.daemon([backend], retry={"hold_ms": 1_000})
    got = daemon.chat()
    assert got.status == 429
    assert 40_000 < int(got.header("retry-after-ms")) <= 50_000
    got = daemon.chat()
    assert got.header("x-aoai-lb-attempts").startswith("one=skip:cooling(")
    assert got.header("x-aoai-lb-attempts").endswith("ms;retry-after-ms)")


def test_a_caller_that_leaves_is_held_no_longer(stage):
    backend = stage.backend(answers.wait_ms(1_500))
    daemon = stage.daemon([backend], retry={"hold_ms": 30_000})
    leaver = daemon.open_chat(daemon.client())
    backend.await_requests(1)
    leaver.reset()
    assert daemon.chat().status == 200
    assert len(backend.requests) == 2


def test_an_attempts_cap_is_not_outwaited(stage):
    backend = stage.backend(answers.wait_ms(200))
    daemon = stage.daemon([backend], retry={"hold_ms": 30_000, "max_attempts": 1})
    assert daemon.chat().status == 429
    assert len(backend.requests) == 1


# ---- quota groups

def test_a_quota_group_cools_together(stage):
    first, second, third = stage.backend(answers.wait_ms(50_000)), stage.backend(), stage.backend()
    daemon = stage.daemon(in_order(first.entry(quota_group="east"), second.entry(quota_group="east"), third))
    got = daemon.chat()
    assert got.outcomes == [("one", "429"), ("three", "200")]
    assert "two=skip:cooling(" in got.header("x-aoai-lb-attempts")
    assert daemon.chat(deployment="gpt-4o-mini").header("x-aoai-lb-backend") == "one"
    assert not second.requests


# ---- room

@pytest.mark.parametrize("left, reset, served_by", [
    ("1", "30", "two"), ("0", "30", "two"), ("100000", "30", "one"), ("-1", "30", "one"), ("many", "30", "one")])
def test_a_backend_without_room_is_passed_over(stage, left, reset, served_by):
    news = [("x-ratelimit-remaining-tokens", left), ("x-ratelimit-reset-tokens", reset)]
    first, second = stage.backend(default=answers.ok(headers=news)), stage.backend()
    daemon = stage.daemon(in_order(first, second), selection={"spill_early": True})
    assert daemon.chat().header("x-aoai-lb-backend") == "one"
    got = daemon.chat()
    assert got.header("x-aoai-lb-backend") == served_by
    assert got.header("x-aoai-lb-attempts") == ("one=200" if served_by == "one" else "one=skip:no_headroom,two=200")


def test_the_last_priority_with_none_is_tried_all_the_same(stage):
    news = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "30")]
    first = stage.backend(default=answers.ok(headers=news))
    daemon = stage.daemon([first])
    for _ in range(3):
        assert daemon.chat().status == 200


# ---- affinity

def ask(client, key):
    return client.call("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=1",
                       body={**CHAT_BODY, "prompt_cache_key": key}).header("x-aoai-lb-backend")


def test_a_prompt_stays_where_it_is_cached(stage):
    backends = [stage.backend() for _ in range(3)]
    daemon = stage.daemon(equals(*backends), selection={"prompt_cache_affinity": True})
    keys = [f"conversation-{number}" for number in range(24)]
    with daemon.client() as client:
        homes = {key: ask(client, key) for key in keys}
        assert len(set(homes.values())) == 3
        for _ in range(2):
            assert {key: ask(client, key) for key in keys} == homes


def test_only_a_lost_backends_prompts_move_and_once(stage):
    flaky = stage.backend()
    daemon = stage.daemon(equals(flaky, stage.backend(), stage.backend()), selection={"prompt_cache_affinity": True})
    keys = [f"conversation-{number}" for number in range(24)]
    with daemon.client() as client:
        homes = {key: ask(client, key) for key in keys}
        flaky.then(answers.wait_ms(50_000))
        moved = {key: ask(client, key) for key in keys}
        assert all(moved[key] == home for key, home in homes.items() if home != "one")
        assert all(moved[key] != "one" for key, home in homes.items() if home == "one")
        assert {key: ask(client, key) for key in keys} == moved


# ---- a probe is out

def hold_behind_a_probe(stage, probe, waiting, workers=1):
    """A daemon whose only backend has failed and is being probed, by the first client; the others wait for that. (The probe of
    a throttled backend is not waited for as long.)"""
    backend = stage.backend(answers.error(500, "500"), *probe)
    daemon = stage.daemon([backend.entry(deployments=KNOWN)], workers=workers, retry={"hold_ms": 60_000}, cooldown={"server_error_ms": 50})
    assert daemon.chat().status == 500
    wait_for(lambda: state_of(daemon, "one", "gpt-4o") == "probing", what="the end of the rest")
    clients = [daemon.client() for _ in range(1 + waiting)]
    daemon.open_chat(clients[0])
    backend.await_requests(2)
    for client in clients[1:]:
        daemon.open_chat(client)
    wait_for(lambda: held(daemon) == waiting, what="those that wait")
    return backend, daemon, clients


def all_are_served(clients):
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_those_who_wait_go_when_the_probe_succeeds(stage, workers):
    gate = answers.Gate()
    backend, _, clients = hold_behind_a_probe(stage, [answers.gated(gate, answers.ok())], 12, workers)
    assert len(backend.requests) == 2
    gate.open()
    all_are_served(clients)
    assert len(backend.requests) == 14


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_a_probe_is_told_and_not_found_out(stage, workers):
    """The queue looks for itself once a second; on a busy machine the best of some tries shows that nobody waits for that."""
    for _ in range(8):
        gate = answers.Gate()
        _, _, clients = hold_behind_a_probe(stage, [answers.gated(gate, answers.ok())], 4, workers)
        gate.open()
        assert clients[0].read_answer().status == 200
        began = time.monotonic()
        all_are_served(clients[1:])
        clients[0].close()
        if time.monotonic() - began < 0.5:
            return
    raise AssertionError("those who wait look for themselves")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("failure, status", [(answers.wait_ms(50), 200), (answers.error(500, "500"), 500),
                                             (answers.reset(), 502)], ids=["429", "500", "reset"])
def test_those_who_wait_go_on_when_the_probe_fails(stage, failure, status, workers):
    gate = answers.Gate()
    backend, _, clients = hold_behind_a_probe(stage, [answers.gated(gate, failure)], 4, workers)
    assert len(backend.requests) == 2
    gate.open()
    all_are_served(clients[1:])
    assert clients[0].read_answer().status == status
    clients[0].close()


@pytest.mark.parametrize("workers", [1, 2])
def test_when_the_probes_caller_leaves_the_next_one_probes(stage, workers):
    gate = answers.Gate()
    backend, _, clients = hold_behind_a_probe(stage, [answers.hang(), answers.gated(gate, answers.ok())], 4, workers)
    clients[0].reset()
    backend.await_requests(3)
    assert len(backend.requests) == 3
    gate.open()
    all_are_served(clients[1:])


def test_a_probe_after_an_error_is_waited_for_as_well(stage):
    gate = answers.Gate()
    backend = stage.backend(answers.error(500, "500"), answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend.entry(deployments=KNOWN)], retry={"hold_ms": 60_000}, cooldown={"server_error_ms": 10})
    assert daemon.chat().status == 500
    wait_for(lambda: state_of(daemon, "one", "gpt-4o") == "probing", what="the end of the rest")
    with daemon.client() as probe, daemon.client() as other:
        daemon.open_chat(probe)
        backend.await_requests(2)
        daemon.open_chat(other)
        wait_for(lambda: held(daemon) == 1, what="one that waits")
        assert len(backend.requests) == 2
        gate.open()
        assert probe.read_answer().outcomes == [("one", "200")]
        assert other.read_answer().outcomes == [("one", "200")]


def switches(daemon):
    """How often the daemon's threads have gone to sleep."""
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s*([0-9]+)", status.read_text(), re.MULTILINE)[1])
               for status in pathlib.Path(f"/proc/{daemon.process.pid}/task").glob("*/status"))


def test_nobody_looks_all_the_time_whether_a_probe_is_over(stage):
    gate = answers.Gate()
    _, daemon, clients = hold_behind_a_probe(stage, [answers.gated(gate, answers.ok())], 3)
    before = switches(daemon)
    assert clients[1].nothing_comes(1.5)
    assert switches(daemon) - before < 60  # looking every 4 ms would be 375
    gate.open()
    all_are_served(clients)
