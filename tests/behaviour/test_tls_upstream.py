"""Backends over TLS: whom the daemon trusts, and what it does when it should not."""
import ssl
import time

import pytest

from harness import answers
from harness.answers import CHAT, HELLO
from harness.daemon import CHAT_PATH
from harness.stage import in_order


def trusted(certificates, **more):
    return {"ca_file": str(certificates.ca_file), **more}


@pytest.fixture
def tls_backend(stage, certificates):
    """Makes a backend that speaks TLS as localhost."""
    def make(*script, certificate="server", newest=ssl.TLSVersion.TLSv1_3, host="localhost", **options):
        return stage.backend(*script, tls=certificates.server(certificate, newest), host=host, **options)

    return make


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_trusted_backend_is_used(stage, certificates, tls_backend, newest):
    backend = tls_backend(newest=newest)
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    got = daemon.chat()
    assert got.status == 200
    assert got.json == answers.COMPLETION
    assert backend.request.header("host") == backend.authority


def test_the_server_is_told_which_host_is_meant(stage, certificates, tls_backend):
    backend = tls_backend()
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    assert daemon.chat().status == 200
    assert backend.handshakes[0][0] == "localhost"


def test_server_name_is_verified_instead_of_the_host(stage, certificates, tls_backend):
    backend = tls_backend(host="127.0.0.1")
    daemon = stage.daemon([backend.entry(tls=trusted(certificates, server_name="openai1.test"))])
    assert daemon.chat().status == 200
    assert backend.handshakes[0][0] == "openai1.test"


def test_an_address_is_verified_as_an_address(stage, certificates, tls_backend):
    backend = tls_backend(host="127.0.0.1")
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    assert daemon.chat().status == 200
    assert backend.handshakes[0][0] is None, "an address must not be sent as a server name"


def not_trusted(stage, backend, settings):
    """The backend is not used, nothing is said to it, and the next one answers."""
    daemon = stage.daemon(in_order(backend.entry(tls=settings, auth={"type": "api_key", "key": "secret"}), stage.backend()))
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes == [("one", "tls"), ("two", "200")]
    assert not backend.requests


def test_an_unknown_authority_is_not_trusted(stage, tls_backend):
    not_trusted(stage, tls_backend(), {})


def test_a_self_signed_certificate_is_not_trusted(stage, certificates, tls_backend):
    not_trusted(stage, tls_backend(certificate="self"), trusted(certificates))


def test_another_hosts_certificate_is_not_trusted(stage, certificates, tls_backend):
    not_trusted(stage, tls_backend(certificate="stranger"), trusted(certificates))


def test_another_hosts_certificate_is_not_trusted_for_an_address(stage, certificates, tls_backend):
    not_trusted(stage, tls_backend(certificate="stranger", host="127.0.0.1"), trusted(certificates))


def test_a_certificate_of_another_name_than_server_name_is_not_trusted(stage, certificates, tls_backend):
    not_trusted(stage, tls_backend(), trusted(certificates, server_name="elsewhere.test"))


def test_an_expired_certificate_is_not_trusted(stage, certificates, tls_backend):
    not_trusted(stage, tls_backend(certificate="expired"), trusted(certificates))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_not_spoken(stage, certificates, tls_backend):
    context = certificates.server("server")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    not_trusted(stage, stage.backend(tls=context, host="localhost"), trusted(certificates))


def test_verification_can_be_turned_off(stage, tls_backend):
    backend = tls_backend(certificate="self")
    daemon = stage.daemon([backend.entry(tls={"verify": False})])
    assert daemon.chat().status == 200


def test_a_plain_server_is_no_tls_server(stage, certificates):
    plain = stage.backend(connection=lambda backend, sock, number: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    daemon = stage.daemon(in_order({"url": f"https://localhost:{plain.port}", "tls": trusted(certificates)}, stage.backend()))
    assert daemon.chat().outcomes == [("one", "tls"), ("two", "200")]


def test_a_handshake_that_never_ends_is_bounded_by_connect_ms(stage, certificates):
    def silent(backend, sock, _):
        backend.closing.wait(15)
        sock.close()

    mute = stage.backend(connection=silent)
    daemon = stage.daemon(in_order({"url": f"https://localhost:{mute.port}", "tls": trusted(certificates)}, stage.backend()),
                          timeouts={"connect_ms": 300})
    got = daemon.chat()
    assert got.status == 200
    assert got.outcomes[0][1] in ("tls", "connect")


def test_a_refused_tls_connection_is_a_connect_failure(stage, certificates):
    nobody = stage.nobody()
    daemon = stage.daemon(in_order({"url": f"https://localhost:{nobody.port}", "tls": trusted(certificates)}, stage.backend()))
    assert daemon.chat().outcomes == [("one", "connect"), ("two", "200")]


def test_a_failed_handshake_may_be_retried_by_the_sdks(stage, tls_backend):
    daemon = stage.daemon([tls_backend().entry()])
    got = daemon.chat()
    assert got.status == 502
    assert got.header("x-should-retry") != "false"


# ---- connections and sessions

def test_a_tls_connection_is_used_again(stage, certificates, tls_backend):
    backend = tls_backend()
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))], workers=1)
    for _ in range(5):
        assert daemon.chat().status == 200
    assert [request.connection for request in backend.requests] == [1] * 5


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("end", ["keep", "notify", "close"])
def test_a_session_is_resumed(stage, certificates, tls_backend, newest, end):
    """However the connection before it ended: many servers just close."""
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    backend = tls_backend(default=answers.parts(body, end=end), newest=newest)
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))], workers=1)
    for _ in range(4):
        assert daemon.chat().status == 200
    assert [resumed for _, resumed in backend.handshakes] == [False, True, True, True]


