"""One side of an asyncio contestant: ``aio_worker.py serve NAME`` or ``... call NAME PORT``.

Servers: ``streams`` (asyncio's own, frames of a bound call's sizes), ``tasks`` (``aio.Server`` and
an ``async def`` method), ``threads`` (a plain method in its pool) and ``inline`` (a plain method on
the loop). Clients: ``streams``, ``aio`` and ``blocking``.
"""

import asyncio
import resource
import sys

from timing import answer, memory, repeated

REQUEST, ANSWER = 76, 12
GATHERED = 1000


def more_descriptors():
    """Takes as many descriptors as the system gives."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# -- servers


async def serve_streams():
    async def talk(reader, writer):
        try:
            while True:
                await reader.readexactly(REQUEST)
                writer.write(b"a" * ANSWER)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_objects(name):
    import threading

    import rpyc_like as rpyc
    from rpyc_like import aio

    async def f(self, value):
        return value

    def plain(self, value):
        return value

    class Bench(rpyc.Service):
        """What is called."""

        exposed_f = f if name == "tasks" else plain

        def exposed_usage(self):
            return memory("VmRSS"), threading.active_count()

    threads = 0 if name == "inline" else 20
    server = aio.Server(Bench, max_silent_clients=10**6, threads=threads)
    async with server:
        print(server.port, flush=True)
        await server.serve_forever()


# -- clients


def awaited(loop, ask):
    """Returns a row: awaiting ``ask()`` again and again."""

    async def some(count):
        for _ in range(count):
            await ask()

    return lambda count: loop.run_until_complete(some(count))


async def stream_rows(loop, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def exchange():
        writer.write(b"q" * REQUEST)
        await writer.drain()
        await reader.readexactly(ANSWER)

    return {"bound": awaited(loop, exchange)}


async def aio_rows(loop, port):
    from rpyc_like import aio

    conn = await aio.connect("127.0.0.1", port)
    f = await conn.root.f

    async def gathered():
        await asyncio.gather(*[f(number) for number in range(GATHERED)])

    rows = {
        "bound": awaited(loop, lambda: f(1)),
        "root": awaited(loop, lambda: conn.root.f(1)),
        "gathered": awaited(loop, gathered),
    }
    rows["gathered"].per = GATHERED
    return rows


def blocking_rows(port):
    import rpyc_like as rpyc

    conn = rpyc.connect("127.0.0.1", port)
    f = conn.root.f
    return {"bound": repeated(lambda: f(1)), "root": repeated(lambda: conn.root.f(1))}


def main():
    role, name = sys.argv[1:3]
    if role == "serve":
        more_descriptors()
        asyncio.run(serve_streams() if name == "streams" else serve_objects(name))
        return
    port = int(sys.argv[3])
    if name == "blocking":
        answer(blocking_rows(port))
        return
    loop = asyncio.new_event_loop()
    connected = stream_rows if name == "streams" else aio_rows
    answer(loop.run_until_complete(connected(loop, port)))


if __name__ == "__main__":
    main()
