"""The simulator's token endpoints, and its resources that look at Bearer tokens: with the daemon between them."""
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
