"""More backends than are judged in full when all is calm: the same rules hold."""
import collections

from harness import answers
from harness.client import wait_for
from harness.stage import make_config

COUNT = 12  # above CHOICE_GLANCE_MIN


def fleet(stage, backend, first=None, **changes):
    """So many equals, alike but for their names; first: an entry that goes before."""
    entries = [backend.entry(name=f"equal{number}", priority=2) for number in range(COUNT)]
    config = make_config([], changes)
    config["backends"] = ([{"name": "first", **first}] if first else []) + entries
    return stage.start(config)


def served_by(daemon, times):
    return collections.Counter(daemon.chat().header("x-aoai-lb-backend") for _ in range(times))


def test_equals_share_the_work(stage):
    counts = served_by(fleet(stage, stage.backend()), 30 * COUNT)
    assert len(counts) == COUNT
    assert min(counts.values()) >= 8 and max(counts.values()) <= 70


def test_the_lowest_priority_number_takes_all(stage):
    first = stage.backend()
    daemon = fleet(stage, stage.backend(), first.entry(priority=1))
    assert served_by(daemon, 20) == {"first": 20}


def test_a_throttled_one_is_passed_over_and_named(stage):
    first = stage.backend(answers.wait_ms(60_000))
    daemon = fleet(stage, stage.backend(), first.entry(priority=1))
    assert daemon.chat().header("x-aoai-lb-attempts").startswith("first=429(60000ms),equal")
    for _ in range(5):
        got = daemon.chat()
        assert got.status == 200
        assert "first=skip:cooling(" in got.header("x-aoai-lb-attempts")
    assert len(first.requests) == 1


def test_one_without_room_is_passed_over_and_named(stage):
    empty = answers.ok(headers=[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "60")])
    first = stage.backend(default=empty)
    daemon = fleet(stage, stage.backend(), first.entry(priority=1), selection={"spill_early": True})
    assert daemon.chat().header("x-aoai-lb-backend") == "first"
    for _ in range(5):
        got = daemon.chat()
        assert got.header("x-aoai-lb-backend") != "first"
        assert "first=skip:no_headroom" in got.header("x-aoai-lb-attempts")
    assert len(first.requests) == 1


def test_the_least_busy_equal_is_taken(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = fleet(stage, backend)
    clients = []
    for number in range(1, 2 * COUNT + 1):
        clients.append(daemon.open_chat(daemon.client()))
        wait_for(lambda: len(backend.requests) == number)
    gate.open()
    counts = collections.Counter()
    for client in clients:
        counts[client.read_answer().header("x-aoai-lb-backend")] += 1
        client.close()
    assert set(counts.values()) == {2} and len(counts) == COUNT


def test_prompts_keep_their_home(stage):
    daemon = fleet(stage, stage.backend(), selection={"prompt_cache_affinity": True})
    homes = collections.defaultdict(set)
    for _ in range(3):
        for key in range(8):
            homes[key].add(daemon.chat(prompt_cache_key=f"key{key}").header("x-aoai-lb-backend"))
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 1


def test_a_name_that_nobody_serves_is_said_at_once(stage):
    entries = [stage.backend().entry(name=f"equal{number}", deployments={"gpt-4o": "gpt-4o"}) for number in range(COUNT)]
    config = make_config([])
    config["backends"] = entries
    got = stage.start(config).chat(deployment="other")
    assert got.status == 404
