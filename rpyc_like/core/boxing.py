"""Boxing: how values and references travel.

A boxed value is a pair of a label and plain data: ``(1, value)``; ``(2, boxed items)`` for a tuple
with references in it; ``(3, id pack)`` for an object that the receiver owns; ``(4, id pack)`` for
one that the sender owns.

Unboxing has two halves. :meth:`Boxer.accept` runs in wire order, in the reading role: it counts
received references and resolves those to local objects. Where a proxy's class is not known yet, the
value is :class:`Incomplete`, and whoever consumes it asks the owner for the class.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from ..errors import LimitExceeded, MalformedValue
from ..lib.identity import IdPack, fresh_id
from ..link.result import Unfinished
from . import brine, consts, netref
from .netref import BaseNetref, builtin_classes_cache
from .objects import ExportTable, ProxyTable, StaleReference, identify

__all__ = ["Boxer", "Incomplete", "Steps", "id_pack"]

Steps = Generator[tuple[int, tuple[Any, ...]], Any, Any]
"""Yields requests ``(handler, args)`` to the peer, is sent the answers, returns a value."""

_local = object.__getattribute__


class _Receipt:
    """A received reference whose proxy has not been built. Gives its count back if it never is."""

    __slots__ = ("pack", "proxies", "proxy")

    def __init__(self, pack: IdPack, proxies: ProxyTable) -> None:
        self.pack = pack
        self.proxies = proxies
        self.proxy: Any = None

    def __del__(self) -> None:
        if self.proxy is None:
            self.proxies.release_later(self.pack, 1)


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


class _Branch:
    """A tuple with receipts somewhere in it."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Boxer:
    """Boxes and unboxes for one connection.

    Args:
        conn: what proxies are bound to; offers ``sync_request`` or its like.
        exports: objects lent to the peer.
        proxies: proxies of the peer's objects.
        base: what proxy classes derive from; built-in proxy classes are used with BaseNetref only.
    """

    def __init__(
        self,
        conn: Any,
        exports: ExportTable,
        proxies: ProxyTable,
        base: type = BaseNetref,
    ) -> None:
        self._conn = conn
        self._exports = exports
        self._proxies = proxies
        self._base = base
        self._builtins = (
            builtin_classes_cache if base is BaseNetref else _builtin_classes_over(base)
        )
        self.classes: dict[IdPack, type] = {}
        self.keep_classes = False
        self._foreign_classes: dict[tuple[int, int], int] = {}

    # -- sending

    def box(self, obj: Any, lent: list[IdPack] | None = None) -> tuple[int, Any]:
        """Returns the boxed form of ``obj``; references to local objects are counted.

        Args:
            lent: gets the id pack of each counted reference, for rolling back.
        """
        if brine.dumpable(obj):
            return (consts.LABEL_VALUE, obj)
        kind = type(obj)
        if kind is tuple:
            return (consts.LABEL_TUPLE, tuple([self.box(item, lent) for item in obj]))
        if issubclass(kind, BaseNetref):
            if _local(obj, "____conn__") is self._conn:
                return (consts.LABEL_LOCAL_REF, _local(obj, "____id_pack__"))
            pack = self._exports.lend(obj, self._identify_foreign)
        else:
            pack = self._exports.lend(obj, identify)
        if lent is not None:
            lent.append(pack)
        return (consts.LABEL_REMOTE_REF, pack)

    def pack(self, obj: Any, encode: Callable[[Any], bytes]) -> bytes:
        """Returns ``encode(boxed obj)``; if that fails no reference has been counted."""
        lent: list[IdPack] = []
        try:
            return encode(self.box(obj, lent))
        except BaseException as error:
            for pack in lent:
                self._exports.give_back(pack, 1)
            if isinstance(error, RecursionError):
                raise ValueError("value is nested too deeply to send") from error
            raise

    def _identify_foreign(self, proxy: Any) -> IdPack:
        """Returns a new id pack for a proxy of another connection.

        Its numbers are ours: two upstream peers may use the same ones for different things.
        """
        name, foreign_class, foreign_instance = _local(proxy, "____id_pack__")
        if foreign_instance == 0:
            return (name, fresh_id(), 0)
        key = (id(_local(proxy, "____conn__")), foreign_class)
        return (name, self._foreign_classes.setdefault(key, fresh_id()), fresh_id())

    # -- receiving

    def accept(self, package: Any) -> Any:
        """Returns the value of a boxed one, or an :class:`Incomplete`.

        Runs in the reading role, in wire order. Makes no request.

        Raises:
            MalformedValue: ``package`` is not a boxed value.
            StaleReference: it names an object that is not lent.
        """
        label, content = _pair(package)
        if label == consts.LABEL_VALUE:
            return content
        receipts: list[_Receipt] = []
        try:
            value = self._accept(label, content, receipts)
        except RecursionError:
            raise LimitExceeded("nesting of boxed tuples", 500, 300, "max_depth") from None
        return Incomplete(self, value, receipts) if receipts else value

    def _accept(self, label: Any, content: Any, receipts: list[_Receipt]) -> Any:
        if label == consts.LABEL_VALUE:
            return content
        if label == consts.LABEL_LOCAL_REF:
            return self._exports[id_pack(content)]
        if label == consts.LABEL_REMOTE_REF:
            return self._receive(id_pack(content), receipts)
        if label == consts.LABEL_TUPLE and type(content) is tuple:
            return self._accept_tuple(content, receipts)
        raise MalformedValue(f"expected a boxed value, got label {label!r:.80}")

    def _accept_tuple(self, content: tuple[Any, ...], receipts: list[_Receipt]) -> Any:
        before = len(receipts)
        items: list[Any] = []
        stale: StaleReference | None = None
        for package in content:
            try:
                items.append(self._accept(*_pair(package), receipts))
            except StaleReference as error:
                stale = error  # later references are counted all the same
        if stale is not None:
            raise stale
        return _Branch(items) if len(receipts) > before else tuple(items)

    def _receive(self, pack: IdPack, receipts: list[_Receipt]) -> Any:
        proxies = self._proxies
        with proxies.lock:
            proxy = proxies.get(pack)
            if proxy is not None:
                proxy.____refcount__ += 1
                return proxy
            cls = self.class_of(pack)
            if cls is not None:
                proxy = cls(self._conn, pack)
                proxies.put(pack, proxy)
                return proxy
        receipt = _Receipt(pack, proxies)
        receipts.append(receipt)
        return receipt

    def redeem(self, receipt: _Receipt, cls: type) -> None:
        """Builds the proxy of a receipt, or finds the one that has been built meanwhile."""
        proxies = self._proxies
        with proxies.lock:
            if receipt.proxy is not None:
                return
            proxy = proxies.get(receipt.pack)
            if proxy is None:
                proxy = cls(self._conn, receipt.pack)
                proxies.put(receipt.pack, proxy)
            else:
                proxy.____refcount__ += 1
            receipt.proxy = proxy

    def take_back(self, pack: IdPack, count: int) -> bool:
        """Takes references back from the peer; returns whether it held that many."""
        return self._exports.give_back(pack, count)

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


def _pair(package: Any) -> tuple[Any, Any]:
    if type(package) is not tuple or len(package) != 2:
        raise MalformedValue(f"expected a boxed value (label, content), got {package!r:.80}")
    return package


def id_pack(content: Any) -> IdPack:
    """Returns a received id pack, checked.

    Raises:
        MalformedValue: ``content`` is none.
    """
    if (
        type(content) is not tuple
        or len(content) != 3
        or type(content[1]) is not int
        or type(content[2]) is not int
    ):
        raise MalformedValue(f"expected an id pack (name, int, int), got {content!r:.80}")
    name, cls, instance = content
    if type(name) is str:
        return content  # type: ignore[return-value]
    if type(name) is bytes:
        return (name.decode("utf-8", "replace"), cls, instance)
    raise MalformedValue(f"expected a name in an id pack, got {name!r:.80}")


def _builtin_classes_over(base: type) -> dict[str, type]:
    known = _OVER.get(base)
    if known is None:
        known = _OVER[base] = {
            name: netref.class_factory((name, 0, 1), netref.builtin_methods(name), base)
            for name in builtin_classes_cache
        }
    return known


_OVER: dict[type, dict[str, type]] = {}

