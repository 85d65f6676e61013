"""Contestants in processes of their own, and rounds that alternate between them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.support.peers import ROOT

__all__ = ["Contestant", "Results", "Side", "measure"]

HERE = ROOT / "tests" / "bench"
_ONCE = 2e6  # microseconds of an operation, from which it is not repeated

Results = dict[str, dict[str, dict[str, Any]]]
"""By row and contestant: microseconds, CPU microseconds of both sides, requests."""


class Side(NamedTuple):
    """A program: ``SCRIPT serve NAME`` prints a port, ``SCRIPT call NAME PORT`` answers rows."""

    script: str
    name: str
    env: Mapping[str, str]


class Contestant:
    """A server process, and a client process that times rows on command.

    Args:
        client: what asks; its script answers as :mod:`.timing` does.
        server: what serves.
        link: a program between the two, with its arguments after the server's port.
    """

    def __init__(self, client: Side, server: Side, link: tuple[str, ...] = ()) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        # What all of them write to standard error.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed by stop()
        port = self._start(server.env, server.script, "serve", server.name)
        env = {**client.env, "BENCH_SERVER": str(self._processes[0].pid)}
        if link:
            port = self._start(env, link[0], port, *link[1:])
        self._start(env, client.script, "call", client.name, port)
        self._client = self._processes[-1]

    def _start(self, env: Mapping[str, str], script: str, *arguments: str) -> str:
        process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def ask(self, row: str, seconds: float | None) -> dict[str, Any] | None:
        """Returns what the client measured, None if it does not have the row.

        Args:
            row: the name of the row.
            seconds: how long to repeat it; None: do it once.
        """
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(f"{row} {'once' if seconds is None else seconds}\n")
        self._client.stdin.flush()
        line = self._client.stdout.readline()
        if not line:
            self._errors.seek(0)
            written = self._errors.read()[-2000:]
            raise RuntimeError(f"{self._client.args}: expected an answer for {row!r}:\n{written}")
        found: dict[str, Any] | None = json.loads(line)
        return found

    def stop(self) -> None:
        """Ends the processes."""
        for process in reversed(self._processes):
            process.kill()
            process.communicate()
        self._errors.close()


def measure(
    rounds: int, rows: Iterable[str], contestants: Mapping[str, Contestant], seconds: float = 0.15
) -> Results:
    """Returns the medians of each contestant on each row, and ends the contestants."""
    answers: dict[str, dict[str, list[Any]]] = {
        row: {name: [] for name in contestants} for row in rows
    }
    try:
        for _ in range(rounds):
            for row, by_name in answers.items():
                for name, contestant in contestants.items():
                    got = by_name[name]
                    if not got or (got[-1] and got[-1]["us"] < _ONCE):
                        got.append(contestant.ask(row, seconds))
    finally:
        for contestant in contestants.values():
            contestant.stop()
    return {
        row: {name: _medians(got) for name, got in by_name.items() if got[0] is not None}
        for row, by_name in answers.items()
    }


def _medians(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        key: statistics.median([answer[key] for answer in answers])
        for key, value in answers[0].items()
        if value is not None
    }
