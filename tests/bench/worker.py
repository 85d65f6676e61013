"""One side of one contestant: ``worker.py serve NAME`` or ``worker.py call NAME PORT``.

NAME is ``ours``, ``blocking`` (ours without polling), ``rpyc`` (as it is), ``nodelay`` (rpyc with
TCP_NODELAY on both ends), ``pingpong`` (a bare socket) or ``polling`` (a bare socket that waits
through the compiled core).
"""

import os
import socket
import sys
import threading
import time

from timing import answer, memory, repeated

BURST = 10_000
BIG = 64 << 20

# Frames of one operation on the bare socket, as sizes in bytes (request, answer); those of the
# conversation that the implementations have at least.
EXCHANGES = {
    "bound": (76, 12),
    "root": (76, 12),
    "attribute": (66, 12),
    "bytes": (65600, 65550),
}

OURS = {"ours": {}, "blocking": {"busy_poll": 0}}
"""Names of ours, and what they change of the default configuration."""


class Item:
    """What the service returns an instance of."""

    def __init__(self, value=5):
        self.exposed_value = value


def nodelay(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve_objects(name):
    if name in OURS:
        import rpyc_like as rpyc
        from rpyc_like.utils.server import ThreadedServer
    else:
        import rpyc
        from rpyc.utils.server import ThreadedServer

    if name == "nodelay":
        accept = ThreadedServer._accept_method

        def accept_without_delay(self, sock):
            nodelay(sock)
            accept(self, sock)

        ThreadedServer._accept_method = accept_without_delay

    class Bench(rpyc.ClassicService):
        """What is called."""

        def exposed_f(self, value):
            return value

        f = exposed_f

        def make(self):
            return Item()

        def items(self, count):
            return [Item(number) for number in range(count)]

        def call(self, func, count):
            for number in range(count):
                func(number)

        def lend(self, count):
            """Has the client hold references to so many objects; counts what it costs."""
            conn = next(iter(server._connections.values()))
            for number in range(count):
                conn._local_objects.lend(Item(number), rpyc.core.references.tables.identify)

        def memory(self, key):
            return memory(key)

        def array(self):
            import numpy

            return numpy.frombuffer(os.urandom(BIG), dtype="f8").copy()

    server = ThreadedServer(Bench, hostname="127.0.0.1", port=0)
    threading.Thread(target=server.start, daemon=True).start()
    while not server.active:
        time.sleep(0.001)
    print(server.port, flush=True)
    sys.stdin.read()


def receiver(sock, name):
    """Returns what waits for bytes of a socket."""
    if name == "pingpong":
        return sock.recv
    from rpyc_like._native.waiting import Pace
    from rpyc_like.link.streams.base import BUSY_POLL

    pace = Pace(BUSY_POLL)
    return lambda count: pace.recv(sock.fileno(), count)


def read_exactly(recv, count):
    data = recv(count)
    while len(data) < count:
        more = recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def serve_pingpong(name):
    """Answers frames of sizes that are said first, or sends back what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    sock, _ = listener.accept()
    nodelay(sock)
    recv = receiver(sock, name)
    try:
        while True:
            size, answer, count = (int.from_bytes(read_exactly(recv, 4), "big") for _ in range(3))
            if answer >= BIG:
                received = receive_into(sock, size) if size else bytes(answer)
                sock.sendall(received)
                continue
            frame = b"x" * answer
            for _ in range(count):
                read_exactly(recv, size)
                sock.sendall(frame)
    except EOFError:
        pass


def receive_into(sock, size):
    data = bytearray(size)
    view = memoryview(data)
    while view:
        view = view[sock.recv_into(view) :]
    return data


def pingpong_rows(name, port):
    sock = socket.create_connection(("127.0.0.1", port))
    nodelay(sock)
    recv = receiver(sock, name)

    def announce(size, answer, count):
        sock.sendall(b"".join(number.to_bytes(4, "big") for number in (size, answer, count)))

    def exchange(size, answer):
        def run(count):
            announce(size, answer, count)
            frame = b"y" * size
            for _ in range(count):
                sock.sendall(frame)
                read_exactly(recv, answer)

        return run

    def burst(count):
        announce(76, 12, BURST * count)
        frame = b"y" * 76
        for _ in range(count):
            left = BURST
            while left:
                some = min(left, 500)
                sock.sendall(frame * some)
                read_exactly(recv, 12 * some)
                left -= some

    data = os.urandom(BIG)

    def copy(count):
        for _ in range(count):
            announce(BIG, BIG, 1)
            sock.sendall(data)
            receive_into(sock, BIG)

    def copy_here(count):
        for _ in range(count):
            announce(0, BIG, 1)
            receive_into(sock, BIG)

    rows = {row: exchange(*sizes) for row, sizes in EXCHANGES.items()}
    burst.per = BURST
    if name == "polling":
        return rows, None
    return {**rows, "async": burst, "big": copy, "array": copy_here}, None


def object_rows(name, port):
    if name in OURS:
        import rpyc_like as rpyc
    else:
        import rpyc

    def connect():
        if name == "nodelay":
            stream = rpyc.SocketStream.connect("127.0.0.1", port, nodelay=True)
            return rpyc.classic.connect_stream(stream)
        return rpyc.classic.connect("127.0.0.1", port)

    conn = connect()
    conn._config["sync_request_timeout"] = None  # a large message may take longer
    root = conn.root
    f, make = root.f, root.make
    if hasattr(type(f), "____fetch__"):
        f.__name__
    later = rpyc.async_(root.f)
    numbers = conn.eval("list(range(1000))")
    table = conn.eval("{number: str(number) for number in range(100)}")
    items = root.items(1000)
    data, some = os.urandom(BIG), os.urandom(1 << 16)

    def threads(count):
        def run():
            def work():
                for _ in range(250):
                    f(1)

            workers = [threading.Thread(target=work) for _ in range(count)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

        return run, 250 * count

    def burst():
        for result in [later(1) for _ in range(BURST)]:
            result.value

    def first_join():
        other = connect()
        before = sent(other)
        other.modules.os.path.join("a", "b")
        counts.append(sent(other) - before - 1)
        other.close()

    def connecting():
        other = connect()
        counts.append(sent(other))
        other.close()

    def mapped():
        if name in OURS:
            with conn.pipeline() as p:
                values = p.map(lambda one: one.exposed_value, items)
            return p.fetch(values)
        return [one.exposed_value for one in items]

    def array():
        copied = rpyc.snapshot(remote_array()) if name in OURS else None
        return rpyc.classic.obtain(remote_array()) if copied is None else copied

    arrays = []

    def remote_array():
        if not arrays:
            arrays.append(root.array())
        return arrays[0]

    counts = []

    def sent(connection):
        return next(connection._seqcounter)

    def callback(value):
        """Is called back."""

    def paced():
        time.sleep(200e-6)
        f(1)

    one = {
        "paced": paced,
        "bound": lambda: f(1),
        "root": lambda: conn.root.f(1),
        "attribute": lambda: conn.root.ALIASES,
        "instance": lambda: make().exposed_value,
        "iterate": lambda: sum(1 for _ in numbers),
        "list": lambda: list(numbers),
        "items": lambda: list(table.items()),
        "dict": lambda: dict(table),
        "objects": lambda: [one.exposed_value for one in items],
        "map": mapped,
        "join": lambda: conn.modules.os.path.join("a", "b"),
        "join first": first_join,
        "connect": connecting,
        "callbacks": lambda: root.call(callback, 100),
        "bytes": lambda: f(some),
        "big": lambda: root.f(data),
        "array": array,
    }
    several = {"async": (burst, BURST), "1 thread": threads(1), "4 threads": threads(4)}
    rows = {}
    if name == "rpyc":
        del one["objects"], one["map"]  # 44 ms for each object
    for row, (func, per) in [*((row, (func, 1)) for row, func in one.items()), *several.items()]:
        rows[row] = repeated(func)
        rows[row].per = per

    def counted(row):
        """Returns the requests sent so far, and whether that is of the last operation alone."""
        if row in ("join first", "connect"):
            return counts[-1], True
        return sent(conn), False

    return rows, counted


def main():
    role, name = sys.argv[1:3]
    if name in OURS:
        from rpyc_like.core.config import DEFAULT_CONFIG

        DEFAULT_CONFIG.update(OURS[name])
    if role == "serve":
        if name in ("pingpong", "polling"):
            serve_pingpong(name)
        else:
            serve_objects(name)
        return
    port = int(sys.argv[3])
    bare = name in ("pingpong", "polling")
    rows, counted = pingpong_rows(name, port) if bare else object_rows(name, port)
    answer(rows, counted)


if __name__ == "__main__":
    main()
