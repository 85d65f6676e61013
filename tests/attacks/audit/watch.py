"""The judge inside a victim: an audit hook, and a look for instances and subclasses of classes.

What is a failure while a hostile program runs:

* an audit event that no function of the program causes and that is not in ``expected.txt``. The
  cause is the innermost frame that belongs to no library: a frame of this package (the event is
  judged) or of the program that is served (it is not);
  What would have an effect outside the process (files, programs, imports) is refused as well;
* a use of anything in :mod:`.canaries`;
* an instance of a canary's class;
* a new class that inherits from a class of the program, or of an imported library. Builtin types
  and :data:`VALUE_TYPES` may be bases;
* an instance of such a class, or of one that has such a class in its ``__mro__`` alone. Exceptions
  may have it there: ``except`` looks at nothing else, and any code of it that runs is noticed.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    GeneratorType,
    TracebackType,
)
from typing import Any, Final, NamedTuple

from . import canaries

__all__ = ["EXPECTED", "Finding", "Watch"]

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
PACKAGE: Final = str(ROOT / "rpyc_like") + os.sep
EXPECTED: Final = HERE / "expected.txt"
MOST_EXPECTED: Final = 20

_PROGRAM: Final = frozenset(str(HERE / name) for name in ("services.py", "client.py"))
_CANARIES: Final = str(HERE / "canaries.py")
_HARNESS: Final = frozenset(str(HERE / name) for name in ("watch.py", "victim.py"))

_OURS: Final = __name__.rpartition(".")[0]

_IGNORED: Final = frozenset(
    {
        *("sys._getframe", "sys.unraisablehook", "sys.excepthook", "builtins.id", "array.__new__"),
        *("time.sleep", "_thread.start_new_thread", "_thread.start_joinable_thread"),
    }
)
"""Events that tell nothing: plain reads of the interpreter's own state, threads, sleeping."""

_EFFECTS: Final = (
    *(
        "os.",
        "subprocess.",
        "shutil.",
        "pty.",
        "webbrowser.",
        "ctypes.",
        "socket.connect",
        "signal.",
    ),
    *("socket.bind", "sqlite3.", "urllib.", "ftplib.", "smtplib.", "tempfile.", "fcntl.", "import"),
)
"""Beginnings of the names of events that are not let happen if they are failures."""

_ZONES: Final = tuple(os.path.realpath(path) + os.sep for path in zoneinfo.TZPATH)

_CODE_TYPES: Final = (
    *(CodeType, FrameType, TracebackType, GeneratorType, CoroutineType, AsyncGeneratorType),
)

VALUE_TYPES: Final = frozenset(
    (
        "abc array collections datetime decimal enum fractions pathlib types typing uuid zoneinfo"
    ).split()
)
"""Modules whose classes may be bases of classes that are made while a program runs."""


class Finding(NamedTuple):
    """One failure, or an event that was expected."""

    event: str
    argument: str
    caller: str
    stack: str

    @property
    def line(self) -> str:
        """The line that ``expected.txt`` would have for it."""
        return f"{self.event} {self.argument} {self.caller}"


