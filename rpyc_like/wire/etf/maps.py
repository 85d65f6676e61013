"""Erlang's maps, whose keys may be any term: 1, 1.0 and true are three keys, and lists are keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, NoReturn

from ...erlport.errors import TermLimitExceeded
from ...lib.brief import brief
from ..meter import MAX_EQUAL_HASHES, check_hashes
from .values import ImproperList

__all__ = ["MAX_KEY_LEVEL", "Map", "MutationError", "digest", "digest_and_level", "refuse"]

MAX_KEY_LEVEL = 100
"""Default of :attr:`Map.max_key_level`."""

_LONG: Final = 64  # bytes of an encoding that is not replaced by its hash
_MAP: Final = b"t"  # the tag of maps; other terms may have this byte in them


class MutationError(TypeError):
    """A list or map of Erlang's cannot be changed."""


class _Key:
    """Stands for a key that a dict cannot hold or would take for another one.

    Args:
        canonical: bytes that are the same for the same term only.
        term: the key.
    """

    __slots__ = ("canonical", "term")

    def __init__(self, canonical: bytes, term: Any) -> None:
        self.canonical = canonical
        self.term = term

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __eq__(self, other: object) -> bool:
        return type(other) is _Key and self.canonical == other.canonical

    def __repr__(self) -> str:
        return repr(self.term)


def digest(encoded: bytes) -> bytes:
    """Return bytes that stand for a term: its canonical encoding, or a hash of a long one.

    Keys that hold maps hold the keys of these. With their whole encodings the memory and the time
    for them would be the square of the nesting.
    """
    if len(encoded) <= _LONG:
        return encoded
    return b"\0" + hashlib.blake2b(encoded, digest_size=32).digest()  # no term has the tag 0


def digest_and_level(encoded: bytes, term: Any) -> tuple[bytes, int]:
    """Return the :func:`digest` of a canonical encoding, and :func:`key_level` of its term."""
    level = key_level(term) if _MAP in encoded else 0  # a term is not walked for nothing
    return (encoded if len(encoded) <= _LONG else digest(encoded)), level


