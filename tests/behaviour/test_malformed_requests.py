"""Many hundreds of malformed requests: each gets one clear answer and a closed connection, and no backend hears of it."""
import select
import socket

import pytest

from harness.client import chunk, request_bytes
from harness.daemon import CHAT_PATH
from harness.wire import Ended
from hostile.malformed import MALFORMED

# What a request smuggler puts behind: were it taken for a request, it would be answered, and reach a backend.
SMUGGLED = request_bytes("POST", CHAT_PATH, [("X-Smuggled", "yes")], b"{}", host="lb")
ACCESS_LINE = r"info 127\.0\.0\.1 \S+ \S+ \S+ \S+ [45][0-9]{2} "
SMALL = [row for row in MALFORMED if len(row.data) < 300]


@pytest.fixture(scope="module")
def scene(shared_stage):
    """A daemon, and a backend that must not be connected to at all."""
    backend = shared_stage.backend()
    return backend, shared_stage.daemon([backend], workers=1)


def send_in_pieces(client, pieces):
    """One piece after the other, until an answer comes. The daemon may see some of them together: that makes no difference."""
    for piece in pieces:
        if select.select([client.sock], [], [], 0)[0]:
            return
        try:
            client.send(piece)
        except ConnectionError:
            return


def fault_of(daemon, row, pieces):
    """What is wrong with the answer to these bytes; None when all is as it should be."""
    with daemon.client() as client:
        send_in_pieces(client, pieces)
        try:
            got = client.read_answer()
        except (Ended, socket.timeout) as end:
            return f"no answer: {end!r}"
        if got.status not in row.statuses:
            return f"{got.status} instead of {row.statuses}: {got.body!r}"
        error = got.json["error"]
        if set(error) != {"code", "message", "type", "param"} or error["type"] != "invalid_request_error" and got.status < 500:
            return f"an error of another shape: {got.body!r}"
        if not error["message"] or not error["code"] or got.header("content-type") != "application/json":
            return f"an unclear error: {got!r}"
        if got.keeps_alive:
            return f"the connection is said to live on: {got.head!r}"
        try:
            client.wait_closed()
        except AssertionError as fault:
            return f"a second answer: {fault}"
    return None


def check_all(scene, rows, cut):
    backend, daemon = scene
    before = len(daemon.find_lines(ACCESS_LINE))
    faults = []
    count = 0
    for row in rows:
        for pieces in cut(row):
            count += 1
            fault = fault_of(daemon, row, pieces)
            if fault:
                faults.append(f"{row.name}: {fault}")
    assert not faults, f"{len(faults)} of {count}:\n" + "\n".join(faults[:40])
    assert daemon.get("/healthz").status == 200
    assert backend.accepted == 0
    daemon.wait_for_line(ACCESS_LINE, before + count)
    assert len(daemon.find_lines(ACCESS_LINE)) == before + count, "each refusal has one access line"


def test_there_are_many_of_them_and_all_differ():
    assert len(MALFORMED) > 1000
    assert len({row.data for row in MALFORMED}) > 0.99 * len(MALFORMED)


def test_each_is_refused_once_and_forwarded_never(scene):
    check_all(scene, MALFORMED, lambda row: [[row.data + SMUGGLED]])


def test_so_it_is_when_they_come_byte_by_byte(scene):
    def bytes_of(row):
        data = row.data + SMUGGLED
        return [[data[at:at + 1] for at in range(len(data))]]

    check_all(scene, SMALL[::5], bytes_of)


def test_so_it_is_wherever_they_are_cut_in_two(scene):
    def halves(row):
        data = row.data + SMUGGLED
        return [[data[:at], data[at:]] for at in range(1, len(row.data) + 1, 3)]

    check_all(scene, SMALL[::11], halves)


def test_so_it_is_behind_a_good_request(scene):
    """On a connection that has been served; the refusal is the last answer on it."""
    _, daemon = scene
    for row in SMALL[::7]:
        with daemon.client() as client:
            client.send(request_bytes("GET", "/healthz") + row.data + SMUGGLED)
            assert client.read_answer("GET").status == 200
            got = client.read_answer()
            assert got.status in row.statuses, row.name
            assert not got.keeps_alive
            assert client.wait_closed() in ("end", "reset"), row.name


@pytest.mark.parametrize("begin", [
    b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nContent-Length: 10\r\n\r\n{",
    b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"{}"),
    b"POST " + CHAT_PATH.encode() + b" HTTP/1.1\r\nHost: lb\r\n",
    b"POST " + CHAT_PATH.encode(),
], ids=["in-a-length", "before-the-last-chunk", "in-the-head", "in-the-request-line"])
def test_a_request_that_is_cut_off_reaches_no_backend(scene, begin):
    backend, daemon = scene
    with daemon.client() as client:
        client.send(begin)
        client.finish_sending()
        assert client.wait_closed() in ("end", "reset")
    assert backend.accepted == 0
