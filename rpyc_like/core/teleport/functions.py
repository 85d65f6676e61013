"""Functions sent to the other side as code.

A function travels as plain data: ``(name, module, defaults, keyword defaults, code)``. The code's
layout is that of the code object's constructor of the sending Python, and its length tells which:
18 items since 3.11, 16 on 3.8 to 3.10. The byte code itself is bound to the Python version (3.11,
3.12 ...): a function is not sent to another one, and code that another one has made is refused,
because running it could end the process.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER
from types import CodeType, FunctionType
from typing import Any

from ...lib.exact import exact
from .. import brine
from .bytecode import is_ours

__all__ = [
    "CODEOBJ_MAGIC",
    "CODE_HAVEARG_SIZE",
    "decode_codeobj",
    "export_function",
    "import_function",
    "teleport",
]

CODEOBJ_MAGIC = "MAg1c J0hNNzo0hn ZqhuBP17LQk8"
"""Marks a nested code object among the constants; the wire's value."""

CODE_HAVEARG_SIZE = 2
"""Bytes of an instruction with an argument."""

_FIELDS_18 = (
    "argcount posonlyargcount kwonlyargcount nlocals stacksize flags code consts names varnames "
    "filename name qualname firstlineno linetable exceptiontable freevars cellvars"
).split()
_FIELDS_16 = [field for field in _FIELDS_18 if field not in ("qualname", "exceptiontable")]


def _fields(size: int) -> list[str]:
    if size == len(_FIELDS_18):
        return _FIELDS_18
    if size == len(_FIELDS_16):
        return _FIELDS_16
    raise ValueError(f"expected code of 16 or 18 fields, got {size}: made by an unknown Python")


_OURS = _FIELDS_18 if sys.version_info >= (3, 11) else _FIELDS_16

_ATTRIBUTES = {} if sys.version_info >= (3, 10) else {"linetable": "co_lnotab"}


def _export_code(code: CodeType) -> tuple[Any, ...]:
    values = {field: getattr(code, _ATTRIBUTES.get(field, f"co_{field}")) for field in _OURS}
    values["consts"] = tuple(_export_constant(const) for const in code.co_consts)
    return tuple(values[field] for field in _OURS)


def _export_constant(const: Any) -> Any:
    if isinstance(const, CodeType):
        return (CODEOBJ_MAGIC, _export_code(const))
    if brine.dumpable(const):
        return const
    raise TypeError(f"cannot teleport a function with the constant {const!r}")


def export_function(func: FunctionType) -> tuple[Any, ...]:
    """Returns the plain data that stands for ``func``.

    Raises:
        TypeError: it has a closure, or constants or defaults that are not plain values.
    """
    if func.__closure__:
        raise TypeError(f"cannot teleport {func.__name__}: it has a closure")
    defaults = func.__defaults__
    keywords = None if func.__kwdefaults__ is None else tuple(func.__kwdefaults__.items())
    for what in (defaults, keywords):
        if not brine.dumpable(what):
            raise TypeError(f"cannot teleport {func.__name__}: its defaults are not plain values")
    return func.__name__, func.__module__, defaults, keywords, _export_code(func.__code__)


def _import_code(exported: tuple[Any, ...]) -> CodeType:
    fields = _fields(len(exported))
    if fields is not _OURS:
        raise ValueError(
            "function was teleported from a Python with other byte code: "
            f"got {len(exported)} fields, this Python ({sys.version.split()[0]}) has {len(_OURS)}"
        )
    values = dict(zip(fields, exported))
    values["consts"] = tuple(_import_constant(const) for const in values["consts"])
    lines = values["linetable"]
    if not is_ours(values["code"], lines, len(values["consts"]), len(values["names"])):
        raise ValueError(
            f"function {values['name']!r} was teleported from a Python with other byte code than "
            f"{sys.version.split()[0]}"
        )
    return CodeType(*(values[field] for field in fields))


def _import_constant(const: Any) -> Any:
    if type(const) is tuple and len(const) == 2 and const[0] == CODEOBJ_MAGIC:
        return _import_code(const[1])
    return const


def import_function(
    functup: tuple[Any, ...], globals: dict[str, Any] | None = None, def_: bool = True
) -> FunctionType:
    """Returns a function made from what :func:`export_function` gave.

    Args:
        globals: its global names; those of the module it came from, if that is loaded here, else of
            a fresh namespace.
        def_: whether to put the function into ``globals`` under its name.
    """
    name, module, defaults, keywords, exported = functup
    if globals is None:
        home = sys.modules.get(module)
        globals = {"__name__": module, "__builtins__": __builtins__} if home is None else vars(home)
    globals.setdefault("__builtins__", __builtins__)
    func = FunctionType(_import_code(exported), globals, name, defaults)
    if keywords is not None:
        func.__kwdefaults__ = dict(keywords)
    func.__module__ = module
    if def_:
        globals[name] = func
    return func


def decode_codeobj(codeobj: CodeType) -> Iterator[tuple[str, Any]]:
    """Yields the instructions of a code object: names of operations, and their arguments."""
    for instruction in dis.get_instructions(codeobj):
        yield instruction.opname, instruction.argval


def _check_byte_code(conn: Any, func: FunctionType) -> None:
    """Raises ValueError if the other side's Python has other byte code than this one."""
    there = conn.__dict__.get("_byte_code")
    if there is None:
        magic = conn.modules["importlib.util"].MAGIC_NUMBER
        there = exact(magic, bytes, "the number of its byte code")
        conn._byte_code = there  # a Python never changes it
    if there != MAGIC_NUMBER:
        version = str(conn.modules.sys.version).split()[0]
        raise ValueError(
            f"cannot teleport {func.__name__}: byte code of Python {sys.version.split()[0]} does "
            f"not run on the other side's {version}; define it there with execute()"
        )


def teleport(conn: Any, func: FunctionType, globals: Any = None, def_: bool = True) -> Any:
    """Returns a proxy of a copy of ``func`` that lives on the other side of a classic connection.

    Args:
        globals: the copy's global names; the namespace of the connection without it.

    Raises:
        TypeError: it has a closure, or constants or defaults that are not plain values.
        ValueError: the other side runs another version of Python.
    """
    _check_byte_code(conn, func)
    if globals is None:
        globals = conn.namespace
    importer = conn.modules["rpyc.utils.teleportation"].import_function
    return importer(export_function(func), globals, def_)
