"""Which deployment a request means, and which path it takes on a backend."""
import pytest

from harness import answers
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import in_order

MULTIPART = "multipart/form-data; boundary=frontier"


def multipart(*parts):
    """A multipart body of (name, value) and (name, file name, value)."""
    body = b""
    for name, *rest in parts:
        more = f'; filename="{rest[0]}"\r\nContent-Type: application/octet-stream' if len(rest) == 2 else ""
        body += f'--frontier\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + rest[-1] + b"\r\n"
    return body + b"--frontier--\r\n"


@pytest.fixture(scope="module")
def scene(shared_stage):
    """One backend for all names, alone."""
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend])


@pytest.fixture(scope="module")
def two_models(shared_stage):
    """Two backends, each for one deployment."""
    chat, embeddings = shared_stage.backend(), shared_stage.backend()
    daemon = shared_stage.daemon([chat.entry(deployments={"gpt-4o": "gpt-4o"}),
                                  embeddings.entry(deployments={"ada": "ada", "whisper": "whisper"})])
    return chat, embeddings, daemon


@pytest.fixture(scope="module")
def versioned(shared_stage):
    """A backend that is spoken to in Azure's deployment style."""
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(api_version="2024-10-21")])


def answered_by(daemon, method, path, headers=(), body=None):
    got = daemon.call(method, path, headers, body)
    assert got.status == 200, got
    return got.header("x-aoai-lb-backend")


# ---- deployment paths

def test_a_deployment_path_is_routed_by_its_segment(two_models):
    _, _, daemon = two_models
    assert answered_by(daemon, "POST", "/openai/deployments/gpt-4o/chat/completions", body={}) == "one"
    assert answered_by(daemon, "POST", "/openai/deployments/ada/embeddings", body={"input": "x"}) == "two"


def test_the_path_wins_over_the_bodys_model(two_models):
    _, _, daemon = two_models
    assert answered_by(daemon, "POST", "/openai/deployments/ada/embeddings", body={"model": "gpt-4o"}) == "two"


def test_a_deployment_path_needs_no_readable_body(two_models):
    _, _, daemon = two_models
    assert answered_by(daemon, "POST", "/openai/deployments/ada/embeddings", body=b"{broken") == "two"


def test_an_encoded_segment_means_the_same_deployment(two_models):
    _, _, daemon = two_models
    assert answered_by(daemon, "POST", "/openai/deployments/%61da/embeddings", body={}) == "two"


def test_repeated_slashes_merge(scene):
    backend, daemon = scene
    assert daemon.post("//openai//deployments/gpt-4o///chat/completions?api-version=2024-10-21", CHAT_BODY).status == 200
    assert backend.requests[-1].target == CHAT_PATH


# ---- OpenAI style

@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/v1/chat/completions", "/chat/completions"])
def test_openai_style_is_routed_by_the_bodys_model(two_models, path):
    chat, _, daemon = two_models
    before = len(chat.requests)
    assert answered_by(daemon, "POST", path, body={"model": "gpt-4o", "messages": []}) == "one"
    assert len(chat.requests) == before + 1
    assert chat.requests[-1].target == "/openai/v1/chat/completions"


@pytest.mark.parametrize("operation", ["/chat/completions", "/completions", "/embeddings", "/responses", "/images/generations",
                                       "/audio/speech"])
@pytest.mark.parametrize("prefix", ["/openai/v1", "/v1", ""])
def test_openai_style_goes_to_the_v1_api(scene, prefix, operation):
    backend, daemon = scene
    assert daemon.post(prefix + operation, {"model": "m"}).status == 200
    assert backend.requests[-1].target == "/openai/v1" + operation


@pytest.mark.parametrize("operation", ["/files", "/files/file-1/content", "/responses/resp_1", "/models/gpt-4o", "/vector_stores",
                                       "/batches", "/fine_tuning/jobs"])
@pytest.mark.parametrize("prefix", ["/openai/v1", "/v1", ""])
def test_resources_of_the_v1_api_are_reached_in_every_form(scene, prefix, operation):
    backend, daemon = scene
    assert daemon.get(prefix + operation + "?limit=2").status == 200
    assert backend.requests[-1].target == "/openai/v1" + operation + "?limit=2"


def test_the_query_of_openai_style_goes_on(scene):
    backend, daemon = scene
    assert daemon.post("/v1/responses?api-version=preview&x=1", {"model": "m"}).status == 200
    assert backend.requests[-1].target == "/openai/v1/responses?api-version=preview&x=1"


