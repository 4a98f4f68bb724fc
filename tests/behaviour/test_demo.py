"""The demo: everything in one process, without a configuration."""
import collections
import re

import pytest

CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@pytest.fixture(scope="module")
def demo(shared_stage):
    """PORT and ADMIN_PORT keep it off the ports that somebody else may use."""
    return shared_stage.start(arguments=["--demo"], environment={"PORT": "0", "ADMIN_PORT": "0"})


def test_a_chat_is_answered(demo):
    got = demo.chat()
    assert got.status == 200
    assert got.json["choices"][0]["message"]["content"]
    assert got.header("x-aoai-lb-backend") in ("openai1", "openai2", "openai3")


def test_a_stream_is_answered(demo):
    got = demo.chat(stream=True)
    assert got.status == 200
    assert got.header("content-type").startswith("text/event-stream")
    assert got.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("deployment", ["gpt-4o", "gpt-4o-mini"])
def test_its_chat_deployments(demo, deployment):
    assert demo.post("/v1/chat/completions", {"model": deployment, **CHAT}).status == 200


def test_its_embeddings_deployment(demo):
    got = demo.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "hello"})
    assert got.status == 200
    assert got.json["data"]


def test_the_first_backends_quota_is_soon_spent_and_nobody_notices(demo):
    clients = [demo.open_chat(demo.client()) for _ in range(40)]
    backends = collections.Counter()
    for client in clients:
        got = client.read_answer()
        assert got.status == 200
        backends[got.header("x-aoai-lb-backend")] += 1
        client.close()
    assert backends["openai2"] + backends["openai3"] > 0
    line = demo.wait_for_line(r"cooling down")
    assert re.search(r"Backend openai1 deployment gpt-4o cooling down for \d+ ms \([a-z-]+\)", line)
