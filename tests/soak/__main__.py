"""Loads a server for a while, disturbs it, and tells what was lost and what has grown.

``python -m tests.soak [--minutes 30] [--clients 200] [--server ThreadedServer] [--explain]``

The server's memory is printed each minute under load, and measured three times without clients:
after a tenth of the time, in the middle and at the end. What the server has without clients depends
on how the allocator has filled its pages just before; so the means of the minutes under load are
compared as well, the first third of the second half with the last one.
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
SHOWN = (
    "connections",
    "lent objects",
    "threads",
    "KiB of memory",
    "KiB malloc'd",
    "Python's blocks",
)


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


class Server:
    """The process under load."""

    def __init__(self, kind: str, explain: bool) -> None:
        tracing = ["-X", "tracemalloc=1"] if explain else []
        command = [sys.executable, *tracing, "-m", "tests.soak.server", kind]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.port = int(self._read())

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return ast.literal_eval(self.process.stdout.readline())

    def ask(self, what: str = "state") -> Any:
        """Returns its state, or what has grown since it was asked for growth first."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._read()


def quiet(server: Server, clients: list[Clients]) -> dict[str, int]:
    """Returns the state of the server without clients, which start again afterwards."""
    for one in clients:
        one.kill()
    time.sleep(5)
    found: dict[str, int] = server.ask()
    return found


def load(
    server: Server,
    clients: list[Clients],
    proxy: Proxy,
    seconds: float,
    explain: bool,
    states: list[dict[str, int]],
) -> Counter[str]:
    """Disturbs what runs for a while; prints the server's memory each minute, and keeps it."""
    done: Counter[str] = Counter()
    began = time.monotonic()
    minute = 1
    while time.monotonic() - began < seconds:
        done[disturb(clients, proxy)] += 1
        time.sleep(random.uniform(0.5, 3))
        if time.monotonic() - began >= 60 * minute:
            minute += 1
            state = server.ask()
            states.append(state)
            shown = ", ".join(f"{state[what]} {what}" for what in SHOWN)
            print(f"{time.strftime('%H:%M:%S')} {shown}", flush=True)
            if explain:
                print(*server.ask("stacks")[:12], sep="\n", flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--server", default="ThreadedServer")
    parser.add_argument("--explain", action="store_true", help="print which types and lines grew")
    options = parser.parse_args()
    server = Server(options.server, options.explain)
    proxy = Proxy(server.port)
    looks = [server.ask()]
    ports = [server.port, proxy.port]
    clients = [Clients(one, options.clients // PROCESSES, ports) for one in range(PROCESSES)]
    states: list[dict[str, int]] = []
    done = load(server, clients, proxy, 6 * options.minutes, options.explain, states)
    for part in (24, 30):
        looks.append(quiet(server, clients))
        if options.explain:
            server.ask("growth")
        for one in clients:
            one.start()
        states.clear()
        done += load(server, clients, proxy, part * options.minutes, options.explain, states)
    time.sleep(8)  # what is under way ends, or is found to hang
    alive = sum((one.counts for one in clients), Counter())
    looks.append(quiet(server, clients))
    after, total = looks[-1], Clients.totals
    print(f"{options.minutes:g} minutes, {options.clients} clients, {dict(done)}")
    print(
        f"calls that clients have begun {total['begun']}, done {total['done']}, reported as failed "
        f"{total['failed']}, wrong answers {total['wrong']}, hung {alive['hung']}"
    )
    print(f"calls that the server has done {after['done']}, doubled {after['doubled']}")
    print(
        f"finalizers of clients: answered {total['finalizers answered']}, failed "
        f"{total['finalizers failed']}; of the server: answered {after['finalizers answered']}, "
        f"failed {after['finalizers failed']}, wrong {after['finalizers wrong']}"
    )
    print(f"{'server':<16}{'before':>12}{'after 10 %':>12}{'after 50 %':>12}{'at the end':>12}")
    for what in after:
        if what not in ("done", "doubled") and "finalizers" not in what:
            figures = "".join(f"{look[what]:>12}" for look in looks)
            print(f"{what:<16}{figures}  {after[what] / max(1, looks[2][what]) - 1:+.2%}")
    third = len(states) // 3
    if third:
        print(f"{'under load':<16}{'after 50 %':>12}{'at the end':>12}")
        for what in SHOWN:
            first, last = (
                sum(state[what] for state in part) / third
                for part in (states[:third], states[-third:])
            )
            print(f"{what:<16}{first:>12.0f}{last:>12.0f}  {last / max(1, first) - 1:+.2%}")
    if options.explain:
        print(*server.ask("growth"), sep="\n")
    server.process.kill()
    wrong = total["wrong"] + alive["hung"] + after["doubled"] + after["finalizers wrong"]
    sys.stdout.flush()
    os._exit(bool(wrong))


if __name__ == "__main__":
    main()
