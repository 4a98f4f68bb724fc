"""The data port over TLS."""
import ssl
import time

import pytest

from harness import answers
from harness.answers import CHAT
from harness.client import request_bytes


@pytest.fixture
def secure(stage, certificates):
    backend = stage.backend()
    tls = {"certificate_file": str(certificates.directory / "server.pem"), "private_key_file": str(certificates.directory / "server.key")}
    return backend, stage.daemon([backend], listen={"tls": tls})


def test_a_caller_is_served_over_tls(secure, certificates):
    _, daemon = secure
    with daemon.client(tls=certificates.client()) as client:
        for _ in range(3):
            assert daemon.open_chat(client).read_answer().status == 200
        assert client.sock.version() in ("TLSv1.2", "TLSv1.3")


def test_a_stream_passes_over_tls(secure, certificates):
    backend, daemon = secure
    backend.then(answers.stream(*CHAT))
    with daemon.client(tls=certificates.client()) as client:
        assert daemon.open_chat(client, stream=True).read_answer().body == b"".join(CHAT)


def test_large_bodies_pass_over_tls(secure, certificates):
    backend, daemon = secure
    body = b'"' + b"x" * 5_000_000 + b'"'
    backend.then(answers.answer(200, [], body))
    with daemon.client(tls=certificates.client()) as client:
        got = client.call("POST", "/openai/deployments/gpt-4o/chat/completions", body=body)
    assert got.body == body
    assert backend.request.body == body


def test_plain_http_is_not_spoken_on_a_tls_port(secure):
    backend, daemon = secure
    with daemon.client() as client:
        daemon.open_chat(client)
        try:
            client.sock.recv(1)
        except ConnectionError:
            pass
    assert not backend.requests


def test_a_caller_that_leaves_is_noticed_over_tls(secure, certificates):
    backend, daemon = secure
    backend.then(answers.hang())
    client = daemon.client(tls=certificates.client())
    daemon.open_chat(client)
    exchange = backend.await_requests(1)
    client.close()
    assert exchange.gone.wait(2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(secure):
    _, daemon = secure
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        daemon.client(tls=context)


def test_a_request_that_comes_with_the_handshakes_end_is_served(secure, certificates):
    """Bytes that OpenSSL has read together with the handshake will not make the socket readable again."""
    _, daemon = secure
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = certificates.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with daemon.client() as client:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.send(outgoing.read())
                incoming.write(client.sock.recv(65536))
        session.write(request_bytes("GET", "/healthz"))
        client.send(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = client.sock.recv(65536)
            assert data, "the daemon closed the connection instead"
            incoming.write(data)
            try:
                answer += session.read(65536)
            except ssl.SSLWantReadError:
                pass
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_slow_reader_over_tls_gets_the_whole_stream(secure, certificates):
    backend, daemon = secure
    words = [answers.delta(content=f"word {number} " + "x" * 1000) for number in range(8_000)]
    backend.then(answers.stream(*words, answers.STOP, answers.DONE))
    with daemon.client(tls=certificates.client(), receive_buffer=32768) as client:
        daemon.open_chat(client, stream=True)
        exchange = backend.await_requests(1)
        before = -1
        while before != exchange.sent:
            before = exchange.sent
            time.sleep(0.3)
        assert client.read_answer().body == b"".join([*words, answers.STOP, answers.DONE])
