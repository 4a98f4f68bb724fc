"""The admin port: health, status, reload, and who may see them."""
import json
import re

import pytest

from harness import answers
from harness.client import Client
from harness.client import wait_for
from harness.daemon import CHAT_BODY
from harness.stage import in_order, make_config


class Admin:
    def __init__(self, daemon):
        self.port = int(re.search(r"Admin port (\d+)", daemon.wait_for_line(r"Admin port \d+"))[1])

    def call(self, method, target, headers=(), body=None):
        host = dict(headers).get("Host", f"127.0.0.1:{self.port}")
        fields = [field for field in headers if field[0] != "Host"]
        with Client(self.port) as client:
            return client.call(method, target, fields, body, host=host)

    def get(self, target, headers=()):
        return self.call("GET", target, headers)

    def status(self):
        return json.loads(self.get("/status.json").body)


def backend_of(status, name):
    return next(backend for backend in status["backends"] if backend["name"] == name)


def deployment_of(backend, name):
    return next(deployment for deployment in backend["deployments"] if deployment["name"] == name)



@pytest.fixture
def quiet(stage):
    return Admin(stage.daemon([stage.backend()]))


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_and_readiness_are_told(quiet, path):
    assert quiet.get(path).status == 200


def test_an_unknown_path_is_a_404(quiet):
    assert quiet.get("/nothing").status == 404


def test_the_status_tells_a_cooling_deployment_and_by_which_hint(stage):
    backends = [stage.backend(answers.throttled(("retry-after-ms", "9000"))), stage.backend()]
    daemon = stage.daemon(backends)
    for _ in range(30):  # each of the two is chosen sooner or later
        assert daemon.chat().status == 200
    status = Admin(daemon).status()
    cooling = [deployment for backend in status["backends"] for deployment in backend["deployments"]
               if deployment["state"] == "cooling"]
    assert len(cooling) == 1
    assert cooling[0]["name"] == "gpt-4o"
    assert "retry-after-ms" in cooling[0]["reason"]
    assert 0 < cooling[0]["cooldown_remaining_ms"] <= 9000
    assert status["ready"] is True
    assert status["version"]
    wait_for(lambda: Admin(daemon).status()["requests_in_flight"] == 0, what="the end of all requests")


def test_the_status_tells_an_ejected_deployment_and_its_backends_last_error(stage):
    backends = [stage.backend(answers.error(500, "boom")), stage.backend()]
    daemon = stage.daemon(backends)
    for _ in range(30):  # each of the two is chosen sooner or later
        assert daemon.chat().status == 200
    status = Admin(daemon).status()
    ejected = [(backend, deployment) for backend in status["backends"] for deployment in backend["deployments"]
               if deployment["state"] == "ejected"]
    assert len(ejected) == 1
    assert "500" in ejected[0][0]["last_error"]


def test_the_status_tells_refused_credentials_as_misconfigured(stage):
    key = {"type": "api_key", "key": "backend-key"}
    backends = [stage.backend(default=answers.error(401, "401")), stage.backend()]
    daemon = stage.daemon([{"url": backend.url, "auth": key} for backend in backends])
    for _ in range(30):  # each of the two is chosen sooner or later
        assert daemon.chat().status == 200
    assert "misconfigured" in [backend["state"] for backend in Admin(daemon).status()["backends"]]


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_what_to_mend(stage, status):
    backend = stage.backend(default=answers.error(status, str(status)))
    daemon = stage.daemon([backend.entry(auth={"type": "api_key", "key": "backend-key"})])
    assert daemon.chat().status == status
    assert "backend-key" not in daemon.wait_for_line(rf"error Backend one \(\S+\) refuses its credentials \({status}\): set auth\.key")
    assert "check the auth of this backend" in backend_of(Admin(daemon).status(), "one")["reason"]


def test_a_deployment_that_is_not_there_names_the_mapping_to_mend(stage):
    daemon = stage.daemon([stage.backend(default=answers.deployment_not_found()).entry(deployments={"gpt-4o": "gpt-4o-ptu"})])
    assert daemon.chat().status == 404
    daemon.wait_for_line(r"error Backend one has no deployment gpt-4o-ptu .*callers ask for gpt-4o\).*correct backends\[\]\.deployments of one")
    found = deployment_of(backend_of(Admin(daemon).status(), "one"), "gpt-4o")
    assert found["state"] == "misconfigured" and "correct the deployments of this backend" in found["reason"]


def test_the_status_counts_what_is_in_flight(stage):
    backend = stage.backend(answers.hang())
    daemon = stage.daemon([backend])
    with daemon.client() as client:
        daemon.open_chat(client)
        backend.await_requests(1)
        wait_for(lambda: Admin(daemon).status()["requests_in_flight"] == 1, what="the end of the stage's own look at readiness")
        status = Admin(daemon).status()
        assert [one["in_flight"] for one in status["backends"]] == [1]


