"""A process that serves, or connects, while its audit events are judged.

``python -m tests.attacks.audit.victim SHAPE`` reads commands from standard input and answers each
with one line of JSON. :class:`tests.attacks.audit.running.Victim` starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import linecache
import logging
import os
import pkgutil
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
from typing import Any

import rpyc_like
from rpyc_like import ThreadedServer, aio
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import ThreadingEPCServer
from rpyc_like.erlport.service import ErlangService
from rpyc_like.lib import background_loop

from . import canaries, client, services, watch

TIMEOUTS = {"sync_request_timeout": 2}
_SKIPPED = ("rpyc_like.alias", "rpyc_like.remote_scripts", "rpyc_like.cli", "rpyc_like.core.async")
_LATE = (
    *(
        "encodings.idna",
        "encodings.ascii",
        "encodings.latin_1",
        "encodings.unicode_escape",
        "encodings.raw_unicode_escape",
    ),
    *(
        "stringprep",
        "zoneinfo",
        "_strptime",
        "pickle",
        "sqlite3",
        "subprocess",
        "shutil",
        "http.client",
    ),
    *("asyncio", "concurrent.futures.thread", "concurrent.futures.process", "multiprocessing"),
    *(
        "importlib.util",
        "tracemalloc",
        "unicodedata",
        "numbers",
        "gettext",
        "colorsys",
        "difflib",
        "code",
        "codeop",
    ),
    *(
        "xml.dom.minidom",
        "json",
        "string",
        "locale",
        "textwrap",
        "ipaddress",
        "csv",
        "configparser",
    ),
    *("_pydecimal", "_pydatetime", "encodings.utf_16", "encodings.utf_32", "encodings.cp437"),
)


def import_all() -> None:
    """Import what this package, and the library for it, import on first use."""
    for module in pkgutil.walk_packages(rpyc_like.__path__, "rpyc_like."):
        if module.name.startswith(_SKIPPED) or module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except Exception:
            pass  # gevent and others that are not installed
    for name in _LATE:
        try:
            importlib.import_module(name)
        except ImportError:
            pass


def read_sources() -> None:
    """Have the lines of all sources at hand, so that a traceback opens no file."""
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if type(name) is str and name.endswith(".py"):
            linecache.getlines(name)


class Formatter(logging.Formatter):
    """Formats all of a record, and nothing is written."""

    def formatException(self, info: Any) -> str:
        return "".join(traceback.format_exception(*info))


class Formats(logging.Handler):
    """Formats records: arguments of log calls are looked at as they would be."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.format(record)
        except Exception:
            pass


def quiet() -> None:
    """Log to nowhere, and tell nothing about where a log call is."""
    logging._srcfile = None  # type: ignore[attr-defined]
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = Formats()
    handler.setFormatter(Formatter())
    for logger in (logging.getLogger(), logging.getLogger("epc")):
        logger.handlers = [handler]
    logging.getLogger().setLevel(logging.DEBUG)
    logging.raiseExceptions = False
    threading.excepthook = lambda args: None
    sys.unraisablehook = lambda args: None


def class_names() -> list[tuple[str, str]]:
    """Return the module and name of each class that is imported here, sorted."""
    found = set()
    for name, module in sorted(sys.modules.items()):
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if isinstance(value, type) and type(key) is str:
                found.add((name, key))
    return sorted(found)


