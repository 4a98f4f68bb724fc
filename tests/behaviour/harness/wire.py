"""HTTP/1.1 messages read strictly from a socket.

Both ends of the tests read with this module: what the daemon sends to a backend and what it sends to a caller must be
framed so that no parser could understand it in two ways. Anything else is a Malformed, which fails the test.
"""
import json
import re
import socket

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
HEAD_MAX_BYTES = 1 << 20
TIMEOUT_SECONDS = 15


class Malformed(AssertionError):
    """The peer broke the rules of HTTP/1.1."""


class Ended(Exception):
    """The peer closed the connection in good order (FIN, or close_notify)."""


class Reset(Ended):
    """The peer reset the connection, or cut TLS off."""


class Wire:
    """A socket with the bytes that were read from it and not yet used."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def receive(self):
        """Waits for some bytes; raises Ended or Reset when there will be none."""
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise
        except OSError as fault:
            raise Reset(str(fault)) from fault
        if not data:
            raise Ended()
        self.buffer += data

    def until(self, mark, limit=HEAD_MAX_BYTES):
        """The bytes up to and with mark."""
        start = 0
        while True:
            at = self.buffer.find(mark, start)
            if at >= 0:
                return self.take(at + len(mark))
            if len(self.buffer) > limit:
                raise Malformed(f"no {mark!r} within {limit} bytes")
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.receive()

    def exactly(self, count):
        while len(self.buffer) < count:
            self.receive()
        return self.take(count)

    def take(self, count):
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def some(self):
        """At least one byte, as many as are there."""
        if not self.buffer:
            self.receive()
        return self.take(len(self.buffer))

    def to_the_end(self):
        """Everything until the peer closes in good order."""
        while True:
            try:
                self.receive()
            except Reset:
                raise
            except Ended:
                return self.take(len(self.buffer))


class Headers(list):
    """Header fields in their order, as (name, value) pairs of text."""

    def all(self, name):
        return [value for field, value in self if field.lower() == name.lower()]

    def get(self, name):
        """The one field of that name, or None; two are a fault."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def names(self):
        return [name.lower() for name, _ in self]


def parse_fields(lines):
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise Malformed(f"not a header field: {line!r}")
        value = value.strip(b" \t")
        if not FIELD_VALUE.match(value):
            raise Malformed(f"control bytes in a header field: {line!r}")
        headers.append((name.decode("ascii"), value.decode("latin-1")))
    return headers


def split_head(head):
    """The lines of a head, without its empty last one; no bare CR or LF is left in any."""
    lines = head[:-4].split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line:
            raise Malformed(f"bare CR or LF in {line!r}")
    return lines


def framing_of(headers):
    """(chunked, content length or None), after checking that they do not contradict each other."""
    lengths = headers.all("content-length")
    codings = headers.all("transfer-encoding")
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise Malformed(f"ambiguous framing: Content-Length {lengths}, Transfer-Encoding {codings}")
    if codings and codings[0].lower() != "chunked":
        raise Malformed(f"Transfer-Encoding {codings[0]}")
    if lengths and not re.fullmatch("[0-9]+", lengths[0]):
        raise Malformed(f"Content-Length {lengths[0]}")
    return bool(codings), int(lengths[0]) if lengths else None


def read_chunk(wire):
    """The next chunk's payload; b"" for the last chunk, whose trailers (there must be none) are read as well."""
    line = wire.until(b"\r\n", 4096)[:-2]
    if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
        raise Malformed(f"chunk size {line!r}")
    size = int(line, 16)
    payload = wire.exactly(size)
    if wire.exactly(2) != b"\r\n":
        raise Malformed("a chunk without its CRLF" if size else "trailers")
    return payload


def read_chunks(wire):
    body = bytearray()
    while True:
        payload = read_chunk(wire)
        if not payload:
            return bytes(body)
        body += payload


class Request:
    """What a backend was sent."""

    def __init__(self, head, connection):
        lines = split_head(head)
        match = re.fullmatch(rb"([!-~]+) ([!-~]+) HTTP/1\.1", lines[0])
        if not match:
            raise Malformed(f"request line {lines[0]!r}")
        self.method = match[1].decode()
        self.target = match[2].decode()
        self.path, _, self.query = self.target.partition("?")
        self.head = head
        self.headers = parse_fields(lines[1:])
        self.connection = connection
        self.chunked, self.length = framing_of(self.headers)
        self.body = None
        if len(self.headers.all("host")) != 1:
            raise Malformed(f"{len(self.headers.all('host'))} Host fields")

    def header(self, name):
        return self.headers.get(name)

    @property
    def json(self):
        return json.loads(self.body)


def read_request_head(wire, connection):
    """The next request's head, or None when the connection ended before one began."""
    try:
        head = wire.until(b"\r\n\r\n")
    except Ended:
        if wire.buffer:
            raise Malformed(f"the connection ended inside a request head: {bytes(wire.buffer)[:200]!r}") from None
        return None
    return Request(head, connection)


def read_request_body(wire, request):
    if request.chunked:
        request.body = read_chunks(wire)
    else:
        request.body = wire.exactly(request.length or 0)


class Answer:
    """What a caller was sent; body is None until it was read."""

    def __init__(self, head):
        lines = split_head(head)
        match = re.fullmatch(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t\x20-\x7e]*)", lines[0])
        if not match:
            raise Malformed(f"status line {lines[0]!r}")
        self.status = int(match[1])
        self.reason = match[2].decode()
        self.head = head
        self.headers = parse_fields(lines[1:])
        self.chunked, self.length = framing_of(self.headers)
        self.body = None

    def header(self, name):
        return self.headers.get(name)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def keeps_alive(self):
        return "close" not in (self.header("connection") or "").lower()

    @property
    def attempts(self):
        """x-aoai-lb-attempts as a list of (name, outcome, rest in ms or None), without the mark of one that was cut."""
        text = self.header("x-aoai-lb-attempts")
        if not text:
            return []
        result = []
        items = text.split(",")
        if re.fullmatch(r"\+[1-9][0-9]*", items[-1]):
            items.pop()
        for item in items:
            match = re.fullmatch(r"([A-Za-z0-9._-]{1,64})=([a-z]+(?::[A-Za-z0-9_-]+)?|[0-9]{3})(?:\(([0-9]+)ms(?:;[a-z-]+)?\))?", item)
            assert match, f"x-aoai-lb-attempts: {text}"
            result.append((match[1], match[2], int(match[3]) if match[3] else None))
        return result

    @property
    def outcomes(self):
        """The attempts without their rests: [("one", "429"), ("two", "200")]; what was skipped is left out."""
        return [(name, outcome) for name, outcome, _ in self.attempts if not outcome.startswith("skip:")]

    def __repr__(self):
        return f"<Answer {self.status} {dict(self.headers)} {(self.body or b'')[:300]!r}>"
