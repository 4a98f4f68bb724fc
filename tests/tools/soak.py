#!/usr/bin/python3
"""Keeps the daemon busy for a long time while everything around it goes wrong, and counts.

aoai-lb stands before aoai-sim with four resources, one of them over TLS. The simulator's faults change every few seconds,
callers of all kinds come and leave as they like, and the configuration is reloaded all the time. Then:

- each request must have ended in one way that its caller can tell;
- each request that was read must have exactly one access line, with the status that the caller saw. Every connection has
  an address of its own in 127.0.0.0/8, by which its lines are found;
- memory and descriptors must be flat, and the descriptors be back where they were once all callers have gone;
- the daemon must drain and end with 0, and no sanitizer may have anything to say.

Exit code 0: all of that is so; 1: it is not, and the directory with the log stays.
"""
import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "behaviour"))

from harness.certificates import Certificates  # noqa: E402
from harness.client import chunk, request_bytes  # noqa: E402
from harness.daemon import SANITIZER_REPORT, clean_environment  # noqa: E402
from harness.wire import Answer, Ended, Malformed, Wire, read_chunk  # noqa: E402

CALLERS = 96
PATIENCE_SECONDS = 60
SAMPLE_SECONDS = 10
RELOAD_SECONDS = 20
WARM_UP_SECONDS = 180
KEEP_ALIVE_MS = 5000
POOL_IDLE_MS = 5000
RSS_TOLERANCE_KB = 2048
DESCRIPTOR_TOLERANCE = 24  # the pool of connections to backends breathes
VIOLATIONS_SHOWN = 40

CHAT_KEY, BATCH_KEY, NARROW_KEY = "chat-app-key", "batch-key", "narrow-key"
KEYS = ((CHAT_KEY, 80), (BATCH_KEY, 12), (NARROW_KEY, 6), ("nobody", 2))
FILLER = "All work and no play makes the balancer a dull daemon. " * 60000
HINTED = (429, 500, 502, 503, 504)
TERMINAL_RESPONSES = ("response.completed", "response.failed", "response.incomplete")


# ---- the two programs

def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def find_program(directory, name):
    for candidate in (directory / name, directory / "src" / name, directory / "src" / "sim" / name):
        if candidate.is_file():
            return str(candidate)
    sys.exit(f"no {name} in {directory}: build it, or name the directory")


def deployments(requests_per_minute=0, tokens_per_minute=0, context_tokens=10_000_000):
    quota = {}
    if requests_per_minute:
        quota |= {"requests_per_minute": requests_per_minute, "request_window_ms": 1000}
    if tokens_per_minute:
        quota |= {"tokens_per_minute": tokens_per_minute, "token_window_ms": 3000}

    def chat(first_ms, tokens):
        return {"latency": {"first_token_ms": first_ms, "per_token_ms": 2, "jitter": 0.4}, "completion_tokens": tokens,
                "context_tokens": context_tokens, **quota}

    return {"gpt-4o": chat(30, 60), "gpt-4o-own-name": chat(30, 60), "gpt-4o-mini": chat(10, 30),
            "text-embedding-3-small": {"latency": {"first_token_ms": 5, "jitter": 0.4}, "context_tokens": context_tokens,
                                       **quota}}