@pytest.mark.parametrize("body", [
    b'{"model":"ada"}',
    b'{"input":{"model":"gpt-4o"},"model":"ada"}',
    b'{"input":"\\"model\\":\\"gpt-4o\\"","model":"ada"}',
    b' \r\n\t{ "input" : [ "x" , { "model" : 1 } ] , "model" : "ada" , "n" : 1 }\n',
    b'{"input":"' + b"x" * 300_000 + b'","model":"ada"}',
    b'{"\\u006dodel":"ada"}',
    b'{"model":"\\u0061d\\u0061"}',
], ids=["alone", "after-a-nested-one", "after-one-in-a-string", "spaced-out", "late", "escaped-key", "escaped-value"])
def test_the_top_level_model_is_found(two_models, body):
    _, _, daemon = two_models
    assert answered_by(daemon, "POST", "/v1/embeddings", [("Content-Type", "application/json")], body) == "two"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_content_types_parameters_and_case_do_not_matter(two_models, content_type):
    _, _, daemon = two_models
    assert answered_by(daemon, "POST", "/v1/embeddings", [("Content-Type", content_type)], b'{"model":"ada"}') == "two"


def test_a_multipart_request_is_routed_by_its_model_part(two_models):
    _, embeddings, daemon = two_models
    body = multipart(("file", "a.wav", b"RIFF\r\n--front\r\n\x00\xff"), ("model", b"whisper"), ("language", b"en"))
    assert answered_by(daemon, "POST", "/v1/audio/transcriptions", [("Content-Type", MULTIPART)], body) == "two"
    assert embeddings.requests[-1].body == body
    assert embeddings.requests[-1].header("content-type") == MULTIPART


def test_a_multipart_model_with_a_file_name_is_no_model(two_models):
    _, _, daemon = two_models
    body = multipart(("model", "gpt-4o", b"gpt-4o"), ("model", b"whisper"))
    assert answered_by(daemon, "POST", "/v1/audio/transcriptions", [("Content-Type", MULTIPART)], body) == "two"


@pytest.mark.parametrize("body", [b"{}", b'{"model":7}', b'{"model":null}', b'{"model":""}', b'{"model":["gpt-4o"]}', b"[]",
                                  b"", b"{", b'{"model":"gpt-4o"', b'{"model":"gpt-4o"}}', b'{"model":"gpt-4o",}',
                                  b'{"model":"gpt\xff\n4o"}'])
def test_an_openai_chat_without_a_readable_model_is_refused(scene, body):
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.call("POST", "/v1/chat/completions", [("Content-Type", "application/json")], body)
    assert got.status == 400
    assert isinstance(got.json["error"]["message"], str)
    assert len(backend.requests) == before


# ---- Azure's other paths

def test_azures_responses_path_is_routed_by_the_bodys_model(two_models):
    _, embeddings, daemon = two_models
    assert answered_by(daemon, "POST", "/openai/responses?api-version=2025-03-01-preview",
                       body={"model": "ada", "input": "x"}) == "two"
    assert embeddings.requests[-1].target == "/openai/responses?api-version=2025-03-01-preview"


@pytest.mark.parametrize("path", ["/chat/completions", "/embeddings", "/responses", "/images/generations"])
def test_azures_paths_without_an_api_version_are_v1(two_models, path):
    """What an SDK sends whose base URL ends in /openai; Azure has no such path of its own."""
    _, embeddings, daemon = two_models
    assert answered_by(daemon, "POST", f"/openai{path}?a=b", body={"model": "ada"}) == "two"
    assert embeddings.requests[-1].target == f"/openai/v1{path}?a=b"


def test_what_names_no_deployment_goes_to_the_first_backend(stage):
    first, second = stage.backend(), stage.backend()
    daemon = stage.daemon([second.entry(priority=2), first.entry(priority=1)])
    for method, path in (("GET", "/openai/files?api-version=1"), ("GET", "/openai/batches"), ("GET", "/v1/files"),
                         ("POST", "/openai/threads"), ("DELETE", "/openai/assistants/a")):
        assert answered_by(daemon, method, path, body={} if method == "POST" else None) == "two"
    assert not second.requests


def test_what_names_no_deployment_goes_to_the_next_backend_when_the_first_is_down(stage):
    second = stage.backend()
    daemon = stage.daemon(in_order(stage.nobody(), second))
    assert answered_by(daemon, "GET", "/openai/files") == "two"


# ---- a backend with an api_version

