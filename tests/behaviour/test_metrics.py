"""What /metrics says is well-formed, and exactly what callers and backends saw."""
import collections
import itertools
import json
import random
import shutil
import signal
import subprocess
import threading

from harness import answers
from harness.client import Client, wait_for
from harness.daemon import CHAT_PATH
from harness.metrics import Metrics
from harness.stage import equals, in_order
from harness.wire import Ended
from test_admin import Admin

KEY = {"type": "api_key", "key": "backend-key"}
FAMILIES = {
    "requests_total": "counter", "request_duration_seconds": "histogram", "time_to_first_event_seconds": "histogram",
    "requests_in_flight": "gauge", "attempts_total": "counter", "attempt_duration_seconds": "histogram",
    "throttled_total": "counter", "failovers_total": "counter", "cooldown_seconds_total": "counter",
    "backend_available": "gauge", "backend_cooldown_remaining_seconds": "gauge", "backend_in_flight": "gauge",
    "tokens_total": "counter", "client_disconnects_total": "counter", "upstream_connections": "gauge",
    "config_reloads_total": "counter", "build_info": "gauge", "log_lines_dropped_total": "counter",
    "retries_total": "counter", "held_requests": "gauge", "backend_remaining_tokens": "gauge",
    "backend_utilization_ratio": "gauge", "spillovers_total": "counter",
}


def scrape(daemon):
    got = Admin(daemon).get("/metrics")
    assert got.status == 200
    assert got.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(got.body.decode())


def settled(daemon):
    """What is counted once nothing is under way."""
    wait_for(lambda: scrape(daemon).total("aoai_lb_requests_in_flight") == 0, what="the end of all requests")
    return scrape(daemon)


def test_every_family_is_there_from_the_start(stage):
    metrics = scrape(stage.daemon([stage.backend()]))
    for name, kind in FAMILIES.items():
        assert metrics.types["aoai_lb_" + name] == kind, name
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
                 "process_start_time_seconds"):
        assert metrics.total(name) > 0, name
    assert metrics.total("aoai_lb_build_info") == 1
    assert metrics.total("aoai_lb_client_disconnects_total") == 0


def test_a_request_is_counted_once_with_its_names(stage):
    daemon = stage.daemon([stage.backend().entry(auth=KEY)], clients=[{"name": "app", "key": "secret"}])
    assert daemon.chat(headers=[("api-key", "secret")]).status == 200
    assert daemon.chat(headers=[("api-key", "wrong")]).status == 401
    metrics = settled(daemon)
    assert metrics.total("aoai_lb_requests_total", client="app", deployment="gpt-4o", code="200") == 1
    assert metrics.total("aoai_lb_requests_total", client="", code="401") == 1
    assert metrics.total("aoai_lb_requests_total") == 2
    assert metrics.total("aoai_lb_request_duration_seconds_count") == 2
    assert metrics.total("aoai_lb_attempts_total", backend="one", deployment="gpt-4o", code="200") == 1
    assert metrics.total("aoai_lb_attempt_duration_seconds_count", backend="one") == 1
    for kind, count in (("prompt", 14), ("completion", 3)):
        assert metrics.total("aoai_lb_tokens_total", client="app", backend="one", deployment="gpt-4o", type=kind) == count


def test_health_checks_are_nobodys_requests(stage):
    daemon = stage.daemon([stage.backend()])
    for _ in range(3):
        daemon.get("/healthz")
        daemon.get("/readyz")
    assert settled(daemon).total("aoai_lb_requests_total") == 0


def test_a_failover_says_from_whom_and_why(stage):
    daemon = stage.daemon(in_order(stage.backend(answers.wait_ms(20000)), stage.backend(answers.reset()), stage.backend()))
    assert daemon.chat().status == 200
    metrics = settled(daemon)
    assert metrics.total("aoai_lb_failovers_total") == 2
    assert metrics.total("aoai_lb_failovers_total", **{"from": "one"}, reason="429") == 1
    assert metrics.total("aoai_lb_failovers_total", **{"from": "two"}, reason="reset") == 1
    assert metrics.total("aoai_lb_throttled_total", backend="one", deployment="gpt-4o") == 1
    assert metrics.total("aoai_lb_cooldown_seconds_total", backend="one", deployment="gpt-4o") == 20
    assert metrics.total("aoai_lb_backend_available", backend="one", deployment="gpt-4o") == 0
    assert metrics.total("aoai_lb_backend_available", backend="one", deployment="") == 1
    assert metrics.total("aoai_lb_backend_available", backend="three", deployment="gpt-4o") == 1
    assert 15 < metrics.total("aoai_lb_backend_cooldown_remaining_seconds", backend="one", deployment="gpt-4o") <= 20


