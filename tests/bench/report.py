"""What is said of the figures: medians, spread, ratios pair by pair; a table, and a plot as SVG."""
import html
import statistics


# HAProxy's second backend has a 257th of the weight; what is under way at the end has been refused already.
WORK_TOLERANCE = 0.02


def median_and_spread(values):
    """The median, and half the distance between the quartiles as a share of it."""
    values = sorted(values)
    middle = statistics.median(values)
    if len(values) < 2 or not middle:
        return middle, 0.0
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


def cell(value, spread=None, digits=1):
    text = f"{value:.{digits}f}"
    return text if spread is None else f"{text} ±{100 * spread:.0f} %"


def table(report):
    """Markdown."""
    lines = ["| CPU time of the proxy, µs | aoai-lb | nginx | HAProxy | ÷ nginx | ÷ HAProxy | goal | bare backend, per second |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for case in report["cases"]:
        figures = case["figures"]
        row = [case["title"]]
        for name in ("aoai-lb", "nginx", "haproxy"):
            cpu = figures.get(name, {}).get("cpu_us")
            row.append(cell(cpu["median"], cpu["spread"]) if cpu else "–")
        for name in ("nginx", "haproxy"):
            ratio = figures.get(name, {}).get("ratio")
            row.append(cell(ratio["median"], ratio["spread"], 2) if ratio else "–")
        row.append("" if case["goal"] is None else f"{case['goal']:g}")
        bare = figures.get("backend", {}).get("per_second")
        row.append(f"{bare['median']:.0f}" if bare else "–")
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "| | aoai-lb | nginx | HAProxy |", "| --- | --- | --- | --- |"]
    for row in report["others"]:
        lines.append("| " + " | ".join([row["title"], *(cell(row[name]) if row.get(name) is not None else "–"
                                                           for name in ("aoai-lb", "nginx", "haproxy"))]) + " |")
    for title, rows in report.get("scale", {}).items():
        lines += ["", f"| {title} | " + " | ".join(rows[0]) + " |", "| --- " * (len(rows[0]) + 1) + "|"]
        lines += ["| | " + " | ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values())
                  + " |" for row in rows]
    return "\n".join(lines) + "\n"


def plot(report):
    """Bars of the ratios to nginx: shorter is cheaper."""
    cases = [case for case in report["cases"] if case["figures"].get("nginx", {}).get("ratio")]
    width, left, step, scale = 760, 250, 30, 320
    height = 50 + step * len(cases)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
           f'<text x="10" y="20" font-size="14">CPU time of aoai-lb, with that of nginx as 1 (shorter is cheaper)</text>',
           f'<line x1="{left + scale}" y1="32" x2="{left + scale}" y2="{height - 8}" stroke="#888"/>']
    for i, case in enumerate(cases):
        ratio, y = case["figures"]["nginx"]["ratio"], 38 + step * i
        length = min(ratio["median"], 1.4) * scale
        low, high = (length * (1 - ratio["spread"]), length * (1 + ratio["spread"]))
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
