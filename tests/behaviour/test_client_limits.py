"""How much a configured client may use in a minute, and what it is told beyond that."""
import signal
import time

import pytest

from harness import answers
from harness.answers import DONE, HELLO, STOP
from harness.daemon import CHAT_BODY
from harness.stage import make_config

AUTH = {"type": "api_key", "key": "the-backends-own-key"}
SMALL = [("api-key", "small-key")]
OTHER = [("api-key", "other-key")]


def clients(**limits):
    """A client with these limits, and one without any."""
    return [{"name": "small", "key": "small-key", **limits}, {"name": "other", "key": "other-key"}]


def start(stage, *script, **limits):
    backend = stage.backend(*script)
    return backend, stage.daemon([backend.entry(auth=AUTH)], clients=clients(**limits))


def check_refusal(got):
    """A 429 of the daemon's own; returns its wait in ms."""
    assert got.status == 429
    error = got.json["error"]
    assert set(error) == {"code", "message", "type", "param"}
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"]
    assert got.header("content-type").startswith("application/json")
    assert got.header("x-aoai-lb-backend") is None
    assert got.header("x-should-retry") != "false"
    wait_ms, seconds = int(got.header("retry-after-ms")), int(got.header("retry-after"))
    assert 1 <= wait_ms <= 60_000
    assert 1 <= seconds <= 60
    assert seconds == -(-wait_ms // 1000)
    return wait_ms


# ---- requests

def test_requests_beyond_the_limit_are_a_429(stage):
    backend, daemon = start(stage, requests_per_minute=3)
    for _ in range(3):
        assert daemon.chat(SMALL).status == 200
    for _ in range(3):
        assert 10_000 <= check_refusal(daemon.chat(SMALL)) <= 20_000
    assert len(backend.requests) == 3


@pytest.mark.parametrize("method, path, body", [
    ("POST", "/v1/chat/completions", {"model": "gpt-4o", **CHAT_BODY}),
    ("POST", "/openai/responses?api-version=1", {"model": "gpt-4o"}),
    ("GET", "/v1/files", None),
    ("POST", "/openai/deployments/another/embeddings", {"input": "x"}),
])
def test_the_limit_holds_for_every_path_together(stage, method, path, body):
    backend, daemon = start(stage, requests_per_minute=1)
    assert daemon.chat(SMALL).status == 200
    check_refusal(daemon.call(method, path, SMALL, body))
    assert len(backend.requests) == 1


def test_one_request_a_minute_waits_for_a_minute(stage):
    _, daemon = start(stage, requests_per_minute=1)
    assert daemon.chat(SMALL).status == 200
    assert 55_000 <= check_refusal(daemon.chat(SMALL)) <= 60_000


def test_a_stream_beyond_the_limit_gets_a_json_429(stage):
    backend, daemon = start(stage, requests_per_minute=1)
    assert daemon.chat(SMALL).status == 200
    check_refusal(daemon.chat(SMALL, stream=True))
    assert len(backend.requests) == 1


def test_other_clients_are_unaffected(stage):
    backend, daemon = start(stage, requests_per_minute=1)
    assert daemon.chat(SMALL).status == 200
    check_refusal(daemon.chat(SMALL))
    for _ in range(5):
        assert daemon.chat(OTHER).status == 200
    assert len(backend.requests) == 6
    check_refusal(daemon.chat(SMALL))


def test_the_connection_stays_usable(stage):
    _, daemon = start(stage, requests_per_minute=1)
    with daemon.client() as client:
        for status, key in ((200, SMALL), (429, SMALL), (200, OTHER), (429, SMALL)):
            got = client.call("POST", "/v1/chat/completions", key, {"model": "gpt-4o", **CHAT_BODY})
            assert got.status == status
            assert got.keeps_alive


def test_the_limit_is_not_multiplied_by_workers(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth=AUTH)], clients=clients(requests_per_minute=4), workers=4)
    statuses = [daemon.chat(SMALL).status for _ in range(16)]
    assert sorted(statuses) == [200] * 4 + [429] * 12
    assert len(backend.requests) == 4


def test_the_advertised_wait_is_true(stage):
    _, daemon = start(stage, requests_per_minute=120)
    with daemon.client() as client:
        for _ in range(300):
            got = client.call("POST", "/v1/chat/completions", SMALL, {"model": "gpt-4o"})
            if got.status == 429:
                break
        wait_ms = check_refusal(got)
        assert wait_ms <= 500
        time.sleep(wait_ms / 1000 + 0.02)
        assert client.call("POST", "/v1/chat/completions", SMALL, {"model": "gpt-4o"}).status == 200


def test_a_refusal_for_want_of_rights_comes_first(stage):
    backend = stage.backend()
    limited = [{"name": "small", "key": "small-key", "deployments": ["gpt-4o"], "requests_per_minute": 1}]
    daemon = stage.daemon([backend.entry(auth=AUTH)], clients=limited)
    assert daemon.chat(SMALL).status == 200
    assert daemon.chat(SMALL, deployment="forbidden").status == 403
    assert daemon.chat([("api-key", "wrong")]).status == 401
    check_refusal(daemon.chat(SMALL))