def test_the_first_event_of_a_stream_is_timed(stage):
    daemon = stage.daemon([stage.backend(default=answers.stream(*answers.CHAT))])
    assert daemon.chat(stream=True).status == 200
    assert settled(daemon).total("aoai_lb_time_to_first_event_seconds_count", deployment="gpt-4o") == 1


def test_connections_are_busy_then_idle(stage):
    gate = answers.Gate()
    daemon = stage.daemon([stage.backend(default=answers.gated(gate, answers.ok()))])
    with daemon.client() as client:
        daemon.open_chat(client)
        wait_for(lambda: scrape(daemon).total("aoai_lb_upstream_connections", backend="one", state="busy") == 1)
        assert scrape(daemon).total("aoai_lb_backend_in_flight", backend="one") == 1
        gate.open()
        client.read_answer()
    wait_for(lambda: scrape(daemon).total("aoai_lb_upstream_connections", backend="one", state="idle") == 1)
    metrics = scrape(daemon)
    assert metrics.total("aoai_lb_upstream_connections", state="busy") == 0
    assert metrics.total("aoai_lb_backend_in_flight") == 0


def test_names_that_callers_make_up_share_one_label(stage):
    daemon = stage.daemon([stage.backend(default=answers.deployment_not_found())])
    for number in range(20):
        assert daemon.chat(deployment=f"made-up-{number}").status == 404
    assert settled(daemon).values("aoai_lb_requests_total", "deployment") == {"other"}


def test_a_name_with_odd_characters_is_escaped(stage):
    daemon = stage.daemon([stage.backend()])
    assert daemon.chat(deployment="a%22b%5Dc").status == 200
    assert settled(daemon).values("aoai_lb_requests_total", "deployment") == {'a"b]c'}


def test_a_name_that_is_no_utf_8_becomes_no_label(stage):
    """One would make the whole page unreadable; a backend that takes any name would teach it to the daemon."""
    daemon = stage.daemon([stage.backend().entry(deployments={"*": "any"})])
    assert [daemon.chat(deployment=name).status for name in ("a%ffb", "%c3", "%c0%af", "%ed%a0%80", "%c3%a9")] == [400] * 4 + [200]
    assert settled(daemon).values("aoai_lb_requests_total", "deployment") == {"", "é"}


def test_names_that_are_called_other_share_the_label_of_the_rest(stage):
    backend = stage.backend(answers.ok(), answers.deployment_not_found())
    daemon = stage.daemon([], backends=[{"name": "other", **backend.entry(auth=KEY)}], clients=[{"name": "other", "key": "k"}])
    assert [daemon.chat([("api-key", "k")], deployment=name).status for name in ("other", "made-up", "other")] == [200, 404, 200]
    metrics = settled(daemon)
    assert metrics.total("aoai_lb_requests_total", deployment="other") == 3
    assert metrics.total("aoai_lb_attempts_total", deployment="other", backend="other") == 3
    assert metrics.total("aoai_lb_request_duration_seconds_count", deployment="other") == 3


def test_counters_outlive_a_reload_that_drops_their_names(stage):
    one, two = stage.backend(), stage.backend()
    daemon = stage.daemon([one.entry(auth=KEY), two.entry(auth=KEY)],
                          clients=[{"name": "app", "key": "k1"}, {"name": "other-app", "key": "k2"}])
    for _ in range(20):
        assert daemon.chat(headers=[("api-key", "k1")]).status == 200
    before = settled(daemon)
    config = {**daemon.config(), "clients": [{"name": "other-app", "key": "k2"}], "backends": [two.entry(name="two", auth=KEY)]}
    daemon.write_config(config)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded")
    for _ in range(20):
        assert daemon.chat(headers=[("api-key", "k2")]).status == 200
    after = settled(daemon)
    assert after.total("aoai_lb_requests_total", client="app") == 20
    assert after.total("aoai_lb_requests_total", client="other-app") == 20
    assert after.total("aoai_lb_attempts_total", backend="one") == before.total("aoai_lb_attempts_total", backend="one")
    assert after.total("aoai_lb_config_reloads_total", result="ok") == 1
    daemon.write_config({**config, "backends": []})
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has not been reloaded")
    assert scrape(daemon).total("aoai_lb_config_reloads_total", result="failed") == 1


