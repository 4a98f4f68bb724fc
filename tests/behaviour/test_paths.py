"""What a caller cannot do."""
import gzip
import json

import pytest

from harness import answers
from harness.daemon import CHAT_BODY, CHAT_PATH

JSON = [("Content-Type", "application/json")]


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(auth={"type": "api_key", "key": "k"})])


@pytest.fixture(scope="module")
def versioned(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(api_version="2024-10-21")])


def refused(scene, status, method="POST", target=CHAT_PATH, headers=(), body=b"{}", **options):
    """The request is refused by the daemon itself, and no backend is sent a thing."""
    backend, daemon = scene
    before = len(backend.requests)
    with daemon.client() as client:
        client.request(method, target, headers, body, **options)
        got = client.read_answer(method)
    assert got.status == status, got
    if method != "HEAD":
        assert isinstance(got.json["error"]["message"], str)
    assert len(backend.requests) == before
    return got


# ---- choose where the daemon connects

def test_an_absolute_targets_authority_chooses_nothing(scene):
    backend, daemon = scene
    elsewhere = f"http://127.0.0.1:1{CHAT_PATH}"
    assert daemon.post(elsewhere, CHAT_BODY).status == 200
    assert backend.requests[-1].target == CHAT_PATH
    assert backend.requests[-1].header("host") == backend.authority


@pytest.mark.parametrize("host", ["127.0.0.1:1", "evil.example", "localhost"])
def test_host_chooses_nothing(scene, host):
    backend, daemon = scene
    assert daemon.call("POST", CHAT_PATH, body=CHAT_BODY, host=host).status == 200
    assert backend.requests[-1].header("host") == backend.authority


def test_connect_is_not_allowed(scene):
    backend, daemon = scene
    before = backend.accepted
    got = refused(scene, 405, "CONNECT", f"127.0.0.1:{backend.port}", body=None)
    assert got.status == 405
    assert backend.accepted == before
    assert daemon.get("/healthz").status == 200


# ---- escape its path

@pytest.mark.parametrize("path", [
    "/openai/deployments/gpt-4o/../../secret", "/openai/./deployments/gpt-4o/chat/completions", "/..", "/.",
    "/openai/deployments/..", "/openai/deployments/../files", "/openai/deployments/%2e%2e/files", "/openai/%2E%2e/x",
    "/openai/deployments/gpt-4o/.%2e/x", "/openai/deployments/%2e/chat/completions", "/openai/deployments/a%2fb/chat/completions",
    "/openai/deployments/a%2Fb/chat/completions", "/openai/deployments/a%5cb/chat/completions",
    "/openai/deployments/a%5Cb/chat/completions", "/openai/deployments/a%00b/chat/completions",
    "/openai/deployments/a\\b/chat/completions", "/openai/files/..%2f..%2fx", "/openai\\..\\x", "//../openai/files",
    "/openai/deployments/a%zz/chat/completions", "/openai/deployments/a%2/chat/completions", "/openai/files/%",
    "/openai/files#fragment", "/openai/files/\xe9",
])
def test_a_path_that_tries_to_escape_is_refused(scene, path):
    refused(scene, 400, target=path)


@pytest.mark.parametrize("path", ["/openai/files/...", "/openai/files/..a", "/openai/files/.a", "/openai/files/%2ea"])
def test_dots_that_are_no_dot_segments_pass(scene, path):
    backend, daemon = scene
    assert daemon.get(path + "?api-version=1").status == 200
    assert backend.requests[-1].path == path


@pytest.mark.parametrize("target", ["openai/files", "?x", "http://", "ftp://a/openai/files", "", "*"])
def test_a_target_that_is_none_is_refused(scene, target):
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.call("POST", target, body=b"{}")
    assert got.status in (400, 404)
    assert len(backend.requests) == before


def test_a_query_does_not_reach_the_path(scene):
    backend, daemon = scene
    assert daemon.get("/openai/files?api-version=1&x=/../..%2f\\").status == 200
    assert backend.requests[-1].path == "/openai/files"


# ---- inject through model

@pytest.mark.parametrize("model, segment", [
    ("a/../../b", "a%2F..%2F..%2Fb"), ("a?b#c", "a%3Fb%23c"), ("a b", "a%20b"), ("a%2fb", "a%252fb"), ("é", "%C3%A9"),
    ("gpt-4o_mini.1~x", "gpt-4o_mini.1~x"), ("...", "..."), ("ft:gpt-4o:org::id", "ft%3Agpt-4o%3Aorg%3A%3Aid"),
])
def test_a_model_enters_a_path_as_one_segment(versioned, model, segment):
    backend, daemon = versioned
    assert daemon.post("/v1/chat/completions", {"model": model}).status == 200
    assert backend.requests[-1].path.lower() == f"/openai/deployments/{segment}/chat/completions".lower()


