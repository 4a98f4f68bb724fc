#!/usr/bin/python3
"""What a forwarded request and a relayed event cost: user instructions and system calls, gated against recorded figures.

Unlike times, these counts hardly vary between runs and machines. The daemon runs under callgrind, forwards few requests
in one run and many in another; the difference is the cost of a request without the cost of starting. Callers and backends
go in step with it, and where several requests or events are there at once the daemon is stopped while they are sent, so
that it always meets the same. With one request at a time six system calls are the least there can be: wait, receive and
send, for the request and for the answer. A change that makes something dearer than recorded by more than the tolerance
fails; what has become cheaper is told, and recorded with --record. What costs less than half of what is recorded was
hardly done or hardly counted, and fails as well.

usage: instructions.py [PROGRAM] [--record]		(default: build/release/aoai-lb)
"""
import concurrent.futures
import contextlib
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUDGETS = pathlib.Path(__file__).with_name("budgets.json")
TIMEOUT_SECONDS = 60
# A call that may block has a second line, once it returns. Reading the clock is a system call under valgrind alone.
SYSTEM_CALL = re.compile(r"^SYSCALL\[\d+,\d+\]\( *\d+\) (?!\.\.\. \[async\])(?!sys_clock_gettime)", re.M)
# A wait that a stop of ours has interrupted (EINTR) is begun again: one of the two is not the daemon's doing.
INTERRUPTED = re.compile(r"^SYSCALL\[\d+,\d+\]\( *\d+\) \.\.\. \[async\] --> Failure\(0x4\)", re.M)

REQUEST_FIELDS = (
    "Host: 127.0.0.1", "Accept: application/json", "Accept-Encoding: gzip, deflate", "Accept-Language: *",
    "Content-Type: application/json", "User-Agent: AzureOpenAI/JS 6.9.0", "api-key: 0123456789abcdef0123456789abcdef",
    "X-Stainless-Lang: js", "X-Stainless-Package-Version: 6.9.0", "X-Stainless-OS: Linux", "X-Stainless-Arch: x64",
    "X-Stainless-Runtime: node", "X-Stainless-Retry-Count: 0")  # and Content-Length: 14 in all
ANSWER_FIELDS = (
    "Content-Type: application/json", "Cache-Control: no-cache, must-revalidate", "apim-request-id: 5f0c3c5e-33b2-4c1a-9d8e",
    "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload", "X-Content-Type-Options: nosniff",
    "azureml-model-session: d042-20241113", "x-accel-buffering: no", "x-ms-client-request-id: 5f0c3c5e-33b2-4c1a-9d8e",
    "x-ms-region: Sweden Central", "x-ratelimit-remaining-requests: 99", "x-ratelimit-remaining-tokens: 9876",
    "x-request-id: 0b8b1f3c-9d8e-4c1a")  # and Content-Length: 13 in all
REQUEST_BODY_BYTES, ANSWER_BODY_BYTES, LARGE_BODY_BYTES = 2048, 1536, 40960
# A turn of the loop with requests has to be short of the 10 ms after which pooled connections are checked before use.
FEW_TOGETHER, MANY_TOGETHER = 8, 32
LARGE_FLEET = 100
TRIES = 3
MEASURES = ("instructions", "system_calls")
CREDIBLE = 0.5  # of what is recorded
REST_MS = 10  # that the throttled backend asks for


def padded(value, member, size):
    """The value as JSON of so many bytes, filled up with a text as the given member of its innermost object."""
    parent, key = member
    parent[key] = "x" * (size - len(json.dumps(value)) + len(parent[key]))
    text = json.dumps(value).encode()
    assert len(text) == size
    return text


