"""Functions sent as code, under their old address (peers ask for this module by name)."""

from __future__ import annotations

from ..core import brine as brine
from ..core import netref as netref
from ..core.teleport.functions import (
    CODE_HAVEARG_SIZE,
    CODEOBJ_MAGIC,
    decode_codeobj,
    export_function,
    import_function,
)
from ..lib.compat import is_py_gte38 as is_py_gte38
from ..lib.compat import is_py_gte310 as is_py_gte310
from ..lib.compat import is_py_gte311 as is_py_gte311

__all__ = [
    "CODEOBJ_MAGIC",
    "CODE_HAVEARG_SIZE",
    "decode_codeobj",
    "export_function",
    "import_function",
]
