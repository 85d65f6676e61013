"""Fuzzes a target with atheris: ``python -m tests.fuzz TARGET [SECONDS] [libFuzzer options]``.

New inputs that reach new code are kept in ``tests/fuzz/corpus/TARGET``; a failing one is written to
the current folder, and belongs there too once it is fixed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["rpyc_like"]):
    from . import targets

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    name = sys.argv[1]
    seconds = sys.argv[2] if len(sys.argv) > 2 else "60"
    options = sys.argv[3:]
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    limits = ["-rss_limit_mb=1024", "-timeout=10", "-max_len=4096", f"-max_total_time={seconds}"]
    atheris.Setup(
        [sys.argv[0], *limits, *options, str(folder)], lambda data: targets.check(name, data)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
