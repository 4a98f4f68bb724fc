#!/usr/bin/python3
"""What one forwarded request costs: user instructions and system calls, gated against recorded figures.

Unlike times, these counts hardly vary between runs and machines. The daemon runs under callgrind, forwards FEW requests
in one run and MANY in another, one after the other on one kept-alive connection; the difference is the cost of a request
without the cost of starting. With one request at a time six system calls are the least there can be: wait, receive and
send, for the request and for the answer. A change that makes a request dearer than recorded by more than the tolerance fails, and so
does one that makes it cheaper by as much, until the better figure is recorded: tests/tools/instructions.py --record.

usage: instructions.py [PROGRAM] [--record]		(default: build/release/aoai-lb)
"""
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUDGETS = pathlib.Path(__file__).with_name("budgets.json")
FEW, MANY = 200, 1200
TIMEOUT_SECONDS = 60
# A call that may block has a second line, once it returns. Reading the clock is a system call under valgrind alone.
SYSTEM_CALL = re.compile(r"^SYSCALL\[\d+,\d+\]\( *\d+\) (?!\.\.\. \[async\])(?!sys_clock_gettime)", re.M)

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
REQUEST_BODY_BYTES, ANSWER_BODY_BYTES = 2048, 1536


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


def make_request():
    turn = {"role": "user", "content": ""}
    body = {"messages": [{"role": "system", "content": "You answer briefly."}, turn], "max_tokens": 200, "stream": False}
    return message("POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21 HTTP/1.1", REQUEST_FIELDS,
                   padded(body, (turn, "content"), REQUEST_BODY_BYTES))


def make_answer():
    turn = {"role": "assistant", "content": ""}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1732000000, "model": "gpt-4o-2024-11-20",
            "choices": [{"index": 0, "finish_reason": "stop", "message": turn}],
            "usage": {"prompt_tokens": 420, "completion_tokens": 310, "total_tokens": 730}}
    return message("HTTP/1.1 200 OK", ANSWER_FIELDS, padded(body, (turn, "content"), ANSWER_BODY_BYTES))


def receive_message(sock):
    """Reads one message with a Content-Length; returns its head."""
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
    assert len(body) == length
    return head


def exchange(port, backend, count):
    """Sends count requests through the daemon, and answers them; all on one connection each."""
    request, answer = make_request(), make_answer()
    upstream = None
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            client.sendall(request)
            if upstream is None:
                upstream, _ = backend.accept()
                upstream.settimeout(TIMEOUT_SECONDS)
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            receive_message(upstream)
            upstream.sendall(answer)
            head = receive_message(client)
            assert head.startswith(b"HTTP/1.1 200 "), head
    upstream.close()


def measure(program, count):
    """Instructions and system calls of one run of the daemon over count requests."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as backend:
        backend.settimeout(TIMEOUT_SECONDS)
        config = pathlib.Path(directory, "config.json")
        config.write_text(json.dumps({
            "listen": {"address": "127.0.0.1", "port": 0}, "admin": {"address": "127.0.0.1", "port": 0}, "workers": 1,
            "log": {"requests": False},
            "backends": [{"name": "openai1", "url": f"http://127.0.0.1:{backend.getsockname()[1]}",
                          "auth": {"type": "api_key", "key": "fedcba9876543210fedcba9876543210"}}]}))
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
            exchange(port, backend, count)
            daemon.send_signal(signal.SIGTERM)
            daemon.stdout.read()
            code = daemon.wait(TIMEOUT_SECONDS)
            assert code == 0, f"the daemon ended with {code}"
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        instructions = int(re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.M)[1])
        system_calls = sum(len(SYSTEM_CALL.findall(path.read_text(errors="replace")))
                           for path in pathlib.Path(directory).glob("calls.*"))
        return {"instructions": instructions, "system_calls": system_calls}


def judge(name, figure, budget, tolerance):
    """A line about a figure, and whether it holds."""
    recorded, limit = budget["recorded"], budget["limit"]
    line = f"{name} per forwarded request: {figure:g} (recorded {recorded}, limit {limit})"
    if figure > limit:
        return f"{line}: above the limit", False
    if recorded is None:
        return f"{line}: nothing is recorded yet; record it with --record", False
    if figure > recorded * (1 + tolerance):
        return f"{line}: {100 * (figure / recorded - 1):.1f} % dearer than recorded", False
    if figure < recorded * (1 - tolerance):
        return f"{line}: {100 * (1 - figure / recorded):.1f} % cheaper than recorded: record it with --record", False
    return line, True


def main(arguments):
    record = "--record" in arguments
    programs = [argument for argument in arguments if argument != "--record"]
    program = pathlib.Path(programs[0] if programs else ROOT / "build" / "release" / "aoai-lb").resolve()
    if not shutil.which("valgrind"):
        print("valgrind is missing", file=sys.stderr)
        return 1
    started = time.monotonic()
    few, many = measure(program, FEW), measure(program, MANY)
    budgets = json.loads(BUDGETS.read_text())
    good = True
    for name, budget in budgets["per_request"].items():
        figure = (many[name] - few[name]) / (MANY - FEW)
        if record:
            budget["recorded"] = round(figure, 2) if figure < 100 else round(figure)
        line, holds = judge(name.replace("_", " "), figure, budget, budgets["tolerance"])
        print(line)
        good = good and holds
    print(f"measured in {time.monotonic() - started:.0f} s")
    if record:
        BUDGETS.write_text(json.dumps(budgets, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
