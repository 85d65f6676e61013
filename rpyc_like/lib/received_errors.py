"""Exceptions that were made from what a peer sent, and what a peer may read of them.

The peer has named their class, and may have named one of this program's. So it reads their fields,
and nothing is asked of the class.
"""

from __future__ import annotations

from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from .stand_ins import BUILTIN_EXCEPTIONS, dict_of, is_among, mro_of

__all__ = ["field_of", "get_args", "made_from_peer", "peers_data", "set_args", "values_of"]

set_args: Final[Any] = BaseException.__dict__["args"].__set__
get_args: Final[Any] = BaseException.__dict__["args"].__get__
values_of: Final[Any] = BaseException.__dict__["__dict__"].__get__
"""Arguments and attributes of an exception, whatever its class has under these names."""


def field_of(cls: type, name: str) -> Any:
    """Return the descriptor of a field that a built-in exception class has; ``None`` for others."""
    for base in mro_of(cls):
        if is_among(base, BUILTIN_EXCEPTIONS):
            found = dict_of(base).get(name)
            if type(found) in (MemberDescriptorType, GetSetDescriptorType):
                return found
    return None


def made_from_peer(obj: object) -> bool:
    """Return whether an object is an exception that was made from what a peer sent."""
    cls: Any = type(obj)
    if not issubclass(cls, BaseException):
        return False
    return "____origin____" in dict_of(cls) or "_remote_tb" in values_of(obj)


def peers_data(error: BaseException, name: str, missing: Any) -> Any:
    """Return a field of a received exception; its class, which the peer has named, is not asked.

    Returns:
        ``missing`` for a text, a comparison or the like of the exception, which are harmless.

    Raises:
        AttributeError: it is none of these. The methods of the class are not for the peer.
    """
    if name in _ALWAYS_READABLE:
        return missing
    field = None if name[:2] == "__" else field_of(type(error), name)
    if field is not None:
        return field.__get__(error)
    values = values_of(error)
    if name[:2] == "__" or name not in values:
        raise AttributeError(name)
    return values[name]


_ALWAYS_READABLE: Final = frozenset(
    "__str__ __repr__ __eq__ __ne__ __hash__ __doc__ __dir__ __format__".split()
)
