"""However a model's name is written in JSON, it means what it says; what could mean two things is refused."""
import json

import pytest

from harness.client import request_bytes

MAP = {"gpt-4o": "mapped", "é🙂": "accented", "a/b": "slashed", 'q"\\': "quoted"}


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    entry = backend.entry(auth={"type": "api_key", "key": "k"}, deployments=MAP, api_version="2024-10-21")
    return backend, shared_stage.daemon([entry], workers=1, clients=[{"name": "a", "key": "a", "deployments": list(MAP)}])


def call(scene, body, path="/v1/chat/completions"):
    _, daemon = scene
    with daemon.client() as client:
        client.send(request_bytes("POST", path, [("api-key", "a"), ("Content-Type", "application/json")], body))
        return client.read_answer()


ALIKE = {
    b'{"model":"gpt-4o"}': "mapped", b'{"model":"gpt\\u002d4o"}': "mapped", b'{"model":"gpt\\u002D4\\u006f"}': "mapped",
    b'{"mod\\u0065l":"gpt-4o"}': "mapped", b'{"\\u006d\\u006f\\u0064\\u0065\\u006c":"\\u0067pt-4o"}': "mapped",
    b' \t\r\n{ "model" \t:\r\n "gpt-4o" } \n': "mapped", b'{"x":{"model":"other"},"model":"gpt-4o"}': "mapped",
    b'{"x":"\\"model\\":\\"other\\"","model":"gpt-4o"}': "mapped", b'{"Model":"other","model":"gpt-4o"}': "mapped",
    b'{"model ":"other","model":"gpt-4o","xmodel":"other"}': "mapped", b'{"":"other","model":"gpt-4o"}': "mapped",
    b'{"x":[[[[{"model":"other"}]]]],"model":"gpt-4o","y":1e5}': "mapped", '{"model":"é🙂"}'.encode(): "accented",
    b'{"model":"\\u00e9\\ud83d\\ude42"}': "accented", b'{"model":"a/b"}': "slashed", b'{"model":"a\\/b"}': "slashed", b'{"model":"q\\"\\\\"}': "quoted",
}


def test_every_way_of_writing_a_name_is_the_same(scene):
    backend, _ = scene
    for body, name in ALIKE.items():
        assert call(scene, body).status == 200, body
        assert backend.requests[-1].path == f"/openai/deployments/{name}/chat/completions", body
        assert json.loads(backend.requests[-1].body)["model"] == name, body
        assert call(scene, body, "/v1/responses").status == 200, body
        assert json.loads(backend.requests[-1].body)["model"] == name, body


REFUSED = {
    "two": b'{"model":"gpt-4o","model":"gpt-4o"}', "two, escaped": b'{"model":"gpt-4o","mod\\u0065l":"other"}',
    "two, both escaped": b'{"\\u006dodel":"gpt-4o","model\\u0000":"x","mode\\u006c":"other"}', "NUL in a key": b'{"model":"gpt-4o","model\\u0000":"other"}',
    "a lone surrogate in a key": b'{"model":"gpt-4o","model\\ud800":"x"}', "overlong UTF-8 in a key": b'{"model":"gpt-4o","mod\xc1\xa5l":"other"}',
    "NUL": b'{"model":"gpt-4o\\u0000"}', "a line feed": b'{"model":"gpt-4o\\n"}', "CR LF": b'{"model":"gpt-4o\\r\\nX: y"}', "DEL": b'{"model":"gpt-4o\x7f"}',
    "an escaped DEL": b'{"model":"gpt-4o\\u007f"}', "a raw control byte": b'{"model":"gpt-4o\x01"}', "a lone high surrogate": b'{"model":"gpt-4o\\ud83d"}',
    "a lone low surrogate": b'{"model":"\\ude42gpt-4o"}', "swapped surrogates": b'{"model":"\\ude42\\ud83d"}', "a dot": b'{"model":"."}', "dots": b'{"model":".."}',
    "escaped dots": b'{"model":"\\u002e\\u002e"}', "empty": b'{"model":""}', "257 bytes": b'{"model":"' + b"x" * 257 + b'"}',
    "257 escaped bytes": b'{"model":"' + b"\\u0078" * 257 + b'"}', "a number": b'{"model":1}', "null": b'{"model":null}', "true": b'{"model":true}',
    "an array": b'{"model":["gpt-4o"]}', "an object": b'{"model":{"model":"gpt-4o"}}', "absent": b"{}", "inside only": b'{"x":{"model":"gpt-4o"}}',
    "an array around": b'[{"model":"gpt-4o"}]', "a string": b'"model"', "nothing": b"", "a broken escape": b'{"model":"gpt\\x2d4o"}', "half an escape": b'{"model":"gpt\\u00"}',
    "cut off": b'{"model":"gpt-4o"', "single quotes": b"{'model':'gpt-4o'}", "no quotes": b"{model:gpt-4o}", "a trailing comma": b'{"model":"gpt-4o",}',
    "a comment": b'{/**/"model":"gpt-4o"}', "something behind": b'{"model":"gpt-4o"}x', "a second object": b'{"model":"gpt-4o"}{"model":"other"}',
    "a BOM": b'\xef\xbb\xbf{"model":"gpt-4o"}', "UTF-16": '{"model":"gpt-4o"}'.encode("utf-16"), "too deep": b'{"model":"gpt-4o","x":' + b"[" * 600 + b"]" * 600 + b"}",
    "a vertical tab": b'{"model":\x0b"gpt-4o"}', "a form feed": b'\x0c{"model":"gpt-4o"}', "a no-break space": b'{"model":\xa0"gpt-4o"}', "no colon": b'{"model" "gpt-4o"}',
    "two colons": b'{"model"::"gpt-4o"}', "NaN": b'{"x":NaN,"model":"gpt-4o"}', "a leading zero": b'{"x":01,"model":"gpt-4o"}', "a plus": b'{"x":+1,"model":"gpt-4o"}',
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/v1/responses", "/openai/responses?api-version=1"])
def test_what_could_mean_two_things_is_refused(scene, path):
    backend, _ = scene
    before = len(backend.requests)
    for name, body in REFUSED.items():
        got = call(scene, body, path)
        if name in ("absent", "inside only") and path.startswith("/openai/responses"):
            assert got.status == 403, name  # it may come without a model, but not from this client
            continue
        assert got.status == 400, (name, got)
        assert got.json["error"]["code"] == "invalid_model", name
    assert len(backend.requests) == before


def test_an_upper_case_name_is_another_name(scene):
    assert call(scene, b'{"model":"GPT-4O"}').status == 403
    assert call(scene, b'{"MODEL":"gpt-4o"}').status == 400
