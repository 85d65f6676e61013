"""One side of a conversation whose link is cut: ``cut_link.py serve | call ADDRESS PORT INTERVAL``.

Says when it has begun, and in how many seconds it has noticed that the other side is gone.
"""

from __future__ import annotations

import sys
import threading
import time

import rpyc_like as rpyc


class Service(rpyc.Service):
    """Says when its client has gone."""

    def on_connect(self, conn: rpyc.Connection) -> None:
        conn.add_state_callback(self.tell)

    def exposed_begin(self) -> None:
        print("begun", flush=True)

    def exposed_sleep(self) -> None:
        time.sleep(120)

    def tell(self, conn: rpyc.Connection, state: str) -> None:
        print(state, time.monotonic(), type(conn.reason).__name__, flush=True)


def main() -> None:
    role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    config = {"heartbeat": float(sys.argv[4])}
    if role == "serve":
        with rpyc.ThreadedServer(Service, address, port=port, protocol_config=config) as server:
            print("listening", flush=True)
            server.start()
        return
    conn = rpyc.connect(address, port, config=config)
    conn.root.begin()
    threading.Thread(target=lambda: conn.root.sleep(), daemon=True).start()
    print("begun", flush=True)
    try:
        conn.root.sleep()
    except EOFError as error:
        print("closed", time.monotonic(), type(error.__cause__ or error).__name__, flush=True)


if __name__ == "__main__":
    main()
