from collections.abc import Callable
from typing import Any

def read_all(
    text: str,
    nil: Callable[[], Any],
    words: dict[str, Any],
    word: Callable[[str], Any],
    vector: Callable[[list[Any]], Any],
    limit: int,
    /,
) -> list[Any] | int | None: ...
def write(value: Any, symbol_type: Any, symbol: Callable[[Any], str], /) -> str | None: ...
def looks() -> int: ...
