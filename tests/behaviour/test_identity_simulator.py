"""The simulator's token endpoints, and its resources that look at Bearer tokens: with the daemon between them."""
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest

from harness.client import wait_for
from harness.simulator import Simulator

CHAT = {"gpt-4o": {}}


@pytest.fixture(scope="module")
def simulator():
    value = Simulator({"one": CHAT, "two": CHAT, "tokens": {}}, record=64, settings_of={
        "one": {"tokens_of": "tokens"}, "two": {"api_key": "key-of-two"},
        "tokens": {"identity": {"lifetime_s": 3600, "header": "the-header"}}})
    yield value
    value.close()


def start(stage, simulator, environment):
    return stage.daemon([{"url": simulator.url("one"), "priority": 1, "auth": {"type": "managed_identity"}},
                         {"url": simulator.url("two"), "priority": 2, "auth": {"type": "api_key", "key": "key-of-two"}}],
                        environment=environment)


def fetches(simulator):
    return [request for request in simulator.control("GET", "/stats")["requests"] if request["resource"] == "tokens"]


def environments(simulator):
    return {"container app": {"IDENTITY_ENDPOINT": simulator.url("tokens") + "/msi/token", "IDENTITY_HEADER": "the-header"},
            "vm": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": simulator.url("tokens")}}


@pytest.mark.parametrize("place", ["container app", "vm"])
def test_its_tokens_are_taken_by_its_resources(stage, simulator, place):
    simulator.set_faults([])
    daemon = start(stage, simulator, environments(simulator)[place])
    assert daemon.chat().outcomes == [("one", "200")]
    assert [request["status"] for request in fetches(simulator)] == [200]
    simulator.control("POST", "/revoke")
    assert daemon.chat().outcomes == [("one", "401"), ("one", "200")]
    assert len(fetches(simulator)) == 2


@pytest.mark.parametrize("fault", [
    {"fault": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": {"error": "busy"}},
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 200, "body": "no JSON"},
    {"fault": "stall", "ms": 300},
    {"fault": "garbled_head", "form": "not_http"},
], ids=["429", "500", "malformed", "slow", "garbled"])
def test_its_token_endpoint_has_faults_that_the_daemon_lives_through(stage, simulator, fault):
    simulator.set_faults([{**fault, "resource": "tokens", "count": 1}])
    daemon = start(stage, simulator, environments(simulator)["container app"])
    assert daemon.chat().outcomes == [("one", "200")]


def test_a_wrong_header_gets_no_token(stage, simulator):
    simulator.set_faults([])
    daemon = start(stage, simulator, {**environments(simulator)["container app"], "IDENTITY_HEADER": "another"})
    daemon.wait_for_line("No new token.*X-IDENTITY-HEADER is missing or wrong")
    wait_for(lambda: daemon.chat().outcomes[-1] == ("two", "200"))


# ---- Entra ID, and lives that are short ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def entra(certificates):
    files = {"certificate_file": str(certificates.directory / "server.pem"),
             "private_key_file": str(certificates.directory / "server.key")}
    value = Simulator({"one": CHAT, "two": CHAT, "tokens": {}}, record=64, settings_of={
        "one": {"tokens_of": "tokens"}, "two": {"api_key": "key-of-two"},
        "tokens": {"identity": {"lifetime_s": 2, "client_secret": "the-secret"}, "tls": files}})
    yield value
    value.close()


def start_application(stage, entra, certificates, **auth):
    entra.set_faults([])
    statement = stage.directory() / "statement"
    statement.write_text("a.b.c")
    auth = {"client_id": "c", "tenant_id": "t", "authority_host": entra.url("tokens").replace("http", "https"), **auth}
    return stage.daemon([{"url": entra.url("one"), "priority": 1, "auth": auth},
                         {"url": entra.url("two"), "priority": 2, "auth": {"type": "api_key", "key": "key-of-two"}}],
                        log={"level": "debug"}, environment={"SSL_CERT_FILE": str(certificates.ca_file),
                                                             "AZURE_FEDERATED_TOKEN_FILE": str(statement)})


@pytest.mark.parametrize("auth", [{"type": "client_secret", "client_secret": "the-secret"}, {"type": "workload_identity"}],
                         ids=["client_secret", "workload_identity"])
def test_its_short_lived_tokens_are_renewed_in_time(stage, entra, certificates, auth):
    daemon = start_application(stage, entra, certificates, **auth)
    outcomes = []
    wait_for(lambda: outcomes.append(daemon.chat().outcomes) or len(daemon.find_lines("A new token for")) >= 4, seconds=60)
    # Never another backend; a loaded machine may be late with a token, and then gets a fresh one.
    assert all(outcome[-1] == ("one", "200") for outcome in outcomes)


def test_a_wrong_secret_gets_no_token(stage, entra, certificates):
    daemon = start_application(stage, entra, certificates, type="client_secret", client_secret="another")
    daemon.wait_for_line("No new token for application c: it answered 401: invalid_client: AADSTS7000215: .*mend")
    wait_for(lambda: daemon.chat().outcomes[-1] == ("two", "200"))


@pytest.mark.parametrize("changes, fault", [
    ({"grant_type": "password"}, "unsupported_grant_type"), ({"client_id": None}, "invalid_request"),
    ({"scope": "https://cognitiveservices.azure.com"}, "invalid_scope"), ({"client_secret": None}, "invalid_client"),
    ({"client_assertion": "a.b.c", "client_secret": None}, "invalid_request"),
], ids=["grant", "no client", "scope", "no secret", "no type of assertion"])
def test_its_entra_id_takes_no_other_form(entra, certificates, changes, fault):
    entra.set_faults([])
    form = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "the-secret",
            "scope": "https://cognitiveservices.azure.com/.default", **changes}
    body = urllib.parse.urlencode({name: value for name, value in form.items() if value is not None}).encode()
    request = urllib.request.Request(entra.url("tokens").replace("http", "https") + "/t/oauth2/v2.0/token", body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, context=certificates.client(), timeout=60)
    assert json.loads(refused.value.read())["error"] == fault