def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Stands for the methods that would change a list or map."""
    raise MutationError(f"a {type(self).__name__} cannot be changed; copy it")


class Map(dict[Any, Any]):
    """A map: a dict that cannot be changed, that is hashable, and whose keys are terms.

    Keys are told apart as Erlang does: 1, 1.0 and True are different keys, and so are an atom and
    a text or binary of the same letters if both are there (``m[b"x"]`` finds the atom if not).

    Args:
        items: a mapping, or pairs; keys may be lists and dicts as well.

    Raises:
        ValueError: a key appears twice.
        MalformedValue: more than 64 keys have the same hash.
    """

    # Most keys stand for themselves in the dict below; the others are wrapped.

    __slots__ = ("_twins", "level")  # an empty map without them takes 424 bytes, not 80

    plain_keys: ClassVar[frozenset[type]] = frozenset((str, bytes, int))
    max_key_level: ClassVar[int] = MAX_KEY_LEVEL
    """How deep maps may be nested as keys of maps."""
    level: int
    """How deep maps are nested as keys, 1 if there are none."""
    _twins: bool

    @classmethod
    def canonical(cls, term: Any) -> tuple[bytes, int]:
        """Returns bytes that are the same for the same term only, and its :attr:`level`.

        They are short (:func:`digest`), however large the term is.
        """
        raise NotImplementedError

    def __init__(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()) -> None:
        # Seven bytes may make a map, so nothing is looked up or walked twice here.
        pairs: Any = items
        if type(items) is not list:
            pairs = list(items.items() if isinstance(items, Mapping) else items)
        self.level = 1
        self._twins = False
        plain_keys = self.plain_keys
        if len(pairs) > MAX_EQUAL_HASHES:
            check_hashes([key for key, _ in pairs if type(key) in plain_keys])
        store = super().__setitem__
        for key, value in pairs:
            store(key if type(key) in plain_keys else self._wrap(key), value)
        if len(self) != len(pairs):
            self._separate(pairs)

    def _separate(self, pairs: list[tuple[Any, Any]]) -> None:
        """Fill the map with keys of which some are equal in Python, but perhaps not in Erlang."""
        super().clear()
        kinds: dict[Any, type] = {}  # of the plain keys
        for key, value in pairs:
            token, kind = key, type(key)
            if kind not in self.plain_keys:
                token = self._wrap(key)
            elif kinds.setdefault(key, kind) is not kind:
                self._twins = True
                token = self._wrap(key)
            if super().__contains__(token):
                raise ValueError(f"duplicate key {brief(key)}")
            super().__setitem__(token, value)

    def _wrap(self, key: Any) -> _Key:
        canonical, level = self.canonical(key)
        if level >= self.level:
            limit = self.max_key_level
            if level >= limit:
                what = "levels of maps as keys of maps"
                raise TermLimitExceeded(what, level + 1, limit, "Map.max_key_level")
            self.level = level + 1
        return _Key(canonical, key)

    def _token(self, key: Any) -> Any:
        if type(key) in self.plain_keys and not self._twins:
            return key
        wrapped = _Key(self.canonical(key)[0], key)
        if type(key) in self.plain_keys and not super().__contains__(wrapped):
            return key
        return wrapped

    def tokens(self) -> Iterable[tuple[bytes | None, Any, Any]]:
        """Yields canonical bytes (None for plain keys), key and value."""
        for key, value in super().items():
            if type(key) is _Key:
                yield key.canonical, key.term, value
            else:
                yield None, key, value

    # -- a mapping

    def __getitem__(self, key: Any) -> Any:
        token = self._token(key)
        if not super().__contains__(token):
            raise KeyError(key)
        return super().__getitem__(token)

    def __contains__(self, key: Any) -> bool:
        try:
            return super().__contains__(self._token(key))
        except (TypeError, ValueError):
            return False

    def get(self, key: Any, default: Any = None) -> Any:
        """Returns the value of a key, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            yield (key.term if type(key) is _Key else key)

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self)[::-1])

    def keys(self) -> Any:
        """Returns the keys."""
        return _Keys(self)

    def items(self) -> Any:
        """Returns the pairs."""
        return [(key, value) for _, key, value in self.tokens()]

    def __repr__(self) -> str:
        return f"Map({{{', '.join(f'{key!r}: {value!r}' for key, value in self.items())}}})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Map):
            return dict.__eq__(self, other)
        if isinstance(other, Mapping):
            return len(self) == len(other) and all(
                key in self and self[key] == value for key, value in other.items()
            )
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.canonical(self)[0])

    def __reduce__(self) -> Any:
        return (type(self), (self.items(),))

    def copy(self) -> Any:
        """Returns the map itself."""
        return self

    def __or__(self, other: Any) -> Any:
        merged = {self._token(key): (key, value) for key, value in self.items()}
        merged.update({self._token(key): (key, value) for key, value in other.items()})
        return type(self)(merged.values())

    __setitem__ = __delitem__ = __ior__ = refuse  # type: ignore[assignment]
    clear = pop = popitem = setdefault = update = refuse  # type: ignore[assignment]


class _Keys(list[Any]):
    """The keys of a map, as a sequence that knows what it contains."""

    def __init__(self, source: Map) -> None:
        super().__init__(source)
        self._source = source

    def __contains__(self, key: object) -> bool:
        return key in self._source


def key_level(term: Any) -> int:
    """Returns how deep maps are nested as keys in a term, 0 if there are none."""
    deepest = 0
    stack = [term]
    while stack:
        item = stack.pop()
        if isinstance(item, Map):
            deepest = max(deepest, item.level)
            stack += item.values()
        elif isinstance(item, (tuple, list)):
            stack += item
            if isinstance(item, ImproperList):
                stack.append(item.tail)
    return deepest
