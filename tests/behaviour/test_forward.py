"""A request goes to a backend and its answer comes back, nothing lost and nothing invented."""
import json
import re

import pytest

from harness import answers
from harness.client import chunk
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import in_order


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    daemon = shared_stage.daemon([backend])
    return backend, daemon


def exchange(scene, answer, method="POST", path=CHAT_PATH, headers=(), body=None):
    """One request with that answer: (what the backend was sent, what the caller got)."""
    backend, daemon = scene
    backend.script.clear()
    if answer:
        backend.then(answer)
    body = CHAT_BODY if body is None and method == "POST" else body
    with daemon.client() as client:
        got = client.call(method, path, headers, body)
    return backend.requests[-1], got


def test_a_chat_completion_is_answered(scene):
    sent, got = exchange(scene, None)
    assert got.status == 200
    assert got.json == answers.COMPLETION
    assert sent.method == "POST"
    assert sent.target == CHAT_PATH


def test_the_answers_body_arrives_byte_for_byte(scene):
    body = b' { "odd" :\t"spacing",\r\n"and":"\\u00e9\xc3\xa9" } \n'
    _, got = exchange(scene, answers.answer(200, [("Content-Type", "application/json")], body))
    assert got.body == body


def test_a_binary_answer_arrives_byte_for_byte(scene):
    body = bytes(range(256)) * 4000
    _, got = exchange(scene, answers.answer(200, [("Content-Type", "audio/mpeg")], body),
                      path="/openai/deployments/tts/audio/speech?api-version=2024-10-21",
                      body={"model": "tts", "input": "Hello", "voice": "alloy"})
    assert got.body == body
    assert got.header("content-type") == "audio/mpeg"


def test_a_requests_body_arrives_byte_for_byte(scene):
    body = b'{ "messages" : [ {"role":"user","content":"\\u00e9\xc3\xa9\\n"} ] ,\t"n":1.0e0 }\n'
    sent, _ = exchange(scene, None, headers=[("Content-Type", "application/json")], body=body)
    assert sent.body == body


def test_a_binary_request_body_arrives_byte_for_byte(scene):
    body = bytes(range(256)) * 300
    sent, _ = exchange(scene, None, headers=[("Content-Type", "application/octet-stream")], body=body,
                       path="/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21")
    assert sent.body == body


def test_an_empty_body_stays_empty(scene):
    sent, got = exchange(scene, None, body=b"")
    assert got.status == 200
    assert sent.body == b""


def test_a_chunked_request_arrives_whole(scene):
    backend, daemon = scene
    body = json.dumps(CHAT_BODY).encode()
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Type: application/json\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 7):
            client.send(chunk(body[start:start + 7]))
        client.send(b"0\r\n\r\n")
        assert client.read_answer().status == 200
    assert backend.requests[-1].body == body


def test_trailers_of_a_request_are_dropped(scene):
    backend, daemon = scene
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"2;name=value\r\n{}\r\n0\r\nX-Trailer: secret\r\n\r\n")
        assert client.read_answer().status == 200
    assert backend.requests[-1].body == b"{}"
    assert b"secret" not in backend.requests[-1].head


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "POST"])
def test_every_method_reaches_a_resource_path(scene, method):
    sent, got = exchange(scene, None, method=method, path="/openai/files/file-1?api-version=2024-10-21",
                         body=b"{}" if method in ("PUT", "PATCH", "POST") else None)
    assert got.status == 200
    assert sent.method == method
    assert sent.target == "/openai/files/file-1?api-version=2024-10-21"


def test_a_get_is_sent_on_without_a_body(scene):
    sent, _ = exchange(scene, None, method="GET", path="/openai/files?api-version=2024-10-21")
    assert sent.body == b""
    assert not sent.chunked


def test_the_query_goes_on_as_it_came(scene):
    query = "api-version=2024-10-21&empty=&flag&x=%C3%A9%20+a&x=2"
    sent, _ = exchange(scene, None, path="/openai/deployments/gpt-4o/chat/completions?" + query)
    assert sent.query == query


