"""Whose credentials go upstream: the backend's own, and never the caller's but where the configuration says so."""
import pytest

from harness import answers
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import in_order

KEY = "the-backends-own-key"
AUTH = {"type": "api_key", "key": KEY}
CALLERS = [("api-key", "callers-api-key"), ("Authorization", "Bearer callers-token"),
           ("Ocp-Apim-Subscription-Key", "callers-subscription")]


@pytest.fixture(scope="module")
def injected(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(auth=AUTH)])


@pytest.fixture(scope="module")
def passthrough(shared_stage):
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend.entry(auth={"type": "passthrough"})])


def test_an_api_key_is_sent_as_api_key(injected):
    backend, daemon = injected
    assert daemon.chat().status == 200
    assert backend.requests[-1].header("api-key") == KEY
    assert backend.requests[-1].header("authorization") is None


@pytest.mark.parametrize("header", CALLERS + [(name.upper(), value) for name, value in CALLERS], ids=lambda header: header[0])
def test_a_callers_credential_is_replaced(injected, header):
    backend, daemon = injected
    assert daemon.chat([header]).status == 200
    assert backend.requests[-1].headers.all("api-key") == [KEY]
    assert b"callers-" not in backend.requests[-1].head


def test_all_of_a_callers_credentials_are_replaced_at_once(injected):
    backend, daemon = injected
    assert daemon.chat(CALLERS + [("api-key", "callers-second")]).status == 200
    assert backend.requests[-1].headers.all("api-key") == [KEY]
    assert b"callers-" not in backend.requests[-1].head


@pytest.mark.parametrize("query, left", [
    ("api-key=callers-key", ""),
    ("api-version=1&api-key=callers-key&x=2", "api-version=1&x=2"),
    ("api-key=callers-a&api-key=callers-b&x=2", "x=2"),
    ("x=1&api%2Dkey=callers-key", "x=1"),
    ("x=1&API-KEY=callers-key", "x=1"),
    ("xapi-key=mine&api-keys=2", "xapi-key=mine&api-keys=2"),
])
def test_an_api_key_in_the_query_is_dropped(injected, query, left):
    backend, daemon = injected
    assert daemon.post("/openai/deployments/gpt-4o/chat/completions?" + query, CHAT_BODY).status == 200
    assert backend.requests[-1].query == left


def test_an_api_key_in_the_query_of_openai_style_is_dropped(injected):
    backend, daemon = injected
    assert daemon.post("/v1/chat/completions?api-key=callers-key", {"model": "m"}).status == 200
    assert b"callers-key" not in backend.requests[-1].head


@pytest.mark.parametrize("header", CALLERS, ids=lambda header: header[0])
def test_passthrough_sends_the_callers_own_credential(passthrough, header):
    backend, daemon = passthrough
    assert daemon.chat([header]).status == 200
    assert backend.requests[-1].header(header[0]) == header[1]


def test_passthrough_sends_all_of_them(passthrough):
    backend, daemon = passthrough
    assert daemon.chat(CALLERS).status == 200
    for name, value in CALLERS:
        assert backend.requests[-1].header(name) == value


def test_passthrough_keeps_an_api_key_in_the_query(passthrough):
    backend, daemon = passthrough
    assert daemon.post(CHAT_PATH + "&api-key=callers-key", CHAT_BODY).status == 200
    assert backend.requests[-1].query == "api-version=2024-10-21&api-key=callers-key"


def test_passthrough_adds_no_credential(passthrough):
    backend, daemon = passthrough
    assert daemon.chat().status == 200
    assert not {"api-key", "authorization"} & set(backend.requests[-1].headers.names())


def test_passthrough_is_the_default(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    assert daemon.chat([("api-key", "callers-own")]).status == 200
    assert backend.request.header("api-key") == "callers-own"


def test_each_attempt_has_its_own_backends_credentials(stage):
    first, second, third = stage.backend(answers.wait_ms(9000)), stage.backend(answers.wait_ms(9000)), stage.backend()
    daemon = stage.daemon(in_order(first.entry(auth={"type": "api_key", "key": "key-1"}), second,
                                   third.entry(auth={"type": "api_key", "key": "key-3"})))
    assert daemon.chat([("api-key", "callers-own")]).status == 200
    assert [backend.request.header("api-key") for backend in (first, second, third)] == ["key-1", "callers-own", "key-3"]


def test_a_key_comes_from_a_file(stage):
    backend = stage.backend()
    path = stage.directory() / "key"
    path.write_text("key-from-a-file\n")
    daemon = stage.daemon([backend.entry(auth={"type": "api_key", "key_file": str(path)})])
    assert daemon.chat().status == 200
    assert backend.request.header("api-key") == "key-from-a-file"


def test_a_key_comes_from_the_environment(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth={"type": "api_key", "key": "${SOME_KEY}"})], environment={"SOME_KEY": "from-env"})
    assert daemon.chat().status == 200
    assert backend.request.header("api-key") == "from-env"


