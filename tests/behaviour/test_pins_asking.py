"""Something that no answer has named is looked for where it may be; that nobody has it is said only if that is known."""
import pytest

from harness import answers
from harness.resources import ELSEWHERE, MODEL, NOT_FOUND, Resource, make_on_second, served
from harness.stage import in_order

NOBODY = None  # a backend that refuses connections

INCOMPLETE = [
    ("an error first", [answers.error(500, "internal"), NOT_FOUND, NOT_FOUND], "one=500,two=404,three=404", 500),
    ("an error between", [NOT_FOUND, answers.error(503, "busy"), NOT_FOUND], "one=404,two=503,three=404", 503),
    ("an error last", [NOT_FOUND, NOT_FOUND, answers.error(500, "internal")], "one=404,two=404,three=500", 500),
    ("nobody there first", [NOBODY, NOT_FOUND, NOT_FOUND], "one=connect(10000ms),two=404,three=404", 502),
    ("nobody there last", [NOT_FOUND, NOT_FOUND, NOBODY], "one=404,two=404,three=connect(10000ms)", 502),
    ("a reset first", [answers.reset(), NOT_FOUND, NOT_FOUND], "one=reset,two=404,three=404", 502),
    ("throttled", [NOT_FOUND, answers.wait_ms(30000), NOT_FOUND], "one=404,two=429,three=404", 429),
]


@pytest.mark.parametrize("script, attempts, status", [row[1:] for row in INCOMPLETE], ids=[row[0] for row in INCOMPLETE])
def test_what_could_not_be_asked_may_have_it(stage, script, attempts, status):
    backends = [stage.nobody() if answer is NOBODY else stage.backend(default=answer) for answer in script]
    daemon = stage.daemon(in_order(*backends))
    got = daemon.get("/responses/resp_old")
    assert got.header("x-aoai-lb-attempts") == attempts
    assert got.status == status
    assert int(got.header("retry-after-ms")) > 0
    assert got.header("x-should-retry") is None  # a question may be asked again
    if status == 502:
        assert "could not be asked" in got.json["error"]["message"]


def test_what_rests_may_have_it(stage):
    others = [Resource(stage, name) for name in "bcd"]
    daemon = stage.daemon(in_order(stage.nobody(), *(other.backend for other in others)))
    assert daemon.get("/responses/resp_old").status == 502
    got = daemon.get("/responses/resp_old")
    assert "one=skip:" in got.header("x-aoai-lb-attempts")
    assert got.status == 502 and got.header("x-should-retry") is None
    others[2].known.add("resp_old")
    assert served(daemon.get("/responses/resp_old")) == "four"


def test_what_rests_and_would_not_have_been_asked_leaves_a_404_as_it_is(stage):
    others = [Resource(stage, name) for name in "abc"]
    daemon = stage.daemon(in_order(*(other.backend for other in others), stage.nobody()))
    for other in others:
        other.next = ELSEWHERE
    got = daemon.post("/responses", MODEL)
    assert got.header("x-aoai-lb-attempts").endswith("four=connect(10000ms)"), got
    got = daemon.get("/responses/resp_old")
    assert got.status == 404
    assert got.header("x-aoai-lb-attempts").startswith("one=404,two=404,three=404")


def test_a_resource_is_asked_once_whatever_names_it_has(stage):
    """A provisioned deployment and standard ones beside it are one resource."""
    first, second = Resource(stage, "a"), Resource(stage, "b")
    second.known.add("resp_old")
    daemon = stage.daemon([*(first.backend.entry(priority=number, deployments={"gpt-4o": f"kind-{number}"})
                             for number in range(1, 5)), second.backend.entry(priority=5)])
    got = daemon.get("/responses/resp_old")
    assert served(got) == "five"
    assert got.header("x-aoai-lb-attempts") == "one=404,five=200"
    assert daemon.get("/responses/resp_none").header("x-aoai-lb-attempts") == "one=404,five=404"
    assert daemon.get("/responses/resp_none").status == 404


def test_another_name_of_a_resource_is_asked_where_the_first_could_not_answer(stage):
    first = Resource(stage, "a")
    first.known.add("resp_old")
    first.next = answers.error(500, "internal")
    daemon = stage.daemon([first.backend.entry(priority=1), first.backend.entry(priority=2)])
    assert daemon.get("/responses/resp_old").header("x-aoai-lb-attempts") == "one=500,two=200"
    first.next = answers.error(500, "internal")
    assert daemon.get("/responses/resp_none").status == 404  # the resource has answered after all


def test_who_could_not_answer_does_not_count_as_asked(stage):
    silent = [stage.nobody() for _ in range(3)]
    last = Resource(stage, "d")
    last.known.add("file-1")
    daemon = stage.daemon(in_order(*silent, last.backend))
    assert served(daemon.get("/files/file-1")) == "four"


def test_a_deployment_that_the_storing_resource_lacks_is_a_404_that_says_so(stage):
    resources = [Resource(stage, name) for name in "ab"]
    daemon = stage.daemon([resources[0].backend.entry(priority=1),
                           resources[1].backend.entry(priority=2, deployments={"gpt-4o": "gpt-4o"})])
    identity = make_on_second(resources, daemon)
    asked = [len(resource.backend.requests) for resource in resources]
    got = daemon.post("/responses", {"model": "gpt-5", "input": "x", "previous_response_id": identity})
    assert got.status == 404
    assert got.json["error"]["code"] == "DeploymentNotFound"
    assert "stores what this request refers to" in got.json["error"]["message"]
    assert got.header("retry-after-ms") is None
    assert "one=skip:pinned" in got.header("x-aoai-lb-attempts")
    assert [len(resource.backend.requests) for resource in resources] == asked
    assert served(daemon.post("/responses", {**MODEL, "previous_response_id": identity})) == "two"
