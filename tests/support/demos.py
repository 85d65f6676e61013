"""The demos, run with two implementations: ``python -m tests.support.demos [-v] [NAME ...]``.

Each program of ``demos/`` is run as it is, and with ``rpyc`` for ``rpyc_like`` in its imports,
against the real RPyC. What they print must be the same.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .peers import OURS, ROOT, environment
from .programs import running_sshd

DEMOS = sorted(path.stem for path in (ROOT / "demos").glob("*.py"))
THEIRS = "rpyc-6.0.2"
OVER_SSH = {"config_editor"}
"""Demos that are given a machine to log in to."""

_IMPORT = re.compile(r"^(\s*)(import|from) rpyc_like( as rpyc)?", re.MULTILINE)


def for_rpyc(source: str) -> str:
    """Returns a program with the import name changed, and nothing else."""
    return _IMPORT.sub(r"\1\2 rpyc", source)


def run(demo: str, implementation: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a demo with one of the implementations."""
    source = (ROOT / "demos" / f"{demo}.py").read_text()
    if implementation != OURS:
        source = for_rpyc(source)
        assert "rpyc_like" not in source
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / f"{demo}.py"
        program.write_text(source)
        return subprocess.run(
            [sys.executable, str(program), *arguments],
            env={**environment(implementation), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


def run_both(demo: str) -> list[subprocess.CompletedProcess[str]]:
    """Runs a demo with ours and with the real one; over a real ssh where it wants that."""
    if demo not in OVER_SSH:
        return [run(demo, implementation, []) for implementation in (OURS, THEIRS)]
    with tempfile.TemporaryDirectory() as folder, running_sshd(Path(folder)) as sshd:
        arguments = ["127.0.0.1", str(sshd.port), str(sshd.keyfile), *sshd.options]
        return [run(demo, implementation, arguments) for implementation in (OURS, THEIRS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-v", "--verbose", action="store_true", help="show what they print")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DEMOS))
    options = parser.parse_args()
    failed = 0
    for demo in options.names or DEMOS:
        ours, theirs = run_both(demo)
        same = ours.stdout == theirs.stdout and not (ours.returncode or theirs.returncode)
        failed += not same
        lines = len(ours.stdout.splitlines())
        print(f"{demo:26} {'same' if same else 'DIFFERENT'}, {lines} lines", flush=True)
        if options.verbose or not same:
            for name, done in (("rpyc_like", ours), (THEIRS, theirs)):
                print(f"--- {name}, exit status {done.returncode}")
                print(done.stdout + done.stderr)
    print(f"{len(options.names or DEMOS) - failed} of {len(options.names or DEMOS)} are the same")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.pop("RPYC_LIKE_COMPAT", None)
    sys.exit(main())
