"""The daemon under test, as a process."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from .client import Client, wait_for
from .wire import TIMEOUT_SECONDS

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHAT_PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
CHAT_BODY = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer")


def program(variable, name):
    """The program's path: from the environment, else from the usual build directories."""
    if os.environ.get(variable):
        return os.environ[variable]
    for preset in ("debug", "release"):
        path = ROOT / "build" / preset / "src" / name
        for candidate in (path, ROOT / "build" / preset / name):
            if candidate.exists():
                return str(candidate)
    raise FileNotFoundError(f"no {name} is built; set {variable}")


def is_sanitized():
    with open(program("AOAI_LB", "aoai-lb"), "rb") as file:
        text = file.read()
    return b"__asan_init" in text or b"__tsan_init" in text


def clean_environment(extra=None):
    """What the daemon gets to see of the environment: nothing that could configure it by chance."""
    kept = {name: value for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
                        "TSAN_OPTIONS", "LLVM_PROFILE_FILE", "GCOV_PREFIX")}
    kept.update(extra or {})
    return kept


def run(*arguments, environment=None, timeout=TIMEOUT_SECONDS):
    """Runs the program to its end, for the modes that do one thing and stop."""
    return subprocess.run([program("AOAI_LB", "aoai-lb"), *arguments], env=clean_environment(environment), timeout=timeout,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


class Daemon:
    """A running daemon.

    config	a dict that becomes the configuration file; None: started with arguments and environment alone
    """

    def __init__(self, config=None, arguments=(), environment=None, ready=True):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aoai-lb-"))
        self.config_path = self.directory / "config.json"
        command = [program("AOAI_LB", "aoai-lb")]
        if config is not None:
            self.write_config(config)
            command += ["--config", str(self.config_path)]
        self.lines = []
        self.errors = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen([*command, *arguments], env=clean_environment(environment), cwd=self.directory,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.readers = [threading.Thread(target=self.collect, args=(self.process.stdout, self.lines), daemon=True),
                        threading.Thread(target=self.collect, args=(self.process.stderr, self.errors), daemon=True)]
        for reader in self.readers:
            reader.start()
        self.stopped = False
        self.port = None
        if ready:
            try:
                line = self.wait_for_line(r"Listening on https?://")
                self.secure = "https://" in line
                self.port = int(re.search(r"Listening on https?://\S*?:([0-9]+)(?![0-9.])", line)[1])
                if not self.secure:
                    wait_for(lambda: self.call("GET", "/readyz").status == 200, what="readiness")
            except BaseException:
                self.kill()
                raise

    def write_config(self, config):
        """All at once: a reload under way never sees half of it."""
        new = self.config_path.with_suffix(".new")
        new.write_text(json.dumps(config, indent=1))
        new.replace(self.config_path)

    def config(self):
        return json.loads(self.config_path.read_text())

    def collect(self, pipe, lines):
        for line in pipe:
            with self.changed:
                lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self.changed.notify_all()

    # ---- what it says

    def find_lines(self, pattern):
        with self.changed:
            return [line for line in self.lines if re.search(pattern, line)]

    def wait_for_line(self, pattern, count=1, seconds=TIMEOUT_SECONDS):
        """The count-th line of the log that matches; waits for it."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.find_lines(pattern)
            if len(found) >= count:
                return found[count - 1]
            with self.changed:
                self.changed.wait(0.05)
            assert self.process.poll() is None or len(self.find_lines(pattern)) >= count, \
                f"the daemon ended with {self.process.returncode}:\n" + "\n".join(self.lines[-20:] + self.errors[-60:])
            assert time.monotonic() < deadline, f"no line matches {pattern!r}:\n" + "\n".join(self.lines[-40:])

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    # ---- what one asks of it

    def client(self, **options):
        return Client(self.port, **options)

    def call(self, method, target, headers=(), body=None, **options):
        """One request on a connection of its own."""
        with self.client() as client:
            return client.call(method, target, headers, body, **options)

    def get(self, target, headers=()):
        return self.call("GET", target, headers)

    def post(self, target, body, headers=()):
        return self.call("POST", target, headers, body)

    def chat(self, headers=(), deployment="gpt-4o", **more):
        """A chat completion by deployment path."""
        path = f"/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21"
        return self.post(path, {**CHAT_BODY, **more}, headers)

    def open_chat(self, client, **more):
        """Sends a chat completion and does not wait for its answer."""
        client.request("POST", CHAT_PATH, body={**CHAT_BODY, **more})
        return client

    # ---- its end

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=TIMEOUT_SECONDS):
        """Waits for its end; the exit code."""
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join(TIMEOUT_SECONDS)
        return code

    def check_no_report(self):
        text = "\n".join(self.errors)
        assert not SANITIZER_REPORT.search(text), text

    def stop(self):
        """Stops it in good order: exit code 0, and no sanitizer has anything to say. lines and errors stay readable."""
        if self.stopped:
            return
        self.stopped = True
        try:
            died = self.process.poll()
            if died is None:
                self.signal(signal.SIGTERM)
                try:
                    code = self.wait(10)
                except subprocess.TimeoutExpired:
                    self.signal(signal.SIGTERM)
                    try:
                        code = self.wait(5)
                    except subprocess.TimeoutExpired:
                        self.process.kill()
                        self.wait()
                        raise AssertionError("the daemon ignored two SIGTERM") from None
                    raise AssertionError(f"the daemon did not drain within 10 s; a second SIGTERM ended it with {code}") \
                        from None
                assert code == 0, f"exit code {code}:\n" + "\n".join(self.errors)
            else:
                self.wait()
                raise AssertionError(f"the daemon had ended with {died}:\n" + "\n".join(self.lines[-10:] + self.errors))
            self.check_no_report()
        finally:
            self.remove()

    def ended(self):
        """Says that the test has ended the daemon itself."""
        self.stopped = True
        self.check_no_report()
        self.remove()

    def kill(self):
        self.stopped = True
        self.process.kill()
        self.wait()
        self.remove()

    def remove(self):
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)
