"""Boxing: how values and references travel.

A boxed value is a pair of a label and plain data: ``(1, value)``; ``(2, boxed items)`` for a tuple
with references in it; ``(3, id pack)`` for an object that the receiver owns; ``(4, id pack)`` for
one that the sender owns. Both directions work on the brine bytes of the pair directly.

Unboxing has two halves. :meth:`Boxer.decode` runs in wire order, in the reading role: it counts
received references and resolves those to local objects. Where a proxy's class is not known yet, the
value is :class:`UnresolvedValue`, and whoever consumes it asks the owner for the class.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache, partial
from typing import Any, Final

from ...errors import LimitExceeded, LocalProtocolError, MalformedValue
from ...lib.brief import brief
from ...lib.joining import join
from ...lib.object_ids import IdPack, fresh_id
from ...link.result import Unresolved
from ...wire.meter import Budget, measure
from .. import brine, consts, netref
from ..brine import dump, dump_small, load, load_at
from ..netref import BaseNetref, NetrefMetaclass, builtin_classes_cache
from ..proxies.class_descriptions import split_description
from ..proxies.class_proxies import NetrefType, class_state
from ..proxies.deferred_methods import DeferredMetaclass, function_table, resolved
from ..proxies.remote_classes import RemoteClasses
from ..references.tables import Export, ExportTable, ImportTable, StaleReference, identify

__all__ = ["Boxer", "UnresolvedValue", "PendingProxy", "Steps", "check_id_pack", "id_pack_end"]

logger = logging.getLogger("rpyc_like.core")

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
_DESCRIBED: Final = 0x50 + consts.LABEL_DESCRIBED
_DESCRIBED_HEAD: Final = bytes((_PAIR, _DESCRIBED))
_EMPTY: Final = _VALUE_HEAD + dump(())
_SHORT: Final = 40
_DEEP: Final = 200  # tuples around large values; they are walked by recursion
_MAX_CLASSES: Final = 4096  # of the peer's, whose description is kept
_REFERENCE: Final = 768  # bytes of memory: a proxy, its name, and its entry in the table
_CLASS: Final = 4096  # bytes of memory: a class of proxies
_MAX_ID: Final = 1 << 64  # beyond, many could have the same hash

_class_factory = netref.class_factory
_get = object.__getattribute__
_get_conn = BaseNetref.__dict__["____conn__"].__get__
_get_boxed = BaseNetref.__dict__["____boxed__"].__get__


class PendingProxy:
    """A received reference whose proxy has not been built. Gives its count back if it never is."""

    __slots__ = ("pack", "proxies", "proxy", "raw")

    def __init__(self, raw: bytes, pack: IdPack, proxies: ImportTable) -> None:
        self.raw = raw
        self.pack = pack
        self.proxies = proxies
        self.proxy: Any = None

    def __del__(self) -> None:
        if self.proxy is None:
            self.proxies.release_later(self.raw, 1)


class _PartialTuple:
    """A tuple with receipts somewhere in it."""

    __slots__ = ("items", "value")

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.value: tuple[Any, ...] = ()


class UnresolvedValue(Unresolved):
    """A received value in which proxies are still missing.

    Args:
        boxer: knows the classes of proxies.
        tree: a receipt or a branch.
        receipts: all receipts in it.
        branches: all branches in it, inner ones first.
    """

    __slots__ = ("_boxer", "_branches", "_receipts", "_tree")

    def __init__(
        self, boxer: Boxer, tree: Any, receipts: list[PendingProxy], branches: list[_PartialTuple]
    ) -> None:
        self._boxer = boxer
        self._tree = tree
        self._receipts = receipts
        self._branches = branches

    def weight(self) -> int:
        """Return how many bytes of memory have been received for it."""
        return sum([measure(tuple(branch.items))[0] for branch in self._branches])

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
        for branch in self._branches:
            branch.value = tuple([_filled(item) for item in branch.items])
        return _filled(self._tree)


def _filled(item: Any) -> Any:
    if type(item) is PendingProxy:
        return item.proxy
    return item.value if type(item) is _PartialTuple else item


class Boxer:
    """Boxes and unboxes for one connection.

    Args:
        conn: what proxies are bound to; offers ``sync_request`` or its like.
        exports: objects lent to the peer.
        proxies: proxies of the peer's objects.
        remote_classes: what stands for the peer's classes.
        base: what proxy classes derive from.
        max_depth, max_digits: limits of plain values, both ways.
    """

    direct = True
    """Whether values go to bytes without a program's own methods in between."""

    def __init__(
        self,
        conn: Any,
        exports: ExportTable,
        proxies: ImportTable,
        remote_classes: RemoteClasses,
        base: type = BaseNetref,
        max_depth: int = brine.MAX_DEPTH,
        max_digits: int = brine.MAX_DIGITS,
    ) -> None:
        self.conn = conn
        self.exports = exports
        self.proxies = proxies
        self._base = base
        self._builtins = _builtin_classes(base)
        self._max_depth = max_depth
        self._max_digits = max_digits
        self._remote_classes = remote_classes
        self.classes: dict[IdPack, Callable[..., Any]] = {}
        self.describe: Callable[[Any], Any] | None = None
        """Describes an object to the peer; None if the peer does not understand that."""
        self._described: dict[Any, None] = {}  # classes that the peer knows
        self.keep_classes = False
        self.keep_surrogates = False
        self.budget: Budget | None = None
        """Memory that the message being decoded may still take, if it is a large one."""
        self._foreign_classes: dict[tuple[int, int], int] = {}

    # -- sending

    def encode(self, obj: Any) -> bytes | list[bytes]:
        """Returns the brine of the boxed ``obj``; references to local objects are counted.

        If it fails, no reference has been counted. Brine with large bytes or texts in it is a list
        of parts.
        """
        lent: list[bytes] = []
        try:
            if type(obj) is tuple and obj and type(type(obj[0])) is NetrefMetaclass:
                return self._encode_items(obj, lent)  # the arguments of a request on an object
            return self._encode(obj, lent)
        except brine.LargeValue:
            self._give_back(lent)
        except BaseException:
            self._give_back(lent)
            raise
        lent = []
        parts: list[bytes] = []
        try:
            self._collect(obj, lent, parts, 0)
        except BaseException:
            self._give_back(lent)
            raise
        return parts

    def _give_back(self, lent: list[bytes]) -> None:
        for raw in lent:
            self.exports.give_back(raw, 1)

    def _collect(self, obj: Any, lent: list[bytes], parts: list[bytes], depth: int) -> None:
        """Appends the brine of the boxed ``obj`` to parts; large ones are not copied."""
        kind = type(obj)
        if kind in brine.simple_types or (kind in brine.container_types and brine.dumpable(obj)):
            try:
                plain = brine.dump_parts(obj, self._max_depth, self._max_digits)
            except UnicodeEncodeError:
                plain = [self._dump(obj)]
            parts.append(_VALUE_HEAD)
            parts += plain
        elif kind is tuple:
            if depth > min(self._max_depth, _DEEP):
                raise LocalProtocolError(f"large values nested deeper than {depth}")
            parts += (_TUPLE_HEAD, brine.tuple_head(len(obj)))
            for item in obj:
                self._collect(item, lent, parts, depth + 1)
        else:
            parts.append(self._encode_reference(obj, lent))

    def box(self, obj: Any) -> tuple[Any, Any]:
        """Returns the package ``(label, plain value)`` of ``obj``; references are counted."""
        boxed = self.encode(obj)
        whole = boxed if isinstance(boxed, bytes) else join(boxed)
        package: tuple[Any, Any] = load(whole, self._max_depth, self._max_digits)
        return package

    def _encode(self, obj: Any, lent: list[bytes]) -> bytes:
        kind = type(obj)
        if kind in brine.simple_types:
            return _VALUE_HEAD + self._dump_small(obj)
        if kind in brine.container_types:
            try:
                return _VALUE_HEAD + self._dump_small(obj)
            except TypeError:
                if kind is tuple:
                    return self._encode_items(obj, lent)
        return self._encode_reference(obj, lent)

    def _dump_small(self, obj: Any) -> bytes:
        try:
            return dump_small(obj, self._max_depth, self._max_digits)
        except UnicodeEncodeError:
            return self._dump(obj)

    def _dump(self, obj: Any) -> bytes:
        try:
            return dump(obj, self._max_depth, self._max_digits)
        except UnicodeEncodeError:
            if not self.keep_surrogates:
                raise  # the peer could not read it
            return brine.dump_surrogates(obj, self._max_depth, self._max_digits)

    def lend(self, obj: Any) -> bytes | None:
        """Returns the box of a reference to an object of this side, None for what is no such thing.

        The reference is counted.
        """
        kind = type(obj)
        if (
            kind in brine.simple_types  # a program may have registered more
            or kind in brine.container_types
            or issubclass(type(kind), NetrefMetaclass)
            or issubclass(kind, NetrefType)
        ):
            return None
        entry = self.exports.lend_entry(obj, identify)
        if self.describe is not None and entry.count == 1:
            pack = entry.pack
            if (pack[:2] if pack[2] else pack) not in self._described:
                return self._encode_described(obj, entry)
        return _REMOTE_HEAD + entry.raw

    def _encode_reference(self, obj: Any, lent: list[bytes]) -> bytes:
        kind = type(obj)
        if type(kind) is NetrefMetaclass:
            if _get_conn(obj) is self.conn:
                return _get_boxed(obj)  # type: ignore[no-any-return]
            raw = self.exports.lend(obj, self._identify_foreign)
        elif type(kind) is DeferredMetaclass:
            return self._encode(resolved(obj), lent)
        elif issubclass(kind, NetrefType) and class_state(obj).refcount:
            if class_state(obj).conn is self.conn:
                return class_state(obj).boxed
            raw = self.exports.lend(obj, self._identify_foreign)
        else:
            entry = self.exports.lend_entry(obj, identify)
            lent.append(entry.raw)
            if self.describe is not None and entry.count == 1:
                return self._encode_described(obj, entry)
            return _REMOTE_HEAD + entry.raw
        lent.append(raw)
        return _REMOTE_HEAD + raw

    def _encode_described(self, obj: Any, entry: Export) -> bytes:
        """Returns a reference, with the description of its class if the peer has none yet.

        Should the description get lost, the peer asks.
        """
        pack = entry.pack
        key: Any = pack[:2] if pack[2] else pack
        if key in self._described or (pack[2] and pack[0] in self._builtins):
            return _REMOTE_HEAD + entry.raw
        assert self.describe is not None
        self._described[key] = None
        if len(self._described) > _MAX_CLASSES:
            del self._described[next(iter(self._described))]
        try:
            description = self._dump(self.describe(obj))
        except Exception:
            logger.debug("! a class that cannot be described", exc_info=True)
            return _REMOTE_HEAD + entry.raw
        return b"%b\x11%b%b" % (_DESCRIBED_HEAD, entry.raw, description)

    def _encode_items(self, items: tuple[Any, ...], lent: list[bytes]) -> bytes:
        parts = [_TUPLE_HEAD, brine.tuple_head(len(items))]
        stack: list[Iterator[Any]] = []
        rest = iter(items)
        while True:
            for item in rest:
                kind = type(item)
                if kind is tuple:
                    if not item:
                        parts.append(_EMPTY)
                        continue
                    try:
                        parts.append(_VALUE_HEAD + self._dump_small(item))
                    except TypeError:
                        parts += (_TUPLE_HEAD, brine.tuple_head(len(item)))
                        stack.append(rest)
                        rest = iter(item)
                        break
                elif type(kind) is NetrefMetaclass and _get_conn(item) is self.conn:
                    parts.append(_get_boxed(item))
                elif kind is str and len(item) < _SHORT:
                    parts.append(self._boxed_name(item))
                else:
                    parts.append(self._encode(item, lent))
            else:
                if not stack:
                    return join(parts)
                rest = stack.pop()
            if len(stack) > self._max_depth:
                raise LocalProtocolError(
                    f"value nested deeper than {self._max_depth} (configuration key 'max_depth')"
                )

    def _boxed_name(self, name: str) -> bytes:
        try:
            return _boxed_name(name)
        except UnicodeEncodeError:
            return _VALUE_HEAD + self._dump(name)

    def _identify_foreign(self, proxy: Any) -> IdPack:
        """Returns a new id pack for a proxy of another connection.

        Its numbers are ours: two upstream peers may use the same ones for different things.
        """
        name, foreign_class, foreign_instance = _get(proxy, "____id_pack__")
        if foreign_instance == 0:
            return (name, fresh_id(), 0)
        key = (id(_get_conn(proxy)), foreign_class)
        known = self._foreign_classes.get(key)
        if known is None:
            known = self._foreign_classes[key] = fresh_id()
            if len(self._foreign_classes) > _MAX_CLASSES:
                del self._foreign_classes[next(iter(self._foreign_classes))]
        return (name, known, fresh_id())

    # -- receiving

    def decode(self, data: bytes, position: int) -> tuple[Any, int]:
        """Returns the value (or an :class:`UnresolvedValue`) at ``position``, and where it ends.

        Runs in the reading role, in wire order. Makes no request.

        Raises:
            IndexError: ``data`` ends inside the value.
            MalformedValue, LimitExceeded: there is no boxed value.
        """
        if data[position + 1] == _VALUE and data[position] == _PAIR:
            return load_at(data, position + 2, self._max_depth, self._max_digits)
        label = data[position + 1] if data[position] == _PAIR else 0
        receipts: list[PendingProxy] = []
        branches: list[_PartialTuple] = []
        value: Any
        if label == _TUPLE:
            value, position = self._decode_items(data, position + 2, receipts, branches)
        elif label == _REMOTE:
            end = id_pack_end(data, position + 2)
            value, position = self._receive(data[position + 2 : end], receipts), end
        elif label == _LOCAL:
            return self._own(data, position + 2)
        elif label == _DESCRIBED:
            value, position = self._receive_described(data, position + 2, receipts)
        else:
            raise MalformedValue(f"expected a boxed value, got {data[position : position + 22]!r}")
        if receipts and type(value) is not StaleReference:
            return UnresolvedValue(self, value, receipts, branches), position
        return value, position

    def unbox(self, package: Any) -> Any:
        """Returns a package's value, or an :class:`UnresolvedValue`; references are counted."""
        value, _ = self.decode(self._dump(package), 0)
        if type(value) is StaleReference:
            raise value
        return value

    def _own(self, data: bytes, position: int) -> tuple[Any, int]:
        """Returns the object of this side that is named at ``position``, and where that ends."""
        end = id_pack_end(data, position)
        entry = self.exports.by_raw.get(data[position:end])
        if entry is not None:
            return entry.obj, end
        check_id_pack(brine.load(data[position:end]))
        return StaleReference(), end

    def _decode_items(
        self,
        data: bytes,
        position: int,
        receipts: list[PendingProxy],
        branches: list[_PartialTuple],
    ) -> tuple[Any, int]:
        left, position = brine.tuple_size_at(data, position)
        items: list[Any] = []
        before = len(receipts)
        stale = None
        stack: list[tuple[list[Any], int, int]] = []
        by_raw = self.exports.by_raw
        while True:
            while left:
                left -= 1
                label = data[position + 1]
                if data[position] != _PAIR:
                    label = 0
                if label == _LOCAL:
                    end = id_pack_end(data, position + 2)
                    entry = by_raw.get(data[position + 2 : end])
                    if entry is not None:
                        items.append(entry.obj)
                    else:
                        stale, _ = self._own(data, position + 2)  # what follows counts all the same
                    position = end
                elif label == _VALUE:
                    tag = data[position + 2]
                    if tag == 0x02:
                        items.append(())
                        position += 3
                    elif tag == 0x10 and 0x20 <= data[position + 3] <= 0xEF:
                        items.append((data[position + 3] - 0x50,))  # one small number: an index
                        position += 4
                    else:
                        limits = (self._max_depth, self._max_digits)
                        item, position = load_at(data, position + 2, *limits)
                        items.append(item)
                elif label == _REMOTE:
                    end = id_pack_end(data, position + 2)
                    items.append(self._receive(data[position + 2 : end], receipts))
                    position = end
                elif label == _DESCRIBED:
                    item, position = self._receive_described(data, position + 2, receipts)
                    items.append(item)
                elif label == _TUPLE:
                    if len(stack) >= self._max_depth:
                        depth = len(stack) + 1
                        raise LimitExceeded("nesting", depth, self._max_depth, "max_depth")
                    stack.append((items, left, before))
                    left, position = brine.tuple_size_at(data, position + 2)
                    items, before = [], len(receipts)
                else:
                    got = data[position : position + 22]
                    raise MalformedValue(f"expected a boxed value, got {got!r}")
            value: Any = tuple(items)
            if len(receipts) > before:
                value = _PartialTuple(items)
                branches.append(value)
            if not stack:
                return (value if stale is None else stale), position
            items, left, before = stack.pop()
            items.append(value)

    def receive(self, raw: bytes) -> Any:
        """Returns the proxy for a received reference, None if its class is not known.

        A reference whose proxy is returned is counted.
        """
        proxies = self.proxies
        with proxies.lock:
            proxy = proxies.count(raw)
            if proxy is None:
                pack = _read_id_pack(raw)
                cls = self.class_of(pack)
                if cls is None:
                    return None
                proxy = cls(self.conn, pack, raw)
                proxies.put(raw, proxy)
            return proxy

    def _receive(self, raw: bytes, receipts: list[PendingProxy]) -> Any:
        if self.budget is not None:
            self.budget.spend(_REFERENCE)
        proxy = self.receive(raw)
        if proxy is not None:
            return proxy
        pack, proxies = _read_id_pack(raw), self.proxies
        receipt = PendingProxy(raw, pack, proxies)
        receipts.append(receipt)
        return receipt

    def _receive_described(
        self, data: bytes, position: int, receipts: list[PendingProxy]
    ) -> tuple[Any, int]:
        """Receives a reference with the description of its class; returns it and where it ends."""
        if data[position] != _PAIR:
            raise MalformedValue(
                f"expected an id pack and a description, got {data[position:][:20]!r}"
            )
        end = id_pack_end(data, position + 1)
        raw = data[position + 1 : end]
        methods, after = load_at(data, end, self._max_depth, self._max_digits)
        pack = _read_id_pack(raw)
        key = pack if pack[2] == 0 else (pack[0], pack[1], 1)
        if key not in self.classes:
            if self.budget is not None:
                self.budget.spend(_CLASS)
            self.learn_class(pack, methods)
        return self._receive(raw, receipts), after

    def redeem(self, receipt: PendingProxy, cls: Callable[..., Any]) -> None:
        """Builds the proxy of a receipt, or finds the one that has been built meanwhile."""
        proxies = self.proxies
        with proxies.lock:
            if receipt.proxy is not None:
                return
            proxy = proxies.count(receipt.raw)
            if proxy is None:
                proxy = cls(self.conn, receipt.pack, receipt.raw)
                proxies.put(receipt.raw, proxy)
            receipt.proxy = proxy

    # -- classes

    def class_of(self, pack: IdPack) -> Callable[..., Any] | None:
        """Returns what makes a proxy of an object, if it is known without asking."""
        if pack[2] == 0:
            return self.classes.get(pack)
        cls = self._builtins.get(pack[0])
        if cls is None and self.keep_classes:
            return self.classes.get((pack[0], pack[1], 1))
        return cls

    def learn_class(self, pack: IdPack, methods: Any) -> Callable[..., Any]:
        """Returns what makes a proxy, from the owner's description of an object's class.

        Args:
            methods: the answer to INSPECT, pairs of a name and a docstring.

        Raises:
            MalformedValue: the numbers in ``pack`` are larger than any of an object.
        """
        if max(abs(pack[1]), abs(pack[2])) >= _MAX_ID:
            raise MalformedValue(f"expected numbers below 2**64, got {brief(pack[1:])}")
        description = split_description(methods)
        plain, names, _, functions = description
        if pack[2] and "__array__" not in dict(plain):
            full = [".".join(name) for name in names or ()]
            if netref.is_array_class([pack[0], *full]):
                # What NumPy does not find it does without, and makes an array of objects.
                plain = (*plain, ("__array__", None))
        make: Callable[..., Any]
        if self._base is not BaseNetref:
            make = netref.class_factory(pack, plain, self._base)
        elif pack[2] == 0 and netref.class_factory is _class_factory:
            make = partial(self._remote_classes.proxy, description)
        else:
            # A program may have replaced the factory, by one that takes two arguments.
            make = netref.class_factory(pack, plain)
            if names:
                netref.set_stand_in(make, partial(self._remote_classes.stand_in, names))
            if any(functions) and isinstance(make, type):
                make.____functions__ = function_table(functions)  # type: ignore[attr-defined]
        if pack[2] == 0 or self.keep_classes:
            self.classes[pack if pack[2] == 0 else (pack[0], pack[1], 1)] = make
            if len(self.classes) > _MAX_CLASSES:
                del self.classes[next(iter(self.classes))]
        return make


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
    raise MalformedValue(f"expected an id pack (name, int, int), got {brief(content)}")


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
