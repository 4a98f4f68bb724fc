"""Who is a client: the right key in the right place, and nothing that is nearly that."""
import gzip

import pytest

from harness.client import request_bytes
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.stage import make_config

KEY = "Chat-app-key/1+2=="
OTHER = "other-key"


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    daemon = shared_stage.daemon([backend.entry(auth={"type": "api_key", "key": "own-key"})], workers=1, clients=[
        {"name": "chat-app", "key": KEY}, {"name": "other", "key": OTHER, "deployments": ["gpt-4o"]},
        {"name": "spent", "key": "spent-key", "deployments": ["gpt-4o"], "requests_per_minute": 1}])
    assert daemon.chat([("api-key", "spent-key")]).status == 200
    return backend, daemon


@pytest.mark.parametrize("headers", [
    [("api-key", KEY)], [("Api-Key", KEY)], [("API-KEY", f"  {KEY}\t")], [("Authorization", f"Bearer {KEY}")], [("authorization", f"bearer {KEY}")],
    [("Authorization", f"BEARER   {KEY} ")], [("api-key", KEY), ("Authorization", "Bearer wrong")], [("api-key", KEY), ("Authorization", f"Bearer {OTHER}")],
], ids=["api-key", "other-case", "blanks", "bearer", "lower-case-bearer", "blanks-behind-bearer", "api-key-wins", "api-key-wins-over-another-client"])
def test_a_key_opens(scene, headers):
    backend, daemon = scene
    before = len(daemon.find_lines(" chat-app POST "))
    assert daemon.chat(headers, deployment="anything").status == 200
    sent = backend.requests[-1]
    assert sent.header("api-key") == "own-key"
    assert sent.header("authorization") is None
    assert KEY.encode() not in sent.head
    daemon.wait_for_line(" chat-app POST ", before + 1)


NEARLY = {
    "none": [], "empty": [("api-key", "")], "blank": [("api-key", "  ")], "shorter": [("api-key", KEY[:-1])], "longer": [("api-key", KEY + "x")],
    "one letter": [("api-key", KEY[:1])], "its end": [("api-key", KEY[1:])], "twice": [("api-key", KEY + KEY)], "upper case": [("api-key", KEY.upper())],
    "lower case": [("api-key", KEY.lower())], "last byte": [("api-key", KEY[:-1] + "?")], "first byte": [("api-key", "?" + KEY[1:])],
    "a space inside": [("api-key", KEY.replace("-", " "))], "split": [("api-key", KEY.replace("-", "- "))], "quoted": [("api-key", f'"{KEY}"')],
    "encoded": [("api-key", KEY.replace("/", "%2F"))], "with a list": [("api-key", f"{KEY}, {KEY}")], "two keys": [("api-key", f"{KEY},{OTHER}")],
    "a client's name": [("api-key", "chat-app")], "the backend's key": [("api-key", "own-key")], "obs-text": [("api-key", KEY + "\xff")],
    "bearer in api-key": [("api-key", f"Bearer {KEY}")], "bearer without a word": [("Authorization", KEY)], "bearer alone": [("Authorization", "Bearer")],
    "bearer blank": [("Authorization", "Bearer ")], "bearer joined": [("Authorization", f"Bearer{KEY}")], "bearer tab": [("Authorization", f"Bearer\t{OTHER}x")],
    "basic": [("Authorization", f"Basic {KEY}")], "token": [("Authorization", f"Token {KEY}")], "bearer shorter": [("Authorization", f"Bearer {KEY[:-1]}")],
    "bearer wrong beside a right one": [("api-key", "wrong"), ("Authorization", f"Bearer {KEY}")],
    "an empty api-key beside a right bearer": [("api-key", ""), ("Authorization", f"Bearer {KEY}")],
    "another field": [("x-api-key", KEY)], "underscore": [("api_key", KEY)], "subscription": [("Ocp-Apim-Subscription-Key", KEY)], "cookie": [("Cookie", f"api-key={KEY}")],
    "proxy": [("Proxy-Authorization", f"Bearer {KEY}")], "long": [("api-key", KEY * 1000)], "a second field": [("api-key", "wrong"), ("api-key", KEY)],
}


