"""Exported objects are no ladders: case 89."""

from __future__ import annotations

import argparse
import asyncio
import cmd
import code
import codecs
import collections
import concurrent.futures
import concurrent.futures.process
import configparser
import contextlib
import contextvars
import ctypes
import datetime
import dbm.dumb
import difflib
import enum
import functools
import gc
import gzip
import http.cookiejar
import importlib
import inspect
import io
import itertools
import json
import logging
import mailbox
import mimetypes
import multiprocessing
import netrc
import operator
import optparse
import os
import pathlib
import pickle
import profile
import queue
import shelve
import shlex
import shutil
import smtplib
import socket
import socketserver
import sqlite3
import string
import subprocess
import sys
import threading
import traceback
import types
import typing
import urllib.request
import urllib.robotparser
import weakref
import xml.etree.ElementTree
import zipfile
import zoneinfo
from collections.abc import Callable, Iterator
from types import GenericAlias
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core import consts
from rpyc_like.core.config import CLIENT_ATTRS, SAFE_ATTRS, make_config
from rpyc_like.core.dispatch import policy as access
from rpyc_like.core.pipelining import chain_interpreter
from rpyc_like.core.service import ClassicClient
from rpyc_like.epc.core import EPCDispatcher
from rpyc_like.erlport.service import ErlangService
from rpyc_like.erlport.v1.bridge import Instance, only
from rpyc_like.erlport.v1.erlterms import Atom
from rpyc_like.erlport.v1.export_policy import public
from rpyc_like.erlport.v1.handles import Handles
from rpyc_like.errors import AccessDenied
from rpyc_like.lib.guards import access_policy
from rpyc_like.lib.guards.access_policy import LADDERS, UNREACHABLE, check_call, ladder, risk
from rpyc_like.tools.exposes import exposes

from .front_ends import FRONT_ENDS, client_of

SECRET = "the secret of this module"


class Text(str):
    """A text that travels by reference."""


class OwnFormat(str):
    """Formats in its own way."""

    def format(self, *args: object, **kwargs: object) -> str:
        return "own"


class Color(enum.Enum):
    RED = 1


class Plain:
    """An object with a method, a property and a module."""

    json = json
    value = 5

    def method(self) -> int:
        return self.value

    @property
    def computed(self) -> int:
        return 6

    @property
    def lazy_module(self) -> Any:
        return os

    @functools.cached_property
    def kept(self) -> int:
        return 7

    partial = functools.partialmethod(method)


class OwnText(ctypes.c_char_p):
    """A text of C, by another name."""


class Named(ctypes.Structure):
    """A structure that has an address and a number."""

    _fields_ = (("name", ctypes.c_char_p), ("number", ctypes.c_int))


class Nesting(ctypes.Structure):
    """A structure that has addresses further inside."""

    _fields_ = (("inner", Named), ("texts", ctypes.c_char_p * 2), ("numbers", ctypes.c_int * 2))


class Either(ctypes.Union):
    """A number that is an address as well."""

    _fields_ = (("text", ctypes.c_char_p), ("number", ctypes.c_long))


class Numbers(ctypes.BigEndianStructure):
    """A structure of numbers."""

    _fields_ = (("one", ctypes.c_int), ("many", ctypes.c_double * 2))

    def total(self) -> float:
        return float(self.one + sum(self.many))


class Generic(typing.Generic[typing.TypeVar("T")]):  # type: ignore[misc]
    """Has the ``__class_getitem__`` of typing, which compiles texts."""


class Subscripted:
    """Has code that runs when it is subscripted."""

    def __class_getitem__(cls, item: Any) -> Any:
        return SECRET

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise AssertionError("was run")


def generator() -> Iterator[int]:
    yield 1


def call_it(func: Any, *args: Any) -> Any:
    return func(*args)


@functools.singledispatch
def dispatched(value: object) -> str:
    return "any"


def function() -> int:
    return 1


def called_with(called: Any, base: type = object) -> Any:
    """Return an object whose class has ``called`` for ``__call__``."""
    return type("Called", (base,), {"__call__": called})()


