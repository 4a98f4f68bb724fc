"""The environment form: a drop-in for the sample that the daemon replaces."""
import json

from harness import answers
from harness.daemon import CHAT_BODY, run

LISTEN = {"PORT": "0", "ADMIN_PORT": "0"}


def printed(environment):
    result = run("--print-config", environment=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_backends_come_from_the_environment(stage):
    first, second = stage.backend(answers.wait_ms(9_000)), stage.backend()
    daemon = stage.start(environment={**LISTEN, "BACKEND_1_URL": first.url, "BACKEND_1_PRIORITY": "1", "BACKEND_1_APIKEY": "key-1",
                                      "BACKEND_2_URL": second.url, "BACKEND_2_PRIORITY": "2", "BACKEND_2_APIKEY": "key-2"})
    got = daemon.chat([("api-key", "callers"), ("Authorization", "Bearer callers")])
    assert got.status == 200
    assert first.request.header("api-key") == "key-1"
    assert second.request.header("api-key") == "key-2"
    assert second.request.header("authorization") is None
    daemon.wait_for_line(f"Proxying to {second.url}")


def test_their_numbers_need_not_be_in_a_row(stage):
    first, second = stage.backend(), stage.backend()
    daemon = stage.start(environment={**LISTEN, "BACKEND_3_URL": first.url, "BACKEND_3_PRIORITY": "2", "BACKEND_3_APIKEY": "a",
                                      "BACKEND_11_URL": second.url, "BACKEND_11_PRIORITY": "1", "BACKEND_11_APIKEY": "b"})
    assert daemon.chat().status == 200
    assert second.requests and not first.requests


def test_a_deployment_name_overrides_every_deployment(stage):
    backend = stage.backend()
    daemon = stage.start(environment={**LISTEN, "BACKEND_1_URL": backend.url, "BACKEND_1_APIKEY": "k", "BACKEND_1_DEPLOYMENT_NAME": "mine"})
    for name in ("gpt-4o", "anything"):
        assert daemon.chat(deployment=name).status == 200
        assert backend.requests[-1].path == "/openai/deployments/mine/chat/completions"
    assert daemon.post("/v1/chat/completions", {"model": "else", **CHAT_BODY}).status == 200
    assert backend.requests[-1].json["model"] == "mine"


def test_without_a_key_a_managed_identity_is_meant():
    result = run("--print-config", environment={"BACKEND_1_URL": "https://one.openai.azure.com",
                                                "BACKEND_2_URL": "https://two.openai.azure.com", "BACKEND_2_APIKEY": "k"})
    assert "managed_identity" in result.stdout + result.stderr
    assert "passthrough" not in result.stdout


def test_the_timeout_sets_both_of_the_backends_clocks():
    config = printed({"BACKEND_1_URL": "https://one.openai.azure.com", "BACKEND_1_APIKEY": "k", "HTTP_TIMEOUT_SECONDS": "100"})
    assert config["timeouts"]["response_ms"] == 100_000
    assert config["timeouts"]["stream_idle_ms"] == 100_000


def test_the_other_settings():
    config = printed({"BACKEND_1_URL": "https://one.openai.azure.com", "BACKEND_1_APIKEY": "k", "PORT": "8123", "LOG_FORMAT": "json",
                      "LOG_LEVEL": "warning", "ADMIN_ADDRESS": "127.0.0.2", "ADMIN_PORT": "9123"})
    assert config["listen"]["port"] == 8123
    assert config["log"]["format"] == "json"
    assert config["log"]["level"] == "warning"
    assert config["admin"]["address"] == "127.0.0.2"
    assert config["admin"]["port"] == 9123


def test_the_defaults_are_those_of_the_file_form():
    config = printed({"BACKEND_1_URL": "https://one.openai.azure.com", "BACKEND_1_APIKEY": "k"})
    assert config["listen"]["port"] == 8080
    assert config["listen"]["address"] == "0.0.0.0"
    assert config["backends"][0]["priority"] == 1


def test_a_client_key_is_asked_for(stage):
    backend = stage.backend()
    daemon = stage.start(environment={**LISTEN, "BACKEND_1_URL": backend.url, "BACKEND_1_APIKEY": "k", "CLIENT_KEY": "the-clients-key"})
    assert daemon.chat().status == 401
    assert daemon.chat([("api-key", "the-clients-key")]).status == 200
    assert daemon.chat([("Authorization", "Bearer the-clients-key")]).status == 200


def test_a_file_beats_the_environment(stage):
    backend, other = stage.backend(), stage.backend()
    daemon = stage.daemon([backend], environment={"BACKEND_1_URL": other.url})
    assert daemon.chat().status == 200
    assert len(backend.requests) == 1
    assert other.accepted == 0


def test_faults_of_the_environment_are_told_all_at_once():
    result = run("--check-config", environment={"BACKEND_1_URL": "nowhere", "BACKEND_2_URL": "https://two.example",
                                                "BACKEND_2_PRIORITY": "first", "PORT": "x", "HTTP_TIMEOUT_SECONDS": "-1"})
    assert result.returncode == 1
    text = result.stderr + result.stdout
    for name in ("BACKEND_1_URL", "BACKEND_2_PRIORITY", "PORT", "HTTP_TIMEOUT_SECONDS"):
        assert name in text, text


def test_keys_are_redacted():
    text = run("--print-config", environment={"BACKEND_1_URL": "https://one.example", "BACKEND_1_APIKEY": "very-secret",
                                              "CLIENT_KEY": "also-very-secret"})
    assert "very-secret" not in text.stdout + text.stderr
