"""Backends that go wrong in TLS: told apart in the log, and another one answers."""
import concurrent.futures
import re
import shutil
import signal
import ssl
import subprocess
import threading

import pytest

from harness import answers
from harness.answers import HELLO
from harness.client import wait_for
from harness.daemon import CHAT_PATH
from harness.stage import in_order
from harness.wire import TIMEOUT_SECONDS, Reset


def trusted(certificates, **more):
    return {"ca_file": str(certificates.ca_file), **more}


# ---- authorities

def test_a_reload_reads_authorities_anew(stage, certificates):
    ca_file = stage.directory() / "ca.pem"
    shutil.copy(certificates.ca_file, ca_file)
    backend = stage.backend(tls=certificates.server("self"), host="localhost")
    daemon = stage.daemon([{"url": f"https://localhost:{backend.port}", "tls": {"ca_file": str(ca_file)}}])
    assert daemon.chat().status == 502
    shutil.copy(certificates.directory / "self.pem", ca_file)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    assert daemon.chat().status == 200
    ca_file.write_text("no certificates")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has not been reloaded")
    assert daemon.chat().status == 200


# ---- handshakes

CERTIFICATES = {"expired": "certificate has expired", "early": "certificate is not yet valid",
                "stranger": "[Hh]ostname mismatch", "self": "self.signed certificate"}


def test_each_reason_is_told_with_the_host(stage, certificates):
    """Eight backends that must not be used: one request learns it of all, and says a word to none."""
    def hang_up(_, sock, __):
        sock.settimeout(TIMEOUT_SECONDS)
        sock.recv(1)

    def speak_plainly(_, sock, __):
        sock.settimeout(TIMEOUT_SECONDS)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        sock.recv(65536)

    bad = {name: stage.backend(tls=certificates.server(name), host="localhost") for name in CERTIFICATES}
    reasons = dict(CERTIFICATES)
    settings = dict.fromkeys(bad, trusted(certificates))
    bad["unknown"] = stage.backend(tls=certificates.server(), host="localhost")
    settings["unknown"], reasons["unknown"] = {}, "unable to get local issuer certificate"
    bad["renamed"] = stage.backend(tls=certificates.server(), host="localhost")
    settings["renamed"], reasons["renamed"] = trusted(certificates, server_name="elsewhere.test"), "[Hh]ostname mismatch"
    bad["plain"] = stage.backend(connection=speak_plainly, host="localhost")
    settings["plain"], reasons["plain"] = trusted(certificates), "wrong version number"
    bad["closing"] = stage.backend(connection=hang_up, host="localhost")
    settings["closing"], reasons["closing"] = trusted(certificates), "."
    entries = [{"name": name, "url": f"https://localhost:{backend.port}", "tls": settings[name],
                "auth": {"type": "api_key", "key": "secret"}} for name, backend in bad.items()]
    daemon = stage.daemon([], backends=in_order(*entries, {"name": "good", **stage.backend().entry()}))
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [*[(name, "tls") for name in bad], ("good", "200")]
    for name, backend in bad.items():
        daemon.wait_for_line(rf"Backend {name} \(localhost:{backend.port}\): tls: {reasons[name]}")
        assert not backend.requests


def test_a_handshake_that_stalls_is_told(stage, certificates):
    """Before its first byte, and in the middle."""
    def stall(backend, sock, _):
        wait_for(lambda: backend.closing.is_set() or not sock_is_open(sock), what="the end")

    def stall_later(backend, sock, number):
        sock.sendall(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03")
        stall(backend, sock, number)

    mute, half = (stage.backend(connection=speak, host="localhost") for speak in (stall, stall_later))
    entries = [{"url": f"https://localhost:{backend.port}", "tls": trusted(certificates)} for backend in (mute, half)]
    daemon = stage.daemon(in_order(*entries, stage.backend()), timeouts={"connect_ms": 1000})
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "tls"), ("two", "tls"), ("three", "200")]
    for name in ("one", "two"):
        daemon.wait_for_line(rf"Backend {name} \(localhost:[0-9]+\): tls: no TLS handshake in time")


def sock_is_open(sock):
    try:
        return sock.recv(65536) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


# ---- sessions

@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_workers_share_sessions(stage, certificates, newest):
    """Each on connections of its own, many at once."""
    closing = answers.answer(200, [("Connection", "close")], answers.COMPLETION)
    backend = stage.backend(default=closing, tls=certificates.server(newest=newest), host="localhost")
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))], workers=4)
    assert daemon.chat().status == 200
    assert daemon.chat().status == 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: daemon.chat().status, range(60)))
    assert got == [200] * 60
    resumed = [resumed for _, resumed in backend.handshakes]
    assert resumed[0] is False
    assert all(resumed[1:])


# ---- within a connection: what only openssl's own server does at a word

