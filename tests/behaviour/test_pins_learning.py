"""What is learned from answers: everything that a caller may ask for again, and nothing that merely looks like it."""
import json

import pytest

from harness import answers
from harness.resources import ELSEWHERE, MODEL, Resource, make_on_second, served
from harness.stage import in_order


@pytest.fixture
def scene(stage):
    """Two resources in order of priority, so that what is not pinned goes to the first."""
    resources = [Resource(stage, name) for name in ("a", "b")]
    daemon = stage.daemon(in_order(*(resource.backend for resource in resources)))
    return resources, daemon


def echo(exchange):
    """A response that repeats the request's fields, as Azure's do."""
    body = json.loads(exchange.request.body)
    answers.answer(body={"id": "resp_echo", "object": "response", "output": [], **body})(exchange)


OWN_WORDS = {
    "metadata": {"metadata": {"container": "checkout", "conversation_id": "42", "file_id": "7"}},
    "prompt variables": {"prompt": {"id": "pmpt_1", "variables": {"thread_id": "main", "file_id": "summer"}}},
    "attributes": {"attributes": {"container": "blue"}},
    "a function's parameters": {"tools": [{"type": "function", "name": "f", "parameters": {
        "type": "object", "properties": {"container": {"type": "string"}}, "examples": [{"container": "green"}]}}]},
    "a schema": {"text": {"format": {"type": "json_schema", "schema": {"default": {"assistant_id": "ada"}}}}},
    "headers for a tool's server": {"tools": [{"type": "mcp", "headers": {"container": "red"}}]},
}


def test_what_callers_name_as_they_like_binds_nothing(scene):
    resources, daemon = scene
    for what, fields in OWN_WORDS.items():
        resources[0].next = echo
        assert served(daemon.post("/responses", {**MODEL, **fields})) == "one", what
        resources[0].next = ELSEWHERE
        got = daemon.post("/responses", {**MODEL, **fields})
        assert got.header("x-aoai-lb-attempts") == "one=501,two=200", what


def test_a_reference_behind_free_words_still_binds(scene):
    resources, daemon = scene
    identity = make_on_second(resources, daemon)
    body = {**MODEL, "metadata": {"container": "x", "odd": "} \" {"}, "tools": [{"parameters": {"a": [{"b": {}}]}}],
            "previous_response_id": identity}
    assert served(daemon.post("/responses", body)) == "two"