class Stage:
    """The simulator and the daemon, in a directory of their own."""

    def __init__(self, programs, seed):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aoai-lb-soak-"))
        certificates = self.directory / "certificates"
        certificates.mkdir()
        self.ca_file = Certificates(certificates).ca_file
        self.control, self.port, self.admin_port, self.dead = (free_port() for _ in range(4))
        self.sim_ports = [free_port() for _ in range(4)]
        self.config_path = self.directory / "config.json"
        self.log_path = self.directory / "log.jsonl"
        self.error_path = self.directory / "stderr"
        resources = [
            {"name": "openai1", "deployments": deployments(requests_per_minute=900)},
            {"name": "openai2", "deployments": deployments(tokens_per_minute=300_000, context_tokens=128_000)},
            {"name": "openai3", "deployments": deployments()},
            {"name": "openai4", "deployments": deployments(requests_per_minute=1800),
             "tls": {"certificate_file": str(certificates / "server.pem"),
                     "private_key_file": str(certificates / "server.key")}},
        ]
        for resource, port in zip(resources, self.sim_ports):
            resource |= {"port": port, "api_key": "simulator"}
        sim_config = self.directory / "sim.json"
        sim_config.write_text(json.dumps({"seed": seed, "control": {"port": self.control}, "resources": resources}))
        self.write_config(0)
        environment = clean_environment({"ASAN_OPTIONS": "quarantine_size_mb=16:detect_leaks=1"})
        self.sim = self.start([find_program(programs, "aoai-sim"), "--config", str(sim_config)], environment, "sim")
        self.daemon = self.start([find_program(programs, "aoai-lb"), "--config", str(self.config_path)], environment)
        self.sanitized = b"__asan_init" in pathlib.Path(find_program(programs, "aoai-lb")).read_bytes()

    def start(self, command, environment, name=""):
        log, errors = self.log_path, self.error_path
        if name:
            log, errors = self.directory / f"{name}.log", self.directory / f"{name}.stderr"
        with open(log, "wb") as out, open(errors, "wb") as err:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                                    cwd=self.directory)

    def config(self, variant):
        """Each variant differs a little from the others in what a reload may change."""
        chooser = random.Random(variant)
        backends = []
        for index, port in enumerate(self.sim_ports):
            scheme = "https" if index == 3 else "http"
            backends.append({"name": f"openai{index + 1}", "url": f"{scheme}://localhost:{port}",
                             "priority": 1 + (index == 3 and chooser.random() < 0.3), "weight": chooser.randint(1, 3),
                             "auth": {"type": "api_key", "key": "simulator"}})
        backends[1]["deployments"] = {"gpt-4o": "gpt-4o-own-name", "*": "gpt-4o-mini"} if chooser.random() < 0.5 else \
            {"gpt-4o": "gpt-4o-own-name", "gpt-4o-mini": "gpt-4o-mini", "text-embedding-3-small": "text-embedding-3-small"}
        backends[3]["tls"] = {"ca_file": str(self.ca_file), "server_name": "localhost"}
        if chooser.random() < 0.4:
            backends[2]["api_version"] = "2024-10-21"
        if chooser.random() < 0.3:  # one that nobody serves
            backends.append({"name": "spare", "url": f"http://127.0.0.1:{self.dead}", "priority": 2,
                             "auth": {"type": "api_key", "key": "simulator"}})
        return {
            "listen": {"address": "127.0.0.1", "port": self.port}, "admin": {"port": self.admin_port}, "workers": 2,
            "log": {"format": "json"},
            "clients": [{"name": "chat-app", "key": CHAT_KEY},
                        {"name": "batch", "key": BATCH_KEY, "requests_per_minute": chooser.choice((200, 300, 400)),
                         "tokens_per_minute": 100_000},
                        {"name": "narrow", "key": NARROW_KEY, "deployments": ["gpt-4o"]}],
            "backends": backends,
            "cooldown": {"default_ms": 300, "min_ms": 50, "max_ms": chooser.choice((1000, 2000)), "server_error_ms": 300},
            "retry": {"max_unsafe_retries": chooser.choice((1, 2))},
            "timeouts": {"connect_ms": 1000, "response_ms": chooser.choice((2000, 3000)), "request_ms": 8000,
                         "commit_ms": chooser.choice((500, 1500)), "first_event_ms": chooser.choice((0, 2000)),
                         "stream_idle_ms": 3000, "heartbeat_ms": 700, "client_header_ms": 3000, "client_body_ms": 4000,
                         "client_send_ms": 5000, "keep_alive_ms": KEEP_ALIVE_MS, "drain_ms": 5000},
            "pool": {"idle_ms": POOL_IDLE_MS, "max_age_ms": 20000},
        }

    def write_config(self, variant):
        self.config_path.write_text(json.dumps(self.config(variant), indent=1))

    def write_faulty_config(self, chooser):
        text = json.dumps(self.config(chooser.randint(1, 1000)))
        config = json.loads(text)
        config["backends"][0]["url"] = "ftp://elsewhere"
        config["unknown"] = 1
        self.config_path.write_text(chooser.choice((text[:-10], "", json.dumps(config), text.replace("api_key", "magic"))))

    def call_control(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
        assert answer.status == 200, f"the simulator refuses {method} {path} {body}: {text!r}"
        return json.loads(text)

    def call_admin(self, method, path):
        """The status and the JSON of an answer of the admin port."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def in_flight(self):
        """Requests in flight, and the attempts that the backends and their deployments are said to have."""
        _, status = self.call_admin("GET", "/status.json")
        return status["requests_in_flight"], sum(
            backend["in_flight"] + sum(deployment["in_flight"] for deployment in backend["deployments"])
            for backend in status["backends"])

    def wait_ready(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                self.call_control("GET", "/faults")
                self.in_flight()
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.daemon.poll() is not None:
                    raise
                time.sleep(0.1)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def rss_kb(self, process=None):
        status = pathlib.Path(f"/proc/{(process or self.daemon).pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    def kill(self):
        for process in (self.daemon, self.sim):
            if process.poll() is None:
                process.kill()
                process.wait()


# ---- what goes wrong

def random_fault(chooser):
    """One fault that can be told from a good answer by whoever reads it."""
    def status():
        return {"status": chooser.choice((408, 500, 500, 502, 503, 504)), "early": chooser.random() < 0.2}

    def throttle():
        forms = ("both", "ms", "x_ms", "seconds", "date", "zero", "minus", "huge", "missing", "garbage", "reset_requests",
                 "reset_tokens", "odd", "body", "capacity")
        return {"form": chooser.choice(forms), "ms": chooser.choice((20, 200, 1500))}

    def refusal():
        return {"fault": "status", "status": chooser.choice((400, 404, 401)),
                "body": {"error": {"code": "content_filter", "message": "It was filtered.", "type": None, "param": None}}}

    def staged(*more):
        stage = chooser.choice(("before_head", "mid_head", "after_head", "at_event", "in_event", "at_byte", "before_end")
                               + more)
        return {"stage": stage} | ({"at": chooser.randint(0, 30)} if stage in ("at_event", "in_event", "at_byte") else {})

    def truncate():
        fault = staged() | {"form": chooser.choice(("close", "quiet", "final_chunk"))}
        # A final chunk makes a cut JSON answer whole for all the world; a stream still lacks its end.
        return fault | ({"stream": True} if fault["form"] == "final_chunk" else {})

    def garbled():
        return {"form": chooser.choice(("not_http", "bare_lf", "obs_fold", "two_lengths", "length_and_chunked", "nul",
                                        "space_before_colon", "signed_length", "bad_status", "no_end", "gzip_chunked"))}

    def stream_error():
        return {"status": chooser.choice((429, 500)), "at": chooser.choice((0, 0, 1, 5)),
                "form": chooser.choice(("chunk", "event"))}

    kinds = (
        ("throttle", throttle), ("throttle", throttle), ("status", status), ("status", status), ("status", refusal),
        ("stream_error", stream_error), ("reset", lambda: staged("accept", "request")), ("truncate", truncate),
        ("stall", lambda: staged("request") | {"ms": chooser.choice((0, 900, 2500))}), ("garbled_head", garbled),
        ("slow_head", lambda: {"ms": 5, "bytes": 4}), ("slow_body", lambda: {"ms": 2, "bytes": 200}),
        ("wrong_length", lambda: {"delta": 10, "stream": False}), ("no_done", lambda: {"stream": True}),
        ("close_after", dict), ("keepalive", lambda: {"every": 2}), ("comments", lambda: {"every": 3}),
        ("huge_header", lambda: {"bytes": chooser.choice((10000, 100000))}), ("informational", dict), ("odd_chunks", dict),
        ("until_close", lambda: {"stream": True}), ("line_ends", lambda: {"form": chooser.choice(("crlf", "cr"))}),
    )
    kind, more = chooser.choice(kinds)
    fault = {"fault": kind, "probability": round(chooser.choice((0.02, 0.05, 0.1, 0.3, 0.8)), 2), **more()}
    if chooser.random() < 0.7:
        fault["resource"] = f"openai{chooser.randint(1, 4)}"
    if fault.get("fault") in ("stall", "slow_head", "slow_body"):
        fault["probability"] = min(fault["probability"], 0.1)
    return fault


class Trouble(threading.Thread):
    """Changes the simulator's faults, and reloads the daemon."""

    def __init__(self, stage, seed):
        super().__init__(daemon=True)
        self.stage, self.chooser, self.ending = stage, random.Random(seed), threading.Event()
        self.reloads, self.faulty_reloads = 0, 0
        self.kinds = collections.Counter()
        self.fault = None

    def run(self):
        try:
            self.go_on()
        except Exception as fault:  # pylint: disable=broad-except
            self.fault = f"{type(fault).__name__}: {fault}"

    def go_on(self):
        next_reload = time.monotonic() + RELOAD_SECONDS / 2
        while not self.ending.wait(self.chooser.uniform(2, 7)):
            self.stage.call_control("DELETE", "/faults")
            if self.chooser.random() < 0.85:
                faults = [random_fault(self.chooser) for _ in range(self.chooser.randint(1, 6))]
                self.stage.call_control("POST", "/faults", faults)
                self.kinds.update(fault["fault"] for fault in faults)
            if time.monotonic() >= next_reload:
                next_reload = time.monotonic() + RELOAD_SECONDS
                self.reload()
        self.stage.call_control("DELETE", "/faults")

    def reload(self):
        expected = 200
        if self.chooser.random() < 0.2:
            self.stage.write_faulty_config(self.chooser)
            self.faulty_reloads += 1
            expected = 422
        else:
            self.reloads += 1
            self.stage.write_config(self.reloads)
        if self.chooser.random() < 0.7:
            self.stage.daemon.send_signal(signal.SIGHUP)
        else:
            status, answer = self.stage.call_admin("POST", "/reload")
            assert status == expected, f"POST /reload: {status} {answer}"


# ---- what callers do

class Request:
    """One request in the ledger. must: its access line must exist; else it may."""
    __slots__ = ("method", "path", "kind", "stream", "must", "ending", "status", "malformed")

    def __init__(self, method, path, kind="chat", stream=False, malformed=False):
        self.method, self.path, self.kind, self.stream, self.malformed = method, path, kind, stream, malformed
        self.must, self.ending, self.status = True, None, None


class Ledger:
    """What all callers did, by the address they came from."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connections = {}
        self.violations = []
        self.count = 0

    def new_address(self, requests):
        with self.lock:
            number = self.count
            self.count += 1
            address = f"127.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
            self.connections[address] = requests
        return address

    def violation(self, text):
        with self.lock:
            self.violations.append(text)


class Connection:
    """A caller's connection; keeps the requests that went over it."""

    def __init__(self, ledger, port, receive_buffer=None):
        self.requests = []
        self.address = ledger.new_address(self.requests)
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.bind((self.address, 0))
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = Wire(self.sock)

    def send(self, data):
        """False when the daemon has closed; what it said can still be read."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def read_head(self):
        while True:
            answer = Answer(self.wire.until(b"\r\n\r\n"))
            if answer.status >= 200:
                return answer

    def read_body(self, answer, collected):
        if answer.chunked:
            while True:
                payload = read_chunk(self.wire)
                if not payload:
                    return
                collected += payload
        elif answer.length is not None:
            while len(collected) < answer.length:
                collected += self.wire.exactly(min(65536, answer.length - len(collected)))
        else:
            collected += self.wire.to_the_end()

    def leave(self, reset):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def event_data(body):
    """The data of each whole event."""
    text = bytes(body).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for event in text.split(b"\n\n")[:-1]:
        lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
        if lines:
            yield b"\n".join(lines)


def is_error_event(data):
    try:
        event = json.loads(data)
    except ValueError:
        return False
    return isinstance(event, dict) and (event.get("error") is not None or event.get("type") in ("error", "response.failed"))


def judge_error(answer, body):
    """An error answer of the contract; its name for the tally."""
    error = json.loads(bytes(body))["error"]
    assert isinstance(error, dict) and isinstance(error.get("message"), str), f"not an error: {bytes(body)[:200]!r}"
    if answer.status in HINTED:
        hint_ms, hint = int(answer.headers.get("retry-after-ms")), int(answer.headers.get("retry-after"))
        assert 1 <= hint_ms <= 60000 and hint == -(-hint_ms // 1000), f"hints {hint_ms} and {hint}"
    return f"error {answer.status}"


def judge_stream(request, body):
    """A stream that ended cleanly."""
    events = list(event_data(body))
    assert events, f"a stream without events: {bytes(body)[:200]!r}"
    last = events[-1]
    if any(is_error_event(data) for data in events):
        return "stream with an error event"
    if request.kind == "responses":
        assert json.loads(last).get("type") in TERMINAL_RESPONSES, f"a clean end after {last[:200]!r}"
    else:
        assert last == b"[DONE]", f"a clean end after {last[:200]!r}"
    return "whole stream"


def judge(request, answer, body):
    """How a whole answer ended; what is not of the contract raises."""
    if answer.status >= 400:
        return judge_error(answer, body)
    assert answer.status == 200, f"status {answer.status}"
    if request.stream:
        return judge_stream(request, body)
    whole = json.loads(bytes(body))
    assert "error" not in whole or whole["error"] is None, f"an error as 200: {bytes(body)[:200]!r}"
    return "whole answer"


def judge_break(request, answer, body):
    """An answer that did not end cleanly: only after the commit."""
    assert answer.status == 200, f"an answer with {answer.status} broke off"
    if request.stream and any(is_error_event(data) for data in event_data(body)):
        return "error event, unclean end"
    return "unclean end"


class Caller:
    """One thread of callers; each session is one connection."""

    def __init__(self, ledger, port, seed):
        self.ledger, self.port, self.chooser = ledger, port, random.Random(seed)

    # ---- making requests

    def size(self):
        if self.chooser.random() < 0.04:
            return int(100_000 * 30 ** self.chooser.random())
        return self.chooser.choice((20, 200, 2000))

    def make(self, kind=None, stream=None, size=None, close=None, headers=(), version="HTTP/1.1"):
        """A request for the ledger, and its bytes."""
        chooser = self.chooser
        kind = kind or chooser.choices(("chat", "embeddings", "responses", "models"), (60, 20, 16, 4))[0]
        stream = kind in ("chat", "responses") and (chooser.random() < 0.5 if stream is None else stream)
        text = FILLER[:self.size() if size is None else size]
        key = chooser.choices([key for key, _ in KEYS], [weight for _, weight in KEYS])[0]
        fields = [("api-key", key) if chooser.random() < 0.5 else ("Authorization", f"Bearer {key}"), *headers]
        if close:
            fields.append(("Connection", "close"))
        model = "text-embedding-3-small" if kind == "embeddings" else chooser.choice(("gpt-4o", "gpt-4o-mini"))
        if kind == "models":
            request = Request("GET", "/v1/models", kind)
            return request, request_bytes("GET", request.path, fields, version=version)
        if kind == "responses":
            path, body = "/openai/v1/responses", {"model": model, "input": text, "stream": stream}
        elif kind == "embeddings":
            many = chooser.random() < 0.05
            path, body = "/v1/embeddings", {"model": model, "input": [text[:200]] * 24 if many else text}
        else:
            path, body = "/v1/chat/completions", {"model": model, "stream": stream,
                                                  "messages": [{"role": "user", "content": text}]}
            if stream and chooser.random() < 0.5:
                body["stream_options"] = {"include_usage": True}
        if kind != "responses" and chooser.random() < 0.4:
            path = f"/openai/deployments/{model}/{path[4:]}"
        request = Request("POST", path, kind, stream)
        target = path + ("?api-version=2024-10-21" if "deployments" in path else "")
        if chooser.random() < 0.1 and version == "HTTP/1.1":
            data = json.dumps(body).encode()
            step = max(1, len(data) // chooser.randint(1, 9))
            chunks = b"".join(chunk(data[at:at + step]) for at in range(0, len(data), step)) + b"0\r\n\r\n"
            fields += [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")]
            return request, request_bytes("POST", target, fields, version=version) + chunks
        return request, request_bytes("POST", target, fields, body, version=version)

    # ---- reading answers

    def read(self, connection, request):
        """Reads the answer and writes its ending down. True when the connection may go on."""
        answer, body = None, bytearray()
        try:
            answer = connection.read_head()
            request.status = answer.status
            connection.read_body(answer, body)
            request.ending = judge(request, answer, body)
            return "close" not in (answer.headers.get("connection") or "").lower() and \
                (answer.chunked or answer.length is not None)
        except Ended as end:
            if answer is None:
                self.fail(connection, request, f"closed without an answer ({type(end).__name__}, "
                                               f"{bytes(connection.wire.buffer)[:100]!r})")
            else:
                try:
                    request.ending = judge_break(request, answer, body)
                except AssertionError as fault:
                    self.fail(connection, request, str(fault))
        except socket.timeout:
            self.fail(connection, request, f"nothing within {PATIENCE_SECONDS} s after {bytes(body)[-200:]!r}")
        except (Malformed, AssertionError, ValueError, KeyError, TypeError) as fault:
            headers = list(answer.headers) if answer is not None else None
            self.fail(connection, request, f"{type(fault).__name__}: {fault} {headers} {bytes(body)[:200]!r}")
        return False

    def fail(self, connection, request, text):
        request.ending = "violation"
        self.ledger.violation(f"{time.strftime('%H:%M:%S')} {connection.address} {request.method} {request.path} "
                              f"stream={request.stream} status={request.status}: {text}")

    def open(self, **options):
        return Connection(self.ledger, self.port, **options)

    # ---- sessions

    def one_after_the_other(self, count):
        connection = self.open()
        for left in range(count - 1, -1, -1):
            expects = [("Expect", "100-continue")] if self.chooser.random() < 0.05 else []
            request, data = self.make(close=left == 0 and self.chooser.random() < 0.5, headers=expects)
            connection.requests.append(request)
            connection.send(data)
            if not self.read(connection, request):
                break
            if left > 0 and self.chooser.random() < 0.3:
                time.sleep(self.chooser.uniform(0, 0.5))
        connection.leave(self.chooser.random() < 0.2)

    def single(self):
        self.one_after_the_other(1)

    def keep_alive(self):
        self.one_after_the_other(self.chooser.randint(2, 8))

    def old_version(self):
        connection = self.open()
        request, data = self.make(kind=self.chooser.choice(("embeddings", "models")), size=100, version="HTTP/1.0")
        connection.requests.append(request)
        connection.send(data)
        self.read(connection, request)
        connection.leave(False)

    def pipelined(self):
        connection = self.open()
        made = [self.make(size=self.chooser.choice((20, 2000))) for _ in range(self.chooser.randint(2, 5))]
        connection.requests += [request for request, _ in made]
        connection.send(b"".join(data for _, data in made))
        for at, (request, _) in enumerate(made):
            if not self.read(connection, request):
                for unanswered, _ in made[at + 1:]:
                    unanswered.must, unanswered.ending = False, "never answered: the connection closed before"
                break
        connection.leave(False)

    def slow_reader(self):
        connection = self.open(receive_buffer=4096)
        request, data = self.make(kind=self.chooser.choice(("chat", "embeddings")), size=200)
        connection.requests.append(request)
        connection.send(data)
        time.sleep(self.chooser.uniform(0.5, 2.5))
        self.read(connection, request)
        connection.leave(False)

    def slow_sender(self):
        connection = self.open()
        request, data = self.make(kind="chat", size=2000)
        connection.requests.append(request)
        step = len(data) // 8 + 1
        for at in range(0, len(data), step):
            if not connection.send(data[at:at + step]):
                break
            time.sleep(self.chooser.uniform(0, 0.2))
        self.read(connection, request)
        connection.leave(False)

    def malformed(self):
        connection = self.open()
        key = f"api-key: {CHAT_KEY}\r\n".encode()
        post = b"POST /v1/chat/completions HTTP/1.1\r\nHost: lb\r\n" + key
        data = self.chooser.choice((
            b"GET /v1/models HTTP/1.1\nHost: lb\n\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET /v1/models HTTP/1.1\r\n" + key + b"\r\n", b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /v1/models HTTP/9.9\r\nHost: lb\r\n\r\n", b"GET /v1/mod els HTTP/1.1\r\nHost: lb\r\n\r\n",
            b"GET /v1/models HTTP/1.1\r\nHost : lb\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nHost: lb\r\nA: b\r\n c\r\n\r\n",
            b"GET /v1/models HTTP/1.1\r\nHost: lb\r\nX: " + b"x" * 70000 + b"\r\n\r\n",
            b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
            b"GET /v1/%2e%2e/%5c/models HTTP/1.1\r\nHost: lb\r\n\r\n", b"GET /nowhere HTTP/1.1\r\nHost: lb\r\n" + key + b"\r\n",
            post + b"Content-Length: +5\r\n\r\nhello", post + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", post + b"Transfer-Encoding: chunked\r\n\r\nXYZ\r\n",
            post + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            post + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"model\":",
            post + b"Content-Type: application/json\r\nContent-Length: 37\r\n\r\n{\"model\":\"gpt-4o\",\"model\":\"gpt-4o-m\"}",
            post + b"Content-Length: 99999999999\r\n\r\n", post + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        ))
        request = Request("*", "*", "malformed", malformed=True)
        connection.requests.append(request)
        connection.send(data)
        self.read(connection, request)
        if request.status is not None and not 400 <= request.status < 600:
            self.fail(connection, request, f"a malformed request was answered: {data[:100]!r}")
        connection.leave(False)

    def stalls_while_sending(self):
        """408, or a connection that is closed while nothing was begun."""
        connection = self.open()
        request, data = self.make(kind="chat", size=2000)
        connection.requests.append(request)
        in_body = self.chooser.random() < 0.5
        connection.send(data[:-20] if in_body else data[:30])
        self.read(connection, request)
        if request.status is not None and request.status not in (408, 401, 403, 429):
            self.fail(connection, request, "expected a 408")
        connection.leave(False)

    def leaves_before(self):
        connection = self.open()
        if self.chooser.random() < 0.5:
            request, data = self.make(size=20)
            request.must, request.ending = False, "left before the head's end"
            connection.requests.append(request)
            connection.send(data[:self.chooser.randint(1, 60)])
            time.sleep(self.chooser.choice((0, 0, 0.1)))
        connection.leave(self.chooser.random() < 0.5)

    def leaves_while_sending(self):
        connection = self.open()
        request, data = self.make(kind=self.chooser.choice(("chat", "embeddings")), size=self.chooser.choice((2000, 500_000)))
        request.must, request.ending = False, "left while sending"
        connection.requests.append(request)
        connection.send(data[:self.chooser.randint(200, len(data) - 1)])
        time.sleep(self.chooser.choice((0, 0, 0.1)))
        connection.leave(self.chooser.random() < 0.5)

    def leaves_while_waiting(self):
        connection = self.open()
        request, data = self.make(size=self.chooser.choice((20, 2000, 300_000)))
        connection.requests.append(request)
        connection.send(data)
        pause = self.chooser.choice((0, 0.02, 0.3, 0.6))
        # What the daemon has not read when a reset comes is lost.
        request.must, request.ending = pause >= 0.3 and len(data) < 10_000, "left while waiting"
        time.sleep(pause)
        if self.chooser.random() < 0.3:
            connection.sock.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
        connection.leave(self.chooser.random() < 0.5)

    def leaves_while_reading(self):
        connection = self.open()
        request, data = self.make(kind=self.chooser.choice(("chat", "responses")), stream=True, size=200)
        connection.requests.append(request)
        connection.send(data)
        try:
            answer = connection.read_head()
            request.status = answer.status
            for _ in range(self.chooser.randint(0, 8)):
                if not answer.chunked or not read_chunk(connection.wire):
                    break
            request.ending = "left while reading"
        except Ended:
            if request.status is None:
                self.fail(connection, request, "closed without an answer")
            request.ending = request.ending or "left while reading"
        except (Malformed, AssertionError, socket.timeout) as fault:
            self.fail(connection, request, f"{type(fault).__name__}: {fault}")
        connection.leave(self.chooser.random() < 0.5)

    def session(self):
        """Plays one; how many requests it was."""
        kinds = ((self.single, 42), (self.keep_alive, 14), (self.old_version, 2), (self.pipelined, 4), (self.slow_reader, 2),
                 (self.slow_sender, 2), (self.malformed, 8), (self.stalls_while_sending, 1), (self.leaves_before, 4),
                 (self.leaves_while_sending, 4), (self.leaves_while_waiting, 8), (self.leaves_while_reading, 8))
        play = self.chooser.choices([play for play, _ in kinds], [weight for _, weight in kinds])[0]
        play()


REQUESTS_A_SESSION = 1.7  # the mean of the mix above; the pace corrects itself by the ledger


class Pace:
    """Says when the next session may begin."""

    def __init__(self, ledger, rate, seconds):
        self.ledger, self.lock = ledger, threading.Lock()
        self.interval = REQUESTS_A_SESSION * 60 / rate
        self.next = time.monotonic()
        self.end = self.next + seconds
        self.aborted = threading.Event()

    def wait_turn(self):
        with self.lock:
            now = time.monotonic()
            self.next = max(self.next + self.interval, now - 2)
            turn = self.next
        if turn >= self.end or self.aborted.wait(max(0, turn - now)):
            return False
        return True


def run_caller(ledger, pace, port, seed):
    caller = Caller(ledger, port, seed)
    while pace.wait_turn():
        try:
            caller.session()
        except Exception as fault:  # pylint: disable=broad-except
            ledger.violation(f"{time.strftime('%H:%M:%S')} a caller failed: {type(fault).__name__}: {fault}")
            time.sleep(1)


# ---- judging

def compare(address, requests, lines):
    """Whether the access lines of one connection are those of its requests; the fault, or None."""
    must = sum(request.must for request in requests)
    if not must <= len(lines) <= len(requests):
        return f"{address}: {len(lines)} access lines for {must} to {len(requests)} requests: " \
               f"{[(r.method, r.path, r.status, r.ending) for r in requests]} {lines}"
    for request, line in zip(requests, lines):
        place = (request.method, request.path)
        if not request.malformed and request.status is not None and request.status != 408 and \
                (line["method"], line["path"]) != place:
            return f"{address}: {place} was logged as {line}"
        if request.status is not None and line["status"] != request.status:
            return f"{address}: {place} saw {request.status} ({request.ending}), logged {line}"
        broke = bool(line.get("note"))
        if request.ending in ("whole answer", "whole stream") and broke:
            return f"{address}: {place} was whole, logged {line}"
        if request.ending in ("unclean end", "error event, unclean end") and not broke:
            return f"{address}: {place} broke, logged {line}"
    return None


def read_log(path, violations):
    """The access lines by address, and how often each event came."""
    lines, events = collections.defaultdict(list), collections.Counter()
    with open(path, "rb") as file:
        for text in file:
            try:
                record = json.loads(text)
            except ValueError:
                violations.append(f"not a JSON line: {text[:300]!r}")
                continue
            events[record["event"]] += 1
            if record["event"] == "request":
                lines[record["address"]].append({name: record.get(name) for name in (
                    "method", "path", "status", "attempts", "note", "duration_ms", "time")})
            elif record["event"] == "draining":
                events["connections while draining"] = record["connections"]
    return lines, events


def judge_samples(samples, warm_up, sanitized, violations):
    """Flat is: the last quarter's median is not above the first quarter's."""
    figures = {}
    after = [sample for sample in samples if sample[0] >= warm_up]
    for name, column, tolerance in (("rss_kb", 1, RSS_TOLERANCE_KB), ("descriptors", 2, DESCRIPTOR_TOLERANCE)):
        values = [sample[column] for sample in after]
        if len(values) < 8:
            continue
        quarter = len(values) // 4
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        figures[name] = {"first_quarter": first, "last_quarter": last, "min": min(values), "max": max(values),
                         "last": values[-1]}
        if last > first + tolerance and not (sanitized and name == "rss_kb"):
            violations.append(f"{name} grew from {first} to {last}")
    return figures


def stop(stage, violations):
    """SIGTERM to an idle daemon; the exit code."""
    stage.daemon.send_signal(signal.SIGTERM)
    try:
        code = stage.daemon.wait(30)
    except subprocess.TimeoutExpired:
        violations.append("the daemon did not end within 30 s of SIGTERM")
        return None
    if code != 0:
        violations.append(f"the daemon ended with {code}")
    text = stage.error_path.read_text(errors="replace")
    if SANITIZER_REPORT.search(text) or "fatal" in text:
        violations.append(f"stderr: {text[:3000]}")
    return code


def wait_descriptors(stage, before):
    """Once the pool's connections have aged, all that is left is what an idle daemon has."""
    deadline = time.monotonic() + (KEEP_ALIVE_MS + POOL_IDLE_MS) / 1000 + 10
    while stage.descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.5)
    return stage.descriptors()