@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/files", "/openai/v1/models", "/nothing/here"])
def test_what_is_nearly_a_key_opens_nothing(scene, path):
    backend, daemon = scene
    before = len(backend.requests)
    for name, headers in NEARLY.items():
        got = daemon.call("POST", path, headers, CHAT_BODY)
        assert got.status == 401, (name, got)
        error = got.json["error"]
        assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error"), name
        assert KEY not in got.body.decode() and OTHER not in got.body.decode()
    assert len(backend.requests) == before


@pytest.mark.parametrize("target", [CHAT_PATH + "&api-key=" + KEY, "http://" + OTHER + "@lb" + CHAT_PATH])
def test_a_key_in_the_target_opens_nothing(scene, target):
    backend, daemon = scene
    before = len(backend.requests)
    assert daemon.call("POST", target, [], CHAT_BODY).status in (400, 401)
    assert len(backend.requests) == before


@pytest.mark.parametrize("headers, deployment, status", [
    ([], "forbidden", 401), ([("api-key", "wrong")], "gpt-4o", 401), ([("api-key", "spent-key")], "forbidden", 403), ([("api-key", OTHER)], "forbidden", 403),
    ([("api-key", "spent-key")], "gpt-4o", 429),
])
def test_refusals_come_in_order(scene, headers, deployment, status):
    """401 before 403 before 429, whatever else is wrong with the request."""
    backend, daemon = scene
    before = len(backend.requests)
    got = daemon.chat(headers, deployment=deployment)
    assert got.status == status
    assert set(got.json["error"]) == {"code", "message", "type", "param"}
    if status == 429:
        assert got.header("retry-after") and got.header("retry-after-ms")
    else:
        assert got.header("retry-after") is None
    if status != 429:
        got = daemon.call("POST", f"/openai/deployments/{deployment}/chat/completions",
                          [*headers, ("Content-Encoding", "gzip"), ("Content-Length", "99999999")])
        assert got.status == status, "before 413 and 415"
    assert len(backend.requests) == before


def test_a_stranger_is_not_asked_for_a_body_nor_is_it_read(scene):
    _, daemon = scene
    with daemon.client() as client:
        client.send(request_bytes("POST", CHAT_PATH, [("Content-Length", "30000000")]) + b"x" * 100)
        got = client.read_answer()
        assert got.status == 401
        assert not got.keeps_alive


def test_no_key_is_in_the_log(scene):
    _, daemon = scene
    daemon.call("POST", CHAT_PATH + "&api-key=query-secret", [("api-key", KEY), ("Authorization", "Bearer header-secret")], gzip.compress(b"{}"))
    daemon.call("POST", CHAT_PATH + "&api-key=query-secret", [("api-key", "wrong-secret")], b"body-secret")
    daemon.wait_for_line(" 401 ")
    text = "\n".join(daemon.lines + daemon.errors)
    for secret in (KEY, OTHER, "own-key", "spent-key", "query-secret", "header-secret", "wrong-secret", "body-secret"):
        assert secret not in text


# ---- without clients

OPEN = "No clients are configured"


@pytest.mark.parametrize("address, clients, warned", [("0.0.0.0", [], 1), ("127.0.0.1", [], 0), ("0.0.0.0", [{"name": "a", "key": "k"}], 0)],
                         ids=["open", "loopback", "with-clients"])
def test_an_open_daemon_says_so_once(stage, address, clients, warned):
    backend = stage.backend()
    config = make_config([backend.entry(auth={"type": "api_key", "key": "k"})], {"listen": {"address": address}, "clients": clients})
    daemon = stage.start(config)
    for _ in range(3):
        assert daemon.chat([("api-key", "k")]).status == 200
    assert len(daemon.find_lines(OPEN)) == warned
    assert all(" warning " in line for line in daemon.find_lines(OPEN))
