"""Boxing: how values and references travel.

A boxed value is a pair of a label and plain data: ``(1, value)``; ``(2, boxed items)`` for a tuple
with references in it; ``(3, id pack)`` for an object that the receiver owns; ``(4, id pack)`` for
one that the sender owns. Both directions work on the brine bytes of the pair directly.

Unboxing has two halves. :meth:`Boxer.decode` runs in wire order, in the reading role: it counts
received references and resolves those to local objects. Where a proxy's class is not known yet, the
value is :class:`Incomplete`, and whoever consumes it asks the owner for the class.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from typing import Any, Final

from ..errors import LimitExceeded, LocalProtocolError, MalformedValue
from ..lib.identity import IdPack, fresh_id
from ..link.result import Unfinished
from . import brine, consts, netref
from .brine import dump, load_at
from .netref import BaseNetref, NetrefMetaclass, builtin_classes_cache
from .objects import ExportTable, ProxyTable, StaleReference, identify

__all__ = ["Boxer", "Incomplete", "Steps", "check_id_pack", "id_pack_end"]

Steps = Generator[tuple[int, tuple[Any, ...]], Any, Any]
"""Yields requests ``(handler, args)`` to the peer, is sent the answers, returns a value."""

_PAIR: Final = 0x11
_VALUE, _TUPLE, _LOCAL, _REMOTE = (
    0x50 + label
    for label in (
        consts.LABEL_VALUE,
        consts.LABEL_TUPLE,
        consts.LABEL_LOCAL_REF,
        consts.LABEL_REMOTE_REF,
    )
)
_VALUE_HEAD: Final = bytes((_PAIR, _VALUE))
_TUPLE_HEAD: Final = bytes((_PAIR, _TUPLE))
_REMOTE_HEAD: Final = bytes((_PAIR, _REMOTE))
_EMPTY: Final = _VALUE_HEAD + dump(())
_SHORT: Final = 40
_MAX_NESTING: Final = 100  # of tuples with references in them; plain ones nest to ``max_depth``

_get = object.__getattribute__
_get_conn = BaseNetref.__dict__["____conn__"].__get__
_get_boxed = BaseNetref.__dict__["____boxed__"].__get__


class _Receipt:
    """A received reference whose proxy has not been built. Gives its count back if it never is."""

    __slots__ = ("pack", "proxies", "proxy", "raw")

    def __init__(self, raw: bytes, pack: IdPack, proxies: ProxyTable) -> None:
        self.raw = raw
        self.pack = pack
        self.proxies = proxies
        self.proxy: Any = None

    def __del__(self) -> None:
        if self.proxy is None:
            self.proxies.release_later(self.raw, 1)


class _Branch:
    """A tuple with receipts somewhere in it."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Incomplete(Unfinished):
    """A received value in which proxies are still missing."""

    __slots__ = ("_boxer", "_receipts", "_tree")

    def __init__(self, boxer: Boxer, tree: Any, receipts: list[_Receipt]) -> None:
        self._boxer = boxer
        self._tree = tree
        self._receipts = receipts

    def steps(self) -> Steps:
        """Asks for unknown classes, builds the proxies, returns the value."""
        boxer = self._boxer
        for receipt in self._receipts:
            if receipt.proxy is None:
                cls = boxer.class_of(receipt.pack)
                if cls is None:
                    methods = yield consts.HANDLE_INSPECT, (receipt.pack,)
                    cls = boxer.learn_class(receipt.pack, methods)
                boxer.redeem(receipt, cls)
        return _filled(self._tree)


def _filled(tree: Any) -> Any:
    if type(tree) is _Receipt:
        return tree.proxy
    if type(tree) is _Branch:
        return tuple([_filled(item) for item in tree.items])
    return tree


