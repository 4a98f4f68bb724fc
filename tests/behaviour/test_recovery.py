"""The way back to a backend that was throttled: nobody is refused needlessly, first come first served, and not as a herd."""
import json
import signal
import threading
import time

import pytest

from harness import answers
from harness.client import wait_for
from harness.stage import in_order
from test_hold import KNOWN, all_are_served, held, state_of


def slowly(seconds, then):
    def speak(exchange):
        time.sleep(seconds)
        then(exchange)

    return speak


def open_chats(daemon, count, **more):
    return [daemon.open_chat(daemon.client(), **more) for _ in range(count)]


def when_a_probe_is_due(daemon, deployment="gpt-4o"):
    wait_for(lambda: state_of(daemon, "one", deployment) == "probing", what="the end of the rest")


# ---- whoever comes behind a probe

def test_an_answer_in_the_making_keeps_nobody_waiting(stage):
    """A 429 comes at once: silence says that the backend takes requests, long before it has generated an answer."""
    gate = answers.Gate()
    backend = stage.backend(answers.wait_ms(50), default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], workers=1, retry={"hold_ms": 60_000})
    clients = open_chats(daemon, 1)
    backend.await_requests(2)
    clients += open_chats(daemon, 9)
    backend.await_requests(2 + 9)
    gate.open()
    all_are_served(clients)


def test_a_probe_that_hangs_shuts_nobody_out(stage):
    backend = stage.backend(answers.wait_ms(50), answers.hang())
    daemon = stage.daemon([backend])
    assert daemon.chat().status == 429
    when_a_probe_is_due(daemon)
    with daemon.client() as hanging:
        daemon.open_chat(hanging)
        backend.await_requests(2)
        wait_for(lambda: daemon.chat().status == 200, what="the others' turn")
        hanging.reset()


@pytest.mark.parametrize("failure", [answers.wait_ms(50), answers.error(500, "500")], ids=["429", "500"])
def test_a_streams_head_ends_the_probe(stage, failure):
    gate = answers.Gate()
    first = stage.backend(failure, answers.stream(*answers.QUIET, gate, answers.HELLO, answers.STOP, answers.DONE))
    daemon = stage.daemon(in_order(first.entry(deployments=KNOWN), stage.backend()), cooldown={"server_error_ms": 50}, timeouts={"commit_ms": 60_000})
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    when_a_probe_is_due(daemon)
    with daemon.client() as probe:
        daemon.open_chat(probe, stream=True)
        first.await_requests(2)
        wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", what="the return of the first backend")
        gate.open()
        assert probe.read_head().header("x-aoai-lb-backend") == "one"


def test_a_stream_that_fails_behind_its_head_has_not_succeeded(stage):
    """Else each of its rests would be as short as the first."""
    broken = answers.stream(answers.error_event())
    first = stage.backend(default=broken)
    daemon = stage.daemon(in_order(first.entry(deployments=KNOWN), stage.backend()), cooldown={"server_error_ms": 100})
    rests = []
    while len(rests) < 3:
        attempts = daemon.chat(stream=True).attempts
        if attempts[0][0] == "one" and attempts[0][1].startswith("stream:"):
            rests.append(attempts[0][2])
    assert rests[0] == 100
    assert rests[0] < rests[1] < rests[2]


# ---- whoever was throttled, and is so no longer

def recovered_meanwhile(stage, hold_ms):
    """The first backend has thrown the first request out and taken another; the second one has just begun to cool."""
    gate = answers.Gate()
    one = stage.backend(answers.wait_ms(100))
    two = stage.backend(answers.gated(gate, answers.wait_ms(50_000)), default=answers.wait_ms(50_000))
    daemon = stage.daemon(in_order(one, two), workers=1, retry={"hold_ms": hold_ms})
    first = daemon.open_chat(daemon.client())
    two.await_requests(1)
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", what="the return of the first backend")
    gate.open()
    got = first.read_answer()
    first.close()
    return got


