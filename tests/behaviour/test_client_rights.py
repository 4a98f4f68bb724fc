"""What a configured client may do, in what order it is refused, and that no trick gets it further."""
import gzip
import json

import pytest

from harness.client import request_bytes

AUTH = {"type": "api_key", "key": "the-backends-own-key"}
LIMITED = [("api-key", "limited-key")]
RESOURCES = [("api-key", "resources-key")]


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    daemon = shared_stage.daemon([backend.entry(auth=AUTH)], clients=[
        {"name": "limited", "key": "limited-key", "deployments": ["gpt-4o"]},
        {"name": "resources", "key": "resources-key", "deployments": ["gpt-4o"], "resource_paths": True},
    ])
    return backend, daemon


def refused(scene, status, method, target, headers=(), body=None):
    """The status that the request gets; no backend sees it."""
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.call(method, target, headers, body)
    assert got.status == status, got
    assert got.json["error"]["message"]
    assert len(backend.requests) == before
    return got


# ---- an allowed model opens no other door

@pytest.mark.parametrize("path", ["/openai/batches?api-version=1", "/openai/threads/t1/runs?api-version=1",
                                  "/openai/responses/resp_123/cancel?api-version=1", "/openai/v1/batches", "/v1/batches",
                                  "/v1/fine_tuning/jobs", "/openai/assistants?api-version=1"])
def test_a_named_model_does_not_replace_resource_paths(scene, path):
    refused(scene, 403, "POST", path, LIMITED, {"model": "gpt-4o", "input_file_id": "file-1"})


@pytest.mark.parametrize("path", ["/openai/batches?api-version=1", "/openai/threads/t1/runs?api-version=1",
                                  "/openai/responses/resp_123/cancel?api-version=1"])
def test_with_resource_paths_they_are_open(scene, path):
    _, daemon = scene
    assert daemon.post(path, {"model": "gpt-4o"}, RESOURCES).status == 200


@pytest.mark.parametrize("path", ["/openai/responses?api-version=1", "/v1/responses", "/responses"])
def test_responses_of_an_allowed_model_are_open_to_all(scene, path):
    _, daemon = scene
    assert daemon.post(path, {"model": "gpt-4o"}, LIMITED).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/openai/v1/models", "/models"])
def test_a_forwarded_list_of_models_is_open_to_all(scene, path):
    _, daemon = scene
    assert daemon.get(path, LIMITED).status == 200


# ---- a body that hides its model

FORBIDDEN = json.dumps({"model": "forbidden", "input": "Hello"}).encode()
UNREADABLE = {
    "a byte order mark": b"\xef\xbb\xbf" + FORBIDDEN,
    "UTF-16": FORBIDDEN.decode().encode("utf-16"),
    "UTF-16 without a mark": FORBIDDEN.decode().encode("utf-16-le"),
    "single quotes": FORBIDDEN.replace(b'"', b"'"),
    "cut off": FORBIDDEN[:-1],
    "a comment in front": b"/* */" + FORBIDDEN,
    "a trailing comma": FORBIDDEN[:-1] + b",}",
    "something behind it": FORBIDDEN + b"{}",
    "an allowed one in front": b'{"model":"gpt-4o"}' + FORBIDDEN,
    "a form": b"model=forbidden&input=Hello",
    "no JSON at all": b"Hello",
    "two models": b'{"model":"gpt-4o","model":"forbidden"}',
    "two models, one escaped": b'{"model":"gpt-4o","\\u006dodel":"forbidden"}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=[name.replace(" ", "-") for name in UNREADABLE])
@pytest.mark.parametrize("key", [LIMITED, RESOURCES], ids=["limited", "resources"])
def test_a_model_that_cannot_be_read_is_refused(scene, key, body):
    refused(scene, 400, "POST", "/openai/responses?api-version=1", key, body)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
                                  "multipart/form-data"])
def test_a_type_that_is_no_json_hides_no_model(scene, kind):
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.call("POST", "/openai/responses?api-version=1", [*RESOURCES, ("Content-Type", kind)], FORBIDDEN)
    assert got.status in (400, 403, 415)
    assert len(backend.requests) == before


def test_a_coding_hides_no_model(scene):
    refused(scene, 415, "POST", "/openai/responses?api-version=1", [*RESOURCES, ("Content-Encoding", "gzip")],
            gzip.compress(FORBIDDEN))


def test_an_escaped_name_is_compared_unescaped(scene):
    refused(scene, 403, "POST", "/openai/responses?api-version=1", RESOURCES, b'{"\\u006dodel":"forbidden"}')


# ---- which refusal comes first

@pytest.mark.parametrize("method, headers", [
    ("POST", [("Connection", "Upgrade"), ("Upgrade", "websocket")]),
    ("POST", [("Expect", "a-miracle")]),
    ("BREW", []),
    ("TRACE", []),
], ids=["501-upgrade", "417", "501-method", "405"])
def test_a_missing_key_comes_before_other_refusals(scene, method, headers):
    refused(scene, 401, method, "/v1/chat/completions", headers)


def test_a_connect_without_a_key_is_a_401(scene):
    refused(scene, 401, "CONNECT", "api.example:443")


@pytest.mark.parametrize("method, headers, status", [
    ("GET", [("Connection", "Upgrade"), ("Upgrade", "websocket")], 501),
    ("POST", [("Expect", "a-miracle")], 417),
    ("BREW", [], 501),
    ("TRACE", [], 405),
])
def test_with_a_key_they_are_told(scene, method, headers, status):
    refused(scene, status, method, "/v1/chat/completions", LIMITED + headers)


@pytest.mark.parametrize("headers, target, status", [
    ([], "/openai/deployments/gpt-4o/chat/completions", 401),
    (LIMITED, "/openai/deployments/forbidden/chat/completions", 403),
    (LIMITED, "/openai/deployments/%66orbidden/chat/completions", 403),
    (LIMITED, "/v1/files", 403),
    (LIMITED, "/openai/files?api-version=1", 403),
])
def test_a_right_known_to_be_missing_is_told_before_the_body_is_asked_for(scene, headers, target, status):
    backend, daemon = scene
    before = len(backend.requests)
    with daemon.client() as client:
        client.send(request_bytes("POST", target, [*headers, ("Expect", "100-continue"), ("Content-Length", "5000")]))
        got = client.read_head(interim=True)
        assert got.status == status
    assert len(backend.requests) == before


def test_an_allowed_body_is_asked_for(scene):
    _, daemon = scene
    with daemon.client() as client:
        client.send(request_bytes("POST", "/openai/deployments/gpt-4o/chat/completions",
                                  [*LIMITED, ("Expect", "100-continue"), ("Content-Length", "2")]))
        assert client.read_head(interim=True).status == 100
        client.send(b"{}")
        assert client.read_answer().status == 200
