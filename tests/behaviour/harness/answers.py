"""What a backend may say. Each function makes an answer: a callable that takes the Exchange."""
import gzip
import json
import threading

from .wire import TIMEOUT_SECONDS

REASONS = {200: "OK", 201: "Created", 204: "No Content", 302: "Found", 304: "Not Modified", 400: "Bad Request",
           401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 409: "Conflict",
           429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}

COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}],
    "usage": {"prompt_tokens": 14, "completion_tokens": 3, "total_tokens": 17},
}


def head(status, headers=()):
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Something')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status=200, headers=(), body=b"", framing="length"):
    """A whole answer. framing: "length", "chunked" or "close" (ends with the connection). body: bytes, or JSON."""
    headers = list(headers)
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))

    def speak(exchange):
        if framing == "chunked":
            half = len(body) // 2
            parts = [chunk(part) for part in (body[:half], body[half:]) if part]
            exchange.send(head(status, headers + [("Transfer-Encoding", "chunked")]) + b"".join(parts) + b"0\r\n\r\n")
        elif framing == "close":
            exchange.send(head(status, headers + [("Connection", "close")]) + body)
            exchange.close()
        else:
            exchange.send(head(status, headers + [("Content-Length", str(len(body)))]) + body)
        if any(name.lower() == "connection" and "close" in value for name, value in headers):
            exchange.close()

    return speak


def ok(body=None, headers=()):
    """A chat completion."""
    return answer(200, headers, COMPLETION if body is None else body)


def error(status, code, message="Something is wrong.", headers=(), **more):
    """An error in Azure's shape."""
    return answer(status, headers, {"error": {"code": code, "message": message, **more}})


def throttled(*headers, message="Requests have exceeded the rate limit."):
    """A 429; headers: its hints, as (name, value) pairs."""
    return error(429, "429", message, headers)


def wait_ms(milliseconds):
    """A 429 whose hint is that many milliseconds."""
    return throttled(("retry-after-ms", str(milliseconds)))


def deployment_not_found():
    return error(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")


def raw(data, then="keep"):
    """Any bytes; then "keep" the connection, "close" or "reset" it."""

    def speak(exchange):
        exchange.send(data)
        if then == "close":
            exchange.close()
        elif then == "reset":
            exchange.reset()

    return speak


def reset():
    """Takes the request and resets the connection."""
    return lambda exchange: exchange.reset()


def close():
    """Takes the request and closes the connection."""
    return lambda exchange: exchange.close()


def hang():
    """Takes the request and never answers; sees when the daemon leaves."""
    return lambda exchange: exchange.wait_until_gone()


class Gate:
    """A point at which an answer waits until the test lets it go on."""

    def __init__(self):
        self.event = threading.Event()

    def open(self):
        self.event.set()

    def wait(self, exchange):
        for _ in range(int(TIMEOUT_SECONDS / 0.02)):
            if self.event.wait(0.02) or exchange.backend.closing.is_set():
                return


def gated(gate, then):
    """The answer then, once the gate opens."""

    def speak(exchange):
        gate.wait(exchange)
        then(exchange)

    return speak


def parts(*pieces, end="keep"):
    """Bytes and gates in turn, sent as they are. end: "keep", "close", "reset" or "hang"."""

    def speak(exchange):
        for piece in pieces:
            if isinstance(piece, Gate):
                piece.wait(exchange)
            elif not exchange.send(piece):
                return
        finish(exchange, end)

    return speak


def finish(exchange, end):
    if end == "close":
        exchange.close()
    elif end == "reset":
        exchange.reset()
    elif end == "hang":
        exchange.wait_until_gone()
    elif end == "notify":
        exchange.close_notify()


# ---- streams -----------------------------------------------------------------------------------------------------

def event(data, kind=None):
    """One server-sent event; data: text, or JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    return ((f"event: {kind}\n" if kind else "") + f"data: {text}\n\n").encode()


def delta(**fields):
    """A chat chunk whose delta has these fields."""
    finish_reason = fields.pop("finish_reason", None)
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
                  "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


FILTER = event({"id": "", "object": "", "created": 0, "model": "", "choices": [],
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]})
ROLE = delta(role="assistant", content="")
HELLO = delta(content="Hello")
WORLD = delta(content=" world")
STOP = delta(finish_reason="stop")
DONE = b"data: [DONE]\n\n"
CHAT = [FILTER, ROLE, HELLO, WORLD, STOP, DONE]
QUIET = [FILTER, ROLE]


def typed(kind, **fields):
    """An event of the Responses API."""
    return event({"type": kind, **fields}, kind)


CREATED = typed("response.created", response={"id": "resp_1", "status": "in_progress"})
IN_PROGRESS = typed("response.in_progress", response={"id": "resp_1"})
TEXT = typed("response.output_text.delta", delta="Hello")
COMPLETED = typed("response.completed", response={"id": "resp_1", "status": "completed",
                                                  "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}})
RESPONSES = [CREATED, IN_PROGRESS, TEXT, COMPLETED]


def error_event(code="server_error", message="The server had an error.", **more):
    return event({"error": {"code": code, "message": message, **more}})


EVENT_STREAM = ("Content-Type", "text/event-stream; charset=utf-8")


def stream(*pieces, end="clean", headers=(), status=200):
    """A chunked event stream of bytes and gates.

    end: "clean" (last chunk, connection kept), "close" or "reset" (cut off), "hang" (silent until the daemon leaves)
    """

    def speak(exchange):
        fields = [EVENT_STREAM, *headers, ("Transfer-Encoding", "chunked")]
        if not exchange.send(head(status, fields)):
            return
        for piece in pieces:
            if isinstance(piece, Gate):
                piece.wait(exchange)
            elif not exchange.send(chunk(piece)):
                return
        if end == "clean":
            exchange.send(b"0\r\n\r\n")
        else:
            finish(exchange, end)

    return speak


def zipped_stream(*pieces):
    body = gzip.compress(b"".join(pieces))
    return answer(200, [EVENT_STREAM, ("Content-Encoding", "gzip")], body, "chunked"), body
