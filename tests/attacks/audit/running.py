"""Runs programs against victims, and makes the shortest program of a failure."""

from __future__ import annotations

import copy
import json
import os
import random
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import adapters
from .programs import Attacker, Knowledge
from .watch import ROOT, Finding
from .wire import Answer, Session, Step, Vanished

__all__ = ["Failure", "Totals", "Victim", "attack", "names_of"]

STEPS = (10, 60)
TRIES = 120
"""Programs that are run to make one shorter."""


class Dead(Exception):
    """The victim's process has ended."""


class Victim:
    """A process that is attacked.

    Args:
        name: of its shape.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = secrets.token_hex(8)
        env = {**os.environ, "AUDIT_TOKEN": self.token, "PYTHONHASHSEED": "0"}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.audit.victim", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("AUDIT_STDERR") else None,
            env=env,
            text=True,
            cwd=ROOT,
        )
        started = self._line()
        self.port: int = started["port"]
        self.folder: str = started["folder"]
        self.kind: str = started["kind"]
        self.events = self.stuck = 0
        self.classes, self.names = self.ask("names")

    def _line(self) -> Any:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise Dead(f"victim {self.name} ended with status {self.process.poll()}")
        return json.loads(line)

    def ask(self, command: str, value: Any = None) -> Any:
        """Give a command to the victim; return its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps((command, value)) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise Dead(f"victim {self.name} ended with status {self.process.poll()}") from None
        return self._line()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Failure(NamedTuple):
    """What a program has shown."""

    shape: str
    seed: str
    finding: Finding
    after: float
    steps: list[Any]

    def __str__(self) -> str:
        return (
            f"FAILURE {self.shape} seed {self.seed} after {self.after:.1f} s: {self.finding.line}\n"
            f"   stack: {self.finding.stack}\n   " + "\n   ".join(map(str, self.steps))
        )


class Totals:
    """What was done."""

    def __init__(self) -> None:
        self.programs = self.requests = self.events = self.deaths = self.stuck = 0
        self.failures: list[Failure] = []
        self.seen: dict[str, int] = {}

    def __str__(self) -> str:
        return (
            f"{self.programs} programs, {self.requests} requests, {self.events} events, "
            f"{len(self.failures)} failures, {self.deaths} victims died"
        )


def names_of() -> list[str]:
    """Return the names that the services of all victims have, with and without the prefix."""
    found = {name for cls in services_classes() for name in dir(cls) if name[:2] != "__"}
    return sorted(found | {name.removeprefix("exposed_") for name in found})


def services_classes() -> Iterator[type]:
    """Yield the classes of the victims' program."""
    from . import canaries, services

    for module in (services, canaries):
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


# -- one program


def play(victim: Victim, make: Callable[[], Any]) -> tuple[list[Finding], Any, Any]:
    """Run one program; return the findings, the attacker, and the session."""
    kind = victim.kind
    attacker = make()
    if kind in ("epc", "erlang"):
        session = adapters.run(kind, victim.port, attacker, victim.token.encode())
        return [*leaks_of(session), *taken(victim)], attacker, session
    if kind == "client":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(3)
            victim.ask("go", (listener.getsockname()[1], attacker.seed))
            sock, _ = listener.accept()
    else:
        sock = socket.create_connection(("127.0.0.1", victim.port), timeout=5)
    with sock:
        session = Session(sock, attacker.answer, victim.token.encode(), attacker.version)
        attacker.session = session
        try:
            if kind == "client":
                serve(session, attacker)
            else:
                for step in attacker.program():
                    attacker.learn(step, session.run(step))
        except Vanished:
            pass
        victim.ask("look")
    return [*leaks_of(session), *taken(victim)], attacker, session


def serve(session: Session, attacker: Any) -> None:
    """Answer what a client asks until it goes."""
    session.current = attacker.turn()
    end = time.monotonic() + 8
    while time.monotonic() < end:
        session.serve_one()
        session.current = attacker.turn()


def leaks_of(session: Any) -> list[Finding]:
    """Return a finding for each way on which a secret arrived."""
    return [Finding("secret", what, "-", repr(data)) for what, data in session.leaks.items()]


def taken(victim: Victim) -> list[Finding]:
    """Return what the victim has noticed."""
    answer = victim.ask("take")
    victim.events, victim.stuck = answer["events"], answer["stuck"]
    return [Finding(*one) for one in answer["findings"]]


class Walk(Attacker):
    """A random program."""

    length = 0

    def program(self) -> Iterator[Step]:
        """Yield the steps."""
        for _ in range(self.random.randrange(*STEPS)):
            yield self.next()

    def turn(self) -> Step:
        """Return a place for the next answers to a client."""
        step = Step(next(self._numbers))
        self.steps.append(step)
        return step


