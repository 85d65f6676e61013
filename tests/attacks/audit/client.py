"""The program of the victim that is a classic client: ordinary things, whatever the server says."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Callable
from typing import Any

import rpyc_like as rpyc
from rpyc_like.core.service import ClassicClient
from rpyc_like.core.stream import SocketStream
from rpyc_like.utils import classic, factory

from . import services

__all__ = ["run"]

REMOTE = "/no-such-folder"
"""Where the server's files are supposed to be."""


def modules(conn: Any, target: str) -> Any:
    return conn.modules.os.getcwd(), conn.modules["xml.dom"].name, "json" in conn.modules


def evaluate(conn: Any, target: str) -> Any:
    conn.execute("x = 1")
    return conn.eval("x"), conn.namespace["x"]


def iterate(conn: Any, target: str) -> Any:
    found = []
    for value in conn.modules.sys.path:
        found.append(f"{value}")
        if len(found) > 20:
            break
    return found


def containers(conn: Any, target: str) -> Any:
    made = conn.builtins.dict
    one = made(a=1)
    return len(one), "a" in one, list(one.items())[:20], one == {"a": 1}, bool(one)


def callbacks(conn: Any, target: str) -> Any:
    return conn.builtins.map(lambda value: value, services.Thing()), conn.root.call(services.helper)


def exceptions(conn: Any, target: str) -> Any:
    try:
        return conn.modules.sqlite3.connect("nowhere")
    except conn.modules.sqlite3.Error as error:
        return str(error), error.args
    except services.Broken as error:
        return error.state
    except OSError as error:
        return error.filename


def classes(conn: Any, target: str) -> Any:
    kind = conn.modules.collections.OrderedDict
    one = kind()
    return isinstance(one, kind), isinstance(one, dict), issubclass(kind, dict), repr(one)


def snapshot(conn: Any, target: str) -> Any:
    copied = rpyc.snapshot(conn.modules.sys.implementation)
    return str(copied), copied == 1, getattr(copied, "name", None)


def download(conn: Any, target: str) -> Any:
    classic.download(conn, REMOTE, os.path.join(target, "data"))


def download_file(conn: Any, target: str) -> Any:
    classic.download_file(conn, f"{REMOTE}/file", os.path.join(target, "file"))


def upload(conn: Any, target: str) -> Any:
    with open(os.path.join(target, "sent"), "wb") as file:
        file.write(b"sent")
    classic.upload(conn, os.path.join(target, "sent"), f"{REMOTE}/sent")


def with_remote(conn: Any, target: str) -> Any:
    with conn.builtins.open(f"{REMOTE}/file") as file:
        return [line for _, line in zip(range(5), file)]


def teleport(conn: Any, target: str) -> Any:
    return conn.teleport(services.some)([1, 2])


def pipeline(conn: Any, target: str) -> Any:
    with conn.pipeline() as there:
        path = there.root.getmodule("os").path
        asked = path.isdir(REMOTE), there.map(lambda one: one.name, there.root.things())
    return there.fetch(*asked)


def later(conn: Any, target: str) -> Any:
    result = rpyc.async_(conn.modules.time.sleep)(0)
    result.set_expiry(1)
    return result.value


def lists(conn: Any, target: str) -> Any:
    names = conn.modules.os.listdir(REMOTE)
    return sorted(names)[:20], [os.path.join("/tmp", name) for name in names[:5]]


def names(conn: Any, target: str) -> Any:
    return dir(conn.root)[:20], dir(conn.modules.os)[:20], conn.root.__doc__


def stdio(conn: Any, target: str) -> Any:
    with classic.redirected_stdio(conn):
        conn.execute("print(1)")


def items(conn: Any, target: str) -> Any:
    return [value for _, value in zip(range(20), rpyc.buffiter(conn.builtins.range(10), 5))]


def arithmetic(conn: Any, target: str) -> Any:
    one = conn.modules.decimal.Decimal("1.5")
    return one + 1, 2 * one, -one, int(one), float(one), round(one), one < 2, hash(one)


STEPS: tuple[Callable[[Any, str], Any], ...] = (
    *(modules, evaluate, iterate, containers, callbacks, exceptions, classes, snapshot, download),
    *(download_file, upload, with_remote, teleport, pipeline, later, lists, names, stdio, items),
    *(arithmetic,),
)


def run(port: int, target: str, seed: str = "") -> None:
    """Connect, do all of that in some order, and hang up."""
    try:
        sock = socket.create_connection(("127.0.0.1", port), timeout=2)
        conn = factory.connect_stream(
            SocketStream(sock), ClassicClient, config={"sync_request_timeout": 2}
        )
    except Exception:
        return
    with contextlib.suppress(Exception):
        conn.root
    for step in random.Random(seed).sample(STEPS, len(STEPS)):
        with contextlib.suppress(Exception):
            step(conn, target)
    with contextlib.suppress(Exception):
        conn.close()
