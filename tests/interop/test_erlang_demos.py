"""The demos for Erlang and Elixir do what they say."""

from __future__ import annotations

import subprocess
import sys

from tests.support.peers import OURS, ROOT, environment
from tests.support.programs import program

DEMOS = ROOT / "demos" / "erlang"


def run(*command: str) -> list[str]:
    env = {**environment(OURS), "PYTHON": sys.executable, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, env=env, capture_output=True, encoding="utf-8", timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_port() -> None:
    lines = run(program("escript"), str(DEMOS / "echo.erl"))
    assert lines == ["Hello, Erlang", "[1,2,3]", "{error,function_clause}"]


def test_elixir() -> None:
    lines = run(program("elixir"), str(DEMOS / "shapes.exs"))
    assert lines[:6] == ["usr/lib", "ŁÓDŹ", "12", "120", "[4, 3]", "0"]
    assert lines[6].startswith("builtins.ValueError: invalid literal")