CALLABLES: dict[str, Any] = {
    "getattr": getattr,
    "setattr": setattr,
    "vars": vars,
    "dir": dir,
    "globals": globals,
    "eval": eval,
    "exec": exec,
    "compile": compile,
    "__import__": __import__,
    "open": open,
    "io.open": io.open,
    "io.FileIO": io.FileIO,
    "super": super,
    "help": __builtins__["help"] if isinstance(__builtins__, dict) else __builtins__.help,  # type: ignore[attr-defined]
    "type": type,
    "EnumMeta": enum.EnumMeta,
    "attrgetter": operator.attrgetter,
    "itemgetter": operator.itemgetter,
    "methodcaller": operator.methodcaller,
    "operator.getitem": operator.getitem,
    "partial": functools.partial,
    "partialmethod": functools.partialmethod,
    "reduce": functools.reduce,
    "singledispatch": functools.singledispatch,
    "update_wrapper": functools.update_wrapper,
    "a partial of getattr": functools.partial(getattr, Plain()),
    "a partial of a partial": functools.partial(functools.partial(eval)),
    "a cached getattr": functools.lru_cache(getattr),
    "a method of getattr": types.MethodType(getattr, Plain()),
    "a static method of exec": staticmethod(exec),
    "an alias of partial": GenericAlias(functools.partial, (int,)),
    "a proxy of getattr": weakref.proxy(getattr),
    "a proxy of os.popen": weakref.proxy(os.popen),
    "a proxy of shutil.rmtree": weakref.proxy(shutil.rmtree),
    "a proxy of an instance that calls eval": weakref.proxy(EVALUATES := called_with(eval)),
    "a partial of a proxy": functools.partial(weakref.proxy(subprocess.run)),
    "an instance that calls exec": called_with(exec, list),
    "an instance that calls os.popen": called_with(staticmethod(os.popen)),
    "an instance that calls a class method": called_with(classmethod(type.__call__)),
    "an instance that calls os.system": called_with(functools.partialmethod(os.system)),
    "an instance that calls a partial": called_with(functools.partial(eval)),
    "an instance that calls a class": called_with(functools.partial),
    "an instance that calls another": called_with(called_with(staticmethod(open))),
    "an instance that reads attributes": called_with(object.__getattribute__),
    "an instance that formats": called_with(staticmethod(str.format)),
    "the call of getattr": getattr.__call__,  # type: ignore[operator]
    "type.__call__": type.__call__,
    "object.__getattribute__": object.__getattribute__,
    "a bound __getattribute__": Plain().__getattribute__,
    "object.__reduce_ex__": object.__reduce_ex__,
    "object.__new__": object.__new__,
    "type.__subclasses__": type.__subclasses__,
    "__subclasses__": Plain.__subclasses__,
    "mro": Plain.mro,
    "FunctionType": types.FunctionType,
    "CodeType": types.CodeType,
    "MethodType": types.MethodType,
    "ModuleType": types.ModuleType,
    "str.format": str.format,
    "a text that looks up attributes": "{0.__class__}".format,
    "a text that looks up items": "{0[x]}".format_map,
    "a text with a lookup in its spec": "{0:{1.__class__}}".format,
    "a text that is cut": "{".format,
    "Formatter.format": string.Formatter().format,
    "Formatter.get_field": string.Formatter().get_field,
    "Context.run": contextvars.copy_context().run,
    "logging.Formatter": logging.Formatter,
    "a subclass of Formatter": type("Own", (logging.Formatter,), {}),
    "inspect.getmembers": inspect.getmembers,
    "gc.get_objects": gc.get_objects,
    "sys._getframe": sys._getframe,
    "pickle.loads": pickle.loads,
    "pickle.Unpickler": pickle.Unpickler,
    "import_module": importlib.import_module,
    "ctypes.CDLL": ctypes.CDLL,
    "ctypes.string_at": ctypes.string_at,
    "InteractiveConsole": code.InteractiveConsole,
    "runsource": code.InteractiveInterpreter().runsource,
    "os.system": os.system,
    "os.popen": os.popen,
    "subprocess.run": subprocess.run,
    "Popen": subprocess.Popen,
    "namedtuple": collections.namedtuple,
    "multiprocessing.Pool": multiprocessing.Pool,
    "ProcessPoolExecutor": concurrent.futures.process.ProcessPoolExecutor,
    "OpenerDirector.open": urllib.request.OpenerDirector().open,
    "dbm.dumb.open": dbm.dumb.open,
    "netrc": netrc.netrc,
    "mbox": mailbox.mbox,
    "SMTP": smtplib.SMTP,
    "create_connection": socket.create_connection,
    "iterparse": xml.etree.ElementTree.iterparse,
    "os.kill": os.kill,
    "os._exit": os._exit,
    "a structure with a text": Named,
    "a class of arrays of texts": ctypes.c_char_p * 2,
}
"""What a service may have exported and a restricted peer does not call."""

POOL = concurrent.futures.ThreadPoolExecutor(1)

HARMLESS: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "len": (len, ("ab",), 2),
    "int": (int, ("5",), 5),
    "a class": (datetime.date, (2000, 1, 1), None),
    "a function": (function, (), 1),
    "a method": (Plain().method, (), 5),
    "a builtin method": ([3, 4].index, (4,), 1),
    "os.getcwd": (os.getcwd, (), os.getcwd()),
    "gethostname": (socket.gethostname, (), socket.gethostname()),
    "an error of a refused module": (smtplib.SMTPException, ("x",), None),
    "an attrgetter": (operator.attrgetter("real"), (5,), 5),
    "an itemgetter": (operator.itemgetter(1), ((5, 6),), 6),
    "a partial": (functools.partial(max, 3), (4,), 4),
    "a cached function": (functools.lru_cache(len), ("abc",), 3),
    "a weak reference": (weakref.ref(function), (), None),
    "a plain text": ("{} and {1:>{0}}".replace("{}", "{0}").format, (3, "x"), "3 and   x"),
    "join": ("-".join, (("a", "b"),), "a-b"),
    "an enum": (Color, (1,), None),
    "operator.add": (operator.add, (1, 2), 3),
    "a proxy of a function": (weakref.proxy(function), (), 1),
    "an instance that calls len": (called_with(len), ("ab",), 2),
    "an instance that calls a function": (called_with(staticmethod(function)), (), 1),
    "a dispatched function": (dispatched, (5,), "any"),
    "submit": (POOL.submit, (len, "abc"), None),
    "a path's part": (pathlib.Path("a").joinpath, ("b",), None),
    "a template": (string.Template("$a").substitute, ({"a": 1},), "1"),
}
"""What may be exported and is called: callable, arguments, result (None: of no interest)."""

