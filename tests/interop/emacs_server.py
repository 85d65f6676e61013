"""What Emacs starts: ``emacs_server.py KIND``; methods that Emacs calls, and that call Emacs."""

import asyncio
import sys

from rpyc_like import aio
from rpyc_like.aio import epc
from rpyc_like.epc import server as servers

ASYNCIO = sys.argv[1] == "asyncio"
server = epc.EPCService() if ASYNCIO else getattr(servers, sys.argv[1])(("127.0.0.1", 0))
server.logger.setLevel(100)
server.register_function(lambda *args: list(args), "echo")


def describe(value):
    """Tells what a value is in Python."""
    return f"{type(value).__name__} {value!r}"


def fail(text):
    raise ValueError(text)


def ask(name, *args):
    """Calls a function of Emacs'."""
    return server.clients[0].call_sync(name, list(args), timeout=10)


def ask_twice(name, number):
    """Calls Emacs, which calls ``ask``, which calls Emacs."""
    return server.clients[0].call_sync("through", [name, number], timeout=10)


def unprintable():
    return "a\udc80b", b"\xff\x00", "\x1b\x00\u65e5", float("inf")


async def ask_and_await(name, *args):
    """Calls a function of Emacs'."""
    return await server.clients[0].call(name, list(args), timeout=10)


async def ask_twice_and_await(name, number):
    """Calls Emacs, which calls ``ask``, which calls Emacs."""
    return await server.clients[0].call("through", [name, number], timeout=10)


async def serve():
    async with aio.Server(server, hostname="127.0.0.1") as listening:
        print(listening.port, flush=True)
        await listening.serve_forever()


for function in (describe, fail, ask, ask_twice, unprintable):
    server.register_function(function)
if ASYNCIO:
    server.register_function(ask_and_await, "ask")
    server.register_function(ask_twice_and_await, "ask_twice")
    asyncio.run(serve(), debug=True)
else:
    server.print_port()
    server.serve_forever()
