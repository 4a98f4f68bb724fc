"""Stored responses, files and their kin go to the resource that made them, and to no other."""
import json

import pytest

from harness import answers
from harness.resources import ELSEWHERE, MODEL, Resource, busy, make_on_second, response, served
from harness.stage import in_order


@pytest.fixture
def scene(stage):
    """Three resources in order of priority, so that what is not pinned goes to the first."""
    resources = [Resource(stage, name) for name in ("a", "b", "c")]
    daemon = stage.daemon(in_order(*(resource.backend for resource in resources)))
    return resources, daemon


@pytest.mark.parametrize("field", [
    lambda identity: {"previous_response_id": identity},
    lambda identity: {"input": [{"type": "item_reference", "id": identity}]},
    lambda identity: {"conversation": identity},
    lambda identity: {"conversation": {"id": identity}},
    lambda identity: {"tools": [{"type": "file_search", "vector_store_ids": [identity]}]},
    lambda identity: {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": identity}]}]},
    lambda identity: {"prompt": {"id": "pmpt_1", "variables": {"doc": {"type": "input_file", "file_id": identity}}}},
], ids=["previous response", "item reference", "conversation", "conversation object", "vector store", "file", "file in a variable"])
def test_a_request_that_refers_to_something_goes_to_its_resource(scene, field):
    resources, daemon = scene
    identity = make_on_second(resources, daemon)
    for _ in range(3):
        assert served(daemon.post("/responses", {**MODEL, **field(identity)})) == "two"


@pytest.mark.parametrize("unknown, backend", [(4000, "two"), (5000, "one")])
def test_so_many_ids_of_a_body_are_looked_up_and_no_more(scene, unknown, backend):
    """A body of nothing but ids would hold the loop for half a second."""
    resources, daemon = scene
    identity = make_on_second(resources, daemon)
    files = [f"file-{number}" for number in range(unknown)]
    assert served(daemon.post("/responses", {**MODEL, "file_ids": files, "previous_response_id": identity})) == backend


def test_a_replayed_item_with_an_id_binds_nothing(scene):
    resources, daemon = scene
    identity = make_on_second(resources, daemon)
    body = {**MODEL, "input": [{"type": "message", "id": identity, "role": "assistant", "content": "x"}]}
    assert served(daemon.post("/responses", body)) == "one"


def test_encrypted_reasoning_goes_back_to_its_resource(scene):
    resources, daemon = scene
    resources[0].next = ELSEWHERE
    resources[1].next = response("resp_x", {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA/b+c=="})
    assert served(daemon.post("/responses", {**MODEL, "store": False})) == "two"
    body = {**MODEL, "input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA/b+c=="}]}
    for _ in range(3):
        assert served(daemon.post("/responses", body)) == "two"


def test_what_a_stream_names_is_learned(scene):
    resources, daemon = scene
    resources[0].next = ELSEWHERE
    resources[1].next = answers.stream(*answers.RESPONSES)
    assert served(daemon.post("/responses", {**MODEL, "stream": True})) == "two"
    for _ in range(3):
        assert served(daemon.post("/responses", {**MODEL, "previous_response_id": "resp_1"})) == "two"


@pytest.mark.parametrize("path", ["/files", "/v1/vector_stores", "/openai/v1/batches", "/openai/assistants?api-version=x",
                                  "/openai/threads?api-version=x", "/conversations"])
def test_what_was_made_is_read_changed_and_deleted_where_it_is(scene, path):
    resources, daemon = scene
    resources[0].next = ELSEWHERE
    got = daemon.post(path, {"purpose": "x"})
    assert served(got) == "two", got
    below = path.replace("?", f"/{json.loads(got.body)['id']}?") if "?" in path else f"{path}/{json.loads(got.body)['id']}"
    before = len(resources[0].backend.requests)
    for method in ("GET", "POST", "DELETE"):
        assert served(daemon.call(method, below, body={} if method == "POST" else None)) == "two"
    assert len(resources[0].backend.requests) == before


def test_a_pinned_request_is_not_failed_over_and_the_answer_says_why(scene):
    resources, daemon = scene
    identity = make_on_second(resources, daemon)
    busy(resources[1])
    before = len(resources[0].backend.requests) + len(resources[2].backend.requests)
    got = daemon.post("/responses", {**MODEL, "previous_response_id": identity})
    assert got.status == 429
    assert "stores what this request refers to" in got.json["error"]["message"]
    attempts = got.header("x-aoai-lb-attempts")
    assert "one=skip:pinned" in attempts and "three=skip:pinned" in attempts and "two=429" in attempts, attempts
    assert 29000 <= int(got.header("retry-after-ms")) <= 30000
    assert len(resources[0].backend.requests) + len(resources[2].backend.requests) == before


def test_a_get_of_something_unknown_asks_in_turn(scene):
    resources, daemon = scene
    resources[2].known.add("resp_old")
    got = daemon.get("/responses/resp_old")
    assert served(got) == "three"
    assert got.header("x-aoai-lb-attempts") == "one=404,two=404,three=200"
    got = daemon.get("/responses/resp_old")
    assert got.header("x-aoai-lb-attempts") == "one=skip:pinned,two=skip:pinned,three=200"


def test_nobody_has_it_is_an_honest_404(scene):
    _, daemon = scene
    got = daemon.get("/v1/files/file-none")
    assert got.status == 404
    assert got.json["error"]["code"] == "not_found"
    assert got.header("x-aoai-lb-attempts") == "one=404,two=404,three=404"
    assert got.header("retry-after") is None


def test_at_most_three_are_asked(stage):
    resources = [Resource(stage, name) for name in "abcde"]
    daemon = stage.daemon(in_order(*(resource.backend for resource in resources)))
    assert daemon.get("/files/file-none").status == 404
    assert [len(resource.backend.requests) for resource in resources] == [1, 1, 1, 0, 0]


def test_a_delete_of_something_unknown_asks_one(scene):
    resources, daemon = scene
    assert daemon.call("DELETE", "/files/file-none").status == 404
    assert [len(resource.backend.requests) for resource in resources] == [1, 0, 0]


# ---- files in chat completions

V1 = "/v1/chat/completions"
AZURE = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


def chat_about(identity, padding=0, **more):
    parts = [{"type": "text", "text": "x" * padding + "Summarise."}, {"type": "file", "file": {"file_id": identity}}]
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}], **more}


