"""Every fault of a configuration says where it is, what is wrong in which way, and what to do about it."""
import json

import pytest

from harness.daemon import run

SECRET = "s3cret-value-of-the-test"
URL = "https://one.openai.azure.com"


def config(backend=None, **changes):
    return {"backends": [{"name": "one", "url": URL, **(backend or {})}], **changes}


def auth(**settings):
    return config({"auth": settings})


# what is wrong, the configuration, the path, a word of the remedy
CASES = [
    ("an unknown key that is almost one", config(timeouts={"conect_ms": 1}), "timeouts.conect_ms", "did you mean"),
    ("an unknown key", config(colour=1), "colour", "remove it"),
    ("a string for a number", config(listen={"port": "many"}), "listen.port", "without quotes"),
    ("a number out of range", config(listen={"port": 70000}), "listen.port", "from 0 to 65535"),
    ("a word that is no choice", config(log={"level": "loud"}), "log.level", "expected"),
    ("an object for a boolean", config(log={"requests": {}}), "log.requests", "expected true or false"),
    ("no backends", {}, "backends", "expected"),
    ("an empty list of backends", {"backends": []}, "backends", "expected 1 to"),
    ("a backend without a name", {"backends": [{"url": URL}]}, "backends[0].name", "expected"),
    ("a backend without a URL", {"backends": [{"name": "one"}]}, "backends[0].url", "expected"),
    ("a URL without its scheme", config({"url": "one.example"}), "backends[0].url", "must begin with https://"),
    ("two backends of one name", {"backends": [{"name": "a", "url": URL}] * 2}, "backends[1].name", "each needs its own"),
    ("a name with a space", config({"name": "a b"}), "backends[0].name", "expected"),
    ("no key", auth(type="api_key"), "backends[0].auth.key", "give it"),
    ("key and key file", auth(type="api_key", key=SECRET, key_file="/nowhere"), "backends[0].auth.key_file", "remove one"),
    ("a key with a line break", auth(type="api_key", key=SECRET + "\n"), "backends[0].auth.key", "expected"),
    ("a key file that is not there", auth(type="api_key", key_file="/nowhere"), "backends[0].auth.key_file", "correct the path"),
    ("a key that nothing uses", auth(type="passthrough", key=SECRET), "backends[0].auth.key", "set auth.type"),
    ("a key from an unset variable", auth(type="api_key", key="${NOT_SET}"), "backends[0].auth.key", "set it, or write"),
    ("a reference without its end", auth(type="api_key", key="${NOT_SET"), "backends[0].auth.key", "write $${"),
    ("authorities that are not there", config({"tls": {"ca_file": "/nowhere"}}), "backends[0].tls.ca_file", "correct the path"),
    ("TLS settings for plain HTTP", config({"url": "http://one.example", "tls": {"verify": False}}), "backends[0].tls", "remove it"),
    ("a client's key handed on", config(clients=[{"name": "a", "key": SECRET}]), "backends[0].auth", "set auth.type"),
    ("a certificate without its key", config(listen={"tls": {"certificate_file": "/nowhere"}}), "listen.tls", "needs both"),
    ("a certificate that is not there", config(listen={"tls": {"certificate_file": "/nowhere", "private_key_file": "/nowhere"}}),
     "listen.tls.certificate_file", "correct the path"),
    ("one port for both", config(admin={"port": 8080}), "admin.port", "choose another"),
    ("a floor above the cap", config(cooldown={"min_ms": 70000}), "cooldown.min_ms", "lower it"),
    ("a default above the cap", config(cooldown={"default_ms": 70000}), "cooldown.default_ms", "lower it"),
    ("a map that is a list", config({"deployments": ["a"]}), "backends[0].deployments", "expected an object"),
]


@pytest.mark.parametrize("faulty, path, remedy", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_fault_names_key_and_remedy_and_no_secret(tmp_path, faulty, path, remedy):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(faulty))
    result = run("--config", str(file))
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith(path + ": ")]
    assert len(lines) == 1, result.stderr
    assert remedy in lines[0]
    assert SECRET not in result.stderr + result.stdout
