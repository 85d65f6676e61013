"""Run the audit oracle: ``python -m tests.attacks.audit --seconds N --seed S``.

``--service NAME`` attacks one service (or several, repeated) instead of all. The status is 1 if
anything was found.
"""

from __future__ import annotations

import argparse
import sys
import time

from .running import Totals, attack, pick_seed
from .services import SHAPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all services together")
    parser.add_argument("--seed", type=int, help="of all programs")
    parser.add_argument("--service", action="append", help=f"one of {', '.join(SHAPES)}")
    parser.add_argument("--minimise", type=float, default=5, help="seconds for each failure")
    options = parser.parse_args()
    seed = pick_seed() if options.seed is None else options.seed
    names = options.service or list(SHAPES)
    totals, known = Totals(), set[str]()
    started = time.monotonic()
    for name in names:
        before = totals.programs
        attack(
            name,
            seed,
            options.seconds / len(names),
            totals,
            known,
            minimise=options.minimise,
            told=lambda failure: print(failure, flush=True),
        )
        print(f"{name}: seed {seed}, {totals.programs - before} programs", flush=True)
    for line, count in sorted(totals.seen.items()):
        print(f"expected {count} times: {line}")
    print(f"seed {seed}: {totals} in {time.monotonic() - started:.0f} s")
    sys.exit(bool(totals.failures))


if __name__ == "__main__":
    main()
