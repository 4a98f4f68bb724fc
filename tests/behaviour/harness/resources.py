"""Resources that keep what they have made, as Azure OpenAI does with responses, files and their kin."""
import json

from . import answers

MODEL = {"model": "gpt-4o", "input": "Hello"}
ELSEWHERE = answers.error(501, "not_implemented")  # tried elsewhere, and lets nobody rest
NOT_FOUND = answers.error(404, "not_found", "There is no such thing.")


def response(identity, *items):
    """A stored response."""
    return answers.answer(body={"id": identity, "object": "response", "status": "completed", "output": list(items)})


def stored(identity, kind):
    return answers.answer(body={"id": identity, "object": kind})


class Resource:
    """A backend that knows what it has made, and counts."""

    def __init__(self, stage, name):
        self.name = name
        self.made = 0
        self.known = set()
        self.next = None  # a prepared answer
        self.backend = stage.backend(default=self.answer)

    def make(self, kind="resp"):
        self.made += 1
        identity = f"{kind}_{self.name}{self.made}"
        self.known.add(identity)
        return identity

    def answer(self, exchange):
        path = exchange.request.target.split("?")[0]
        parts = [part for part in path.split("/") if part not in ("", "openai", "v1")]
        if self.next is not None:
            answer, self.next = self.next, None
        elif "chat" in parts:
            answer = answers.ok()
        elif len(parts) > 1 and parts[1] not in self.known:
            answer = NOT_FOUND
        elif len(parts) > 1:
            answer = stored(parts[1], parts[0])
        elif parts[0] == "responses":
            answer = response(self.make())
        else:
            answer = stored(self.make(parts[0]), parts[0])
        answer(exchange)


def busy(resource):
    """One answer of a resource whose quota is spent."""
    resource.next = answers.wait_ms(30000)


def served(got):
    assert got.status == 200, got
    return got.header("x-aoai-lb-backend")


def make_on_second(resources, daemon, path="/responses", body=None):
    """Something that the second resource stores, since the first could not."""
    resources[0].next = ELSEWHERE
    got = daemon.post(path, MODEL if body is None else body)
    assert served(got) == "two", got
    return json.loads(got.body)["id"]
