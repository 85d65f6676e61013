"""Runs schedules: ``python -m tests.schedules --schedules 100000 --seed 1 [--scenario NAME ...]``.

Prints how many failed, and the first failures with their seeds and stacks. A seed is given again
with ``--again SCENARIO:SEED:NUMBER``. Ends with 1 if any has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import random
import sys
import time

from rpyc_like.link import fork
from rpyc_like.link.sending import FrameSender
from rpyc_like.link.threaded import ThreadedLink

from . import world
from .adapters import SCENARIOS
from .scenarios import World
from .scheduler import Scheduler, Vain

_SHOWN = 3  # failures of a scenario that are shown whole
_COLLECT = 20  # schedules after which garbage is collected


def run_one(name: str, seed: int, number: int) -> Scheduler:
    """Run one schedule of a scenario; raise :class:`.Vain` if it fails."""
    run, patience, limit = SCENARIOS[name]
    which = f"{name}:{seed}:{number}"
    schedule = Scheduler(which, number % 2 == 1, patience, limit)
    random.seed(which)
    world.start_anew()

    def program() -> None:
        mine = World(schedule)
        run(mine)
        mine.end()

    schedule.describe, schedule.trace_lines = describe, world.trace_lines
    schedule.run(program, world.Thread)
    return schedule


def warm_up(name: str) -> None:
    """Run a scenario: what a process makes once must not make its first schedules differ."""
    for number in range(4):
        with contextlib.suppress(Vain):
            run_one(name, 0, number)


def describe() -> list[str]:
    """Return what the connections hold, one line for each that is not lost."""
    lines = []
    for link in fork.alive():
        if isinstance(link, ThreadedLink) and not link.lost:
            stream, reading = link.channel.stream, link.reading
            facts = {
                "bytes to read": len(stream._incoming.data),
                "messages read": len(link.receiver.payloads),
                "kept": len(link.stash),
                "handed": {ident: len(waiter.inbox) for ident, waiter in link.waiters.items()},
                "to send": link.sender.held if isinstance(link.sender, FrameSender) else None,
                "pending": [*link.session.pending.waiting()],
                "serving": link.running,
                "somebody reads": reading.lock.locked(),
                "reading is offered": reading.offered is not None,
                "sleep": [one.ident for one in reading.sleepers],
            }
            lines.append(f"{stream!r}: " + ", ".join(f"{name} {facts[name]}" for name in facts))
    return lines


def run_many(name: str, seed: int, count: int, seconds: float) -> int:
    """Run schedules of a scenario; return how many failed."""
    failed, steps, began = 0, 0, time.monotonic()
    longest = 0.0
    warm_up(name)
    for number in range(count):
        if time.monotonic() - began > seconds:
            count = number
            break
        try:
            schedule = run_one(name, seed, number)
        except Vain as error:
            failed += 1
            if failed <= _SHOWN:
                print(f"FAILED {name}:{seed}:{number}\n{error}\n", flush=True)
        else:
            steps += schedule.steps
            longest = max(longest, schedule.now - schedule.begin)
        if number % _COLLECT == 0:
            gc.collect()
    took = time.monotonic() - began
    print(
        f"{name}: {failed} of {count} failed, {steps // max(1, count - failed)} steps each, "
        f"at most {longest:.2f} s of its time, {1000 * took / max(1, count):.1f} ms each",
        flush=True,
    )
    return failed


def stay_on_one_processor() -> None:
    """Run on one processor: one thread runs at a time, and to wake it on another takes long."""
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[os.getpid() % len(mine)]})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--schedules", type=int, default=100, help="of each scenario")
    parser.add_argument("--seed", type=int, default=None, help="default: one drawn, and printed")
    parser.add_argument("--scenario", action="append", help="default: all of them")
    parser.add_argument("--seconds", type=float, default=1e9, help="at most, for each scenario")
    parser.add_argument("--again", help="the schedule of a failure, as it was printed")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # its handlers have locks that nobody schedules
    world.install()
    gc.collect()
    gc.freeze()
    gc.disable()  # when it runs depends on more than the seed
    stay_on_one_processor()
    if options.again:
        name, seed, number = options.again.split(":")
        warm_up(name)
        try:
            schedule = run_one(name, int(seed), int(number))
        except Vain as error:
            print(error)
            return 1
        print(f"did not fail: {schedule.steps} steps, {schedule.now - schedule.begin:.2f} s")
        return 0
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    names = options.scenario or list(SCENARIOS)
    return (
        1
        if sum([run_many(name, seed, options.schedules, options.seconds) for name in names])
        else 0
    )


if __name__ == "__main__":
    sys.exit(main())