def message(first_line, fields, body):
    lines = [first_line, *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def make_request(size=REQUEST_BODY_BYTES, stream=False):
    turn = {"role": "user", "content": ""}
    body = {"messages": [{"role": "system", "content": "You answer briefly."}, turn], "max_tokens": 200, "stream": stream}
    return message("POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21 HTTP/1.1", REQUEST_FIELDS,
                   padded(body, (turn, "content"), size))


def make_answer(size=ANSWER_BODY_BYTES):
    turn = {"role": "assistant", "content": ""}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1732000000, "model": "gpt-4o-2024-11-20",
            "choices": [{"index": 0, "finish_reason": "stop", "message": turn}],
            "usage": {"prompt_tokens": 420, "completion_tokens": 310, "total_tokens": 730}}
    return message("HTTP/1.1 200 OK", ANSWER_FIELDS, padded(body, (turn, "content"), size))


def body_of(text):
    return text.partition(b"\r\n\r\n")[2]


def receive_message(sock, want):
    """Reads one message with a Content-Length, whose body has to be that of the message want; returns its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, "the daemon closed the connection"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?im)^content-length: *(\d+)\r?$", head + b"\r\n")[1])
    while len(body) < length:
        more = sock.recv(65536)
        assert more, "the daemon closed the connection"
        body += more
    assert body == body_of(want), f"another body than was sent, of {len(body)} bytes"
    return head


def receive_until(sock, end, want=b""):
    """Reads until the end, before which the bytes want have to have come."""
    data = b""
    while not data.endswith(end):
        more = sock.recv(65536)
        assert more, "the daemon closed the connection"
        data += more
    assert want in data, "something else came than was sent"


class World:
    """The daemon under callgrind, its backends' listening sockets, and what has been connected."""

    def __init__(self, process, port, listeners, tls):
        self.process, self.port, self.listeners, self.tls = process, port, listeners, tls
        self.open = []

    def client(self):
        sock = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
        return self.kept(sock)

    def upstream(self, backend=0):
        sock, _ = self.listeners[backend].accept()
        sock.settimeout(TIMEOUT_SECONDS)
        return self.kept(self.tls.wrap_socket(sock, server_side=True) if self.tls else sock)

    def kept(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.append(sock)
        return sock

    def close(self):
        for sock in self.open:
            sock.close()

    @contextlib.contextmanager
    def stopped(self, really):
        """The daemon stands still, so that all that is sent meanwhile reaches it in one turn of its loop."""
        if not really:
            yield
            return
        self.process.send_signal(signal.SIGSTOP)
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            while task.joinpath("stat").read_text().rpartition(")")[2].split()[0] not in "Tt":
                time.sleep(0.0005)
        yield
        self.process.send_signal(signal.SIGCONT)


def forward(world, count, together=1, request=None, answer=None):
    """So many rounds of requests, each round's together."""
    request, answer = request or make_request(), answer or make_answer()
    clients, upstreams = [world.client() for _ in range(together)], []
    for _ in range(count):
        with world.stopped(together > 1):
            for client in clients:
                client.sendall(request)
        for i in range(together):
            if len(upstreams) <= i:
                upstreams.append(world.upstream())
            receive_message(upstreams[i], request)
        with world.stopped(together > 1):
            for upstream in upstreams:
                upstream.sendall(answer)
        for client in clients:
            head = receive_message(client, answer)
            assert head.startswith(b"HTTP/1.1 200 "), head


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def make_event(delta='{"content":" token"}', reason="null"):
    return ('data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1732000000,"model":"gpt-4o-2024-11-20",'
            f'"choices":[{{"index":0,"delta":{delta},"finish_reason":{reason}}}]}}\n\n').encode()


def stream(world, count, together=1):
    """So many events on each of the streams, those of all streams together."""
    fields = [field for field in ANSWER_FIELDS if not field.startswith("Content-Type")]
    head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/event-stream", *fields, "Transfer-Encoding: chunked", "", ""])
    event, request, clients, upstreams = make_event(), make_request(stream=True), [], []
    for _ in range(together):
        clients.append(world.client())
        clients[-1].sendall(request)
        upstreams.append(world.upstream())
        receive_message(upstreams[-1], request)
        upstreams[-1].sendall(head.encode() + chunk(event))
        receive_until(clients[-1], b"\n\n\r\n", event)
    for _ in range(count):
        with world.stopped(together > 1):
            for upstream in upstreams:
                upstream.sendall(chunk(event))
        for client in clients:
            receive_until(client, b"\n\n\r\n", event)
    for client, upstream in zip(clients, upstreams):
        upstream.sendall(chunk(make_event("{}", '"stop"')) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        receive_until(client, b"\r\n0\r\n\r\n", b"data: [DONE]\n\n")


def fail_over(world, count):
    """Pairs of requests: the first backend throttles one, the second answers it; once rested, the first takes the other."""
    refusal = message("HTTP/1.1 429 Too Many Requests", ("Content-Type: application/json", f"retry-after-ms: {REST_MS}"),
                      b'{"error":{"code":"429","message":"Please retry."}}')
    client, upstreams, request, answer = world.client(), {}, make_request(), make_answer()

    def answered_by(backend, data):
        if backend not in upstreams:
            upstreams[backend] = world.upstream(backend)
        receive_message(upstreams[backend], request)
        upstreams[backend].sendall(data)

    def client_sees(attempts):
        head = receive_message(client, answer)
        assert head.startswith(b"HTTP/1.1 200 ") and re.search(attempts, head), head

    for _ in range(count):
        client.sendall(request)
        answered_by(0, refusal)
        answered_by(1, answer)
        client_sees(rb"(?im)^x-aoai-lb-attempts: openai1=429\S*,openai2=200\r?$")
        time.sleep(3 * REST_MS / 1000)  # its clock began before this: the rest is over
        client.sendall(request)
        answered_by(0, answer)
        client_sees(rb"(?im)^x-aoai-lb-attempts: openai1=200\r?$")


# name → what is done, how often in the two runs, and by how many requests or events that is divided each time.
CASES = {
    "json": (forward, {}, 100, 500, 1),
    "json_fleet": (forward, {}, 200, 600, 1),  # with LARGE_FLEET backends
    "json_together": (forward, {"together": FEW_TOGETHER}, 10, 60, FEW_TOGETHER),
    "request_40k": (forward, {"request": make_request(LARGE_BODY_BYTES)}, 30, 130, 1),
    "answer_40k": (forward, {"answer": make_answer(LARGE_BODY_BYTES)}, 30, 130, 1),
    "tls": (forward, {}, 50, 250, 1),
    "event": (stream, {}, 100, 600, 1),
    "event_together": (stream, {"together": MANY_TOGETHER}, 4, 24, MANY_TOGETHER),
    "failover_pair": (fail_over, {}, 5, 30, 1),
}


def make_certificate(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "certificate.pem"], cwd=directory, check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pathlib.Path(directory, "certificate.pem"), pathlib.Path(directory, "key.pem"))
    return context


def measure(program, name, count):
    """Instructions and system calls of one run of the daemon over one case."""
    work, options, *_ = CASES[name]
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128)) for _ in range(2)]
        for listener in listeners:
            listener.settimeout(TIMEOUT_SECONDS)
        tls = make_certificate(directory) if name == "tls" else None
        entries = [{"name": f"openai{i + 1}", "priority": i + 1,
                    "url": f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}",
                    "auth": {"type": "api_key", "key": "fedcba9876543210fedcba9876543210"},
                    **({"tls": {"verify": False}} if tls else {})} for i, listener in enumerate(listeners)]
        if name == "json_fleet":  # equals behind one address
            entries = [{**entries[0], "name": f"openai{i + 1}"} for i in range(LARGE_FLEET)]
        config = pathlib.Path(directory, "config.json")
        config.write_text(json.dumps({
            "listen": {"address": "127.0.0.1", "port": 0}, "admin": {"address": "127.0.0.1", "port": 0}, "workers": 1,
            "log": {"requests": False},
            "backends": entries}))
        counts = pathlib.Path(directory, "callgrind.out")
        calls = pathlib.Path(directory, "calls.%p")
        daemon = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", "--trace-syscalls=yes", f"--log-file={calls}",
             str(program), "--config", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            port = None
            for line in daemon.stdout:
                found = re.search(r"Listening on http://\S*?:([0-9]+)(?![0-9.])", line)
                if found:
                    port = int(found[1])
                    break
            assert port, f"the daemon ended with {daemon.wait(TIMEOUT_SECONDS)} before it listened"
            world = World(daemon, port, listeners, tls)
            try:
                work(world, count, **options)
            finally:
                world.close()
            daemon.send_signal(signal.SIGTERM)
            daemon.stdout.read()
            code = daemon.wait(TIMEOUT_SECONDS)
            assert code == 0, f"the daemon ended with {code}"
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        instructions = int(re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.M)[1])
        log = "".join(path.read_text(errors="replace") for path in pathlib.Path(directory).glob("calls.*"))
        system_calls = len(SYSTEM_CALL.findall(log)) - len(INTERRUPTED.findall(log))
        return dict(zip(MEASURES, (instructions, system_calls)))


