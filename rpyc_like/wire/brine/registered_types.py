r"""Brine types of a program's own, registered in RPyC's way.

A type is plain once it has a function in ``_dump_registry`` and its tag one in ``_load_registry``;
both sides must have registered it::

    @brine.register(brine._dump_registry, Decimal)
    def dump_decimal(obj, stream):      # a list of bytes
        stream.append(b"\x1c")
        brine._dump(str(obj), stream)

    @brine.register(brine._load_registry, b"\x1c")
    def load_decimal(stream):           # a BytesIO that stands behind the tag
        return Decimal(brine._load(stream))

    brine.simple_types |= {Decimal}     # sent by value from now on

The functions run while messages are encoded and decoded: they make no requests.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ...errors import LocalProtocolError, MalformedValue, ProtocolError
from ...lib.worker_pool import refusing_to_wait
from . import format
from .format import dump, load_at

__all__ = [
    "BYTES_LITERAL",
    "C16",
    "F8",
    "I1",
    "I4",
    "I8I8",
    "IMM_INTS",
    "IMM_INTS_LOADER",
    "register",
]

F = TypeVar("F", bound=Callable[..., Any])

I1: Final = struct.Struct("!B")
I4: Final = struct.Struct("!L")
F8: Final = struct.Struct("!d")
C16: Final = struct.Struct("!dd")
I8I8: Final = struct.Struct("!QQ")

TAG_NONE, TAG_EMPTY_STR, TAG_EMPTY_TUPLE = b"\x00", b"\x01", b"\x02"
TAG_TRUE, TAG_FALSE = b"\x03", b"\x04"
TAG_NOT_IMPLEMENTED, TAG_ELLIPSIS, TAG_UNICODE = b"\x05", b"\x06", b"\x08"
TAG_STR1, TAG_STR2, TAG_STR3, TAG_STR4 = b"\x0a", b"\x0b", b"\x0c", b"\x0d"
TAG_STR_L1, TAG_STR_L4 = b"\x0e", b"\x0f"
TAG_TUP1, TAG_TUP2, TAG_TUP3, TAG_TUP4 = b"\x10", b"\x11", b"\x12", b"\x13"
TAG_TUP_L1, TAG_TUP_L4 = b"\x14", b"\x15"
TAG_INT_L1, TAG_INT_L4, TAG_FLOAT = b"\x16", b"\x17", b"\x18"
TAG_SLICE, TAG_FSET, TAG_COMPLEX = b"\x19", b"\x1a", b"\x1b"

IMM_INTS: Final = {value: bytes((value + 0x50,)) for value in range(-0x30, 0xA0)}
IMM_INTS_LOADER: Final = {tag: value for value, tag in IMM_INTS.items()}


def BYTES_LITERAL(text: str) -> bytes:  # noqa: N802
    """Returns a text of Latin-1 as bytes."""
    return bytes(text, "latin1")


def register(coll: dict[Any, Any], key: Any) -> Callable[[F], F]:
    """Returns a decorator that files a function in a registry, under a type or a tag."""

    def file(func: F) -> F:
        coll[key] = func
        return func

    return file


def _dump(obj: Any, stream: list[bytes]) -> None:
    """Appends the brine of ``obj``; for functions in ``_dump_registry``."""
    stream.append(dump(obj))


def _load(stream: io.BytesIO) -> Any:
    """Reads one value from where the stream stands; for functions in ``_load_registry``."""
    value, end = load_at(stream.getvalue(), stream.tell())
    stream.seek(end)
    return value


_IN_CODEC: Final = (
    "a function that is registered with brine asks a peer while a message is encoded or decoded; "
    "expected that the value is made without requests"
)


class _DumpRegistry(dict[type, Callable[[Any, list[bytes]], Any]]):
    """Types to the functions that append an object's brine to a list."""

    def __setitem__(self, kind: type, func: Callable[[Any, list[bytes]], Any]) -> None:
        if kind in _STANDARD:
            raise ValueError(f"the brine of {kind.__name__} is fixed: other programs rely on it")

        def dumped(obj: Any) -> bytes:
            parts: list[bytes] = []
            with refusing_to_wait(_IN_CODEC):
                func(obj, parts)
            return b"".join(parts)

        format.own_dumps[kind] = dumped
        super().__setitem__(kind, func)

    def __delitem__(self, kind: type) -> None:
        super().__delitem__(kind)
        format.own_dumps.pop(kind, None)


class _LoadRegistry(dict[bytes, Callable[[io.BytesIO], Any]]):
    """Tags to the functions that read what follows the tag from a stream."""

    def __setitem__(self, tag: bytes, func: Callable[[io.BytesIO], Any]) -> None:
        if type(tag) is not bytes or len(tag) != 1:
            raise ValueError(f"expected a tag of one byte, got {tag!r}")
        if tag in _STANDARD_TAGS or tag in IMM_INTS_LOADER:
            raise ValueError(f"tag {tag!r} is taken")

        def loaded(data: bytes, position: int) -> tuple[Any, int]:
            stream = io.BytesIO(data)
            stream.seek(position)
            try:
                with refusing_to_wait(_IN_CODEC):
                    value = func(stream)
            except (ProtocolError, IndexError) as error:
                if not isinstance(error, LocalProtocolError):
                    raise
                raise MalformedValue(f"cannot load what follows tag {tag!r}: {error}") from error
            except Exception as error:
                raise MalformedValue(f"cannot load what follows tag {tag!r}: {error!r}") from error
            if not position <= stream.tell() <= len(data):
                raise MalformedValue("brine value ends early")
            return value, stream.tell()

        format.own_loads[tag[0]] = loaded
        super().__setitem__(tag, func)

    def __delitem__(self, tag: bytes) -> None:
        super().__delitem__(tag)
        format.own_loads.pop(tag[0], None)


_STANDARD_TAGS = {bytes((tag,)) for tag in range(0x1C) if tag not in (0x07, 0x09)}
_STANDARD = {*format.SIMPLE_TYPES, *format.PLAIN_TYPES}


def _load_standard(stream: io.BytesIO) -> Any:
    """Reads the value whose tag has just been read."""
    stream.seek(stream.tell() - 1)
    return _load(stream)


_dump_registry: Final = _DumpRegistry(dict.fromkeys(_STANDARD, _dump))
_load_registry: Final = _LoadRegistry(dict.fromkeys(_STANDARD_TAGS, _load_standard))
