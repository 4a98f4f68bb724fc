"""Every failure, at every stage, for every endpoint, streamed or not: what the caller gets.

The first of two simulated backends fails, the second is healthy. What must come of it follows from two rules: before
the commit the second backend's whole answer, after it an end that nobody can take for a clean one. The run makes the
table tests/failure-matrix.md: AOAI_UPDATE_DOCS=1 writes it, otherwise the test fails where the file differs.
"""
import concurrent.futures
import dataclasses
import json
import os

from harness.client import Client
from harness.daemon import ROOT
from harness.simulator import Simulator
from harness.wire import Ended

TABLE = ROOT / "tests" / "failure-matrix.md"
API_VERSION = "api-version=2024-10-21"
PATIENCE_MS = 1000  # of the daemon, with a backend that stalls
HINT_MS = 2000

# A simulated resource has 64 deployments. Each case takes one for itself, since a backend rests by deployment.
SMALL = [f"small-{number}" for number in range(56)]
LARGE = [f"large-{number}" for number in range(8)]
DEPLOYMENTS = {**{name: {"completion_tokens": 8} for name in SMALL},
               **{name: {"completion_tokens": 20000} for name in LARGE}}


# ---- what is asked -----------------------------------------------------------------------------------------------

MESSAGES = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
BODIES = {"chat": MESSAGES, "completions": {"prompt": "Hello"}, "embeddings": {"input": "Hello"},
          "responses": {"input": "Hello", "store": False}}
PATHS = {"chat": "chat/completions", "completions": "completions", "embeddings": "embeddings", "responses": "responses"}
COLUMNS = [("chat", False), ("chat", True), ("completions", False), ("completions", True), ("embeddings", False),
           ("responses", False), ("responses", True)]


@dataclasses.dataclass(frozen=True)
class Variant:
    endpoint: str
    stream: bool
    v1: bool

    @property
    def column(self):
        return self.endpoint, self.stream

    def target(self, deployment):
        path = PATHS[self.endpoint]
        if self.v1:
            return f"/openai/v1/{path}"
        if self.endpoint == "responses":
            return f"/openai/responses?{API_VERSION}"
        return f"/openai/deployments/{deployment}/{path}?{API_VERSION}"

    def body(self, deployment):
        body = {"model": deployment, **BODIES[self.endpoint], **({"stream": True} if self.stream else {})}
        if self.endpoint == "embeddings" and deployment.endswith(tuple(LARGE)):
            body["input"] = ["Hello"] * 8
        return body


VARIANTS = [Variant(endpoint, stream, v1) for endpoint, stream in COLUMNS for v1 in (False, True)]


# ---- what comes back ---------------------------------------------------------------------------------------------

def events_of(payload):
    """The data of the whole events in payload; JSON is decoded."""
    found = []
    for block in payload.decode().split("\n\n")[:-1]:
        data = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
        found += [text if text == "[DONE]" else json.loads(text) for text in data]
    return found


def text_of_event(event):
    """The text that an event adds, of any endpoint."""
    if not isinstance(event, dict):
        return ""
    if event.get("type") == "response.output_text.delta":
        return event["delta"]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or ""
                   for choice in event.get("choices", []))


def said(endpoint, stream, payload):
    """What an answer says, without what differs from call to call; None: it is not whole."""
    if stream:
        events = events_of(payload)
        last = events[-1] if events else None
        if last != "[DONE]" and not (isinstance(last, dict) and last.get("type") == "response.completed"):
            return None
        return "".join(map(text_of_event, events))
    try:
        answer = json.loads(payload)
    except ValueError:
        return None
    if endpoint == "embeddings":
        return [item["embedding"] for item in answer["data"]]
    if endpoint == "responses":
        return answer["output"][-1]["content"][0]["text"]
    choice = answer["choices"][0]
    return choice["text"] if endpoint == "completions" else choice["message"]["content"]


@dataclasses.dataclass
class Got:
    answer: object
    payload: bytes
    clean: bool


def get(port, variant, deployment):
    with Client(port) as client:
        client.request("POST", variant.target(deployment), body=variant.body(deployment))
        answer = client.read_head()
        payload = bytearray()
        try:
            if answer.length is not None:
                while len(payload) < answer.length:
                    payload += client.wire.some()
            else:
                while True:
                    part = client.read_chunk()
                    if not part:
                        break
                    payload += part
        except Ended:
            return Got(answer, bytes(payload), False)
        return Got(answer, bytes(payload), True)


