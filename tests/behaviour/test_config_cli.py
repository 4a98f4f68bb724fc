"""The command line: checking, printing, and how a faulty configuration is told."""
import json
import pathlib
import re

import pytest

from harness.daemon import run
from harness.stage import make_config

BACKENDS = [{"name": "one", "url": "https://one.openai.azure.com"}]


@pytest.fixture
def check(tmp_path):
    """Runs --check-config on a configuration (a dict, or text)."""
    def checked(config, environment=None, argument="--check-config"):
        path = tmp_path / "config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return run("--config", str(path), argument, environment=environment)

    return checked


def faults_of(result):
    assert result.returncode == 1, result
    return result.stdout + result.stderr


# ---- --check-config

def test_a_good_configuration_is_accepted(check):
    result = check({"backends": BACKENDS})
    assert result.returncode == 0, result.stderr


def test_a_full_configuration_is_accepted(check):
    result = check({
        "listen": {"address": "0.0.0.0", "port": 8080, "base_path": "/api/v1"},
        "admin": {"address": "127.0.0.1", "port": 9090, "key": ""},
        "workers": "auto",
        "log": {"format": "text", "level": "info", "requests": True},
        "clients": [{"name": "chat-app", "key": "${CHAT_APP_KEY}", "deployments": ["gpt-4o"], "resource_paths": False,
                     "requests_per_minute": 600, "tokens_per_minute": 100000}],
        "backends": [
            {"name": "openai1", "url": "https://openai1.openai.azure.com", "priority": 1, "weight": 1,
             "auth": {"type": "api_key", "key": "${OPENAI1_API_KEY}"}, "deployments": {"gpt-4o": "gpt-4o-ptu"}, "api_version": "",
             "tls": {"ca_file": "", "server_name": "", "verify": True}},
            {"name": "openai2", "url": "https://openai2.openai.azure.com/prefix", "priority": 2,
             "auth": {"type": "api_key", "key": "${OPENAI2_API_KEY:-other}"}}],
        "selection": {"policy": "least_busy"},
        "cooldown": {"default_ms": 10000, "min_ms": 1000, "max_ms": 60000, "server_error_ms": 10000},
        "retry": {"max_attempts": 0, "max_unsafe_retries": 1, "max_body_bytes": 33554432},
        "timeouts": {"connect_ms": 5000, "response_ms": 600000, "request_ms": 0, "commit_ms": 10000, "first_event_ms": 0,
                     "stream_idle_ms": 600000, "heartbeat_ms": 15000, "client_header_ms": 10000, "client_body_ms": 60000,
                     "client_send_ms": 60000, "keep_alive_ms": 75000, "drain_delay_ms": 0, "drain_ms": 25000},
        "pool": {"idle_ms": 60000, "max_age_ms": 300000},
        "limits": {"max_connections": 10000, "max_header_bytes": 65536, "max_buffered_bytes": 268435456},
    }, {"CHAT_APP_KEY": "a-clients-key", "OPENAI1_API_KEY": "k"})
    assert result.returncode == 0, result.stderr


def second(**settings):
    return {"backends": [*BACKENDS, {"name": "two", "url": "https://two.openai.azure.com", **settings}]}


