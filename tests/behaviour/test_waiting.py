"""Who waits for a backend is served as soon as one would take it, and is not refused by the daemon in a backend's stead."""
import time

from harness import answers
from harness.client import wait_for
from harness.crowd import crowd, start_crowd
from harness.stage import in_order
from test_metrics import scrape
from test_recovery import held, open_chats, when_a_probe_is_due

KNOWN = {"gpt-4o": "gpt-4o"}  # its state is known from the first request on


def slow(milliseconds, then):
    def speak(exchange):
        time.sleep(milliseconds / 1000)
        then(exchange)
    return speak


def held_ms(daemon):
    return [int(line.split("held_ms=")[1].split()[0]) for line in daemon.find_lines("held_ms=")]


def statuses(daemon, count):
    got = []
    crowd(count, lambda _: got.append(daemon.chat().status))
    return got


def test_a_crowd_behind_one_error_is_not_refused(stage):
    """No quota was involved: nobody need come back gradually."""
    one = stage.backend(answers.error(500, "oops"), default=slow(500, answers.ok()))
    daemon = stage.daemon([one.entry(deployments=KNOWN)], retry={"hold_ms": 1000, "max_attempts": 1},
                          cooldown={"server_error_ms": 100, "min_ms": 50})
    assert daemon.chat().status == 500
    when_a_probe_is_due(daemon)
    assert statuses(daemon, 60) == [200] * 60


def test_a_crowd_behind_one_429_is_not_refused(stage):
    """Answers that take long say late that they were taken: who has waited long enough goes all the same."""
    one = stage.backend(answers.wait_ms(300), default=slow(500, answers.ok()))
    daemon = stage.daemon([one.entry(deployments=KNOWN)], retry={"hold_ms": 1000}, cooldown={"min_ms": 50})
    assert statuses(daemon, 100) == [200] * 100


def test_one_that_spills_over_is_asked_at_once_where_the_other_rests(stage):
    first = stage.backend(default=answers.wait_ms(60_000))
    second = stage.backend(default=answers.ok(headers=[("x-ms-spillover-from-deployment", "gpt-4o-ptu")]))
    daemon = stage.daemon(in_order(first, second), retry={"hold_ms": 70_000})
    for _ in range(6):
        assert daemon.chat().status == 200
    assert held_ms(daemon) == []


def test_a_backend_that_can_be_reached_again_is_used_before_its_answer_is_there(stage):
    nobody, second = stage.nobody(), stage.backend()
    port = nobody.port
    daemon = stage.daemon(in_order(nobody, second), cooldown={"server_error_ms": 100, "min_ms": 50})
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    nobody.close()
    gate = answers.Gate()
    first = stage.backend(answers.gated(gate, answers.ok()), address=("127.0.0.1", port))
    got = []

    def ask(_):
        wait_for(lambda: got.append(daemon.chat().header("x-aoai-lb-backend")) or got[-1] == "one" or first.requests,
                 what="the first is asked")
    join = start_crowd(1, ask)
    first.await_requests(1)
    assert daemon.chat().header("x-aoai-lb-backend") == "one"
    gate.open()
    join()


def test_room_that_is_given_back_is_waited_for_in_order(stage):
    """What a request did not use is there for the next one at once, and for nobody who comes later."""
    gate = answers.Gate()
    told = answers.ok(headers=[("x-ratelimit-remaining-tokens", "1000"), ("x-ratelimit-reset-tokens", "50")])
    one = stage.backend(told, answers.gated(gate, answers.ok()))
    daemon = stage.daemon([one.entry(deployments=KNOWN)], retry={"hold_ms": 60_000}, workers=1)
    assert daemon.chat().status == 200
    first = start_crowd(1, lambda _: daemon.chat(max_tokens=900))
    one.await_requests(2)
    waiting = start_crowd(1, lambda _: daemon.chat(max_tokens=500))
    wait_for(lambda: scrape(daemon).total("aoai_lb_held_requests") == 1, what="held")
    later = start_crowd(1, lambda _: daemon.chat(max_tokens=500))
    wait_for(lambda: scrape(daemon).total("aoai_lb_held_requests") == 2, what="the later one is held behind it")
    gate.open()
    first()
    waiting()
    later()
    wait_for(lambda: len(held_ms(daemon)) == 2, what="two access lines")
    assert max(held_ms(daemon)) < 40_000


def test_the_end_of_an_error_s_rest_is_not_missed_while_a_quota_is_waited_for(stage):
    first = stage.backend(answers.error(500, "oops"))
    second = stage.backend(default=answers.wait_ms(50_000))
    daemon = stage.daemon(in_order(first.entry(deployments=KNOWN), second.entry(deployments=KNOWN)),
                          retry={"hold_ms": 60_000}, cooldown={"server_error_ms": 1000})
    failing = daemon.open_chat(daemon.client())
    second.await_requests(1)  # the first has failed, the second is throttled
    got = daemon.chat()
    assert got.status == 200 and got.header("x-aoai-lb-backend") == "one"
    failing.close()


def test_a_probe_that_fails_sends_one_more_and_not_all_that_waited_for_it(stage):
    probe, second = answers.Gate(), answers.Gate()
    one = stage.backend(answers.error(500, "oops"), answers.gated(probe, answers.error(500, "oops")),
                        answers.gated(second, answers.ok()))
    daemon = stage.daemon([one.entry(deployments=KNOWN)], workers=1, retry={"hold_ms": 60_000},
                          cooldown={"server_error_ms": 50, "min_ms": 50})
    assert daemon.chat().status == 500
    when_a_probe_is_due(daemon)
    prober = daemon.open_chat(daemon.client())
    one.await_requests(2)
    clients = open_chats(daemon, 20)
    wait_for(lambda: held(daemon) == 20, what="all are held")
    probe.open()
    assert prober.read_answer().status == 500
    one.await_requests(3)
    assert held(daemon) == 19
    second.open()
    assert {client.read_answer().status for client in clients} == {200}
    for client in (prober, *clients):
        client.close()
