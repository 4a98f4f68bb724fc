"""A caller that speaks in raw bytes and reads strictly."""
import json
import socket
import struct
import time

from .wire import TIMEOUT_SECONDS, Answer, Ended, Reset, Wire, read_chunk, read_chunks


def request_bytes(method, target, headers=(), body=None, version="HTTP/1.1", host="lb.example"):
    """One well-formed request. body: bytes, or anything else that is then sent as JSON."""
    fields = [("Host", host)] if host is not None else []
    fields += list(headers)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        if not any(name.lower() == "content-type" for name, _ in fields):
            fields.append(("Content-Type", "application/json"))
    framed = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields)
    if body is not None and not framed:
        fields.append(("Content-Length", str(len(body))))
    head = f"{method} {target} {version}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode("latin-1") + (body or b"")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Client:
    """One connection to the daemon."""

    def __init__(self, port, tls=None, receive_buffer=None):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(TIMEOUT_SECONDS)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
        self.sock = sock
        self.wire = Wire(sock)
        self.payload = b""  # of a chunked answer: what was read beyond the mark that was asked for

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def request(self, method, target, headers=(), body=None, **options):
        self.send(request_bytes(method, target, headers, body, **options))

    def read_head(self, interim=False):
        """The next answer's head; interim answers are passed over unless asked for."""
        while True:
            answer = Answer(self.wire.until(b"\r\n\r\n"))
            if interim or answer.status >= 200:
                return answer

    def read_answer(self, to_method="POST"):
        """A whole answer, framed as it says; one that ends early raises Ended or Reset."""
        answer = self.read_head()
        if to_method == "HEAD" or answer.status in (204, 304):
            answer.body = b""
        elif answer.chunked:
            answer.body = read_chunks(self.wire)
        elif answer.length is not None:
            answer.body = self.wire.exactly(answer.length)
        else:
            answer.body = self.wire.to_the_end()
        return answer

    def call(self, method, target, headers=(), body=None, **options):
        self.request(method, target, headers, body, **options)
        return self.read_answer(method)

    def read_chunk(self):
        """Some payload of a chunked answer whose head was read; b"" is its clean end."""
        if self.payload:
            payload, self.payload = self.payload, b""
            return payload
        return read_chunk(self.wire)

    def read_payload_until(self, mark):
        """The payload of chunks up to and with mark, wherever the chunks begin and end."""
        data = bytearray()
        while mark not in data:
            payload = self.read_chunk()
            assert payload, f"the answer ended before {mark!r}: {bytes(data)[-300:]!r}"
            data += payload
        end = data.find(mark) + len(mark)
        self.payload = bytes(data[end:])
        return bytes(data[:end])

    def read_payload(self, count):
        """That many bytes of payload, or a few more."""
        data = bytearray()
        while len(data) < count:
            payload = self.read_chunk()
            assert payload, f"the answer ended after {len(data)} bytes: {bytes(data)[-300:]!r}"
            data += payload
        return bytes(data)

    def read_broken_payload(self):
        """Chunk payloads until the connection is cut; a clean end of the answer is a fault."""
        data = bytearray()
        while True:
            try:
                payload = self.read_chunk()
            except Ended:
                return bytes(data)
            assert payload, f"the answer ended cleanly: {bytes(data)[-300:]!r}"
            data += payload

    def nothing_comes(self, seconds):
        """True when not one byte arrives within that time."""
        if self.wire.buffer or self.payload:
            return False
        self.sock.settimeout(seconds)
        try:
            self.wire.receive()
        except socket.timeout:
            return True
        except Ended:
            return False
        finally:
            self.sock.settimeout(TIMEOUT_SECONDS)
        return False

    def wait_closed(self, seconds=TIMEOUT_SECONDS):
        """How the daemon closes the connection, "end" or "reset"; bytes that come before that are a fault."""
        self.sock.settimeout(seconds)
        try:
            self.wire.receive()
        except Reset:
            return "reset"
        except Ended:
            return "end"
        finally:
            self.sock.settimeout(TIMEOUT_SECONDS)
        raise AssertionError(f"bytes instead of a close: {bytes(self.wire.buffer)[:300]!r}")

    def is_open(self):
        """Whether the daemon has kept the connection so far."""
        return self.nothing_comes(0.05)

    def finish_sending(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Leaves with an RST, as a process that was killed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


def wait_for(condition, seconds=TIMEOUT_SECONDS, what="the condition"):
    """Awaits a condition that nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.005)
