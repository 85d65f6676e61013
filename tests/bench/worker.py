"""One side of one contestant: ``worker.py serve NAME`` or ``worker.py call NAME PORT``.

The client reads names of rows and answers each with the microseconds an operation took.
"""

import socket
import sys
import threading
import time

BURST = 1000

# Frames of one operation on the bare socket, as sizes in bytes (request, answer); those of the
# conversation that both implementations have at least.
EXCHANGES = {
    "bound": [(76, 12)],
    "root": [(66, 60), (76, 12)],
    "instance": [(76, 60)],
    "async": [(76, 12)],
}
REPEAT = {"bound": 1000, "root": 500, "instance": 500, "async": 3}


class Item:
    """What the service returns an instance of."""

    def __init__(self):
        self.exposed_value = 5


def nodelay(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve_objects(name):
    if name == "ours":
        import rpyc_like as rpyc
        from rpyc_like.utils.server import ThreadedServer
    else:
        import rpyc
        from rpyc.utils.server import ThreadedServer

        accept = ThreadedServer._accept_method

        def accept_without_delay(self, sock):
            nodelay(sock)
            accept(self, sock)

        ThreadedServer._accept_method = accept_without_delay

    class Bench(rpyc.Service):
        """What is called."""

        def exposed_f(self, value):
            return value

        def exposed_item(self):
            return Item()

    server = ThreadedServer(Bench, hostname="127.0.0.1", port=0)
    threading.Thread(target=server.start, daemon=True).start()
    while not server.active:
        time.sleep(0.001)
    print(server.port, flush=True)
    sys.stdin.read()


def read_exactly(sock, count):
    data = sock.recv(count)
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def serve_pingpong():
    """Answers requests of two bytes of answer size and padding, each of the size said first."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    sock, _ = listener.accept()
    nodelay(sock)
    try:
        while True:
            size, answer = divmod(int.from_bytes(read_exactly(sock, 4), "big"), 1 << 16)
            frame = b"x" * answer
            for _ in range(int.from_bytes(read_exactly(sock, 4), "big")):
                read_exactly(sock, size)
                sock.send(frame)
    except EOFError:
        pass


def pingpong_rows(port):
    sock = socket.create_connection(("127.0.0.1", port))
    nodelay(sock)

    def announce(size, answer, count):
        sock.sendall((size << 16 | answer).to_bytes(4, "big") + count.to_bytes(4, "big"))

    def one_by_one(row):
        repeat = REPEAT[row]
        total = 0.0
        for size, answer in EXCHANGES[row]:
            announce(size, answer, repeat)
            frame = b"y" * size
            started = time.perf_counter()
            for _ in range(repeat):
                sock.send(frame)
                read_exactly(sock, answer)
            total += time.perf_counter() - started
        return total / repeat

    def burst():
        size, answer = EXCHANGES["async"][0]
        announce(size, answer, BURST * REPEAT["async"])
        frame = b"y" * size
        started = time.perf_counter()
        for _ in range(REPEAT["async"]):
            for _ in range(BURST):
                sock.send(frame)
            for _ in range(BURST):
                read_exactly(sock, answer)
        return (time.perf_counter() - started) / REPEAT["async"] / BURST

    rows = {row: (lambda row=row: one_by_one(row)) for row in EXCHANGES}
    rows["async"] = burst
    return rows


def object_rows(name, port):
    if name == "ours":
        import rpyc_like as rpyc

        conn = rpyc.connect("127.0.0.1", port)
    else:
        import rpyc

        stream = rpyc.SocketStream.connect("127.0.0.1", port, nodelay=True)
        conn = rpyc.connect_stream(stream)
    f, item, root = conn.root.f, conn.root.item, conn.root
    later = rpyc.async_(f)

    def burst():
        for result in [later(1) for _ in range(BURST)]:
            result.value

    def timed(row, func, per=1):
        def run():
            started = time.perf_counter()
            for _ in range(REPEAT[row]):
                func()
            return (time.perf_counter() - started) / REPEAT[row] / per

        return run

    return {
        "bound": timed("bound", lambda: f(1)),
        "root": timed("root", lambda: root.f(1)),
        "instance": timed("instance", item),
        "async": timed("async", burst, BURST),
    }


def main():
    role, name = sys.argv[1:3]
    if role == "serve":
        if name == "pingpong":
            serve_pingpong()
        else:
            serve_objects(name)
        return
    port = int(sys.argv[3])
    rows = pingpong_rows(port) if name == "pingpong" else object_rows(name, port)
    for line in sys.stdin:
        row = rows[line.strip()]
        # Not counted: how fast the system wakes a process depends on what ran just before, and
        # settles after some milliseconds of the same.
        warm = time.perf_counter() + 0.05
        while time.perf_counter() < warm:
            row()
        print(row() * 1e6, flush=True)


if __name__ == "__main__":
    main()