def test_a_throttler_that_has_recovered_is_asked_again(stage):
    got = recovered_meanwhile(stage, 20_000)
    assert got.status == 200
    assert got.outcomes[-1] == ("one", "200")


def test_a_refusal_tells_of_the_one_that_has_recovered(stage):
    got = recovered_meanwhile(stage, 0)
    assert got.status == 429
    assert int(got.header("retry-after-ms")) <= 1_000


def test_what_comes_after_a_429_is_what_the_caller_gets(stage):
    backend = stage.backend(answers.wait_ms(50), answers.error(500, "boom"))
    daemon = stage.daemon([backend], retry={"hold_ms": 60_000})
    got = daemon.chat()
    assert got.outcomes == [("one", "429"), ("one", "500")]
    assert got.status == 500
    assert got.json["error"]["code"] == "boom"


def test_who_fails_in_another_way_after_a_429_is_not_asked_again(stage):
    one = stage.backend(answers.wait_ms(50), default=answers.error(501, "never"))
    two = stage.backend(answers.wait_ms(600))
    daemon = stage.daemon(in_order(one, two), retry={"hold_ms": 60_000})
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "429"), ("two", "429"), ("one", "501"), ("two", "200")]


# ---- many at once

class Quota:
    """Takes one of some requests and throttles the others, slowly, for that long. Counts, and knows who came when."""

    def __init__(self, one_of, wait_ms, seconds=0.05):
        self.one_of, self.wait_ms, self.seconds = one_of, wait_ms, seconds
        self.lock = threading.Lock()
        self.closed, self.asked, self.served = True, 0, []

    def __call__(self, exchange):
        with self.lock:
            if self.closed:
                taken = False
            else:
                self.asked += 1
                taken = self.asked % self.one_of == 0
            if taken:
                self.served.append(json.loads(exchange.request.body)["user"])
        if taken:
            answers.ok()(exchange)
        else:
            slowly(self.seconds, answers.wait_ms(self.wait_ms))(exchange)


def test_first_come_first_served(stage):
    """Those who lose again keep their place, and nobody who comes later overtakes them."""
    quota = Quota(one_of=2, wait_ms=10)
    daemon = stage.daemon([stage.backend(default=quota)], workers=1, retry={"hold_ms": 60_000})
    clients = []
    for number in range(15):
        clients += open_chats(daemon, 1, user=number)
        wait_for(lambda: held(daemon) in (number, number + 1), what="one more that waits")  # the first may be out, asking
    quota.closed = False
    clients += [daemon.open_chat(daemon.client(), user=15 + number) for number in range(10)]
    all_are_served(clients)
    assert sorted(quota.served) == list(range(25))
    # Of two that are out together either may be the first to be read; and the last ten are a crowd.
    assert all(abs(place - user) <= 3 for place, user in enumerate(quota.served[:15])), quota.served
    assert all(user >= 12 for user in quota.served[15:]), quota.served


class Bucket:
    """Has room for one request every so often, and says when, after a round trip."""

    def __init__(self, every, round_trip):
        self.every, self.round_trip = every, round_trip
        self.lock = threading.Lock()
        self.next, self.taken, self.refused = 0, 0, 0

    def __call__(self, exchange):
        with self.lock:
            now = time.monotonic()
            wait = self.next - now
            if wait <= 0:
                self.next = now + self.every
                self.taken += 1
            else:
                self.refused += 1
        time.sleep(self.round_trip)
        (answers.ok() if wait <= 0 else answers.wait_ms(int(wait * 1000) + 1))(exchange)


def test_those_who_wait_do_not_leave_as_a_herd(stage):
    """Some 40 would be refused for each that is taken, were all let go that the first refusal comes too late for."""
    bucket = Bucket(every=0.2, round_trip=0.05)
    daemon = stage.daemon([stage.backend(answers.wait_ms(700), default=bucket)], workers=1, retry={"hold_ms": 60_000})
    clients = open_held(daemon, 1) + open_chats(daemon, 150)
    wait_for(lambda: bucket.taken >= 10, 60, "ten that are served")
    assert bucket.refused <= bucket.taken * 8
    for client in clients:
        client.reset()