def error_event(got):
    """Whose error event the stream holds: "ours", "its error event" or None."""
    for event in events_of(got.payload):
        if isinstance(event, dict) and (event.get("error") or event.get("type") == "error"):
            return "ours" if "stream_broken" in json.dumps(event) else "its error event"
    return None


# ---- stages ------------------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Sample:
    """A whole answer of the simulator's, and what of it is where."""
    said: object
    events: list
    first_content: int


def is_content(event):
    if not isinstance(event, dict):
        return False
    if "type" in event:
        return event["type"] not in ("response.created", "response.in_progress")
    return bool(text_of_event(event))


def take_sample(port, variant, deployment):
    got = get(port, variant, deployment)
    assert got.answer.status == 200 and got.clean, got.answer
    events = events_of(got.payload) if variant.stream else []
    first = next((number for number, event in enumerate(events) if is_content(event)), 0)
    return Sample(said(variant.endpoint, variant.stream, got.payload), events, first)


@dataclasses.dataclass(frozen=True)
class Point:
    """Where in a call something goes wrong. where(sample): in the simulator's words."""
    name: str
    where: object
    committed: bool = False
    inside_event: bool = False
    said_all: bool = False
    large: bool = False


def fixed(**words):
    return lambda sample: words


HEAD = [Point("after the request", fixed(stage="before_head")), Point("inside the head", fixed(stage="mid_head")),
        Point("after the head", fixed(stage="after_head"))]
BODY = [Point("inside the body", fixed(stage="in_event", at=0)),
        Point("before the last byte", fixed(stage="before_end"))]
BEYOND = Point("beyond 64 KiB", fixed(stage="at_byte", at=90000), committed=True, large=True)
FIRST_EVENT = Point("before the first event", fixed(at=0))
FIRST_CONTENT = Point("before the first content", lambda sample: {"stage": "at_event", "at": sample.first_content})
AFTER_CONTENT = Point("after the first content",
                      lambda sample: {"stage": "at_event", "at": sample.first_content + 1}, committed=True)
LAST_EVENT = Point("before the last event", lambda sample: {"stage": "at_event", "at": len(sample.events) - 1},
                   committed=True)
EVENTS = [
    FIRST_CONTENT,
    Point("inside the first content", lambda sample: {"stage": "in_event", "at": sample.first_content}),
    AFTER_CONTENT,
    Point("inside a later event", lambda sample: {"stage": "in_event", "at": sample.first_content + 3}, committed=True,
          inside_event=True),
    LAST_EVENT,
    Point("before the final chunk", fixed(stage="before_end"), committed=True, said_all=True),
]
CONNECT = Point("while connecting", fixed())
ACCEPT = Point("once connected", fixed(stage="accept"))
REQUEST = Point("inside the request", fixed(stage="request"))
WHOLE = Point("instead of an answer", fixed())
END = Point("at the end", fixed(), committed=True)
ORDER = [CONNECT, ACCEPT, REQUEST, WHOLE, *HEAD, BODY[0], BEYOND, FIRST_EVENT, *EVENTS, BODY[1], END]


# ---- failures ----------------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Failure:
    """What goes wrong, in the simulator's words, and what x-aoai-lb-attempts calls it. alone: takes a whole backend."""
    name: str
    fault: dict
    outcome: str
    alone: bool = False
    perhaps: str = ""      # what it may be called as well
    rest_ms: tuple = None  # the least and the most that the first backend rests
    whose: str = "ours"    # the error event after the commit
    streams: tuple = (False, True)
    endpoints: tuple = tuple(BODIES)


HINTS = [("`retry-after-ms: 2000` and `retry-after: 2`", "both", 2000), ("`retry-after-ms: 2000`", "ms", 2000),
         ("`x-ms-retry-after-ms: 2000`", "x_ms", 2000), ("`retry-after: 2`", "seconds", 2000),
         ("`retry-after` as a date", "date", (1000, 3000)), ("`retry-after-ms: 0`", "zero", 1000),
         ("`retry-after: -1`", "minus", 1000), ("`retry-after: 86400`", "huge", 60000), ("no hint", "missing", 10000),
         ("unreadable hints", "garbage", 10000), ("`x-ratelimit-reset-requests: 2`", "reset_requests", 2000),
         ("`x-ratelimit-reset-tokens: 2`", "reset_tokens", 2000), ("`x-rate-limit-reset-tokens: 2`", "odd", 2000),
         ("“retry after 2 seconds” in the body", "body", 2000),
         ("“high demand … after 2 seconds” in the body", "capacity", 2000)]
