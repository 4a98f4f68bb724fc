#!/usr/bin/python3
"""The project's benchmark: aoai-lb beside nginx and HAProxy, the same work, in alternating rounds.

The proxy has one core, load and backend the other. What is compared is the proxy's own CPU time for each answer or event:
requests per second say more about the neighbours on the machine. A case with a single error, or whose work was not the same
for all, is not compared, and the exit status is 1.

usage: bench.py [--quick | --scale] [--rounds N] [--only CASE[,CASE]] [--json FILE] [--plot FILE] [--readme]
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

import cases
import proxies
import report

OUT = proxies.ROOT / "build" / "bench"
STREAMS = (100, 1000, 9000)
SCALE_DESCRIPTORS = 2 * STREAMS[-1] + 500


def raise_descriptor_limit(needed, parser):
    """As far as it may be; what is started inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        parser.error(f"{needed} descriptors are needed, and {hard} are allowed (ulimit -n)")


def make_certificate():
    """A certificate and its key, as aoai-bench takes them."""
    OUT.mkdir(parents=True, exist_ok=True)
    certificate, key = OUT / "server.pem", OUT / "server.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return f"{certificate},{key}"


def run_case(case, rounds, run_ms, certificate, classes):
    """proxy → results, in alternating order; the bare backend once."""
    results = {each.name: [] for each in classes}
    for number in range(rounds):
        for each in classes if number % 2 == 0 else classes[::-1]:
            results[each.name].append(case.run(each, certificate, run_ms))
    if case.refusal is None:
        results["backend"] = [case.run(None, certificate, run_ms)]
    return results


def run_cases(wanted, rounds, run_ms, certificate, classes):
    out = []
    for case in wanted:
        print(f"{case.title} …", file=sys.stderr, flush=True)
        entry = {"name": case.name, "title": case.title, "goal": case.goal, "unit": case.unit, "same_work": case.same_work}
        try:
            entry["rounds"] = run_case(case, rounds, run_ms, certificate, classes)
            entry["figures"] = report.summary(entry["rounds"])
        except RuntimeError as fault:
            entry["fault"] = f"{case.title}: {fault}"
        out.append(entry)
    return out


def run_memory(certificate, classes, streams):
    plain = {each.name: cases.memory_per_stream(each, certificate, False, streams) for each in classes}
    tls = {each.name: cases.memory_per_stream(each, certificate, True, streams) for each in classes}
    rows = [(f"memory of an open stream, plain, KB ({streams} streams)", plain, "kb_per_stream"),
            (f"memory of an open stream, TLS to the backend, KB ({streams} streams)", tls, "kb_per_stream"),
            ("idle, resident, KB", plain, "idle_rss_kb"), ("start to first answer, ms", plain, "start_ms")]
    return [{"title": title, **{name: figures[key] for name, figures in source.items()}} for title, source, key in rows]


def latency_rows(measured):
    """What the proxy adds at one request at a time."""
    rows = []
    for case in measured:
        if case["name"] != "json_1" or "fault" in case:
            continue
        for key in ("p50_us", "p99_us"):
            bare = case["figures"]["backend"][key]["median"]
            rows.append({"title": f"added {key[:3]}, 1 at a time, µs",
                         **{name: figures[key]["median"] - bare for name, figures in case["figures"].items()}})
    return rows


def run_scale():
    own = proxies.AoaiLb
    streams = [cases.scale(own, count) for count in STREAMS]
    backends = [cases.many(own, count, 1, 3000) for count in (3, 100, 3, 100)]
    workers = [cases.many(own, 3, count, 3000) for count in (1, 2, 1, 2)]
    return {"open streams, an event a second": streams, "backends": backends, "workers": workers}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds, some two minutes: whether it runs")
    parser.add_argument("--scale", action="store_true", help="9,000 streams, 100 backends, two workers; aoai-lb alone")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", default="", help="cases, with commas between them")
    parser.add_argument("--json", type=pathlib.Path, default=OUT / "result.json")
    parser.add_argument("--plot", type=pathlib.Path, default=OUT / "result.svg")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    if proxies.missing():
        parser.error(f"missing: {', '.join(proxies.missing())} (./dev bench installs them)")
    unknown = set(filter(None, arguments.only.split(","))) - {case.name for case in cases.CASES}
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are: {', '.join(case.name for case in cases.CASES)}")
    if arguments.readme and (arguments.only or arguments.scale):
        parser.error("--readme takes the whole table: neither --only nor --scale")
    raise_descriptor_limit(SCALE_DESCRIPTORS if arguments.scale else 0, parser)
    started = time.monotonic()
    certificate = make_certificate()
    wanted = [case for case in cases.CASES if not arguments.only or case.name in arguments.only.split(",")]
    rounds = arguments.rounds or (2 if arguments.quick else 9)
    run_ms = 700 if arguments.quick else None
    result = {"cases": [], "others": []}
    faults = []
    try:
        if arguments.scale:
            result["scale"] = run_scale()
        else:
            result["cases"] = run_cases(wanted, rounds, run_ms, certificate, list(proxies.PROXIES))
            faults += [case["fault"] for case in result["cases"] if "fault" in case]
            result["others"] = latency_rows(result["cases"])
            if not arguments.only:
                result["others"] += run_memory(certificate, proxies.PROXIES, 200 if arguments.quick else 1000)
    except RuntimeError as fault:
        faults.append(str(fault))
    text = report.table(result)
    print(text)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    written = [arguments.json]
    if report.is_drawn(result):
        arguments.plot.write_text(report.plot(result))
        written.append(arguments.plot)
    if arguments.readme and not faults:
        report.into_readme(proxies.ROOT / "README.md", text)
    print(f"{time.monotonic() - started:.0f} s; {', '.join(map(str, written))}", file=sys.stderr)
    for fault in faults:
        print(f"Not compared: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