@pytest.mark.parametrize("model", ["\u0000", "a\nb", "a\r\nHost: x", "\x7f", "a\tb", ".", "..", "x" * 257, ""],
                         ids=["nul", "lf", "crlf", "del", "tab", "dot", "dots", "257", "empty"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/responses"])
def test_a_model_that_is_no_name_is_refused(versioned, model, path):
    refused(versioned, 400, target=path, body={"model": model})


def test_a_model_of_256_bytes_passes(versioned):
    backend, daemon = versioned
    assert daemon.post("/v1/chat/completions", {"model": "x" * 256}).status == 200
    assert backend.requests[-1].path == "/openai/deployments/" + "x" * 256 + "/chat/completions"


@pytest.mark.parametrize("segment", ["%0a", "a%0D%0Ab", "%7f", "x" * 257, "%01"])
def test_a_deployment_in_a_path_that_is_no_name_is_refused(scene, segment):
    refused(scene, 400, target=f"/openai/deployments/{segment}/chat/completions")


@pytest.mark.parametrize("body", [
    b'{"model":"a","model":"a"}', b'{"model":"a","x":1,"model":"b"}', b'{"model":"a","\\u006dodel":"b"}',
    b'{"\\u006Dod\\u0065l":"a","model":"b"}', b'{"model":"a","model":null}', b'{"model":1,"model":"a"}',
])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/responses"])
def test_two_models_are_refused(scene, path, body):
    refused(scene, 400, target=path, headers=JSON, body=body)


def test_two_model_parts_are_refused(scene):
    part = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
    refused(scene, 400, target="/v1/audio/transcriptions", headers=[("Content-Type", "multipart/form-data; boundary=b")],
            body=part + part + b"--b--\r\n")


def test_models_further_down_are_nobodys_business(scene):
    _, daemon = scene
    assert daemon.post("/v1/chat/completions", {"model": "a", "x": {"model": "b", "y": [{"model": "c"}]}}).status == 200


# ---- hide the model

@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP"])
def test_a_coded_body_is_refused_where_the_model_must_be_read(scene, coding):
    refused(scene, 415, target="/v1/chat/completions", headers=[*JSON, ("Content-Encoding", coding)],
            body=gzip.compress(b'{"model":"gpt-4o"}'))


def test_a_coded_body_passes_where_the_path_names_the_deployment(scene):
    backend, daemon = scene
    body = gzip.compress(json.dumps(CHAT_BODY).encode())
    assert daemon.call("POST", CHAT_PATH, [*JSON, ("Content-Encoding", "gzip")], body).status == 200
    assert backend.requests[-1].body == body
    assert backend.requests[-1].header("content-encoding") == "gzip"


def test_identity_is_no_coding(scene):
    _, daemon = scene
    assert daemon.call("POST", "/v1/chat/completions", [*JSON, ("Content-Encoding", "identity")], {"model": "a"}).status == 200


# ---- strip fields through Connection

@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Host", "authorization", "api-key",
                                  "Ocp-Apim-Subscription-Key"])
@pytest.mark.parametrize("value", ["{}", "close, {}", "x,{},keep-alive"])
def test_connection_cannot_name_what_matters(scene, name, value):
    refused(scene, 400, headers=[("Connection", value.format(name))])


def test_a_second_connection_field_cannot_either(scene):
    refused(scene, 400, headers=[("Connection", "keep-alive"), ("Connection", "host")])


# ---- reach the admin port's paths

@pytest.mark.parametrize("path", ["/metrics", "/status", "/status.json", "/reload"])
def test_admin_paths_are_not_on_the_data_port(scene, path):
    refused(scene, 404, "GET", path, body=None)
    refused(scene, 404, "POST", path)


# ---- methods

@pytest.mark.parametrize("method", ["TRACE", "BREW"])
def test_odd_methods_are_refused(scene, method):
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.call(method, "/openai/files")
    assert got.status in (405, 501)
    assert len(backend.requests) == before


# ---- be followed

def test_a_redirect_to_elsewhere_is_not_followed(stage):
    elsewhere = stage.backend()
    backend = stage.backend(answers.answer(307, [("Location", elsewhere.url + "/x")]))
    daemon = stage.daemon([backend])
    got = daemon.chat()
    assert got.status == 307
    assert got.header("location") == elsewhere.url + "/x"
    assert elsewhere.accepted == 0
