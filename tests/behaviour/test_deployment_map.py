"""Callers' names for deployments, and backends' own: the name is replaced, and nothing but the name."""
import json

import pytest

from harness import answers
from harness.stage import equals, in_order
from test_routing import MULTIPART, multipart

JSON = [("Content-Type", "application/json")]


@pytest.fixture(scope="module")
def scene(shared_stage):
    backend = shared_stage.backend()
    daemon = shared_stage.daemon([backend.entry(deployments={"gpt-4o": "gpt-4o-ptu", "chat": "c", "short": "a-much-longer-name",
                                                             "a-much-longer-name-for-one": "x", "openai": "mapped"})])
    return backend, daemon


@pytest.mark.parametrize("asked, sent", [
    ("/openai/deployments/gpt-4o/chat/completions?api-version=gpt-4o", "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=gpt-4o"),
    ("/openai/deployments/chat/chat/completions?x=chat", "/openai/deployments/c/chat/completions?x=chat"),
    ("/openai/deployments/openai/openai/openai", "/openai/deployments/mapped/openai/openai"),
    ("/openai/deployments/gpt%2D4o/chat/completions", "/openai/deployments/gpt-4o-ptu/chat/completions"),
])
def test_the_path_segment_alone_is_replaced(scene, asked, sent):
    backend, daemon = scene
    assert daemon.post(asked, {}).status == 200
    assert backend.requests[-1].target == sent


def test_a_deployment_paths_body_is_not_touched(scene):
    backend, daemon = scene
    body = b'{"model":"gpt-4o", "messages":[]}'
    assert daemon.call("POST", "/openai/deployments/gpt-4o/chat/completions", JSON, body).status == 200
    assert backend.requests[-1].body == body


@pytest.mark.parametrize("before, after", [
    (b'{"model":"gpt-4o"}', b'{"model":"gpt-4o-ptu"}'),
    (b'{ "model"\t:\r\n "gpt-4o" , "gpt-4o":"gpt-4o"}\n', b'{ "model"\t:\r\n "gpt-4o-ptu" , "gpt-4o":"gpt-4o"}\n'),
    (b'{"a":{"model":"gpt-4o"},"model":"gpt-4o","b":[{"model":"gpt-4o"}]}',
     b'{"a":{"model":"gpt-4o"},"model":"gpt-4o-ptu","b":[{"model":"gpt-4o"}]}'),
    (b'{"x":"\xc3\xa9\\u00e9\\/","n":1e0,"model":"short","y":-0}', b'{"x":"\xc3\xa9\\u00e9\\/","n":1e0,"model":"a-much-longer-name","y":-0}'),
    (b'{"model":"a-much-longer-name-for-one","z":1}', b'{"model":"x","z":1}'),
    (b'{"\\u006dodel":"gpt\\u002d4o"}', b'{"\\u006dodel":"gpt-4o-ptu"}'),
])
def test_the_value_of_model_alone_is_replaced(scene, before, after):
    backend, daemon = scene
    assert daemon.call("POST", "/v1/chat/completions", JSON, before).status == 200
    assert backend.requests[-1].body == after


def test_a_chunked_bodys_model_is_replaced_too(scene):
    backend, daemon = scene
    with daemon.client() as client:
        client.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: lb\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b'6\r\n{"mode\r\n9\r\nl":"gpt-4\r\n3\r\no"}\r\n0\r\n\r\n')
        assert client.read_answer().status == 200
    assert backend.requests[-1].body == b'{"model":"gpt-4o-ptu"}'


def test_azures_responses_path_is_mapped_by_the_model(scene):
    backend, daemon = scene
    assert daemon.call("POST", "/openai/responses?api-version=1", JSON, b'{"input":"gpt-4o", "model":"gpt-4o"}').status == 200
    assert backend.requests[-1].body == b'{"input":"gpt-4o", "model":"gpt-4o-ptu"}'


def test_the_model_part_of_a_multipart_body_is_mapped(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(deployments={"whisper": "whisper-001"})])
    parts = [("file", "a.wav", b"whisper\r\n--frontie\r\n"), ("model", b"whisper"), ("prompt", b"whisper")]
    assert daemon.call("POST", "/v1/audio/transcriptions", [("Content-Type", MULTIPART)], multipart(*parts)).status == 200
    parts[1] = ("model", b"whisper-001")
    assert backend.request.body == multipart(*parts)


