#!/usr/bin/python3
"""Builds the container image and checks what a container platform relies on, and what deploy/compose.yaml makes of it.

Needs docker or podman; says so and ends with 0 where there is neither. With podman everything goes into build/image, and
where no registry can be reached the base image is made with mmdebstrap from this machine's own Debian mirror.
"""
import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "image"
BASE = "debian:bookworm-slim"
IMAGE = "aoai-lb"
NAME = f"aoai-lb-test-{os.getpid()}"
USER = 65532
MAX_COMPRESSED_BYTES = 20_000_000
MAX_STOP_SECONDS = 10
MAX_MEMORY_BYTES = 64 << 20
CHAT = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
ANSWER = json.dumps({"id": "1", "object": "chat.completion", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris"}}]}).encode()
QUESTION = b'{"messages":[{"role":"user","content":"Hello"}]}'
COMPOSE = ROOT / "deploy" / "compose"
CLIENT_ID = "ffffffff-1111-4222-8333-444444444444"
IDENTITY_HEADER = "image-test-header"
TOKEN = "image-test-token"
LOCKED_DOWN = ("--read-only", "--cap-drop", "all", "--memory", "64m", "--security-opt", "no-new-privileges")
DNS_ADDRESS = "127.0.0.153"
DNS_NAME = "openai1.example.test"


def succeeds(*command, seconds=60):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False) \
            .returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_engine():
    for engine, question in (("docker", "info"), ("podman", "--version")):
        if shutil.which(engine) and succeeds(engine, question):
            return engine
    return None


def isolate_podman():
    """A store of its own, and settings that also hold inside another container."""
    WORK.mkdir(parents=True, exist_ok=True)
    storage = WORK / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\nrunroot = "{WORK}/run"\ngraphroot = "{WORK}/store"\n')
    containers = WORK / "containers.conf"
    runtime = '[engine]\nruntime = "runc"\n' if shutil.which("runc") else ""
    containers.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n' + runtime)
    os.environ.setdefault("CONTAINERS_STORAGE_CONF", str(storage))
    os.environ.setdefault("CONTAINERS_CONF", str(containers))
    os.environ.setdefault("BUILDAH_ISOLATION", "chroot")


class Engine:
    def __init__(self, program):
        self.program = program

    def run(self, *arguments, seconds=60):
        done = subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{self.program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout.strip()

    def has(self, image):
        return succeeds(self.program, "image", "inspect", image)

    def get_base(self):
        """The base image: here already, from a registry, or made here."""
        if self.has(BASE) or succeeds(self.program, "pull", BASE, seconds=180):
            return
        if not shutil.which("mmdebstrap"):
            raise AssertionError(f"{BASE} cannot be pulled; install mmdebstrap to make it from a Debian mirror")
        print(f"{BASE} cannot be pulled: making it with mmdebstrap", flush=True)
        archive = WORK / "base.tar"
        archive.parent.mkdir(parents=True, exist_ok=True)
        hooks = [f"--customize-hook=copy-in {path} /etc/apt/apt.conf.d"
                 for path in sorted(pathlib.Path("/etc/apt/apt.conf.d").iterdir()) if not path.name.startswith("50")]
        options = ["--aptopt=" + line for line in apt_leniency()]
        sources = [str(path) for path in (pathlib.Path("/etc/apt/sources.list.d/debian.sources"),
                                          pathlib.Path("/etc/apt/sources.list")) if path.exists()]
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=path-exclude=/usr/share/man/*",
                        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
                        *options, *hooks, "bookworm", str(archive), *sources[:1]], stdin=subprocess.DEVNULL, timeout=600,
                       check=True)
        # Short names are looked up under localhost first.
        self.run("import", str(archive), BASE if self.program == "docker" else f"localhost/{BASE}", seconds=300)
        archive.unlink()


def apt_leniency():
    """What this machine's apt accepts of its mirror (a frozen mirror's lists are past their date)."""
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    return [line.rstrip(";") for line in done.stdout.splitlines() if re.match(r"Acquire::Check-\S+ ", line)]


class Backend(http.server.BaseHTTPRequestHandler):
    """An Azure OpenAI resource, and beside it the endpoint that hands out tokens for an identity."""
    protocol_version = "HTTP/1.1"
    credentials = []

    def do_GET(self):  # pylint: disable=invalid-name
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        known = query.get("client_id") == [CLIENT_ID] and self.headers["x-identity-header"] == IDENTITY_HEADER
        self.answer(200 if known else 400, json.dumps({"access_token": TOKEN, "token_type": "Bearer",
                                                       "expires_on": str(int(time.time()) + 3600)}).encode())

    def do_POST(self):  # pylint: disable=invalid-name
        self.rfile.read(int(self.headers["content-length"]))
        self.credentials.append((self.headers["api-key"], self.headers["authorization"]))
        self.answer(200, ANSWER)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_names(sock):
    """A name server that knows one IPv4 address for every name."""
    while True:
        query, peer = sock.recvfrom(512)
        end = query.index(0, 12) + 5
        is_a = query[end - 4:end] == struct.pack(">HH", 1, 1)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1") if is_a else b""
        sock.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_a), 0, 0) + query[12:end] + answer, peer)


def start_backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def start_name_server():
    """False where port 53 may not be bound."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((DNS_ADDRESS, 53))
    except OSError:
        return False
    threading.Thread(target=serve_names, args=(sock,), daemon=True).start()
    return True


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ask(port, method, target, body=None):
    status, content, _ = ask_whole(port, method, target, body)
    return status, content


def ask_whole(port, method, target, body=None):
    """The status, the body and the header fields of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def ports_taken(*ports):
    """Those of the ports on which something listens on this machine."""
    taken = []
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                taken.append(port)
    return taken


class Container:
    """A running load balancer (or simulator), locked down as far as a platform may."""

    def __init__(self, engine, *options, environment=None, arguments=(), port, ready="/readyz", name=NAME):
        self.engine = engine
        self.port = port
        self.ready = ready
        self.name = name
        settings = [item for key, value in (environment or {}).items() for item in ("--env", f"{key}={value}")]
        engine.run("run", "--detach", "--name", name, "--network", "host", *LOCKED_DOWN, *options, *settings, IMAGE,
                   *arguments)

    def __enter__(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                if ask(self.port, "GET", self.ready)[0] == 200:
                    return self
            except OSError:
                pass
            if time.monotonic() > deadline:
                logs = subprocess.run([self.engine.program, "logs", self.name], capture_output=True, text=True, check=False)
                self.remove()
                raise AssertionError("the container does not become ready:\n" + logs.stdout + logs.stderr)
            time.sleep(0.05)

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        succeeds(self.engine.program, "rm", "--force", self.name)

    def inspect(self, field):
        return self.engine.run("inspect", "--format", "{{" + field + "}}", self.name)

    def check_health(self):
        if self.engine.program == "podman":
            self.engine.run("healthcheck", "run", self.name)
            return
        deadline = time.monotonic() + 40
        while self.inspect(".State.Health.Status") != "healthy":
            assert time.monotonic() < deadline, "the health check does not succeed"
            time.sleep(0.5)

    def status(self):
        return pathlib.Path(f"/proc/{self.inspect('.State.Pid')}/status").read_text(encoding="ascii")

    def check_memory(self):
        """Returns the most that it ever held: the platform's limit alone would only show that it was not killed."""
        peak = int(re.search(r"^VmHWM:\s+(\d+) kB", self.status(), re.M).group(1)) * 1024
        assert peak < MAX_MEMORY_BYTES, f"{peak} bytes of memory are above {MAX_MEMORY_BYTES}"
        return peak

    def check_user(self):
        status = self.status()
        assert re.search(rf"^Uid:\s+{USER}\s", status, re.M) or os.getuid() != 0, f"not user {USER}:\n{status}"
        assert re.search(r"^CapEff:\s+0+$", status, re.M), f"has capabilities:\n{status}"

    def check_stop(self):
        started = time.monotonic()
        self.engine.run("stop", "--time", "30", self.name)
        seconds = time.monotonic() - started
        assert self.inspect(".State.ExitCode") == "0", f"exit code {self.inspect('.State.ExitCode')} after SIGTERM"
        assert seconds < MAX_STOP_SECONDS, f"took {seconds:.1f} s to stop"


def check_contents(engine):
    """Returns the size as a registry would hold it."""
    archive = WORK / "image.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    engine.run("save", "--output", str(archive), IMAGE, seconds=120)
    names, size = set(), 0
    with tarfile.open(archive) as image:
        manifest = json.load(image.extractfile("manifest.json"))[0]
        config = json.load(image.extractfile(manifest["Config"]))["config"]
        for layer in manifest["Layers"]:
            data = image.extractfile(layer).read()
            size += len(subprocess.run(["gzip", "-6"], input=data, capture_output=True, check=True).stdout)
            with tarfile.open(fileobj=image.extractfile(layer)) as content:
                names.update(name.removeprefix("./") for name in content.getnames())
    archive.unlink()
    for name in ("usr/bin/aoai-lb", "usr/bin/aoai-sim", "etc/ssl/certs/ca-certificates.crt", "etc/nsswitch.conf"):
        assert name in names, f"{name} is missing"
    assert not [name for name in names if re.search(r"(^|/)(sh|bash|dash|apt|dpkg)$", name)], "there is a shell in the image"
    assert config["User"].split(":")[0] == str(USER), f"user {config['User']!r}"
    assert config["Entrypoint"] == ["/usr/bin/aoai-lb"], f"entrypoint {config['Entrypoint']}"
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/aoai-lb", "--health"], "no health check"
    assert "8080/tcp" in config["ExposedPorts"], "8080 is not exposed"
    assert size < MAX_COMPRESSED_BYTES, f"{size} bytes compressed are above {MAX_COMPRESSED_BYTES}"
    return size


def check_service(engine, host, *options):
    """The environment form, a backend by name, health, and the end."""
    port = free_port()
    environment = {"PORT": port, "ADMIN_PORT": free_port(), "BACKEND_1_URL": f"http://{host}:{start_backend()}",
                   "BACKEND_1_APIKEY": "image-test"}
    with Container(engine, *options, environment=environment, port=port) as container:
        status, body = ask(port, "POST", CHAT, QUESTION)
        assert (status, body) == (200, ANSWER), f"{status} {body!r}"
        container.check_user()
        container.check_health()
        container.check_stop()


def check_identity(engine):
    """A token of a managed identity, asked for as in Container Apps: libcurl is loaded by name, so nothing else misses it."""
    backend = start_backend()
    port = free_port()
    path = WORK / "identity.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "listen": {"port": port}, "admin": {"port": free_port()},
        "backends": [{"name": "openai1", "url": f"http://localhost:{backend}",
                      "auth": {"type": "managed_identity", "client_id": "${AZURE_CLIENT_ID}"}}]}), encoding="ascii")
    path.chmod(0o644)
    environment = {"AZURE_CLIENT_ID": CLIENT_ID, "IDENTITY_ENDPOINT": f"http://localhost:{backend}/msi/token",
                   "IDENTITY_HEADER": IDENTITY_HEADER}
    Backend.credentials.clear()
    with Container(engine, "--volume", f"{path}:/etc/aoai-lb/config.json:ro", environment=environment, port=port) as container:
        status, body = ask(port, "POST", CHAT, QUESTION)
        assert (status, body) == (200, ANSWER), f"{status} {body!r}"
        assert Backend.credentials == [(None, f"Bearer {TOKEN}")], f"the backend saw {Backend.credentials}"
        peak = container.check_memory()
        container.check_stop()
    return f"passed, {peak / 1e6:.1f} MB of memory at most"


def check_demo(engine):
    port = 8080
    if ports_taken(port):
        return f"left out: port {port} is taken on this machine"
    with Container(engine, arguments=("--demo",), port=port) as container:
        # Some at once, streamed and whole; the first backend's quota is used up on the way.
        streamed = QUESTION[:-1] + b',"stream":true}'
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for status, body in pool.map(lambda body: ask(port, "POST", CHAT, body), [QUESTION, streamed] * 16):
                assert status == 200, f"{status} {body!r}"
        peak = container.check_memory()
        container.check_user()
        container.check_health()
        container.check_stop()
    return f"passed, {peak / 1e6:.1f} MB of memory at most"


def spill_over(port):
    """A caller asks for more than the provisioned deployment has; another must not hear of its 429. Returns its attempts."""
    greedy = QUESTION[:-1] + b',"max_tokens":16000,"stream":true}'
    modest = QUESTION[:-1] + b',"max_tokens":16}'
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", CHAT, greedy, {"Content-Type": "application/json"})
            assert connection.getresponse().read(1), "the stream is empty"
            status, body, fields = ask_whole(port, "POST", CHAT, modest)  # while the first one is still under way
        finally:
            connection.close()
        assert status == 200, f"{status} {body!r}"
        if "provisioned=429" in fields["x-aoai-lb-attempts"]:
            return fields["x-aoai-lb-attempts"]
    raise AssertionError("nothing spilled over")


def check_compose(engine):
    """What deploy/compose.yaml starts: the load balancer before the simulator, each with the file mounted for it."""
    port, control = 8080, 8089
    taken = ports_taken(port, 8081, 8082, control)
    if taken:
        return f"left out: port {taken[0]} is taken on this machine"
    simulator = Container(engine, "--entrypoint", "/usr/bin/aoai-sim", "--volume",
                          f"{COMPOSE}/simulator.json:/etc/aoai-sim/simulator.json:ro", port=control, ready="/stats",
                          name=f"{NAME}-simulator", arguments=("--config", "/etc/aoai-sim/simulator.json"))
    with simulator, Container(engine, "--add-host", "simulator:127.0.0.1", "--volume",
                              f"{COMPOSE}/config.json:/etc/aoai-lb/config.json:ro", port=port) as balancer:
        engine.run("exec", simulator.name, "/usr/bin/aoai-lb", "--health", f"http://127.0.0.1:{control}/stats")
        status, body, fields = ask_whole(port, "POST", CHAT, QUESTION)
        assert (status, fields["x-aoai-lb-backend"]) == (200, "provisioned"), f"{status} {fields} {body!r}"
        status, body, fields = ask_whole(port, "POST", "/v1/embeddings",
                                         b'{"model":"text-embedding-3-small","input":"Hello"}')
        assert status == 200 and fields["x-aoai-lb-backend"].startswith("openai"), f"{status} {fields} {body!r}"
        spilled = spill_over(port)
        peak = balancer.check_memory()
        balancer.check_stop()
        simulator.check_stop()
    return f"passed ({spilled}), {peak / 1e6:.1f} MB of memory at most"


def main():
    program = find_engine()
    if program is None:
        print("image: neither docker nor podman here; nothing built, nothing checked")
        return 0
    if program == "podman":
        isolate_podman()
    engine = Engine(program)
    engine.get_base()
    subprocess.run(["./dev", "image"], cwd=ROOT, stdin=subprocess.DEVNULL, check=True, timeout=900)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        print(f"contents: passed, {check_contents(engine)} bytes compressed")
        check_service(engine, "localhost")
        print("a backend by a name in /etc/hosts, user, health, stop: passed")
        if start_name_server():
            check_service(engine, DNS_NAME, "--dns", DNS_ADDRESS)
            print("a backend by a name in DNS: passed")
        else:
            print("a backend by a name in DNS: left out: port 53 may not be bound")
        print(f"a managed identity: {check_identity(engine)}")
        print(f"demo: {check_demo(engine)}")
        print(f"compose: {check_compose(engine)}")
    except AssertionError as fault:
        print(f"image: {fault}", file=sys.stderr)
        return 1
    finally:
        succeeds(program, "rm", "--force", NAME, f"{NAME}-simulator")
    return 0


if __name__ == "__main__":
    sys.exit(main())
