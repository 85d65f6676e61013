"""A program that serves: ``python served.py KIND``; prints its port, and ``ended`` at the end."""

import sys

kind = sys.argv[1]
if kind == "GeventServer":
    from gevent import monkey

    monkey.patch_all()

import os  # noqa: E402
import select  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import rpyc_like as rpyc  # noqa: E402
from rpyc_like.utils import server as servers  # noqa: E402


class Busy(rpyc.Service):
    def exposed_sleep(self, seconds: float, say: bool = False) -> str:
        if say:
            print("begun", flush=True)
        time.sleep(seconds)
        return "slept"

    def exposed_hold(self) -> None:
        """Return when the standard input ends."""
        print("begun", flush=True)
        select.select([sys.stdin], [], [])

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_nest(self, depth: int, back: Any) -> int:
        return 0 if depth == 0 else 1 + back(depth - 1)

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_where(self) -> tuple[int, int]:
        return os.getpid(), threading.get_ident()


server = getattr(servers, kind)(Busy, port=0, grace=60)
print(server.port, flush=True)
server.start()
print("ended", flush=True)
