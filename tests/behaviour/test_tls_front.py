"""The data port's TLS: certificates that change, handshakes that do not end, and what a client may ask of a connection."""
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from harness import answers
from harness.client import request_bytes, wait_for
from harness.daemon import CHAT_PATH, clean_environment, program
from harness.wire import TIMEOUT_SECONDS, Ended, Wire

HEADER_MS = 500


class Front:
    """A daemon that speaks TLS with a pair of files that tests may exchange."""

    def __init__(self, stage, certificates, **changes):
        self.certificates = certificates
        self.directory = stage.directory()
        self.backend = stage.backend()
        self.put("server")
        tls = {"certificate_file": str(self.directory / "front.pem"), "private_key_file": str(self.directory / "front.key")}
        self.daemon = stage.daemon([self.backend], listen={"tls": tls}, **changes)

    def put(self, certificate, key=None):
        """Puts these in the place of the files that the daemon was given."""
        for name, end in ((certificate, "pem"), (key or certificate, "key")):
            shutil.copy(self.certificates.directory / f"{name}.{end}", self.directory / f"front.{end}")

    def reload(self, line):
        before = len(self.daemon.find_lines(line))
        self.daemon.signal(signal.SIGHUP)
        self.daemon.wait_for_line(line, before + 1)

    def shown(self):
        """The certificate that a new caller is shown, in DER."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with self.daemon.client(tls=context) as client:
            return client.sock.getpeercert(binary_form=True)

    def file(self, name):
        return ssl.PEM_cert_to_DER_cert((self.certificates.directory / f"{name}.pem").read_text())

    def call(self):
        with self.daemon.client(tls=self.certificates.client()) as client:
            return self.daemon.open_chat(client).read_answer()


@pytest.fixture
def front(stage, certificates):
    return Front(stage, certificates)


@pytest.fixture(scope="module")
def hasty(shared_stage, certificates):
    """One that does not wait long for a request."""
    return Front(shared_stage, certificates, timeouts={"client_header_ms": HEADER_MS}, limits={"max_connections": 20})


# ---- certificates

def test_a_reload_shows_the_new_certificate(front):
    with front.daemon.client(tls=front.certificates.client()) as kept:
        assert front.daemon.open_chat(kept).read_answer().status == 200
        assert front.shown() == front.file("server")
        front.put("stranger")
        front.reload("has been reloaded")
        wait_for(lambda: front.shown() == front.file("stranger"))
        assert front.daemon.open_chat(kept).read_answer().status == 200, "a connection from before lives on"
        front.put("server")
        front.reload("has been reloaded")
        wait_for(lambda: front.shown() == front.file("server"))
    assert front.call().status == 200


@pytest.mark.parametrize("spoil", [
    lambda front: front.put("server", "stranger"),
    lambda front: (front.directory / "front.pem").write_text("no certificate"),
    lambda front: (front.directory / "front.key").write_text(""),
    lambda front: (front.directory / "front.pem").unlink(),
], ids=["another-key", "garbage", "empty-key", "gone"])
def test_a_bad_pair_keeps_the_old_one(front, spoil):
    spoil(front)
    front.reload("the running one stays")
    assert front.shown() == front.file("server")
    assert front.call().status == 200
    front.put("stranger")
    front.reload("has been reloaded")
    wait_for(lambda: front.shown() == front.file("stranger"))


def test_certificates_can_change_while_callers_come(front):
    def shown_and_served(number):
        front.put(("server", "stranger")[number % 2])
        front.daemon.signal(signal.SIGHUP)
        context = ssl.create_default_context(cafile=str(front.certificates.ca_file))
        context.check_hostname = False
        with front.daemon.client(tls=context) as client:
            return front.daemon.open_chat(client).read_answer().status

    assert [shown_and_served(number) for number in range(20)] == [200] * 20
    front.daemon.wait_for_line("has been reloaded")


def test_an_encrypted_key_is_a_fault_and_no_question(front):
    """OpenSSL would ask for the passphrase on the terminal or stdin, and wait for it."""
    key = front.directory / "front.key"
    subprocess.run(["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(key) + ".new"], check=True,
                   capture_output=True)
    (front.directory / "front.key.new").replace(key)
    with subprocess.Popen([program("AOAI_LB", "aoai-lb"), "--config", str(front.daemon.config_path)], env=clean_environment(),
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.wait(TIMEOUT_SECONDS) == 2
            assert b"private key" in process.stderr.read()
        finally:
            process.kill()


# ---- versions

@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version, taken", [(ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                                            (ssl.TLSVersion.TLSv1_3, True)], ids=["1.0", "1.1", "1.2", "1.3"])
def test_only_new_versions_are_spoken(hasty, version, taken):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    if taken:
        with hasty.daemon.client(tls=context) as client:
            assert hasty.daemon.open_chat(client).read_answer().status == 200
    else:
        with pytest.raises(OSError):
            hasty.daemon.client(tls=context)


# ---- handshakes that do not end

def hello(certificates):
    """The first flight of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = certificates.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def drain(client):
    """Reads to the end of the connection, whatever it says."""
    try:
        while True:
            client.wire.receive()
    except Ended:
        return


