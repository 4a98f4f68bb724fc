"""How the daemon ends, and how it takes a new configuration."""
import json
import signal
import time

from harness import answers
from harness.client import wait_for
from harness.stage import make_config


def test_sigterm_ends_it_with_0(stage):
    daemon = stage.daemon([stage.backend()])
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert time.monotonic() - began < 3
    daemon.ended()


def test_sigint_ends_it_with_0(stage):
    daemon = stage.daemon([stage.backend()])
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0
    daemon.ended()


def test_idle_connections_do_not_keep_it(stage):
    daemon = stage.daemon([stage.backend()])
    with daemon.client() as client, daemon.client():
        assert daemon.open_chat(client).read_answer().status == 200
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert client.wait_closed() in ("end", "reset")
    daemon.ended()


def test_what_is_in_flight_is_finished_first(stage):
    gate = answers.Gate()
    backend = stage.backend(answers.gated(gate, answers.ok()), answers.stream(answers.HELLO, gate, answers.STOP, answers.DONE))
    daemon = stage.daemon([backend])
    with daemon.client() as waiting, daemon.client() as streaming:
        daemon.open_chat(waiting)
        backend.await_requests(1)
        daemon.open_chat(streaming, stream=True)
        streaming.read_head()
        daemon.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert daemon.process.poll() is None
        gate.open()
        got = waiting.read_answer()
        assert got.status == 200
        assert not got.keeps_alive
        assert streaming.read_payload_until(answers.DONE)
        assert streaming.read_chunk() == b""
        assert daemon.wait() == 0
    daemon.ended()


def test_readiness_ends_when_the_drain_begins(stage):
    daemon = stage.daemon([stage.backend()], timeouts={"drain_delay_ms": 1500})
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: daemon.get("/readyz").status == 503, 1.2, "an end of readiness")
    assert daemon.get("/healthz").status == 200
    assert daemon.chat().status == 200
    assert daemon.wait() == 0
    daemon.ended()


def test_drain_ms_bounds_the_drain(stage):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend], timeouts={"drain_ms": 300})
    with daemon.client() as client:
        daemon.open_chat(client)
        backend.await_requests(1)
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert 0.25 < time.monotonic() - began < 5
    daemon.ended()


def test_a_second_signal_ends_it_at_once(stage):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        daemon.open_chat(client)
        backend.await_requests(1)
        daemon.signal(signal.SIGTERM)
        time.sleep(0.2)
        assert daemon.process.poll() is None
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        daemon.wait()
        assert time.monotonic() - began < 3
    daemon.ended()


def test_sighup_takes_a_new_configuration(stage):
    first, second = stage.backend(), stage.backend()
    daemon = stage.daemon([first])
    assert daemon.chat().status == 200
    daemon.write_config(make_config([{"name": "new", "url": second.url}]))
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "new", 5, "the new configuration")


def test_a_faulty_new_configuration_changes_nothing(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    daemon.config_path.write_text(json.dumps({"backends": [{"name": "one", "url": "nowhere"}]}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line(r"backends\[0\]\.url")
    assert daemon.chat().status == 200


def test_a_cool_down_survives_a_new_configuration(stage):
    first, second = stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon([first.entry(priority=1), second.entry(priority=2)])
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    daemon.write_config(make_config([first.entry(priority=1), second.entry(priority=2)], {"timeouts": {"heartbeat_ms": 1234}}))
    count = len(daemon.find_lines("(?i)config|reload"))
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: len(daemon.find_lines("(?i)config|reload")) > count, 5, "a word on the reload")
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    assert len(first.requests) == 1
