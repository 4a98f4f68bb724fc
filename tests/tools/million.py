#!/usr/bin/python3
"""Sends very many requests through the daemon and tells whether its memory grew.

A release build of aoai-lb stands before a scripted backend; a few callers keep their connections full of pipelined requests
of several kinds: chat completions by path and by model, small streams, uploads in chunks, refusals. The daemon's resident
memory is noted twenty times on the way. What grows with the requests differs between the second quarter and the last; the
first fills pools and buffers. With --log there are access lines; then the log's two queues, of 1 MiB each, may fill at any
time, so that they are granted on top.

Exit code 0: it grew by no more than 1 MB, and every request was answered as it should be; 1: not so.

	./dev build release
	tests/tools/million.py [--requests 1000000] [--callers 8] [--workers 2] [--log] [build/release/aoai-lb]
"""
import argparse
import json
import os
import pathlib
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GROWTH_MAX_BYTES = 1024 * 1024
LOG_QUEUES_BYTES = 2 * 2 * 1024 * 1024  # buffers double, so one of 1 MiB may hold two
SLICES = 20
BATCH = 20  # requests in one go, below what the daemon takes up ahead
PATIENCE_SECONDS = 60

COMPLETION = json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}],
    "usage": {"prompt_tokens": 14, "completion_tokens": 3, "total_tokens": 17}}).encode()
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(COMPLETION), COMPLETION)
EVENTS = (b'data: {"choices":[{"index":0,"delta":{"content":"Paris."},"finish_reason":null}]}\n\n'
          b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
CHAT_PATH = b"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


def request(method, target, body=b"", fields=b"", key=b"caller-key"):
    framing = b"Transfer-Encoding: chunked\r\n" if b"chunked" in fields else b"Content-Length: %d\r\n" % len(body)
    return b"%s %s HTTP/1.1\r\nHost: lb\r\napi-key: %s\r\nContent-Type: application/json\r\n%s\r\n%s" % (
        method, target, key, fields if b"chunked" in fields else framing + fields, body)


# What is asked, and the status that it gets.
KINDS = (
    (request(b"POST", CHAT_PATH, b'{"messages":[{"role":"user","content":"Capital of France?"}]}'), 200),
    (request(b"POST", b"/v1/chat/completions", b'{"model":"gpt\\u002d4o","messages":[]}'), 200),
    (request(b"POST", CHAT_PATH, b'{"stream":true,"messages":[]}'), 200),
    (request(b"POST", CHAT_PATH, b"5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\nX-Trailer: y\r\n\r\n", b"Transfer-Encoding: chunked\r\n"), 200),
    (request(b"GET", b"/v1/files"), 200),
    (request(b"POST", CHAT_PATH, b"{}", key=b"wrong-key"), 401),
    (request(b"GET", b"/nothing/here"), 404),
    (request(b"POST", b"/v1/chat/completions", b'{"model":"a","model":"b"}'), 400),
    (request(b"GET", b"/healthz"), 200),
)


class Backend(threading.Thread):
    """Answers as fast as Python can: requests are complete once the daemon sends them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    def run(self):
        poll = selectors.DefaultSelector()
        poll.register(self.listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in poll.select():
                if key.data is None:
                    sock, _ = self.listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    poll.register(sock, selectors.EVENT_READ, bytearray())
                elif not self.serve(key.fileobj, key.data):
                    poll.unregister(key.fileobj)
                    key.fileobj.close()

    @staticmethod
    def serve(sock, data):
        try:
            got = sock.recv(65536)
        except OSError:
            return False
        data += got
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return bool(got)
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", data[:end])
            whole = end + 4 + int(length[1] if length else 0)
            if len(data) < whole:
                return bool(got)
            sock.sendall(STREAM if b'"stream":true' in data[end:whole] else PLAIN)
            del data[:whole]


class Caller(threading.Thread):
    """Sends batches on one connection and checks each answer's status."""

    def __init__(self, port, count, number):
        super().__init__(daemon=True)
        self.port, self.count, self.number = port, count, number
        self.done = 0
        self.fault = None

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.buffer = bytearray()
                while self.done < self.count:
                    batch = [KINDS[(self.number + self.done + i) % len(KINDS)] for i in range(min(BATCH, self.count - self.done))]
                    sock.sendall(b"".join(data for data, _ in batch))
                    for _, status in batch:
                        self.read_answer(sock, status)
                        self.done += 1
        except (OSError, AssertionError) as fault:
            self.fault = f"after {self.done} requests: {fault}"

    def more(self, sock):
        data = sock.recv(65536)
        assert data, "the daemon closed the connection"
        self.buffer += data

    def read_answer(self, sock, status):
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.more(sock)
        head = bytes(self.buffer[:end]).lower()
        assert head.startswith(b"http/1.1 %d " % status), f"{head[:60]!r} instead of {status}"
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head)
        if length:
            whole = end + 4 + int(length[1])
            while len(self.buffer) < whole:
                self.more(sock)
        else:
            while (last := self.buffer.find(b"\r\n0\r\n\r\n", end)) < 0:
                self.more(sock)
            whole = last + 7
        del self.buffer[:whole]


def rss_bytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def send(port, requests, callers):
    """Sends that many in all; returns the faults."""
    share = -(-requests // callers)
    threads = [Caller(port, share, number) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [thread.fault for thread in threads if thread.fault]


def start(program, directory, backend, workers, log):
    config = {"listen": {"address": "127.0.0.1", "port": 0}, "admin": {"address": "127.0.0.1", "port": 0}, "workers": workers,
              "log": {"requests": log}, "clients": [{"name": "caller", "key": "caller-key", "requests_per_minute": 100_000_000}],
              "backends": [{"name": "one", "url": f"http://127.0.0.1:{backend.port}", "auth": {"type": "api_key", "key": "k"}}]}
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    output = open(directory / "log", "wb+")
    process = subprocess.Popen([program, "--config", str(path)], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = re.search(rb"Listening on http://\S+:([0-9]+)", (directory / "log").read_bytes()[:4096])
        if found:
            return process, int(found[1]), output
        assert process.poll() is None, (directory / "log").read_text()
        time.sleep(0.05)
    raise AssertionError("the daemon does not start")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("program", nargs="?", default=str(ROOT / "build/release/aoai-lb"))
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--log", action="store_true")
    options = parser.parse_args()
    backend = Backend()
    backend.start()
    faults, memory, descriptors = [], [], []
    with tempfile.TemporaryDirectory(prefix="aoai-lb-million-") as name:
        process, port, output = start(options.program, pathlib.Path(name), backend, options.workers, options.log)
        try:
            began = time.monotonic()
            for _ in range(SLICES):
                faults += send(port, options.requests // SLICES, options.callers)
                memory.append(rss_bytes(process.pid))
                descriptors.append(len(os.listdir(f"/proc/{process.pid}/fd")))
            took = time.monotonic() - began
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE_SECONDS)
            output.close()
    quarter = SLICES // 4
    grown = statistics.median(memory[-quarter:]) - statistics.median(memory[quarter:2 * quarter])
    print(f"{options.requests} requests, {options.requests / took:.0f} a second; memory {memory[0] / 1e6:.2f} MB, "
          f"{memory[-1] / 1e6:.2f} MB in the end, grown by {grown / 1e3:.0f} kB; descriptors {descriptors[0]}, {descriptors[-1]} in the end; "
          f"exit code {code}")
    for fault in faults:
        print(fault)
    return 1 if faults or grown > GROWTH_MAX_BYTES + (LOG_QUEUES_BYTES if options.log else 0) or code != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
