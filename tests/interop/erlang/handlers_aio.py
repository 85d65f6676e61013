"""The program of handlers.py with asyncio."""

import asyncio
import sys

from handlers import Handlers

from rpyc_like.aio import erlang
from rpyc_like.erlport import Atom


class AioHandlers(erlang.Protocol, Handlers):
    async def handle_echo(self, value):
        return value

    async def handle_many(self, count):
        for number in range(count):
            await asyncio.sleep(0)
            yield number
        if count == 3:
            raise RuntimeError("enough")

    async def handle_fails(self):
        raise KeyError("a key")

    async def handle_sleeps(self, seconds):
        await asyncio.sleep(seconds)
        return Atom("slept")

    async def handle_asks(self, module, function, args):
        return await self.port.call(module, function, args, timeout=5)

    async def handle_asks_later(self, count):
        asked = [self.port.call("m", "f", [number]) for number in range(count)]
        return await asyncio.gather(*asked)


async def main():
    options = eval(sys.argv[1]) if len(sys.argv) > 1 else {}
    async with erlang.Port(**options) as port:
        handlers = AioHandlers()
        handlers.port = port
        await port.serve_with(handlers)


if __name__ == "__main__":
    asyncio.run(main(), debug=True)
