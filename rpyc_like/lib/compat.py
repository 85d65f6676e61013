"""Names that programs import from ``rpyc.lib.compat``."""

from __future__ import annotations

import pickle
import select
import sys
from io import BytesIO
from struct import Struct

__all__ = [
    "BytesIO",
    "Struct",
    "TimeoutError",
    "is_py_3k",
    "is_py_gte37",
    "is_py_gte38",
    "is_py_gte310",
    "is_py_gte311",
    "maxint",
    "pickle",
    "select",
    "select_error",
]

TimeoutError = TimeoutError
select_error = OSError
maxint = sys.maxsize
is_py_3k = is_py_gte37 = is_py_gte38 = is_py_gte310 = True
is_py_gte311 = sys.version_info >= (3, 11)
