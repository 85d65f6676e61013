"""Oracle of the library: every class and function of it, given what ends no call by itself.

A process exports instances, classes and functions of the standard library over a restricted
connection in memory, and a peer calls each with an iterator without end, one that lies about its
length, a container that contains itself. Each call must end, having taken a bounded number of
items, or be refused; the process lives, and its memory stays below a bound.

``python -m tests.attacks.stdlib_oracle [--seed N] [--cases N] [--only TEXT] [--from N]`` tries all
(``--cases 0``) or some of them, chosen by the seed. A call that hangs ends the process with its
stack; with ``--all`` a new one goes on behind it, and all that was found is printed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import inspect
import io
import itertools
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import rpyc_like as rpyc
from rpyc_like.core.netref import is_netref
from rpyc_like.lib.guards.access_policy import ladder
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream

MODULES = (
    "argparse array base64 bisect builtins bz2 calendar cmath codecs collections "
    "collections.abc colorsys configparser contextlib contextvars copy csv dataclasses datetime "
    "decimal difflib email.header email.message email.policy email.utils enum fnmatch fractions "
    "functools graphlib gzip hashlib heapq hmac html html.parser http.cookies io ipaddress "
    "itertools json json.decoder json.encoder keyword lzma math mimetypes numbers operator "
    "pathlib pprint queue quopri random re reprlib sched secrets shlex sqlite3 statistics string "
    "stringprep struct tempfile textwrap types typing unicodedata urllib.parse uuid weakref "
    "xml.dom.minidom xml.etree.ElementTree xml.sax.saxutils zlib"
).split()
STEPS = 300
LONG = 100_000  # characters of a text that a list is shown as
LIMITS = {"allow_public_attrs": True, "max_steps": STEPS, "max_memory": 8 << 20}
HANG = int(os.environ.get("HANG", "100"))  # seconds: no slow machine any more
GROWTH = 256 << 10  # KiB of memory that a case may add
SPACE = 4 << 30  # bytes of address space

# They wait for others, end the process, or ask the system for things that this is not about.
LEFT_OUT = frozenset(
    "acquire wait join sleep get put task_done shutdown exit quit input breakpoint help getnode "
    "uuid1 make_msgid settrace finalize".split()
)
SPECIAL = (
    "__add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __mod__ __and__ __rand__ __iand__ "
    "__or__ __ror__ __ior__ __xor__ __ixor__ __contains__ __eq__ __lt__ __ge__ __getitem__ "
    "__setitem__ __delitem__ __truediv__"
).split()
ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    *((), ("a",), ([("a", 1)],), ({"a": 1},), (["b", "a"],), (1,), (b"a",), (2.0, 1.0)),
    *(("a", "b"), (io.StringIO("a"),), (len, []), ("d", [1.0]), ((1, 2), (3, 4)), (len,)),
)
"""Arguments that instances are made with: the first that a class takes."""


OF_ALL = frozenset(dir(object)) - {"__eq__", "__lt__", "__ge__"}


class Liar:
    """An object whose length, items and keys are not what they are said to be."""

    def __init__(self) -> None:
        self.taken = 0

    def __len__(self) -> int:
        return 1 << 40

    def __iter__(self) -> Liar:
        return self

    def __next__(self) -> Any:
        self.taken += 1
        return self.taken

    def __getitem__(self, key: Any) -> Any:
        self.taken += 1
        return self.taken

    def keys(self) -> Liar:
        return self


class Counted(Liar):
    """An iterator without end, and nothing else."""

    __len__ = None  # type: ignore[assignment]
    __getitem__ = None  # type: ignore[assignment]
    keys = None  # type: ignore[assignment]


class Unending(list[Any]):
    """A list of the peer's, which is passed by reference, and whose items have no end."""

    def __init__(self) -> None:
        super().__init__(["a", 1])
        self.taken = 0

    def __len__(self) -> int:
        return 1 << 40

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        self.taken += 1
        return ("a", self.taken)

    def __getitem__(self, key: Any) -> Any:
        self.taken += 1
        return "a"

    def __repr__(self) -> str:
        return "x" * LONG


