"""Functions sent as code, to and from other versions of Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.utils.teleportation import decode_codeobj, export_function, import_function
from tests.support.peers import OURS, environment, find_interpreter

VERSIONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]
HERE = "%d.%d" % sys.version_info[:2]

FUNCTIONS = """
def plain(a, b=2, *rest, c=3, **more):
    return a + b + c + len(rest) + len(more)

def loops(items):
    total, found = 0, {}
    for number, item in enumerate(items):
        if item % 2:
            continue
        try:
            total += item // (item - 4)
            found[f"{item:03}"] = [x * 2 for x in range(number)]
        except ZeroDivisionError as error:
            found["error"] = str(error)
    while total > 100:
        total -= 1
    return total, sorted(found)

def imports(path):
    import os.path
    with open(os.devnull) as file:
        return os.path.basename(path), file.read()

def nested(n):
    def square(x):
        return x * x
    return [square(x) for x in range(n)], (lambda y: y + 1)(n)

def generator(n):
    for x in range(n):
        yield x, str(x)

def slow(self):
    return self.a.b.c(self.d, e=self.f) if self.g else None
"""
NAMES = ["plain", "loops", "imports", "nested", "generator", "slow"]


def made_by(version: str) -> dict[str, Any]:
    """Returns what another Python exports for the functions above."""
    python = find_interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    code = (
        "import sys; from rpyc_like.core.teleport.functions import export_function\n"
        "space = {'__name__': 'made'}; exec(sys.argv[1], space)\n"
        "print({name: export_function(space[name]) for name in sys.argv[2:]})"
    )
    done = subprocess.run(
        [python, "-c", code, FUNCTIONS, *NAMES],
        env=environment(OURS),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_code_of_other_versions(version: str, name: str) -> None:
    """Code that this version has made runs; that of others is refused, and does not crash."""
    exported = made_by(version)[name]
    if version == HERE:
        func: Callable[..., Any] = import_function(exported, {})
        space: dict[str, Any] = {}
        exec(FUNCTIONS, space)
        arguments = {"plain": (1,), "loops": (range(10),), "imports": ("/a/b",), "slow": ()}
        if name == "slow":
            assert func.__name__ == name
        else:
            given = arguments.get(name, (3,))
            ours, theirs = func(*given), space[name](*given)
            assert list(ours) == list(theirs) if name == "generator" else ours == theirs
    else:
        with pytest.raises(ValueError, match=r"other byte code|unknown Python"):
            import_function(exported, {})


def test_to_another_version() -> None:
    """A function is not sent to a Python of another version: the error names both."""
    from plumbum import local

    from rpyc_like.utils.zerodeploy import DeployedServer

    other = next((v for v in VERSIONS if v != HERE and find_interpreter(v)), None)
    if other is None:
        pytest.skip("only one Python on this machine")
    with DeployedServer(local, python_executable=find_interpreter(other)) as server:
        conn = server.classic_connect()
        with pytest.raises(ValueError, match=rf"Python {HERE}.*other side's {other}"):
            conn.teleport(lambda x: x + 1)
    with DeployedServer(local, python_executable=sys.executable) as server:
        assert server.classic_connect().teleport(lambda x: x + 1)(1) == 2


def test_damaged_code() -> None:
    """Code with names, constants or jumps that are not there is refused."""

    def func(x: Any) -> Any:
        if x:
            return len([x])
        return "text"

    name, module, defaults, keywords, code = export_function(func)
    fields = list(code)
    for position in (7, 8):  # constants and names
        damaged = list(fields)
        assert type(damaged[position]) is tuple
        damaged[position] = ()
        with pytest.raises((ValueError, TypeError)):
            import_function((name, module, defaults, keywords, tuple(damaged)), {})
    with pytest.raises(ValueError, match="16 or 18"):
        import_function((name, module, defaults, keywords, code[:5]), {})


def test_what_cannot_be_sent() -> None:
    """Closures and things that are no plain values are named."""
    outside = 5
    with pytest.raises(TypeError, match="closure"):
        export_function(lambda: outside)
    with pytest.raises(TypeError, match="defaults"):
        export_function(lambda x=[]: x)
    conn = rpyc.classic.connect_thread()
    with conn, pytest.raises(TypeError, match="closure"):
        conn.teleport(lambda: outside)


def test_decoding() -> None:
    """``decode_codeobj`` tells the names of instructions and what they are about."""
    instructions = list(decode_codeobj((lambda x: x.attribute + 1000).__code__))
    assert ("LOAD_ATTR", "attribute") in instructions
    assert 1000 in [argument for _, argument in instructions]
