"""What is called in C: one definition for the access policy and for the guards of such functions.

There is no list of types: C code has functions, methods and wrappers of many of them.
"""

from __future__ import annotations

from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any

from .stand_ins import dict_of, mro_of

__all__ = ["is_bound", "is_called_in_c", "is_c_callable", "is_function"]


def is_function(kind: type) -> bool:
    """Return whether a type is one of functions and bound methods that are written in C.

    A method that is told the class that defines it, such as ``array.extend``, is of a subclass.
    """
    return issubclass(kind, BuiltinFunctionType)


def is_bound(kind: type) -> bool:
    """Return whether objects of a type have a ``__self__`` that C code works on."""
    return is_function(kind) or kind is MethodWrapperType


def is_called_in_c(kind: type) -> bool:
    """Return whether C code runs when an object of this type is called; runs none of the type."""
    for base in mro_of(kind):
        if "__call__" in dict_of(base):
            call = dict_of(base)["__call__"]
            return type(call) is WrapperDescriptorType or type(call) is MethodDescriptorType
    return False


def is_c_callable(obj: Any) -> bool:
    """Return whether calling an object runs something other than a function written in Python.

    Classes count as well: C code makes their instances.
    """
    func = obj.__func__ if type(obj) is MethodType else obj
    return type(func) is not FunctionType and is_called_in_c(type(func))
