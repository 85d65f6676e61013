"""What the soak test loads: prints its port, and counts what it has done."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
from pathlib import Path
from typing import Any

import rpyc_like as rpyc
from rpyc_like.core.protocol import Connection
from rpyc_like.utils import server as servers

_WINDOW = 64


class Seen:
    """Numbers that come roughly in order, each once: tells which come again, in bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._above: set[int] = set()
        self.doubled = 0

    def note(self, number: int) -> None:
        with self._lock:
            if number < self._next or number in self._above:
                self.doubled += 1
                return
            self._above.add(number)
            if len(self._above) > _WINDOW:  # some were never sent, because their client was cut off
                self._next = min(self._above)
            while self._next in self._above:
                self._above.discard(self._next)
                self._next += 1


class Thing:
    """Something that is lent."""

    def exposed_double(self, number: int) -> int:
        return 2 * number


class Load(rpyc.Service):
    """Does a little of everything, and notes each call's number."""

    seen: dict[str, Seen] = {}
    done = 0

    def _note(self, who: str, number: int) -> None:
        Load.done += 1
        Load.seen.setdefault(who, Seen()).note(number)

    def exposed_value(self, who: str, number: int) -> Any:
        self._note(who, number)
        return who, number, 2 * number

    def exposed_callback(self, who: str, number: int, func: Any) -> Any:
        self._note(who, number)
        return who, number, func(number)

    def exposed_thing(self, who: str, number: int) -> Thing:
        self._note(who, number)
        return Thing()

    def exposed_large(self, who: str, number: int, data: bytes) -> Any:
        self._note(who, number)
        return who, number, data

    def exposed_items(self, who: str, number: int) -> list[int]:
        self._note(who, number)
        return list(range(200))

    def exposed_fail(self, who: str, number: int) -> None:
        self._note(who, number)
        raise LookupError(f"{who} {number}")

    def exposed_slow(self, who: str, number: int) -> str:
        """Ends when it is cancelled."""
        self._note(who, number)
        call = rpyc.current_call()
        assert call is not None
        waits = threading.Event()
        for _ in range(200):
            if call.cancelled:
                return "cancelled"
            waits.wait(0.02)
        return "slept"


def state() -> dict[str, int]:
    """Returns what must not grow. What the allocator keeps for later is given back first."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tables = [one._local_objects for one in gc.get_objects() if type(one) is Connection]
    return {
        "connections": sum(1 for one in gc.get_objects() if type(one) is Connection),
        "lent objects": sum(map(len, tables)),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "KiB of memory": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def main() -> None:
    """Serves, and answers each line of standard input with a line about its state."""
    kind = getattr(servers, sys.argv[1])
    config = {"heartbeat": 1.0, "send_timeout": 10, "concurrent_calls": 4}
    server = kind(Load, port=0, protocol_config=config, grace=0)
    server.logger.disabled = True
    server._start_in_thread()
    print(server.port, flush=True)
    for _ in sys.stdin:
        doubled = sum(one.doubled for one in list(Load.seen.values()))
        print(repr({"done": Load.done, "doubled": doubled, **state()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
