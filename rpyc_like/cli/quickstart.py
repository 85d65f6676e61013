"""The tour: a classic server in another process, and what one does with it.

In a terminal it is an interactive session; elsewhere it narrates. ``bin/quickstart`` starts it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..core.protocol import Connection
from ..core.service import ClassicService
from ..lib.threads import spawn
from ..utils import classic
from ..utils.children import START_TIMEOUT, Child, Output
from ..utils.helpers import async_
from ..utils.server import ThreadedServer

__all__ = ["main", "serve", "tour"]

_FOLDER = Path(__file__).resolve().parent.parent


def serve() -> None:
    """Runs a classic server on a free loopback port until standard input ends.

    What the server prints goes to standard error; standard output is for the port.
    """
    server = ThreadedServer(ClassicService, hostname="127.0.0.1", port=0)
    print(server.port, flush=True)
    os.dup2(2, 1)
    spawn(server.start)
    while os.read(0, 4096):
        pass
    server.close()


def start_server() -> tuple[Child, int]:
    """Starts :func:`serve` in another process; returns the process and its port.

    Raises:
        SystemExit: it does not start; the text says why.
    """
    args = [sys.executable, "-u", "-m", "rpyc_like.cli.quickstart", "--serve"]
    server = Child(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    Output(server.stdout, lines.put, lambda: lines.put(""))
    try:
        return server, int(lines.get(timeout=START_TIMEOUT))
    except queue.Empty:
        server.kill()
        raise SystemExit(f"the server did not start within {START_TIMEOUT:g} s") from None
    except ValueError:
        server.kill()
        raise SystemExit(f"the server did not start: {server.epitaph()}") from None


def stop_server(server: Child) -> None:
    """Ends the server's process and waits for it."""
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _title(number: int, text: str) -> None:
    print(f"\n{number}. {text}", flush=True)


def tour(conn: Connection) -> None:
    """Shows what a classic connection can do, in words a newcomer follows."""
    ours, theirs = __import__("os").getpid(), conn.modules.os.getpid()
    print(f"This is process {ours}; conn.modules.os.getpid() says {theirs}: the other one.")
    rows = _show_listing(conn)
    with tempfile.TemporaryDirectory() as folder:
        _show_xml(conn, Path(folder) / "files.xml", rows)
        _show_sqlite(conn, Path(folder) / "files.db", rows)
    _show_callback(conn)
    _show_exception(conn)
    _show_async(conn)


def _show_listing(conn: Connection) -> list[tuple[str, int, str]]:
    _title(1, f"A remote ls of {_FOLDER}")
    os, pwd = conn.modules.os, _owners(conn)
    rows = []
    for name in sorted(os.listdir(str(_FOLDER))):
        info = os.stat(os.path.join(str(_FOLDER), name))
        rows.append((name, int(info.st_size), pwd(info.st_uid)))
    for name, size, owner in rows:
        print(f"   {size:>8}  {owner:<10}  {name}")
    return rows


def _owners(conn: Connection) -> Any:
    """Returns a function from a user number to a name, as far as the other side knows names."""
    if "pwd" not in conn.modules:
        return str

    def owner(number: int) -> str:
        try:
            return str(conn.modules.pwd.getpwuid(number).pw_name)
        except KeyError:
            return str(number)

    return owner


def _show_xml(conn: Connection, path: Path, rows: list[tuple[str, int, str]]) -> None:
    _title(2, "xml.dom.minidom over there: builds, writes and reads back a file")
    minidom = conn.modules["xml.dom.minidom"]
    document = minidom.Document()
    listing = document.appendChild(document.createElement("listing"))
    for name, size, _ in rows:
        entry = listing.appendChild(document.createElement("file"))
        entry.setAttribute("name", name)
        entry.setAttribute("size", str(size))
    with conn.builtins.open(str(path), "w") as file:
        document.writexml(file, newl="\n")
    files = minidom.parse(str(path)).getElementsByTagName("file")
    print(f"   {path} has {len(files)} entries, the first is {files[0].toxml()}")


def _show_sqlite(conn: Connection, path: Path, rows: list[tuple[str, int, str]]) -> None:
    _title(3, "sqlite3 over there: a real database, driven from here")
    database = conn.modules.sqlite3.connect(str(path))
    database.execute("create table files (name text, size integer, owner text)")
    for row in rows:
        database.execute("insert into files values (?, ?, ?)", row)
    database.commit()
    query = "select name, size from files order by size desc limit 3"
    for name, size in database.execute(query):
        print(f"   {name}: {size} bytes")
    database.close()


def _show_callback(conn: Connection) -> None:
    _title(4, "A callback: the server calls a function of this process")
    seen = []

    def key(word: str) -> int:
        seen.append(word)
        return len(word)

    words = conn.builtins.sorted(("pear", "fig", "banana"), key=key)
    print(f"   remote sorted() asked here for each of {seen} and gave {list(words)}")


def _show_exception(conn: Connection) -> None:
    _title(5, "An exception: raised there, caught here")
    try:
        conn.modules.os.listdir("/no/such/folder")
    except FileNotFoundError as error:
        first, _, remote = str(error).partition("\n")
        print(f"   caught {type(error).__name__}: {first}")
        print(f"   and its text ends with the remote traceback ({len(remote.splitlines())} lines)")


def _show_async(conn: Connection) -> None:
    _title(6, "Ten asynchronous calls: sent at once, collected later")
    power = async_(conn.builtins.pow)
    started = time.perf_counter()
    results = [power(2, exponent) for exponent in range(10)]
    values = [result.value for result in results]
    print(f"   {values} in {(time.perf_counter() - started) * 1000:.1f} ms")


def main() -> None:
    """Runs the server, the session and the ends of both."""
    if "--serve" in sys.argv[1:]:
        serve()
        return
    with ExitStack() as stack:
        print("Starting a classic server in another process, on the loopback address ...")
        server, port = start_server()
        stack.callback(stop_server, server)
        conn = classic.connect("127.0.0.1", port)
        stack.callback(conn.close)
        print(f"Connected: rpyc_like.classic.connect('127.0.0.1', {port})")
        if sys.stdin.isatty() and sys.stdout.isatty():
            from .session import interact

            interact(conn)
        else:
            tour(conn)
    print("\nClosed the connection and stopped the server.")


if __name__ == "__main__":
    main()
