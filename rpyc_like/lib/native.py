"""Which implementation is used: the compiled core where it was built, else pure Python.

The environment variable ``RPYC_LIKE_IMPL`` chooses: ``native`` (an error if it was not built) or
``python``. Both give the same results and the same errors.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

__all__ = ["IMPLEMENTATION", "codec", "etf", "sexp", "waiting"]

_VARIABLE: Final = "RPYC_LIKE_IMPL"


def _choose(name: str) -> Any:
    """Returns a module of the compiled core, or None."""
    wanted = os.environ.get(_VARIABLE, "")
    if wanted not in ("", "native", "python"):
        raise ValueError(
            f"environment variable {_VARIABLE}: expected native or python, got {wanted!r}"
        )
    if wanted == "python":
        return None
    try:
        return importlib.import_module(f"rpyc_like._native.{name}")
    except ImportError as error:
        if wanted:
            raise ImportError(
                f"the compiled core was not built, and {_VARIABLE} asks for it: {error}"
            ) from error
        return None


codec: Final[Any] = _choose("codec")
"""The compiled codec, or None."""

waiting: Final[Any] = _choose("waiting")
"""Waiting that polls before it blocks, or None. Imported by the streams only."""

sexp: Final[Any] = _choose("sexp")
"""Reader and writer of what Emacs prints, or None."""

etf: Final[Any] = _choose("etf")
"""Decoder and encoder of Erlang's external term format, or None."""

IMPLEMENTATION: Final = "python" if codec is None else "native"
"""What is used."""