def test_a_session_is_not_resumed_with_another_backend(stage, certificates, tls_backend):
    """Were it, the second backend's certificate would never be looked at."""
    first, second = tls_backend(), tls_backend(certificate="stranger")
    daemon = stage.daemon(in_order(first.entry(tls=trusted(certificates)), second.entry(tls=trusted(certificates))), workers=1)
    assert daemon.chat().status == 200
    first.then(answers.wait_ms(9_000))
    assert daemon.chat().outcomes == [("one", "429"), ("two", "tls")]


def test_a_closed_idle_tls_connection_is_replaced_silently(stage, certificates, tls_backend):
    gate = answers.Gate()
    backend = tls_backend(answers.parts(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", gate, end="notify"))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))], workers=1, retry={"max_unsafe_retries": 0})
    assert daemon.chat().status == 200
    gate.open()
    backend.await_open(0)
    assert daemon.chat().status == 200


# ---- bytes

def test_large_bodies_pass_whole_both_ways(stage, certificates, tls_backend):
    body = bytes(range(251)) * 40_000
    backend = tls_backend(answers.answer(200, [("Content-Type", "application/json")], body))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    got = daemon.call("POST", CHAT_PATH, body=body)
    assert backend.request.body == body
    assert got.body == body


def test_a_stream_arrives_event_by_event(stage, certificates, tls_backend):
    gates = [answers.Gate() for _ in range(3)]
    words = [answers.delta(content=f"word-{number}") for number in range(3)]
    pieces = [piece for pair in zip(gates, words) for piece in pair]
    backend = tls_backend(answers.stream(HELLO, *pieces, answers.STOP, answers.DONE))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    with daemon.client() as client:
        daemon.open_chat(client, stream=True)
        client.read_head()
        client.read_payload_until(HELLO)
        for gate, word in zip(gates, words):
            gate.open()
            client.read_payload_until(word)
        client.read_payload_until(answers.DONE)
        assert client.read_chunk() == b""


def test_many_events_in_one_record_arrive_whole(stage, certificates, tls_backend):
    words = [answers.delta(content=f"word-{number}") for number in range(3_000)]
    backend = tls_backend(answers.stream(b"".join(words), answers.STOP, answers.DONE))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    assert daemon.chat(stream=True).body == b"".join([*words, answers.STOP, answers.DONE])


def test_an_end_without_close_notify_truncates_an_answer_without_length(stage, certificates, tls_backend):
    cut = tls_backend(answers.raw(answers.head(200, [("Content-Type", "application/json")]) + b'{"id":', "close"))
    daemon = stage.daemon(in_order(cut.entry(tls=trusted(certificates)), stage.backend()))
    got = daemon.chat()
    assert got.json == answers.COMPLETION
    assert got.outcomes == [("one", "reset"), ("two", "200")]


def test_an_end_with_close_notify_ends_an_answer_without_length(stage, certificates, tls_backend):
    backend = tls_backend(answers.parts(answers.head(200, [("Content-Type", "application/json")]) + b'{"id":1}', end="notify"))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    assert daemon.chat().body == b'{"id":1}'


def test_a_caller_that_leaves_cancels_a_tls_call(stage, certificates, tls_backend):
    backend = tls_backend(answers.stream(HELLO, end="hang"))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    client = daemon.open_chat(daemon.client(), stream=True)
    client.read_head()
    client.read_payload_until(HELLO)
    client.close()
    assert backend.exchanges[0].gone.wait(2)


def test_fifty_tls_streams_at_once_are_whole(stage, certificates, tls_backend):
    gate = answers.Gate()
    backend = tls_backend(default=answers.stream(CHAT[0], CHAT[1], gate, *CHAT[2:]))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    clients = [daemon.open_chat(daemon.client(), stream=True) for _ in range(50)]
    backend.await_requests(50)
    gate.open()
    for client in clients:
        assert client.read_answer().body == b"".join(CHAT)
        client.close()


def test_a_tls_stream_that_was_stopped_goes_on_whole(stage, certificates, tls_backend):
    """When the caller reads again, what OpenSSL has already taken from the socket must not be forgotten."""
    words = [answers.delta(content=f"word {number} " + "x" * 1000) for number in range(8_000)]
    backend = tls_backend(answers.stream(*words, answers.STOP, answers.DONE))
    daemon = stage.daemon([backend.entry(tls=trusted(certificates))])
    with daemon.client(receive_buffer=32768) as client:
        daemon.open_chat(client, stream=True)
        exchange = backend.await_requests(1)
        before = -1
        while before != exchange.sent:
            before = exchange.sent
            time.sleep(0.3)
        assert client.read_answer().body == b"".join([*words, answers.STOP, answers.DONE])