def test_the_status_names_the_hint_and_the_probe(stage):
    gate = answers.Gate()
    backend = stage.backend(answers.wait_ms(30_000), answers.throttled(("retry-after", "1")), answers.gated(gate, answers.ok()))
    daemon = stage.daemon([backend.entry(deployments={"gpt-4o": "a", "gpt-4o-mini": "b"})])
    admin = Admin(daemon)

    def seen(name, *members):
        found = deployment_of(backend_of(admin.status(), "one"), name)
        return tuple(found[member] for member in members)

    assert seen("gpt-4o", "state", "hint", "probe_under_way") == ("available", "", False)
    daemon.chat()
    assert seen("gpt-4o", "state", "hint", "probe_under_way") == ("cooling", "retry-after-ms", False)
    daemon.chat(deployment="gpt-4o-mini")
    wait_for(lambda: seen("gpt-4o-mini", "state", "hint", "probe_under_way") == ("probing", "retry-after", False),
             what="the end of the shorter rest")
    with daemon.client() as client:
        client.request("POST", "/openai/deployments/gpt-4o-mini/chat/completions?api-version=1", body=CHAT_BODY)
        backend.await_requests(3)
        assert seen("gpt-4o-mini", "state", "probe_under_way", "in_flight") == ("probing", True, 1)
        gate.open()
        assert client.read_answer().status == 200
    assert seen("gpt-4o-mini", "state", "hint", "probe_under_way") == ("available", "", False)
    assert seen("gpt-4o", "state") == ("cooling",)


@pytest.mark.parametrize("news, left, reason", [
    ([], {"tokens": None, "requests": None, "utilization": None}, ""),
    ([("x-ratelimit-remaining-tokens", "-1")], {"tokens": None, "requests": None, "utilization": None}, ""),
    ([("x-ratelimit-remaining-tokens", "5000"), ("x-ratelimit-remaining-requests", "7")],
     {"tokens": 5000, "requests": 7, "utilization": None}, ""),
    ([("x-ratelimit-remaining-tokens", "0")], {"tokens": 0, "requests": None, "utilization": None}, "no headroom"),
    ([("azure-openai-deployment-utilization", "97.1%")], {"tokens": None, "requests": None, "utilization": 0.971}, ""),
    ([("azure-openai-deployment-utilization", "190.00%")], {"tokens": None, "requests": None, "utilization": 1.9}, "no headroom"),
], ids=["nothing", "no number", "tokens and requests", "none left", "utilization", "full"])
def test_the_status_tells_the_headroom_as_far_as_it_is_known(stage, news, left, reason):
    more = [(name.replace("remaining", "reset"), "60") for name, _ in news if "remaining" in name]
    daemon = stage.daemon([stage.backend(answers.ok(headers=news + more))])
    assert daemon.chat().status == 200
    admin = Admin(daemon)
    wait_for(lambda: deployment_of(backend_of(admin.status(), "one"), "gpt-4o")["in_flight"] == 0, what="the end")
    found = deployment_of(backend_of(admin.status(), "one"), "gpt-4o")
    assert found["headroom"] == left
    assert found["state"] == "available" and found["reason"].startswith(reason) and bool(found["reason"]) == bool(reason)
    page = admin.get("/status").body.decode()
    assert [word in page for word in ("5000 tokens left", "7 requests left")] == [left["tokens"] == 5000] * 2
    assert ("97.1 % used" in page) == (left["utilization"] == 0.971)


def test_the_status_tells_what_a_backend_does_not_serve(stage):
    backends = [stage.backend().entry(deployments={"gpt-4o": "ptu", "only-here": "x"}), stage.backend(),
                stage.backend().entry(deployments={"gpt-4o-mini": "mini"})]
    daemon = stage.daemon(in_order(*backends))
    admin = Admin(daemon)
    assert [backend["not_serving"] for backend in admin.status()["backends"]] == [["gpt-4o-mini"], [], ["gpt-4o", "only-here"]]
    assert daemon.chat(deployment="learned").status == 200  # by the only one that takes any name
    assert [backend["not_serving"] for backend in admin.status()["backends"]] == [
        ["gpt-4o-mini", "learned"], [], ["gpt-4o", "only-here", "learned"]]
    assert "not serving gpt-4o-mini, learned" in admin.get("/status").body.decode()


