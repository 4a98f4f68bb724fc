"""The life of tokens: refreshed ahead, kept while the endpoint is down, replaced when a backend refuses them."""
import re
import signal
import threading
import time

import pytest

from harness import answers
from harness.client import Client, request_bytes, wait_for
from harness.daemon import CHAT_BODY, CHAT_PATH
from harness.metrics import Metrics
from harness.stage import in_order, make_config
from harness.tokens import backend_of, checked, issuer_on
from test_admin import Admin

MANAGED = {"type": "managed_identity"}
KEY = {"type": "api_key", "key": "key-of-two"}
LATER = answers.answer(503, body={"error": {"code": "busy", "message": "try later"}})


def keyless_first(backend, other):
    """Two entries: the first has an identity, the second a key."""
    return in_order(backend.entry(auth=MANAGED), other.entry(auth=KEY))


def chat_all(port, count, results):
    """count requests on one connection, a handful on their way at a time; the statuses."""
    one = request_bytes("POST", CHAT_PATH, body=CHAT_BODY)
    with Client(port) as client:
        for _ in range(count // 5):
            client.send(one * 5)
            for _ in range(5):
                results.append(client.read_answer().status)


# ---- refreshing ----------------------------------------------------------------------------------------------------

def test_ten_thousand_requests_over_many_lives_of_a_token_see_no_error_and_one_fetch_each(stage):
    issuer = issuer_on(stage, life=2, slack=20, end="seconds")  # on a loaded machine a request may be long on its way
    fake = ("Content-Type", "application/json")
    backend = backend_of(stage, issuer, connection=answer_quickly(issuer, fake))
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment(), workers=2,
                          log={"requests": False})
    statuses = []
    began = time.monotonic()
    # On a fast machine the ten thousand are over before the tokens are: then some more.
    while len(statuses) < 10_000 or len(issuer.issued) < 5:
        before = len(statuses)
        callers = [threading.Thread(target=chat_all, args=(daemon.port, 1000, statuses)) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert len(statuses) == before + 4000, "a caller got no answer"
    took = time.monotonic() - began
    assert not backend.refusals
    assert set(statuses) == {200}
    assert issuer.most_asking == 1
    # Each when half of the last one's two seconds (less a margin) had gone, and the first at the start.
    assert 5 <= len(issuer.issued) <= took / 0.8 + 2
    wait_for(lambda: len(issuer.requests) == len(issuer.issued))
    daemon.stop()
    assert not [line for line in daemon.lines if "No new token" in line]


def answer_quickly(issuer, kind):
    """A whole connection's worth of small answers, without the twin's bookkeeping; the tokens are looked at all the same."""
    body = b'{"object":"chat.completion"}'
    good = answers.head(200, [kind, ("Content-Length", str(len(body)))]) + body
    field = re.compile(rb"\r\nauthorization: ([^\r\n]+)\r\n")
    length = re.compile(rb"\r\ncontent-length: (\d+)\r\n")

    def speak(backend, sock, _):
        data = b""
        while not backend.closing.is_set():
            try:
                more = sock.recv(65536)
            except TimeoutError:
                continue
            if not more:
                return
            data += more
            while b"\r\n\r\n" in data:
                end = data.index(b"\r\n\r\n") + 4
                whole = end + int(length.search(data, 0, end)[1])
                if len(data) < whole:
                    break
                found = field.search(data, 0, end)
                fault = issuer.refuses(found[1].decode() if found else None)
                if fault:
                    backend.refusals.append(fault)
                data = data[whole:]
                sock.sendall(answers.head(401, [("Content-Length", "0")]) if fault else good)

    return speak


def test_a_token_of_a_day_is_not_fetched_again_for_now(stage):
    issuer = issuer_on(stage, life=86400)
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    for _ in range(20):
        assert daemon.chat().status == 200
    assert len(issuer.requests) == 1


def test_backends_of_one_identity_share_its_token(stage):
    issuer = issuer_on(stage)
    backends = [backend_of(stage, issuer) for _ in range(3)]
    daemon = stage.daemon([backend.entry(auth=MANAGED) for backend in backends], environment=issuer.app_environment())
    wait_for(lambda: daemon.chat().status == 200 and all(backend.requests for backend in backends))
    assert len(issuer.requests) == 1


def test_fetches_are_counted_for_each_backend_by_their_result(stage):
    issuer = issuer_on(stage, LATER)
    backends = [backend_of(stage, issuer), backend_of(stage, issuer), stage.backend()]
    entries = [backends[0].entry(auth=MANAGED), backends[1].entry(auth=MANAGED), backends[2].entry(auth=KEY)]
    daemon = stage.daemon(in_order(*entries), environment=issuer.app_environment())
    assert daemon.chat().status == 200
    assert refreshes(daemon) == {("one", "ok"): 1, ("one", "error"): 1, ("two", "ok"): 1, ("two", "error"): 1}
    issuer.revoke()
    assert daemon.chat().outcomes == [("one", "401"), ("one", "200")]
    assert refreshes(daemon) == {("one", "ok"): 2, ("one", "error"): 1, ("two", "ok"): 2, ("two", "error"): 1}


def refreshes(daemon):
    metrics = Metrics(Admin(daemon).get("/metrics").body.decode())
    assert metrics.types["aoai_lb_token_refreshes_total"] == "counter"
    return {(dict(labels)["backend"], dict(labels)["result"]): value for (name, labels), value in metrics.samples.items()
            if name == "aoai_lb_token_refreshes_total"}


def test_a_token_is_there_before_the_first_request(stage):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    issuer.await_requests(1)
    assert not backend.requests


# ---- the endpoint is slow, busy or gone ----------------------------------------------------------------------------

MISHAPS = {
    "429 with Retry-After": answers.answer(429, [("Retry-After", "1")], {"error": {"code": "429", "message": "slow down"}}),
    "500": answers.answer(500, body={"error": "internal_error"}),
    "410": answers.answer(410, body={"error": "gone", "error_description": "being updated"}),
    "404": answers.answer(404, body=b"not yet"),
    "no JSON": answers.answer(200, [("Content-Type", "text/html")], b"<html>sign in</html>"),
    "JSON without a token": answers.answer(200, body={"expires_in": 3600}),
    "a token without an end": answers.answer(200, body={"access_token": "abc", "token_type": "Bearer"}),
    "a token that has ended": answers.answer(200, body={"access_token": "abc", "expires_on": "1586984735"}),
    "a token that breaks the header": answers.answer(200, body={"access_token": "a\r\nx-evil: 1", "expires_in": 3600}),
    "an answer cut short": answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"access_token\":", then="close"),
    "garbage": answers.raw(b"\x00\x01garbage\r\n\r\n", then="close"),
    "a reset": answers.reset(),
    "more than it could ever be": answers.answer(200, body={"access_token": "a" * 200_000, "expires_in": 3600}),
    "a token longer than any header": answers.answer(200, body={"access_token": "a" * 20_000, "expires_in": 3600}),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_mishap_at_the_start_is_waited_for(stage, mishap):
    issuer = issuer_on(stage, MISHAPS[mishap])
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    answer = daemon.chat()
    assert answer.status == 200, answer
    assert answer.outcomes == [("one", "200")]
    assert len(issuer.requests) == 2
    line = daemon.wait_for_line("No new token for the system-assigned managed identity")
    assert "there is none" in line and "abc" not in line and "evil" not in line


def test_a_request_waits_for_a_slow_endpoint(stage):
    gate = answers.Gate()
    issuer = issuer_on(stage)
    issuer.then(answers.gated(gate, issuer.grant))
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    issuer.await_requests(1)
    with daemon.client() as one, daemon.client() as two:
        daemon.open_chat(one)
        daemon.open_chat(two)
        assert daemon.get("/healthz").status == 200  # the worker is not held
        assert not backend.requests
        gate.open()
        assert one.read_answer().status == two.read_answer().status == 200
    assert len(issuer.requests) == 1


def test_a_caller_that_leaves_while_it_waits_harms_nobody(stage):
    gate = answers.Gate()
    issuer = issuer_on(stage)
    issuer.then(answers.gated(gate, issuer.grant))
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment(), workers=1)
    clients = [daemon.client() for _ in range(3)]
    for client in clients:
        daemon.open_chat(client)
    wait_for(lambda: daemon.get("/healthz").status == 200)
    clients[1].close()
    daemon.wait_for_line(" 499 ")
    gate.open()
    assert clients[0].read_answer().status == clients[2].read_answer().status == 200
    for client in clients:
        client.close()
    assert len(backend.requests) == 2