def soak(stage, options):
    ledger = Ledger()
    violations = ledger.violations
    stage.wait_ready()
    time.sleep(1)
    before = stage.descriptors()
    seconds = options.minutes * 60
    pace = Pace(ledger, options.rate, seconds)
    trouble = Trouble(stage, options.seed)
    callers = [threading.Thread(target=run_caller, args=(ledger, pace, stage.port, f"{options.seed}/{number}"), daemon=True)
               for number in range(CALLERS)]
    for thread in (trouble, *callers):
        thread.start()
    started, samples = time.monotonic(), []
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < pace.end and stage.daemon.poll() is None:
            time.sleep(min(SAMPLE_SECONDS, max(0.01, pace.end - time.monotonic())))
            if stage.daemon.poll() is not None:
                break
            samples.append((round(time.monotonic() - started, 1), stage.rss_kb(), stage.descriptors()))
            in_flight = stage.in_flight()
            with ledger.lock:
                requests = sum(len(made) for made in ledger.connections.values())
            print(f"{samples[-1][0]:7.0f} s  rss {samples[-1][1]} kB  descriptors {samples[-1][2]}  requests {requests}  "
                  f"in flight {in_flight[0]}/{in_flight[1]}  violations {len(violations)}", flush=True)
            if trouble.fault:
                violations.append(f"the trouble ended: {trouble.fault}")
                break
            pace.interval *= min(1.1, max(0.9, requests / (samples[-1][0] * options.rate / 60)))
    pace.aborted.set()
    trouble.ending.set()
    duration = time.monotonic() - started
    for thread in (trouble, *callers):
        thread.join(PATIENCE_SECONDS + 10)
        if thread.is_alive():
            violations.append("a caller hangs")
    result = {"seconds": round(duration, 1), "seed": options.seed, "sanitized": stage.sanitized}
    if stage.daemon.poll() is not None:
        violations.append(f"the daemon died with {stage.daemon.returncode}: "
                          f"{stage.error_path.read_text(errors='replace')[:6000]}")
    else:
        after = wait_descriptors(stage, before)
        if after > before:
            violations.append(f"{after} descriptors when all callers had gone, {before} before they came")
        in_flight = stage.in_flight()
        if any(in_flight):
            violations.append(f"{in_flight[0]} requests, {in_flight[1]} attempts in flight when all callers had gone")
        result |= {"idle": {"in_flight": in_flight, "descriptors_before": before, "descriptors_after": after, "rss_kb": stage.rss_kb()},
                   "simulator_rss_kb": stage.rss_kb(stage.sim), "exit_code": stop(stage, violations)}
    result["samples"] = judge_samples(samples, min(WARM_UP_SECONDS, seconds / 5), stage.sanitized, violations)
    account(stage, ledger, result)
    result |= {"reloads": trouble.reloads, "faulty_reloads": trouble.faulty_reloads,
               "faults_installed": dict(trouble.kinds.most_common())}
    return result