def test_a_backend_with_room_again_takes_all_of_them_soon(stage):
    backend = stage.backend(answers.wait_ms(300))
    daemon = stage.daemon([backend], retry={"hold_ms": 60_000})
    all_are_served(open_chats(daemon, 200))


def test_the_first_keeps_its_place_when_the_queue_is_full(stage):
    probe, first_try = answers.Gate(), answers.Gate()
    backend = stage.backend(answers.error(500, "500"), answers.gated(probe, answers.error(500, "500")),
                            answers.gated(first_try, answers.wait_ms(30)))
    daemon = stage.daemon([backend.entry(deployments=KNOWN)], workers=1, retry={"hold_ms": 60_000},
                          cooldown={"server_error_ms": 10})
    assert daemon.chat().status == 500
    when_a_probe_is_due(daemon)
    prober = daemon.open_chat(daemon.client())
    backend.await_requests(2)
    first = daemon.open_chat(daemon.client())
    wait_for(lambda: held(daemon) == 1, what="the first that waits")
    clients = open_chats(daemon, 255)
    wait_for(lambda: held(daemon) == 256, what="a full queue")
    probe.open()
    assert prober.read_answer().status == 500
    backend.await_requests(3)
    late = open_chats(daemon, 20)
    first_try.open()
    got = first.read_answer()
    assert got.outcomes == [("one", "429"), ("one", "200")]
    all_are_served(clients)
    for client in late:
        assert client.read_answer().status in (200, 429)
        client.close()


# ---- what else may happen meanwhile

def open_held(daemon, count):
    clients = open_chats(daemon, count)
    wait_for(lambda: held(daemon) == count, what="all of them waiting")
    return clients


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_serves_those_who_wait(stage, workers):
    backend = stage.backend(default=answers.wait_ms(1_000))
    daemon = stage.daemon([backend], workers=workers, retry={"hold_ms": 20_000})
    clients = open_held(daemon, 6)
    backend.default = answers.ok()
    daemon.signal(signal.SIGTERM)
    for client in clients:
        got = client.read_answer()
        assert (got.status, got.header("connection")) == (200, "close")
        client.close()
    assert daemon.wait() == 0
    daemon.ended()


def test_a_second_signal_ends_those_who_wait(stage):
    daemon = stage.daemon([stage.backend(default=answers.wait_ms(30_000))], retry={"hold_ms": 60_000})
    clients = open_held(daemon, 6)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for_line("no longer ready")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    daemon.ended()
    for client in clients:
        client.close()


def test_a_reload_takes_no_backend_from_those_who_wait(stage):
    """They keep the configuration that they began with; who comes later has the new one."""
    backend, other = stage.backend(default=answers.wait_ms(1_000)), stage.backend()
    daemon = stage.daemon([backend], workers=2, retry={"hold_ms": 60_000})
    clients = open_held(daemon, 6)
    daemon.write_config({**daemon.config(), "backends": [{"name": "other", **other.entry()}]})
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    assert daemon.chat().header("x-aoai-lb-backend") == "other"
    backend.default = answers.ok()
    for client in clients:
        assert client.read_answer().header("x-aoai-lb-backend") == "one"
        client.close()


def test_nobody_waits_longer_than_request_ms(stage):
    backend = stage.backend(default=answers.wait_ms(20))
    daemon = stage.daemon([backend], retry={"hold_ms": 60_000}, timeouts={"request_ms": 400})
    assert daemon.chat().status == 429
    assert len(backend.requests) >= 2


def test_nobody_begins_a_wait_that_request_ms_would_end(stage):
    backend = stage.backend(default=answers.wait_ms(20_000))
    daemon = stage.daemon([backend], retry={"hold_ms": 60_000}, timeouts={"request_ms": 15_000})
    got = daemon.chat()
    assert got.status == 429
    assert 15_000 < int(got.header("retry-after-ms")) <= 20_000
    assert len(backend.requests) == 1
