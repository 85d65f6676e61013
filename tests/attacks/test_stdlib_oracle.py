"""The whole library, called with what ends no call by itself; see :mod:`.stdlib_oracle`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rpyc_like.lib.guards.stdlib import ALWAYS, MAPPING, PLAIN, SEQUENCE, facts_of
from tests.support.peers import OURS, environment


def tried(*options: str, folder: Path) -> str:
    """Run the oracle in a child, which must survive; return what it has printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.attacks.stdlib_oracle", *options],
        env={**environment(OURS), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_every_call_of_the_library_ends(tmp_path: Path) -> None:
    """Classes and functions of sixty modules end, or are refused, whatever a peer gives them."""
    assert "0 wrong" in tried("--cases=600", folder=tmp_path)


def test_containers_in_python_take_no_iterator_without_end(tmp_path: Path) -> None:
    """Classes, aliases and operators of containers in Python count as those in C do."""
    names = (
        "typing.Deque,collections.UserList,collections.ChainMap,collections.UserDict.__ior__,"
        "weakref.WeakSet,weakref.WeakValueDictionary.__ior__"
    )
    assert "0 wrong" in tried("--cases=300", f"--only={names}", folder=tmp_path)


def test_subclasses_inherit_what_is_known() -> None:
    """A class of the program is what its nearest base of the library is."""

    class Rows(list):  # type: ignore[type-arg]
        pass

    class Table(dict):  # type: ignore[type-arg]
        pass

    assert facts_of(Rows).kind == SEQUENCE
    assert facts_of(Rows).items_at == 0
    assert facts_of(Table).kind == MAPPING
    assert facts_of(Table).recurses == ALWAYS
    assert facts_of(bool).kind == PLAIN


def test_a_constructor_of_the_program_takes_its_own_arguments() -> None:
    """Which argument has the items is known only where the library makes the instances."""

    class Named(list):  # type: ignore[type-arg]
        def __init__(self, name: str, items: object) -> None:
            super().__init__()

    assert facts_of(Named).items_at is None


def test_nothing_of_a_metaclass_runs() -> None:
    """A class whose metaclass forbids everything is looked at nevertheless."""

    class Forbidding(type):
        def __getattribute__(cls, name: str) -> object:
            raise AssertionError(name)

        def __hash__(cls) -> int:
            raise AssertionError("hashed")

        def __eq__(cls, other: object) -> bool:
            raise AssertionError("compared")

    cls = Forbidding.__call__(Forbidding, "Strange", (), {})
    assert facts_of(cls) is facts_of(cls)