def read_expected(path: Path = EXPECTED) -> frozenset[str]:
    """Return the lines of the file of expected events."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    found = frozenset(line for line in lines if line and not line.startswith("#"))
    if len(found) > MOST_EXPECTED:
        raise ValueError(f"expected at most {MOST_EXPECTED} lines in {path.name}, got {len(found)}")
    return found


class Watch:
    """Judges the events of this process from :meth:`arm` on.

    Args:
        expected: lines of events that are no failures.
        folder: its path, and all below it, is written ``<folder>`` in arguments; a file of the
            database of time zones is written ``<zone>``, and a bare name ``<name>``.
    """

    def __init__(self, expected: frozenset[str], folder: str) -> None:
        self.expected = expected
        self.folder = folder
        self.events = 0  # judged ones
        self.seen: dict[str, int] = {}  # expected lines that came, and how often
        self._findings: dict[str, Finding] = {}
        self._armed = False
        self._exempt: set[int] = set()  # threads of the harness
        self._busy = threading.local()  # whether this thread is inside the hook
        self._known_types: set[int] = set()
        sys.addaudithook(self._hook)
        canaries.touched = self._touched

    def arm(self) -> None:
        """Begin to judge; the calling thread is exempt."""
        self._exempt.add(threading.get_ident())
        gc.collect()
        gc.freeze()  # what was there before is not looked at again
        self._known_types = {id(one) for one in _all_types()}
        self._armed = True

    def take(self) -> list[Finding]:
        """Return what was found since the last call."""
        found, self._findings = self._findings, {}
        return list(found.values())

    # -- events

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._armed or event in _IGNORED:
            return
        if threading.get_ident() in self._exempt or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self._judge(event, args)
        finally:
            self._busy.now = False

    def _judge(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and type(args[0]) is int:
            return  # of a descriptor: it was opened before
        if event.startswith("object.__") and not _leads_on(*args[:2]):
            return
        self.events += 1
        cause = _cause(sys._getframe(2))
        if cause is None:
            return
        line = f"{event} {self._argument(event, args)} {cause}"
        if line in self.expected:
            self.seen[line] = self.seen.get(line, 0) + 1
            return
        self._note(event, self._argument(event, args), cause)
        if event.startswith(_EFFECTS) or (event == "open" and _writes(args)):
            raise PermissionError(f"the audit oracle does not let {line!r} happen")

    def _touched(self, what: str) -> None:
        if self._armed and threading.get_ident() not in self._exempt:
            cause = _cause(sys._getframe(2), ignored=_CANARIES)
            self._note("canary", what, cause or "the program itself")

    def _note(self, event: str, argument: str, caller: str) -> None:
        finding = Finding(event, argument, caller, _stack(sys._getframe(2)))
        self._findings.setdefault(finding.line, finding)

    def _argument(self, event: str, args: tuple[Any, ...]) -> str:
        """Return what an event is about in one word; runs no code of the arguments."""
        if event in ("object.__getattr__", "object.__setattr__", "object.__delattr__"):
            return f"{type(args[0]).__name__}.{args[1]}"
        if event == "exec" and type(args[0]) is CodeType:
            return f"{_word(args[0].co_filename)}:{args[0].co_name}"
        if event == "compile":
            return _word(args[1])
        if event == "code.__new__":
            return f"{_word(args[1])}:{_word(args[2])}"
        if event == "import":
            return _word(args[0])
        if event == "pickle.find_class":
            return f"{_word(args[0])}.{_word(args[1])}"
        if event.startswith(("socket.", "gc.")) or event in ("marshal.loads", "marshal.load"):
            return "-"
        if not args:
            return "-"
        return self._path(args[0])

    def _path(self, value: Any) -> str:
        if type(value) is bytes:
            value = os.fsdecode(value)
        if type(value) is str and value not in ("", ".", "..") and os.sep not in value:
            return "<name>"  # in this folder, or in one that is open: the event does not tell
        if type(value) is str:
            whole = os.path.realpath(value)
            if whole == self.folder or whole.startswith(self.folder + os.sep):
                return "<folder>"
            if whole.startswith(_ZONES):
                return "<zone>"
        return _word(value)

    # -- objects

    def look(self) -> None:
        """Look for instances and subclasses; called while the peer is still connected."""
        self._exempt.add(threading.get_ident())
        classes: dict[type, type] = {cls: cls for cls in canaries.CLASSES}
        found = gc.get_objects()
        for one in found:
            if issubclass(type(one), type) and id(one) not in self._known_types:
                inherited = set(map(id, _bases(one)))
                for base in type.__dict__["__mro__"].__get__(one)[1:]:
                    if id(base) in self._known_types and not _may_be_base(base):
                        if id(base) in inherited:
                            self._note_object("base", one, base)
                        elif issubclass(one, BaseException):
                            continue  # `except` takes it for that class, and runs nothing of it
                        classes.setdefault(one, base)
        for one in found:
            if type(one) in classes:
                self._note_object("instance", type(one), classes[type(one)])

    def note(self, event: str, argument: str) -> None:
        """Note something that was seen from outside."""
        finding = Finding(event, _short(argument), "-", "")
        self._findings.setdefault(finding.line, finding)

    def _note_object(self, event: str, cls: type, base: type) -> None:
        module = str(base.__dict__.get("__module__", ""))
        whose = "program" if module.startswith(_OURS) else "library"
        names = [f"{one.__dict__.get('__module__')}.{_name(one)}" for one in (cls, base)]
        finding = Finding(event, f"a_class_of_the_{whose}", "-", _short(" < ".join(names)))
        self._findings.setdefault(finding.line, finding)

    def forget_types(self) -> None:
        """Take the types that there are for those that were there before."""
        self._known_types = {id(one) for one in _all_types()}


def _writes(args: tuple[Any, ...]) -> bool:
    """Return whether an ``open`` event is about more than reading."""
    mode, flags = args[1], args[2]
    if type(mode) is str:
        return mode.strip("btU") != "r"
    return type(flags) is not int or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _leads_on(obj: Any, name: str) -> bool:
    """Return whether an attribute leads to code, frames, or another class."""
    return type(obj) in _CODE_TYPES or name in ("__code__", "__class__", "__bases__")


def _may_be_base(base: type) -> bool:
    module = base.__dict__.get("__module__", "builtins")
    if type(module) is not str:
        return True
    if not base.__flags__ & (1 << 9):
        return module == "builtins" or module in VALUE_TYPES or base.__flags__ & (1 << 10) == 0
    return module.partition(".")[0] in ("builtins", *VALUE_TYPES) or module.startswith("rpyc_like.")


def _bases(cls: type) -> Iterator[type]:
    """Yield the classes that a class inherits from, whatever its ``__mro__`` says."""
    for base in type.__dict__["__bases__"].__get__(cls):
        yield base
        yield from _bases(base)


def _name(cls: type) -> str:
    return str(type.__dict__["__name__"].__get__(cls))


def _all_types() -> Iterator[type]:
    waiting = [object]
    seen = {id(object)}
    while waiting:
        one = waiting.pop()
        yield one
        try:
            below = type.__subclasses__(one)
        except TypeError:
            continue
        for sub in below:
            if id(sub) not in seen:
                seen.add(id(sub))
                waiting.append(sub)


def _cause(frame: FrameType | None, ignored: str = "") -> str | None:
    """Return the module and function of this package that caused an event; None for the program.

    Where there is neither, it is the innermost frame.
    """
    innermost = None
    while frame is not None:
        name = frame.f_code.co_filename
        if name != ignored:
            if innermost is None:
                innermost = frame
            if name.startswith(PACKAGE):
                return _place(frame)
            if name in _PROGRAM or name in _HARNESS or (name == _CANARIES and not ignored):
                return None
        frame = frame.f_back
    return "-" if innermost is None else _place(innermost)


def _place(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__", "?")
    return f"{_word(module)}:{frame.f_code.co_name.replace(' ', '_')}"


def _stack(frame: FrameType | None) -> str:
    lines = []
    while frame is not None and len(lines) < 12:
        name = frame.f_code.co_filename
        if name not in _HARNESS:
            lines.append(f"{_place(frame)}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(lines)


def _word(value: Any) -> str:
    """Return a value as one short word without running code of it."""
    if type(value) in (str, int, float, bool, type(None)):
        return _short(str(value))
    if type(value) is bytes:
        return _short(repr(value))
    return f"<{type(value).__name__}>"


def _short(text: str) -> str:
    text = text.replace(str(ROOT) + os.sep, "")
    return "".join("_" if one.isspace() or not one.isprintable() else one for one in text)[:80]