def test_without_a_map_any_name_passes_unchanged(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    assert daemon.post("/openai/deployments/My%20own.name_1/chat/completions", {}).status == 200
    assert backend.requests[-1].path == "/openai/deployments/My%20own.name_1/chat/completions"
    body = '{"model":"My own näme"}'.encode()
    assert daemon.call("POST", "/v1/chat/completions", JSON, body).status == 200
    assert backend.requests[-1].body == body


def test_a_backend_with_a_map_serves_those_names_alone(stage):
    mapped, rest = stage.backend(), stage.backend()
    daemon = stage.daemon(in_order(mapped.entry(deployments={"gpt-4o": "gpt-4o"}), rest))
    assert daemon.chat(deployment="gpt-4o").header("x-aoai-lb-backend") == "one"
    assert daemon.chat(deployment="gpt-4").header("x-aoai-lb-backend") == "two"
    assert daemon.chat(deployment="GPT-4o").header("x-aoai-lb-backend") == "two"


def test_a_star_takes_the_rest(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(deployments={"gpt-4o": "big", "*": "small"})])
    for name, sent in (("gpt-4o", "big"), ("anything", "small"), ("else", "small")):
        assert daemon.chat(deployment=name).status == 200
        assert backend.requests[-1].path == f"/openai/deployments/{sent}/chat/completions"
    assert daemon.post("/v1/chat/completions", {"model": "whatever"}).status == 200
    assert backend.requests[-1].json == {"model": "small"}


def test_each_attempt_uses_its_own_backends_name(stage):
    first, second, third = stage.backend(answers.wait_ms(9000)), stage.backend(answers.wait_ms(9000)), stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"gpt-4o": "gpt-4o-ptu"}), second,
                                   third.entry(deployments={"gpt-4o": "standard"})))
    body = '{"model": "gpt-4o", "messages": []}'
    assert daemon.call("POST", "/v1/chat/completions", JSON, body.encode()).status == 200
    assert first.request.body.decode() == body.replace("gpt-4o", "gpt-4o-ptu")
    assert second.request.body.decode() == body
    assert third.request.body.decode() == body.replace("gpt-4o", "standard")


def test_each_attempt_rewrites_the_path_for_its_own_backend(stage):
    first, second, third = stage.backend(answers.wait_ms(9000)), stage.backend(answers.wait_ms(9000)), stage.backend()
    daemon = stage.daemon(in_order(first.entry(deployments={"gpt-4o": "gpt-4o-ptu"}), second,
                                   third.entry(deployments={"*": "standard"})))
    assert daemon.chat().status == 200
    assert [backend.request.path.split("/")[3] for backend in (first, second, third)] == ["gpt-4o-ptu", "gpt-4o", "standard"]


def test_two_backends_may_share_one_resource(stage):
    resource = stage.backend(answers.wait_ms(9000))
    daemon = stage.daemon(in_order(resource.entry(deployments={"gpt-4o": "gpt-4o-ptu"}),
                                   resource.entry(deployments={"gpt-4o": "gpt-4o-mini"})))
    got = daemon.chat()
    assert got.status == 200
    assert got.header("x-aoai-lb-backend") == "two"
    assert [request.path.split("/")[3] for request in resource.requests] == ["gpt-4o-ptu", "gpt-4o-mini"]


def test_a_mapped_name_enters_a_path_as_one_segment(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(deployments={"odd": "a b/c?d#e"})])
    assert daemon.chat(deployment="odd").status == 200
    assert backend.request.target == "/openai/deployments/a%20b%2Fc%3Fd%23e/chat/completions?api-version=2024-10-21"


def test_a_mapped_name_enters_json_as_one_string(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(deployments={"odd": 'a"b\\c'})])
    assert daemon.post("/v1/chat/completions", {"model": "odd", "n": 1}).status == 200
    assert json.loads(backend.request.body) == {"model": 'a"b\\c', "n": 1}


def test_a_name_that_one_backend_of_several_serves_goes_there(stage):
    first, second = stage.backend(), stage.backend()
    daemon = stage.daemon(equals(first.entry(deployments={"a": "a"}), second.entry(deployments={"b": "b"})))
    for _ in range(5):
        assert daemon.chat(deployment="a").header("x-aoai-lb-backend") == "one"
        assert daemon.chat(deployment="b").header("x-aoai-lb-backend") == "two"
