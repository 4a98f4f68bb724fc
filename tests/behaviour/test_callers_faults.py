"""What is the caller's own fault passes unchanged, is not tried elsewhere, and cools nothing."""
import json

import pytest

from harness import answers
from harness.stage import in_order

CONTENT_FILTER = {"error": {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None, "param": "prompt", "code": "content_filter", "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}}}
TOO_LONG = {"error": {"message": "This model's maximum context length is 128000 tokens.", "type": "invalid_request_error",
                      "param": "messages", "code": "context_length_exceeded"}}


def passed(stage, status, body, headers=()):
    """The fault comes back as it is; the next request goes to the same backend."""
    first, second = stage.backend(answers.answer(status, [("Content-Type", "application/json"), *headers], body)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    got = daemon.chat()
    assert got.status == status
    assert got.body == body
    assert got.header("content-type") == "application/json"
    assert got.header("x-aoai-lb-backend") == "one"
    assert got.header("x-aoai-lb-attempts") == f"one={status}"
    assert not second.requests
    again = daemon.chat()
    assert again.status == 200
    assert again.header("x-aoai-lb-backend") == "one"
    assert not daemon.find_lines("cooling down")
    return got


@pytest.mark.parametrize("fault", [CONTENT_FILTER, TOO_LONG], ids=["content-filter", "context-length"])
def test_a_400_passes(stage, fault):
    passed(stage, 400, json.dumps(fault).encode())


@pytest.mark.parametrize("status", [402, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 424, 426, 428, 431, 451])
def test_another_4xx_passes(stage, status):
    passed(stage, status, b'{"error":{"code":"x","message":"y"}}')


def test_its_headers_pass(stage):
    got = passed(stage, 400, b"{}", [("apim-request-id", "77"), ("x-ms-region", "Sweden Central")])
    assert got.header("apim-request-id") == "77"
    assert got.header("x-ms-region") == "Sweden Central"


def test_an_empty_4xx_passes(stage):
    passed(stage, 400, b"")


def test_a_large_4xx_passes_whole(stage):
    passed(stage, 400, b'{"error":"' + b"x" * 300_000 + b'"}')


def test_a_success_other_than_200_passes(stage):
    backend = stage.backend(answers.answer(201, [], b'{"id":"file-1"}'))
    daemon = stage.daemon([backend])
    got = daemon.post("/openai/files", {})
    assert got.status == 201
    assert got.body == b'{"id":"file-1"}'


def test_a_filtered_output_is_a_success(stage):
    body = {**answers.COMPLETION, "choices": [{"index": 0, "finish_reason": "content_filter", "message": {"role": "assistant"}}]}
    first, second = stage.backend(answers.ok(body)), stage.backend()
    daemon = stage.daemon(in_order(first, second))
    assert daemon.chat().json == body
    assert not second.requests
