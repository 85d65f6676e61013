"""Who takes part in the benchmark."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys

from tests.support.peers import environment, peers_folder

from .rounds import Contestant, Side

__all__ = ["AWAITED", "CORE", "OTHERS", "install", "make", "there"]

DELAY = 0.05
"""Seconds of the slow link, there and back."""

CORE = {
    "pingpong": ("pingpong", "ours", "pingpong", "ours"),
    "polling": ("polling", "ours", "polling", "ours"),
    "rpyc": ("rpyc", "rpyc-6.0.2", "rpyc", "rpyc-6.0.2"),
    "nodelay": ("nodelay", "rpyc-6.0.2", "nodelay", "rpyc-6.0.2"),
    "ours": ("ours", "ours", "ours", "ours"),
    "blocking": ("blocking", "ours", "blocking", "ours"),
    "pure": ("ours", "ours", "ours", "ours"),
    "ours, rpyc serves": ("ours", "ours", "rpyc", "rpyc-6.0.2"),
}
"""What client and server are, and the implementation whose environment each runs in."""

PURE = {"pure"}
"""Contestants without the compiled core."""

AWAITED = {
    "streams": ("streams", "streams"),
    "aio": ("aio", "tasks"),
    "aio, methods inline": ("aio", "inline"),
    "aio, methods in threads": ("aio", "threads"),
    "aio, blocking server": ("aio", "ours"),
    "blocking, aio server": ("blocking", "tasks"),
}
"""Asyncio clients and servers."""

OTHERS = {
    "managers": "multiprocessing.managers",
    "execnet": "execnet",
    "Pyro5": "Pyro5",
    "grpcio": "grpc",
    "grpc.aio": "grpc.aio",
    "zerorpc": "zerorpc",
    "dask": "distributed",
}
"""Other libraries, and what each needs to be imported."""

_DISTRIBUTIONS = ("Pyro5", "execnet", "zerorpc", "grpcio", "distributed")


def _folder() -> str:
    return str(peers_folder() / "others")


def install() -> None:
    """Installs the other libraries, each on its own, into a folder beside the peers."""
    for name in _DISTRIBUTIONS:
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", _folder(), name]
        subprocess.run(command, check=False)


def there() -> list[str]:
    """Returns the other libraries that can be imported."""
    sys.path.append(_folder())
    found = []
    for name, module in OTHERS.items():
        with contextlib.suppress(ImportError):
            if importlib.util.find_spec(module) is not None:
                found.append(name)
    return found


def make(name: str, slow: bool = False) -> Contestant:
    """Starts a contestant.

    Args:
        name: of the contestant.
        slow: whether there is a link with a delay between its sides.
    """
    link = ("slow_link.py", str(DELAY)) if slow else ()
    return Contestant(*_sides(name), link)


def _sides(name: str) -> tuple[Side, Side]:
    if name in CORE:
        client, client_env, server, server_env = CORE[name]
        extra = {"RPYC_LIKE_IMPL": "python"} if name in PURE else {}
        return (
            Side("worker.py", client, {**environment(client_env), **extra}),
            Side("worker.py", server, {**environment(server_env), **extra}),
        )
    env = environment("ours")
    if name in AWAITED:
        client, server = AWAITED[name]
        script = "worker.py" if server in CORE else "aio_worker.py"
        return Side("aio_worker.py", client, env), Side(script, server, env)
    env["PYTHONPATH"] += os.pathsep + _folder()
    other = Side("others_worker.py", name, env)
    return other, other