FAULTS = [
    ({}, "backends"),
    ({"backends": []}, "backends"),
    ({"backends": {}}, "backends"),
    ({"backends": [{"url": "https://one.example"}]}, r"backends\[0\]\.name"),
    ({"backends": [{"name": "one"}]}, r"backends\[0\]\.url"),
    ({"backends": [*BACKENDS, "x"]}, r"backends\[1\]"),
    (second(name="one"), r"backends\[1\]\.name"),
    (second(name="two words"), r"backends\[1\]\.name"),
    (second(name=""), r"backends\[1\]\.name"),
    (second(name="x" * 65), r"backends\[1\]\.name"),
    (second(url="two.example"), r"backends\[1\]\.url"),
    (second(url="ftp://two.example"), r"backends\[1\]\.url"),
    (second(url="https://"), r"backends\[1\]\.url"),
    (second(url="https://two.example?x=1"), r"backends\[1\]\.url"),
    (second(url="https://user:password@two.example"), r"backends\[1\]\.url"),
    (second(url="https://two.example:99999"), r"backends\[1\]\.url"),
    (second(url="https://two.example:0x50"), r"backends\[1\]\.url"),
    (second(url="https://two.example#x"), r"backends\[1\]\.url"),
    (second(url="https://two example"), r"backends\[1\]\.url"),
    (second(url="https://two.example/a/../b"), r"backends\[1\]\.url"),
    (second(url=7), r"backends\[1\]\.url"),
    (second(priority=-1), r"backends\[1\]\.priority"),
    (second(priority="1"), r"backends\[1\]\.priority"),
    (second(weight=0), r"backends\[1\]\.weight"),
    (second(weight=1.5), r"backends\[1\]\.weight"),
    (second(colour="red"), r"backends\[1\]\.colour"),
    (second(auth={"type": "magic"}), r"backends\[1\]\.auth\.type"),
    (second(auth={"type": "api_key"}), r"backends\[1\]\.auth"),
    (second(auth={"type": "api_key", "key": "a", "key_file": "/nowhere/at/all"}), r"backends\[1\]\.auth"),
    (second(auth={"type": "api_key", "key_file": "/nowhere/at/all"}), r"backends\[1\]\.auth\.key_file"),
    (second(auth={"type": "api_key", "key": "a\r\nX: y"}), r"backends\[1\]\.auth\.key"),
    (second(deployments={"a": 7}), r"backends\[1\]\.deployments"),
    (second(deployments={"": "x"}), r"backends\[1\]\.deployments"),
    (second(tls={"verify": "yes"}), r"backends\[1\]\.tls\.verify"),
    (second(tls={"ca_file": "/nowhere/at/all"}), r"backends\[1\]\.tls\.ca_file"),
    ({"backends": BACKENDS, "unknown": 1}, "unknown"),
    ({"backends": BACKENDS, "listen": {"prot": 1}}, r"listen\.prot"),
    ({"backends": BACKENDS, "listen": {"port": 65536}}, r"listen\.port"),
    ({"backends": BACKENDS, "listen": {"port": -1}}, r"listen\.port"),
    ({"backends": BACKENDS, "listen": {"address": "nowhere"}}, r"listen\.address"),
    ({"backends": BACKENDS, "listen": {"base_path": "api"}}, r"listen\.base_path"),
    ({"backends": BACKENDS, "listen": {"tls": {"certificate_file": "/nowhere/at/all"}}}, r"listen\.tls"),
    ({"backends": BACKENDS, "workers": 0}, "workers"),
    ({"backends": BACKENDS, "workers": "many"}, "workers"),
    ({"backends": BACKENDS, "log": {"format": "xml"}}, r"log\.format"),
    ({"backends": BACKENDS, "log": {"level": "loud"}}, r"log\.level"),
    ({"backends": BACKENDS, "log": {"requests": 1}}, r"log\.requests"),
    ({"backends": BACKENDS, "selection": {"policy": "best"}}, r"selection\.policy"),
    ({"backends": BACKENDS, "cooldown": {"default_ms": -5}}, r"cooldown\.default_ms"),
    ({"backends": BACKENDS, "timeouts": {"connect_ms": 0}}, r"timeouts\.connect_ms"),
    ({"backends": BACKENDS, "timeouts": {"response_ms": "10"}}, r"timeouts\.response_ms"),
    ({"backends": BACKENDS, "limits": {"max_connections": 0}}, r"limits\.max_connections"),
    ({"backends": BACKENDS, "clients": [{"name": "a", "key": "b1234567"}]}, r"backends\[0\]\.auth"),
    ({"backends": [{**BACKENDS[0], "auth": {"type": "api_key", "key": "k"}}],
      "clients": [{"name": "a", "key": "b1234567"}, {"name": "a", "key": "c1234567"}]}, r"clients\[1\]\.name"),
    ({"backends": [{**BACKENDS[0], "auth": {"type": "api_key", "key": "k"}}], "clients": [{"name": "a"}]}, r"clients\[0\]\.key"),
]