NOT_FOUND = {"fault": "status", "status": 404, "body": {"error": {"code": "DeploymentNotFound", "message": "No such."}}}
GARBLED = [("no HTTP", "not_http"), ("bare LF", "bare_lf"), ("a folded line", "obs_fold"),
           ("two Content-Length", "two_lengths"), ("length and chunks", "length_and_chunked"), ("a NUL", "nul"),
           ("a space before a colon", "space_before_colon"), ("a signed length", "signed_length"),
           ("an unreadable status", "bad_status"), ("gzip under chunks", "gzip_chunked")]
CHUNKS = {"endpoints": ("chat", "completions"), "streams": (True,), "whose": "the backend"}
TYPED = {"endpoints": ("responses",), "streams": (True,), "whose": "the backend"}


def span(milliseconds):
    return milliseconds if isinstance(milliseconds, tuple) else (milliseconds, milliseconds)


def failures():
    """(failure, points of an answer that is not streamed, points of one that is)"""
    for name, form, rest in HINTS:
        yield Failure(f"429, {name}", {"fault": "throttle", "form": form, "ms": HINT_MS}, "429",
                      rest_ms=span(rest)), [WHOLE], [WHOLE]
    for status in (408, 500, 501, 502, 503, 504):
        yield Failure(str(status), {"fault": "status", "status": status}, str(status)), [WHOLE], [WHOLE]
    yield Failure("404, DeploymentNotFound", NOT_FOUND, "404"), [WHOLE], [WHOLE]
    for name, form in GARBLED:
        yield Failure(f"garbled head: {name}", {"fault": "garbled_head", "form": form}, "garbled"), [WHOLE], [WHOLE]
    yield Failure("connection refused", None, "connect", alone=True), [CONNECT], [CONNECT]
    # The kernel may tell of the reset before it tells that the connection was made.
    yield Failure("reset", {"fault": "reset"}, "reset", alone=True, perhaps="connect"), [ACCEPT], [ACCEPT]
    yield Failure("reset", {"fault": "reset"}, "reset", alone=True), [REQUEST], [REQUEST]
    yield Failure("reset", {"fault": "reset"}, "reset"), HEAD + BODY, HEAD + EVENTS
    yield Failure("closed early", {"fault": "truncate"}, "reset"), HEAD + BODY + [BEYOND], HEAD + EVENTS
    too_long = {"fault": "wrong_length", "delta": 10}
    yield Failure("Content-Length too long", too_long, "reset", streams=(False,)), [WHOLE], []
    yield Failure("stall", {"fault": "stall"}, "timeout", alone=True), [REQUEST], [REQUEST]
    yield Failure("stall", {"fault": "stall"}, "timeout"), HEAD + BODY + [BEYOND], HEAD + EVENTS
    yield Failure("last chunk too early", {"fault": "truncate", "form": "final_chunk"}, "reset"), [], \
        [HEAD[2], FIRST_CONTENT, AFTER_CONTENT]
    yield Failure("no `[DONE]`, no `response.completed`", {"fault": "no_done"}, "reset"), [], [END]
    in_stream = [FIRST_EVENT, FIRST_CONTENT, AFTER_CONTENT]
    for status in (429, 500):
        for name, form, kind in ((f"{status} inside the stream", "chunk", CHUNKS),
                                 (f"{status} inside the stream", "event", TYPED),
                                 (f"{status} by `response.failed`", "response_failed", TYPED)):
            fault = {"fault": "stream_error", "status": status, "form": form}
            yield Failure(name, fault, f"stream:{status}", **kind), [], in_stream


