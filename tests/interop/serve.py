"""The test server, with any implementation: ``serve.py PACKAGE classic|service [await|inline]``.

Prints its port and serves until its standard input ends.
"""

import importlib
import sys
import tempfile
import threading
import time

package, kind, *how = sys.argv[1:]
rpyc = importlib.import_module(package)
ThreadedServer = importlib.import_module(package + ".utils.server").ThreadedServer


class Item:
    """An instance of a class of the program's own."""

    def __init__(self, value):
        self.exposed_value = value

    def exposed_double(self):
        return Item(self.exposed_value * 2)

    def __len__(self):
        return self.exposed_value

    def __eq__(self, other):
        return isinstance(other, Item) and other.exposed_value == self.exposed_value

    def __hash__(self):
        return hash(self.exposed_value)


class TestService(rpyc.Service):
    """Everything the scenario asks for."""

    def on_connect(self, conn):
        self.conn = conn
        self.items = {n: Item(n) for n in range(3)}

    def exposed_add(self, a, b=1):
        return a + b

    def exposed_echo(self, value):
        return value

    def exposed_item(self, value):
        return Item(value)

    def exposed_same(self, value):
        return self.items[value]

    def exposed_call(self, func, *args, **kwargs):
        return func(*args, **kwargs)

    def exposed_fail(self, text):
        raise ValueError(text)

    def exposed_numbers(self, count):
        return list(range(count))

    def exposed_generate(self, count):
        yield from range(count)

    def exposed_store(self, data):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            return file.read()

    def exposed_held(self):
        table = self.conn._local_objects
        return len(getattr(table, "_dict", table))


def serve_in_asyncio(service):
    import asyncio

    from rpyc_like import aio

    async def serve():
        threads = 0 if how == ["inline"] else 4
        async with aio.Server(service, hostname="127.0.0.1", threads=threads) as server:
            print(server.port, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(serve(), debug=True)


def main():
    service = rpyc.ClassicService if kind == "classic" else TestService
    if how:
        serve_in_asyncio(service)
        return
    server = ThreadedServer(service, hostname="127.0.0.1", port=0)
    threading.Thread(target=server.start, daemon=True).start()
    while not server.active:  # RPyC listens only when it has been started
        time.sleep(0.001)
    print(server.port, flush=True)
    sys.stdin.read()


# Classes must be named alike on both sides of a classic connection, so this is no __main__ guard.
if __name__ == "__main__":
    sys.modules["serve"] = sys.modules["__main__"]
    main()
