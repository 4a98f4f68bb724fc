"""aoai-bench as processes: the backend, and a load whose measured time begins and ends when this says so."""
import json
import signal
import subprocess

from proxies import OTHER_CORE, ROOT, pin

BENCH = ROOT / "build/release/aoai-bench"
WAIT_SECONDS = 120


class Backend:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([BENCH, "backend", *arguments], text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, preexec_fn=lambda: pin(OTHER_CORE))
        self.port = int(self.process.stdout.readline())

    def close(self):
        """What it counted."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=WAIT_SECONDS)
        return json.loads(out)


class Load:
    """Connected, warm and still asking, but not yet counting: begin() and end() enclose the measured time."""

    def __init__(self, port, *arguments):
        self.process = subprocess.Popen([BENCH, "load", "--port", str(port), "--interactive", *map(str, arguments)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: pin(OTHER_CORE))
        line = self.process.stdout.readline()
        if line != "ready\n":
            self.close()
            raise RuntimeError(f"the load did not get warm: {line.strip()}")

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self):
        """When the measured time is over, by itself or by stop()."""
        result = json.loads(self.process.stdout.readline())
        if result["errors"]:
            raise RuntimeError(f"{result['errors']} errors: {result['fault']}")
        return result

    def stop(self):
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait(WAIT_SECONDS)


def measure(port, cpu_ns, *arguments):
    """One run against a port: its result with the CPU time that cpu_ns() grew by for each answer and each event."""
    load = Load(port, *arguments)
    try:
        before = cpu_ns()
        load.begin()
        result = load.result()
        spent = cpu_ns() - before
    finally:
        load.close()
    result["cpu_us_per_answer"] = spent / 1000 / result["answers"] if result["answers"] else None
    result["cpu_us_per_event"] = spent / 1000 / result["events"] if result["events"] else None
    return result
