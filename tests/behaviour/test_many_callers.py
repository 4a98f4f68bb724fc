"""More callers than there is room for: those who are in are served, the others wait, and nobody is lost."""
import pathlib
import resource
import select
import time

import pytest

from harness import answers
from harness.client import request_bytes, wait_for
from harness.daemon import CHAT_BODY, CHAT_PATH, program, is_sanitized

HEALTH = request_bytes("GET", "/healthz")
FULL = r"New connections wait: limits\.max_connections is reached"


def cpu_seconds(daemon):
    fields = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def readable(clients):
    """Those that have something to read, waiting a moment for more."""
    poll = select.poll()
    by_number = {client.sock.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(100)]


@pytest.mark.parametrize("workers", [1, 2])
def test_600_callers_at_a_cap_of_400_are_all_served(stage, workers):
    """Each asks at once and stays; those outside come in as others leave."""
    daemon = stage.daemon([stage.backend()], workers=workers, limits={"max_connections": 400})
    clients = [daemon.client() for _ in range(600)]
    for client in clients:
        client.send(HEALTH)
    waiting = set(clients)

    def served():
        for client in readable(waiting):
            assert client.read_answer("GET").status == 200
            waiting.discard(client)
        return len(waiting)

    wait_for(lambda: served() <= 200)
    assert not readable(waiting), "more than max_connections were taken"
    daemon.wait_for_line(FULL)
    assert len(daemon.find_lines(FULL)) <= 5, "it is not said again and again"
    inside = [client for client in clients if client not in waiting]
    for client in inside[:50]:
        assert client.call("GET", "/healthz").status == 200, "those inside are served on"
    for client in inside:
        client.close()
    wait_for(lambda: served() == 0)
    for client in clients:
        client.close()
    assert daemon.chat().status == 200


def test_callers_that_wait_use_no_time(stage):
    """Accepting is paused, not tried again and again."""
    daemon = stage.daemon([stage.backend()], workers=1, limits={"max_connections": 5})
    clients = [daemon.client() for _ in range(50)]
    daemon.wait_for_line(FULL)
    before = cpu_seconds(daemon)
    time.sleep(1)
    assert cpu_seconds(daemon) - before < 0.5
    for client in clients:
        client.close()
    assert daemon.chat().status == 200


def leave_descriptors(daemon, count):
    """Lowers the daemon's limit while it runs."""
    try:
        used = len(list(pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used + count, hard))
    except PermissionError:
        pytest.skip("a daemon that forbids dumps may be looked into by root alone")


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_descriptors_pauses_accepting(stage, workers):
    """EMFILE: said once, no spinning, and it goes on as soon as there are some again."""
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=workers)
    with daemon.client() as early:
        assert daemon.open_chat(early).read_answer().status == 200
        leave_descriptors(daemon, 10)
        clients = [daemon.client() for _ in range(30)]
        daemon.wait_for_line("New connections wait: Too many open files")
        before = cpu_seconds(daemon)
        clients[-1].send(HEALTH)
        assert clients[-1].nothing_comes(1)
        assert cpu_seconds(daemon) - before < 0.5
        assert len(daemon.find_lines("New connections wait")) <= 5
        assert daemon.open_chat(early).read_answer().status == 200, "who is inside is served on"
        for client in clients[:-1]:
            client.close()
        assert clients[-1].read_answer("GET").status == 200
        clients[-1].close()
    assert daemon.chat().status == 200


def test_room_is_left_for_backends(stage, monkeypatch):
    """Where few descriptors may be open, fewer callers are taken, so that each can be served."""
    script = stage.directory() / "aoai-lb"
    script.write_text(f'#!/bin/sh\nulimit -n 64\nexec {program("AOAI_LB", "aoai-lb")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("AOAI_LB", str(script))
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], workers=1)
    daemon.wait_for_line("max_connections is lowered from 10000 to 16")
    clients = [daemon.open_chat(daemon.client()) for _ in range(40)]
    backend.await_requests(16)
    gate.open()
    for client in clients:
        got = client.read_answer()
        assert got.outcomes == [("one", "200")]
        client.close()
    assert not daemon.find_lines("Too many open files")


def test_half_sent_heads_cost_no_more_than_their_caps(stage):
    """max_connections x max_header_bytes bounds what they hold."""
    daemon = stage.daemon([stage.backend()], workers=1, environment={"ASAN_OPTIONS": "quarantine_size_mb=1"})
    begin = request_bytes("POST", CHAT_PATH, [("X-Custom", "y" * 60_000)], CHAT_BODY)[:60_000]
    assert daemon.chat().status == 200
    before = daemon.rss_bytes()
    clients = [daemon.client() for _ in range(300)]
    for client in clients:
        client.send(begin)
    assert daemon.call("POST", CHAT_PATH, [("X-Custom", "y" * 60_000)], CHAT_BODY).status == 200
    # ThreadSanitizer keeps books on each byte.
    assert daemon.rss_bytes() - before < 300 * 2 * 65_536 * (4 if is_sanitized() else 1) + 8 * 1024 * 1024
    for client in clients:
        client.close()
    assert daemon.chat().status == 200
