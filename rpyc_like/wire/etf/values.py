"""Terms that Python has no type for. Each goes back to Erlang as what it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ..meter import Contents

__all__ = [
    "BitBinary",
    "Export",
    "Fun",
    "ImproperList",
    "Local",
    "Pid",
    "PortId",
    "Reference",
]


@dataclass(frozen=True, slots=True)
class Pid:
    """The identifier of a process.

    Args:
        node: name of the node.
        id, serial, creation: numbers of 32 bits.
    """

    node: str
    id: int
    serial: int
    creation: int


@dataclass(frozen=True, slots=True)
class PortId:
    """The identifier of a port.

    Args:
        node: name of the node.
        id: a number of 64 bits.
        creation: a number of 32 bits.
    """

    node: str
    id: int
    creation: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference.

    Args:
        node: name of the node.
        creation: a number of 32 bits.
        ids: up to five numbers of 32 bits.
    """

    node: str
    creation: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """A function by its name: ``fun module:function/arity``."""

    module: str
    function: str
    arity: int


@dataclass(frozen=True, slots=True)
class Fun:
    """A function with what it has closed over; only Erlang can call it.

    Args:
        raw: the external format, from the tag on.
        module: the name of the module it was made in.
        arity: how many arguments it takes.
    """

    raw: bytes
    module: str
    arity: int


@dataclass(frozen=True, slots=True)
class Local:
    """A term in a format of the VM that wrote it, which alone can read it.

    Args:
        raw: the external format, from the tag on.
    """

    raw: bytes


class ImproperList(list[Any]):
    """A list whose end is not the empty list: ``[a, b | tail]``.

    Args:
        items: what comes before the tail, one item at least.
        tail: anything but a list.
    """

    __slots__ = ("tail",)

    tail: Any

    def __init__(self, items: Iterable[Any], tail: Any) -> None:
        super().__init__(items)
        if not self:
            raise ValueError("expected an item before the tail, got none")
        if isinstance(tail, list) and not isinstance(tail, ImproperList):
            raise TypeError(f"expected a tail that is no list, got {type(tail).__name__}")
        self.tail = tail

    def __repr__(self) -> str:
        return f"ImproperList({list(self)!r}, {self.tail!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImproperList):
            return False
        return list.__eq__(self, other) and bool(self.tail == other.tail)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((tuple(self), self.tail))

    def __reduce__(self) -> Any:
        return (ImproperList, (list(self), self.tail))


class BitBinary(bytes):
    """A bitstring: bytes of whose last one only the upper ``bits`` count.

    Equal to the bytes, whatever ``bits`` is.

    Args:
        bits: 1 to 8.
    """

    bits: int
    __hash__: ClassVar[Any] = bytes.__hash__

    def __new__(cls, data: bytes, bits: int) -> BitBinary:
        made = super().__new__(cls, data)
        made.bits = bits
        return made

    def __repr__(self) -> str:
        return f"bits({self.bits}, {bytes(self)!r})"

    def __reduce__(self) -> Any:
        return (BitBinary, (bytes(self), self.bits))


CONTENTS: Final[Contents] = {
    tuple: iter,
    ImproperList: lambda value: (*value, value.tail),
    Fun: lambda value: (value.raw,),
    Local: lambda value: (value.raw,),
}
"""What is in the terms that a peer sends, but for lists and maps, of which there are two kinds."""