@dataclasses.dataclass
class Case:
    variant: Variant
    failure: Failure
    point: Point
    caller_name: str = ""  # the deployment, as the caller says it
    own_name: str = ""     # as the backends say it
    backend: str = ""      # the first one

    def fault(self, sample):
        where = self.point.where(sample)
        if self.failure.fault["fault"] == "stream_error":
            where = {"at": where["at"]}
        place = {} if self.failure.alone else {"deployment": self.own_name}
        return {**self.failure.fault, **where, **place, "resource": self.backend if self.failure.alone else "one"}

    def expected(self):
        """The rules: how the first attempt ends, and what the caller gets."""
        if not self.point.committed:
            return self.failure.outcome, "whole"
        if self.point.said_all:
            return "200", "whole"
        if not self.variant.stream or self.point.inside_event:
            return "200", "cut off"
        return "200", "error event, cut off" if self.failure.whose == "ours" else "its error event"

    def seen(self, got, sample):
        """What happened, in the same words."""
        outcomes = [outcome for _, outcome in got.answer.outcomes]
        if got.answer.status != 200 or outcomes[1:] not in ([], ["200"]):
            return str(outcomes), f"a {got.answer.status}"
        first = self.failure.outcome if outcomes[0] == self.failure.perhaps else outcomes[0]
        event = self.variant.stream and error_event(got)
        whole = said(self.variant.endpoint, self.variant.stream, got.payload) == sample.said
        if got.clean and not event:
            return first, "whole" if whole else "a short answer taken for whole"
        if self.variant.stream and not sample.said.startswith("".join(map(text_of_event, events_of(got.payload)))):
            return first, "another text"
        if event:
            return first, "error event, cut off" if event == "ours" and not got.clean else event
        return first, "whole, then cut off" if whole else "cut off"

    def check_rest(self, got):
        """What is wrong with the first backend's rest, or None."""
        if self.failure.rest_ms is None:
            return None
        low, high = self.failure.rest_ms
        rest_ms = got.answer.attempts[0][2]
        return None if rest_ms is not None and low <= rest_ms <= high else f"a rest of {rest_ms} ms"


def cases():
    for failure, whole_points, stream_points in failures():
        for variant in VARIANTS:
            if variant.stream in failure.streams and variant.endpoint in failure.endpoints:
                for point in stream_points if variant.stream else whole_points:
                    yield Case(variant, failure, point)


# ---- the run -----------------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Batch:
    """Cases that go on at once, each on a deployment of its own."""
    cases: list
    threads: int


