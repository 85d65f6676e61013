"""A program for a port: all that a protocol of erlport 0.6 can do, and what it could not."""

import os
import subprocess
import sys
import time

from rpyc_like.erlport import NO_REPLY, Atom, BitBinary, Port, Protocol, String


class Handlers(Protocol):
    def handle_echo(self, value):
        return value

    def handle_hello(self, name):
        return "Hello, " + String(name)

    def handle_many(self, count):
        yield from range(count)
        if count == 3:
            raise RuntimeError("enough")

    def handle_silent(self):
        return NO_REPLY

    def handle_nothing(self):
        return None

    def handle_fails(self):
        raise KeyError("a key")

    def handle_fails_at_length(self):
        raise KeyError("x" * 300)

    def handle_wrong(self):
        return object()

    def handle_long(self, size):
        return b"x" * size

    def handle_prints(self):
        print("printed")
        sys.stdout.flush()
        os.write(1, b"written\n")
        subprocess.run(["echo", "from a child"], check=True)
        return Atom("printed")

    def handle_bits(self):
        return BitBinary(b"\xf0", 4)

    def handle_sleeps(self, seconds):
        time.sleep(seconds)
        return Atom("slept")

    def handle_asks(self, module, function, args):
        return PORT.call(module, function, args, timeout=5)

    def handle_asks_later(self, count):
        results = [PORT.async_call("m", "f", [number]) for number in range(count)]
        return [result.value for result in results]

    def handle_exits(self, status):
        sys.exit(status)


if __name__ == "__main__":
    options = eval(sys.argv[1]) if len(sys.argv) > 1 else {}
    PORT = Port(**options)
    Handlers().run(PORT)