def test_resource_paths_get_the_backends_credentials_too(injected):
    backend, daemon = injected
    assert daemon.get("/openai/files?api-version=1", CALLERS).status == 200
    assert backend.requests[-1].header("api-key") == KEY
    assert b"callers-" not in backend.requests[-1].head


# ---- callers' own keys

@pytest.fixture(scope="module")
def with_clients(shared_stage):
    backend = shared_stage.backend()
    daemon = shared_stage.daemon([backend.entry(auth=AUTH)], clients=[
        {"name": "chat-app", "key": "chat-app-key", "deployments": ["gpt-4o"]},
        {"name": "archive", "key": "archive-key", "deployments": ["gpt-4o"], "resource_paths": True},
        {"name": "admin", "key": "admin-key"},
    ])
    return backend, daemon


@pytest.mark.parametrize("header", [("api-key", "chat-app-key"), ("Authorization", "Bearer chat-app-key"),
                                    ("authorization", "bearer chat-app-key")], ids=["api-key", "bearer", "lower-case"])
def test_a_client_with_its_key_is_served(with_clients, header):
    backend, daemon = with_clients
    assert daemon.chat([header]).status == 200
    assert backend.requests[-1].header("api-key") == KEY
    assert b"chat-app-key" not in backend.requests[-1].head


@pytest.mark.parametrize("headers", [[], [("api-key", "wrong")], [("api-key", "")], [("Authorization", "Bearer wrong")],
                                     [("Authorization", "Basic chat-app-key")], [("api-key", "chat-app-key2")],
                                     [("api-key", "chat-app-ke")]])
def test_a_caller_without_a_clients_key_is_refused(with_clients, headers):
    backend, daemon = with_clients
    before = len(backend.requests)
    got = daemon.chat(headers)
    assert got.status == 401
    assert got.json["error"]["message"]
    assert len(backend.requests) == before


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(with_clients, path):
    _, daemon = with_clients
    assert daemon.get(path).status == 200


def test_a_client_with_deployments_is_refused_others(with_clients):
    backend, daemon = with_clients
    before = len(backend.requests)
    key = [("api-key", "chat-app-key")]
    for got in (daemon.chat(key, deployment="gpt-4"), daemon.post("/v1/chat/completions", {"model": "gpt-4"}, key),
                daemon.post("/openai/responses", {"model": "gpt-4"}, key)):
        assert got.status == 403
        assert got.json["error"]["message"]
    assert len(backend.requests) == before


RESOURCES = [("GET", "/v1/files"), ("GET", "/openai/files?api-version=1"), ("GET", "/v1/batches"), ("GET", "/v1/responses/resp_1"),
             ("DELETE", "/openai/v1/responses/resp_1")]


@pytest.mark.parametrize("method, path", RESOURCES)
def test_a_client_with_deployments_is_refused_resource_paths(with_clients, method, path):
    backend, daemon = with_clients
    before = len(backend.requests)
    assert daemon.call(method, path, [("api-key", "chat-app-key")]).status == 403
    assert len(backend.requests) == before


@pytest.mark.parametrize("method, path", RESOURCES)
@pytest.mark.parametrize("key", ["archive-key", "admin-key"])
def test_a_client_with_resource_paths_or_without_deployments_may_use_them(with_clients, key, method, path):
    _, daemon = with_clients
    assert daemon.call(method, path, [("api-key", key)]).status == 200


def test_a_client_without_deployments_may_use_all(with_clients):
    _, daemon = with_clients
    assert daemon.chat([("api-key", "admin-key")], deployment="anything").status == 200


def test_a_bad_key_says_more_than_a_missing_right(with_clients):
    _, daemon = with_clients
    assert daemon.chat([("api-key", "wrong")], deployment="gpt-4").status == 401
