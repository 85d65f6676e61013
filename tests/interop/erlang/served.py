"""What Erlang calls in the tests. It says ``erlport`` where a program of erlport 1.x would."""

import os
import subprocess
import sys
import threading
import time

from erlport import Atom, ImproperList, List, erlang
from erlport.erlterms import Map, OpaqueObject


def echo(value):
    return value


def kind(value):
    return Atom(type(value).__name__.encode())


def add(one, two=10, *, three=100):
    return one + two + three


def fails(text):
    raise ValueError(text.decode())


def fails_deep(levels):
    if levels:
        return fails_deep(levels - 1)
    raise KeyError("deep")


def not_sendable():
    return float("nan")


def dictionary():
    return {Atom(b"a"): 1, b"b": [1, 2], 1: {2: 3}}


def map_value(table, key):
    return table[key]


def sleep(seconds):
    time.sleep(seconds)
    return Atom(b"slept")


def threads(count):
    """Calls Erlang from several threads at once."""
    found = []

    def ask(number):
        found.append(erlang.call(Atom(b"erlang"), Atom(b"+"), [number, 1]))

    workers = [threading.Thread(target=ask, args=[number]) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted(found)


def asynchronous(count):
    results = [erlang.async_call("erlang", "+", [number, 1]) for number in range(count)]
    return [result.value for result in results]


def sugar():
    return erlang.module("lists").reverse([1, 2, 3])


def too_slow():
    try:
        erlang.call("timer", "sleep", [60_000], timeout=0.2)
    except TimeoutError:
        return Atom(b"timeout")


def cancelled():
    result = erlang.async_call("timer", "sleep", [60_000])
    answer = erlang.cancel(result), erlang.cancel(result)
    try:
        result.value
    except erlang.CallError as error:
        return (*answer, error.type)


def call_error(module, function, args):
    try:
        erlang.call(module, function, args)
    except erlang.CallError as error:
        return (error.language, error.type, error.value, isinstance(error.stacktrace, list))


def passes_on(module, function, args):
    return erlang.call(module, function, args)


def nested(depth, module, function):
    """Erlang calls Python, which calls Erlang, and so on."""
    if not depth:
        return 0
    return 1 + erlang.call(module, function, [depth - 1])


def identity():
    return erlang.self() == erlang.self(), erlang.make_ref() != erlang.make_ref()


def send(to, message):
    erlang.cast(to, message)


class Counter:
    """An object for Erlang to hold."""

    def __init__(self, start=0):
        self.number = start
        self._secret = 1

    def add(self, amount=1, *, times=1):
        self.number += amount * times
        return self.number

    def __iter__(self):
        return iter(range(self.number))

    def __len__(self):
        return self.number

    def __call__(self, value):
        return self.number + value

    def __getitem__(self, key):
        return (key, self.number)

    def __str__(self):
        return f"counter at {self.number}"


SHARED = Counter(5)


def counter(start):
    return Counter(start)


def shared():
    return SHARED


def is_shared(value):
    return value is SHARED


def prints():
    print("printed by Python")
    sys.stdout.write("Łódź\n")


def noise():
    os.write(1, b"written to the descriptor\n")
    subprocess.run(["echo", "from a child"], check=True)
    return Atom(b"quiet")


def reads_stdin():
    return sys.stdin.readline()


MESSAGES = []


def keep_messages():
    erlang.set_message_handler(MESSAGES.append)


def kept_messages():
    return MESSAGES


def bad_handler():
    def handle(message):
        raise RuntimeError("no good")

    erlang.set_message_handler(handle)


def codecs():
    erlang.set_encoder(lambda value: (Atom(b"encoded"), value))
    erlang.set_decoder(lambda value: value[1] if isinstance(value, tuple) else value)


def no_codecs():
    erlang.set_default_encoder()
    erlang.set_default_decoder()


def types():
    return [
        isinstance([1], list),
        ImproperList([1], 2),
        List([1, 2]).to_string() == "\x01\x02",
        Map({1: 2}),
        OpaqueObject(b"\x61\x05", Atom(b"erlang")),
    ]


def dies(status):
    os._exit(status)


def exits(status):
    sys.exit(status)


def policies(value):
    return (type(value).__name__, "text", None, value)


def thread_name():
    return threading.current_thread() is threading.main_thread()


class Outer:
    class Inner:
        @staticmethod
        def function():
            return Atom(b"inner")