@pytest.mark.parametrize("config, path", FAULTS, ids=[f"{number}-{path}" for number, (_, path) in enumerate(FAULTS)])
def test_a_fault_is_told_with_its_path(check, config, path):
    text = faults_of(check(config))
    assert re.search(rf"(^|\s){path}(?!\w).*: \S", text, re.M), text


def test_all_faults_are_told_at_once(check):
    text = faults_of(check({"listen": {"port": "x"}, "log": {"level": "loud"}, "unknown": True,
                            "backends": [{"name": "a b", "url": "nowhere"}, {"url": "https://ok.example", "weight": -1}]}))
    for path in ("listen.port", "log.level", "unknown", "backends[0].name", "backends[0].url", "backends[1].name", "backends[1].weight"):
        assert len(re.findall(rf"(?m)(?:^|\s){re.escape(path)}: ", text)) == 1, text


def test_each_fault_is_one_line_on_stderr(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"log": {"level": "loud", "format": "xml"}, "backends": [{"name": "one"}]}))
    result = run("--config", str(path))
    assert result.returncode == 1
    lines = result.stderr.strip().split("\n")
    assert sum("log.level" in line for line in lines) == 1
    assert sum("log.format" in line for line in lines) == 1
    assert sum("backends[0].url" in line for line in lines) == 1


@pytest.mark.parametrize("text, line, column", [
    ('{\n  "backends": [\n    {"name" "one"}\n  ]\n}\n', 3, None), ('{"backends": [}', 1, None), ("", 1, None), ("[1, 2", 1, None),
    ('{\n "a": 1,\n "a": 2\n}', None, None)], ids=["colon", "bracket", "empty", "cut", "duplicate"])
def test_a_syntax_error_is_told_with_line_and_column(check, text, line, column):
    told = faults_of(check(text))
    if line is not None:
        assert re.search(rf"line {line}\b.*column \d+|:{line}:\d+", told), told


def test_a_missing_file_is_told():
    result = run("--config", "/nowhere/at/all.json", "--check-config")
    assert result.returncode == 1
    assert "/nowhere/at/all.json" in result.stderr + result.stdout


def test_the_daemon_does_not_start_on_a_faulty_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"backends": [{"name": "one", "url": "nowhere"}]}))
    result = run("--config", str(path))
    assert result.returncode == 1
    assert "backends[0].url" in result.stderr
    assert "Listening" not in result.stdout


# ---- ${NAME}

def test_an_unset_name_without_a_default_is_a_fault(check):
    text = faults_of(check({"backends": [{**BACKENDS[0], "auth": {"type": "api_key", "key": "${NOT_SET_AT_ALL}"}}]}))
    assert "backends[0].auth.key" in text
    assert "NOT_SET_AT_ALL" in text


def test_names_are_replaced_everywhere_in_strings(check):
    config = {"backends": [{"name": "${A}-x", "url": "https://${A}.${B:-example}:${PORT_OF:-443}/p"}]}
    printed = json.loads(check(config, {"A": "host"}, "--print-config").stdout)
    assert printed["backends"][0]["name"] == "host-x"
    assert re.fullmatch(r"https://host\.example(:443)?/p", printed["backends"][0]["url"])


def test_a_set_name_beats_its_default(check):
    config = {"backends": [{"name": "one", "url": "https://${HOST_NAME:-default.example}"}]}
    assert "set.example" in check(config, {"HOST_NAME": "set.example"}, "--print-config").stdout


# ---- --print-config

