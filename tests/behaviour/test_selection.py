"""Which backend a request goes to first."""
import collections

from harness import answers
from harness.client import wait_for
from harness.stage import equals, in_order


def served_by(daemon, times):
    return collections.Counter(daemon.chat().header("x-aoai-lb-backend") for _ in range(times))


def test_the_lowest_priority_number_takes_all(stage):
    first, second, third = (stage.backend() for _ in range(3))
    daemon = stage.daemon([first.entry(priority=5), second.entry(priority=2), third.entry(priority=9)])
    assert served_by(daemon, 20) == {"two": 20}


def test_the_next_priority_takes_over_while_the_first_rests(stage):
    first, second, third = stage.backend(answers.wait_ms(60_000)), stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon([first.entry(priority=1), second.entry(priority=1), third.entry(priority=7)])
    assert daemon.chat().header("x-aoai-lb-backend") == "three"
    assert served_by(daemon, 5) == {"three": 5}


def test_an_equal_is_tried_before_a_lower_one(stage):
    first, second, third = stage.backend(default=answers.error(500, "500")), stage.backend(), stage.backend()
    daemon = stage.daemon([first.entry(priority=1), second.entry(priority=1), third.entry(priority=2)])
    assert served_by(daemon, 10) == {"two": 10}
    assert not third.requests


def test_equals_share_the_work(stage):
    daemon = stage.daemon(equals(stage.backend(), stage.backend()))
    counts = served_by(daemon, 100)
    assert counts["one"] + counts["two"] == 100
    assert 20 <= counts["one"] <= 80


def test_ties_are_not_broken_in_turn(stage):
    """In turn, many balancers would move in step; at random they do not."""
    daemon = stage.daemon(equals(stage.backend(), stage.backend()))
    order = [daemon.chat().header("x-aoai-lb-backend") for _ in range(40)]
    assert any(a == b for a, b in zip(order, order[1:]))


def test_ties_follow_the_weights(stage):
    first, second = stage.backend(), stage.backend()
    daemon = stage.daemon([first.entry(weight=9), second.entry(weight=1)])
    counts = served_by(daemon, 200)
    assert 150 <= counts["one"] <= 198


def test_the_least_busy_equal_is_taken(stage):
    gate = answers.Gate()
    backends = [stage.backend(default=answers.gated(gate, answers.ok())) for _ in range(3)]
    daemon = stage.daemon(equals(*backends))
    clients = []
    for round_number in range(1, 4):
        for _ in range(3):
            clients.append(daemon.open_chat(daemon.client()))
            wait_for(lambda: sum(len(backend.requests) for backend in backends) == len(clients))
        assert [len(backend.requests) for backend in backends] == [round_number] * 3
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


def test_busyness_counts_by_weight(stage):
    gate = answers.Gate()
    heavy, light = (stage.backend(default=answers.gated(gate, answers.ok())) for _ in range(2))
    daemon = stage.daemon([heavy.entry(weight=3), light.entry(weight=1)])
    clients = []
    for count in range(1, 9):
        clients.append(daemon.open_chat(daemon.client()))
        wait_for(lambda: len(heavy.requests) + len(light.requests) == count)
    assert (len(heavy.requests), len(light.requests)) == (6, 2)
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


def test_busyness_does_not_beat_priority(stage):
    gate = answers.Gate()
    first, second = stage.backend(default=answers.gated(gate, answers.ok())), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    clients = [daemon.open_chat(daemon.client()) for _ in range(10)]
    first.await_requests(10)
    assert not second.requests
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


def test_a_stream_keeps_its_backend_busy_until_it_ends(stage):
    gate = answers.Gate()
    script = answers.stream(answers.HELLO, gate, answers.STOP, answers.DONE)
    backends = [stage.backend(script), stage.backend(script)]
    daemon = stage.daemon(equals(*backends), workers=1)
    with daemon.client() as streaming:
        daemon.open_chat(streaming, stream=True)
        busy = streaming.read_head().header("x-aoai-lb-backend")
        streaming.read_payload_until(b"Hello")
        idle = backends[busy == "one"]
        idle.script.clear()
        for _ in range(6):
            assert daemon.chat().header("x-aoai-lb-backend") != busy
        gate.open()
        assert streaming.read_payload_until(answers.DONE)


def test_work_that_is_over_no_longer_counts(stage):
    """Otherwise one of the two would sooner or later be starved."""
    backends = [stage.backend(default=answers.ok()), stage.backend(answers.error(400, "x"), answers.error(404, "x"))]
    daemon = stage.daemon(equals(*backends))
    for _ in range(10):
        client = daemon.open_chat(daemon.client())
        client.reset()
    counts = served_by(daemon, 60)
    assert min(counts["one"], counts["two"]) >= 8


def test_failover_among_equals_takes_each_once(stage):
    backends = [stage.backend(default=answers.error(500, "500")) for _ in range(4)]
    daemon = stage.daemon(equals(*backends))
    got = daemon.chat()
    assert sorted(name for name, _ in got.outcomes) == ["four", "one", "three", "two"]