def test_headers_of_the_answer_reach_the_caller(scene):
    headers = [("x-ms-region", "Sweden Central"), ("apim-request-id", "5d1f"), ("x-ratelimit-remaining-tokens", "1200"),
               ("azure-openai-deployment-utilization", "11.2%"), ("x-ms-spillover-from-deployment", "ptu")]
    _, got = exchange(scene, answers.ok(headers=headers))
    for name, value in headers:
        assert got.header(name) == value


def test_repeated_headers_of_the_answer_keep_their_order(scene):
    _, got = exchange(scene, answers.ok(headers=[("Set-Cookie", "a=1"), ("X-Between", "y"), ("Set-Cookie", "b=2")]))
    assert got.headers.all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("field", [("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "Basic"), ("Trailer", "X-Sum"),
                                   ("Upgrade", "h2c")])
def test_hop_by_hop_headers_of_the_answer_end_here(scene, field):
    _, got = exchange(scene, answers.ok(headers=[field]))
    assert got.status == 200
    assert got.header(field[0]) is None


def test_what_the_answers_connection_header_names_ends_here(scene):
    _, got = exchange(scene, answers.ok(headers=[("Connection", "x-private"), ("X-Private", "1"), ("X-Public", "2")]))
    assert got.header("x-private") is None
    assert got.header("x-public") == "2"


def test_the_backend_that_answered_is_named(scene):
    _, got = exchange(scene, None)
    assert got.header("x-aoai-lb-backend") == "one"


def test_the_attempts_are_listed(scene):
    _, got = exchange(scene, None)
    assert got.header("x-aoai-lb-attempts") == "one=200"


def test_a_backend_cannot_forge_the_balancers_headers(scene):
    _, got = exchange(scene, answers.ok(headers=[("x-aoai-lb-backend", "forged"), ("x-aoai-lb-attempts", "forged=200")]))
    assert got.header("x-aoai-lb-backend") == "one"
    assert got.header("x-aoai-lb-attempts") == "one=200"


def test_the_backends_request_id_is_kept(scene):
    _, got = exchange(scene, answers.ok(headers=[("x-request-id", "backend-id-7")]))
    assert got.header("x-request-id") == "backend-id-7"


def test_a_request_id_is_given_where_the_backend_gave_none(scene):
    ids = {exchange(scene, None)[1].header("x-request-id") for _ in range(3)}
    assert None not in ids
    assert len(ids) == 3


def test_a_redirect_of_a_backend_passes_as_it_is(scene):
    backend, _ = scene
    before = len(backend.requests)
    _, got = exchange(scene, answers.answer(302, [("Location", "http://elsewhere.example/x")]))
    assert got.status == 302
    assert got.header("location") == "http://elsewhere.example/x"
    assert len(backend.requests) == before + 1


def test_an_answer_without_length_passes_whole(scene):
    body = b"x" * 200_000
    _, got = exchange(scene, answers.answer(200, [("Content-Type", "text/plain")], body, "close"))
    assert got.body == body


def test_a_chunked_answer_passes_whole(scene):
    body = json.dumps(answers.COMPLETION).encode()
    _, got = exchange(scene, answers.answer(200, [("Content-Type", "application/json")], body, "chunked"))
    assert got.body == body


def test_a_204_has_no_body(scene):
    _, got = exchange(scene, answers.raw(b"HTTP/1.1 204 No Content\r\n\r\n"), method="DELETE", path="/openai/files/file-1")
    assert got.status == 204
    assert got.length in (None, 0)
    assert not got.chunked


def test_an_answer_to_head_has_no_body(scene):
    backend, daemon = scene
    backend.then(answers.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n"))
    with daemon.client() as client:
        got = client.call("HEAD", "/openai/files/file-1")
        assert got.status == 200
        assert client.call("GET", "/openai/files/file-1").status == 200


def test_interim_answers_of_a_backend_are_not_taken_for_the_answer(scene):
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    _, got = exchange(scene, answers.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + good))
    assert got.status == 200
    assert got.body == b"{}"
    assert got.header("link") is None


def test_a_caller_that_expects_100_gets_it_before_it_sends_the_body(scene):
    _, daemon = scene
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 2\r\n"
                    b"Expect: 100-continue\r\n\r\n")
        assert client.read_head(interim=True).status == 100
        client.send(b"{}")
        assert client.read_answer().status == 200