def account(stage, ledger, result):
    """Every request against the log."""
    violations = ledger.violations
    lines, events = read_log(stage.log_path, violations)
    endings = collections.Counter()
    unread = 0
    for address, requests in ledger.connections.items():
        for request in requests:
            endings[request.ending or "none"] += 1
            if request.ending is None:
                violations.append(f"{address}: {request.method} {request.path} has no ending")
        fault = compare(address, requests, lines.get(address, []))
        if fault is not None:
            violations.append(fault)
        unread += len(requests) - len(lines.get(address, []))
    for address in lines.keys() - ledger.connections.keys():
        violations.append(f"{address}: access lines of nobody: {lines[address][:3]}")
    if events.get("connections while draining", 0) != 0:
        violations.append(f"{events['connections while draining']} connections when all callers had gone")
    (stage.directory / "violations").write_text("\n".join(violations) + "\n")
    count = sum(len(requests) for requests in ledger.connections.values())
    result |= {"connections": len(ledger.connections), "requests": count,
               "requests_per_minute": round(count / result["seconds"] * 60), "access_lines": events["request"],
               "left_before_they_were_read": unread, "endings": dict(endings.most_common()),
               "log_events": dict(events.most_common()), "violation_count": len(violations), "violations": violations[:VIOLATIONS_SHOWN]}


def main():
    parser = argparse.ArgumentParser(description="A long run of the daemon among faults.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=3000, help="requests a minute")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=pathlib.Path, help="writes the result there, too")
    parser.add_argument("--keep", action="store_true", help="keeps the log in any case")
    parser.add_argument("programs", nargs="?", type=pathlib.Path, default=ROOT / "build" / "release",
                        help="the build directory with aoai-lb and aoai-sim")
    options = parser.parse_args()
    stage = Stage(options.programs.resolve(), options.seed)
    result = violations = None
    try:
        result = soak(stage, options)
        violations = result["violation_count"]
    finally:
        stage.kill()
        if violations == 0 and not options.keep:
            shutil.rmtree(stage.directory, ignore_errors=True)
        else:
            print(f"the log and the configuration stay in {stage.directory}")
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