class Series:
    """The runs of one case. A busy machine only ever adds (connections that rested are checked before use), to the short
    run as to the long one: of each the least counts."""

    def __init__(self, program, name):
        self.program, self.name = program, name
        self.few, self.many = {}, {}

    def run(self):
        """Once more; returns what one request or event costs, as far as is known now."""
        _, _, few_count, many_count, parts = CASES[self.name]
        for least, count in ((self.few, few_count), (self.many, many_count)):
            for what, value in measure(self.program, self.name, count).items():
                least[what] = min(value, least.get(what, value))
        return {what: round((self.many[what] - self.few[what]) / (many_count - few_count) / parts, 3) for what in MEASURES}


def judge(name, figure, budget, tolerance):
    """A line about a figure, and whether it holds."""
    recorded, limit = budget["recorded"], budget["limit"]
    line = f"{name}: {figure:g} (recorded {recorded}, limit {limit})"
    if figure > limit:
        return f"{line}: above the limit", False
    if recorded is None:
        return f"{line}: nothing is recorded yet; record it with --record", False
    if figure < recorded * CREDIBLE:
        return f"{line}: too good to be true; if it is true, keep it with --record", False
    if figure > recorded * (1 + tolerance):
        return f"{line}: {100 * (figure / recorded - 1):.1f} % dearer than recorded", False
    if figure < recorded * (1 - tolerance):
        return f"{line}: {100 * (1 - figure / recorded):.1f} % cheaper than recorded: keep that with --record", True
    return line, True


