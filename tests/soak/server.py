"""What the soak test loads: prints its port, and counts what it has done."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

import rpyc_like as rpyc
from rpyc_like.core.protocol import Connection
from rpyc_like.errors import LocalProtocolError
from rpyc_like.utils import server as servers

_NAMES = 600
"""Clients whose numbers are remembered: those that were killed would make the server grow."""


FINALIZERS = ("answered", "failed", "wrong")


class Seen:
    """Numbers that come roughly in order, each once: tells which come again."""

    def __init__(self) -> None:
        self._next = 0
        self._missing: set[int] = set()

    def note(self, number: int) -> bool:
        """Returns whether it was there before."""
        if number >= self._next:
            self._missing.update(range(self._next, number))
            self._next = number + 1
        elif number in self._missing:  # late, as after a stalled link
            self._missing.discard(number)
        else:
            return True
        return False


class Thing:
    """Something that is lent."""

    def exposed_double(self, number: int) -> int:
        return 2 * number


class Asking:
    """Asks the other side when it ends: while a release is served, or garbage is collected."""

    def __init__(self, ask: Any, number: int) -> None:
        self._ask, self._number = ask, number

    def __del__(self) -> None:
        try:
            right = self._ask(self._number) == 2 * self._number
        except (EOFError, OSError, LocalProtocolError):  # closed, late, or in the codec
            Load.finalizers["failed"] += 1
        else:
            Load.finalizers["answered" if right else "wrong"] += 1


class Load(rpyc.Service):
    """Does a little of everything, and notes each call's number."""

    seen: OrderedDict[str, Seen] = OrderedDict((f"nobody {one}", Seen()) for one in range(_NAMES))
    """Full from the start: else what the test itself keeps would look as if the server grew."""
    notes: deque[tuple[str, int]] = deque()
    done = doubled = 0
    finalizers: Counter[str] = Counter()

    def _note(self, who: str, number: int) -> None:
        Load.notes.append(
            (who, number)
        )  # without a lock: a finalizer could ask, and wait, under it

    @classmethod
    def count(cls) -> None:
        """Counts what was noted, in the one thread that does."""
        while cls.notes:
            who, number = cls.notes.popleft()
            cls.done += 1
            seen = cls.seen.get(who) or cls.seen.setdefault(who, Seen())
            cls.seen.move_to_end(who)
            cls.doubled += seen.note(number)
            if len(cls.seen) > _NAMES:
                cls.seen.popitem(last=False)

    def exposed_double(self, number: int) -> int:
        """Answers finalizers, whose calls have no number."""
        return 2 * number

    def exposed_asking(self, who: str, number: int, ask: Any) -> Asking:
        """Returns what asks the client when the client has dropped it."""
        self._note(who, number)
        return Asking(ask, number)

    def exposed_garbage(self, who: str, number: int, ask: Any) -> Any:
        """Leaves a cycle, which asks the client when it is collected."""
        self._note(who, number)
        self.ask = ask  # garbage itself, it would be given back before the finalizer runs
        asking = Asking(ask, number)
        asking.itself = asking  # type: ignore[attr-defined]
        return who, number

    def exposed_keep(self, who: str, number: int, thing: Any) -> Any:
        """Drops what asks this server at its end, when the call is over."""
        self._note(who, number)
        return who, number

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


class _Mallinfo2(ctypes.Structure):
    """What glibc's allocator tells about itself."""

    _NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _NAMES.split()]


def allocated() -> int:
    """Returns how many bytes malloc has given out (0 where it does not tell)."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return 0
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def state() -> dict[str, int]:
    """Returns what must not grow. What the allocator keeps for later is given back first."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    connections = [one for one in gc.get_objects() if type(one) is Connection]
    return {
        "connections": len(connections),
        "lent objects": sum(len(one._local_objects) for one in connections),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "KiB of memory": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "KiB malloc'd": allocated() // 1024,
        "Python's blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "clients' names": len(Load.seen),
    }


def stacks() -> list[str]:
    """Returns where the threads are, the most frequent places first."""
    places: Counter[str] = Counter()
    for frame in sys._current_frames().values():
        steps = traceback.extract_stack(frame)[-12:]
        places[
            " < ".join(f"{Path(s.filename).stem}:{s.lineno} {s.name}" for s in reversed(steps))
        ] += 1
    return [f"{count} {place}" for place, count in places.most_common(25)]


class Growth:
    """Which types have more objects, and which lines more memory, than at the first look."""

    def __init__(self) -> None:
        self._types: Counter[str] | None = None
        self._lines: Any = None

    def look(self) -> list[str]:
        gc.collect()
        types = Counter(
            f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects()
        )
        lines = tracemalloc.take_snapshot() if tracemalloc.is_tracing() else None
        if self._types is None:
            self._types, self._lines = types, lines
            return []
        found = [f"{count:+} {name}" for name, count in (types - self._types).most_common(15)]
        if lines is not None and self._lines is not None:
            found += map(str, lines.compare_to(self._lines, "lineno")[:25])
        return found


def keep_counting(lock: threading.Lock) -> None:
    """Counts what was noted, again and again."""
    while True:
        time.sleep(0.2)
        with lock:
            Load.count()


def main() -> None:
    """Serves, and answers each line of standard input with a line about its state or growth."""
    kind = getattr(servers, sys.argv[1])
    config = {"heartbeat": 1.0, "send_timeout": 10, "concurrent_calls": 4}
    server = kind(Load, port=0, protocol_config=config, grace=0)
    server.logger.disabled = True
    server._start_in_thread()
    growth, counting = Growth(), threading.Lock()
    threading.Thread(target=keep_counting, args=(counting,), daemon=True).start()
    print(server.port, flush=True)
    for line in sys.stdin:
        if line.strip() == "growth":
            print(repr(growth.look()), flush=True)
            continue
        if line.strip() == "stacks":
            print(repr(stacks()), flush=True)
            continue
        with counting:
            Load.count()
        counts = {"done": Load.done, "doubled": Load.doubled}
        finalizers = {f"finalizers {what}": Load.finalizers[what] for what in FINALIZERS}
        print(repr({**counts, **finalizers, **state()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
