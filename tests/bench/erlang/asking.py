"""Calls Erlang again and again."""

import time

from erlport import erlang


def ask(count):
    """Returns the seconds that so many calls take."""
    start = time.perf_counter()
    for number in range(count):
        erlang.call("erlang", "abs", [number])
    return time.perf_counter() - start
