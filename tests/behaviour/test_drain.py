"""The end of the daemon, when it comes at an awkward moment."""
import shutil
import signal
import subprocess
import time

import pytest

from harness import answers
from harness.client import wait_for
from harness.daemon import CHAT_PATH

SLOW_LOOK_UP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (name != NULL && strstr(name, "slow") != NULL) {
		sleep(30);
		return EAI_AGAIN;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(name, service, hints, result);
}
"""


SLOW_ACCEPT = r"""
#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int
accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	usleep(200000);
	return (int)syscall(SYS_accept4, fd, address, length, flags);
}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_just_accepted_is_answered(stage, workers):
    """Its request lies in the socket when the signal comes; the daemon has not seen it yet. The answer may still say that
    the connection is kept, where it was written before the worker heard of the drain; then it closes nevertheless."""
    backend = stage.backend()
    daemon = stage.daemon([backend], workers=workers)
    daemon.signal(signal.SIGSTOP)
    clients = [daemon.open_chat(daemon.client()) for _ in range(20)]
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    for client in clients:
        got = client.read_answer()
        assert got.status == 200
    for client in clients:
        assert client.wait_closed() in ("end", "reset")
        client.close()
    assert daemon.wait() == 0
    daemon.ended()


def test_a_request_that_was_just_sent_on_an_idle_connection_is_answered(stage):
    daemon = stage.daemon([stage.backend()])
    clients = [daemon.client() for _ in range(5)]
    for client in clients:
        assert daemon.open_chat(client).read_answer().status == 200
    daemon.signal(signal.SIGSTOP)
    for client in clients:
        daemon.open_chat(client)
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    for client in clients:
        assert client.read_answer().status == 200
        client.close()
    assert daemon.wait() == 0
    daemon.ended()


def test_an_upload_in_flight_is_finished_first(stage):
    backend = stage.backend()
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        client.send(b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        wait_for(lambda: daemon.get("/healthz").status == 200)
        daemon.signal(signal.SIGTERM)
        time.sleep(0.2)
        assert daemon.process.poll() is None
        client.send(b"x" * 50_000)
        assert client.read_answer().status == 200
    assert daemon.wait() == 0
    daemon.ended()


def slowed(stage, text):
    """An environment in which something that the text defines is slow."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the compiler that built the daemon is needed to build what is slow"
    source = stage.directory() / "slow.c"
    library = source.with_suffix(".so")
    source.write_text(text)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "verify_asan_link_order=0"}


@pytest.fixture
def slow_look_up(stage):
    """The look-up of a name with "slow" in it takes half a minute."""
    return slowed(stage, SLOW_LOOK_UP)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_caller_that_is_just_being_accepted_is_answered(stage, workers):
    """Nobody is connected yet when the drain begins, and it does not end before the last has been accepted."""
    daemon = stage.daemon([stage.backend()], environment=slowed(stage, SLOW_ACCEPT), workers=workers)
    daemon.signal(signal.SIGSTOP)
    clients = [daemon.open_chat(daemon.client()) for _ in range(3)]
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    for client in clients:
        assert client.read_answer().status == 200
        client.close()
    assert daemon.wait() == 0
    daemon.ended()


def test_a_look_up_that_hangs_does_not_keep_the_daemon(stage, slow_look_up):
    daemon = stage.daemon([{"url": "http://slow.example"}], environment=slow_look_up, timeouts={"connect_ms": 200})
    began = time.monotonic()
    assert daemon.chat().status in (502, 504)
    assert time.monotonic() - began < 3
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    time.sleep(0.1)
    if daemon.process.poll() is None:
        daemon.signal(signal.SIGTERM)
    daemon.wait()
    assert time.monotonic() - began < 3
    daemon.ended()


def test_a_caller_that_does_not_read_does_not_keep_the_daemon_after_a_second_signal(stage):
    backend = stage.backend(answers.stream(*[answers.HELLO * 400] * 2000))
    daemon = stage.daemon([backend])
    with daemon.client(receive_buffer=8192) as client:
        daemon.open_chat(client, stream=True)
        backend.await_requests(1)
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        time.sleep(0.1)
        daemon.signal(signal.SIGTERM)
        daemon.wait()
        assert time.monotonic() - began < 3
    daemon.ended()