_running = generator()
next(_running)
SUBJECTS: dict[str, tuple[Any, str]] = {
    "a pointer": (ctypes.pointer(ctypes.c_int(5)), "contents __getitem__ __setitem__ value"),
    "a text of C": (ctypes.c_char_p(b"x"), "value"),
    **{
        f"an array of {kind.__name__}": ((kind * 2)(), "__getitem__ __setitem__ __delitem__")
        for kind in (
            *(ctypes.c_char_p, ctypes.c_wchar_p, ctypes.py_object, ctypes.POINTER(ctypes.c_int)),
            *(Named, Either, ctypes.c_char_p * 2, ctypes.CFUNCTYPE(ctypes.c_int), OwnText),
        )
    },
    "a structure with a text": (Named(b"x", 1), "name"),
    "a structure of structures": (Nesting(), "inner texts"),
    "a union with a text": (Either(), "text number"),
    "a proxy of an array": (weakref.proxy(TEXTS := (ctypes.c_char_p * 2)()), "__getitem__"),
    "a text": (Text("{0.__class__}"), "format format_map"),
    "a class of texts": (Text, "format format_map mro"),
    "a formatter": (string.Formatter(), "format vformat get_field get_value"),
    "a function": (dispatched, "register registry dispatch __globals__ __code__ func_globals"),
    "a method": (Plain().method, "__self__ __func__ im_self im_func"),
    "a builtin method": ([].append, "__self__"),
    "a builtin function": (os.getcwd, "__self__ __module__ __reduce__"),
    "a partial": (functools.partial(function), "func args keywords"),
    "a property": (Plain.__dict__["computed"], "fget fset fdel getter setter deleter __set__"),
    "a cached property": (Plain.__dict__["kept"], "func"),
    "a partial method": (Plain.__dict__["partial"], "func args keywords"),
    "a generator": (_running, "gi_frame gi_code gi_yieldfrom"),
    "a frame": (sys._getframe(), "f_back f_globals f_locals f_builtins f_code clear"),
    "code": (function.__code__, "co_consts co_names co_code replace"),
    "a class": (Plain, "mro __subclasses__ __new__ __init__ __init_subclass__ __mro__ __bases__"),
    "an abstract class": (collections.abc.Sized, "register mro"),
    "an alias": (GenericAlias(list, (int,)), "mro append"),
    "an object": (Plain(), "json lazy_module __class__ __dict__ __reduce_ex__ __subclasshook__"),
    "a proxy of an object": (weakref.proxy(PLAIN := Plain()), "json lazy_module __class__"),
    "a context": (contextvars.copy_context(), "run"),
    "a logger": (logging.getLogger("tests.attacks"), "manager root parent handlers makeRecord"),
    "sys": (sys, "modules exit path stdout"),
    "gc": (gc, "get_objects"),
    "ctypes": (ctypes, "CDLL util"),
    "importlib.util": (importlib.util, "find_spec"),
    "a library": (ctypes.CDLL(None), "getpid system"),
    "a module": (json, "decoder encoder codecs"),
    "the module os": (os, "sys path abc"),
    "a path": (pathlib.Path("x"), "open read_text write_bytes unlink iterdir rename"),
    "a parser": (configparser.ConfigParser(), "read"),
    "a database": (sqlite3.connect(":memory:"), "enable_load_extension load_extension"),
    "a future": (concurrent.futures.Future(), "__class__"),
    "an event loop": (
        LOOP := asyncio.new_event_loop(),
        "subprocess_exec run_in_executor call_soon",
    ),
    "a console": (code.InteractiveInterpreter(), "runsource runcode locals compile"),
}
"""Objects, and names that a peer with public attributes does not get of them."""


NUMBERS = (ctypes.c_int * 2)(1, 2)
STRUCTURE = Numbers(1, (2.0, 3.0))


class Attic(rpyc.Service):
    """Exports whatever the tests name."""

    def __init__(self) -> None:
        self.exposed_callables = dict(CALLABLES)

    def exposed_callable(self, name: str) -> Any:
        return CALLABLES[name] if name in CALLABLES else HARMLESS[name][0]

    def exposed_subject(self, name: str) -> Any:
        return SUBJECTS[name][0]

    def exposed_object(self) -> Any:
        return PLAIN

    def exposed_numbers(self) -> Any:
        return NUMBERS

    def exposed_structure(self) -> Any:
        return STRUCTURE

    def exposed_items(self) -> Any:
        return [PLAIN]

    def exposed_put(self, items: Any, name: str) -> None:
        items.append([[CALLABLES[name]], items])

    def exposed_own(self) -> Any:
        return OwnFormat("x")

    def exposed_special(self, name: str) -> Any:
        return type("Special", (), dict.fromkeys(("__exit__", "__eq__"), CALLABLES[name]))()

    def exposed_class(self, name: str) -> Any:
        return {"generic": Generic, "subscripted": Subscripted, "list": list, "enum": Color}[name]


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    """Close what the subjects hold."""
    yield
    POOL.shutdown()
    LOOP.close()
    SUBJECTS["a database"][0].close()