@pytest.mark.parametrize("path", [V1, AZURE])
@pytest.mark.parametrize("padding", [0, 200_000])
def test_a_chat_about_a_file_goes_to_its_resource(scene, path, padding):
    resources, daemon = scene
    identity = make_on_second(resources, daemon, "/files", {"purpose": "user_data"})
    for _ in range(3):
        assert served(daemon.post(path, chat_about(identity, padding))) == "two"
    assert served(daemon.post(path, chat_about("file-unknown", padding))) == "one"


def test_a_file_that_was_read_or_uploaded_in_parts_is_known_to_chat(scene):
    resources, daemon = scene
    resources[0].next, resources[1].next = ELSEWHERE, answers.answer(body={"id": "upload_1", "file": {"id": "file-parts"}})
    assert served(daemon.post("/uploads/upload_1/complete", {"part_ids": []})) == "two"
    assert served(daemon.post(V1, chat_about("file-parts"))) == "two"
    resources[2].known.add("file-old")
    assert served(daemon.get("/files/file-old")) == "three"
    assert served(daemon.post(V1, chat_about("file-old"))) == "three"


@pytest.mark.parametrize("body", [
    lambda file, other: {"messages": [{"role": "user", "content": f'say "file_id":"{file}"'}]},
    lambda file, other: {"messages": [{"role": "user", "content": "x"}], "thread_id": other, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}}}}]},
    lambda file, other: {"messages": [{"role": "tool", "tool_call_id": file, "content": "x"}], "metadata": {"id": other}},
    lambda file, other: {"user": f"_file_id_{file}", "messages": [{"role": "user", "content": "snake_case_" * 999 + "file_id"}]},
    lambda file, other: {"file_ids": "x", "messages": [{"role": "user", "content": file}], "metadata": {"_": "_"}},
], ids=["in a text", "in a schema", "other ids", "underscores", "nearly"])
def test_a_chat_that_names_no_file_is_bound_to_nothing(scene, body):
    resources, daemon = scene
    file = make_on_second(resources, daemon, "/files", {"purpose": "user_data"})
    other = make_on_second(resources, daemon, "/openai/threads?api-version=x")
    assert served(daemon.post(V1, {"model": "gpt-4o", **body(file, other)})) == "one"