class Plain(list[Any]):
    """A list of the peer's that is one, but is long when it is shown."""

    def __init__(self) -> None:
        super().__init__(["a", "b" * LONG, ("a", 1)])
        self.taken = 0

    def __repr__(self) -> str:
        self.taken += 1
        return "x" * LONG


def _list_of_lists() -> Any:
    return [Plain(), Plain()]


def _dict_of_lists() -> Any:
    return {"a": Plain(), "b": [Plain()], "c": Unending()}


def _self_list() -> list[Any]:
    made: list[Any] = ["a"]
    made.append(made)
    return made


def _self_dict() -> dict[Any, Any]:
    made: dict[Any, Any] = {"a": 1}
    made["b"] = made
    return made


EXPORTED: dict[str, Callable[[], Any]] = {
    "numbers": lambda: itertools.repeat(1),
    "texts": lambda: itertools.repeat("a"),
    "pairs": lambda: itertools.repeat(("a", 1)),
    "nothing": lambda: itertools.repeat(None),
    "generator": lambda: (number for number in itertools.count()),
    "list in itself": _self_list,
    "dict in itself": _self_dict,
    "plain list": lambda: [1, "a"],
}
"""What the service has already."""
PASSED: dict[str, Callable[[], Any]] = {
    "counted": Counted,
    "liar": Liar,
    "peer's list": Plain,
    "endless list": Unending,
    "list of lists": _list_of_lists,
    "dict of lists": _dict_of_lists,
}
"""What the peer has: its containers are passed by reference."""
PLAIN: tuple[Any, ...] = (None, 1, "a", b"a", (1, 2))


class Target:
    """A class, a function, or a method of an instance that is made for each case."""

    def __init__(self, path: str, value: Any, method: str = "") -> None:
        self.path = f"{path}.{method}" if method else path
        self._value = value
        self._method = method

    def make(self) -> Any:
        """Return what is called."""
        if not self._method:
            return self._value
        return getattr(instance_of(self._value), self._method)


def instance_of(cls: type) -> Any:
    """Return an instance of a class, or ``None`` if nothing makes one."""
    for args in ARGUMENTS:
        with contextlib.suppress(Exception):
            return cls(*args)
    return None


def targets() -> Iterator[Target]:
    """Yield everything public of the modules, each thing once."""
    seen: set[int] = set()
    for module in MODULES:
        for name, value in sorted(vars(importlib.import_module(module)).items()):
            kind = type(value)
            if name[:1] == "_" or name in LEFT_OUT or id(value) in seen or not callable(value):
                continue
            seen.add(id(value))
            if issubclass(kind, types.ModuleType) or ladder(value) is not None:
                continue
            if issubclass(kind, type) and issubclass(value, BaseException):
                continue  # a peer makes its own instances of them
            yield Target(f"{module}.{name}", value)
            if issubclass(kind, type):
                made = instance_of(value)
                if made is None:
                    continue
                for method in sorted({*dir(value)} & {*dir(made)}):
                    found = inspect.getattr_static(value, method)
                    if method[:1] == "_" and method not in SPECIAL:
                        continue
                    if id(found) in seen or method in LEFT_OUT or method in OF_ALL:
                        continue
                    seen.add(id(found))
                    if callable(getattr(value, method, None)):
                        yield Target(f"{module}.{name}", value, method)


class Library(rpyc.Service):
    """Exports what a case needs."""

    chosen: Any = None

    def exposed_target(self) -> Any:
        return self.chosen.make()

    def exposed_value(self, name: str) -> Any:
        return EXPORTED[name]()


class Case:
    """A call: what is called, and with what."""

    def __init__(self, target: Target, arguments: tuple[str, ...]) -> None:
        self.target = target
        self.arguments = arguments
        self.name = f"{target.path}({', '.join(arguments)})"

    def run(self, root: Any) -> str:
        """Try it; return what is wrong, or ""."""
        mine: list[Any] = []
        args: list[Any] = []
        for name in self.arguments:
            if name in EXPORTED:
                args.append(root.value(name))
            elif name in PASSED:
                args.append(PASSED[name]())
                mine.append(args[-1])
            else:
                args.append(PLAIN[int(name)])
        try:
            func = root.target()
            if is_netref(func):
                _use(func(*args))
        except (MemoryError, SystemError, EOFError) as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:
            if not str(error) and type(error).__name__ not in _EMPTY:
                return f"{type(error).__name__} without a text"
        taken = max((getattr(one, "taken", 0) for one in mine), default=0)
        return f"{taken} items were taken" if taken > 4 * STEPS else ""


