"""The data port over TLS."""
import ssl

import pytest

from harness import answers
from harness.answers import CHAT


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
