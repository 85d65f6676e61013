"""Contestants in processes of their own, and rounds that alternate between them."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping

__all__ = ["Contestant", "measure"]


class Contestant:
    """A server process, and a client process that times rows on command.

    Args:
        script: run with ``serve NAME``, which prints a port, and with ``call NAME PORT``.
        name: of the contestant.
        env: the environment of both.
    """

    def __init__(self, script: str, name: str, env: dict[str, str]) -> None:
        self._script = script
        self._env = env
        self._server = self._start("serve", name)
        assert self._server.stdout is not None
        self._client = self._start("call", name, self._server.stdout.readline().strip())

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self._script, *arguments],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def time(self, row: str) -> float:
        """Returns microseconds per operation, of one round."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(row + "\n")
        self._client.stdin.flush()
        return float(self._client.stdout.readline())

    def stop(self) -> None:
        """Ends both processes."""
        for process in (self._client, self._server):
            process.kill()
            process.communicate()


def measure(
    rounds: int, rows: Iterable[str], contestants: Mapping[str, Contestant]
) -> dict[str, dict[str, float]]:
    """Returns the median of each contestant on each row, in microseconds, and ends them."""
    times: dict[str, dict[str, list[float]]] = {
        row: {name: [] for name in contestants} for row in rows
    }
    try:
        for _ in range(rounds):
            for row, by_name in times.items():
                for name, contestant in contestants.items():
                    by_name[name].append(contestant.time(row))
    finally:
        for contestant in contestants.values():
            contestant.stop()
    return {
        row: {name: statistics.median(values) for name, values in by_name.items()}
        for row, by_name in times.items()
    }
