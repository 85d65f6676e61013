"""Clients of the soak test, some threads with a connection each; prints counts each second."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import rpyc_like as rpyc
from rpyc_like.errors import LocalProtocolError

counts: Counter[str] = Counter()
LIMIT = 20.0  # seconds after which a call that neither came back nor failed counts as hung


def double(number: int) -> int:
    """Answers the finalizers of the server."""
    return 2 * number


class Asking:
    """Asks the server when it ends: where the server's release is served."""

    def __init__(self, ask: Any, number: int) -> None:
        self._ask, self._number = ask, number

    def __del__(self) -> None:
        try:
            right = self._ask(self._number) == 2 * self._number
        except (EOFError, OSError, LocalProtocolError):  # closed, late, or in the codec
            counts["finalizers failed"] += 1
        else:
            counts["finalizers answered" if right else "wrong"] += 1


class Client:
    """One connection after the other, and calls of all kinds over it."""

    def __init__(self, ports: list[int], name: str) -> None:
        self.ports, self.name, self.number = ports, name, 0
        self.random = random.Random(name)
        self.began: float | None = None

    def run(self) -> None:
        while True:
            port = self.random.choice(self.ports)
            config = {"sync_request_timeout": LIMIT - 5, "heartbeat": 1.0}
            try:
                conn = rpyc.connect("127.0.0.1", port, config=config)
            except OSError:
                counts["refused"] += 1
                time.sleep(0.2)
                continue
            try:
                root = conn.root
                for _ in range(self.random.randrange(20, 2000)):
                    self.call(conn, root)
            except (EOFError, OSError):
                pass
            finally:
                conn.close()

    def call(self, conn: Any, root: Any) -> None:
        """Makes one call and checks the answer."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        self.number += 1
        number, self.began = self.number, time.monotonic()
        counts["begun"] += 1
        try:
            right = getattr(self, kind)(conn, root, number)
        except (EOFError, TimeoutError):
            counts["failed"] += 1
            raise
        finally:
            self.began = None
        counts["done" if right else "wrong"] += 1

    def value(self, conn: Any, root: Any, number: int) -> bool:
        return bool(root.value(self.name, number) == (self.name, number, 2 * number))

    def burst(self, conn: Any, root: Any, number: int) -> bool:
        value = rpyc.async_(root.value)
        self.number += 19
        results = [value(self.name, one) for one in range(number, number + 20)]
        counts["begun"] += 19
        found = [result.value for result in results]
        counts["done"] += 19
        return found == [(self.name, one, 2 * one) for one in range(number, number + 20)]

    def callback(self, conn: Any, root: Any, number: int) -> bool:
        answer = root.callback(self.name, number, lambda one: one + 7)
        return bool(answer == (self.name, number, number + 7))

    def thing(self, conn: Any, root: Any, number: int) -> bool:
        return bool(root.thing(self.name, number).double(number) == 2 * number)

    def large(self, conn: Any, root: Any, number: int) -> bool:
        data = self.random.randbytes(self.random.randrange(200_000))
        return bool(root.large(self.name, number, data) == (self.name, number, data))

    def items(self, conn: Any, root: Any, number: int) -> bool:
        return list(root.items(self.name, number)) == list(range(200))

    def asking(self, conn: Any, root: Any, number: int) -> bool:
        asking = root.asking(self.name, number, double)
        del asking
        return True

    def garbage(self, conn: Any, root: Any, number: int) -> bool:
        return bool(root.garbage(self.name, number, double) == (self.name, number))

    def keep(self, conn: Any, root: Any, number: int) -> bool:
        found = root.keep(self.name, number, Asking(root.double, number))
        return bool(found == (self.name, number))

    def fail(self, conn: Any, root: Any, number: int) -> bool:
        try:
            root.fail(self.name, number)
        except LookupError as error:
            return error.args == (f"{self.name} {number}",)
        return False

    def slow(self, conn: Any, root: Any, number: int) -> bool:
        try:
            conn.call(root.slow, self.name, number, timeout=0.05)
        except TimeoutError:
            return True
        return False


KINDS = {
    "value": 60,
    "burst": 5,
    "callback": 10,
    "thing": 10,
    "large": 3,
    "items": 5,
    "asking": 3,
    "garbage": 2,
    "keep": 3,
    "fail": 5,
    "slow": 1,
}


def main() -> None:
    """Runs until it is killed; ``client.py NAME THREADS PORT...``."""
    name, threads, *ports = sys.argv[1:]
    clients = [Client(list(map(int, ports)), f"{name}.{one}") for one in range(int(threads))]
    for client in clients:
        threading.Thread(target=client.run, daemon=True).start()
    while True:
        time.sleep(1)
        now = time.monotonic()
        hung = [one for one in clients if one.began is not None and now - one.began > LIMIT]
        try:
            print(repr({**counts, "hung": len(hung)}), flush=True)
        except OSError:
            os._exit(0)


if __name__ == "__main__":
    main()