class Victim:
    """What is served, and the commands about it.

    Args:
        name: of the shape; ``module:NAME`` for a shape that a test defines.
    """

    def __init__(self, name: str) -> None:
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="audit-"))
        if ":" in name:
            module, _, attribute = name.partition(":")
            self.shape: services.Shape = getattr(importlib.import_module(module), attribute)
        else:
            self.shape = services.SHAPES[name]
        self.target = os.path.join(self.folder, "download")
        self.here = os.path.join(self.folder, "here")
        os.mkdir(self.here)
        os.chdir(self.here)  # so that it shows what is written under a bare name
        self.watch = watch.Watch(watch.read_expected(), self.target)
        self.server: Any = None
        self._threads: set[threading.Thread] = set()

    def serve(self) -> int:
        """Begin to serve; return the port."""
        start = getattr(self, f"_serve_{self.shape.kind}")
        return int(start())

    def _spawn(self, func: Any) -> None:
        thread = threading.Thread(target=func, daemon=True)
        thread.start()

    def _started(self, service: Any, **options: Any) -> int:
        config = {**TIMEOUTS, **self.shape.config}
        self.server = ThreadedServer(
            service, hostname="127.0.0.1", port=0, protocol_config=config, **options
        )
        self._spawn(self.server.start)
        while not self.server.active:
            time.sleep(0.001)
        return int(self.server.port)

    def _serve_rpyc(self) -> int:
        return self._started(self.shape.service)

    def _serve_erlang(self) -> int:
        one = services.Registered()
        return self._started(ErlangService({"one": one, "things": services.Special}))

    def _serve_epc(self) -> int:
        self.server = ThreadingEPCServer(("127.0.0.1", 0))
        for func in services.functions():
            self.server.register_function(func)
        self.server.register_instance(services.Registered(), allow_dotted_names=True)
        self._spawn(self.server.serve_forever)
        return int(self.server.server_address[1])

    def _serve_aio(self) -> int:
        ready = threading.Event()

        async def run() -> None:
            config = {**TIMEOUTS, **self.shape.config}
            self.server = aio.Server(
                self.shape.service, hostname="127.0.0.1", port=0, protocol_config=config
            )
            async with self.server:
                ready.set()
                await self.server.serve_forever()

        self._spawn(lambda: asyncio.run(run()))
        ready.wait()
        return int(self.server.port)

    def _serve_client(self) -> int:
        return 0

    def warm_up(self) -> None:
        """Serve an honest peer, so that what is done once is done."""
        background_loop.run_in_background(asyncio.sleep(0)).result()
        kind = self.shape.kind
        if kind in ("rpyc", "aio"):
            with rpyc_like.connect("127.0.0.1", self.server.port) as conn:
                conn.ping()
                with contextlib.suppress(Exception):
                    conn.root.nothing()
        elif kind == "client":
            os.makedirs(self.target, exist_ok=True)
            server = ThreadedServer(
                rpyc_like.ClassicService, hostname="127.0.0.1", port=0, insecure=True
            )
            self._spawn(server.start)
            while not server.active:
                time.sleep(0.001)
            client.run(server.port, self.target)
            server.close()
        elif kind == "epc":
            with EPCClient(self.server.server_address) as epc:
                epc.call_sync("echo", [1])
        elif kind == "erlang":
            with socket.create_connection(("127.0.0.1", self.server.port)) as sock:
                sock.sendall(b"\0\0\0\x02\x83j")
                sock.recv(100)
        end = time.monotonic() + 3
        while self._clients() and time.monotonic() < end:
            time.sleep(0.001)

    # -- commands

    def command(self, name: str, value: Any = None) -> Any:
        """Do what is asked; return the answer."""
        return getattr(self, f"_do_{name}")(value)

    def _do_names(self, value: Any) -> Any:
        """Return the classes that are imported here, and the names that the service exposes."""
        kind = self.shape.service
        names = [] if kind is None else [name for name in dir(kind) if name.startswith("exposed_")]
        return class_names(), names

    def _do_go(self, value: tuple[int, str]) -> str:
        """Have the client do what it does, in a thread that is judged."""
        os.makedirs(self.target, exist_ok=True)
        args = (value[0], self.target, value[1])
        thread = threading.Thread(target=client.run, args=args, daemon=True)
        self._threads.add(thread)
        thread.start()
        return "gone"

    def _do_look(self, value: Any) -> str:
        self.watch.look()
        return "looked"

    def _do_take(self, value: Any) -> Any:
        """Wait until nobody is connected, and tell what was found."""
        end = time.monotonic() + 3
        for thread in list(self._threads):
            thread.join(max(0, end - time.monotonic()))
            self._threads.discard(thread)
        while self._clients() and time.monotonic() < end:
            time.sleep(0.0005)
        gc.collect()
        self.watch.forget_types()
        for name in self.take_files_away():
            self.watch.note("file", name)
        found = [tuple(one) for one in self.watch.take()]
        stuck = self._clients()
        return {"findings": found, "events": self.watch.events, "stuck": stuck}

    def take_files_away(self) -> list[str]:
        """Remove what is written beside the folder that the program names; return its names."""
        beside = {os.path.join(self.folder, name) for name in os.listdir(self.folder)}
        beside |= {os.path.join(self.here, name) for name in os.listdir(self.here)}
        beside -= {self.target, self.here}
        for path in beside:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        return sorted(os.path.relpath(path, self.folder) for path in beside)

    def _clients(self) -> int:
        if self.shape.kind == "aio":
            return len(self.server.connections)
        return len(getattr(self.server, "clients", ()))

    def _do_seen(self, value: Any) -> Any:
        return self.watch.seen


def main() -> None:
    """Serve until standard input ends."""
    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # peers may get standard input
    import_all()
    quiet()
    victim = Victim(sys.argv[1])
    port = victim.serve()
    victim.warm_up()
    warm_up()
    read_sources()
    victim.take_files_away()
    victim.watch.arm()
    about = {"port": port, "folder": victim.folder, "kind": victim.shape.kind}
    print(json.dumps(about), file=answers, flush=True)
    for line in commands:
        name, value = json.loads(line)
        print(json.dumps(victim.command(name, value)), file=answers, flush=True)
    os._exit(0)


def warm_up() -> None:
    """Do once what the interpreter itself does differently the first time."""
    try:
        raise ValueError("warm")
    except ValueError as error:
        traceback.format_exception(error)
        logging.getLogger("warm").exception("warm")
    types.new_class("Warm", ())
    "warm".encode("idna")
    assert canaries.KEPT is not None


if __name__ == "__main__":
    main()