class Boxer:
    """Boxes and unboxes for one connection.

    Args:
        conn: what proxies are bound to; offers ``sync_request`` or its like.
        exports: objects lent to the peer.
        proxies: proxies of the peer's objects.
        base: what proxy classes derive from.
        max_depth, max_digits: limits of plain values, both ways.
    """

    def __init__(
        self,
        conn: Any,
        exports: ExportTable,
        proxies: ProxyTable,
        base: type = BaseNetref,
        max_depth: int = brine.MAX_DEPTH,
        max_digits: int = brine.MAX_DIGITS,
    ) -> None:
        self._conn = conn
        self.exports = exports
        self.proxies = proxies
        self._base = base
        self._builtins = _builtin_classes(base)
        self._max_depth = max_depth
        self._max_digits = max_digits
        self.classes: dict[IdPack, type] = {}
        self.keep_classes = False
        self._foreign_classes: dict[tuple[int, int], int] = {}

    # -- sending

    def encode(self, obj: Any) -> bytes:
        """Returns the brine of the boxed ``obj``; references to local objects are counted.

        If it fails, no reference has been counted.
        """
        lent: list[bytes] = []
        try:
            if type(obj) is tuple and obj and type(type(obj[0])) is NetrefMetaclass:
                return self._encode_items(obj, lent)  # the arguments of a request on an object
            return self._encode(obj, lent)
        except BaseException as error:
            for raw in lent:
                self.exports.give_back(raw, 1)
            if isinstance(error, RecursionError):
                raise LocalProtocolError("value is nested too deeply to send") from error
            raise

    def _encode(self, obj: Any, lent: list[bytes]) -> bytes:
        kind = type(obj)
        if type(kind) is NetrefMetaclass:
            if _get_conn(obj) is self._conn:
                return _get_boxed(obj)  # type: ignore[no-any-return]
            raw = self.exports.lend(obj, self._identify_foreign)
        elif kind in brine.simple_types:
            return _VALUE_HEAD + dump(obj, self._max_depth, self._max_digits)
        else:
            if kind in brine.container_types:
                try:
                    return _VALUE_HEAD + dump(obj, self._max_depth, self._max_digits)
                except TypeError:
                    if kind is tuple:
                        return self._encode_items(obj, lent)
            raw = self.exports.lend(obj, identify)
        lent.append(raw)
        return _REMOTE_HEAD + raw

    def _encode_items(self, items: tuple[Any, ...], lent: list[bytes]) -> bytes:
        parts = [_TUPLE_HEAD, brine.tuple_head(len(items))]
        for item in items:
            kind = type(item)
            if kind is tuple and not item:
                parts.append(_EMPTY)
            elif type(kind) is NetrefMetaclass and _get_conn(item) is self._conn:
                parts.append(_get_boxed(item))
            elif kind is str and len(item) < _SHORT:
                parts.append(_boxed_name(item))
            else:
                parts.append(self._encode(item, lent))
        return b"".join(parts)

    def _identify_foreign(self, proxy: Any) -> IdPack:
        """Returns a new id pack for a proxy of another connection.

        Its numbers are ours: two upstream peers may use the same ones for different things.
        """
        name, foreign_class, foreign_instance = _get(proxy, "____id_pack__")
        if foreign_instance == 0:
            return (name, fresh_id(), 0)
        key = (id(_get_conn(proxy)), foreign_class)
        return (name, self._foreign_classes.setdefault(key, fresh_id()), fresh_id())

    # -- receiving

    def decode(self, data: bytes, position: int) -> tuple[Any, int]:
        """Returns the unboxed value (or an :class:`Incomplete`) at ``position``, and where it ends.

        Runs in the reading role, in wire order. Makes no request.

        Raises:
            IndexError: ``data`` ends inside the value.
            MalformedValue, LimitExceeded: there is no boxed value.
        """
        if data[position + 1] == _VALUE and data[position] == _PAIR:
            return load_at(data, position + 2, self._max_depth, self._max_digits)
        receipts: list[_Receipt] = []
        if data[position + 1] == _TUPLE and data[position] == _PAIR:
            value, position = self._decode_items(data, position + 2, receipts, 1)
        else:
            value, position = self._decode(data, position, receipts, 0)
        if receipts and type(value) is not StaleReference:
            return Incomplete(self, value, receipts), position
        return value, position

    def _decode(
        self, data: bytes, position: int, receipts: list[_Receipt], depth: int
    ) -> tuple[Any, int]:
        label = data[position + 1]
        if data[position] != _PAIR:
            label = 0
        position += 2
        if label == _VALUE:
            return load_at(data, position, self._max_depth, self._max_digits)
        if label == _LOCAL:
            end = id_pack_end(data, position)
            entry = self.exports.by_raw.get(data[position:end])
            return StaleReference() if entry is None else entry.obj, end
        if label == _REMOTE:
            end = id_pack_end(data, position)
            return self._receive(data[position:end], receipts), end
        if label == _TUPLE:
            return self._decode_items(data, position, receipts, depth + 1)
        raise MalformedValue(f"expected a boxed value, got {data[position - 2 : position + 20]!r}")

    def _decode_items(
        self, data: bytes, position: int, receipts: list[_Receipt], depth: int
    ) -> tuple[Any, int]:
        if depth > _MAX_NESTING:
            raise LimitExceeded("nesting of boxed tuples", depth, _MAX_NESTING, "max_depth")
        before = len(receipts)
        size, position = brine.tuple_size_at(data, position)
        items: list[Any] = []
        stale = None
        for _ in range(size):
            label = data[position + 1]
            if data[position] != _PAIR:
                label = 0
            if label == _LOCAL:
                end = id_pack_end(data, position + 2)
                entry = self.exports.by_raw.get(data[position + 2 : end])
                position = end
                if entry is None:
                    stale = StaleReference()
                else:
                    items.append(entry.obj)
                continue
            if label == _VALUE:
                tag = data[position + 2]
                if tag == 0x02:
                    item: Any = ()
                    position += 3
                elif tag == 0x10 and 0x20 <= data[position + 3] <= 0xEF:
                    item = (data[position + 3] - 0x50,)  # one small number: an index, a flag
                    position += 4
                else:
                    item, position = load_at(data, position + 2, self._max_depth, self._max_digits)
            else:
                item, position = self._decode(data, position, receipts, depth)
                if type(item) is StaleReference:
                    stale = item  # references after it are counted all the same
            items.append(item)
        if stale is not None:
            return stale, position
        return (_Branch(items) if len(receipts) > before else tuple(items)), position

    def _receive(self, raw: bytes, receipts: list[_Receipt]) -> Any:
        proxies = self.proxies
        with proxies.lock:
            proxy = proxies.get(raw)
            if proxy is not None:
                proxy.____refcount__ += 1
                return proxy
            pack = _read_id_pack(raw)
            cls = self._builtins.get(pack[0]) if pack[2] else None
            if cls is None:
                cls = self.class_of(pack)
            if cls is not None:
                proxy = cls(self._conn, pack, raw)
                proxies.put(raw, proxy)
                return proxy
        receipt = _Receipt(raw, pack, proxies)
        receipts.append(receipt)
        return receipt

    def redeem(self, receipt: _Receipt, cls: type) -> None:
        """Builds the proxy of a receipt, or finds the one that has been built meanwhile."""
        proxies = self.proxies
        with proxies.lock:
            if receipt.proxy is not None:
                return
            proxy = proxies.get(receipt.raw)
            if proxy is None:
                proxy = cls(self._conn, receipt.pack, receipt.raw)
                proxies.put(receipt.raw, proxy)
            else:
                proxy.____refcount__ += 1
            receipt.proxy = proxy

    # -- classes

    def class_of(self, pack: IdPack) -> type | None:
        """Returns the proxy class for an object, if it is known without asking."""
        if pack[2] == 0:
            return self.classes.get(pack)
        cls = self._builtins.get(pack[0])
        if cls is None and self.keep_classes:
            cls = self.classes.get((pack[0], pack[1], 1))
        return cls

    def learn_class(self, pack: IdPack, methods: Any) -> type:
        """Makes the proxy class from the owner's description of an object's methods.

        Args:
            methods: the answer to INSPECT, pairs of a name and a docstring.
        """
        if type(methods) is not tuple or not all(
            type(item) is tuple and len(item) == 2 and type(item[0]) is str for item in methods
        ):
            raise MalformedValue(f"expected pairs of name and docstring, got {methods!r:.80}")
        cls = netref.class_factory(pack, methods, self._base)
        if pack[2] == 0:
            self.classes[pack] = cls
        elif self.keep_classes:
            self.classes[(pack[0], pack[1], 1)] = cls
        return cls


