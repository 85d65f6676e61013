"""A program that serves: ``python -m tests.faults.serving [CONFIG]``; prints its port."""

from __future__ import annotations

import ast
import sys
import threading
import time
from typing import Any

import rpyc_like as rpyc


class Patient(rpyc.Service):
    """Does things that take time, and tells what it knows about its calls."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.ended = threading.Event()
        self.begun = 0
        self.released = threading.Event()

    def on_disconnect(self, conn: Any) -> None:
        self.ended.set()

    def exposed_sleep(self, seconds: float) -> str:
        """Does not notice anything."""
        time.sleep(seconds)
        return "slept"

    def exposed_hold(self) -> None:
        """Does not notice anything either, and takes until it is released."""
        self.released.wait(60)

    def exposed_watch(self, seconds: float, begin: Any = None) -> str:
        """Looks whether it is cancelled, after it has called ``begin``."""
        self.begun += 1
        call = rpyc.current_call()
        assert call is not None
        if begin is not None:
            begin()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if call.cancelled:
                self.seen.append("cancelled")
                return "cancelled"
            time.sleep(0.005)
        self.seen.append("slept")
        return "slept"

    def exposed_seen(self) -> tuple[Any, ...]:
        return tuple(self.seen)

    def exposed_about(self) -> tuple[Any, ...]:
        call = rpyc.current_call()
        assert call is not None
        return call.time_left, call.deadline, call.credentials, call.endpoints[1][1]

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_nest(self, depth: int, back: Any) -> int:
        return 0 if depth == 0 else 1 + back(depth - 1)

    def exposed_give(self, size: int) -> bytes:
        return bytes(size)

    def exposed_take(self, data: bytes) -> int:
        return len(data)


def main() -> None:
    """Serves until it is killed."""
    config = ast.literal_eval(sys.argv[1]) if len(sys.argv) > 1 else {}
    server = rpyc.ThreadedServer(Patient, port=0, protocol_config=config)
    print(server.port, flush=True)
    server.start()


if __name__ == "__main__":
    main()
