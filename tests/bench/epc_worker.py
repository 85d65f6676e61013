"""One side of one EPC contestant: ``epc_worker.py serve NAME`` or ``... call NAME PORT``."""

import importlib
import queue
import socket
import sys
import threading

from epc_values import NESTED
from timing import answer, repeated

TEXT = "x" * 1_000_000
SIZES = {
    "int": (22, 20),
    "burst": (22, 20),
    "nested": (98_000, 98_000),
    "text": (1_000_030, 1_000_030),
}


def modules(name):
    package = "rpyc_like.epc" if name == "ours" else "epc"
    return importlib.import_module(package + ".server"), importlib.import_module(
        package + ".client"
    )


def serve(name):
    if name == "pingpong":
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            head = exactly(sock, 8)
            if not head:
                return
            exactly(sock, int.from_bytes(head[:4], "big"))
            sock.sendall(b"x" * int.from_bytes(head[4:], "big"))
    server = modules(name)[0].ThreadingEPCServer(("127.0.0.1", 0))
    server.daemon_threads = True
    server.logger.setLevel(100)
    server.register_function(lambda value: value, "echo")
    print(server.server_address[1], flush=True)
    server.serve_forever()


def exactly(sock, count):
    parts = []
    while count:
        data = sock.recv(min(count, 1 << 20))
        if not data:
            return b""
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


class PingPong:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, row):
        sent, got = SIZES[row]
        message = sent.to_bytes(4, "big") + got.to_bytes(4, "big") + b"x" * sent
        for _ in range(5 if row == "burst" else 1):
            self.sock.sendall(message)
        for _ in range(5 if row == "burst" else 1):
            exactly(self.sock, got)


class Client:
    def __init__(self, name, port):
        self.client = modules(name)[1].EPCClient(("127.0.0.1", port))
        self.client.logger.setLevel(100)

    def run(self, row):
        if row == "burst":
            answers = queue.Queue()
            for number in range(5):
                self.client.call("echo", [number], answers.put)
            for _ in range(5):
                answers.get(timeout=20)
        else:
            value = {"int": 5, "nested": NESTED, "text": TEXT}[row]
            self.client.call_sync("echo", [value], timeout=60)


def call(name, port):
    client = PingPong(port) if name == "pingpong" else Client(name, port)
    answer({row: repeated(lambda row=row: client.run(row)) for row in SIZES})


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        threading.Thread(target=serve, args=(sys.argv[2],), daemon=True).start()
        sys.stdin.read()
    else:
        call(sys.argv[2], int(sys.argv[3]))
    sys.stdout.flush()
    import os

    os._exit(0)
