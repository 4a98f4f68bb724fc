"""A thousand streams, many at once, with random faults at random bytes: each ends whole or in an error.

None may end cleanly and short. AOAI_SEED repeats a run that failed, as far as a run with many threads can be repeated.
"""
import collections
import concurrent.futures
import json
import os
import random
import re

from harness.client import Client
from harness.simulator import Simulator
from harness.wire import Ended

SEED = int(os.environ.get("AOAI_SEED", "20261122"))
STREAMS = 1000
AT_ONCE = 50
WAVES = 5
TOKENS = 24
EVENTS = TOKENS + 12    # of the longest stream, and a few more
BODY_BYTES = 10000      # of the longest stream, about
BACKENDS = ("one", "two", "three")
FAULTS_MAX = 256        # that the simulator takes at once

MESSAGES = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "stream": True}
API_VERSION = "api-version=2024-10-21"
CALLS = [
    (f"/openai/deployments/gpt-4o/chat/completions?{API_VERSION}", MESSAGES),
    ("/v1/chat/completions", {"model": "gpt-4o", **MESSAGES}),
    (f"/openai/deployments/gpt-4o/completions?{API_VERSION}", {"prompt": "Hello", "stream": True}),
    ("/openai/v1/responses", {"model": "gpt-4o", "input": "Hello", "store": False, "stream": True}),
]


# ---- faults ------------------------------------------------------------------------------------------------------

def random_stage(dice):
    if dice.random() < 0.5:
        return {"stage": "at_byte", "at": dice.randrange(BODY_BYTES)}
    if dice.random() < 0.5:
        return {"stage": dice.choice(["at_event", "in_event"]), "at": dice.randrange(EVENTS)}
    return {"stage": dice.choice(["before_head", "mid_head", "after_head", "before_end"])}


def breaking_fault(dice):
    return dice.choice([
        lambda: {"fault": "reset", **random_stage(dice)},
        lambda: {"fault": "truncate", **random_stage(dice)},
        lambda: {"fault": "truncate", "form": "final_chunk", "stage": "at_event", "at": dice.randrange(EVENTS)},
        lambda: {"fault": "stall", **random_stage(dice)},
        lambda: {"fault": "stream_error", "status": dice.choice([429, 500]), "at": dice.randrange(EVENTS),
                 "form": dice.choice(["chunk", "event", "response_failed"])},
        lambda: {"fault": "no_done"},
        lambda: {"fault": "throttle", "form": "ms", "ms": dice.randrange(50)},
        lambda: {"fault": "status", "status": dice.choice([500, 502, 503])},
        lambda: {"fault": "garbled_head", "form": dice.choice(["not_http", "nul", "two_lengths", "no_end"])},
    ])()


def harmless_fault(dice):
    return dice.choice([
        {"fault": "slow_body", "bytes": dice.randrange(300, 3000), "ms": 1},
        {"fault": "stall", **random_stage(dice), "ms": dice.randrange(1, 30)},
        {"fault": "comments", "every": dice.randrange(1, 5)},
        {"fault": "keepalive", "every": dice.randrange(1, 5)},
        {"fault": "line_ends", "form": dice.choice(["crlf", "cr"])},
        {"fault": "odd_chunks"},
        {"fault": "until_close"},
        {"fault": "close_after"},
        {"fault": "informational"},
    ])


