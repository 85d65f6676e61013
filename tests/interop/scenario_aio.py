"""The session of scenario.py in an asyncio program: ``scenario_aio.py await|threads KIND PORT``.

With ``threads``, the steps of scenario.py themselves run in a thread, with the proxies of an
asyncio connection. With ``await`` each has a counterpart of the same name here. Asyncio is in debug
mode, and warnings are errors.
"""

import asyncio
import gc
import os
import sys
import time

import rpyc_like as rpyc
from rpyc_like import aio

HOW, KIND, PORT = sys.argv[1:]
STEPS = {}


def step(kind):
    def mark(func):
        if kind == KIND:
            STEPS[func.__name__] = func
        return func

    return mark


async def expect(kind_of_error, awaitable):
    try:
        await awaitable
    except kind_of_error as error:
        return error
    raise AssertionError(f"{kind_of_error.__name__} was not raised")


async def eventually(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.01)


@step("service")
async def attributes(conn):
    item = await conn.root.item(5)
    assert await item.value == 5
    assert await aio.len(item) == 5
    assert await aio.eq(item, conn.root.item(5))
    assert await aio.ne(item, conn.root.item(6))
    assert await conn.root.same(1) is await conn.root.same(1)
    await expect(AttributeError, conn.root.missing)
    await expect(AttributeError, item.items)


@step("service")
async def hashes(conn):
    assert await aio.hash(conn.root.item(5)) == await aio.hash(conn.root.item(5))


@step("service")
async def calls(conn):
    root = conn.root
    assert await root.add(1) == 2
    assert await root.add(1, b=5) == 6
    for value in (None, True, 10**30, 1.5, 2j, "ü" * 300, b"x" * 300, (), (1, (2, "3")), Ellipsis):
        assert await root.echo(value) == value, value
    mine = [1, 2, 3]
    assert await root.echo(mine) is mine
    assert await root.echo((1, mine, ())) == (1, mine, ())
    assert await root.item(2).double().double().value == 8


@step("service")
async def callbacks(conn):
    root = conn.root

    async def later(a, b):
        await asyncio.sleep(0.01)
        return a - b

    async def asks(item):
        return await item.value

    async def nested():
        return await root.call(back)

    async def back():
        return await root.add(1)

    assert await root.call(lambda: 5) == 5
    assert await root.call(later, 5, b=3) == 2
    assert await root.call(asks, await root.item(7)) == 7
    assert await root.call(nested) == 2
    error = await expect(KeyError, root.call({}.__getitem__, "lost"))
    assert "lost" in str(error)


@step("service")
async def exceptions(conn):
    error = await expect(ValueError, conn.root.fail("expected"))
    assert error.args == ("expected",)
    assert "exposed_fail" in str(error)
    await expect(AttributeError, conn.root.conn)
    await expect(AttributeError, aio.setattr(conn.root, "x", 1))
    await expect(TypeError, conn.root.add())
    assert await conn.root.add(1) == 2


@step("service")
async def iteration(conn):
    assert [n async for n in conn.root.numbers(20)] == list(range(20))
    assert [n async for n in conn.root.generate(5)] == list(range(5))
    assert await aio.list(conn.root.numbers(4)) == [0, 1, 2, 3]
    iterator = await conn.root.generate(1)
    assert await aio.next(iterator) == 0
    await expect(StopAsyncIteration, aio.next(iterator))


@step("service")
async def asynchronous(conn):
    many = await asyncio.gather(*[conn.root.add(n) for n in range(200)])
    assert many == list(range(1, 201))
    await expect(ValueError, asyncio.gather(conn.root.add(1), conn.root.fail("later")))
    assert await rpyc.async_(await conn.root.add)(1) == 2


@step("service")
async def upload_and_download(conn):
    data = os.urandom(300_000)
    assert await conn.root.store(data) == data
    assert await conn.root.store(b"z" * 2_000_000) == b"z" * 2_000_000


@step("service")
async def threads(conn):
    async def work(base):
        for n in range(30):
            assert await conn.root.add(base, n) == base + n

    await asyncio.gather(*[work(base * 1000) for base in range(4)])


@step("service")
async def references(conn):
    held = conn.root.held
    before = await held()
    items = [await conn.root.item(n) for n in range(10)]
    again = [await conn.root.echo(item) for item in items]
    assert all(a is b for a, b in zip(items, again))
    assert await conn.root.held() >= before + 10
    del items, again, held
    gc.collect()

    async def gone():
        return await conn.root.held() <= before

    await eventually(gone)


@step("classic")
async def modules(conn):
    assert await conn.modules.os.path.join("a", "b") == os.path.join("a", "b")
    document = await conn.modules["xml.dom.minidom"].parseString("<a><b/></a>")
    assert await document.documentElement.tagName == "a"
    await expect(ImportError, conn.modules.no_such_module)
    assert await conn.modules.os.getpid() != os.getpid()


@step("classic")
async def interpreter(conn):
    await conn.execute("numbers = [3, 1, 2]")
    numbers = await conn.namespace["numbers"]
    await numbers.append(0)
    assert sorted(await aio.list(numbers)) == [0, 1, 2, 3]
    assert await conn.eval("len(numbers)") == 4
    assert await conn.builtin.sum(numbers) == 6
    await aio.setitem(await conn.namespace, "text", "set from here")
    assert await conn.eval("text.upper()") == "SET FROM HERE"
    error = await expect(ZeroDivisionError, conn.eval("1 / 0"))
    assert "division" in str(error)


@step("classic")
async def by_value(conn):
    assert await aio.snapshot(conn.eval("{'a': [1, 2]}")) == {"a": [1, 2]}


@step("classic")
async def classic_references(conn):
    await conn.execute(
        "def held(root):\n"
        "    table = root.getconn()._local_objects\n"
        "    return len(getattr(table, '_dict', table))\n"
        "class Thing: pass\n"
    )
    root, held = await conn.root, await conn.namespace["held"]
    make = await conn.namespace["Thing"]
    gc.collect()  # what earlier steps have left
    await held(root)
    before = await held(root)
    things = [await make() for _ in range(10)]
    assert await held(root) >= before + 10
    del things
    gc.collect()

    async def gone():
        return await held(root) <= before

    await eventually(gone)


async def main():
    connect = aio.classic.connect if KIND == "classic" else aio.connect
    async with connect("127.0.0.1", int(PORT)) as conn:
        if HOW == "threads":
            sys.argv[1:] = ["rpyc_like", KIND, PORT]
            import scenario

            for func in scenario.STEPS:
                if func is scenario.hashes:
                    continue  # those of asyncio connections are local in every thread
                await asyncio.to_thread(func, conn)
                print("ok", func.__name__, flush=True)
        else:
            for name, func in STEPS.items():
                await func(conn)
                print("ok", name, flush=True)
        started = time.monotonic()
    assert conn.closed
    await expect(EOFError, conn.root.add(1))
    assert time.monotonic() - started < 15


if __name__ == "__main__":
    asyncio.run(main(), debug=True)
