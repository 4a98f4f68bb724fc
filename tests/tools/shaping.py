#!/usr/bin/python3
"""How many 429s the daemon meets over sockets, beside the rule of Microsoft's sample, under the same bursts.

Two equal sets of three simulated resources: two standard deployments and a provisioned one, with quotas of tokens and
requests. One set is behind aoai-lb; the other is called by the rule of the sample, played here: any of those that do not
cool, for as long as Retry-After says in whole seconds. Both get the same callers at the same moments: bursts of
conversations, prompts with a heavy tail, some as streams. A caller that is refused comes again when its hint says, once.

usage: shaping.py [--seconds 90] [--load 60,90,100,120] [--window-ms 20000] [--seed N] [build/release]
"""
import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "behaviour"))

from harness.daemon import clean_environment  # noqa: E402

PATH = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
NAMES = ("one", "two", "three")
BURST = 10
SPREAD_SECONDS = 0.3
LIMIT = 120  # max_tokens, where it is said
ANSWER = 60
UNSAID = 16  # what the simulator counts where it is not
WEIGHT, PTU_TOKENS = 3, 2500
QUOTAS = {"one": {"tokens_per_minute": 300_000, "requests_per_minute": 1200},
          "two": {"tokens_per_minute": 150_000, "requests_per_minute": 600},
          "three": {"ptu": 50}}
WEIGHTS = {"one": 6, "two": 3, "three": 2}
LATENCY = {"first_token_ms": 200, "per_token_ms": 10, "jitter": 0.3}


class Call:
    """One request of the schedule."""

    def __init__(self, chance, at):
        self.at = at
        self.conversation = chance.randrange(120)
        size = min(int(600 * (1 - chance.random()) ** (-1 / 1.3)), 30_000)
        self.limited = chance.random() < 2 / 3
        self.stream = chance.random() < 2 / 3
        body = {"messages": [{"role": "user", "content": "x" * size}], "prompt_cache_key": f"c{self.conversation}"}
        if self.limited:
            body["max_tokens"] = LIMIT
        if self.stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        text = json.dumps(body).encode()
        self.request = (f"POST {PATH} HTTP/1.1\r\nHost: lb\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {len(text)}\r\n\r\n").encode() + text
        self.prompt = 1 + size // 4
        self.counted = self.prompt + (LIMIT if self.limited else UNSAID)
        self.weighted = self.prompt + WEIGHT * ANSWER


def schedule(seed, seconds, load):
    """Poisson bursts that use the wanted share of the joint quota."""
    chance = random.Random(seed)
    sample = [Call(chance, 0) for _ in range(5000)]
    counted = sum(call.counted for call in sample) / len(sample)
    weighted = sum(call.weighted for call in sample) / len(sample)
    a_minute = sum(min(quota["tokens_per_minute"] / counted, quota["requests_per_minute"]) if "ptu" not in quota
                   else quota["ptu"] * PTU_TOKENS / weighted for quota in QUOTAS.values())
    count = int(a_minute * load * seconds / 60)
    calls, at = [], 0.0
    while len(calls) < count:
        at += chance.expovariate(1 / BURST)
        for _ in range(1 + int(chance.expovariate(1 / (BURST - 1)))):
            calls.append(Call(chance, at))
    for call in calls:
        call.at = call.at / at * seconds + chance.random() * SPREAD_SECONDS
    return sorted(calls[:count], key=lambda call: call.at)


class Answer:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:]) if name}


class Endpoint:
    """Keeps connections to a port."""

    def __init__(self, port):
        self.port = port
        self.idle = []

    async def call(self, request):
        while True:
            reused = bool(self.idle)
            reader, writer = self.idle.pop() if reused else await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(request)
                answer = Answer(await reader.readuntil(b"\r\n\r\n"))
                if "content-length" in answer.fields:
                    await reader.readexactly(int(answer.fields["content-length"]))
                else:
                    while (line := await reader.readuntil(b"\r\n")) != b"0\r\n":
                        await reader.readexactly(int(line.split(b";")[0], 16) + 2)
                    await reader.readuntil(b"\r\n")
            except (ConnectionError, asyncio.IncompleteReadError):
                writer.close()
                if not reused:
                    raise
                continue
            if answer.fields.get("connection", "").lower() == "close":
                writer.close()
            else:
                self.idle.append((reader, writer))
            return answer


class Counts:
    def __init__(self):
        self.calls = self.served = self.refused = self.round_trips = self.returned = self.served_then = 0
        self.hints, self.waits = [], []


class Sample:
    """The rule of the sample."""

    def __init__(self, ports, counts):
        self.endpoints = {name: Endpoint(ports[name]) for name in NAMES}
        self.until = dict.fromkeys(NAMES, 0.0)
        self.chance = random.Random(5)
        self.counts = counts

    async def send(self, call):
        while True:
            now = time.monotonic()
            open_ones = [name for name in NAMES if self.until[name] <= now]
            if not open_ones:
                return False, int((min(self.until.values()) - now) * 1000)
            name = self.chance.choice(open_ones)
            answer = await self.endpoints[name].call(call.request)
            if answer.status == 200:
                return True, 0
            assert answer.status == 429, answer.status
            self.counts.round_trips += 1
            self.until[name] = max(self.until[name], time.monotonic() + int(answer.fields["retry-after"]))