def test_what_was_refused_costs_nothing(stage):
    backend = stage.backend()
    limited = [{"name": "small", "key": "small-key", "deployments": ["gpt-4o"], "requests_per_minute": 1}]
    daemon = stage.daemon([backend.entry(auth=AUTH)], clients=limited)
    for _ in range(3):
        assert daemon.chat(SMALL, deployment="forbidden").status == 403
        assert daemon.get("/unknown-path", SMALL).status == 404
        assert daemon.post("/v1/chat/completions", {}, SMALL).status == 400
    assert daemon.chat(SMALL).status == 200


# ---- tokens

def test_tokens_beyond_the_limit_are_a_429(stage):
    """An answer costs 17 tokens. It is paid for when it is there, so the last one may run into debt."""
    backend, daemon = start(stage, tokens_per_minute=30)
    assert daemon.chat(SMALL).status == 200
    assert daemon.chat(SMALL).status == 200
    check_refusal(daemon.chat(SMALL))
    check_refusal(daemon.chat(SMALL, stream=True))
    assert len(backend.requests) == 2
    assert daemon.chat(OTHER).status == 200


def test_a_large_debt_is_advertised_as_a_minute(stage):
    usage = {"prompt_tokens": 500_000, "completion_tokens": 1, "total_tokens": 500_001}
    _, daemon = start(stage, answers.ok({**answers.COMPLETION, "usage": usage}), tokens_per_minute=1000)
    assert daemon.chat(SMALL).status == 200
    assert check_refusal(daemon.chat(SMALL)) >= 59_000


CHAT_USAGE = answers.event({"id": "c", "object": "chat.completion.chunk", "choices": [],
                            "usage": {"prompt_tokens": 90, "completion_tokens": 20, "total_tokens": 110}})
RESPONSES_USAGE = answers.typed("response.completed", response={
    "id": "r", "status": "completed", "usage": {"input_tokens": 90, "output_tokens": 20, "total_tokens": 110}})


@pytest.mark.parametrize("path, answer", [
    ("/v1/chat/completions", answers.stream(HELLO, STOP, CHAT_USAGE, DONE)),
    ("/openai/responses?api-version=1", answers.stream(answers.CREATED, answers.TEXT, RESPONSES_USAGE)),
    ("/v1/responses", answers.ok({"object": "response", "usage": {"input_tokens": 90, "output_tokens": 20, "total_tokens": 110}})),
    ("/v1/embeddings", answers.ok({"object": "list", "data": [{"embedding": [0.5] * 3000}],
                                   "usage": {"prompt_tokens": 110, "total_tokens": 110}})),
], ids=["chat-stream", "responses-stream", "responses", "embeddings"])
def test_tokens_are_counted_in_every_answer(stage, path, answer):
    backend, daemon = start(stage, answer, tokens_per_minute=100)
    assert daemon.post(path, {"model": "gpt-4o", "stream": "stream" in path}, SMALL).status == 200
    check_refusal(daemon.chat(SMALL))
    assert len(backend.requests) == 1


def test_answers_without_usage_cost_no_tokens(stage):
    _, daemon = start(stage, *[answers.ok({"object": "list"})] * 3, tokens_per_minute=1)
    for _ in range(3):
        assert daemon.chat(SMALL).status == 200


# ---- reloads and the log

def test_a_reload_forgets_nothing(stage):
    backend, daemon = start(stage, requests_per_minute=2, tokens_per_minute=100_000)
    assert daemon.chat(SMALL).status == 200
    assert daemon.chat(SMALL).status == 200
    changes = {"clients": clients(requests_per_minute=2, tokens_per_minute=90_000)[::-1], "timeouts": {"heartbeat_ms": 1234}}
    daemon.write_config(make_config([backend.entry(auth=AUTH)], changes))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    assert check_refusal(daemon.chat(SMALL)) > 20_000
    assert daemon.chat(OTHER).status == 200
    assert len(backend.requests) == 3


def test_a_reload_can_set_a_limit(stage):
    backend, daemon = start(stage)
    assert daemon.chat(SMALL).status == 200
    daemon.write_config(make_config([backend.entry(auth=AUTH)], {"clients": clients(requests_per_minute=1)}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    assert daemon.chat(SMALL).status == 200
    check_refusal(daemon.chat(SMALL))


def test_the_access_line_names_the_client(stage):
    _, daemon = start(stage, requests_per_minute=1)
    for key, status, name in ((SMALL, 200, "small"), (SMALL, 429, "small"), (OTHER, 200, "other"), ([], 401, "-")):
        before = len(daemon.find_lines("POST /openai/deployments/gpt-4o/"))
        assert daemon.chat(key).status == status
        line = daemon.wait_for_line("POST /openai/deployments/gpt-4o/", before + 1)
        assert f" {name} POST " in line
        assert f" {status} " in line
        assert "-key" not in line
