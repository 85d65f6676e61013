"""``exposes`` follows annotations to the items and alternatives that they name (case 126)."""

from __future__ import annotations

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
