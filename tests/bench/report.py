"""What is said of the figures: medians, spread, ratios pair by pair; a table, and a plot as SVG."""
import html
import statistics


# HAProxy's second backend has a 257th of the weight; what is under way at the end has been refused already.
WORK_TOLERANCE = 0.02
PROGRAMS = ("aoai-lb", "nginx", "haproxy")


def median_and_spread(values):
    """The median, and half the distance between the quartiles as a share of it; of a single value there is no spread."""
    values = sorted(values)
    middle = statistics.median(values)
    if len(values) < 2 or not middle:
        return middle, None
    quarter = statistics.quantiles(values, n=4, method="inclusive")
    return middle, (quarter[2] - quarter[0]) / 2 / middle


def ratios(own, others):
    """Of each pair of rounds: both ran one after the other, so that the machine's moods fall out."""
    return [a / b for a, b in zip(own, others) if b]


def attempts(counts):
    """Requests that the backends got for each of their answers. counts: what each of them counted, the refusing one first."""
    asked = sum(each["requests"] for each in counts)
    return asked / max(1, asked - sum(each["refusals"] for each in counts))


def no_refusal(counts):
    """Why nothing was tried that this is about, or None."""
    if counts[0]["refusals"] == 0 or counts[0]["refusals"] != counts[0]["requests"]:
        return f"the first backend did not refuse: {counts}"
    if any(each["refusals"] for each in counts[1:]) or not all(each["requests"] for each in counts):
        return f"one of the others refused, or was not asked: {counts}"
    return None


def other_work(counts):
    """Why this was not a refusal by the first backend and an answer of the second's for each request, or None."""
    answered = sum(each["requests"] for each in counts[1:])
    share = counts[0]["refusals"] / max(1, answered)
    if no_refusal(counts) is None and abs(share - 1) > WORK_TOLERANCE:
        return f"not the same work: {100 * share:.0f} refusals for 100 answers: {counts}"
    return no_refusal(counts)


def summary(rounds):
    """rounds	proxy → list of results of one case, one a round."""
    out = {}
    for name, results in rounds.items():
        out[name] = {key: dict(zip(("median", "spread"), median_and_spread([result[key] for result in results])))
                     for key in results[0] if all(result[key] is not None for result in results)}
    for name in rounds:
        if name in ("aoai-lb", "backend") or "aoai-lb" not in rounds:
            continue
        pairs = ratios([each["cpu_us"] for each in rounds["aoai-lb"]], [each["cpu_us"] for each in rounds[name]])
        out[name]["ratio"] = dict(zip(("median", "spread"), median_and_spread(pairs)))
    return out


def cell(figure, digits=1):
    """A median, with its spread where there were several rounds."""
    if figure is None:
        return "–"
    text = f"{figure['median']:.{digits}f}"
    return text if figure["spread"] is None else f"{text} ±{100 * figure['spread']:.0f} %"


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def heading(*cells):
    return [row(*cells), "| --- " * len(cells) + "|"]


def compared(cases):
    """The same work by all, and the ratios."""
    lines = heading("CPU time of the proxy, µs", "aoai-lb", "nginx", "HAProxy", "÷ nginx", "÷ HAProxy", "goal",
                    "bare backend, per second")
    for case in cases:
        if "fault" in case:
            lines.append(row(case["title"], "not compared", *[""] * 6))
            continue
        figures = {name: case["figures"].get(name, {}) for name in (*PROGRAMS, "backend")}
        bare = figures["backend"].get("per_second")
        lines.append(row(case["title"], *(cell(figures[name].get("cpu_us")) for name in PROGRAMS),
                         *(cell(figures[name].get("ratio"), 2) for name in PROGRAMS[1:]),
                         "" if case["goal"] is None else f"{case['goal']:g}", f"{bare['median']:.0f}" if bare else "–"))
    return lines


def observed(case):
    """Work that need not be the same: how much there was of it, what it cost, how long the caller waited."""
    wanted = (("attempts", "requests to backends for each answer", 3), ("cpu_us", "CPU time of the proxy for each answer, µs", 1),
              ("p50_us", "median, µs", 0), ("p99_us", "99th percentile, µs", 0))
    return heading(case["title"], "aoai-lb", "nginx", "HAProxy") + [
        row(title, *(cell(case["figures"].get(name, {}).get(key), digits) for name in PROGRAMS))
        for key, title, digits in wanted]


def other_rows(rows):
    """Figures of all three, without spread."""
    return heading("", "aoai-lb", "nginx", "HAProxy") + [
        row(each["title"], *(f"{each[name]:.1f}" if each.get(name) is not None else "–" for name in PROGRAMS))
        for each in rows]


def scaled(title, rows):
    """Figures of aoai-lb alone, a line for each size."""
    return heading(title, *rows[0]) + [
        row("", *(f"{value:.1f}" if isinstance(value, float) else str(value) for value in each.values())) for each in rows]


def table(report):
    """Markdown."""
    same = [case for case in report["cases"] if case["same_work"]]
    parts = [compared(same)] if same else []
    parts += [observed(case) for case in report["cases"] if not case["same_work"] and "fault" not in case]
    parts += [other_rows(report["others"])] if report["others"] else []
    parts += [scaled(title, rows) for title, rows in report.get("scale", {}).items()]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def drawn(report):
    return [case for case in report["cases"] if case["same_work"] and case.get("figures", {}).get("nginx", {}).get("ratio")]


def is_drawn(report):
    """Whether there is anything to plot."""
    return bool(drawn(report))


def plot(report):
    """Bars of the ratios to nginx: shorter is cheaper."""
    cases = drawn(report)
    width, left, step, scale = 760, 250, 30, 320
    height = 50 + step * len(cases)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
           f'<text x="10" y="20" font-size="14">CPU time of aoai-lb, with that of nginx as 1 (shorter is cheaper)</text>',
           f'<line x1="{left + scale}" y1="32" x2="{left + scale}" y2="{height - 8}" stroke="#888"/>']
    for i, case in enumerate(cases):
        ratio, y = case["figures"]["nginx"]["ratio"], 38 + step * i
        length = min(ratio["median"], 1.4) * scale
        spread = ratio["spread"] or 0
        low, high = length * (1 - spread), length * (1 + spread)
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(case["title"])}</text>'
                   f'<rect x="{left}" y="{y}" width="{length:.1f}" height="20" fill="#2f6fb3"/>'
                   f'<line x1="{left + low:.1f}" y1="{y + 10}" x2="{left + high:.1f}" y2="{y + 10}" stroke="#000"/>'
                   f'<text x="{left + max(length, high) + 6:.1f}" y="{y + 14}">{ratio["median"]:.2f}</text>')
    return "\n".join([*out, "</svg>", ""])


def into_readme(path, text):
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    readme = path.read_text()
    before, _, rest = readme.partition(begin)
    _, marker, after = rest.partition(end)
    if not marker:
        raise SystemExit(f"{path} has no {begin} … {end}")
    path.write_text(f"{before}{begin}\n{text}{end}{after}")
