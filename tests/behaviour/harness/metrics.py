"""Reads Prometheus' text format strictly: whatever a lenient scraper would forgive is an error here."""
import collections
import re

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


class Metrics:
    """samples: (name, sorted labels) -> value, as text is given; types: family -> type."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.samples, self.types, helps, family = {}, {}, set(), None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                assert family not in helps, f"{family} has two HELP lines"
                assert len(line.split(" ", 3)) == 4, line
                helps.add(family)
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == family and name not in self.types, line
                assert kind in ("counter", "gauge", "histogram"), line
                self.types[name] = kind
            else:
                self.add(line, family)
        for name, kind in self.types.items():
            if kind == "histogram":
                self.check_histogram(name)

    def add(self, line, family):
        match = SAMPLE.fullmatch(line)
        assert match, f"no sample: {line!r}"
        name, labels, value = match.groups()
        allowed = [family + suffix for suffix in SUFFIXES.get(self.types[family], ("",))]
        assert name in allowed, f"{name} stands among the samples of {family}"
        key = (name, self.labels_of(labels or ""))
        assert key not in self.samples, f"twice: {line}"
        self.samples[key] = float(value)
        assert self.samples[key] >= 0, line

    @staticmethod
    def labels_of(text):
        found, at = {}, 0
        while at < len(text):
            match = LABEL.match(text, at)
            assert match, f"no label: {text[at:]!r}"
            assert match[1] not in found, f"{match[1]} twice in {text}"
            found[match[1]] = re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), match[2])
            at = match.end()
        return tuple(sorted(found.items()))

    def check_histogram(self, name):
        """Each series: buckets that never fall, up to +Inf, which is the count; a sum."""
        series = collections.defaultdict(list)
        for (sample, labels), value in self.samples.items():
            if sample == name + "_bucket":
                rest = dict(labels)
                series[tuple(sorted((key, text) for key, text in labels if key != "le"))].append((float(rest["le"]), value))
        for labels, buckets in series.items():
            assert buckets == sorted(buckets), f"{name}{labels}: bounds out of order"
            counts = [count for _, count in buckets]
            assert counts == sorted(counts), f"{name}{labels}: buckets fall"
            assert buckets[-1][0] == float("inf")
            assert self.samples[(name + "_count", labels)] == buckets[-1][1]
            assert (name + "_sum", labels) in self.samples

    def total(self, name, **labels):
        """The sum of all samples of that name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (sample, has), value in self.samples.items() if sample == name and wanted <= set(has))

    def values(self, name, label):
        """The values that a label has among the samples of a name."""
        return {dict(labels)[label] for sample, labels in self.samples if sample == name}
