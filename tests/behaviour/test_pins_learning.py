"""What is learned from answers: everything that a caller may ask for again, and nothing that merely looks like it."""
import json

import pytest

from harness import answers
from harness.resources import ELSEWHERE, MODEL, Resource, make_on_second, response, served, stored
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


def test_what_one_backend_made_is_known_when_a_second_one_comes(stage):
    old, new = Resource(stage, "a"), Resource(stage, "b")
    daemon = stage.daemon(in_order(old.backend))
    made = json.loads(daemon.post("/responses", MODEL).body)["id"]
    old.known.add("file-before")
    assert daemon.get("/files/file-before").status == 200
    config = json.loads(daemon.config_path.read_text())
    config["backends"] = [{"name": "new", **new.backend.entry()}, {**config["backends"][0], "priority": 2}]
    daemon.write_config(config)
    daemon.signal(1)
    daemon.wait_for_line("has been reloaded")
    assert served(daemon.post("/responses", MODEL)) == "new"
    assert served(daemon.post("/responses", {**MODEL, "previous_response_id": made})) == "one"
    assert served(daemon.call("DELETE", "/files/file-before")) == "one"


@pytest.mark.parametrize("path", ["/videos", "/openai/v1/video/generations/jobs",
                                  "/openai/video/generations/jobs?api-version=preview"])
def test_videos_are_read_and_deleted_where_they_were_made(scene, path):
    resources, daemon = scene
    resources[0].next = ELSEWHERE
    resources[1].next = answers.answer(status=201, body={"object": "video", "id": "video_1", "status": "queued"})
    got = daemon.post(path, {"model": "sora-2", "prompt": "A cat."})
    assert got.status == 201 and got.header("x-aoai-lb-backend") == "two", got
    before = len(resources[0].backend.requests)
    for method in ("GET", "DELETE"):
        resources[1].next = stored("video_1", "video")
        operation, _, query = path.partition("?")
        assert served(daemon.call(method, f"{operation}/video_1?{query}")) == "two"
    assert len(resources[0].backend.requests) == before


def refer(daemon, item):
    return served(daemon.post("/responses", {**MODEL, "input": [{"type": "item_reference", "id": item}]}))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_so_many_items_of_an_answer_are_learned_and_no_more(scene, streamed):
    """Else a few long answers would displace what everybody else has stored. Its own id counts in any case."""
    resources, daemon = scene
    items = [{"type": "message", "id": f"msg_{number}", "content": []} for number in range(200)]
    resources[0].next = ELSEWHERE
    if streamed:
        events = [answers.typed("response.created", response={"id": "resp_long"})]
        for kind in ("added", "done"):  # each is named several times, and counts once
            events += [answers.typed(f"response.output_item.{kind}", item=item) for item in items]
        events.append(answers.typed("response.completed", response={"id": "resp_long", "output": items}))
        resources[1].next = answers.stream(*events)
    else:
        resources[1].next = response("resp_long", *items)
    got = daemon.post("/responses", {**MODEL, "stream": streamed})
    assert served(got) == "two"
    assert [refer(daemon, f"msg_{number}") for number in (0, 15, 16, 199)] == ["two", "two", "one", "one"]
    assert served(daemon.post("/responses", {**MODEL, "previous_response_id": "resp_long"})) == "two"


def test_so_many_things_that_an_answer_refers_to_are_learned_and_no_more(scene):
    resources, daemon = scene
    cites = [{"type": "file_citation", "file_id": f"file-{number}"} for number in range(40)]
    resources[0].next = ELSEWHERE
    resources[1].next = response("resp_cites", {"type": "message", "content": [{"annotations": cites + cites}]})
    assert served(daemon.post("/responses", MODEL)) == "two"
    backends = [served(daemon.post("/responses", {**MODEL, "file_ids": [f"file-{number}"]})) for number in (0, 31, 32)]
    assert backends == ["two", "two", "one"]