class OpensslServer:
    """openssl s_server: what is written to it goes to the peer, line ends as CRLF; a line with one letter is a command."""

    def __init__(self, certificates, *arguments):
        # stdbuf: it tells of commands by printf(), which would keep it to itself.
        self.process = subprocess.Popen(
            ["stdbuf", "-o0", "openssl", "s_server", "-accept", "127.0.0.1:0", "-crlf", "-cert", "server.pem", "-key",
             "server.key", *arguments], cwd=certificates.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0)
        self.output = bytearray()
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.collect, daemon=True)
        self.reader.start()
        ready = wait_for(lambda: re.search(rb"ACCEPT 127\.0\.0\.1:([0-9]+)\n", bytes(self.output)), what="its port")
        self.port = int(ready[1])
        self.commands = 0

    def collect(self):
        while True:
            data = self.process.stdout.read(65536)
            if not data:
                return
            with self.changed:
                self.output += data
                self.changed.notify_all()

    def wait_for(self, text, count=1):
        """Waits until it has said text that often."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.output.count(text) >= count or self.broke, TIMEOUT_SECONDS), \
                bytes(self.output)[-2000:]
            if self.output.count(text) < count:
                raise Reset("the connection broke")

    @property
    def broke(self):
        return b"ERROR\n" in self.output

    def write(self, data):
        self.process.stdin.write(data)

    def command(self, letter):
        """Gives a command, once it has no input left: it looks for one at the start of what it reads. Waits until it
        has done it."""
        self.commands += 1
        self.write(letter + b"\n")
        self.wait_for(b"SSL_do_handshake -> ", count=self.commands)

    def entry(self, certificates, **more):
        return {"url": f"https://localhost:{self.port}", "tls": trusted(certificates), **more}

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(TIMEOUT_SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def openssl_server(certificates):
    servers = []

    def make(*arguments):
        servers.append(OpensslServer(certificates, *arguments))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def lines(data):
    """As the server sends them: it makes CRLF of LF."""
    return data.replace(b"\n", b"\r\n")


def test_renegotiation_is_refused(stage, certificates, openssl_server):
    """OpenSSL's server takes the refusal for the end of the connection; the request goes elsewhere."""
    server = openssl_server("-tls1_2")
    daemon = stage.daemon(in_order(server.entry(certificates), stage.backend()))
    with daemon.client() as client:
        daemon.open_chat(client)
        server.wait_for(b"POST /openai/")
        server.command(b"R")
        got = client.read_answer()
    assert got.status == 200
    assert got.outcomes == [("one", "reset"), ("two", "200")]
    assert server.output.count(b"-----BEGIN SSL SESSION PARAMETERS-----") == 1


@pytest.mark.parametrize("letter", [b"k", b"K"], ids=["one-sided", "both-sided"])
def test_a_key_update_changes_nothing(stage, certificates, openssl_server, letter):
    """Before an answer, within it, and at rest."""
    server = openssl_server("-tls1_3")
    daemon = stage.daemon([server.entry(certificates)], workers=1)
    with daemon.client() as client:
        daemon.open_chat(client, stream=True)
        server.wait_for(b"POST /openai/")
        server.command(letter)
        server.write(b"HTTP/1.1 200 OK\nContent-Type: text/event-stream\nTransfer-Encoding: chunked\n\n"
                     b"%08x\n%s\n" % (len(lines(HELLO)), HELLO))
        client.read_head()
        client.read_payload_until(lines(HELLO))
        server.command(letter)
        server.write(b"%08x\n%s\n00000000\n\n" % (len(lines(answers.DONE)), answers.DONE))
        client.read_payload_until(lines(answers.DONE))
        assert client.read_chunk() == b""

        server.command(letter)
        daemon.open_chat(client)
        server.wait_for(b"POST /openai/", count=2)
        server.write(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
        assert client.read_answer().outcomes == [("one", "200")]


def test_key_updates_under_a_long_request_harm_nobody(stage, certificates, openssl_server):
    """OpenSSL 3.0 breaks the connection when it has to answer one while half a record waits to be sent: the request
    then goes elsewhere."""
    server = openssl_server("-tls1_3")
    daemon = stage.daemon(in_order(server.entry(certificates), stage.backend()), workers=1)
    body = b'{"x":"' + b"y" * 8_000_000 + b'"}'
    with daemon.client() as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        sending = pool.submit(client.request, "POST", CHAT_PATH, [("Content-Type", "application/json")], body)
        server.wait_for(b"POST /openai/")
        try:
            for _ in range(5):
                server.command(b"K")
            server.wait_for(b'y"}')
            server.write(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
        except Reset:
            pass  # what the caller sees decides
        sending.result()
        got = client.read_answer()
    assert got.status == 200
    assert got.outcomes in ([("one", "200")], [("one", "reset"), ("two", "200")])