def test_a_chat_about_a_file_is_not_failed_over(scene):
    resources, daemon = scene
    identity = make_on_second(resources, daemon, "/files", {"purpose": "user_data"})
    busy(resources[1])
    got = daemon.post(AZURE, chat_about(identity))
    assert got.status == 429
    assert got.header("x-aoai-lb-attempts") == "one=skip:pinned,two=429(30000ms),three=skip:pinned"


@pytest.mark.parametrize("path, body", [
    (V1, chat_about), ("/responses", lambda identity: {**MODEL, "tools": [{"vector_store_ids": [identity]}]})])
def test_a_resource_that_does_not_serve_the_deployment_is_said_to_be_the_cause(stage, path, body):
    first, second = Resource(stage, "a"), Resource(stage, "b")
    daemon = stage.daemon(in_order(first.backend.entry(deployments={"other": "x"}), second.backend))
    identity = json.loads(daemon.post("/files", {"purpose": "user_data"}).body)["id"]
    got = daemon.post(path, body(identity))
    assert got.status == 404
    assert got.json["error"]["code"] == "DeploymentNotFound"
    assert "stores what this request refers to does not serve this deployment" in got.json["error"]["message"]
    assert got.header("x-aoai-lb-attempts") == "one=skip:not_serving,two=skip:pinned"
    assert not [request for request in second.backend.requests if "chat" in request.target or "responses" in request.target]


def test_two_backends_on_one_resource_both_serve_its_pins(stage):
    """A provisioned deployment and the standard one beside it share what is stored."""
    resource, other = Resource(stage, "a"), Resource(stage, "b")
    daemon = stage.daemon([{**resource.backend.entry(priority=1, deployments={"gpt-4o": "ptu"})},
                           {**resource.backend.entry(priority=2, deployments={"gpt-4o": "standard"})},
                           {**other.backend.entry(priority=3)}])
    identity = json.loads(daemon.post("/responses", MODEL).body)["id"]
    busy(resource)
    got = daemon.post("/responses", {**MODEL, "previous_response_id": identity})
    assert served(got) == "two", got
    assert got.header("x-aoai-lb-attempts").startswith("one=429")


def test_pins_outlive_a_reload(scene):
    resources, daemon = scene
    identity = make_on_second(resources, daemon)
    daemon.signal(1)
    daemon.wait_for_line("has been reloaded")
    assert served(daemon.post("/responses", {**MODEL, "previous_response_id": identity})) == "two"


def test_an_id_of_a_resource_that_is_gone_is_unknown(stage):
    first, second = Resource(stage, "a"), Resource(stage, "b")
    daemon = stage.daemon(in_order(first.backend, second.backend))
    identity = make_on_second([first, second], daemon)
    config = json.loads(daemon.config_path.read_text())
    config["backends"] = config["backends"][:1]
    daemon.write_config(config)
    daemon.signal(1)
    daemon.wait_for_line("has been reloaded")
    got = daemon.post("/responses", {**MODEL, "previous_response_id": identity})
    assert got.header("x-aoai-lb-attempts").startswith("one="), got


def test_two_workers_share_what_they_learn(stage):
    resources = [Resource(stage, name) for name in "ab"]
    daemon = stage.daemon(in_order(*(resource.backend for resource in resources)), workers=2)
    identity = make_on_second(resources, daemon)
    for _ in range(8):  # each on a connection of its own, so on either worker
        assert served(daemon.post("/responses", {**MODEL, "previous_response_id": identity})) == "two"
