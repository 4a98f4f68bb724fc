"""What the operator reads."""
import json
import re

import pytest

from harness import answers
from harness.client import wait_for
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import in_order

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) \S")
ACCESS = r"POST /openai/deployments/gpt-4o/chat/completions"


def access_line(daemon, pattern=ACCESS, count=1):
    return daemon.wait_for_line(pattern, count)


def test_every_record_has_its_time_and_level(stage):
    daemon = stage.daemon(in_order(stage.backend(answers.wait_ms(100)), stage.nobody(), stage.backend()))
    daemon.chat()
    access_line(daemon)
    assert [line for line in daemon.lines if not RECORD.match(line)] == []


def test_it_says_where_it_listens(stage):
    daemon = stage.daemon([stage.backend()])
    assert len(daemon.find_lines(rf"info Listening on http://127\.0\.0\.1:{daemon.port}\b")) == 1


def test_each_attempt_has_its_proxying_line(stage):
    first, second = stage.backend(answers.wait_ms(9_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    daemon.chat()
    access_line(daemon)
    lines = daemon.find_lines("Proxying to ")
    assert len(lines) == 2
    for line, backend in zip(lines, (first, second)):
        assert f" info Proxying to {backend.url}{CHAT_PATH}" in line


def test_a_proxying_line_names_the_backends_own_deployment(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(deployments={"gpt-4o": "gpt-4o-ptu"})])
    daemon.chat()
    assert f"{backend.url}/openai/deployments/gpt-4o-ptu/chat/completions" in daemon.wait_for_line("Proxying to ")


def test_a_cool_down_and_the_recovery_are_told(stage):
    first, second = stage.backend(answers.wait_ms(400)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    daemon.chat()
    line = daemon.wait_for_line(r"cooling down")
    assert "Backend one deployment gpt-4o cooling down for 400 ms (retry-after-ms)" in line
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", 5, "the return of the first backend")
    line = daemon.wait_for_line(r"available again")
    assert "Backend one deployment gpt-4o" in line
    assert len(daemon.find_lines("cooling down")) == 1
    assert len(daemon.find_lines("available again")) == 1


@pytest.mark.parametrize("header, source", [(("Retry-After", "3"), "retry-after"), (("x-ratelimit-reset-tokens", "3"), "x-ratelimit-reset-tokens"),
                                            (("X-Nothing", "3"), "default")])
def test_a_cool_down_names_its_hint(stage, header, source):
    daemon = stage.daemon(in_order(stage.backend(answers.throttled(header)), stage.backend()))
    daemon.chat()
    assert f"({source})" in daemon.wait_for_line("cooling down for")


def test_each_request_has_one_access_line(stage):
    first, second = stage.backend(answers.wait_ms(60_000)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    for number in range(1, 4):
        daemon.chat()
        line = access_line(daemon, count=number)
        assert re.search(r"\b200\b", line)
        assert "gpt-4o" in line
    assert len(daemon.find_lines(ACCESS)) == 3


def test_an_access_line_tells_the_attempts_and_tokens(stage):
    daemon = stage.daemon(in_order(stage.backend(answers.wait_ms(60_000)), stage.backend()))
    daemon.chat()
    line = access_line(daemon)
    assert "one=429" in line
    assert "two=200" in line
    assert re.search(r"\b14\b", line), "prompt tokens"
    assert re.search(r"\b3\b", line), "completion tokens"


def test_a_streams_tokens_are_told(stage):
    usage = answers.event({"id": "c", "object": "chat.completion.chunk", "choices": [],
                           "usage": {"prompt_tokens": 4711, "completion_tokens": 815, "total_tokens": 5526}})
    daemon = stage.daemon([stage.backend(answers.stream(answers.HELLO, answers.STOP, usage, answers.DONE))])
    daemon.chat(stream=True)
    line = access_line(daemon)
    assert "4711" in line
    assert "815" in line


@pytest.mark.parametrize("status, ask", [
    (404, lambda daemon: daemon.get("/unknown-path")),
    (400, lambda daemon: daemon.post("/v1/chat/completions", {})),
])
def test_a_refusal_has_its_access_line(stage, status, ask):
    daemon = stage.daemon([stage.backend()])
    got = ask(daemon)
    assert got.status == status
    daemon.wait_for_line(rf"(GET /unknown-path|POST /v1/chat/completions).*\b{status}\b")


def test_an_exhausted_request_has_its_access_line(stage):
    daemon = stage.daemon([stage.backend(answers.wait_ms(1_000))])
    daemon.chat()
    assert re.search(r"\b429\b", access_line(daemon))


def test_log_requests_false_turns_proxying_and_access_lines_off(stage):
    daemon = stage.daemon(in_order(stage.backend(answers.wait_ms(1_000)), stage.backend()), log={"requests": False})
    daemon.chat()
    daemon.wait_for_line("cooling down")
    daemon.stop()
    assert not daemon.find_lines("Proxying to")
    assert not daemon.find_lines(ACCESS)


def test_a_higher_level_leaves_lower_records_out(stage):
    config_lines = stage.daemon([stage.backend()], log={"level": "debug"})
    config_lines.chat()
    access_line(config_lines)
    assert config_lines.find_lines(" info ")


def test_json_form_is_one_object_a_line(stage):
    backend = stage.backend(answers.wait_ms(7_000))
    daemon = stage.daemon(in_order(backend, stage.backend()), log={"format": "json"})
    daemon.chat()
    access_line(daemon)
    records = [json.loads(line) for line in daemon.lines]
    for record in records:
        assert {"time", "level", "event", "message"} <= set(record)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert record["level"] in ("debug", "info", "warning", "error")
    messages = [record["message"] for record in records]
    assert f"Proxying to {backend.url}{CHAT_PATH}" in " ".join(messages)
    assert any("Backend one deployment gpt-4o cooling down for 7000 ms (retry-after-ms)" in message for message in messages)


# ---- what never appears

SECRETS = ["backend-secret", "caller-secret", "prompt-secret", "answer-secret", "query-secret", "bearer-secret"]


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_prompts_and_answers_never_appear(stage, level, form):
    first = stage.backend(answers.error(500, "500", "answer-secret"), answers.stream(answers.delta(content="answer-secret")))
    second = stage.backend(default=answers.ok({"choices": [{"message": {"content": "answer-secret"}}]}))
    daemon = stage.daemon([first.entry(auth={"type": "api_key", "key": "backend-secret"}), second.entry(priority=2)],
                          log={"level": level, "format": form}, cooldown={"server_error_ms": 10})
    body = {"messages": [{"role": "user", "content": "prompt-secret"}]}
    headers = [("api-key", "caller-secret"), ("Authorization", "Bearer bearer-secret"), ("Cookie", "c=caller-secret")]
    for path in (CHAT_PATH + "&api-key=query-secret", CHAT_PATH + "&x=1&api%2Dkey=query-secret&y=2"):
        with daemon.client() as client:
            client.request("POST", path, headers, body)
            client.read_head()
    daemon.get("/unknown?api-key=query-secret", headers)
    daemon.call("POST", "/v1/chat/completions", headers, b'{"model":7,"x":"prompt-secret"')
    daemon.call("GET", "http://user:query-secret@host/openai/files?api-key=query-secret", headers)
    daemon.stop()
    text = "\n".join(daemon.lines + daemon.errors)
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_callers_text_is_escaped_and_cut(stage):
    daemon = stage.daemon([stage.backend()])
    daemon.get("/unknown-path/" + "a" * 3000)
    line = daemon.wait_for_line("/unknown-path/")
    assert "a" * 200 in line
    assert "a" * 257 not in line


def test_a_callers_text_cannot_forge_a_line(stage):
    daemon = stage.daemon([stage.backend()])
    body = {"model": "x\n2026-11-22T10:15:30.123Z info Forged", "messages": []}
    assert daemon.post("/v1/chat/completions", body).status == 400
    daemon.call("POST", "/openai/deployments/a%0a2026-11-22T10:15:30.123Z%20info%20Forged/chat/completions", body=CHAT_BODY)
    daemon.call("POST", "/v1/embeddings", [("User-Agent", "\x1b[31mred\x85")], body={"model": "é\u2028x"})
    daemon.stop()
    assert [line for line in daemon.lines if not RECORD.match(line)] == []
    assert not any("\x1b" in line for line in daemon.lines)
