"""A slow or vanished reader of the log, and storms of like records, cost nobody an answer."""
import json
import os
import re
import signal
import subprocess
import tempfile
import threading

import pytest

from harness import answers
from harness.client import Client, wait_for
from harness.daemon import CHAT_BODY, CHAT_PATH, clean_environment, program
from harness.metrics import Metrics
from harness.stage import equals, make_config
from test_admin import Admin


class Mute:
    """A daemon whose stdout is read by the test alone."""

    def __init__(self, config, stdout):
        self.directory = tempfile.TemporaryDirectory(prefix="aoai-lb-")
        path = os.path.join(self.directory.name, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.process = subprocess.Popen([program("AOAI_LB", "aoai-lb"), "--config", path], stdout=stdout,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_environment(None))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        errors = self.process.stderr.read().decode()
        self.process.stderr.close()
        self.directory.cleanup()
        assert (code, errors) == (0, "")


def read_ports(pipe):
    """Reads up to the line that says where it listens; data and admin port."""
    text = b""
    while not re.search(rb"Listening on http://\S+:(\d+)\n", text):
        more = os.read(pipe, 65536)
        assert more, text
        text += more
    return (int(re.search(rb"Listening on http://\S+:(\d+)\n", text)[1]), int(re.search(rb"Admin port (\d+)", text)[1]))


def ask(port, count):
    with Client(port) as client:
        for _ in range(count):
            assert client.call("POST", CHAT_PATH, body=CHAT_BODY).status == 200


def scrape(port):
    with Client(port) as client:
        return Metrics(client.call("GET", "/metrics", host=f"127.0.0.1:{port}").body.decode())


def test_a_full_pipe_stops_nothing_and_the_lost_lines_are_counted(stage):
    reading, writing = os.pipe()
    daemon = Mute(make_config([stage.backend()]), writing)
    os.close(writing)
    try:
        port, admin = read_ports(reading)
        wait_for(lambda: ask(port, 500) or scrape(admin).total("aoai_lb_log_lines_dropped_total") > 0, 60, "a full log")
        ask(port, 20)
        dropped = scrape(admin).total("aoai_lb_log_lines_dropped_total")
        assert dropped > 0
        text = b""  # now it is read again
        while b"log lines dropped" not in text:
            text = text[-100:] + os.read(reading, 65536)
        drain = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reading, 65536), b"")])
        drain.start()
        daemon.end()
        drain.join(10)
        assert not drain.is_alive()
    finally:
        daemon.process.kill()
        os.close(reading)


def test_the_end_does_not_wait_for_a_reader_that_never_reads(stage):
    reading, writing = os.pipe()
    daemon = Mute(make_config([stage.backend()]), writing)
    os.close(writing)
    try:
        port, admin = read_ports(reading)
        wait_for(lambda: ask(port, 500) or scrape(admin).total("aoai_lb_log_lines_dropped_total") > 0, 60, "a full log")
        daemon.end()
    finally:
        daemon.process.kill()
        os.close(reading)


def test_a_reader_that_has_gone_is_no_reason_to_stop(stage):
    reading, writing = os.pipe()
    daemon = Mute(make_config([stage.backend()]), writing)
    os.close(writing)
    port, _ = read_ports(reading)
    os.close(reading)
    try:
        for _ in range(3):
            ask(port, 20)
        daemon.end()
    finally:
        daemon.process.kill()


def test_a_storm_of_failures_is_told_in_a_few_lines(stage):
    daemon = stage.daemon(equals(stage.backend(default=answers.reset()), stage.backend(default=answers.reset())),
                          cooldown={"server_error_ms": 10, "min_ms": 10}, retry={"max_unsafe_retries": 9})
    for _ in range(60):
        assert daemon.chat().status == 502
    daemon.wait_for_line(r" POST .* 502 ", 60)
    failed = daemon.find_lines(r"Backend \w+ \(\S+\): reset")
    resting = daemon.find_lines("cooling down")
    assert 2 <= len(failed) <= 2 * 6 + 2 and 2 <= len(resting) <= 2 * 6 + 2, (len(failed), len(resting))


def test_level_and_form_change_with_a_reload(stage):
    daemon = stage.daemon([stage.backend()])
    daemon.chat()
    daemon.wait_for_line(r"info .* POST ")
    admin = Admin(daemon)

    def reload(**changes):
        daemon.write_config({**daemon.config(), **changes})
        assert admin.call("POST", "/reload").status == 200

    reload(log={"format": "json", "level": "warning"})
    daemon.chat()
    reload(listen={"address": "127.0.0.1", "port": 1})
    assert json.loads(daemon.wait_for_line("not_reloadable"))["level"] == "warning"
    reload(log={"format": "text", "level": "info"})
    daemon.wait_for_line("info The configuration has been reloaded")
    assert not daemon.find_lines('"event":"request"')


@pytest.mark.parametrize("target", ["/v1/\x80\xff", "/v1/%ff%00", "/v1/\"quoted\"", "/v1/back\\slash"])
def test_json_lines_are_json_whatever_a_caller_sends(stage, target):
    daemon = stage.daemon([stage.backend()], log={"format": "json"})
    with daemon.client() as client:
        client.send(b"POST " + target.encode("latin-1") + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 0\r\n\r\n")
        client.read_answer()
    daemon.wait_for_line('"event":"request"')
    for line in daemon.find_lines("."):
        record = json.loads(line)
        assert {"time", "level", "event", "message"} <= set(record)