@lru_cache(maxsize=1024)
def _boxed_name(name: str) -> bytes:
    """Returns a boxed short text; most of them are names of attributes, which come again."""
    return _VALUE_HEAD + dump(name)


def check_id_pack(content: Any) -> IdPack:
    """Returns a received id pack, with its name as a str.

    Raises:
        MalformedValue: ``content`` is none.
    """
    if type(content) is tuple and len(content) == 3:
        name, cls, instance = content
        if type(cls) is int and type(instance) is int:
            if type(name) is str:
                return content
            if type(name) is bytes:
                return (name.decode("utf-8", "replace"), cls, instance)
    raise MalformedValue(f"expected an id pack (name, int, int), got {content!r:.80}")


def id_pack_end(data: bytes, position: int) -> int:
    """Returns where the id pack at ``position`` ends; checks it if it is not of the usual form."""
    if data[position] == 0x12 and data[position + 1] == 0x08 and data[position + 2] == 0x0E:
        end = position + 4 + data[position + 3]
        if data[end] == 0x16:
            end += 2 + data[end + 1]
            if data[end] == 0x16:
                end += 2 + data[end + 1]
            elif data[end] == 0x50:
                end += 1
            else:
                end = 0
            if 0 < end <= len(data):
                return end
    content, end = load_at(data, position)
    check_id_pack(content)
    return end


def _read_id_pack(raw: bytes) -> IdPack:
    """Returns the id pack whose brine is ``raw``; :func:`id_pack_end` has checked its extent."""
    if raw[2] == 0x0E and raw[-1] != 0x50:
        middle = 4 + raw[3]
        end = middle + 2 + raw[middle + 1]
        digits = raw[middle + 2 : end], raw[end + 2 :]
        if digits[0].isdigit() and digits[1].isdigit():
            try:
                return (raw[4:middle].decode(), int(digits[0]), int(digits[1]))
            except ValueError as error:
                raise MalformedValue(f"expected an id pack, got {raw[:80]!r}") from error
    return check_id_pack(brine.load(raw))


_over: dict[type, dict[str, type]] = {BaseNetref: builtin_classes_cache}


def _builtin_classes(base: type) -> dict[str, type]:
    """Returns the proxy classes of built-in types that derive from ``base``."""
    known = _over.get(base)
    if known is None:
        known = _over[base] = {
            name: netref.class_factory((name, 0, 1), netref.builtin_methods(name), base)
            for name in builtin_classes_cache
        }
    return known
