"""Names with several addresses, of which some are dead, and names that move.

The resolver's answers come from a file, by names_shim.c in the place of getaddrinfo(). All addresses of a name share a
port, so the machines behind a name are 127.0.0.1, 127.0.0.2, ….
"""
from harness import answers
from harness.client import wait_for
from harness.stage import in_order


def entry(name, port, **more):
    return {"name": name, "url": f"http://{name}.test:{port}", **more}


def test_dead_addresses_are_passed_over(stage, names):
    """Refused or silent: as long as one address of a name lives, its backend does."""
    alive = stage.backend()
    stage.never_accepts(address=("127.0.0.3", alive.port))
    names.set(refused=["127.0.0.2", "127.0.0.1"], silent=["127.0.0.3", "127.0.0.1"],
              mixed=["127.0.0.3", "127.0.0.2", "127.0.0.4", "127.0.0.1"], dead=["127.0.0.2", "127.0.0.4"])
    daemon = stage.daemon(in_order(*[{**entry(name, alive.port), "deployments": {name: "gpt-4o"}}
                                     for name in ("refused", "silent", "mixed")],
                                   {**entry("dead", alive.port), "deployments": {"dead": "gpt-4o"}},
                                   {**entry("unknown", alive.port), "deployments": {"unknown": "gpt-4o"}}),
                          environment=names.environment, timeouts={"connect_ms": 10000})
    for name in ("refused", "silent", "mixed"):
        got = daemon.chat(deployment=name)
        assert got.status == 200, name
        assert got.outcomes == [(name, "200")]
    for name, reason in (("dead", "Connection refused"), ("unknown", "Name or service not known")):
        got = daemon.chat(deployment=name)
        assert got.status == 502, name
        assert got.outcomes == [(name, "connect")]
        daemon.wait_for_line(rf"Backend {name} \({name}\.test:{alive.port}\): connect: {reason}")


def test_a_name_that_moves_is_followed(stage, names):
    """Once nobody answers at its old address; an outage of the resolver changes nothing."""
    old = stage.backend(default=answers.answer(200, [("Connection", "close")], b"old"))
    names.set(moving=["127.0.0.1"])
    daemon = stage.daemon([entry("moving", old.port)], environment=names.environment)
    assert daemon.chat().body == b"old"

    names.set()
    new = stage.backend(default=answers.answer(200, [], b"new"), address=("127.0.0.2", old.port))
    old.close()
    # Each failure asks for a look-up, at most one a second. It fails, and so the old address stays all that is known.
    wait_for(lambda: daemon.chat().status == 502 and daemon.find_lines(
        r"The name moving\.test cannot be looked up: .* \(its last known addresses stay in use\)"), what="a look-up")
    assert not new.requests
    names.set(moving=["127.0.0.2"])
    wait_for(lambda: daemon.chat().body == b"new", what="the move")


def test_a_silent_address_is_not_tried_first_again(stage, names):
    """Only the first connection pays the second that it costs."""
    alive = stage.backend(default=answers.answer(200, [("Connection", "close")], {}))
    stage.never_accepts(address=("127.0.0.3", alive.port))
    names.set(silent=["127.0.0.3", "127.0.0.1"])
    daemon = stage.daemon([entry("silent", alive.port)], environment=names.environment, workers=1)
    assert daemon.chat().status == 200
    before = len(daemon.find_lines("duration_ms="))
    for _ in range(3):
        assert daemon.chat().status == 200
    lines = [daemon.wait_for_line("duration_ms=", before + number) for number in (1, 2, 3)]
    took = [int(line.split("duration_ms=")[1].split()[0]) for line in lines]
    assert min(took) < 1000, took