class Balancer:
    """aoai-lb."""

    def __init__(self, port, counts):
        self.endpoint = Endpoint(port)
        self.counts = counts

    async def send(self, call):
        answer = await self.endpoint.call(call.request)
        self.counts.round_trips += len(re.findall(r"=429\b", answer.fields.get("x-aoai-lb-attempts", "")))
        if answer.status == 200:
            return True, 0
        assert answer.status == 429, (answer.status, answer.fields)
        return False, int(answer.fields["retry-after-ms"])


async def one_caller(way, call, start, counts):
    await asyncio.sleep(max(0, start + call.at - time.monotonic()))
    counts.calls += 1
    begun = time.monotonic()
    served, hint_ms = await way.send(call)
    counts.waits.append(time.monotonic() - begun)
    if served:
        counts.served += 1
        return
    counts.refused += 1
    counts.hints.append(hint_ms)
    await asyncio.sleep(hint_ms / 1000)
    counts.returned += 1
    served, _ = await way.send(call)
    counts.served_then += served


def start_simulator(build, window_ms):
    config = {"record": 0, "control": {"port": 0}, "resources": [
        {"name": name, "deployments": {"gpt-4o": {"token_window_ms": window_ms, "request_window_ms": 10_000, "latency": LATENCY,
                                                  "completion_tokens": ANSWER, **quota}}}
        for name, quota in QUOTAS.items()]}
    directory = tempfile.mkdtemp(prefix="shaping-")
    path = pathlib.Path(directory, "simulator.json")
    path.write_text(json.dumps(config))
    process = subprocess.Popen([build / "aoai-sim", "--config", path, "--print-ports"], stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, env=clean_environment())
    ports = dict(process.stdout.readline().decode().split() for _ in range(len(NAMES) + 1))
    return process, {name: int(port) for name, port in ports.items()}, directory


def start_balancer(build, ports, directory):
    path = pathlib.Path(directory, "config.json")
    path.write_text(json.dumps({
        "listen": {"address": "127.0.0.1", "port": 0}, "admin": {"port": 0}, "log": {"requests": False},
        "selection": {"prompt_cache_affinity": True},
        "backends": [{"name": name, "url": f"http://127.0.0.1:{ports[name]}", "weight": WEIGHTS[name]} for name in NAMES]}))
    process = subprocess.Popen([build / "aoai-lb", "--config", path], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                               env=clean_environment())
    for line in process.stdout:
        found = re.search(rb"listening on \S*?127\.0\.0\.1:(\d+)", line.lower())
        if found and b"admin" not in line.lower():
            os.set_blocking(process.stdout.fileno(), False)
            return process, int(found[1])
    raise RuntimeError("the daemon does not start")


async def drain(process):
    while process.poll() is None:
        with contextlib.suppress(BlockingIOError, TypeError):
            process.stdout.read()
        await asyncio.sleep(0.2)


async def run(options, load):
    calls = schedule(options.seed, options.seconds, load)
    sims = [start_simulator(options.build, options.window_ms) for _ in range(2)]
    daemon, port = start_balancer(options.build, sims[1][1], sims[1][2])
    counts = [Counts(), Counts()]
    ways = [Sample(sims[0][1], counts[0]), Balancer(port, counts[1])]
    drainer = asyncio.create_task(drain(daemon))
    start = time.monotonic() + 0.5
    await asyncio.gather(*(one_caller(way, call, start, counted) for way, counted in zip(ways, counts) for call in calls))
    drainer.cancel()
    for process in (daemon, sims[0][0], sims[1][0]):
        process.terminate()
        process.wait()
    for _, _, directory in sims:
        shutil.rmtree(directory)
    return counts


def report(load, counts):
    for name, counted in zip(("random", "aoai-lb"), counts):
        hints, waits = sorted(counted.hints) or [0], sorted(counted.waits)
        print(f"| {load * 100:.0f} % | {name} | {counted.calls} | {100 * counted.refused / counted.calls:.2f} % | "
              f"{counted.round_trips} | {hints[len(hints) // 2]} | {counted.served_then} of {counted.returned} | "
              f"{waits[len(waits) // 2] * 1000:.0f} / {waits[len(waits) * 99 // 100] * 1000:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--load", default="60,90,100,120")
    parser.add_argument("--window-ms", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("build", nargs="?", default=ROOT / "build" / "release", type=pathlib.Path)
    options = parser.parse_args()
    print("| load | rule | requests | refused | 429 round trips | median hint, ms | served on return | ms in all, p50 / p99 |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for load in options.load.split(","):
        report(int(load) / 100, asyncio.run(run(options, int(load) / 100)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
