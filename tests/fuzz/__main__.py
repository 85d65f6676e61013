"""Fuzzes a target with atheris: ``python -m tests.fuzz TARGET [SECONDS] [libFuzzer options]``.

Starts from the corpus and adds the inputs that reached new code. A failing one is written to the
current folder, and belongs into the corpus too once it is fixed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from . import corpus

LIMITS = ["-rss_limit_mb=1024", "-timeout=10", "-max_len=4096"]


def main() -> None:
    name = sys.argv[1]
    seconds = sys.argv[2] if len(sys.argv) > 2 else "60"
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        before = corpus.load(name)
        for number, data in enumerate(before):
            (folder / str(number)).write_bytes(data)
        options = [*LIMITS, f"-max_total_time={seconds}", *sys.argv[3:]]
        args = [sys.executable, "-m", "tests.fuzz.run", name, str(folder), *options]
        done = subprocess.run(args, check=False)
        found = [path.read_bytes() for path in folder.iterdir()]
    corpus.save(name, [*before, *found])
    print(f"{name}: {len(corpus.load(name))} inputs, {len(before)} before")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
