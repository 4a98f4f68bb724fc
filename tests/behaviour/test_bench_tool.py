"""The benchmark's own tools: what they count is so, and a backend that lies does not go unnoticed."""
import json
import pathlib
import signal
import socket
import subprocess

from harness.daemon import clean_environment, program

SECONDS = 60


def bench():
    return pathlib.Path(program("AOAI_LB", "aoai-lb")).with_name("aoai-bench")


class Backend:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([bench(), "backend", *arguments], env=clean_environment(), text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def counts(self):
        self.process.send_signal(signal.SIGTERM)
        out, errors = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0, errors
        return json.loads(out)


def load(port, *arguments):
    run = subprocess.run([bench(), "load", "--port", str(port), *arguments], env=clean_environment(), text=True,
                         stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    return run.returncode, json.loads(run.stdout), run.stderr


def test_each_answer_is_counted_once_and_checked(certificates):
    key = f"{certificates.directory}/server.pem,{certificates.directory}/server.key"
    for own, call, want_bytes in ((("--call", "json"), (), 1536), (("--call", "answer_40k"), (), 40960),
                                  (("--call", "request_40k", "--tls"), ("--tls", key), 1536),
                                  (("--names", "7"), (), 1536)):
        with Backend(*call) as backend:
            code, result, errors = load(backend.port, *own, "--connections", "4", "--requests", "100", "--addresses", "2")
            counts = backend.counts()
        assert (code, result["errors"], result["answers"]) == (0, 0, 100), (own, result, errors)
        assert counts["connections"] == 4, own
        # What came before the measured time and what was under way at its end is the backend's count alone.
        assert counts["requests"] >= 100, own
        assert 100 * want_bytes <= result["payload_bytes"] <= 108 * want_bytes, own
        assert result["latency_us"]["p50"] <= result["latency_us"]["p99"] <= result["latency_us"]["max"], own


def test_each_event_of_a_stream_is_counted_and_checked():
    with Backend() as backend:
        code, result, errors = load(backend.port, "--call", "stream-5-1", "--connections", "3", "--requests", "12")
        counts = backend.counts()
    assert (code, result["errors"], result["answers"]) == (0, 0, 12), (result, errors)
    assert 9 * 7 <= result["events"] <= counts["events"], result


def test_a_backend_that_lies_or_refuses_or_is_not_there_is_an_error():
    for arguments in (("--lie", "10"), ("--refuse", "429", "--wait", "1"), ("--refuse", "503")):
        with Backend(*arguments) as backend:
            code, result, _ = load(backend.port, "--connections", "2", "--requests", "100", "--run", "2000")
            counts = backend.counts()
        assert code == 3 and result["errors"] >= 1 and result["fault"], (arguments, result)
        assert arguments[0] != "--refuse" or counts["refusals"] >= result["errors"], (arguments, counts)
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        code, result, _ = load(nobody_listens.getsockname()[1], "--run", "100")
    assert code == 3 and result["answers"] == 0 and result["errors"] >= 1


def test_arguments_that_make_no_sense_are_refused():
    for arguments in ((), ("load",), ("load", "--port", "1"), ("load", "--port", "x"), ("backend", "--tls", "one"),
                      ("backend", "--refuse", "500"), ("load", "--port", "1", "--call", "stream-x"), ("nothing",)):
        run = subprocess.run([bench(), *arguments], env=clean_environment(), text=True, stdin=subprocess.DEVNULL,
                             capture_output=True, timeout=SECONDS)
        assert run.returncode == 1 and run.stderr, arguments
