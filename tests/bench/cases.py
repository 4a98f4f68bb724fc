"""What is measured. Each case gives, for one proxy in one round, numbers by name."""
import contextlib
import pathlib
import shutil
import tempfile
import time

import report
from load import Backend, Load, measure
from proxies import Refusal


PACE_KEPT = 0.6  # alone on two cores it is 0.85, since a timer's tick is 4 ms
TRIES = 4


@contextlib.contextmanager
def scratch():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="aoai-bench-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Case:
    """A closed loop of one call.

    unit	answer or event: what the CPU time is divided by
    refusal	what the first of the backends refuses (None: nothing)
    same_work	all programs have to ask the backends for the same; else how often they ask is part of the result
    goal	the ratio to nginx that is aimed at (None: none)
    pace	so many a second are asked for. Where far fewer came, load or backend had no processor, and several were passed on
		at once, which is cheaper: such a run is done again (None: as many as there can be)
    """

    def __init__(self, name, title, *arguments, unit="answer", tls=False, backends=1, refusal=None, same_work=True,
                 large=False, access_log=False, goal=None, pace=None, run_ms=2000):
        self.name, self.title, self.arguments, self.unit = name, title, arguments, unit
        self.tls, self.count, self.refusal, self.same_work = tls, backends, refusal, same_work
        self.large, self.access_log, self.goal, self.pace, self.run_ms = large, access_log, goal, pace, run_ms
        if refusal is not None and refusal.names:
            self.arguments += ("--names", refusal.names)

    @contextlib.contextmanager
    def backends(self, proxy_class, certificate):
        common = ("--address", "0.0.0.0", *(("--tls", certificate) if self.tls else ()))
        refuses = ()
        if self.refusal is not None:
            refuses = ("--refuse", proxy_class.refusal_status, "--wait", str(self.refusal.wait_ms))
        running = [Backend(*common, *(() if i else refuses)) for i in range(self.count)]
        counts = []
        try:
            yield [backend.port for backend in running], counts
        finally:
            counts += [backend.close() for backend in running]

    def run(self, proxy_class, certificate, run_ms=None):
        """One round; proxy_class None: the bare backend."""
        for _ in range(TRIES):
            figures = self.run_once(proxy_class, certificate, run_ms)
            if self.pace is None or figures["per_second"] >= self.pace * PACE_KEPT:
                return figures
        raise RuntimeError(f"{figures['per_second']:.0f} {self.unit}s a second instead of {self.pace}: the machine is too busy")

    def run_once(self, proxy_class, certificate, run_ms):
        arguments = (*self.arguments, "--run", run_ms or self.run_ms, "--warm", 300)
        with scratch() as directory, self.backends(proxy_class, certificate) as (ports, counts):
            if proxy_class is None:
                result = measure(ports[0], lambda: 0, *arguments, *(("--tls",) if self.tls else ()))
            else:
                proxy = proxy_class(directory, ports, tls=self.tls, refusal=self.refusal, large=self.large,
                                    access_log=self.access_log)
                try:
                    result = measure(proxy.port, proxy.cpu_ns, *arguments)
                finally:
                    proxy.close()
        figures = {"cpu_us": result[f"cpu_us_per_{self.unit}"], "per_second": result[f"{self.unit}s"] / result["seconds"],
                   "p50_us": result["latency_us"]["p50"], "p99_us": result["latency_us"]["p99"]}
        if not result[f"{self.unit}s"] or (proxy_class is not None and not figures["cpu_us"]):
            raise RuntimeError(f"no {self.unit}s came, or no CPU time was counted: {result}")
        if self.refusal is not None:
            fault = report.other_work(counts) if self.same_work else report.no_refusal(counts)
            if fault:
                raise RuntimeError(f"{proxy_class.name}: {fault}")
            figures["attempts"] = report.attempts(counts)
        return figures


