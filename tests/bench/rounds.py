"""Contestants in processes of their own, and rounds that alternate between them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Contestant", "measure"]


class Contestant:
    """A server process, and a client process that times rows on command.

    Args:
        script: run with ``serve NAME``, which prints a port, and with ``call NAME PORT``.
        name: of the contestant.
        env: the environment of both.
        server: the server's name and environment, if they are others.
        link: a program between the two, with its arguments after the server's port.
        greets: whether the client prints a line when it is ready.
    """

    def __init__(
        self,
        script: str,
        name: str,
        env: dict[str, str],
        server: tuple[str, dict[str, str]] | None = None,
        link: tuple[str, ...] = (),
        greets: bool = False,
    ) -> None:
        server_name, server_env = server or (name, env)
        self._processes: list[subprocess.Popen[str]] = []
        port = self._start(server_env, script, "serve", server_name)
        env = {**env, "BENCH_SERVER": str(self._processes[0].pid)}
        if link:
            port = self._start(env, link[0], port, *link[1:])
        self._start(env, script, "call", name, port, wait=greets)
        self._client = self._processes[-1]

    def _start(self, env: dict[str, str], *arguments: str, wait: bool = True) -> str:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip() if wait else ""

    def ask(self, line: str) -> Any:
        """Returns what the client answers, JSON."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(line + "\n")
        self._client.stdin.flush()
        return json.loads(self._client.stdout.readline())

    def time(self, row: str) -> float:
        """Returns microseconds per operation, of one round."""
        return float(self.ask(row))

    def stop(self) -> None:
        """Ends the processes."""
        for process in reversed(self._processes):
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