def missing_budgets(budgets):
    """Cases without a budget, budgets without a case."""
    wanted = {(name, what) for name in CASES for what in MEASURES}
    there = {(name, what) for name, case in budgets["cases"].items() for what in case}
    return sorted(wanted ^ there)


def main(arguments):
    record = "--record" in arguments
    programs = [argument for argument in arguments if argument != "--record"]
    program = pathlib.Path(programs[0] if programs else ROOT / "build" / "release" / "aoai-lb").resolve()
    if not shutil.which("valgrind"):
        print("valgrind is missing", file=sys.stderr)
        return 1
    budgets = json.loads(BUDGETS.read_text())
    if missing_budgets(budgets):
        print(f"{BUDGETS.name} and the cases do not go together: {missing_budgets(budgets)}", file=sys.stderr)
        return 1
    started = time.monotonic()
    series = {name: Series(program, name) for name in CASES}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        figures = dict(zip(CASES, pool.map(Series.run, series.values())))
    good = True
    for name, found in figures.items():
        for what, budget in budgets["cases"][name].items():
            for _ in range(TRIES - 1):
                if record or judge(name, found[what], budget, budgets["tolerance"])[1]:
                    break
                found = series[name].run()
            if record:
                budget["recorded"] = round(found[what], 2) if found[what] < 100 else round(found[what])
            line, holds = judge(f"{name}, {what.replace('_', ' ')}", found[what], budget, budgets["tolerance"])
            print(line)
            good = good and holds
    print(f"measured in {time.monotonic() - started:.0f} s")
    if record:
        BUDGETS.write_text(json.dumps(budgets, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