@pytest.fixture(scope="module", params=FRONT_ENDS)
def attic(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Connect to a server that lets its peers read public names."""
    with client_of(request.param, Attic, allow_public_attrs=True) as conn:
        yield conn


def denied(func: Callable[..., Any], *args: Any) -> bool:
    """Return whether the policy of the server refused."""
    try:
        func(*args)
    except AttributeError as error:
        text = str(error)
        return "cannot call" in text or "cannot access" in text or "cannot pass on" in text
    except Exception:
        return False
    return False


@pytest.mark.parametrize("name", CALLABLES)
def test_ladders_are_not_called(attic: Any, name: str) -> None:
    """A callable by which a peer reaches what it names is called by no request."""
    func = attic.root.callable(name)
    request = attic.sync_request
    arguments: tuple[Any, ...] = ("{0.__class__}", "x") if name == "str.format" else ()
    assert denied(request, consts.HANDLE_CALL, func, arguments, ()), "CALL"
    assert denied(request, consts.HANDLE_CALLATTR, func, "__call__", arguments, ()), "CALLATTR"
    items = attic.root.callables
    steps = (
        (chain_interpreter.CALLATTR, (0, items), "__getitem__", ((0, name),), ()),
        (chain_interpreter.CALL, (1, 0, 0), tuple((0, value) for value in arguments), ()),
    )
    outcome = request(consts.HANDLE_CHAIN, steps, (1,))[1]
    assert outcome[0] == chain_interpreter.FAILED
    assert "cannot call" in str(outcome[1])


@pytest.mark.parametrize("name", HARMLESS)
def test_other_callables_are_called(attic: Any, name: str) -> None:
    """What leads nowhere is called."""
    args, expected = HARMLESS[name][1:]
    result = attic.root.callable(name)(*args)
    assert expected is None or result == expected


@pytest.mark.parametrize("name", ["getattr", "eval", "attrgetter", "partial"])
def test_ladders_are_not_passed_on(attic: Any, name: str) -> None:
    """A builtin that calls its argument is not given a ladder."""
    func = attic.root.callable(name)
    items = attic.root.items()
    assert denied(attic.sync_request, consts.HANDLE_CALLATTR, items, "sort", (), (("key", func),))
    assert denied(attic.sync_request, consts.HANDLE_CALL, attic.root.callable("len"), (func,), ())


@pytest.mark.parametrize("holder", ["tuple", "nested", "dict", "values", "iterator", "own list"])
def test_ladders_in_containers_are_not_passed_on(attic: Any, holder: str) -> None:
    """Nor is a container that has one, however deep, whoever has made it."""
    func, items, callables = (
        attic.root.callable("getattr"),
        attic.root.items(),
        attic.root.callables,
    )
    items.clear()
    ways: dict[str, Callable[[], Any]] = {
        "tuple": lambda: (func,),
        "nested": lambda: ((1, (func, 2)),),
        "dict": lambda: callables,
        "values": lambda: callables.values(),
        "iterator": lambda: callables.values().__iter__(),
        "own list": lambda: items,
    }
    given = ways[holder]()
    if holder == "own list":
        attic.root.put(items, "getattr")
    assert denied(attic.sync_request, consts.HANDLE_CALL, attic.root.callable("len"), (given,), ())
    assert denied(attic.sync_request, consts.HANDLE_CALLATTR, items, "extend", (given,), ())


@pytest.mark.parametrize(
    "name", ["type", "vars", "a static method of exec", "an instance that calls os.popen"]
)
def test_ladders_are_no_special_methods(attic: Any, name: str) -> None:
    """Leaving a block and comparing call no ladder either, with an exception or without."""
    special = attic.root.special(name)
    for error in (None, ValueError("x")):
        assert denied(attic.sync_request, consts.HANDLE_CTXEXIT, special, error)
    assert denied(attic.sync_request, consts.HANDLE_CMP, special, 5, "__eq__")


@pytest.mark.parametrize("name", SUBJECTS)
def test_names_that_lead_further_are_refused(attic: Any, name: str) -> None:
    """An exported object does not give what it is made of, and no module."""
    subject = attic.root.subject(name)
    for attribute in SUBJECTS[name][1].split():
        get = attic.sync_request
        assert denied(get, consts.HANDLE_GETATTR, subject, attribute), attribute
        assert denied(get, consts.HANDLE_CALLATTR, subject, attribute, (), ()), attribute
    shown = attic.sync_request(consts.HANDLE_DIR, subject)
    assert not {*shown} & {*SUBJECTS[name][1].split()} - {"lazy_module"}


def test_the_error_says_why(attic: Any) -> None:
    """A refusal names the key that would allow the access."""
    with pytest.raises(AttributeError, match=r"cannot call builtins.getattr.*allow_ladders"):
        attic.root.callable("getattr")(attic.root.object(), "x")
    with pytest.raises(AttributeError, match=r"cannot access 'format'.*allow_ladders"):
        attic.sync_request(consts.HANDLE_GETATTR, attic.root.subject("a text"), "format")
    with pytest.raises(AttributeError, match=r"cannot access 'json': it is a module"):
        attic.sync_request(consts.HANDLE_GETATTR, attic.root.object(), "json")


def test_tools_of_threads_call_no_ladders(attic: Any) -> None:
    """Functions of the standard library that call what they are given are given no ladder."""
    submit = attic.root.callable("submit")
    with pytest.raises(AttributeError, match=r"cannot pass on builtins\.getattr"):
        submit(attic.root.callable("getattr"), attic.root.object(), "value")
    assert submit(attic.root.callable("len"), "abc").result() == 3


@pytest.mark.parametrize("name", ["a pointer", "an array of c_char_p", "a structure with a text"])
def test_pointers_are_not_passed_on(attic: Any, name: str) -> None:
    """No function of the standard library reads memory for a peer."""
    pointer = attic.root.subject(name)
    for given in (pointer, (pointer,), ((1, (pointer,)),)):
        with pytest.raises(AttributeError, match="cannot pass on"):
            attic.root.callable("len")(given)


def test_numbers_of_ctypes_are_used(attic: Any) -> None:
    """Arrays of numbers, structures of them and numbers beside an address are read and set."""
    numbers = attic.root.exposed_numbers()
    numbers[1] = 5
    assert [numbers[0], numbers[1], len(numbers)] == [1, 5, 2]
    assert attic.root.callable("len")(numbers) == 2
    shape = attic.root.exposed_structure()
    assert (shape.one, shape.many[1], shape.total()) == (1, 3.0, 6.0)
    assert attic.root.subject("a structure with a text").number == 1
    assert attic.root.subject("a structure of structures").numbers[1] == 0


def test_a_server_starts_whatever_keys_an_object_has() -> None:
    """Keys of an object's dictionary that are no texts are no names for a peer."""
    odd = Plain()
    vars(odd).update({1: 2, (3,): 4})  # type: ignore[dict-item]
    access.warn_of_ladders(odd, {"allow_public_attrs": True})


def test_a_method_of_the_program_is_its_own(attic: Any) -> None:
    """A class that defines a method of a refused name itself exports its own code."""
    assert attic.root.own().format(1) == "own"


def test_classes_are_not_subscripted(attic: Any) -> None:
    """``cls[...]`` runs no ``__class_getitem__``; a metaclass's own subscription works."""
    for name in ("generic", "subscripted", "list"):
        cls = attic.root.exposed_class(name)
        assert denied(attic.sync_request, consts.HANDLE_CALLATTR, cls, "__getitem__", ("x",), ())
    color = attic.root.exposed_class("enum")
    assert attic.sync_request(consts.HANDLE_CALLATTR, color, "__getitem__", ("RED",), ())


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_program_may_add_a_name(front_end: str) -> None:
    """A name in the program's own ``safe_attrs`` is reachable, whatever it leads to."""
    added = SAFE_ATTRS | {"__class_getitem__", "__class__"}
    with client_of(front_end, Attic, safe_attrs=added) as conn:
        cls = conn.root.exposed_class("subscripted")
        assert conn.sync_request(consts.HANDLE_CALLATTR, cls, "__getitem__", ("x",), ()) == SECRET
        conn.sync_request(consts.HANDLE_GETATTR, conn.root.object(), "__class__")


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_who_may_do_everything_may_use_ladders(front_end: str) -> None:
    """Under ``allow_all_attrs`` nothing of this is refused."""
    with client_of(front_end, Attic, allow_all_attrs=True) as conn:
        assert conn.root.exposed_callable("getattr")(conn.root.exposed_object(), "value") == 5
        assert conn.root.exposed_object().json.dumps(1) == "1"
        assert conn.root.exposed_class("subscripted")["x"] == SECRET


@pytest.mark.parametrize("prefix", ["_", "__", "f_", "m", "for", "exposed_"])
def test_no_prefix_makes_an_unreachable_name(pair: Any, prefix: str) -> None:
    """Whatever the prefix is, what it makes of a name is none of those that lead out."""
    _, server = pair(Attic, there_config={"exposed_prefix": prefix, "allow_public_attrs": True})
    subjects = [Plain, Plain(), function, sys._getframe(), Text("x"), _running]
    for name in UNREACHABLE | {"format", "format_map"}:
        for subject in subjects:
            if name in ("format", "format_map") and type(subject) is not Text:
                continue
            for asked in (name, name.removeprefix(prefix)):
                if asked.startswith("_") or asked in UNREACHABLE or name.startswith(prefix):
                    with pytest.raises(AttributeError):
                        server._handle_getattr(subject, asked)


def test_names_that_make_instances_are_in_no_list() -> None:
    """Neither a server's nor a classic client's safe names lead to what was not exported."""
    assert not UNREACHABLE & SAFE_ATTRS
    assert not UNREACHABLE & CLIENT_ATTRS
    assert {
        *("__new__", "__init__", "__init_subclass__", "__class_getitem__", "__prepare__"),
        *("__subclasshook__", "__reduce__", "__reduce_ex__", "__subclasses__", "mro", "__mro__"),
        *("__bases__", "__self__", "__func__", "__wrapped__", "__closure__", "gi_frame"),
        *("cr_await", "ag_code", "tb_next", "f_back", "co_consts", "func_globals"),
    } <= UNREACHABLE


def test_a_classic_client_gives_no_ladders(pair: Any) -> None:
    """What a classic client has passed is no way into its program."""
    client, server = pair(rpyc.ClassicService, ClassicClient)
    names = ("getattr", "partial", "type", "eval", "open", "a text that looks up attributes")
    for number, name in enumerate(names):
        client.root.namespace[f"f{number}"] = CALLABLES[name]
    client.root.namespace["plain"] = PLAIN
    outcomes: list[bool] = []

    def attack() -> None:
        namespace = server._local_root.namespace
        for number in range(len(names)):
            outcomes.append(denied(namespace[f"f{number}"], namespace["plain"]))
        outcomes.append(denied(getattr, namespace["plain"], "json"))
        outcomes.append(namespace["plain"].method() == 5)

    thread = threading.Thread(target=attack)
    thread.start()
    while thread.is_alive():
        client.serve(0.01)
    assert outcomes == [True] * (len(names) + 2)


def test_overridden_checks_see_calls_and_names(pair: Any) -> None:
    """A program's own ``_check_attr`` is asked, and what it asks refuses ladders as well."""
    asked: list[str] = []

    class Audited(rpyc.core.protocol.Connection):
        def _check_attr(self, obj: Any, name: str, perm: str) -> str:
            asked.append(name)
            return super()._check_attr(obj, name, perm)

    class Service(Attic):
        _protocol = Audited

    client, _ = pair(Service, there_config={"allow_public_attrs": True})
    thing = client.root.object()
    assert denied(getattr, thing, "json")
    assert denied(client.root.callable("getattr"), thing, "x")
    assert denied(getattr, client.root.subject("a text"), "format")
    assert {"json", "format", "callable"} <= {*asked}


@pytest.mark.parametrize(
    "exported",
    [
        *(
            difflib.ndiff,
            difflib.SequenceMatcher,
            difflib.HtmlDiff(),
            difflib.HtmlDiff().make_table,
        ),
        *(functools.partial(difflib.ndiff, ["a"]), difflib.SequenceMatcher(None, "a", "b")),
    ],
)
def test_what_computes_for_long_is_called_and_warned_of(exported: Any) -> None:
    """Nothing bounds the time of a comparison, so a service is told that it exports one."""
    row = risk(exported)
    assert row is not None
    assert "difflib" in row.title
    check_call(exported, (["a"], ["b"]))
    assert risk(difflib.restore) is None


def test_the_table_is_closed() -> None:
    """Each row of the table names what it is about, and how it is decided."""
    for row in LADDERS:
        assert row.title and row.policy
        assert all(row.refused.values()), row.title
    kinds = [kind for row in LADDERS for kind in row.refused]
    assert len(kinds) == len({*kinds})


def test_objects_that_hold_one_another_are_looked_through_once() -> None:
    """Containers in themselves, and an object that calls itself, are passed on or refused."""
    items: list[Any] = [1, Plain()]
    items += [items, {"items": items}, (items,)]
    check_call(len, (items,))
    endless = called_with(None)
    type(endless).__call__ = endless
    assert ladder(endless) is not None


def test_looking_at_an_object_runs_none_of_its_code() -> None:
    """Whether something is a ladder is told by its type, not by what it says."""

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise AssertionError(name)

        def __instancecheck__(cls, instance: object) -> bool:
            raise AssertionError

    class Watched(metaclass=Meta):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __call__(self) -> None:
            raise AssertionError

    assert ladder(Watched) is None
    assert ladder(Watched()) is None
    check_call(Watched(), ())


class OwnShelf(shelve.Shelf):  # type: ignore[type-arg]
    """A class of the program's, with a method of its own."""

    def own(self) -> int:
        return 5


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int)]


CLOSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a shelf": (lambda: shelve.Shelf({}), "dict values items get"),
    "a shelf of the program's": (lambda: OwnShelf({}), "dict values"),
    "a text of collections": (lambda: collections.UserString("x"), "format format_map"),
    "a stack": (traceback.extract_stack, "from_list format append"),
    "an opener": (urllib.request.build_opener, "open handlers"),
    "a database": (lambda: sqlite3.connect(":memory:"), "execute executescript iterdump"),
    "options": (lambda: optparse.Values(), "read_file read_module"),
    "a parser of arguments": (argparse.ArgumentParser, "parse_known_args parse_args"),
    "a structure": (lambda: Point, "from_address from_buffer"),
    "a shell parser": (lambda: shlex.shlex("x"), "sourcehook push_source"),
    "robots": (urllib.robotparser.RobotFileParser, "read set_url"),
    "types of files": (mimetypes.MimeTypes, "read"),
    "cookies": (http.cookiejar.LWPCookieJar, "save load"),
    "a context manager": (lambda: contextlib.nullcontext(PLAIN), "enter_result"),
    "an attribute error": (lambda: AttributeError("x", obj=PLAIN), "obj"),
    "a timer": (lambda: threading.Timer(1, print), "args kwargs function"),
    "a finalizer": (lambda: weakref.finalize(PLAIN, print), "peek detach"),
    "a view of memory": (lambda: memoryview(b"secret")[:1], "obj"),
    "a time zone": (lambda: zoneinfo.ZoneInfo("UTC"), "no_cache from_file clear_cache"),
}
"""Objects of the standard library, and public names that its peers do not get."""

