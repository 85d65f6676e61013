"""A gateway in a chain: client - gateway - backend. Objects pass through, and are freed."""

import gc
import time

import rpyc_like as rpyc
from rpyc_like.utils.server import ThreadedServer

ALIVE = {"documents": 0}


class Document:
    """Something that lives in the backend."""

    def __init__(self, title, text):
        self.title = title
        self.text = text
        ALIVE["documents"] += 1

    def __del__(self):
        ALIVE["documents"] -= 1

    def words(self):
        return len(self.text.split())

    def replace(self, old, new):
        if old not in self.text:
            raise LookupError(f"{old!r} is not in {self.title}")
        self.text = self.text.replace(old, new)
        return self

    def on_each_word(self, callback):
        return [callback(word) for word in self.text.split()]


class BackendService(rpyc.Service):
    """Makes documents."""

    def exposed_create(self, title, text):
        return Document(title, text)

    def exposed_alive(self):
        return ALIVE["documents"]

    def exposed_join(self, documents):
        return " / ".join(document.title for document in documents)


class GatewayService(rpyc.Service):
    """Passes on, and counts what it passes on."""

    port = None

    def on_connect(self, conn):
        self.upstream = rpyc.connect("localhost", self.port, config={"allow_public_attrs": True})
        self.created = 0

    def on_disconnect(self, conn):
        self.upstream.close()

    def exposed_create(self, title, text):
        self.created += 1
        return self.upstream.root.create(title.upper(), text)

    def exposed_backend(self):
        return self.upstream.root

    def exposed_count(self):
        return self.created


def start(service):
    server = ThreadedServer(
        service,
        hostname="localhost",
        port=0,
        protocol_config={"allow_public_attrs": True},
    )
    server._start_in_thread()
    return server


def eventually(condition):
    """Waits for something that happens soon."""
    end = time.time() + 10
    while not condition() and time.time() < end:
        time.sleep(0.01)
    return condition()


def main():
    backend = start(BackendService)
    GatewayService.port = backend.port
    gateway = start(GatewayService)
    conn = rpyc.connect("localhost", gateway.port, config={"allow_public_attrs": True})

    first = conn.root.create("one", "a b a")
    second = conn.root.create("two", "c d")
    print(first.title, first.words(), second.title, conn.root.count())
    print(first.replace("a", "x").text)
    try:
        second.replace("q", "x")
    except LookupError as error:
        print("LookupError:", error.args[0])
    print("callbacks through two hops:", list(first.on_each_word(lambda word: word * 2)))
    print("back to its owner:", conn.root.backend().join([first, second]))
    print("alive:", conn.root.backend().alive())

    del first
    gc.collect()
    print("freed:", eventually(lambda: conn.root.backend().alive() == 1))
    del second
    gc.collect()
    print("freed:", eventually(lambda: conn.root.backend().alive() == 0))
    conn.close()
    gateway.close()
    backend.close()
    print("closed")


if __name__ == "__main__":
    main()
