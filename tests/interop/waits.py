"""Ordinary programs that wait for each other: ``waits.py PACKAGE PROGRAM``.

Each prints a JSON object: whether it went as with local objects (``right``), and what happened.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter

package = sys.argv[1]
rpyc = importlib.import_module(package)
server_module = importlib.import_module(package + ".utils.server")
PROGRAMS = {}
PATIENCE = 8.0
SERVER = """
import importlib, os, socket, sys, threading, time
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
package = importlib.import_module(sys.argv[1])
from importlib import import_module
kind = import_module(sys.argv[1] + ".utils.server").ThreadedServer
server = kind(package.SlaveService, hostname="127.0.0.1", port=0, backlog=100)

def tell():
    while True:  # RPyC listens when it has started
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
            break
        except OSError:
            time.sleep(0.01)
    print(server.port, flush=True)

threading.Thread(target=tell, daemon=True).start()
server.start()
"""


def program(func):
    PROGRAMS[func.__name__] = func
    return func


def serve(service):
    """Returns the port of a server in this process."""
    server = server_module.ThreadedServer(service, hostname="127.0.0.1", port=0)
    server.logger.disabled = True
    threading.Thread(target=server.start, daemon=True).start()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:  # RPyC listens when it has started
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    return server.port


@contextlib.contextmanager
def classic_child():
    """Starts a classic server in another process; gives the process and a connection."""
    command = [sys.executable, "-c", SERVER, package]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as child:
        port = int(child.stdout.readline())
        try:
            yield child, rpyc.classic.connect("127.0.0.1", port)
        finally:
            child.kill()


def within(func, seconds=PATIENCE):
    """Returns what ``func`` gives or raises, in a list, which is empty if it does not return."""
    found = []

    def work():
        try:
            found.append(func())
        except Exception as error:
            found.append(f"{type(error).__name__} is raised")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return found


@program
def finalizer():
    """A finalizer at the server that calls its client back, when the client drops the object."""
    with classic_child() as (_, conn):
        log = []
        conn.execute("class Res:\n def __init__(s, f): s.f = f\n def __del__(s): s.f('closed')")

        def use():
            res = conn.namespace["Res"](log.append)
            del res
            return [conn.eval("1 + 1") for _ in range(3)]

        found = within(use)
        if not found:
            return False, "hangs"
        right = (found, log) == ([[2, 2, 2]], ["closed"])
        return right, "called, and the next calls are answered" if right else f"{found}, {log}"


@program
def dispatch():
    """An override of _dispatch that takes a millisecond, and a background thread."""

    class Slow(rpyc.Connection):
        def _dispatch(self, data):
            time.sleep(0.001)
            return super()._dispatch(data)

    class Client(rpyc.Service):
        _protocol = Slow

    class Server(rpyc.Service):
        def exposed_echo(self, value):
            return value

    conn = rpyc.connect_thread(Client, {"sync_request_timeout": PATIENCE}, Server, {})
    echo = conn.root.echo
    rpyc.BgServingThread(conn)
    found = within(lambda: [echo(number) for number in range(5)], PATIENCE / 2)
    return found == [[0, 1, 2, 3, 4]], "answered" if found else "a call waits out its time-out"


@program
def blocking_callback():
    """A callback that waits for the next one, and a background thread at the client."""

    class Server(rpyc.Service):
        def exposed_work(self, event):
            wait, set_ = rpyc.async_(event.wait), rpyc.async_(event.set)
            wait()
            time.sleep(0.2)
            set_()
            return 1

    config = {"allow_all_attrs": True, "sync_request_timeout": 30}
    conn = rpyc.connect("127.0.0.1", serve(Server), config=config)
    work = rpyc.async_(conn.root.work)
    rpyc.BgServingThread(conn)
    event = threading.Event()
    result = work(event)
    found = within(lambda: result.value)
    return found == [1] and event.wait(PATIENCE), "both are served" if found else "hangs"


@program
def executor():
    """Fifty functions of the client's in a thread pool of the server's, one after the other."""
    with classic_child() as (_, conn):
        pool = conn.modules["concurrent.futures"].ThreadPoolExecutor(4)

        def work():
            return [pool.submit(lambda one: 2 * one, number).result() for number in range(50)]

        found = within(work, 3 * PATIENCE)
        return found == [[2 * number for number in range(50)]], "all come" if found else "hangs"


@program
def first_use():
    """Two threads that use the builtins of a new classic connection first, forty times."""
    with classic_child() as (_, conn):
        port = conn._channel.stream.sock.getpeername()[1]
        wrong = Counter()
        for _ in range(40):
            other = rpyc.classic.connect("127.0.0.1", port)
            both = threading.Barrier(2)

            def use(other=other, both=both):
                both.wait()
                try:
                    other.builtins.len
                except Exception as error:
                    wrong[type(error).__name__] += 1

            threads = [threading.Thread(target=use, daemon=True) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            other.close()
        return not wrong, "both get them" if not wrong else f"{max(wrong)} in some threads"


@program
def idle_end():
    """A client that makes no call, and a server that is killed: what conn.closed says."""
    with classic_child() as (child, conn):
        child.kill()
        child.wait()
        end = time.monotonic() + PATIENCE
        while not conn.closed and time.monotonic() < end:
            time.sleep(0.05)
        return conn.closed, "closed" if conn.closed else "open, until the next call"


@program
def threads():
    """Fifty clients of a threaded server that have each had an answer after a while."""
    with classic_child() as (_, conn):
        port = conn._channel.stream.sock.getpeername()[1]
        count = conn.modules.threading.active_count
        before = count()
        others = [rpyc.classic.connect("127.0.0.1", port) for _ in range(50)]
        for other in others:
            other.modules.time.sleep(0.02)
            other.eval("1 + 1")
        more = count() - before
        return more <= 55, f"{'at most a thread' if more <= 55 else 'several threads'} for each"


@program
def ctrl_c():
    """Ctrl-C at an idle prompt, and a child process that serves it."""
    os.setpgrp()
    signal.signal(signal.SIGINT, lambda *_: None)
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(f"from {package}.cli.rpyc_classic import main\nmain()\n")
        script.flush()
        conn = rpyc.classic.connect_subproc(script.name)
        conn.eval("1")
    os.killpg(0, signal.SIGINT)
    time.sleep(1)
    found = within(lambda: conn.eval("1 + 1"))
    return found == [2], "goes on" if found == [2] else "the child has ended"


@program
def misspelt():
    """A misspelt key of the configuration."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            conn = rpyc.connect_thread(config={"sync_requst_timeout": 1})
        except Exception:
            return True, "refused"
        within(conn.close)
    return bool(seen), "a warning" if seen else "nothing is said"


def main():
    right, text = PROGRAMS[sys.argv[2]]()
    print(json.dumps({"right": bool(right), "text": text}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