@pytest.mark.parametrize("part", [0, 1, 5, 100, None], ids=["nothing", "a-byte", "a-record-header", "half", "all-of-the-hello"])
def test_a_handshake_that_stops_is_ended(hasty, part):
    with hasty.daemon.client() as client:
        client.send(hello(hasty.certificates)[:part])
        drain(client)
    assert hasty.call().status == 200


def test_a_handshake_that_drips_is_ended(hasty):
    data = hello(hasty.certificates)
    began = time.monotonic()
    with hasty.daemon.client() as client:
        for byte in data:
            try:
                client.send(bytes([byte]))
                assert client.nothing_comes(HEADER_MS / 10_000)
            except (AssertionError, ConnectionError):
                break
        else:
            pytest.fail("it may drip for ever")
    assert time.monotonic() - began >= HEADER_MS / 1000 * 0.9


def test_half_open_handshakes_count_as_connections(hasty):
    """A flood of them does not get past max_connections, and makes room again."""
    half_open = [hasty.daemon.client() for _ in range(40)]
    for client in half_open:
        client.send(hello(hasty.certificates)[:50])
    hasty.daemon.wait_for_line("New connections wait: limits.max_connections is reached")
    assert hasty.call().status == 200
    for client in half_open:
        client.close()
    assert hasty.call().status == 200


def test_leaving_inside_a_handshake_does_no_harm(hasty):
    data = hello(hasty.certificates)
    for number in range(15):
        with hasty.daemon.client() as client:
            client.send(data[:len(data) * number // 14])
            if number % 2:
                client.reset()
    assert hasty.call().status == 200


@pytest.mark.parametrize("data", [
    request_bytes("POST", CHAT_PATH, body=b"{}"), b"\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 1000,
    b"\x15\x03\x03\x00\x02\x02\x28", b"\x17\x03\x03\x00\x05hello", b"\x80\x2e\x01\x03\x01",
], ids=["http", "crlf", "zeros", "long-record", "alert", "application-data", "ssl2"])
def test_what_is_no_handshake_is_closed(hasty, data):
    with hasty.daemon.client() as client:
        client.send(data)
        drain(client)
        assert b"HTTP/1" not in client.wire.buffer
    assert hasty.call().status == 200


def test_a_cut_without_close_notify_is_a_caller_that_left(hasty):
    hasty.backend.then(answers.hang())
    before = len(hasty.backend.requests)
    client = hasty.daemon.client(tls=hasty.certificates.client())
    hasty.daemon.open_chat(client)
    exchange = hasty.backend.await_requests(before + 1)
    client.sock.shutdown(socket.SHUT_RDWR)
    assert exchange.gone.wait(10)
    client.close()


def test_the_daemon_says_when_it_closes(hasty):
    """With a close_notify, so that a caller can tell the end from a cut."""
    with hasty.daemon.client(tls=hasty.certificates.client()) as client:
        client.request("POST", CHAT_PATH, [("Connection", "close")], b"{}")
        assert client.read_answer().status == 200
        assert client.wait_closed() == "end"


# ---- what a client may ask for later

class Tool:
    """openssl s_client, which does what Python's ssl cannot."""

    def __init__(self, port, *arguments):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", *arguments], env=clean_environment(),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.wire = Wire(self)

    def recv(self, count):
        return self.process.stdout.read1(count)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()


def test_renegotiation_is_refused(front):
    with Tool(front.daemon.port, "-tls1_2") as tool:
        tool.wire.until(b"---\n", 1 << 20)
        tool.type(b"GET /healthz HTTP/1.1\nHost: lb\n\n")
        tool.wire.until(b"ok\n")
        tool.type(b"R\n")
        tool.wire.until(b"RENEGOTIATING")
        tool.wire.until(b"no renegotiation")
    assert front.call().status == 200


@pytest.mark.parametrize("command", [b"k\n", b"K\n"], ids=["one-way", "both-ways"])
def test_new_keys_are_taken(front, command):
    """TLS 1.3's KeyUpdate: a read may then have to write."""
    with Tool(front.daemon.port, "-tls1_3") as tool:
        tool.wire.until(b"---\n", 1 << 20)
        for _ in range(5):
            tool.type(command)
            tool.wire.until(b"KEYUPDATE")
            tool.type(b"GET /healthz HTTP/1.1\nHost: lb\n\n")
            tool.wire.until(b"ok\n")


def test_sessions_are_resumed(front):
    context = front.certificates.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with front.daemon.client(tls=context) as client:
        assert front.daemon.open_chat(client).read_answer().status == 200
        session = client.sock.session
    with socket.create_connection(("127.0.0.1", front.daemon.port)) as plain:
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as again:
            assert again.session_reused