STREAM = ("--call", "stream-100-20", "--connections", 1000)
STREAM_PACE = 1000 * 1000 // 20
CASES = (
    Case("json_1", "JSON, 1 at a time", "--connections", 1, goal=0.85),
    Case("json_32", "JSON, 32 at once", "--connections", 32, goal=0.85),
    Case("json_256", "JSON, 256 at once", "--connections", 256, goal=0.8),
    Case("request_40k", "40 KB up, 32 at once", "--call", "request_40k", "--connections", 32, large=True, goal=1.1),
    Case("answer_40k", "40 KB down, 32 at once", "--call", "answer_40k", "--connections", 32, large=True, goal=1.1),
    Case("stream_1000", "events of 1000 streams", *STREAM, unit="event", goal=1.0, pace=STREAM_PACE, run_ms=4000),
    # Each deployment is asked for again when the wait of its last 429 is long over, so that none is passed over: 1000
    # names at 50,000 requests a second take 20 ms; the shortest rest that aoai-lb takes is 10 ms.
    Case("failover", "429, then 200, each request", "--connections", 8, backends=2,
         refusal=Refusal(wait_ms=1, standby=True, names=1000), goal=0.5),
    Case("out_of_quota", "one backend of three out of quota, a second at a time", "--connections", 8, backends=3,
         refusal=Refusal(wait_ms=1000, standby=False, names=0), same_work=False, run_ms=4000),
    Case("tls_32", "JSON, TLS to the backend, 32 at once", "--connections", 32, tls=True, goal=0.85),
    Case("json_32_logged", "JSON, 32 at once, access logs on", "--connections", 32, access_log=True),
)


def memory_per_stream(proxy_class, certificate, tls, streams):
    """KB that a proxy grows by for each open stream, each with an event a second; and what it had before."""
    case = Case("memory", "", tls=tls)
    with scratch() as directory, case.backends(None, certificate) as (ports, _):
        proxy = proxy_class(directory, ports, tls=tls)
        try:
            idle = proxy.resident_kb()
            measure(proxy.port, proxy.cpu_ns, "--requests", 100)
            before = proxy.memory_kb()
            load = Load(proxy.port, "--call", "stream-100000-1000", "--connections", streams, "--warm", 2500)
            try:
                grown = proxy.memory_kb() - before
                load.begin()
                load.stop()
                load.result()
            finally:
                load.close()
        finally:
            proxy.close()
    return {"kb_per_stream": grown / streams, "idle_rss_kb": idle, "start_ms": proxy.start_ms}


def scale(proxy_class, streams, seconds=4):
    """CPU time for each event and memory for each stream, with so many open streams, an event a second each."""
    with scratch() as directory, Case("scale", "").backends(None, None) as (ports, _):
        proxy = proxy_class(directory, ports)
        try:
            measure(proxy.port, proxy.cpu_ns, "--requests", 100)
            before = proxy.memory_kb()
            load = Load(proxy.port, "--call", "stream-100000-1000", "--connections", streams, "--addresses", 8,
                        "--warm", 3000)
            try:
                grown = proxy.memory_kb() - before
                cpu = proxy.cpu_ns()
                load.begin()
                time.sleep(seconds)
                load.stop()
                result = load.result()
                cpu = proxy.cpu_ns() - cpu
            finally:
                load.close()
        finally:
            proxy.close()
    if result["events"] < streams * seconds / 2:
        raise RuntimeError(f"{streams} streams: {result['events']} events came in {seconds} s: the load or the machine lags")
    return {"streams": streams, "events_per_second": round(result["events"] / result["seconds"]), "grown_kb": grown,
            "kb_per_stream": grown / streams, "cpu_us_per_event": cpu / 1000 / result["events"]}


def many(proxy_class, backends, workers, run_ms):
    """CPU time of a small request with so many backends (one process behind many addresses), and with so many workers."""
    with scratch() as directory, Case("many", "").backends(None, None) as (ports, counts):
        proxy = proxy_class(directory, ports * backends, workers=workers)
        try:
            result = measure(proxy.port, proxy.cpu_ns, "--connections", 32, "--run", run_ms, "--warm", 500)
            threads = sorted(proxy.threads_cpu_ns(), reverse=True)[:workers]
        finally:
            proxy.close()
    if counts[0]["connections"] < backends:
        raise RuntimeError(f"{backends} backends: only {counts[0]['connections']} connections to them were made")
    if len(threads) < workers or threads[-1] * workers < sum(threads) / 2:
        raise RuntimeError(f"{workers} workers: the work is not spread over them: {threads} ns")
    return {"backends": backends, "workers": workers, "cpu_us": result["cpu_us_per_answer"]}