def test_prometheus_own_tool_finds_nothing(stage):
    """The tool is a large package and not installed for this; where it is missing the strict reader has to do."""
    daemon = stage.daemon([stage.backend()])
    daemon.chat()
    scrape(daemon)
    if shutil.which("promtool") is not None:
        text = Admin(daemon).get("/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_secrets_and_a_callers_text_are_not_in_the_metrics(stage):
    daemon = stage.daemon([stage.backend().entry(auth={"type": "api_key", "key": "backend-secret"})])
    daemon.chat([("api-key", "caller-secret")])
    daemon.get("/made-up-by-a-caller")
    text = Admin(daemon).get("/metrics").body
    assert not [word for word in (b"backend-secret", b"caller-secret", b"made-up") if word in text]


# ---- the books of callers, backends and daemon agree

REQUESTS = 10_000
CALLERS = 20


class Book:
    """What was seen, from any thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()

    def note(self, *key, by=1):
        with self.lock:
            self.counts[key] += by

    def total(self, *key):
        return sum(count for seen, count in self.counts.items() if seen[:len(key)] == key)


def mixed(book, name, seed):
    """A backend of many moods that keeps its own book."""
    dice = random.Random(seed)
    lock = threading.Lock()
    whole = answers.ok()
    moods = [(60, "200", whole), (15, "200", answers.stream(*answers.CHAT)), (8, "429", answers.wait_ms(10)),
             (6, "500", answers.error(500, "boom")), (3, "400", answers.error(400, "content_filter")),
             (4, "reset", answers.reset()), (4, "garbled", answers.raw(b"nonsense\r\n\r\n", "close"))]

    def speak(exchange):
        with lock:
            _, code, answer = dice.choices(moods, [weight for weight, _, _ in moods])[0]
        book.note(name, code)
        if answer is whole:  # the streams say nothing of their usage
            book.note("completion", name, by=3)
            book.note("prompt", name, by=14)
        answer(exchange)

    return speak


def test_ten_thousand_mixed_requests_add_up(stage):
    book = Book()
    backends = [stage.backend(default=mixed(book, name, seed)) for seed, name in enumerate(("one", "two", "three"))]
    daemon = stage.daemon(equals(*backends), workers=2, cooldown={"server_error_ms": 10, "min_ms": 10, "default_ms": 10},
                          retry={"max_unsafe_retries": 9}, log={"requests": False})

    def caller(number):
        client = daemon.client()
        for turn in range(REQUESTS // CALLERS):
            client.request("POST", CHAT_PATH, body={"messages": [], "user": f"{number}-{turn}"})
            try:
                got = client.read_answer()
                book.note("caller", str(got.status))
                book.note("attempts", by=len(got.outcomes))
                book.note("failovers", by=max(len(got.outcomes) - 1, 0))
                keeps = got.keeps_alive
            except Ended:
                book.note("caller", "200")  # a stream that broke after its commit
                keeps = False
            if not keeps:
                client.close()
                client = daemon.client()
        client.close()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    metrics = settled(daemon)
    assert metrics.total("aoai_lb_requests_total") == REQUESTS
    assert metrics.total("aoai_lb_request_duration_seconds_count") == REQUESTS
    for code in metrics.values("aoai_lb_requests_total", "code") | {key[1] for key in book.counts if key[0] == "caller"}:
        assert metrics.total("aoai_lb_requests_total", code=code) == book.total("caller", code), code
    for backend in ("one", "two", "three"):
        for code in ("200", "429", "500", "400", "reset", "garbled"):
            assert metrics.total("aoai_lb_attempts_total", backend=backend, code=code) == book.total(backend, code), \
                (backend, code)
        assert metrics.total("aoai_lb_throttled_total", backend=backend) == book.total(backend, "429")
    attempts = metrics.total("aoai_lb_attempts_total")
    assert metrics.total("aoai_lb_attempt_duration_seconds_count") == attempts
    good = metrics.total("aoai_lb_attempts_total", code="200")
    assert attempts == book.total("attempts")
    assert metrics.total("aoai_lb_failovers_total") == book.total("failovers")
    for kind, backend in itertools.product(("prompt", "completion"), ("one", "two", "three")):
        assert metrics.total("aoai_lb_tokens_total", type=kind, backend=backend) == book.total(kind, backend), (kind, backend)
    assert good == metrics.total("aoai_lb_requests_total", code="200")


def test_reading_a_stored_answer_again_costs_no_tokens(stage):
    """It tells what it cost when it was made, which was counted then."""
    long = answers.ok({"padding": "x" * 100_000, **answers.COMPLETION})
    backend = stage.backend(answers.ok(), answers.ok(), long, answers.stream(*answers.RESPONSES))
    daemon = stage.daemon([backend.entry(auth=KEY)], clients=[{"name": "a", "key": "a", "tokens_per_minute": 18}])
    headers = [("api-key", "a")]
    assert daemon.post("/v1/responses", {"model": "gpt-4o", "input": "x"}, headers).status == 200
    for target in ("/v1/responses/resp_1", "/v1/responses/resp_1", "/v1/responses/resp_1?stream=true"):
        assert daemon.get(target, headers).status == 200
    metrics = settled(daemon)
    assert metrics.total("aoai_lb_tokens_total", type="prompt") == 14
    assert metrics.total("aoai_lb_tokens_total", type="completion") == 3
    daemon.wait_for_line(r"GET /v1/responses/resp_1 .* tokens=0/0")


def test_a_caller_that_leaves_is_counted(stage):
    backend = stage.backend(default=answers.hang())
    daemon = stage.daemon([backend])
    for _ in range(3):
        client = daemon.open_chat(daemon.client())
        wait_for(lambda: scrape(daemon).total("aoai_lb_requests_in_flight") == 1)
        client.close()
        wait_for(lambda: scrape(daemon).total("aoai_lb_requests_in_flight") == 0)
    metrics = settled(daemon)
    assert metrics.total("aoai_lb_client_disconnects_total") == 3
    assert metrics.total("aoai_lb_requests_total", code="499") == 3
    assert metrics.total("aoai_lb_attempts_total", backend="one", code="cancelled") == 3


# ---- the port that shows it

def test_the_admin_port_holds_a_bounded_number_of_connections(stage):
    daemon = stage.daemon([stage.backend()])
    admin = Admin(daemon)
    held = [Client(admin.port) for _ in range(40)]
    try:
        for client in held[:32]:
            client.request("GET", "/healthz", host=f"127.0.0.1:{admin.port}")
            assert client.read_answer("GET").status == 200
        held[35].request("GET", "/healthz", host=f"127.0.0.1:{admin.port}")
        assert held[35].nothing_comes(0.3)
        for client in held[:10]:
            client.close()
        assert held[35].read_answer("GET").status == 200
    finally:
        for client in held:
            client.close()
    wait_for(lambda: admin.get("/healthz").status == 200)


def test_methods_that_a_path_does_not_have_are_told(stage):
    admin = Admin(stage.daemon([stage.backend()]))
    for path in ("/metrics", "/status", "/status.json", "/healthz", "/readyz"):
        for method in ("POST", "PUT", "DELETE"):
            got = admin.call(method, path, body=b"")
            assert (got.status, got.header("allow")) == (405, "GET, HEAD"), (method, path)
            assert "message" in json.loads(got.body)["error"]
        got = admin.call("HEAD", path)
        assert (got.status, got.body) == (200, b"")


def test_the_metrics_need_no_key_off_loopback_and_are_not_on_the_data_port(stage):
    daemon = stage.daemon([stage.backend().entry(deployments={"a": "a"})], admin={"address": "0.0.0.0", "port": 0})
    assert Admin(daemon).get("/metrics").status == 200
    for path in ("/metrics", "/status", "/status.json"):
        assert daemon.get(path).status == 404


def test_the_status_page_runs_no_scripts_and_fits_a_phone(stage):
    got = Admin(stage.daemon([stage.backend()])).get("/status")
    assert "default-src 'none'" in got.header("content-security-policy")
    assert b'name="viewport"' in got.body and b'http-equiv="refresh"' in got.body
