"""Boxing through a program's own ``_box``, ``_unbox`` and ``_netref_factory``.

A subclass of :class:`~rpyc_like.core.protocol.Connection` may override these three. Its connections
then box and unbox here, in terms of plain packages ``(label, value)`` that such methods see and
make, one call of them for each item. References are still counted in wire order by the reader, and
the overriding methods run later, in the thread that consumes the message.
"""

from __future__ import annotations

from threading import local
from typing import Any

from ...errors import MalformedValue
from ...lib.brief import brief
from ...lib.object_ids import IdPack
from ...link.result import Unresolved
from .. import brine, consts
from ..references.tables import StaleReference
from .boxing import Boxer, PendingProxy, check_id_pack

__all__ = ["HookedBoxer"]

Package = tuple[Any, Any]


class _CountedRef(tuple[Any, ...]):
    """A received id pack that has been counted, with what it refers to.

    That is an object of this side, a proxy, or the receipt of a proxy to be made.
    """

    referent: Any


class _UnresolvedPackage(Unresolved):
    """A received package that has not been given to ``_unbox``."""

    __slots__ = ("_boxer", "_package")

    def __init__(self, boxer: HookedBoxer, package: Package) -> None:
        self._boxer = boxer
        self._package = package

    @property
    def plain(self) -> Any:  # type: ignore[override]
        """The value, if no program has to be asked about it."""
        label, value = self._package
        return value if label == consts.LABEL_VALUE else None

    def steps(self) -> Any:
        return self._boxer.conn._unbox(self._package)
        yield  # a generator, because other unfinished values need the peer


class _ExportUndo(local):
    """References counted by the encoding that runs in this thread."""

    raws: list[bytes] | None = None


class HookedBoxer(Boxer):
    """Boxes and unboxes for a connection that does some of it itself."""

    direct = False

    def __init__(self, conn: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(conn, *args, **kwargs)
        self._lent = _ExportUndo()

    # -- sending

    def encode(self, obj: Any) -> bytes:
        """Returns the brine of what the connection's ``_box`` makes of ``obj``.

        If it fails, no reference has been counted.
        """
        outer, self._lent.raws = self._lent.raws, []
        try:
            return self._dump(self.conn._box(obj))
        except BaseException:
            for raw in self._lent.raws:
                self.exports.give_back(raw, 1)
            raise
        finally:
            self._lent.raws = outer

    def box(self, obj: Any) -> Package:
        """What ``_box`` does where it is not overridden."""
        if type(obj) is tuple and not brine.dumpable(obj):
            return consts.LABEL_TUPLE, tuple([self.conn._box(item) for item in obj])
        lent: list[bytes] = [] if self._lent.raws is None else self._lent.raws
        try:
            boxed = self._encode(obj, lent)
        except brine.LargeValue:
            return consts.LABEL_VALUE, obj
        package: Package = brine.load(boxed, self._max_depth, self._max_digits)
        return package

    # -- receiving

    def decode(self, data: bytes, position: int) -> tuple[Any, int]:
        package, end = brine.load_at(data, position, self._max_depth, self._max_digits)
        if type(package) is not tuple or len(package) != 2:
            raise MalformedValue(f"expected a boxed value, got {brief(package)}")
        return _UnresolvedPackage(self, self._arrive(package)), end

    def _arrive(self, package: Any) -> Any:
        """Returns the package with its references counted. Runs no code of the program."""
        if type(package) is not tuple or len(package) != 2:
            return package  # what it means is the program's business
        label, value = package
        if label == consts.LABEL_TUPLE and type(value) is tuple:
            return label, tuple([self._arrive(item) for item in value])
        if label == consts.LABEL_LOCAL_REF:
            arrived = _CountedRef(check_id_pack(value))
            entry = self.exports.by_raw.get(brine.dump(tuple(arrived)))
            arrived.referent = StaleReference() if entry is None else entry.obj
            return label, arrived
        if label == consts.LABEL_REMOTE_REF:
            pack = check_id_pack(value)
            arrived = _CountedRef(pack)
            arrived.referent = self._count(pack)
            return label, arrived
        return package

    def _count(self, pack: IdPack) -> Any:
        """Counts a reference; returns its proxy, or the receipt of one to be made."""
        raw = brine.dump(pack)
        with self.proxies.lock:
            proxy = self.proxies.count(raw)
            return PendingProxy(raw, pack, self.proxies) if proxy is None else proxy

    def unbox(self, package: Any) -> Any:
        """What ``_unbox`` does where it is not overridden."""
        label, value = package
        if label == consts.LABEL_VALUE:
            return value
        if label == consts.LABEL_TUPLE:
            return tuple([self.conn._unbox(item) for item in value])
        if label not in (consts.LABEL_LOCAL_REF, consts.LABEL_REMOTE_REF):
            raise ValueError(f"expected a label from 1 to 4, got {brief(label)}")
        if type(value) is not _CountedRef:
            _, value = self._arrive((label, value))
        referent = value.referent
        if type(referent) is StaleReference:
            raise referent
        if type(referent) is not PendingProxy:
            return referent
        if referent.proxy is None:
            self._keep(referent, self.conn._netref_factory(referent.pack))
        return referent.proxy

    def _keep(self, receipt: PendingProxy, proxy: Any) -> None:
        """Files a proxy that the program made, or takes the one that another thread has filed."""
        with self.proxies.lock:
            known = self.proxies.count(receipt.raw)
            if known is None:
                self.proxies.put(receipt.raw, proxy)
            receipt.proxy = proxy if known is None else known