def test_a_crowd_waits_for_the_first_token_and_half_of_it_leaves(stage):
    """More than go on in one turn of the loop, and none is forgotten."""
    gate = answers.Gate()
    issuer = issuer_on(stage)
    issuer.then(answers.gated(gate, issuer.grant))
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment(), workers=1)
    clients = [daemon.open_chat(daemon.client()) for _ in range(200)]
    wait_for(lambda: in_flight(daemon) == 200)
    for client in clients[::2]:
        client.close()
    daemon.wait_for_line(" 499 ", 100)
    assert not backend.requests
    gate.open()
    assert {client.read_answer().status for client in clients[1::2]} == {200}
    for client in clients[1::2]:
        client.close()
    assert len(backend.requests) == 100
    assert len(issuer.requests) == 1


def in_flight(daemon):
    return Admin(daemon).status()["requests_in_flight"]


def test_without_a_token_a_backend_with_credentials_is_taken_after_five_seconds(stage):
    issuer = issuer_on(stage)
    issuer.default = answers.hang()
    keyless, other = stage.backend(), stage.backend()
    names = [f"keyless-{number}" for number in range(12)]
    entries = [{"name": name, "url": keyless.url, "auth": {**MANAGED, "client_id": f"id-{number % 4}"},
                "priority": number + 1} for number, name in enumerate(names)]
    entries.append({"name": "other", "url": other.url, "auth": KEY, "priority": 13})
    daemon = stage.start(make_config([], {"backends": entries}), environment=issuer.app_environment())
    began = time.monotonic()
    answer = daemon.chat()
    took = time.monotonic() - began
    assert answer.status == 200
    assert answer.outcomes == [(name, "token") for name in names] + [("other", "200")]
    # Five seconds in all, not for each of twelve backends or four identities; and the next request need not wait at all.
    assert 4.5 < took < 45
    assert daemon.chat().outcomes == [("other", "200")]
    assert not keyless.requests