def test_the_status_lists_so_many_names_and_those_that_rest_first(stage):
    """4096 names in all, so 32 each of 128 backends."""
    backend = stage.backend(*[answers.ok()] * 40, answers.wait_ms(50_000))
    config = make_config([backend.entry()], {"retry": {"max_attempts": 1}})
    config["backends"] = [{**config["backends"][0], "name": f"b{number}", "priority": number + 1} for number in range(126)]
    config["backends"] += [{**config["backends"][0], "name": "mapped", "priority": 200, "deployments": {"x": "y"}},
                           {**config["backends"][0], "name": "last", "priority": 201}]
    daemon = stage.start(config)
    for number in range(40):
        assert daemon.chat(deployment=f"name-{number}").status == 200
    assert daemon.chat(deployment="name-39").status == 429
    admin = Admin(daemon)
    backends = {found["name"]: found for found in admin.status()["backends"]}
    names = [found["name"] for found in backends["b0"]["deployments"]]
    assert names == ["name-39", *(f"name-{number}" for number in range(31))]
    assert [found["name"] for found in backends["last"]["deployments"]] == [f"name-{number}" for number in range(32)]
    assert backends["b0"]["left_out"] == backends["last"]["left_out"] == 8
    assert len(backends["mapped"]["not_serving"]) == 32 and backends["mapped"]["left_out"] == 8
    assert "… and 8 more" in admin.get("/status").body.decode()


def test_the_page_for_people_shows_the_same(stage):
    daemon = stage.daemon([stage.backend(answers.throttled(("retry-after", "9"))), stage.backend()])
    for _ in range(30):  # each of the two is chosen sooner or later
        daemon.chat()
    got = Admin(daemon).get("/status")
    assert got.status == 200
    assert got.header("content-type").startswith("text/html")
    assert b"cooling for " in got.body


def test_secrets_are_not_in_the_status(stage):
    key = {"type": "api_key", "key": "backend-key"}
    daemon = stage.daemon([{"url": stage.backend().url, "auth": key}])
    assert daemon.chat().status == 200
    admin = Admin(daemon)
    for path in ("/status", "/status.json"):
        assert b"backend-key" not in admin.get(path).body


def test_a_deployment_name_that_is_markup_is_shown_as_text(stage):
    daemon = stage.daemon([stage.backend()])
    assert daemon.post("/v1/chat/completions", {"model": "<script>x</script>", "messages": []}).status == 200
    assert b"<script>" not in Admin(daemon).get("/status").body


@pytest.mark.parametrize("headers", [[("Origin", "http://evil.example")], [("Origin", "null")], [("Host", "evil.example")],
                                     *([("Host", name), ("Origin", f"http://{name}")] for name in
                                       ("localhost.evil.example", "127.evil.example:9090", "127.0.0.1.evil.example", "127.0.0.1evil",
                                        "localhosts", "[::1].evil.example", "evil.example:127.0.0.1", "10.0.0.1", ""))])
def test_a_foreign_reload_is_refused(quiet, headers):
    assert quiet.call("POST", "/reload", headers).status == 403


@pytest.mark.parametrize("name", ["localhost", "LocalHost:9090", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9090"])
def test_a_reload_by_a_name_of_this_machine_is_taken(quiet, name):
    assert quiet.call("POST", "/reload", [("Host", name), ("Origin", f"http://{name}")]).status == 200


def test_a_reload_is_a_post(quiet):
    assert quiet.get("/reload").status == 405


def test_a_reload_answers_200_and_a_faulty_file_422_with_its_faults(stage):
    daemon = stage.daemon([stage.backend()])
    admin = Admin(daemon)
    assert admin.call("POST", "/reload").status == 200
    good = json.loads(daemon.config_path.read_text())
    daemon.write_config({**good, "nonsense": 1, "listen": {**good["listen"], "port": "x"}})
    got = admin.call("POST", "/reload")
    assert got.status == 422
    assert {fault["path"] for fault in json.loads(got.body)["faults"]} == {"nonsense", "listen.port"}
    assert daemon.chat().status == 200


@pytest.fixture
def off_loopback(stage):
    def start(key):
        admin = {"address": "0.0.0.0", "port": 0, **({"key": key} if key else {})}
        return Admin(stage.daemon([stage.backend()], admin=admin))
    return start


@pytest.mark.parametrize("path", ["/status", "/status.json"])
def test_off_loopback_nothing_but_health_is_shown_without_a_key(off_loopback, path):
    admin = off_loopback(None)
    assert admin.get(path).status == 403
    assert admin.call("POST", "/reload").status == 403
    assert admin.get("/healthz").status == 200
    assert admin.get("/readyz").status == 200


def test_off_loopback_the_key_opens(off_loopback):
    admin = off_loopback("operators-key")
    assert admin.get("/status.json").status == 401
    assert admin.get("/status.json", [("Authorization", "Bearer wrong")]).status == 401
    assert admin.get("/status.json", [("Authorization", "Bearer operators-key")]).status == 200
    assert admin.call("POST", "/reload", [("Authorization", "Bearer operators-key")]).status == 200
    assert admin.get("/healthz").status == 200


def test_a_taken_admin_port_ends_the_start_with_2(stage):
    taken = Admin(stage.daemon([stage.backend()])).port
    daemon = stage.start(make_config([stage.backend()], {"admin": {"port": taken}}), ready=False)
    assert daemon.wait() == 2
    daemon.ended()
    assert any("admin.port" in line for line in daemon.errors)
