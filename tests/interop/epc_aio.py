"""epc_there.py's program with asyncio: ``epc_aio.py serve | use PORT``."""

import asyncio
import sys

from rpyc_like import aio
from rpyc_like.aio import epc
from rpyc_like.epc.errors import EPCError, EPCTimeout, ReturnError

VALUES = [1, -5, 10**20, 1.5, 'text \u65e5\n"\\', True, [], [1, [2, ["x"]]], "x" * 100000]


async def serve():
    service = epc.EPCService()
    service.logger.setLevel(100)

    @service.register_function
    def echo(*args):
        """Returns its arguments."""
        return args

    @service.register_function
    async def fail(text):
        await asyncio.sleep(0)
        raise ValueError(text)

    @service.register_function
    async def call_back(name, *args):
        return await service.clients[0].call(name, list(args), timeout=10)

    async with aio.Server(service) as server:
        print(server.port, flush=True)
        await server.serve_forever()


async def use(port):
    methods = epc.EPCService()
    methods.logger.setLevel(100)

    async def add(a, b):
        await asyncio.sleep(0)
        return a + b

    methods.register_function(add)

    def show(*what):
        print(*[repr(one) for one in what], flush=True)

    async with epc.connect("127.0.0.1", port, methods) as client:
        for value in VALUES:
            got = await client.call("echo", [value], timeout=20)
            show(got == [value], str(got)[:40])
        show((await client.call("echo", {"name": 5}))[0].value())
        show(await client.call("echo", "ab"))
        show(await client.call("call_back", ["add", 2, 3]))
        for name, args in (("fail", ["no"]), ("missing", [1]), ("call_back", ["missing"])):
            try:
                await client.call(name, args, timeout=1)
            except (ReturnError, EPCError) as error:
                kind = type(error).__name__
                show(kind, "ValueError" in str(error), "No such method" in str(error))
            except EPCTimeout:
                show("no answer")
        show(sorted(row[0].value() for row in await client.methods()))
        show(await client.call("echo", [7]))
        show(await asyncio.gather(*[client.call("echo", [n]) for n in range(20)]))


if __name__ == "__main__":
    work = serve() if sys.argv[1] == "serve" else use(int(sys.argv[2]))
    asyncio.run(work, debug=True)