class Replay:
    """A recorded program, some steps of which may have been dropped.

    Args:
        seed: of the program.
        steps: what is left of it.
        version: of the dialect.
    """

    def __init__(self, seed: str, steps: list[Step], version: int) -> None:
        self.seed = seed
        self.steps = steps
        self.version = version
        self.session: Session | None = None
        self._current: Step | None = None
        self._place = 0
        self._turns = {step.number: step for step in steps}
        self._number = 0

    def program(self) -> Iterator[Step]:
        """Yield the steps."""
        yield from self.steps

    def turn(self) -> Step:
        """Return the step whose answers are given next."""
        self._number += 1
        return self._turns.get(self._number, Step(self._number))

    def learn(self, step: Step, outcome: Any) -> None:
        """No-op: everything is decided."""

    def answer(self, handler: int, boxed: Any) -> Answer:
        """Return the recorded answer, or None's where there is none."""
        assert self.session is not None
        current = self.session.current
        if current is not self._current:
            self._current, self._place = current, 0
        self._place += 1
        if current is None or self._place > len(current.answers):
            return Answer(2, ("v", None))
        return current.answers[self._place - 1]


def shorten(
    name: str, seed: str, program: list[Any], version: int, wanted: Finding, seconds: float
) -> list[Any]:
    """Return a shorter program that shows the same failure."""
    end = time.monotonic() + seconds
    victim: Victim | None = None

    def shows(steps: list[Any]) -> bool:
        nonlocal victim
        try:
            if victim is None:
                victim = Victim(name)
            if version:
                found, _, _ = play(victim, lambda: Replay(seed, copy.deepcopy(steps), version))
            else:
                found, _, _ = play(victim, lambda: adapters.Replay(steps))
        except (Dead, OSError):
            if victim is not None:
                victim.close()
            victim = None
            return False
        return any(one.line == wanted.line for one in found)

    try:
        if not shows(program):
            return program
        size = len(program) // 2
        while size and time.monotonic() < end:
            place = 0
            while place < len(program) and time.monotonic() < end:
                fewer = program[:place] + program[place + size :]
                if shows(fewer):
                    program = fewer
                else:
                    place += size
            size //= 2
        return program
    finally:
        if victim is not None:
            victim.close()


# -- many programs


def attack(
    name: str,
    seed: int,
    seconds: float,
    totals: Totals,
    known: set[str],
    *,
    programs: int | None = None,
    minimise: float = 5.0,
    until: str = "",
    told: Callable[[Failure], None] = lambda failure: None,
) -> None:
    """Run programs against one victim for some time.

    Args:
        seed: of all; with the number of the program it makes the seed of that.
        known: lines of failures that are not told again.
        programs: how many to run at most.
        minimise: seconds that a failure may take to be made shorter; 0 to leave it.
        until: an event; ends when it has been found.
        told: called with each failure.
    """
    victim = Victim(name)
    started = time.monotonic()
    number = 0
    spent = 0.0
    try:
        knowledge = Knowledge(victim.classes, names_of(), victim.names)
        while time.monotonic() - started - spent < seconds:
            if programs is not None and number >= programs:
                break
            if until and any(one.finding.event == until for one in totals.failures):
                break
            own = f"{seed}:{name}:{number}"
            number += 1
            make = (
                (lambda own=own: adapters.Walk(own, knowledge))
                if victim.kind in ("epc", "erlang")
                else (lambda own=own: Walk(own, knowledge))
            )
            try:
                found, attacker, session = play(victim, make)
            except (Dead, OSError, TimeoutError):
                totals.deaths += 1
                victim.close()
                victim = Victim(name)
                continue
            totals.programs += 1
            totals.requests += session.sent + session.nested
            for finding in found:
                line = f"{name} {finding.line}"
                if line in known:
                    continue
                known.add(line)
                after = time.monotonic() - started - spent
                begun = time.monotonic()
                steps = attacker.steps
                if minimise and hasattr(attacker, "version"):
                    steps = shorten(name, own, steps, attacker.version, finding, minimise)
                failure = Failure(name, own, finding, after, steps)
                totals.failures.append(failure)
                told(failure)
                spent += time.monotonic() - begun
            if victim.stuck:
                totals.stuck += 1
                totals.events += victim.events
                victim.close()
                victim = Victim(name)
        totals.events += victim.events
        for line, count in victim.ask("seen").items():
            totals.seen[line] = totals.seen.get(line, 0) + count
    finally:
        victim.close()


def pick_seed() -> int:
    """Return a seed for a run that is given none."""
    return random.SystemRandom().randrange(1 << 32)
