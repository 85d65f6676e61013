from collections.abc import Callable, Iterable
from typing import Any

def dump_small(obj: Any, max_depth: int = ..., max_digits: int = ...) -> bytes: ...
def load_at(
    data: bytes, position: int, max_depth: int = ..., max_digits: int = ...
) -> tuple[Any, int]: ...
def load(data: bytes, max_depth: int = ..., max_digits: int = ...) -> Any: ...
def configure_brine(
    dump_small: Callable[..., bytes],
    load_at: Callable[..., tuple[Any, int]],
    load: Callable[..., Any],
    dumpable: Callable[[Any], bool],
    own_dumps: dict[type, Any],
    count_memory: Callable[[bytes], object],
    /,
) -> None: ...
def price_at(data: bytes, position: int, limit: int, /) -> tuple[int, int]: ...
def measure(
    value: Any, count: Callable[[int], object] | None = None, reference: int = 512, /
) -> tuple[int, int]: ...
def plain_tuple(items: list[Any], /) -> tuple[Any, ...]: ...
def looks() -> int: ...
def dumpable(obj: Any) -> bool: ...
def configure_messages(
    metaclass: type,
    conn_slot: Any,
    boxed_slot: Any,
    about_objects: Iterable[int],
    special: Iterable[int],
    reply: Any,
    call: Any,
) -> None: ...

class Messages:
    def __init__(
        self,
        conn: Any,
        lent: dict[bytes, Any],
        serving: set[int],
        max_serving: int,
        lend: Callable[[Any], bytes | None],
        receive: Callable[[bytes], Any],
        take_back: Callable[[bytes, int], None],
        unmetered: int,
        /,
    ) -> None: ...
    def request(
        self,
        framed: bool,
        id_: int,
        handler: int,
        args: tuple[Any, ...],
        cause: int | None,
        batch: Callable[[], bytes] | None,
        /,
    ) -> bytes | None: ...
    def reply(self, framed: bool, id_: int, value: Any, /) -> bytes | None: ...
    def disown(self, take_back: Callable[[bytes, int], Any], /) -> None: ...
    def open(self, payload: bytes, /) -> tuple[Any, ...] | None: ...
    def open_frames(self, data: bytes, /) -> tuple[Any, ...] | list[Any] | None: ...
