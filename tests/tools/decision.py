#!/usr/bin/python3
"""What the choice of a backend costs, in instructions, with ten backends and with one and 2,000 deployments.

Builds decision.c from the sources of the rooms that have no input and output, runs it under callgrind with few and with
many decisions, and takes the difference. Fails above the limit, or when the number of deployments makes it dearer.

usage: decision.py
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEW, MANY = 1000, 6000
LIMIT = 2500  # some 0.8 µs
GROWTH = 1.02  # flat in the number of deployments, within what the hash of a longer name costs


def build(directory):
    program = pathlib.Path(directory, "decision")
    sources = [ROOT / "tests/tools/decision.c",
               *sorted(path for room in ("base", "http", "policy") for path in (ROOT / "src" / room).glob("*.c"))]
    # As the release is built: across files.
    subprocess.run([*os.environ.get("CC", "cc").split(), "-O2", "-flto", "-std=c17", "-D_GNU_SOURCE", f"-I{ROOT}/include", "-o", str(program),
                    *map(str, sources), "-lpthread"], check=True)
    return program


def count(program, deployments, decisions):
    counts = program.with_suffix(".out")
    subprocess.run(["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={counts}", str(program), str(deployments),
                    str(decisions)], check=True)
    return int(re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.M)[1])


def main():
    if not shutil.which("valgrind"):
        print("valgrind is missing", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as directory:
        program = build(directory)
        one, many = ((count(program, deployments, MANY) - count(program, deployments, FEW)) / (MANY - FEW)
                     for deployments in (1, 2000))
    print(f"instructions per decision, ten backends: {one:.0f} with one deployment, {many:.0f} with 2,000 (limit {LIMIT})")
    return 0 if one <= LIMIT and many <= LIMIT and many <= one * GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
