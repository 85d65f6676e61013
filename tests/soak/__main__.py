"""Loads a server for a while, disturbs it, and tells what was lost and what has grown.

``python -m tests.soak [--minutes 30] [--clients 200] [--server ThreadedServer]``
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 8


class Proxy:
    """A link that stalls and breaks: some of its connections, from time to time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._going = threading.Event()
        self._going.set()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self._going.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stall(self, seconds: float) -> None:
        """Lets nothing through for a while."""
        self._going.clear()
        time.sleep(seconds)
        self._going.set()

    def reset(self, count: int) -> None:
        """Breaks some connections, with RST."""
        self._pairs = [pair for pair in self._pairs if pair[0].fileno() >= 0]
        for pair in random.sample(self._pairs, min(count, len(self._pairs))):
            for sock in pair:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                except OSError:
                    pass


class Clients:
    """A process of clients, started again when it has been killed."""

    totals: Counter[str] = Counter()  # of processes that have ended

    def __init__(self, number: int, threads: int, ports: list[int]) -> None:
        self._number, self._threads, self._ports, self._starts = number, threads, ports, 0
        self.counts: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        self._starts += 1
        name = f"{self._number}-{self._starts}"
        command = [sys.executable, "-m", "tests.soak.client", name, str(self._threads)]
        self.process = subprocess.Popen(
            [*command, *map(str, self._ports)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def _listen(self, process: Any) -> None:
        last: Counter[str] = Counter()
        for line in process.stdout:
            last = Counter(ast.literal_eval(line))
            if process is self.process:
                self.counts = last
        hung = last.pop("hung", 0)
        last["hung"] = 0 if process.returncode == -signal.SIGKILL else hung
        Clients.totals.update(last)
        if process is self.process:
            self.counts = Counter()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


def disturb(clients: list[Clients], proxy: Proxy) -> str:
    """Does something bad."""
    what = random.choice(["kill", "pause", "stop", "reset", "reset", "stall", "cut"])
    one = random.choice(clients)
    if what == "kill":
        one.kill()
        one.start()
    elif what == "pause":
        one.pause(0.7)  # shorter than what is taken for dead
    elif what == "stop":
        one.pause(4)
    elif what == "reset":
        proxy.reset(5)
    else:
        proxy.stall(0.5 if what == "stall" else 4)
    return what


def ask(server: Any) -> dict[str, int]:
    """Returns the state of the server."""
    server.stdin.write("\n")
    server.stdin.flush()
    found: dict[str, int] = ast.literal_eval(server.stdout.readline())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--server", default="ThreadedServer")
    options = parser.parse_args()
    command = [sys.executable, "-m", "tests.soak.server", options.server]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    proxy = Proxy(port)
    before = ask(server)
    ports = [port, proxy.port]
    clients = [Clients(one, options.clients // PROCESSES, ports) for one in range(PROCESSES)]
    began, done = time.monotonic(), Counter()
    warm: dict[str, int] = {}
    end = began + 60 * options.minutes
    while time.monotonic() < end:
        done[disturb(clients, proxy)] += 1
        time.sleep(random.uniform(0.5, 3))
        if not warm and time.monotonic() - began > 6 * options.minutes:
            for one in clients:
                one.kill()
            time.sleep(5)
            warm = ask(server)
            for one in clients:
                one.start()
    time.sleep(8)  # what is under way ends, or is found to hang
    alive = sum((one.counts for one in clients), Counter())
    for one in clients:
        one.kill()
    time.sleep(5)
    after = ask(server)
    total = Clients.totals
    print(f"{options.minutes:g} minutes, {options.clients} clients, {dict(done)}")
    print(
        f"calls that clients have begun {total['begun']}, done {total['done']}, reported as failed "
        f"{total['failed']}, wrong answers {total['wrong']}, hung {alive['hung']}"
    )
    print(f"calls that the server has done {after['done']}, doubled {after['doubled']}")
    print(f"{'server':<16}{'before':>12}{'after 10 %':>12}{'at the end':>12}")
    for what in before:
        if what not in ("done", "doubled"):
            print(f"{what:<16}{before[what]:>12}{warm.get(what, 0):>12}{after[what]:>12}")
    server.kill()
    wrong = total["wrong"] + alive["hung"] + after["doubled"]
    sys.stdout.flush()
    os._exit(bool(wrong))


if __name__ == "__main__":
    main()
