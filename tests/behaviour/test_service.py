"""The daemon as a service: reloads under load, a service manager, several workers, awkward moments."""
import os
import re
import signal
import socket
import threading
import time

import pytest

from harness import answers
from harness.client import wait_for
from harness.crowd import start_crowd
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import equals, make_config
from test_admin import Admin


class Manager:
    """A service manager's notification socket."""

    def __init__(self, stage, abstract):
        self.name = f"@aoai-lb-test-{os.getpid()}-{time.monotonic_ns()}" if abstract else str(stage.directory() / "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + self.name[1:] if abstract else self.name)
        self.sock.settimeout(15)
        self.seen = []

    def wait_for(self, line):
        while not any(line in message for message in self.seen):
            self.seen.append(self.sock.recv(4096).decode().split("\n"))
        return next(message for message in self.seen if line in message)

    def close(self):
        self.sock.close()


@pytest.fixture(params=["path", "abstract"])
def manager(stage, request):
    manager = Manager(stage, request.param == "abstract")
    yield manager
    manager.close()


def test_a_service_manager_hears_of_start_reload_and_stop(stage, manager):
    daemon = stage.daemon([stage.backend()], environment={"NOTIFY_SOCKET": manager.name})
    manager.wait_for("READY=1")
    assert len(manager.seen) == 1
    manager.seen.clear()
    daemon.signal(signal.SIGHUP)
    reloading = manager.wait_for("RELOADING=1")
    stamp = next(int(line[15:]) for line in reloading if line.startswith("MONOTONIC_USEC="))
    assert 0 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 - stamp < 60_000_000
    manager.wait_for("READY=1")
    manager.seen.clear()
    daemon.signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert daemon.wait() == 0
    daemon.ended()


def test_a_reload_amid_a_drain_does_not_call_it_off(stage, manager):
    """A manager that hears READY=1 behind STOPPING=1 would take the service for one that goes on."""
    daemon = stage.daemon([stage.backend()], environment={"NOTIFY_SOCKET": manager.name}, timeouts={"drain_delay_ms": 60_000})
    manager.wait_for("READY=1")
    daemon.signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    manager.seen.clear()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.seen.append(manager.sock.recv(4096))
    daemon.ended()


def test_a_failed_reload_ends_the_reloading_too(stage, manager):
    daemon = stage.daemon([stage.backend()], environment={"NOTIFY_SOCKET": manager.name})
    manager.wait_for("READY=1")
    manager.seen.clear()
    daemon.write_config({"backends": []})
    daemon.signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    assert any("failed" in line for line in manager.wait_for("READY=1"))


def test_the_watchdog_is_fed(stage, manager):
    stage.daemon([stage.backend()], environment={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000"})
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
        manager.seen.clear()


@pytest.mark.parametrize("name", ["relative", "", "@", "/nowhere/at/all", "/" + "x" * 200])
def test_a_notification_that_cannot_be_sent_stops_nothing(stage, name):
    assert stage.daemon([stage.backend()], environment={"NOTIFY_SOCKET": name}).chat().status == 200


# ---- reloads

@pytest.mark.parametrize("workers", [1, 2])
def test_25_reloads_under_load_lose_no_request(stage, workers):
    backends = [stage.backend(default=answers.ok()), stage.backend(default=answers.stream(*answers.CHAT))]
    daemon = stage.daemon(equals(*backends), workers=workers)
    admin = Admin(daemon)
    answered = []

    def caller(number):
        with daemon.client() as client:
            for _ in range(60):
                got = client.call("POST", CHAT_PATH, body=CHAT_BODY)
                assert got.status == 200, got
                assert number % 2 == 0 or got.body
                answered.append(got.status)

    join = start_crowd(10, caller)
    for turn in range(25):
        changes = {"workers": workers, "timeouts": {"heartbeat_ms": 1000 + turn}}
        daemon.write_config(make_config(equals(*(backends if turn % 2 else reversed(backends))), changes))
        if turn % 3 == 0:
            daemon.signal(signal.SIGHUP)
        else:
            assert admin.call("POST", "/reload").status == 200
    join()
    assert answered == [200] * 600
    daemon.wait_for_line("has been reloaded", 17)
    assert not daemon.find_lines(" error ")


def test_a_stream_outlives_a_reload_without_its_backend(stage):
    gate = answers.Gate()
    gone = stage.backend(answers.stream(answers.HELLO, gate, answers.STOP, answers.DONE))
    daemon = stage.daemon([gone, {**stage.backend().entry(), "priority": 2}], workers=1)
    admin = Admin(daemon)
    with daemon.client() as client:
        daemon.open_chat(client, stream=True)
        client.read_head()
        client.read_payload_until(b"Hello")
        daemon.write_config(make_config([], {"backends": [{"name": "new", **stage.backend().entry()}], "workers": 1}))
        assert admin.call("POST", "/reload").status == 200
        assert daemon.chat().header("x-aoai-lb-backend") == "new"
        gate.open()
        client.read_payload_until(answers.DONE)
        assert client.read_chunk() == b""
        assert daemon.open_chat(client).read_answer().header("x-aoai-lb-backend") == "new"
    daemon.write_config(make_config([gone], {"workers": 1}))
    assert admin.call("POST", "/reload").status == 200
    assert daemon.chat().header("x-aoai-lb-backend") == "one"


def test_a_storm_of_sighups_is_survived(stage):
    daemon = stage.daemon([stage.backend()])
    for _ in range(300):
        daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    assert daemon.chat().status == 200


def test_the_lowered_connection_cap_is_said_once(stage):
    daemon = stage.daemon([stage.backend()], limits={"max_connections": 1_000_000})
    for turn in range(3):
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_line("has been reloaded", turn + 1)
    assert len(daemon.find_lines("max_connections is lowered")) == 1


def test_a_signal_to_stop_amid_reloads_stops_it(stage):
    daemon = stage.daemon([stage.backend()])
    daemon.signal(signal.SIGSTOP)
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    assert daemon.wait() == 0
    daemon.ended()


def test_a_key_file_is_read_again(stage):
    path = stage.directory() / "key"
    path.write_text("first-key\n")
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth={"type": "api_key", "key_file": str(path)})])
    daemon.chat()
    path.write_text("second-key\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    daemon.chat()
    assert [request.header("api-key") for request in backend.requests] == ["first-key", "second-key"]


# ---- workers

def test_connections_go_to_the_least_loaded_worker(stage):
    """Which worker has a connection cannot be seen from outside, but how many descriptors each one's epoll watches can."""
    gate = answers.Gate()
    backend = stage.backend(default=answers.stream(answers.HELLO, gate, answers.STOP, answers.DONE))
    daemon = stage.daemon([backend], workers=2)
    clients = [daemon.open_chat(daemon.client(), stream=True) for _ in range(12)]
    for client in clients:
        client.read_head()
    wait_for(lambda: watched(daemon)[-2] == watched(daemon)[-1] >= 12, what="an even share")
    gate.open()
    for client in clients:
        client.close()


def watched(daemon):
    """How many descriptors each epoll instance of the daemon watches, the smallest number first."""
    counts = []
    base = f"/proc/{daemon.process.pid}/fdinfo"
    for name in os.listdir(base):
        try:
            with open(f"{base}/{name}", encoding="ascii") as file:
                text = file.read()
        except OSError:
            continue
        if "tfd:" in text:
            counts.append(len(re.findall(r"^tfd:", text, re.M)))
    return sorted(counts)


def test_small_requests_are_answered_while_a_large_one_goes_on(stage):
    """On one worker: an endless fast download does not hold the loop."""
    piece = answers.delta(content="x" * 30_000)
    fast = stage.backend(default=answers.stream(*[piece] * 100_000))
    small = stage.backend()
    daemon = stage.daemon([fast.entry(deployments={"big": "big"}), small.entry(deployments={"gpt-4o": "gpt-4o"})], workers=1)
    over = threading.Event()

    def download():
        with daemon.client() as client:
            client.request("POST", CHAT_PATH.replace("gpt-4o", "big"), body={**CHAT_BODY, "stream": True})
            client.read_head()
            while not over.is_set():
                assert client.sock.recv(1 << 20)

    thread = threading.Thread(target=download)
    thread.start()
    try:
        fast.await_requests(1)
        slowest = 0
        for _ in range(50):
            began = time.monotonic()
            assert daemon.chat().status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 5, slowest
    finally:
        over.set()
        thread.join(30)
    assert not thread.is_alive()