def test_an_expected_100_does_not_come_for_what_will_be_refused(scene):
    _, daemon = scene
    with daemon.client() as client:
        client.send(b"POST /unknown/path HTTP/1.1\r\nHost: lb\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head(interim=True).status == 404


def test_a_caller_of_http_1_0_gets_no_chunks(scene):
    backend, daemon = scene
    backend.then(answers.stream(*answers.CHAT))
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.0\r\nHost: lb\r\nContent-Length: 2\r\n\r\n{}")
        got = client.read_answer()
        assert got.status == 200
        assert not got.chunked
        assert got.body == b"".join(answers.CHAT)
        assert client.wait_closed() == "end"


def test_a_bodys_cap_can_be_filled_to_the_byte(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], retry={"max_body_bytes": 100_000})
    body = b'"' + b"x" * 99_998 + b'"'
    assert daemon.call("POST", CHAT_PATH, body=body).status == 200
    assert backend.request.body == body


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_3_mb_body_is_replayed_byte_for_byte(stage, framing):
    first, second = stage.backend(answers.wait_ms(5000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    body = json.dumps({"messages": [{"role": "user", "content": "".join(f"{n:06x}" for n in range(500_000))}]}).encode()
    assert len(body) > 3_000_000
    with daemon.client() as client:
        if framing == "length":
            got = client.call("POST", CHAT_PATH, body=body)
        else:
            client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(body), 100_003):
                client.send(chunk(body[start:start + 100_003]))
            client.send(b"0\r\n\r\n")
            got = client.read_answer()
    assert got.status == 200
    assert first.request.body == body
    assert second.request.body == body


def test_a_large_answer_passes_whole(scene):
    body = bytes(range(251)) * 40_000
    _, got = exchange(scene, answers.answer(200, [("Content-Type", "application/json")], body))
    assert got.body == body


def test_a_backends_path_prefix_goes_in_front(stage):
    backend = stage.backend()
    daemon = stage.daemon([{"url": backend.url + "/some/prefix/"}])
    assert daemon.chat().status == 200
    assert backend.request.target == "/some/prefix" + CHAT_PATH


def test_a_base_path_is_taken_off(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend], listen={"base_path": "/api/v1"})
    assert daemon.post("/api/v1" + CHAT_PATH, CHAT_BODY).status == 200
    assert daemon.post("/api/v1/chat/completions", {"model": "gpt-4o"}).status == 200
    assert daemon.post(CHAT_PATH, CHAT_BODY).status == 404
    assert daemon.post("/api/v1x" + CHAT_PATH, CHAT_BODY).status == 404
    assert [request.target for request in backend.requests] == [CHAT_PATH, "/openai/v1/chat/completions"]


def test_a_head_that_comes_byte_by_byte_is_understood(scene):
    _, daemon = scene
    request = b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 2\r\n\r\n{}"
    with daemon.client() as client:
        for value in request:
            client.send(bytes([value]))
        assert client.read_answer().status == 200


def test_requests_are_answered_at_the_same_time(stage):
    gate = answers.Gate()
    backend = stage.backend(default=answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend])
    clients = [daemon.open_chat(daemon.client()) for _ in range(50)]
    backend.await_requests(50)
    gate.open()
    for client in clients:
        assert client.read_answer().status == 200
        client.close()


def test_a_request_id_is_of_plain_characters(scene):
    _, got = exchange(scene, None)
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", got.header("x-request-id"))