def batches(found):
    """Cases that only wait go together, many at once; the others a few at a time, so that nothing is slow by itself."""
    made = []
    for alone, stalls in ((False, False), (False, True), (True, False), (True, True)):
        group = [case for case in found
                 if case.failure.alone == alone and (case.failure.outcome == "timeout") == stalls]
        small, large = ([case for case in group if case.point.large == size] for size in (False, True))
        while small or large:
            made.append(Batch(small[:len(SMALL)] + large[:len(LARGE)], len(SMALL) // 2 if stalls else 4))
            small, large = small[len(SMALL):], large[len(LARGE):]
    return made


def place(made):
    """Gives each case its deployment and its backend. The daemon knows a backend by another name in each batch, and so
    each batch finds both backends well rested. Returns the first backends of those that need one each."""
    lonely = []
    for number, batch in enumerate(made):
        names = {False: iter(SMALL), True: iter(LARGE)}
        for case in batch.cases:
            case.own_name = SMALL[0] if case.failure.alone else next(names[case.point.large])
            case.backend = f"one-{number}"
            case.caller_name = f"{number}-{case.own_name}"
            if case.failure.alone:
                case.backend = case.caller_name = f"alone-{len(lonely)}"
                lonely.append(case)
    return lonely


def backend_entries(made, lonely, simulator, nobody):
    def entry(name, priority, url, deployments):
        return {"name": name, "priority": priority, "url": url, "deployments": deployments,
                "auth": {"type": "api_key", "key": "any"}}

    for case in lonely:
        url = simulator.url(case.backend) if case.failure.fault else nobody.url
        yield entry(case.backend, 1, url, {case.caller_name: case.own_name})
    for number, batch in enumerate(made):
        names = {case.caller_name: case.own_name for case in batch.cases}
        if not batch.cases[0].failure.alone:
            yield entry(f"one-{number}", 1, simulator.url("one"), names)
        yield entry(f"two-{number}", 2, simulator.url("two"), names)


def run(batch, simulator, daemon, samples):
    """Each case with what was seen, and with what is wrong about the rest."""
    def one(case):
        sample = samples[case.variant, case.point.large]
        try:
            got = get(daemon.port, case.variant, case.caller_name)
            return case, case.seen(got, sample), case.check_rest(got)
        except (AssertionError, OSError, ValueError, LookupError) as fault:
            return case, (type(fault).__name__, str(fault)), None

    simulator.set_faults([case.fault(samples[case.variant, case.point.large]) for case in batch.cases
                          if case.failure.fault])
    with concurrent.futures.ThreadPoolExecutor(batch.threads) as pool:
        return list(pool.map(one, batch.cases))


# ---- the table ---------------------------------------------------------------------------------------------------

INTRODUCTION = """# What a caller gets when a backend fails

Made by `tests/behaviour/test_matrix.py` from a run against the daemon and the simulator; to make it again:
`AOAI_UPDATE_DOCS=1 /usr/bin/python3 -m pytest tests/behaviour/test_matrix.py`.

Two backends: the first fails as the row says, the second is healthy. Each endpoint is asked by Azure's own path and by
its v1 path, with the same result.

The column *attempt* is what `x-aoai-lb-attempts` says of the first backend, and for how long it rests where it said so.

- *whole*: the caller gets a whole answer: the second backend's, and nothing of the first one's. Where only the final chunk
  is missing it is the first one's: its last event has come, and the caller's stream ends in good order.
- *error event, cut off*: some of the answer had gone to the caller; then it gets an error event in the words of its
  dialect, and the connection ends without the final chunk. Client libraries raise an error.
- *cut off*: the same without an event, because the stream broke inside one, or because the answer is no stream.
- *its error event*: the backend's own error event passes, after what had gone before. Client libraries raise an error.
"""


def title(column):
    return f"{column[0]}, {'stream' if column[1] else 'JSON'}"


def attempt_text(case, outcome):
    low, high = case.failure.rest_ms or (0, 0)
    return f"`{outcome}({low}ms)`" if low == high != 0 else f"`{outcome}`"


def make_table(results):
    rows = {}
    for case, (outcome, what), _ in results:
        row = (case.failure.name, case.point.name, attempt_text(case, outcome))
        rows.setdefault(row, {}).setdefault(case.variant.column, set()).add(what)
    lines = [INTRODUCTION, "| failure | stage | attempt | " + " | ".join(map(title, COLUMNS)) + " |",
             "| --- | --- | --- |" + " --- |" * len(COLUMNS)]
    for row, cells in rows.items():
        texts = [" / ".join(sorted(cells.get(column, "–"))) for column in COLUMNS]
        lines.append("| " + " | ".join([*row, *texts]) + " |")
    return "\n".join(lines) + "\n"


def test_every_failure_at_every_stage(stage):
    found = list(cases())
    made = batches(found)
    lonely = place(made)
    simulated = {"one": DEPLOYMENTS, "two": DEPLOYMENTS,
                 **{case.backend: {SMALL[0]: DEPLOYMENTS[SMALL[0]]} for case in lonely if case.failure.fault}}
    simulator = Simulator(simulated)
    try:
        samples = {(variant, large): take_sample(simulator.ports["two"], variant, (LARGE if large else SMALL)[0])
                   for variant in VARIANTS for large in (False, True)}
        daemon = stage.daemon([], backends=list(backend_entries(made, lonely, simulator, stage.nobody())),
                              timeouts=dict.fromkeys(("response_ms", "first_event_ms", "stream_idle_ms"), PATIENCE_MS))
        results = [result for batch in made for result in run(batch, simulator, daemon, samples)]
        daemon.stop()
    finally:
        simulator.close()

    wrong = [f"{case.failure.name}, {case.point.name}, {title(case.variant.column)}, v1 {case.variant.v1}: "
             f"{fault or what} instead of {case.failure.rest_ms if fault else case.expected()}"
             for case, what, fault in results if fault or what != case.expected()]
    assert not wrong, f"{len(wrong)} of {len(results)}:\n" + "\n".join(wrong)

    names = list(dict.fromkeys(case.failure.name for case in found))
    table = make_table(sorted(results, key=lambda result: (names.index(result[0].failure.name),
                                                           ORDER.index(result[0].point))))
    if os.environ.get("AOAI_UPDATE_DOCS") == "1":
        TABLE.write_text(table)
    assert TABLE.exists() and TABLE.read_text() == table, f"{TABLE} is not what was seen; AOAI_UPDATE_DOCS=1 writes it"
