"""The list of models: made here where the configuration knows all names, else a backend's."""
import pytest

from harness import answers
from harness.stage import in_order

AUTH = {"type": "api_key", "key": "k"}
PATHS = ["/models", "/v1/models", "/openai/v1/models", "/openai/models?api-version=2024-10-21"]


@pytest.mark.parametrize("path", PATHS)
def test_with_complete_maps_the_list_is_made_here(stage, path):
    first, second = stage.backend(), stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"gpt-4o": "a", "ada": "b"}), second.entry(deployments={"gpt-4o": "c", "whisper": "d"})))
    got = daemon.get(path)
    assert got.status == 200
    assert got.json["object"] == "list"
    assert sorted(model["id"] for model in got.json["data"]) == ["ada", "gpt-4o", "whisper"]
    assert {model["object"] for model in got.json["data"]} == {"model"}
    assert first.accepted == second.accepted == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("maps", [[None, {"a": "b"}], [{"a": "b", "*": "c"}, {"a": "b"}]], ids=["no-map", "star"])
def test_with_an_open_map_the_list_is_a_backends(stage, path, maps):
    body = {"object": "list", "data": [{"id": "from-the-backend"}]}
    backends = [stage.backend(default=answers.ok(body)) for _ in maps]
    entries = [backend.entry(deployments=names) if names else backend for backend, names in zip(backends, maps)]
    daemon = stage.daemon(in_order(*entries))
    got = daemon.get(path)
    assert got.status == 200
    assert got.json == body
    assert backends[0].request.target.startswith("/openai/v1/models" if "api-version" not in path else "/openai/models?")


def test_a_client_sees_what_it_may_use(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth=AUTH, deployments={"gpt-4o": "a", "ada": "b", "whisper": "c"})], clients=[
        {"name": "some", "key": "some-key-1", "deployments": ["ada", "gpt-4o", "unknown"]}, {"name": "all", "key": "all-key-1"}])
    seen = {key: sorted(model["id"] for model in daemon.get("/v1/models", [("api-key", key)]).json["data"])
            for key in ("some-key-1", "all-key-1")}
    assert seen == {"some-key-1": ["ada", "gpt-4o"], "all-key-1": ["ada", "gpt-4o", "whisper"]}
    assert daemon.get("/v1/models").status == 401


def test_a_post_to_models_is_not_the_list(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(deployments={"gpt-4o": "a"})])
    assert daemon.call("DELETE", "/v1/models/ft-1").header("x-aoai-lb-backend") == "one"