def make_faults(dice):
    """For each backend, faults for the first requests that reach it; some get a breaking and a harmless one at once."""
    faults = []
    for backend in BACKENDS:
        for number in range(STREAMS // WAVES // 2):
            if dice.random() < 0.55:
                faults.append({**breaking_fault(dice), "resource": backend, "skip": number, "count": 1})
            if dice.random() < 0.25:
                faults.append({**harmless_fault(dice), "resource": backend, "skip": number, "count": 1})
    dice.shuffle(faults)
    return faults[:FAULTS_MAX]


# ---- a reader like the client libraries' -------------------------------------------------------------------------

class Raised(Exception):
    """The caller is told that something went wrong."""


class EventReader:
    """What arrived of a stream: its text, and whether it said that it ended."""

    def __init__(self):
        self.text = ""
        self.ids = set()
        self.finished = False

    def read(self, payload):
        """Takes all that came; raises where an event is an error. An event without its blank line does not count."""
        lines = re.split(r"\r\n|\r|\n", payload.decode())
        data, kind = [], ""
        for line in lines:
            if line:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                data += [value] if name == "data" else []
                kind = value if name == "event" else kind
                continue
            if data:
                self.take(kind, "\n".join(data))
            data, kind = [], ""

    def take(self, kind, data):
        if data.startswith("[DONE]"):
            self.finished = True
            return
        event = json.loads(data)
        if kind == "error" or event.get("error") or event.get("type") in ("error", "response.failed"):
            raise Raised(data)
        assert not self.finished, f"{data} after the end"
        if event.get("id"):
            self.ids.add(event["id"])
        if event.get("type") == "response.output_text.delta":
            self.text += event["delta"]
        if event.get("type") in ("response.completed", "response.incomplete"):
            self.finished = True
        for choice in event.get("choices", []):
            self.text += choice.get("text") or choice.get("delta", {}).get("content") or ""


def read_stream(client, call, reader):
    """One stream to its end; raises Raised for any that is not a clean one of a good answer."""
    path, body = call
    client.request("POST", path, body=body)
    answer = client.read_head()
    payload = bytearray()
    if answer.status != 200:
        if answer.length is not None:
            client.wire.exactly(answer.length)
        raise Raised(str(answer.status))
    broken = None
    try:
        while part := client.read_chunk():
            payload += part
    except Ended:
        broken = Raised("the connection broke")
    reader.read(bytes(payload))
    if broken:
        raise broken
    return answer


def one_stream(port, call, whole):
    """How it went: "whole" or "error", and what went wrong that must not."""
    reader = EventReader()
    with Client(port) as client:
        try:
            read_stream(client, call, reader)
            outcome = "whole"
        except Raised:
            outcome = "error"
        except (AssertionError, OSError, ValueError, Ended) as fault:
            return "fault", f"{call[0]}: {type(fault).__name__}: {fault}"
    if outcome == "whole" and not (reader.finished and reader.text == whole):
        return outcome, f"{call[0]}: a clean end after {reader.text!r}"
    if not whole.startswith(reader.text) or len(reader.ids) > 1:
        return outcome, f"{call[0]}: {reader.text!r} of {len(reader.ids)} answers"
    return outcome, None


def run_wave(daemon, simulator, dice, whole):
    simulator.set_faults(make_faults(dice))
    calls = [dice.choice(CALLS) for _ in range(STREAMS // WAVES)]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda call: one_stream(daemon.port, call, whole), calls))


def test_a_thousand_streams_end_whole_or_in_an_error(stage):
    dice = random.Random(SEED)
    simulator = Simulator({name: {"gpt-4o": {"completion_tokens": TOKENS}} for name in BACKENDS}, seed=SEED)
    try:
        backends = [{"name": name, "url": simulator.url(name), "deployments": {"gpt-4o": "gpt-4o"}}
                    for name in BACKENDS]
        daemon = stage.daemon([], backends=backends, retry={"max_unsafe_retries": 2},
                              cooldown={"min_ms": 1, "default_ms": 5, "max_ms": 20, "server_error_ms": 5},
                              timeouts={"response_ms": 1000, "stream_idle_ms": 1000, "commit_ms": 500})
        reader = EventReader()
        with daemon.client() as client:
            read_stream(client, CALLS[0], reader)
        results = [result for _ in range(WAVES) for result in run_wave(daemon, simulator, dice, reader.text)]
        daemon.stop()
    finally:
        simulator.close()
    wrong = [fault for _, fault in results if fault]
    assert not wrong, f"{len(wrong)} with AOAI_SEED={SEED}:\n" + "\n".join(wrong[:20])
    outcomes = collections.Counter(outcome for outcome, _ in results)
    assert len(results) == STREAMS
    assert min(outcomes["whole"], outcomes["error"]) > STREAMS / 5, f"the faults are too many or too few: {outcomes}"
