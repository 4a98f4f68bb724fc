"""What is known of quotas is used before a 429 says it, and what waits for one is bounded and counted."""
import random
import time

import pytest

from harness import answers
from harness.crowd import crowd
from harness.client import Client, wait_for
from harness.daemon import CHAT_BODY
from harness.simulator import Simulator
from harness.stage import equals
from test_metrics import scrape

QUOTAS = {"one": 12_000, "two": 6_000, "three": 10_000}  # tokens a minute
OUTPUT_TOKENS = 100
PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
BODY = {**CHAT_BODY, "max_tokens": OUTPUT_TOKENS}


@pytest.fixture
def simulator():
    """Three resources that refuse by tokens alone; a window of ten minutes does not end while a test runs."""
    window = {"requests_per_minute": 1_000_000, "token_window_ms": 600_000, "completion_tokens": 4}
    simulator = Simulator({name: {"gpt-4o": {"tokens_per_minute": quota // 10, **window}} for name, quota in QUOTAS.items()})
    yield simulator
    simulator.close()


def entries(simulator):
    return equals(*({"url": simulator.url(name)} for name in QUOTAS))


def the_samples_round_trips(simulator, count):
    """How many 429s the rule of the sample meets: a random one of those that have not said so yet."""
    chance, cooling, throttled = random.Random(7), set(), 0
    clients = {name: Client(simulator.ports[name]) for name in QUOTAS}
    for _ in range(count):
        while len(cooling) < len(QUOTAS):
            name = chance.choice(sorted(set(QUOTAS) - cooling))
            if clients[name].call("POST", PATH, body=BODY).status != 429:
                break
            throttled += 1
            cooling.add(name)
    for client in clients.values():
        client.close()
    return throttled


def test_at_nine_tenths_of_the_quota_no_429_is_met(stage, simulator):
    with Client(simulator.ports["one"]) as client:
        counted = client.call("POST", PATH, body=BODY).json["usage"]["prompt_tokens"] + OUTPUT_TOKENS
    count = sum(QUOTAS.values()) * 9 // 10 // counted
    simulator.control("POST", "/reset")
    sample = the_samples_round_trips(simulator, count)
    simulator.control("POST", "/reset")
    daemon = stage.daemon(entries(simulator))
    with daemon.client() as client:
        got = [client.call("POST", PATH, body=BODY) for _ in range(count)]
    assert {answer.status for answer in got} == {200}
    throttled = sum(code == "429" for answer in got for _, code in answer.outcomes)
    assert sample >= 1
    assert throttled * 10 <= sample
    left = scrape(daemon).total("aoai_lb_backend_remaining_tokens", deployment="gpt-4o")
    assert 0 < left <= sum(QUOTAS.values()) // 5


def ask_together(daemon, count, callers=8):
    """So many requests from callers that each wait for their answer before they ask again."""
    got = [None] * count

    def work(caller):
        with daemon.client() as client:
            for number in range(caller, count, callers):
                got[number] = client.call("POST", PATH, body=BODY)

    crowd(callers, work)
    return got


def counted(simulator):
    with Client(simulator.ports["one"]) as client:
        tokens = client.call("POST", PATH, body=BODY).json["usage"]["prompt_tokens"] + OUTPUT_TOKENS
    simulator.control("POST", "/reset")
    return tokens


def test_at_nine_tenths_of_the_quota_callers_at_once_are_all_served(stage, simulator):
    count = sum(QUOTAS.values()) * 9 // 10 // counted(simulator)
    daemon = stage.daemon(entries(simulator))
    got = ask_together(daemon, count)
    assert {answer.status for answer in got} == {200}
    # What is in flight is counted, so that no crowd runs into a 429 that one caller would not have met.
    assert sum(code == "429" for answer in got for _, code in answer.outcomes) <= 2


def test_beyond_the_quota_all_of_it_is_served_and_the_hints_are_true(stage):
    window = {"requests_per_minute": 1_000_000, "token_window_ms": 50_000, "completion_tokens": 4}
    simulator = Simulator({name: {"gpt-4o": {"tokens_per_minute": quota * 12 // 10, **window}}
                           for name, quota in QUOTAS.items()})
    try:
        tokens = counted(simulator)
        possible = sum(quota // tokens for quota in QUOTAS.values())
        daemon = stage.daemon(entries(simulator))
        got = ask_together(daemon, possible * 12 // 10)
        assert sum(answer.status == 200 for answer in got) == possible
        assert {answer.status for answer in got} == {200, 429}
        # The backends say when they are back, and asking them costs no tokens.
        said = int(daemon.chat(max_tokens=OUTPUT_TOKENS).header("retry-after-ms"))
        true = []
        for name in QUOTAS:
            with Client(simulator.ports[name]) as client:
                true.append(int(client.call("POST", PATH, body=BODY).header("retry-after-ms")))
        assert abs(said - min(true)) <= min(true) // 10
    finally:
        simulator.close()


def test_the_short_waits_of_a_provisioned_deployment_reach_nobody(stage):
    simulator = Simulator({"one": {"gpt-4o": {"ptu": 100, "token_window_ms": 100}}})
    try:
        daemon = stage.daemon([{"url": simulator.url("one")}], retry={"hold_ms": 20_000})
        with daemon.client() as client:
            got = [client.call("POST", PATH, body=BODY) for _ in range(20)]
        assert {answer.status for answer in got} == {200}
        assert scrape(daemon).total("aoai_lb_throttled_total") > 0
        assert 0 < scrape(daemon).total("aoai_lb_backend_utilization_ratio", deployment="gpt-4o") < 10
    finally:
        simulator.close()


# ---- room that comes back soon is waited for

@pytest.mark.parametrize("hold_ms, waits", [(20_000, True), (300, False), (0, False)])
def test_who_has_no_room_soon_has_some_and_is_not_asked_before(stage, hold_ms, waits):
    news = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "2")]
    backend = stage.backend(default=answers.ok(headers=news))
    daemon = stage.daemon([backend], retry={"hold_ms": hold_ms})
    begun = time.monotonic()
    got = [daemon.chat() for _ in range(2)]
    passed = time.monotonic() - begun
    assert [answer.outcomes for answer in got] == [[("one", "200")]] * 2
    if waits:
        assert passed > 1.9
    else:
        assert len(backend.requests) == 2


def test_a_large_request_that_waits_for_room_keeps_no_small_one_waiting(stage):
    news = [("x-ratelimit-remaining-tokens", "1000"), ("x-ratelimit-reset-tokens", "15")]
    backend = stage.backend(default=answers.ok(headers=news))
    daemon = stage.daemon([backend], workers=1, retry={"hold_ms": 20_000})
    assert daemon.chat().status == 200
    large = daemon.open_chat(daemon.client(), max_tokens=5000)
    wait_for(lambda: held(daemon) == 1, what="the large one's waiting")
    assert daemon.chat(max_tokens=5).status == 200
    assert held(daemon) == 1
    large.reset()
    wait_for(lambda: held(daemon) == 0, what="the end of the wait")


# ---- what waits is counted, and bounded

def held(daemon):
    return scrape(daemon).total("aoai_lb_held_requests")


def test_held_requests_are_counted_and_end_with_their_callers(stage):
    backend = stage.backend(default=answers.wait_ms(40_000))
    daemon = stage.daemon([backend], workers=1, retry={"hold_ms": 60_000})
    clients = [daemon.open_chat(daemon.client()) for _ in range(3)]
    wait_for(lambda: held(daemon) == 3, what="three that wait")
    for client in clients:
        client.reset()
    wait_for(lambda: held(daemon) == 0, what="the end of the wait")
    assert scrape(daemon).total("aoai_lb_client_disconnects_total") == 3


def test_no_more_than_256_wait_for_a_deployment_on_a_worker(stage):
    """And others can still wait for theirs."""
    short = iter([answers.wait_ms(200), answers.ok()])

    def speak(exchange):
        (answers.wait_ms(50_000) if "/gpt-4o/" in exchange.request.path else next(short))(exchange)

    daemon = stage.daemon([stage.backend(default=speak)], workers=1, retry={"hold_ms": 60_000})
    clients = [daemon.open_chat(daemon.client()) for _ in range(256)]
    wait_for(lambda: held(daemon) == 256, what="256 that wait")
    assert daemon.chat().status == 429
    got = daemon.chat(deployment="gpt-4o-mini")
    assert got.outcomes == [("one", "429"), ("one", "200")]
    for client in clients:
        client.reset()


def test_no_more_than_64_mib_wait_on_a_worker(stage):
    backend = stage.backend(default=answers.wait_ms(50_000))
    daemon = stage.daemon([backend], workers=1, retry={"hold_ms": 60_000})
    body = {**BODY, "user": "x" * (30 << 20)}
    clients = [daemon.client() for _ in range(3)]
    for number, client in enumerate(clients[:2]):
        client.request("POST", PATH, body=body)
        wait_for(lambda: held(daemon) == number + 1, what="one more that waits")
    assert clients[2].call("POST", PATH, body=body).status == 429
    assert held(daemon) == 2
    for client in clients:
        client.reset()


# ---- budgets

def test_retries_are_counted_by_budget(stage):
    daemon = stage.daemon(equals(stage.backend(answers.wait_ms(30_000)), stage.backend(answers.wait_ms(30_000)),
                                 stage.backend()))
    got = daemon.chat()
    assert scrape(daemon).total("aoai_lb_retries_total", budget="safe") == len(got.outcomes) - 1
    assert scrape(daemon).total("aoai_lb_retries_total", budget="unsafe") == 0