def test_an_endpoint_that_refuses_costs_requests_no_wait(stage):
    issuer = issuer_on(stage, default_refusal())
    backend, other = stage.backend(), stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment())
    line = daemon.wait_for_line("No new token")
    assert " error " in line and "Identity not found" in line and "mend" in line
    answer = daemon.chat()
    assert answer.outcomes == [("one", "token"), ("two", "200")]
    assert len(issuer.requests) == 1
    assert daemon.chat().outcomes == [("two", "200")]


def default_refusal():
    return answers.answer(400, body={"error": "invalid_request", "error_description": "Identity not found"})


def test_with_nobody_else_the_caller_gets_a_502(stage):
    issuer = issuer_on(stage, default_refusal())
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    daemon.wait_for_line("No new token")
    answer = daemon.chat()
    assert answer.status == 502
    assert answer.header("retry-after-ms")
    assert answer.outcomes == [("one", "token")]
    assert not backend.requests


def test_while_the_endpoint_is_down_traffic_goes_on_until_the_tokens_true_end(stage):
    issuer = issuer_on(stage, life=5, slack=20)
    backend, other = backend_of(stage, issuer), stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment())
    assert daemon.chat().outcomes == [("one", "200")]
    issuer.default = LATER
    statuses = []

    def is_served_by_the_other():
        answer = daemon.chat()
        statuses.append(answer.status)
        return answer.header("x-aoai-lb-backend") == "two"

    wait_for(is_served_by_the_other, seconds=60)
    # The margin is a tenth of the life. A slow machine makes it later, never earlier.
    assert time.time() > max(issuer.issued.values()) - 0.1 * issuer.life
    assert set(statuses) == {200}
    assert not backend.refusals
    daemon.wait_for_line("No new token.*the one in use is valid for another")
    # The endpoint is back: so is the backend, without waiting for the end of its rest.
    issuer.default = issuer.answer
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one", seconds=120)


def test_the_rest_for_want_of_a_token_ends_when_one_comes(stage):
    gate = answers.Gate()
    issuer = issuer_on(stage)
    issuer.then(answers.gated(gate, issuer.grant))
    backend, other = backend_of(stage, issuer), stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment(),
                          cooldown={"server_error_ms": 86_400_000, "max_ms": 86_400_000})
    assert daemon.chat().outcomes == [("one", "token"), ("two", "200")]
    assert daemon.chat().outcomes == [("two", "200")]
    gate.open()
    wait_for(lambda: daemon.chat().header("x-aoai-lb-backend") == "one")


