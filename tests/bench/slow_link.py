"""A link with a delay: ``slow_link.py PORT SECONDS`` prints a port that leads to PORT.

What goes in comes out half of the delay later, in either direction; nothing is held back otherwise.
"""

import queue
import socket
import sys
import threading
import time


def forward(source, target, delay):
    """Moves bytes from one socket to the other, each a delay after it came."""
    waiting = queue.SimpleQueue()

    def give():
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
            except OSError:
                return

    threading.Thread(target=give, daemon=True).start()
    data = b"begin"
    while data:
        try:
            data = source.recv(1 << 18)
        except OSError:
            data = b""
        waiting.put((time.monotonic() + delay, data))


def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((near, far), (far, near)):
            threading.Thread(target=forward, args=(*pair, seconds / 2), daemon=True).start()


if __name__ == "__main__":
    main()
