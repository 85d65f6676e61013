"""What the client of each contestant does: reads names of rows, and tells the times they took.

A script beside this one imports it as ``timing``, in whatever environment its contestant needs.
"""

import json
import os
import sys
import time


def memory(key):
    """Returns kilobytes: VmRSS, what this process has, or VmHWM, the most that it has had."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))


def cpu_of(pid):
    """Returns the CPU microseconds that a process has used."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
    except OSError:
        return 0
    return total / 1000


def measure(func, count):
    """Returns microseconds and CPU microseconds of both sides, of ``count`` operations."""
    server = int(os.environ["BENCH_SERVER"])
    before = cpu_of(os.getpid()), cpu_of(server)
    started = time.perf_counter()
    func(count)
    wall = (time.perf_counter() - started) * 1e6
    after = cpu_of(os.getpid()), cpu_of(server)
    return wall, after[0] - before[0], after[1] - before[1]


def repeated(one):
    """Returns a function that does an operation so many times."""
    return lambda count: [one() for _ in range(count)] and None


def answer(rows, counted=None):
    """Answers names of rows until standard input ends.

    Args:
        rows: by name a function of how many operations to do; its attribute ``per`` says how many
            operations each of them is.
        counted: a function of a row's name that returns the requests sent so far, and whether that
            is of the last operation alone.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        row, seconds = line.rsplit(None, 1)
        func = rows.get(row)
        if func is None:
            found = None
        elif seconds == "once":
            started = time.perf_counter()
            func(1)
            found = {"us": (time.perf_counter() - started) * 1e6}
        else:
            found = timed(func, float(seconds), counted and (lambda row=row: counted(row)))
        print(json.dumps(found), flush=True)


def timed(func, seconds, counted):
    """Returns what an operation took: microseconds, CPU microseconds, requests if counted."""
    per = getattr(func, "per", 1)
    # Not counted: how fast the system wakes a process depends on what ran just before, and
    # settles after some milliseconds of the same.
    count, requests = 1, None
    wall, *_ = times = measure(func, 1)
    if counted is not None:
        before, _ = counted()
        wall, *_ = times = measure(func, 1)
        after, absolute = counted()
        requests = after if absolute else after - before - 1
    if wall < 1e6:
        count = max(1, int(seconds * 1e6 / wall))
        func(1 + count // 3)
        times = measure(func, count)
    times = [value / count / per for value in times]
    return dict(zip(("us", "client", "server"), times), requests=requests)