# ---- refused by a backend ------------------------------------------------------------------------------------------

def test_a_refused_token_is_replaced_and_the_same_backend_tried_again(stage):
    issuer = issuer_on(stage)
    backend, other = backend_of(stage, issuer), stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment(),
                          retry={"max_attempts": 1, "max_unsafe_retries": 0})
    assert daemon.chat().status == 200
    issuer.revoke()
    answer = daemon.chat()
    assert answer.status == 200
    assert answer.outcomes == [("one", "401"), ("one", "200")]
    assert len(issuer.issued) == 2
    assert daemon.chat().outcomes == [("one", "200")]


def test_a_body_is_sent_again_whole_after_a_refusal(stage):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED, deployments={"gpt-4o": "own"})],
                          environment=issuer.app_environment())
    issuer.await_requests(1)
    wait_for(lambda: issuer.issued)
    assert daemon.chat().status == 200
    issuer.revoke()
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 300_000}]}
    assert daemon.post("/v1/chat/completions", body).status == 200
    assert len(backend.requests) == 3
    assert backend.requests[1].json == backend.requests[2].json == {**body, "model": "own"}


def test_ten_refusals_at_once_cause_one_fetch(stage):
    issuer = issuer_on(stage)
    gate = answers.Gate()
    backend = stage.backend()
    backend.refusals = []
    backend.default = answers.gated(gate, checked(issuer))
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment(), workers=2)
    wait_for(lambda: issuer.issued)
    clients = [daemon.client() for _ in range(10)]
    for client in clients:
        daemon.open_chat(client)
    backend.await_requests(10)
    issuer.revoke()
    gate.open()
    assert [client.read_answer().status for client in clients] == [200] * 10
    for client in clients:
        client.close()
    assert len(backend.refusals) == 10
    assert len(issuer.requests) == 2


def test_a_fresh_token_that_is_refused_too_rests_the_backend_and_says_what_to_mend(stage):
    issuer = issuer_on(stage)
    refusal = answers.error(401, "PermissionDenied", "The principal lacks the required data action.")
    backend, other = stage.backend(default=refusal), stage.backend()
    entries = in_order(backend.entry(auth={**MANAGED, "client_id": "id-of-the-app"}), other.entry(auth=KEY))
    daemon = stage.daemon(entries, environment=issuer.app_environment())
    answer = daemon.chat()
    assert answer.status == 200
    assert answer.outcomes == [("one", "401"), ("one", "401"), ("two", "200")]
    line = daemon.wait_for_line("Cognitive Services OpenAI User")
    assert " error " in line and "id-of-the-app" in line and "Backend one" in line
    for _ in range(5):
        assert daemon.chat().outcomes == [("two", "200")]
    assert len(backend.requests) == 2
    assert len(issuer.requests) == 2


def test_a_refused_token_brings_no_backend_back_while_there_is_no_other(stage):
    """The token's end is far away, and yet it is good for nothing on that backend."""
    issuer = issuer_on(stage)
    backend, other = backend_of(stage, issuer), stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment(),
                          cooldown={"server_error_ms": 86_400_000, "max_ms": 86_400_000})
    assert daemon.chat().outcomes == [("one", "200")]
    issuer.revoke()
    later = answers.answer(503, [("Retry-After", "6")])  # longer than a request waits
    issuer.then(later, later)
    assert daemon.chat().outcomes == [("one", "401"), ("one", "token"), ("two", "200")]
    daemon.wait_for_line("No new token", 2, seconds=60)
    assert daemon.chat().outcomes == [("two", "200")]
    assert len(backend.refusals) == 1


def test_a_callers_own_refusal_is_nobodys_token(stage):
    """A 403 is not mended by another token, and no token is fetched for it."""
    issuer = issuer_on(stage)
    backend, other = stage.backend(default=answers.error(403, "403", "Traffic is not from an approved network.")), \
        stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment())
    assert daemon.chat().outcomes == [("one", "403"), ("two", "200")]
    assert len(issuer.requests) == 1


# ---- reloads -------------------------------------------------------------------------------------------------------

def reload(daemon, entries, **changes):
    before = len(daemon.find_lines("has been reloaded"))
    daemon.write_config(make_config(entries, changes))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_line("has been reloaded", before + 1)