def test_the_effective_configuration_has_every_default(check):
    printed = json.loads(check({"backends": BACKENDS}, argument="--print-config").stdout)
    assert printed["listen"]["address"] == "0.0.0.0"
    assert printed["listen"]["port"] == 8080
    assert printed["admin"]["port"] == 9090
    assert printed["workers"] == "auto"
    assert printed["log"] == {"format": "text", "level": "info", "requests": True}
    assert printed["cooldown"] == {"default_ms": 10000, "min_ms": 1000, "max_ms": 60000, "server_error_ms": 10000}
    assert printed["retry"]["max_attempts"] == 0
    assert printed["retry"]["max_unsafe_retries"] == 1
    assert printed["retry"]["max_body_bytes"] == 33554432
    assert printed["timeouts"] == {
        "connect_ms": 5000, "response_ms": 600000, "request_ms": 0, "commit_ms": 10000, "first_event_ms": 0, "stream_idle_ms": 600000,
        "heartbeat_ms": 15000, "client_header_ms": 10000, "client_body_ms": 60000, "client_send_ms": 60000, "keep_alive_ms": 75000,
        "drain_delay_ms": 0, "drain_ms": 25000}
    assert printed["pool"] == {"idle_ms": 60000, "max_age_ms": 300000}
    assert printed["limits"] == {"max_connections": 10000, "max_header_bytes": 65536, "max_buffered_bytes": 268435456}
    backend = printed["backends"][0]
    assert (backend["priority"], backend["weight"]) == (1, 1)
    assert backend["auth"]["type"] == "passthrough"
    assert backend["tls"]["verify"] is True


def test_secrets_are_redacted(check):
    config = {"admin": {"key": "admin-secret"}, "clients": [{"name": "a", "key": "client-secret-value"}],
              "backends": [{**BACKENDS[0], "auth": {"type": "api_key", "key": "${SECRET_KEY}"}}]}
    result = check(config, {"SECRET_KEY": "backend-secret"}, "--print-config")
    assert result.returncode == 0, result.stderr
    for secret in ("admin-secret", "client-secret-value", "backend-secret"):
        assert secret not in result.stdout + result.stderr
    assert "***" in result.stdout


def test_what_is_printed_is_a_configuration(check):
    printed = check({"backends": BACKENDS, "listen": {"port": 1234}}, argument="--print-config").stdout
    assert check(printed).returncode == 0


def test_printing_a_faulty_configuration_tells_the_faults(check):
    assert "log.level" in faults_of(check({"backends": BACKENDS, "log": {"level": "loud"}}, argument="--print-config"))


# ---- other arguments

def test_version_and_help():
    assert re.search(r"\d+\.\d+\.\d+", run("--version").stdout)
    text = run("--help").stdout
    for option in ("--config", "--check-config", "--print-config", "--demo", "--health", "--version", "--help"):
        assert option in text


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["stray"], ["--config"], ["-c"], ["--check-config=yes"]])
def test_bad_arguments_end_with_1(arguments):
    result = run(*arguments)
    assert result.returncode == 1
    assert result.stderr


@pytest.mark.parametrize("form", ["-c {}", "--config {}", "--config={}"])
def test_every_form_of_config_works(tmp_path, form):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"backends": BACKENDS}))
    assert run(*form.format(path).split(" "), "--check-config").returncode == 0


def test_a_taken_port_ends_with_2(stage, tmp_path):
    daemon = stage.daemon([stage.backend()])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config([{"url": "http://127.0.0.1:1"}], {"listen": {"port": daemon.port}})))
    result = run("--config", str(path))
    assert result.returncode == 2
    assert str(daemon.port) in result.stderr + result.stdout


def test_health_asks_a_running_daemon(stage):
    daemon = stage.daemon([stage.backend()])
    assert run("--health", f"http://127.0.0.1:{daemon.port}/healthz").returncode == 0
    nobody = stage.nobody()
    assert run("--health", f"http://127.0.0.1:{nobody.port}/healthz").returncode == 1


def test_the_examples_are_accepted():
    directory = pathlib.Path(__file__).resolve().parents[2] / "config"
    examples = sorted(path for path in directory.glob("*.json") if '"backends"' in path.read_text() and "schema" not in path.name)
    assert len(examples) >= 3, examples
    for path in examples:
        names = set(re.findall(r"\$\{([A-Z0-9_]+)\}", path.read_text()))
        result = run("--config", str(path), "--check-config", environment={name: f"value-of-{name.lower()}" for name in names})
        assert result.returncode == 0, f"{path.name}: {result.stderr}{result.stdout}"
