"""Where what a backend tells of its room ends: at its reset, at its refusal's hint, at its quota group's edge."""
import time

import pytest

from harness import answers
from harness.client import wait_for
from harness.stage import in_order, make_config
from test_admin import Admin, backend_of, deployment_of
from test_metrics import scrape
from test_reload import reload

LEFT = "x-ratelimit-remaining-tokens"
RESET = "x-ratelimit-reset-tokens"
UTILISATION = "azure-openai-deployment-utilization"
SPILLED = [("x-ms-spillover-from-deployment", "gpt-4o")]
SPILL_EARLY = {"selection": {"spill_early": True}}


def empty(reset="55"):
    return [(LEFT, "0"), (RESET, reset)]


def test_a_reset_that_is_over_leaves_nothing_empty(stage):
    first = stage.backend(*(answers.ok(headers=empty(reset)) for reset in ("0", "0s", "-1", "0ms")))
    daemon = stage.daemon(in_order(first, stage.backend()), **SPILL_EARLY)
    assert [daemon.chat().header("x-aoai-lb-backend") for _ in range(5)] == ["one"] * 5


# ---- a refusal's hint

@pytest.mark.parametrize("news", [empty(), [(UTILISATION, "100.2%")]], ids=["tokens", "utilisation"])
def test_a_refusal_is_waited_for_as_long_as_its_hint_says(stage, news):
    backend = stage.backend(answers.ok(), answers.throttled(("retry-after-ms", "50"), *news))
    daemon = stage.daemon([backend], retry={"hold_ms": 20_000})
    assert [daemon.chat().outcomes for _ in range(2)] == [[("one", "200")], [("one", "429"), ("one", "200")]]


def test_a_backend_is_asked_again_after_its_refusals_hint(stage):
    first = stage.backend(answers.ok(), answers.throttled(("retry-after-ms", "50"), *empty()))
    daemon = stage.daemon(in_order(first, stage.backend()), **SPILL_EARLY)
    assert [daemon.chat().outcomes for _ in range(2)] == [[("one", "200")], [("one", "429"), ("two", "200")]]
    start = time.monotonic()
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", what="the end of the hint")
    assert time.monotonic() - start < 30


# ---- spillover

@pytest.mark.parametrize("more", [0, 8])
def test_a_deployment_that_spills_over_goes_after_others(stage, more):
    """The news is for a second, which a busy machine may miss: each answer of the first one's renews it. Among many
    backends the choice is made in another way, where it is an easy one."""
    first = stage.backend(default=answers.ok(headers=SPILLED))
    config = make_config(in_order(first, stage.backend()), SPILL_EARLY)
    config["backends"] += [{**config["backends"][1], "name": f"more{n}", "priority": 3} for n in range(more)]
    daemon = stage.start(config)
    assert daemon.chat().header("x-aoai-lb-backend") == "one"
    wait_for(lambda: daemon.chat().header("x-aoai-lb-attempts") == "one=skip:no_headroom,two=200", what="a spared deployment")
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", what="the end of it")
    assert scrape(daemon).total("aoai_lb_spillovers_total", backend="one", deployment="gpt-4o") == len(first.requests)
    assert not scrape(daemon).total("aoai_lb_backend_utilization_ratio")


def test_nobody_waits_for_a_deployment_that_spills_over(stage):
    backend = stage.backend(default=answers.ok(headers=SPILLED))
    daemon = stage.daemon([backend], retry={"hold_ms": 20_000})
    start = time.monotonic()
    assert {daemon.chat().header("x-aoai-lb-attempts") for _ in range(30)} == {"one=200"}
    assert time.monotonic() - start < 20


def test_the_status_says_that_it_spills_over(stage):
    daemon = stage.daemon([stage.backend(default=answers.ok(headers=SPILLED))])

    def reason():
        daemon.chat()
        return deployment_of(backend_of(Admin(daemon).status(), "one"), "gpt-4o")["reason"]

    wait_for(lambda: reason() == "no headroom: it would spill over to another deployment", what="the reason")


# ---- quota groups

def grouped(*backends):
    return [backend.entry(quota_group="east") for backend in backends]


def test_a_quota_group_shares_its_room(stage):
    first, second, third = stage.backend(answers.ok(headers=empty())), stage.backend(), stage.backend()
    daemon = stage.daemon(in_order(*grouped(first, second), third), **SPILL_EARLY)
    assert daemon.chat().header("x-aoai-lb-backend") == "one"
    got = daemon.chat()
    assert got.header("x-aoai-lb-attempts") == "one=skip:no_headroom,two=skip:no_headroom,three=200"
    # Another deployment's quota is another one.
    assert daemon.chat(deployment="gpt-4o-mini").header("x-aoai-lb-backend") == "one"
    assert not second.requests
    metrics = scrape(daemon)
    assert metrics.values("aoai_lb_backend_remaining_tokens", "backend") == {"one", "two"}
    assert metrics.total("aoai_lb_backend_remaining_tokens", deployment="gpt-4o") == 0


def test_what_one_of_a_quota_group_is_sent_counts_for_all(stage):
    """Room for two; the second one takes it, and its answer says nothing of it. Names differ, and one of the group does not
    serve the deployment at all."""
    other = stage.backend().entry(quota_group="east", deployments={"gpt-4o-mini": "mini"})
    first, second, third = stage.backend(answers.ok(headers=[(LEFT, "1500"), (RESET, "55")])), stage.backend(), stage.backend()
    gate = answers.Gate()
    first.then(answers.gated(gate, answers.ok()))
    entries = in_order(other, first.entry(quota_group="east", deployments={"gpt-4o": "a"}),
                       second.entry(quota_group="east", deployments={"gpt-4o": "b"}), third)
    daemon = stage.daemon(entries, **SPILL_EARLY)
    assert daemon.chat(max_tokens=1000).header("x-aoai-lb-backend") == "two"
    with daemon.client() as client:
        daemon.open_chat(client, max_tokens=1000)
        first.await_requests(2)
        got = daemon.chat(max_tokens=1000)
        assert got.header("x-aoai-lb-attempts") == "two=skip:no_headroom,three=skip:no_headroom,four=200"
        gate.open()
        assert client.read_answer().status == 200
    assert not second.requests


def test_a_quota_groups_keeper_may_leave_while_others_are_asked(stage):
    gate = answers.Gate()
    first, second = stage.backend(), stage.backend(answers.gated(gate, answers.ok(headers=empty())))
    last = second.entry(name="two", quota_group="east")
    daemon = stage.daemon([first.entry(priority=2, quota_group="east"), last])
    with daemon.client() as client:
        daemon.open_chat(client)
        second.await_requests(1)
        reload(daemon, last, {})
        gate.open()
        assert client.read_answer().header("x-aoai-lb-backend") == "two"
    assert daemon.chat().header("x-aoai-lb-attempts") == "two=200"
    assert not first.requests
