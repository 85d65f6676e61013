"""``exposes`` follows annotations to the items and alternatives that they name (case 126)."""

from __future__ import annotations

import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Optional, Protocol, TypeVar

import pytest

import rpyc_like as rpyc
from rpyc_like.cli.main import main
from rpyc_like.core.config import make_config
from rpyc_like.tools.exposes import denied, exposes

T = TypeVar("T")
HERE = __name__


class Item:
    """Is found behind containers only."""

    def exposed_secret(self) -> int:
        raise AssertionError("code of the service has run")


class Box(Generic[T]):
    """A generic class of the program."""


class Offer(Protocol):
    """A protocol of the program."""

    def exposed_secret(self) -> int: ...


@dataclass
class Holder:
    """Has an attribute that is declared."""

    exposed_items: list[Item]


Items = list[Item]
ANNOTATIONS: list[Any] = [
    "list[Item]",
    "Iterator[Item]",
    "dict[str, Item]",
    "tuple[int, Item]",
    "Optional[Item]",
    "Item | None",
    "Item | Box[int]",
    "'Item'",
    "list['Item']",
    "Annotated[list[Item], 'note']",
    "Annotated[Item, 5]",
    "Box[Item]",
    "dict[str, list[Optional[Item]]]",
    "typing.Iterator[Item]",
    "Callable[[], Item]",
    "Offer",
    "list[Offer]",
    "Items",
    "Holder",
    list[Item],
    Iterator[Item],
    Optional[Item],  # noqa: UP045
    Item | None,
    dict[str, Item],
    Annotated[list[Item], "note"],
    typing.List["Item"],  # noqa: UP006
    Box[Item],
]


def serving(annotation: Any) -> type:
    """Return a service with a method of that return annotation."""

    def exposed_get(self: Any) -> Any:
        raise AssertionError("code of the service has run")

    exposed_get.__annotations__["return"] = annotation
    return type("Annotated", (rpyc.Service,), {"exposed_get": exposed_get})


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=repr)
def test_case_126_annotations_are_followed(annotation: Any) -> None:
    """A denied name behind an item or alternative is found, by name and by path."""
    tree = exposes(serving(annotation), make_config({}))
    assert denied(tree, ["secret"])
    if "Holder" not in str(annotation):
        assert denied(tree, ["get.secret"])


@pytest.mark.parametrize("annotation", ["list[int]", "Literal['Item']", "Callable[[Item], int]"])
def test_case_126_what_no_peer_gets_is_not_followed(annotation: str) -> None:
    """Literal texts and parameters lead nowhere."""
    assert not denied(exposes(serving(annotation), make_config({})), ["secret"])


class Plain(rpyc.Service):
    """All results are known."""

    def exposed_items(self) -> list[Item]:
        raise AssertionError("code of the service has run")


class Unknown(rpyc.Service):
    """One result is not."""

    def exposed_items(self):  # type: ignore[no-untyped-def]
        raise AssertionError("code of the service has run")


@pytest.mark.parametrize(
    ("service", "options", "status"),
    [
        ("Plain", ["--strict"], 0),
        ("Plain", ["--deny", "secret"], 1),
        ("Plain", ["--deny", "other", "--strict"], 0),
        ("Unknown", [], 0),
        ("Unknown", ["--deny", "secret"], 0),
        ("Unknown", ["--strict"], 1),
        ("Unknown", ["--deny", "secret", "--strict"], 1),
    ],
)
def test_case_126_unknown_results_fail_if_wanted(
    service: str, options: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --strict what is unknown is a failure, and how many there are is said."""
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(main(["exposes", f"{HERE}:{service}", *options]))
    assert (caught.value.code or 0) == status
    assert ("unknown results" in capsys.readouterr().err) == (
        service == "Unknown" and options != []
    )


class Other:
    """Another class."""

    exposed_name = "x"


class Answers(rpyc.Service):
    """Returns what its annotations say in other ways than by a class."""

    def exposed_runner(self) -> type[subprocess.Popen[str]]:
        raise AssertionError

    def exposed_maker(self) -> typing.Type[Item]:  # noqa: UP006
        raise AssertionError

    def exposed_either(self) -> Item | Other | None:
        raise AssertionError

    def exposed_items(self) -> Iterator[Item]:
        raise AssertionError

    def exposed_soon(self) -> typing.AsyncIterator[Item]:
        raise AssertionError

    def _rpyc_setattr(self, name: str, value: Any) -> None:
        raise AssertionError


def shown(service: Any, **config: Any) -> dict[str, str]:
    """Return what the nodes of a tree are, by their paths."""
    return {node.path: node.what for node in exposes(service, {**make_config(None), **config})}


def test_a_class_that_is_returned_is_reached_itself() -> None:
    """``type[X]`` leads to the class, which ``--deny`` matches, and to its instances."""
    found = shown(Answers)
    assert found["runner()(class)"] == "class subprocess.Popen"
    assert found["maker()(class)"] == f"class {HERE}.Item"
    assert found["maker()(class)()"] == f"instance of {HERE}.Item"
    tree = exposes(Answers, make_config(None))
    assert denied(tree, ["subprocess.Popen"])


def test_alternatives_are_no_items() -> None:
    """Each alternative is shown, with another mark than an item has."""
    nodes = [*exposes(Answers, make_config(None))]
    either = {node.what for node in nodes if node.path == "either()(or)"}
    assert either == {f"instance of {HERE}.Item", f"instance of {HERE}.Other"}
    assert not any(node.path == "either()[...]" for node in nodes)


@pytest.mark.parametrize("name", ["items", "soon"])
def test_items_of_an_iterator_are_followed(name: str) -> None:
    """A path leads through what an iterator gives."""
    assert denied(exposes(Answers, make_config(None)), [f"{name}.secret"])


def test_what_may_be_set_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The tree says that names may be set, and where the service decides that."""
    assert shown(Answers)["*"] == "set: _rpyc_setattr decides"
    where = f"{HERE}:Answers"
    for key, word in (("allow_setattr", "set"), ("allow_delattr", "deleted")):
        assert main(["exposes", where, "--config", f"{key}=True"]) == 0
        assert f"may be {word} as well ({key})" in capsys.readouterr().out
    assert main(["exposes", where]) == 0
    assert "as well" not in capsys.readouterr().out


def test_a_reader_that_wants_the_beginning_only() -> None:
    """``| head`` ends the output without a traceback."""
    command = [sys.executable, "-m", "rpyc_like", "exposes", "rpyc_like:Service", "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=200, check=False
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 0
