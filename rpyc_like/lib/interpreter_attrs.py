"""Names of the interpreter's own objects that lead to code, globals and locals."""

from __future__ import annotations

from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    GeneratorType,
    TracebackType,
)
from typing import Final

__all__ = ["INTERNALS"]

INTERNALS: Final = frozenset(
    name
    for kind, prefix in (
        (GeneratorType, "gi_"),
        (CoroutineType, "cr_"),
        (AsyncGeneratorType, "ag_"),
        (FrameType, "f_"),
        (TracebackType, "tb_"),
        (CodeType, "co_"),
    )
    for name in dir(kind)
    if name.startswith(prefix)
).union("mro func_globals func_code func_closure im_func im_self cell_contents".split())
"""Private towards peers, though they do not start with an underscore."""