@pytest.mark.parametrize("operation", ["/chat/completions", "/completions", "/embeddings", "/images/generations", "/audio/speech"])
@pytest.mark.parametrize("prefix", ["/openai/v1", "/v1", ""])
def test_an_api_version_sends_openai_style_to_the_deployment_path(versioned, prefix, operation):
    backend, daemon = versioned
    assert daemon.post(prefix + operation, {"model": "my-model"}).status == 200
    assert backend.requests[-1].path == "/openai/deployments/my-model" + operation
    assert backend.requests[-1].query == "api-version=2024-10-21"


def test_an_api_version_sends_multipart_to_the_deployment_path(versioned):
    backend, daemon = versioned
    body = multipart(("file", "a.wav", b"RIFF"), ("model", b"whisper"))
    assert daemon.call("POST", "/v1/audio/transcriptions", [("Content-Type", MULTIPART)], body).status == 200
    assert backend.requests[-1].target == "/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21"


def test_an_api_version_leaves_responses_on_the_v1_api(versioned):
    backend, daemon = versioned
    assert daemon.post("/v1/responses", {"model": "m", "input": "x"}).status == 200
    assert backend.requests[-1].target == "/openai/v1/responses"


def test_an_api_version_leaves_deployment_paths_alone(versioned):
    backend, daemon = versioned
    assert daemon.post("/openai/deployments/m/chat/completions?api-version=2023-05-15", {}).status == 200
    assert backend.requests[-1].target == "/openai/deployments/m/chat/completions?api-version=2023-05-15"


def test_an_api_version_is_not_given_twice(versioned):
    backend, daemon = versioned
    assert daemon.post("/v1/embeddings?api-version=preview&x=1", {"model": "m"}).status == 200
    assert backend.requests[-1].path == "/openai/deployments/m/embeddings"
    assert sorted(backend.requests[-1].query.split("&")) == ["api-version=2024-10-21", "x=1"]


def test_the_path_style_is_decided_per_attempt(stage):
    first, second, third = stage.backend(answers.wait_ms(9000)), stage.backend(answers.wait_ms(9000)), stage.backend()
    daemon = stage.daemon(in_order(first.entry(api_version="2024-10-21"), second,
                                   third.entry(api_version="2025-01-01-preview")))
    assert daemon.post("/v1/chat/completions", {"model": "gpt-4o"}).status == 200
    assert first.request.target == "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    assert second.request.target == "/openai/v1/chat/completions"
    assert third.request.target == "/openai/deployments/gpt-4o/chat/completions?api-version=2025-01-01-preview"


# ---- what is nowhere

@pytest.mark.parametrize("path", ["/", "/unknown", "/openaix/v1/chat/completions", "/v2/chat/completions", "/metrics", "/status",
                                  "/status.json", "/reload", "/v1x/embeddings", "/health", "/favicon.ico"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_a_404(scene, method, path):
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.call(method, path, body={"model": "m"} if method == "POST" else None)
    assert got.status == 404
    assert got.header("content-type").startswith("application/json")
    error = got.json["error"]
    assert set(error) == {"code", "message", "type", "param"}
    assert error["param"] is None
    assert len(backend.requests) == before


def test_a_deployment_that_nobody_serves_is_a_404(two_models):
    chat, embeddings, daemon = two_models
    before = len(chat.requests) + len(embeddings.requests)
    for path, body in (("/openai/deployments/unknown/chat/completions", {}), ("/v1/chat/completions", {"model": "unknown"}),
                       ("/openai/responses", {"model": "unknown"})):
        got = daemon.post(path, body)
        assert got.status == 404
        assert got.json["error"]["code"] == "DeploymentNotFound"
    assert len(chat.requests) + len(embeddings.requests) == before


def test_a_websocket_is_not_implemented(scene):
    _, daemon = scene
    got = daemon.get("/openai/v1/realtime?model=gpt-4o-realtime",
                     [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
    assert got.status == 501
    assert got.json["error"]["message"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_and_readiness_are_200(scene, path):
    _, daemon = scene
    assert daemon.get(path).status == 200
    assert daemon.call("HEAD", path).status == 200


def test_failing_backends_do_not_change_readiness(stage):
    backend = stage.backend(answers.wait_ms(60000))
    daemon = stage.daemon([backend])
    assert daemon.chat().status == 429
    assert daemon.get("/readyz").status == 200
    assert daemon.get("/healthz").status == 200


def test_health_answers_with_and_without_the_base_path(stage):
    daemon = stage.daemon([stage.backend()], listen={"base_path": "/api/v1"})
    for path in ("/healthz", "/readyz", "/api/v1/healthz", "/api/v1/readyz"):
        assert daemon.get(path).status == 200
