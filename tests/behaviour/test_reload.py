"""What a reload changes, and what it says of the rest."""
import signal

from harness import answers
from harness.client import wait_for
from harness.stage import make_config


def reload(daemon, backend, changes):
    """Gives the daemon a changed configuration and waits until it has taken it."""
    before = len(daemon.find_lines("has been reloaded"))
    daemon.write_config(make_config([backend], changes))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded", before + 1)


def test_a_changed_port_is_named_and_ignored(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    reload(daemon, backend, {"listen": {"port": 65_432}, "timeouts": {"heartbeat_ms": 1234}})
    line = daemon.wait_for_line(r"listen\.port")
    assert " warning " in line
    assert daemon.chat().status == 200


def test_all_that_a_reload_cannot_change_is_named(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    reload(daemon, backend, {"listen": {"address": "127.0.0.2"}, "admin": {"address": "127.0.0.2", "port": 65_431}, "workers": 3})
    for path in (r"listen\.address", r"admin\.address", r"admin\.port", "workers"):
        assert " warning " in daemon.wait_for_line(path)
    assert daemon.chat().status == 200


def test_an_unchanged_configuration_is_named_nowhere(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    reload(daemon, backend, {})
    assert not daemon.find_lines("Not changed|not reloadable")


def test_a_changed_max_connections_takes_effect(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend], limits={"max_connections": 2})
    wait_for(lambda: daemon.get("/healthz").status == 200)
    clients = [daemon.open_chat(daemon.client()) for _ in range(2)]
    backend.await_requests(2)
    with daemon.client() as third:
        daemon.open_chat(third)
        assert third.nothing_comes(0.2)
        reload(daemon, backend, {"limits": {"max_connections": 100}})
        backend.await_requests(3, 5)
        clients += [daemon.open_chat(daemon.client()) for _ in range(4)]
        backend.await_requests(7, 5)
        gate.open()
        for client in [*clients, third]:
            assert client.read_answer().status == 200
            client.close()


def test_a_lowered_max_connections_takes_effect(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend])
    reload(daemon, backend, {"limits": {"max_connections": 2}})
    clients = [daemon.open_chat(daemon.client()) for _ in range(2)]
    backend.await_requests(2)
    with daemon.client() as third:
        daemon.open_chat(third)
        assert third.nothing_comes(0.3)
        gate.open()
        for client in clients:
            assert client.read_answer().status == 200
            client.close()
        assert third.read_answer().status == 200
