"""Classes, functions and values of a victim's program that are never exported.

Whatever runs code of this module, and any text of :data:`TOKEN` that reaches a peer, is a failure.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import os
from collections.abc import Callable
from typing import Any, NamedTuple

TOKEN = os.environ.get("AUDIT_TOKEN", "no token")
"""What no peer may learn; it differs in each run."""

SECRET = f"secret of a module: {TOKEN}"


def _nobody_watches(what: str) -> None:
    """No-op: the module is imported where no victim runs."""


touched: Callable[[str], None] = _nobody_watches
"""Called with the name of what was used; :class:`.watch.Watch` sets it."""


class Meta(type):
    """A metaclass that notices classes made by it, and calls of them."""

    def __new__(mcs, name: str, bases: tuple[type, ...], space: dict[str, Any], **kw: Any) -> Any:
        if bases:
            touched("Meta.__new__")
        return super().__new__(mcs, name, bases, space)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        touched("Meta.__call__")
        return super().__call__(*args, **kwargs)

    def exposed_secret(cls) -> str:
        touched("Meta.exposed_secret")
        return SECRET


class WithMeta(metaclass=Meta):
    """A class with a metaclass."""

    def exposed_dump(self) -> str:
        touched("WithMeta.exposed_dump")
        return SECRET


class Vault:
    """A class that a peer never gets."""

    kept = SECRET
    exposed_kept = SECRET

    def __init__(self, *args: Any) -> None:
        touched("Vault.__init__")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        touched("Vault.__init_subclass__")

    def __class_getitem__(cls, item: Any) -> str:
        touched("Vault.__class_getitem__")
        return SECRET

    def __getattr__(self, name: str) -> Any:
        touched("Vault.__getattr__")
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        touched("Vault.__setattr__")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        touched("Vault.__repr__")
        return SECRET

    def __iter__(self) -> Any:
        touched("Vault.__iter__")
        return iter((SECRET,))

    def __enter__(self) -> str:
        touched("Vault.__enter__")
        return SECRET

    def __exit__(self, *exc: object) -> None:
        touched("Vault.__exit__")

    def __call__(self, *args: Any) -> str:
        touched("Vault.__call__")
        return SECRET

    def __setstate__(self, state: Any) -> None:
        touched("Vault.__setstate__")

    def __del__(self) -> None:
        touched("Vault.__del__")

    def exposed_dump(self) -> str:
        touched("Vault.exposed_dump")
        return SECRET

    @staticmethod
    def exposed_static() -> str:
        touched("Vault.exposed_static")
        return SECRET

    @classmethod
    def exposed_make(cls) -> Any:
        touched("Vault.exposed_make")
        return cls()


class Plain:
    """A class without special methods."""

    secret = SECRET
    exposed_secret = SECRET

    def exposed_dump(self) -> str:
        touched("Plain.exposed_dump")
        return SECRET

    def dump(self) -> str:
        touched("Plain.dump")
        return SECRET


class Abstract(abc.ABC):
    """An ABC, which notices subclass checks."""

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        return NotImplemented

    @abc.abstractmethod
    def exposed_dump(self) -> str: ...


class Listed(list):  # type: ignore[type-arg]
    """A class with a layout that is built in."""

    def __init__(self, *args: Any) -> None:
        touched("Listed.__init__")
        super().__init__(*args)

    def append(self, item: Any) -> None:
        touched("Listed.append")

    def exposed_dump(self) -> str:
        touched("Listed.exposed_dump")
        return SECRET


class Failed(Exception):
    """An exception that does things when it is made."""

    def __new__(cls, *args: Any) -> Any:
        touched("Failed.__new__")
        return super().__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        touched("Failed.__init__")
        super().__init__(*args)

    def __str__(self) -> str:
        touched("Failed.__str__")
        return SECRET

    def __setstate__(self, state: Any) -> None:
        touched("Failed.__setstate__")

    def exposed_dump(self) -> str:
        touched("Failed.exposed_dump")
        return SECRET

    @property
    def state(self) -> str:
        touched("Failed.state")
        return SECRET

    @state.setter
    def state(self, value: Any) -> None:
        touched("Failed.state.setter")


class Quiet(Failed):
    """One that derives from another."""


class PlainFailed(Exception):
    """An exception without methods of its own."""


class FailedOs(OSError):
    """An exception that is an OSError too."""

    def __init__(self, *args: Any) -> None:
        touched("FailedOs.__init__")
        super().__init__(*args)


class Colour(enum.Enum):
    """An enumeration with values that are computed."""

    RED = SECRET
    BLUE = 2

    @classmethod
    def _missing_(cls, value: Any) -> Any:
        touched("Colour._missing_")
        return cls.RED

    def exposed_dump(self) -> str:
        touched("Colour.exposed_dump")
        return SECRET


class Right(enum.Flag):
    """A flag."""

    READ = 1
    WRITE = 2

    @classmethod
    def _missing_(cls, value: Any) -> Any:
        touched("Right._missing_")
        return super()._missing_(value)


@dataclasses.dataclass
class Account:
    """A dataclass that does things when it is made and filled."""

    owner: Any = None
    amount: Any = 0

    def __post_init__(self) -> None:
        touched("Account.__post_init__")

    def __setattr__(self, name: str, value: Any) -> None:
        touched("Account.__setattr__")
        object.__setattr__(self, name, value)

    def exposed_dump(self) -> str:
        touched("Account.exposed_dump")
        return SECRET


@dataclasses.dataclass
class Money:
    """A dataclass without anything of its own."""

    amount: Any = 0
    currency: Any = ""

    def exposed_dump(self) -> str:
        touched("Money.exposed_dump")
        return SECRET


class Pair(NamedTuple):
    """A named tuple with a method."""

    left: Any
    right: Any

    def exposed_dump(self) -> str:
        touched("Pair.exposed_dump")
        return SECRET


PlainPair = collections.namedtuple("PlainPair", "left right")


def exposed_open_vault(*args: Any) -> str:
    touched("exposed_open_vault")
    return SECRET


class Keeper:
    """An object that a service keeps for itself."""

    def __init__(self) -> None:
        self.secret = SECRET
        self.exposed_secret = SECRET

    def exposed_dump(self) -> str:
        touched("Keeper.exposed_dump")
        return SECRET


CLASSES = (
    *(WithMeta, Vault, Plain, Abstract, Listed, Failed, Quiet, PlainFailed, FailedOs, Colour),
    *(Right, Account, Money, Pair, PlainPair, Keeper),
)
"""The classes whose instances and subclasses are looked for."""

KEPT = Keeper()
"""The only instance that there is."""
