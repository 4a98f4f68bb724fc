"""Starts that fail and starts that are cut short; what an operator is told to mend."""
import json
import os
import pathlib
import signal
import subprocess

from harness import answers
from harness.client import wait_for
from harness.daemon import clean_environment, program, run
from harness.stage import make_config


def keyed(backend, path, **settings):
    return backend.entry(auth={"type": "api_key", "key_file": str(path)}, **settings)


def test_a_key_that_was_mended_ends_the_rest_for_the_old_one(stage):
    path = stage.directory() / "key"
    path.write_text("stale-key\n")
    first = stage.backend(answers.error(401, "401"))
    second = stage.backend()
    daemon = stage.daemon([keyed(first, path, priority=1), second.entry(priority=2)], cooldown={"server_error_ms": 3_600_000})
    assert daemon.chat().header("x-aoai-lb-backend") == "two"
    line = daemon.wait_for_line("refuses its credentials")
    for part in ("one", "auth.key_file", str(path)):
        assert part in line
    assert "stale-key" not in line
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    assert daemon.chat().header("x-aoai-lb-backend") == "two", "the same key is no better for being read again"
    path.write_text("fresh-key\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded", 2)
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", what="the mended backend")
    assert first.requests[-1].header("api-key") == "fresh-key"
    assert "fresh-key" not in "\n".join(daemon.lines)


def test_a_deployment_that_is_mapped_to_none_is_named_with_its_map(stage):
    first, second = stage.backend(answers.deployment_not_found()), stage.backend()
    daemon = stage.daemon([first.entry(priority=1, deployments={"gpt-4o": "gpt-4o-ptu"}), second.entry(priority=2)])
    assert daemon.chat().status == 200
    line = daemon.wait_for_line("DeploymentNotFound")
    for part in ("one", "gpt-4o-ptu", "gpt-4o", "deployments"):
        assert part in line


def test_a_certificate_that_is_none_ends_the_start_with_2(stage):
    directory = stage.directory()
    for name in ("certificate", "key"):
        (directory / name).write_text("no PEM\n")
    path = directory / "config.json"
    tls = {"certificate_file": str(directory / "certificate"), "private_key_file": str(directory / "key")}
    path.write_text(json.dumps(make_config([{"url": "http://127.0.0.1:1"}], {"listen": {"tls": tls}})))
    result = run("--config", str(path))
    assert result.returncode == 2
    assert str(directory / "certificate") in result.stderr
    assert "certificate_file" in result.stderr


def test_authorities_that_are_none_end_the_start_with_2(tmp_path):
    (tmp_path / "authorities").write_text("no PEM\n")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config([{"url": "https://127.0.0.1:1", "tls": {"ca_file": str(tmp_path / "authorities")}}])))
    result = run("--config", str(path))
    assert result.returncode == 2
    assert "backends[0].tls.ca_file" in result.stderr


def test_a_stop_during_the_start_ends_it_with_0(tmp_path):
    """The signal is pending before the program begins, so it comes at the first moment that it can."""
    def leave_sigterm_pending():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)

    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config([{"url": "http://127.0.0.1:1"}])))
    result = subprocess.run([program("AOAI_LB", "aoai-lb"), "--config", str(path)], env=clean_environment(), capture_output=True,
                            timeout=60, check=False, preexec_fn=leave_sigterm_pending)  # pylint: disable=subprocess-popen-preexec-fn
    assert result.returncode == 0, result.stderr
    assert b"Stopped" in result.stdout


def test_it_leaves_no_core_dump(stage):
    daemon = stage.daemon([stage.backend()])
    limits = pathlib.Path(f"/proc/{daemon.process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
