"""A scripted Azure OpenAI resource: says exactly what a test wants said, and remembers what it was sent."""
import collections
import socket
import ssl
import struct
import threading
import time

from . import answers
from .wire import TIMEOUT_SECONDS, Ended, Reset, Wire, read_request_body, read_request_head


class Exchange:
    """One request and what is made of it. Answers (see answers.py) are callables that take one of these."""

    def __init__(self, backend, request, wire):
        self.backend = backend
        self.request = request
        self.wire = wire
        self.sent = 0
        self.closed = False
        self.gone = threading.Event()  # the daemon ended the connection
        self.gone_at = None

    def send(self, data):
        """Sends all of it; False when the daemon has left."""
        view = memoryview(data)
        while view:
            try:
                count = self.wire.sock.send(view)
            except socket.timeout:
                if self.backend.closing.is_set():
                    return False
                continue
            except OSError:
                self.left()
                return False
            self.sent += count
            view = view[count:]
        return True

    def left(self):
        self.gone_at = self.gone_at or time.monotonic()
        self.gone.set()
        self.closed = True

    def wait_until_gone(self):
        """Waits until the daemon ends the connection (or the test is over)."""
        while not self.backend.closing.is_set():
            try:
                self.wire.receive()
            except socket.timeout:
                continue
            except Ended:
                self.left()
                return
        self.closed = True

    def read_body(self):
        read_request_body(self.wire, self.request)

    def close(self):
        """FIN; over TLS without a close_notify."""
        self.closed = True
        try:
            self.wire.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close_notify(self):
        """Over TLS: the orderly end."""
        try:
            self.wire.sock.unwrap()
        except (OSError, ValueError):
            pass
        self.close()

    def reset(self):
        self.closed = True
        self.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wire.sock.close()


def remember_server_name(sock, name, _):
    sock.server_name = name


class Backend:
    """Listens on a free port of the loopback.

    script	one answer a request, in order; then default answers all further ones
    before_body	an answer that is called when the head is there and the body still unread; if it returns False the
    		exchange goes on as usual (body, then script)
    connection	takes whole connections instead, as connection(backend, socket, number)
    tls		an ssl.SSLContext: speak TLS
    address	where it listens, instead of a free port of 127.0.0.1
    """

    def __init__(self, *script, default=None, before_body=None, connection=None, tls=None, host="127.0.0.1",
                 address=("127.0.0.1", 0)):
        self.script = collections.deque(script)
        self.default = default or answers.ok()
        self.before_body = before_body
        self.connection = connection
        self.tls = tls
        self.requests = []
        self.exchanges = []
        self.faults = []
        self.handshake_faults = []
        self.handshakes = []  # of TLS: (server name or None, session resumed)
        self.accepted = 0
        self.open = 0
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.threads = []
        self.listener = socket.create_server(address, backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.authority = f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.authority}"
        self.spawn(self.accept)

    def spawn(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.accepted += 1
                self.open += 1
                number = self.accepted
                self.changed.notify_all()
            self.spawn(self.serve, sock, number)

    def serve(self, sock, number):
        sock.settimeout(0.25)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.tls and self.connection is None:
                sock = self.shake_hands(sock)
            if sock is None:
                pass
            elif self.connection:
                self.connection(self, sock, number)
            else:
                self.speak(sock, number)
        except Exception as fault:  # pylint: disable=broad-except
            if not self.closing.is_set():
                self.faults.append(fault)
        finally:
            if sock is not None:
                sock.close()
            with self.changed:
                self.open -= 1
                self.changed.notify_all()

    def shake_hands(self, sock):
        sock.settimeout(TIMEOUT_SECONDS)
        self.tls.sni_callback = remember_server_name
        try:
            sock = self.tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
        except (OSError, ssl.SSLError) as fault:
            self.handshake_faults.append(str(fault))
            sock.close()
            return None
        sock.settimeout(0.25)
        with self.changed:
            self.handshakes.append((getattr(sock, "server_name", None), sock.session_reused))
        return sock

    def speak(self, sock, number):
        wire = PatientWire(sock, self.closing)
        while True:
            request = read_request_head(wire, number)
            if request is None:
                return
            exchange = Exchange(self, request, wire)
            if self.before_body:
                with self.changed:
                    self.requests.append(request)
                    self.exchanges.append(exchange)
                    self.changed.notify_all()
                if self.before_body(exchange) is not False:
                    if exchange.closed:
                        return
                    continue
                exchange.read_body()
                answer = self.next_answer()
            else:
                try:
                    exchange.read_body()
                except Ended:
                    return  # the daemon gave the request up; nothing was complete, nothing is recorded
                with self.changed:
                    answer = self.next_answer()
                    self.requests.append(request)
                    self.exchanges.append(exchange)
                    self.changed.notify_all()
            answer(exchange)
            if exchange.closed:
                return

    def next_answer(self):
        return self.script.popleft() if self.script else self.default

    def then(self, *script):
        """Puts further answers on the script."""
        self.script.extend(script)

    def await_requests(self, count, seconds=TIMEOUT_SECONDS):
        """Waits until that many requests have come; returns the last exchange of them."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, seconds), \
                f"{len(self.requests)} requests came, not {count}"
            return self.exchanges[count - 1]

    def await_connections(self, count, seconds=TIMEOUT_SECONDS):
        with self.changed:
            assert self.changed.wait_for(lambda: self.accepted >= count, seconds), \
                f"{self.accepted} connections came, not {count}"

    def await_open(self, count, seconds=TIMEOUT_SECONDS):
        """Waits until exactly that many connections are open."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.open == count, seconds), \
                f"{self.open} connections are open, not {count}"

    @property
    def request(self):
        """The one request that came."""
        assert len(self.requests) == 1, f"{len(self.requests)} requests came"
        return self.requests[0]

    def entry(self, **settings):
        """Its entry in a configuration."""
        return {"url": self.url, **settings}

    def close(self):
        self.closing.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for thread in list(self.threads):
            thread.join(TIMEOUT_SECONDS)

    def check(self):
        """Fails on whatever the daemon sent that no backend should ever see."""
        if self.faults:
            raise self.faults[0]


class PatientWire(Wire):
    """Waits as long as the test lasts: an idle pooled connection is nothing odd."""

    def __init__(self, sock, closing):
        super().__init__(sock)
        self.closing = closing

    def receive(self):
        while True:
            try:
                super().receive()
                return
            except socket.timeout:
                if self.closing.is_set():
                    raise Reset("the test is over") from None


class NobodyThere:
    """A port that refuses connections, and that nobody else can take meanwhile."""

    def __init__(self, address=("127.0.0.1", 0)):
        self.sock = socket.socket()
        self.sock.bind(address)
        self.port = self.sock.getsockname()[1]
        self.authority = f"{address[0]}:{self.port}"
        self.url = f"http://{self.authority}"
        self.requests = []

    def entry(self, **settings):
        return {"url": self.url, **settings}

    def close(self):
        self.sock.close()

    def check(self):
        pass


class NeverAccepts(NobodyThere):
    """A port whose queue of connections is full: a further one is neither taken nor refused."""

    def __init__(self, address=("127.0.0.1", 0)):
        super().__init__(address)
        self.sock.listen(0)
        self.fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((address[0], self.port))
            self.fillers.append(filler)

    def close(self):
        for filler in self.fillers:
            filler.close()
        super().close()
