"""What of a caller's head a backend gets to see."""
import pytest

from harness.stage import in_order
from harness import answers

AUTH = {"type": "api_key", "key": "k"}


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(auth=AUTH)])


def sent_headers(scene, headers, answer=200):
    backend, daemon = scene
    assert daemon.chat(headers).status == answer
    return backend.requests[-1].headers


@pytest.mark.parametrize("name", [
    "Cookie", "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-anything", "X-Real-IP", "X-Original-URL",
    "x-original-host", "x-envoy-external-address", "X-K8SE-Something", "x-ms-containerapp-name", "x-aoai-lb-backend",
    "X-AOAI-LB-Anything", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Proxy-Authenticate",
])
def test_it_never_goes_upstream(scene, name):
    value = "trailers" if name == "TE" else "private-value"
    headers = sent_headers(scene, [(name, value), ("X-Kept", "1")])
    assert headers.all(name) == []
    assert headers.get("x-kept") == "1"


def test_an_upgrade_of_plain_http_is_not_offered_upstream(scene):
    headers = sent_headers(scene, [("Upgrade", "h2c")])
    assert headers.all("upgrade") == []


def test_what_connection_names_does_not_go_upstream(scene):
    headers = sent_headers(scene, [("Connection", "keep-alive, X-Private ,x-other"), ("X-Private", "1"), ("X-Other", "2"),
                                   ("X-Public", "3")])
    assert headers.all("x-private") == headers.all("x-other") == []
    assert headers.get("x-public") == "3"


def test_host_is_the_backends(scene):
    backend, _ = scene
    assert sent_headers(scene, []).get("host") == backend.authority


def test_streams_are_asked_for_uncompressed(scene):
    assert sent_headers(scene, [("Accept-Encoding", "gzip, deflate, br")]).all("accept-encoding") == ["identity"]
    assert sent_headers(scene, []).all("accept-encoding") == ["identity"]


def test_traceparent_passes(scene):
    value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = sent_headers(scene, [("traceparent", value), ("tracestate", "a=b")])
    assert headers.get("traceparent") == value
    assert headers.get("tracestate") == "a=b"


def test_a_callers_other_headers_pass_in_their_order(scene):
    own = [("User-Agent", "OpenAI/Python 3.1"), ("X-B", "1"), ("OpenAI-Beta", "assistants=v2"), ("x-ms-client-request-id", "77"),
           ("X-A", "2"), ("X-B", "3"), ("Accept", "application/json"), ("x-stainless-retry-count", "0"),
           ("x-ms-spillover-deployment", "gpt-4o-standard"), ("Idempotency-Key", "abc")]
    headers = sent_headers(scene, own)
    names = [name.lower() for name, _ in own]
    assert [(name.lower(), value) for name, value in headers if name.lower() in names] == \
        [(name.lower(), value) for name, value in own]


def test_an_unusual_value_passes_unchanged(scene):
    value = 'a, "b;c" (d) \xe9\xff \\ {}'
    assert sent_headers(scene, [("X-Odd", value)]).get("x-odd") == value


def test_white_space_around_a_value_is_no_part_of_it(scene):
    assert sent_headers(scene, [("X-Odd", " \t a  b \t ")]).get("x-odd") == "a  b"


def test_the_daemon_adds_no_header_of_its_own(scene):
    headers = sent_headers(scene, [("User-Agent", "me")])
    assert sorted(headers.names()) in (
        ["accept-encoding", "api-key", "content-length", "content-type", "host", "user-agent"],
        ["accept-encoding", "api-key", "connection", "content-length", "content-type", "host", "user-agent"])


def test_expect_does_not_go_upstream(scene):
    backend, daemon = scene
    with daemon.client() as client:
        client.send(b"POST /openai/deployments/gpt-4o/chat/completions HTTP/1.1\r\nHost: lb\r\nContent-Length: 2\r\n"
                    b"Expect: 100-continue\r\n\r\n{}")
        assert client.read_answer().status == 200
    assert backend.requests[-1].headers.all("expect") == []


def custom(count):
    return [(f"X-Own-{number}", "v") for number in range(count)]


STAINLESS = [("X-Stainless-Lang", "python"), ("x-stainless-os", "Linux"), ("X-STAINLESS-retry-count", "0")]


def test_ten_custom_headers_pass(scene):
    headers = sent_headers(scene, STAINLESS + custom(7))
    assert sum(name.startswith("x-") for name in headers.names()) == 10


def test_above_ten_custom_headers_the_sdks_own_ones_go(scene):
    headers = sent_headers(scene, STAINLESS + custom(8))
    assert not [name for name in headers.names() if name.startswith("x-stainless-")]
    assert sum(name.startswith("x-own-") for name in headers.names()) == 8


def test_what_is_dropped_anyway_does_not_count_as_custom(scene):
    headers = sent_headers(scene, STAINLESS + custom(7) + [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "https"),
                                                          ("x-envoy-attempt-count", "1")])
    assert sum(name.startswith("x-stainless-") for name in headers.names()) == 3


def test_a_callers_own_custom_headers_are_never_dropped_for_their_number(scene):
    headers = sent_headers(scene, STAINLESS + custom(20))
    assert sum(name.startswith("x-own-") for name in headers.names()) == 20


def test_every_attempt_is_sent_the_same_fields(stage):
    first, second = stage.backend(answers.wait_ms(9000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat([("X-One", "1"), ("Cookie", "no"), ("OpenAI-Beta", "b")]).status == 200
    assert [field for field in first.request.headers if field[0].lower() != "host"] == \
        [field for field in second.request.headers if field[0].lower() != "host"]
    assert second.request.header("host") == second.authority