LISTED: dict[str, tuple[Any, str]] = {
    "a date": (datetime.date(2000, 1, 1), "year isoformat"),
    "a queue": (queue.Queue(), "put get"),
    "a time zone": (zoneinfo.ZoneInfo("UTC"), "key utcoffset tzname dst"),
    "a stream": (io.StringIO(), "read write"),
    "an event": (threading.Event(), "set wait"),
    "a counter": (collections.Counter(), "most_common items"),
    "an error": (OSError(2, "x"), "errno args"),
    "a JSON error": (json.JSONDecodeError("x", "y", 0), "msg pos"),
    "a namespace": (argparse.Namespace(port=1), "port"),
    "a method of the program's": (OwnShelf({}), "own"),
    "a field of the program's": (Point(), "x"),
    "a logger": (logging.getLogger("tests.attacks"), "info name"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_the_standard_library_is_closed(name: str) -> None:
    """An object of a class that is not listed gives no public name."""
    obj = CLOSED[name][0]()
    config = make_config({"allow_public_attrs": True})
    for attribute in CLOSED[name][1].split():
        with pytest.raises(AccessDenied, match="'allow_ladders'"):
            access.decide(config, obj, attribute, "allow_getattr")


@pytest.mark.parametrize("name", LISTED)
def test_values_of_the_standard_library_are_used(name: str) -> None:
    """Values, containers, locks and what a program's class adds have public names."""
    config = make_config({"allow_public_attrs": True})
    for attribute in LISTED[name][1].split():
        access.decide(config, LISTED[name][0], attribute, "allow_getattr")


class OwnBus(socketserver.BaseRequestHandler):
    """Keeps what its base keeps, and more."""

    limit = 3

    def __init__(self) -> None:
        self.volts = 5
        self.request = self.server = self.client_address = PLAIN

    @property
    def power(self) -> int:
        return self.volts**2


class OwnShell(cmd.Cmd):
    """Of a class that gives nothing itself."""

    def __init__(self) -> None:
        super().__init__()
        self.volts = 5

    def do_reset(self) -> None:
        pass


class OwnEncoder(json.JSONEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.volts = 5


class OwnLogger(logging.Logger):
    def __init__(self) -> None:
        super().__init__("x")
        self.volts = 5
        self.manager = logging.Logger.manager  # as the manager itself sets it


class OwnError(sqlite3.Error):
    def __init__(self) -> None:
        self.volts = 5


OWN: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a handler": (OwnBus, "volts limit power handle", "request server client_address setup"),
    "a shell": (OwnShell, "volts do_reset", "cmdloop stdin cmdqueue onecmd prompt"),
    "an encoder": (OwnEncoder, "volts encode", "skipkeys ensure_ascii"),
    "a logger": (OwnLogger, "volts info", "manager handlers parent filters"),
    "an error": (OwnError, "volts args", ""),
    "a shelf": (lambda: OwnShelf({}), "own", "dict writeback cache values"),
}
"""Objects of classes of the program that derive from the standard library: what is its own of
them, and what is not."""


@pytest.mark.parametrize("name", OWN)
def test_what_the_program_keeps_is_its_own(name: str) -> None:
    """Public attributes of a program's class and of its instances are read, inherited ones not."""
    make, own, inherited = OWN[name]
    obj = make()
    config = make_config({"allow_public_attrs": True})
    for attribute in own.split():
        if hasattr(obj, attribute) and attribute != "handle":
            assert access.decide(config, obj, attribute, "allow_getattr")[0] == attribute
            assert access.visible(config, obj, attribute)
    for attribute in inherited.split():
        with pytest.raises(AccessDenied):
            access.decide(config, obj, attribute, "allow_getattr")
        assert not access.visible(config, obj, attribute)


def test_what_the_program_keeps_is_its_own_for_emacs_and_erlang() -> None:
    """Protocols without a configuration decide the same."""
    assert access_policy.public(OwnBus(), ["volts"]) == 5
    with pytest.raises(AccessDenied):
        access_policy.public(OwnBus(), ["request"])


@pytest.mark.parametrize("func", [codecs.open, gzip.open, zipfile.ZipFile, profile.run])
def test_functions_that_open_files_are_not_called(func: Any) -> None:
    """An exported function of the library that opens files or runs code is refused, as open is."""
    with pytest.raises(AccessDenied, match="cannot call"):
        check_call(func, ())


# -- warnings


class Careless(rpyc.Service):
    """Exports ladders, and things that look like them."""

    exposed_get = getattr
    exposed_tools = operator
    exposed_sys = sys
    exposed_static = staticmethod(exec)
    exposed_bound = functools.partial(setattr, Plain())
    exposed_formatter = string.Formatter()
    exposed_annotated: type
    exposed_reader = operator.attrgetter("value")
    exposed_logger = logging.getLogger("tests.attacks")
    exposed_length = len
    hidden = eval

    class exposed_Inner:  # noqa: N801
        exposed_make = type

    @property
    def exposed_computed(self) -> Any:
        raise AssertionError("was run")

    def exposed_method(self) -> Any:
        return eval


NAMED = "exposed_get exposed_tools exposed_sys exposed_static exposed_bound exposed_formatter"


def servers() -> dict[str, Callable[..., Any]]:
    """Return every family of servers."""
    found: dict[str, Callable[..., Any]] = {
        "threaded": rpyc.ThreadedServer,
        "pool": rpyc.ThreadPoolServer,
        "one shot": rpyc.OneShotServer,
        "asyncio": aio.Server,
    }
    if hasattr(os, "fork"):
        found["forking"] = rpyc.ForkingServer
    return found


@pytest.mark.parametrize("family", servers())
@pytest.mark.parametrize("given", [Careless, Careless()], ids=["class", "instance"])
def test_a_service_is_warned_once(
    family: str, given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A server of each family names what its service exports and should not, in one line."""
    server = servers()[family](given, port=0)
    closed = server.close()
    if closed is not None:
        asyncio.run(closed)
    (record,) = [one for one in caplog.records if "leads further" in one.getMessage()]
    assert record.levelno == logging.WARNING
    assert record.name.startswith("rpyc_like.")
    for name in (*NAMED.split(), "exposed_Inner.exposed_make", "Careless"):
        assert name in record.getMessage(), name
    for name in ("annotated", "reader", "logger", "length", "hidden", "computed", "method"):
        assert f"exposed_{name}" not in record.getMessage(), name


class Kept:
    """Has a ladder where nobody looks first."""

    def __init__(self, value: Any) -> None:
        self.exposed_value = value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Kept(eval), "exposed_it.exposed_value"),
        ({"key": eval}, "exposed_it['key']"),
        ([1, eval], "exposed_it[1]"),
        ((Kept([eval]),), "exposed_it[0].exposed_value[0]"),
        ({eval}, "exposed_it[...]"),
        (collections.deque([eval]), "exposed_it[0]"),
        (functools.partialmethod(getattr), "exposed_it"),
        (string.Formatter, "exposed_it"),
        (weakref.proxy(os.popen), "exposed_it"),
        (weakref.proxy(KEPT := Kept(eval)), "exposed_it.exposed_value"),
        (called_with(staticmethod(os.popen)), "exposed_it"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_kept_in_objects_is_looked_at(
    value: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A ladder in an exported object or container is named at start, with the way to it."""
    service = type("Keeper", (rpyc.Service,), {"exposed_it": value})
    rpyc.ThreadedServer(service, port=0).close()
    (record,) = [one for one in caplog.records if "leads further" in one.getMessage()]
    assert f"{path} (" in record.getMessage()


def test_an_object_that_holds_itself_is_looked_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """There is an end to looking, also where objects lead to one another."""
    kept = Kept([])
    kept.exposed_value.append(kept)
    rpyc.ThreadedServer(type("Keeper", (rpyc.Service,), {"exposed_it": kept}), port=0).close()
    assert not [one for one in caplog.records if "leads further" in one.getMessage()]


def test_instance_attributes_are_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """What an instance has of its own is exported as well."""

    class Late(rpyc.Service):
        def __init__(self) -> None:
            self.exposed_late = functools.partial

    rpyc.ThreadedServer(Late(), port=0).close()
    assert "exposed_late (functools.partial)" in caplog.text


class Unhashable(type):
    """A metaclass whose classes cannot be told apart by hash and equality."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("code of the program")


class Odd(metaclass=Unhashable):
    def __call__(self) -> int:
        return 3


class OddService(rpyc.Service):
    exposed_odd = Odd()
    exposed_kind = Odd

    def exposed_make(self) -> Odd:
        return Odd()


def test_classes_are_told_apart_by_identity() -> None:
    """Deciding, warning and listing run no ``__hash__`` and ``__eq__`` of a metaclass."""
    check_call(OddService.exposed_odd, (OddService.exposed_odd,))
    check_call(len, (Odd,))
    rpyc.ThreadedServer(OddService, port=0).close()
    paths = [node.path for node in exposes(OddService, make_config(None))]
    assert {"odd", "kind", "make", "make()"} <= set(paths)


@pytest.mark.parametrize("service", [rpyc.VoidService, rpyc.ClassicService, Attic])
def test_others_are_not_warned(service: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A service without ladders, and one that gives everything, are warned of nothing."""
    rpyc.ThreadedServer(service, port=0, insecure=True).close()
    rpyc.ThreadedServer(Careless, port=0, protocol_config={"allow_all_attrs": True}).close()
    assert "leads further" not in caplog.text


def test_erlang_services_are_warned(caplog: pytest.LogCaptureFixture) -> None:
    """Registered modules for which the policy is closed are named; usual ones are not."""
    ErlangService({"s": sys, "j": json, "p": Plain()})
    (record,) = caplog.records
    assert record.getMessage() == "! Erlang is given s, of which the policy refuses most"
    ErlangService({"s": sys}, all_modules=True)
    assert len(caplog.records) == 1


# -- EPC


def test_emacs_reaches_no_ladder() -> None:
    """The same policy decides what Emacs reaches of a registered instance."""
    dispatcher = EPCDispatcher()
    dispatcher.register_instance(Plain(), allow_dotted_names=True)
    assert dispatcher.get_method("method")() == 5
    for name in ("json", "json.dumps", "lazy_module.system", "method.__func__", "kept.real.x.mro"):
        with pytest.raises(AttributeError):
            dispatcher.get_method(name)
    space = types.SimpleNamespace(get=getattr, text="{0.__class__}", run=function)
    dispatcher.register_instance(space, allow_dotted_names=True)
    assert dispatcher.get_method("run")() == 1
    for name in ("get", "text.format"):
        with pytest.raises(AccessDenied):
            dispatcher.get_method(name)


# -- Erlang


def test_erlang_reaches_no_ladder() -> None:
    """The same policy decides what Erlang reaches of registered objects."""
    registered = {
        "plain": Plain(),
        "texts": types.SimpleNamespace(text="{0.__class__}", own=OwnFormat("x")),
        "sys": sys,
        "json": json,
    }
    resolve = only(registered)
    assert resolve("plain", "method")() == 5
    assert resolve("json", "dumps")(1) == "1"
    assert resolve("texts", "own.format")() == "own"
    for module, path in [
        *(("plain", "json"), ("plain", "json.dumps"), ("plain", "lazy_module.system")),
        *(("texts", "text.format"), ("sys", "exit"), ("json", "codecs.open")),
        *(("plain", "method.__func__"), ("plain", "__class__.mro")),
    ]:
        with pytest.raises(AccessDenied):
            resolve(module, path)
    with pytest.raises(AccessDenied):
        public(b"x".decode(), "format")


@pytest.mark.parametrize("how", ["call", "method", "keep", "direct"])
def test_erlang_calls_no_ladder(how: str) -> None:
    """Neither by name nor by handle does Erlang call what leads further."""
    space = types.SimpleNamespace(get=getattr, make=functools.partial, run=function)
    instance = Instance.__new__(Instance)
    instance.handles = Handles()
    instance._resolve = only({"space": space})
    instance._max_result = 1 << 26
    requests: dict[str, Callable[[str], Any]] = {
        "call": lambda name: instance._builtin("call", (getattr(space, name), ())),
        "method": lambda name: instance._builtin("method", (space, Atom(name.encode()), ())),
        "keep": lambda name: (
            instance._builtin("keep", (Atom(b"space"), Atom(name.encode()), ())).value
        ),
        "direct": lambda name: instance._do(instance._resolve("space", name), (), {}),
    }
    for name in ("get", "make"):
        with pytest.raises(AccessDenied, match="cannot call"):
            requests[how](name)
    assert requests[how]("run") == 1


def test_futures_of_asyncio_give_no_loop() -> None:
    """A future and a task give their results, and neither loop nor frames."""
    future = LOOP.create_future()
    assert access.visible(make_config({"allow_public_attrs": True}), future, "done")
    for name in ("get_loop", "get_stack", "get_coro"):
        assert not access.visible(make_config({"allow_public_attrs": True}), future, name)
    assert ladder(future.get_loop) is not None
    assert ladder(future.done) is None


def test_iteration_goes_on() -> None:
    """The table covers no iterator of itertools."""
    assert all(ladder(func) is None for func in (itertools.chain, itertools.count, map, sorted))
    assert access_policy.MISSING is not None


def test_a_service_that_means_it_may_export_ladders(pair: Callable[..., Any]) -> None:
    """Under ``allow_ladders`` the table is off, and the interpreter's internals stay private."""

    class Files(rpyc.Service):
        exposed_open = staticmethod(open)

        def exposed_here(self) -> pathlib.Path:
            return pathlib.Path(__file__)

    client, _ = pair(Files, there_config={"allow_public_attrs": True, "allow_ladders": True})
    with client.root.open(__file__) as file:
        assert file.read(3) == '"""'
    assert client.root.here().read_text()[:3] == '"""'
    for name in ("__class__", "__reduce_ex__", "__init__"):
        with pytest.raises(AttributeError):
            client.sync_request(consts.HANDLE_GETATTR, client.root.here(), name)


def test_a_refusal_names_the_key(pair: Callable[..., Any]) -> None:
    """What is refused by the table says which key allows it."""

    class Files(rpyc.Service):
        exposed_open = staticmethod(open)

        def exposed_here(self) -> pathlib.Path:
            return pathlib.Path(__file__)

    client, _ = pair(Files, there_config={"allow_public_attrs": True})
    with pytest.raises(AttributeError, match="'allow_ladders'"):
        client.root.open(__file__)
    with pytest.raises(AttributeError, match="'allow_ladders'"):
        client.root.here().read_text()