def test_a_token_outlives_a_reload(stage):
    issuer = issuer_on(stage)
    backend, other = backend_of(stage, issuer), stage.backend()
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    assert daemon.chat().status == 200
    reload(daemon, in_order(backend.entry(auth=MANAGED), other.entry(auth=KEY)))
    wait_for(lambda: daemon.chat().outcomes == [("one", "200")])
    assert len(issuer.requests) == 1


def test_a_reload_asks_again_at_once_for_what_was_refused(stage):
    """Whoever reloads has mended something: an identity that has been assigned, say. Otherwise it takes half a minute."""
    issuer = issuer_on(stage, default_refusal())
    backend, other = backend_of(stage, issuer), stage.backend()
    daemon = stage.daemon(keyless_first(backend, other), environment=issuer.app_environment())
    daemon.wait_for_line("No new token")
    assert daemon.chat().outcomes == [("one", "token"), ("two", "200")]
    reload(daemon, keyless_first(backend, other))
    wait_for(lambda: daemon.chat().outcomes == [("one", "200")])
    assert len(issuer.requests) == 2


def test_an_identity_may_come_and_go_with_reloads(stage):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    plain = stage.backend()
    daemon = stage.daemon([plain.entry(auth=KEY)], environment=issuer.app_environment())
    assert daemon.chat().status == 200
    reload(daemon, [backend.entry(auth=MANAGED)])
    wait_for(lambda: daemon.chat().status == 200 and backend.requests)
    reload(daemon, [plain.entry(auth=KEY)])
    wait_for(lambda: daemon.chat().status == 200 and len(plain.requests) > 1)
    assert all(request.header("authorization") is None for request in plain.requests)


def test_new_credentials_end_the_rest_for_the_old_ones(stage, certificates):
    """A client_secret_file is read again, and so is a key_file."""
    secret = stage.directory() / "secret"
    secret.write_text("the-old-one\n")
    issuer = issuer_on(stage, tls=certificates.server(), end="seconds")

    def grant_for_the_new_one(exchange):
        if b"the-new-one" in exchange.request.body:
            issuer.grant(exchange)
        else:
            answers.answer(401, body={"error": "invalid_client", "error_description": "AADSTS7000215: wrong"})(exchange)

    issuer.default = grant_for_the_new_one
    backend, other = backend_of(stage, issuer), stage.backend()
    auth = {"type": "client_secret", "client_id": "c", "tenant_id": "t", "client_secret_file": str(secret),
            "authority_host": issuer.url}
    entries = in_order(backend.entry(auth=auth), other.entry(auth=KEY))
    rests = {"cooldown": {"server_error_ms": 86_400_000, "max_ms": 86_400_000}}
    daemon = stage.daemon(entries, environment={"SSL_CERT_FILE": str(certificates.ca_file)}, **rests)
    daemon.wait_for_line("No new token for application c.*AADSTS7000215")
    assert daemon.chat().outcomes == [("one", "token"), ("two", "200")]
    assert daemon.chat().outcomes == [("two", "200")]
    secret.write_text("the-new-one\n")
    reload(daemon, entries, **rests)
    wait_for(lambda: daemon.chat().outcomes == [("one", "200")])


def test_a_key_file_is_read_again_and_ends_the_rest_for_the_old_key(stage):
    path = stage.directory() / "key"
    path.write_text("old-key\n")

    def knows_the_new_key(exchange):
        good = exchange.request.header("api-key") == "new-key"
        (answers.ok() if good else answers.error(401, "401", "Access denied due to invalid subscription key"))(exchange)

    backend, other = stage.backend(default=knows_the_new_key), stage.backend()
    entries = in_order(backend.entry(auth={"type": "api_key", "key_file": str(path)}), other.entry(auth=KEY))
    rests = {"cooldown": {"server_error_ms": 86_400_000, "max_ms": 86_400_000}}
    daemon = stage.daemon(entries, **rests)
    assert daemon.chat().outcomes == [("one", "401"), ("two", "200")]
    assert daemon.chat().outcomes == [("two", "200")]
    path.write_text("new-key\n")
    reload(daemon, entries, **rests)
    wait_for(lambda: daemon.chat().outcomes == [("one", "200")])


def test_it_stops_in_good_order_while_a_fetch_hangs(stage):
    issuer = issuer_on(stage, answers.hang())
    daemon = stage.daemon([stage.backend().entry(auth=MANAGED)], environment=issuer.app_environment())
    issuer.await_requests(1)
    daemon.stop()