_EMPTY = (
    "StopIteration",
    "Empty",
    "Full",
    "AssertionError",
    "StopAsyncIteration",
    "InvalidOperation",
)


def _use(result: Any) -> None:
    """Look at a result as a program does."""
    repr(result)
    if hasattr(type(result), "__next__"):
        for _ in range(3):
            next(result)
    elif hasattr(type(result), "__iter__") and type(result).__module__ != "builtins":
        next(iter(result))


def cases(seed: int, count: int, only: str) -> list[Case]:
    """Return the cases in their order; all for a ``count`` of 0."""
    rng = random.Random(seed)
    hostile = [*EXPORTED, *PASSED]
    found = []
    for target in targets():
        if not any(part in target.path for part in only.split(",")):
            continue
        for name in hostile:
            plain = str(rng.randrange(len(PLAIN)))
            forms = ((name,), (name, name), (plain, name), (name, plain))
            found += [Case(target, form) for form in forms]
    if count:
        chosen = sorted(rng.sample(range(len(found)), min(count, len(found))))
        found = [found[index] for index in chosen]
    return found


def run(found: list[Case], start: int, report: Callable[[str], None]) -> list[str]:
    """Try cases; return what is wrong with which."""
    wrong = []
    ours, theirs = MemoryStream.create_pair()
    service = Library()
    server = service._connect(Channel(theirs), LIMITS)
    client = rpyc.VoidService()._connect(Channel(ours), {"sync_request_timeout": None})
    threading.Thread(target=server.serve_all, daemon=True).start()
    root = client.root
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index, case in enumerate(found[start:], start):
        report(f"{index} {case.name}")
        service.chosen = case.target
        faulthandler.dump_traceback_later(HANG, exit=True)
        problem = case.run(root)
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if now - peak > GROWTH:
            problem = problem or f"memory grew by {(now - peak) >> 10} MiB"
        peak = max(peak, now)
        if problem:
            wrong.append(f"{case.name}: {problem}")
            report(f"! {wrong[-1]}")
    faulthandler.cancel_dump_traceback_later()
    client.close()
    return wrong


def main() -> None:
    """Try cases, or have children try them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--only", default="")
    parser.add_argument("--from", type=int, default=0, dest="start")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    if options.all:
        sys.exit(all_of(options))
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    os.chdir(tempfile.mkdtemp())
    out = os.fdopen(os.dup(1), "w", buffering=1)

    def report(text: str) -> None:
        out.write(text.encode("ascii", "replace").decode()[:300] + "\n")

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what print() and pprint() write
    found = cases(options.seed, options.cases, options.only)
    wrong = run(found, options.start, report)
    report(f"{len(found)} cases, {len(wrong)} wrong, seed {options.seed}")
    os._exit(bool(wrong))  # the library may have started threads


def all_of(options: Any) -> bool:
    """Try all cases in children, behind one that ended too; print what is wrong."""
    wrong: list[str] = []
    start = options.start
    while True:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.attacks.stdlib_oracle",
            f"--from={start}",
        ]
        command += [f"--seed={options.seed}", f"--cases={options.cases}", f"--only={options.only}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        wrong += [line[2:] for line in lines if line[:2] == "! "]
        last = next((one for one in reversed(lines) if re.match(r"\d+ ", one)), "")
        if "cases," in last or not last:
            print(*wrong, f"{last or done.stderr} ({len(wrong)} wrong)", sep="\n")
            return bool(wrong)
        frames = [line.strip() for line in done.stderr.splitlines() if "rpyc_like" not in line]
        wrong.append(f"{last}: ended with {done.returncode}: {frames[:6]}")
        print(wrong[-1], flush=True)
        start = int(last.split()[0]) + 1


if __name__ == "__main__":
    main()
