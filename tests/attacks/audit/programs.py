"""Generates hostile programs: walks over the requests of the protocol and what they give."""

from __future__ import annotations

import asyncio
import collections
import functools
import itertools
import pickle
import random
import types
from collections.abc import Callable, Sequence
from typing import Any, Final

from rpyc_like.core import consts
from rpyc_like.lib.interpreter_attrs import INTERNALS

from .canaries import CLASSES
from .wire import NAMES as HANDLERS
from .wire import Answer, Pack, Session, Step, Value, plain

__all__ = ["Attacker", "Knowledge"]


def _gen() -> Any:
    yield


async def _coro() -> None: ...


async def _agen() -> Any:
    yield


_KINDS: Final = (
    *(object, type, types.FunctionType, types.MethodType, types.CodeType, types.FrameType),
    *(types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.TracebackType),
    *(types.ModuleType, functools.partial, property, BaseException, OSError, SystemExit, str),
    *(dict, list, tuple, set, memoryview, types.BuiltinFunctionType, asyncio.Future, type(_gen)),
)
NAMES: Final = sorted(
    {name for kind in _KINDS for name in dir(kind)}
    | INTERNALS
    | {
        *("__subclasses__", "__bases__", "__mro__", "__globals__", "__builtins__", "__loader__"),
        *("__spec__", "__prepare__", "__set_name__", "__class_getitem__", "__init_subclass__"),
        *("__instancecheck__", "__subclasscheck__", "__subclasshook__", "__wrapped__", "__file__"),
        *("__path__", "__cached__", "__missing__", "__reversed__", "__length_hint__", "__index__"),
        *("__await__", "__aiter__", "__anext__", "__aenter__", "__aexit__", "__enter__"),
        *("__exit__", "__del__", "__getstate__", "__setstate__", "__getnewargs__", "__copy__"),
        *("__deepcopy__", "__fspath__", "__bytes__", "__complex__", "__get__", "__set__"),
        *("_conn", "_secret", "_kept", "secret", "kept", "hidden", "state", "____conn__"),
        *("____id_pack__", "____refcount__", "____origin____", "_rpyc_getattr", "_rpyc_setattr"),
        *("on_connect", "on_disconnect", "_connect", "_protocol", "namespace", "execute", "eval"),
        *("getmodule", "getconn", "modules", "builtin", "builtins", "teleport", "args"),
    }
)
"""Names that lead, or might lead, to what nobody has exported."""

_OPERATORS: Final = (
    "__call__ __iter__ __next__ __len__ __getitem__ __setitem__ __contains__ __enter__ __exit__ "
    "__add__ __radd__ __iadd__ __or__ __ror__ __index__ __int__ __float__ __bool__ __fspath__ "
    "__bytes__ __format__ __get__ __set__ __set_name__ __await__ __aiter__ __anext__ __aenter__ "
    "__aexit__ __copy__ __deepcopy__ __array__ __reversed__ __length_hint__ __round__ __complex__ "
    "__instancecheck__ __subclasscheck__ __class_getitem__ __init_subclass__ __mro_entries__ "
    "__prepare__ __del__ __new__ __init__ __getattr__ __getattribute__ __eq__ __hash__ "
    "with_traceback keys values items"
).split()

_MAKERS: Final = (
    *("__init_subclass__", "__class__", "__prepare__", "__class_getitem__", "__reduce_ex__"),
    *("__subclasses__", "with_traceback", "__copy__", "_make", "_replace", "fromkeys"),
)
_LADDERS: Final = (
    "{0.__class__.__init__.__globals__}",
    "{0.__class__.__mro__[1].__subclasses__}",
    "{.__init__.__globals__[canaries].SECRET}",
    "__class__.__base__.__subclasses__",
    "_conn._local_root._secret",
    "%(secret)s",
    "{0._secret}",
    "{0._kept.secret}",
    "{0._conn}",
    "_secret",
    "_kept.secret",
)
_CODES: Final = (
    "__import__('os').system('true')",
    "import antigravity",
    "open('/etc/passwd').read()",
)
_ESCAPES: Final = ("../PWNED", "/tmp/PWNED", "ok/../../PWNED")
_PATHS: Final = (
    *_ESCAPES,
    *("/etc/passwd", ".", "..", "", "a/b", "C:\\x"),
    *("name\0x", "-rf", "/data", "con"),
)
_PICKLES: Final = (
    pickle.dumps(collections.OrderedDict(a=1)),
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    b"\xe3\x00\x00\x00\x00",
)
ABSENT: Final = (
    *("antigravity", "this", "turtledemo.clock", "idlelib.run", "lib2to3.main", "wsgiref.handlers"),
    *(
        "tests.fuzz.targets",
        "tests.soak.server",
        "xmlrpc.client",
        "smtplib",
        "rpyc",
        "encodings.hex",
    ),
)
"""Modules that no victim has imported."""

CANARIES: Final = "tests.attacks.audit.canaries"
SERVICES: Final = "tests.attacks.audit.services"
ALL_FEATURES: Final = 0x7FF


class Knowledge:
    """What a peer could know of the victim's program.

    Args:
        classes: module and name of each class that the victim has imported.
        names: that the services of all victims have.
        exposed: names that this one's service exposes, with the prefix.
    """

    def __init__(
        self, classes: Sequence[Sequence[str]], names: Sequence[str], exposed: Sequence[str]
    ) -> None:
        self.classes = [(module, name) for module, name in classes]
        own = {cls.__name__ for cls in CLASSES}
        self.canaries = [one for one in self.classes if one[0] == CANARIES and one[1] in own]
        self.services = [one for one in self.classes if one[0] == SERVICES]
        self.builtins = [one for one in self.classes if one[0] == "builtins"]
        self.exceptions = [
            one
            for one in self.classes
            if one[1].endswith(("Error", "Exception", "Exit", "Warning"))
        ]
        self.names = sorted(names)
        self.exposed = sorted({*exposed, *(name.removeprefix("exposed_") for name in exposed)})


class Attacker:
    """Makes one program, step after step, from what the victim has answered so far.

    Args:
        seed: of this program; the same one makes the same program of the same answers.
        knowledge: of the victim's program.
    """

    def __init__(self, seed: str, knowledge: Knowledge) -> None:
        self.seed = seed
        self.knowledge = knowledge
        self.random = random.Random(seed)
        self.session: Session | None = None
        self.steps: list[Step] = []
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1000)
        self._plans: list[Callable[[], Step | None]] = []
        self._known: dict[tuple[int, int], list[str]] = {}
        self._own: list[Value] = []
        self._purposes: dict[Any, str] = {}  # of own objects: as what they are called
        self.version = 5 if self.random.random() < 0.05 else 6
        self._extended = self.random.random() < 0.7
        self._answers_well = self.random.choice((0.4, 0.85, 0.97, 0.99))

    # -- values

    def class_name(self) -> tuple[str, str]:
        pick, known = self.random.random(), self.knowledge
        if pick < 0.4:
            return self.random.choice(known.canaries)
        if pick < 0.5:
            return self.random.choice(known.services)
        if pick < 0.6:
            return self.random.choice(known.builtins)
        if pick < 0.7:
            return self.random.choice(ABSENT), self.random.choice(("Error", "main", "Vault"))
        if pick < 0.75:
            return "evil", self.random.choice(("Vault", "X", "list", "Error"))
        return self.random.choice(known.classes)

    def exception_name(self) -> tuple[str, str]:
        if self.random.random() < 0.5:
            return self.random.choice(self.knowledge.exceptions)
        return self.class_name()

    def name(self) -> str:
        pick = self.random.random()
        if pick < 0.35:
            return self.random.choice(NAMES)
        if pick < 0.5:
            return self.random.choice(self.knowledge.names)
        if pick < 0.9:
            return self.random.choice(self.knowledge.exposed or self.knowledge.names)
        return self.random.choice((*_OPERATORS, *_LADDERS))

    def description(self, of: str = "") -> Any:
        """Return an answer to INSPECT."""
        chance = self.random
        if of == _PATH_LIKE:
            return tuple((name, None) for name in ("__fspath__", "__iter__", "__len__"))
        methods = [(name, None) for name in chance.sample(_OPERATORS, chance.randrange(12))]
        if chance.random() < 0.7:
            methods += [(name, None) for name in ("__call__", "__iter__", "__len__")]
        if chance.random() < 0.75:
            names = [self.class_name() for _ in range(chance.randrange(1, 4))]
            if chance.random() < 0.4:
                names.insert(0, ("evil", "X"))
            if chance.random() < 0.3:
                names += [self.exception_name(), ("builtins", "Exception"), _BASE_EXCEPTION]
            special = tuple(chance.sample(_OPERATORS, chance.randrange(6)))
            told: tuple[Any, ...] = (tuple(names), special)
            if chance.random() < 0.5:
                functions = tuple(self.name() for _ in range(3))
                module = (self.name(), chance.choice(ABSENT), functions, functions)
                told = (*told, (functions, functions, functions, (module,)))
            methods.append(("____class____", told))
        return tuple(methods)

    def own(self, is_class: bool | None = None) -> Value:
        """Return an object of this side, which may be a class."""
        chance = self.random
        if self._own and is_class is None and chance.random() < 0.2:
            return chance.choice(self._own)
        if is_class is None:
            is_class = chance.random() < 0.35
        module, name = self.class_name()
        pack = (f"{module}.{name}", next(self._ids), 0 if is_class else next(self._ids))
        made: Value = ("o", pack)
        if self._extended and chance.random() < 0.4:
            made = ("d", pack, self.description())
        self._own.append(made)
        return made

    def got(self, of: Callable[[Pack], bool] = lambda pack: True) -> Value | None:
        """Return a reference of the victim's: of any kind alike, a late one rather than another.

        Args:
            of: whether one may be returned.
        """
        assert self.session is not None
        known: dict[str, list[tuple[int, int]]] = {}
        for key in self.session.latest:
            pack = self.session.got[key]
            if of(pack):
                known.setdefault(pack[0] if self.random.random() < 0.7 else "", []).append(key)
        if not known:
            return None
        keys = known[self.random.choice(list(known))]
        return ("g", *self.random.choice(keys[-4:] if self.random.random() < 0.7 else keys))

    def callable_got(self) -> Value | None:
        """Return a reference to something that can be called, if there is one."""
        return self.got(lambda pack: pack[2] == 0 or pack[0] in _CALLABLE) or self.got()

    def exception(self) -> Any:
        """Return the plain value of an exception."""
        chance = self.random
        name = self.exception_name()
        args = tuple(self.plain() for _ in range(chance.randrange(3)))
        attributes = [(self.name(), self.plain()) for _ in range(chance.randrange(4))]
        attributes.append((chance.choice(("state", "filename", "__setstate__", "exposed_dump")), 1))
        made: tuple[Any, ...] = (name, args, tuple(attributes), "traceback")
        if chance.random() < 0.6:
            bases = (name, self.exception_name(), self.class_name())
            if chance.random() < 0.8:
                bases += (("builtins", "Exception"), _BASE_EXCEPTION)
            cause = self.exception()[:4] if chance.random() < 0.2 else None
            made = (*made, (bases, ("note",), cause, None, False, None))
        return made

    def plain(self) -> Any:
        chance = self.random
        return chance.choice(
            (
                *(None, True, 0, 1, -1, 3, 1.5, "", "text", b"bytes", (), (1, 2), (("a", 1),)),
                *(slice(None), frozenset((1,)), ..., NotImplemented, 1j, 2**70),
                *(chance.choice(_LADDERS), chance.choice(_CODES), chance.choice(_PATHS)),
                *(chance.choice(_PICKLES), self.name(), ".".join(self.class_name())),
            )
        )

    def snapshot(self) -> Any:
        """Return the answer to SNAPSHOT: classes and tokens."""
        chance = self.random
        classes: list[Any] = []
        tokens: list[Any] = []
        count = chance.randrange(1, 5)
        if count > 1:
            tokens.append((chance.choice((0, 1, 3, 4)), count))
        for _ in range(count):
            tokens += self._tokens(classes)
        if chance.random() < 0.2:
            tokens = [self._shuffled(token) for token in tokens]
        return tuple(classes), tuple(tokens)

    def _tokens(self, classes: list[Any]) -> list[Any]:
        """Return the tokens of one value, and add the classes that they need."""
        chance = self.random
        pick = chance.random()
        if pick < 0.5:
            module, name = self.class_name()
            kind = chance.choice(("namedtuple", "dataclass", "Enum", "Flag", "IntEnum", "StrEnum"))
            fields: Any = _FIELDS.get(name, ("left", "right"))
            if kind not in ("namedtuple", "dataclass"):
                names = {"Colour": "RED", "Right": "READ", "Level": "LOW", "Mode": "READ"}
                fields = ((names.get(name, "A"), 1),)
            classes.append((kind, module, name, fields))
            index = len(classes) - 1
            if kind in ("namedtuple", "dataclass"):
                return [(8, index, len(fields)), *["field"] * len(fields)]
            member = chance.choice((fields[0][0], "BLUE", "none", "exposed_dump", "_missing_"))
            return [(9, index, member, self.plain())]
        if pick < 0.6:
            kind = chance.choice(("deque", "OrderedDict", "Counter", "defaultdict", "UserDict"))
            return [(10, kind, 2), "a", 1]
        if pick < 0.9:
            kind = chance.choice(tuple(_SIMPLE))
            if kind in ("datetime", "time") and chance.random() < 0.5:
                return [(11, kind, *_SIMPLE[kind][:2], chance.choice(_ZONES))]
            return [(11, kind, *chance.choice((_SIMPLE[kind], (self.plain(),), ())))]
        dtype = chance.choice(("<i4", "<f8", "O", "V8", "<U2", "M8[ns]", self.plain()))
        return [(12, dtype, (1,), chance.choice(("C", "F", "", "x")), bytes(8))]

    def _shuffled(self, token: Any) -> Any:
        if type(token) is tuple and token and self.random.random() < 0.5:
            return (self.random.randrange(14), *token[1:])
        return token

    def value(self, depth: int = 0) -> Value:
        pick = self.random.random()
        if pick < 0.3:
            return ("v", self.plain())
        if pick < 0.6:
            found = self.got()
            if found is not None:
                return found
        if pick < 0.7 and depth < 2:
            return ("t", tuple([self.value(depth + 1) for _ in range(self.random.randrange(4))]))
        return self.own()

    def values(self, most: int = 3) -> Value:
        return ("t", tuple([self.value() for _ in range(self.random.randrange(most + 1))]))

    def pairs(self) -> Value:
        if self.random.random() < 0.85:
            return ("v", ())
        return ("t", (("t", (("v", self.name()), self.value())),))

    # -- steps

    def step(self, handler: int, *args: Value) -> Step:
        return Step(next(self._numbers), handler, args)

    def next(self) -> Step:
        """Return the next step."""
        made: Step | None = None
        if not self.steps:
            made = self._first()
        while made is None and self._plans and self.random.random() < 0.9:
            made = self._plans.pop(0)()
        if made is None:
            made = self._any()
        self.steps.append(made)
        return made

    def _first(self) -> Step:
        visits = [self._visit] * self.random.randrange(5)
        self._plans += [self._root, *visits] if self._extended else visits
        if self._extended:
            mask = ALL_FEATURES if self.random.random() < 0.7 else self.random.getrandbits(12)
            return self.step(consts.HANDLE_HELLO, ("v", mask))
        return self.step(consts.HANDLE_GETROOT)

    def _root(self) -> Step:
        return self.step(consts.HANDLE_GETROOT)

    def _visit(self) -> Step | None:
        """Begin to take what an exposed function gives."""
        assert self.session is not None
        exposed = self.knowledge.exposed
        if not exposed or not self.session.latest:
            return None
        name: Value = ("v", self.random.choice(exposed))
        made = self.step(consts.HANDLE_GETATTR, ("g", *self.session.latest[0]), name)

        def call() -> Step | None:
            assert self.session is not None
            if (made.number, 0) not in self.session.got:
                return None
            args: Value = ("v", ()) if self.random.random() < 0.6 else self.values()
            called = self.step(consts.HANDLE_CALL, ("g", made.number, 0), args, ("v", ()))
            self._plans.insert(0, lambda: self._unpack(called))
            return called

        self._plans.insert(0, call)
        return made

    def _unpack(self, before: Step) -> Step | None:
        """Return a request for the items of what a step gave, if it is a container."""
        assert self.session is not None
        pack = self.session.got.get((before.number, 0), ("", 0, 0))
        if pack[0] not in _CONTAINERS:
            return None
        return self.step(consts.HANDLE_BUFFITER, ("g", before.number, 0), ("v", 20))

    def _any(self) -> Step:
        target = self.got()
        if target is None or self.random.random() < 0.04:
            return self._untargeted(target)
        kind = self.random.choices(_STEPS, _WEIGHTS)[0]
        return kind(self, target)

    def _untargeted(self, target: Value | None) -> Step:
        chance = self.random
        pick = chance.randrange(9)
        if pick == 0:
            return self.step(consts.HANDLE_PING, self.value())
        if pick == 1:
            return self.step(chance.randrange(130), *self.values()[1])
        if pick == 2:
            return Step(next(self._numbers), raw=b"\x02" + _dumped((chance.randrange(40), (1, 1))))
        if pick == 3:
            body = (chance.randrange(40), self.exception())
            return Step(next(self._numbers), raw=b"\x03" + _dumped(body))
        if pick == 4 and target is not None:
            return self.step(consts.HANDLE_DEL, target, ("v", 1))
        if pick == 5:
            return self.step(consts.HANDLE_CANCEL, ("v", chance.randrange(40)))
        if pick == 6:
            return self.step(consts.HANDLE_HELLO, ("v", chance.getrandbits(12)))
        if pick == 7 and target is not None:  # something that is no reference in its place
            handler = chance.choice(_OBJECT_HANDLERS)
            return self.step(handler, self.own(), *self.values()[1])
        return self.step(consts.HANDLE_GETROOT)

    def _attribute_name(self, target: Value) -> str:
        known = self._known.get(target[1:])  # type: ignore[arg-type]
        if known and self.random.random() < 0.6:
            return self.random.choice(known)
        return self.name()

    def _getattr(self, target: Value) -> Step:
        made = self.step(consts.HANDLE_GETATTR, target, ("v", self._attribute_name(target)))
        if self.random.random() < 0.5:
            self._plans.append(lambda: self._follow(made))
        return made

    def _follow(self, before: Step) -> Step | None:
        """Return a call of what a step gave."""
        assert self.session is not None
        if (before.number, 0) not in self.session.got:
            return None
        target = ("g", before.number, 0)
        args = [self.value() for _ in range(self.random.choice((0, 0, 1, 2, 3)))]
        if args and self.random.random() < 0.5:
            args = [self.own(True), *args[: self.random.choice((0, 0, 1, 3))]]
        made = self.step(consts.HANDLE_CALL, target, ("t", tuple(args)), self.pairs())
        self._plans.append(lambda: self._poke(made))
        return made

    def _poke(self, before: Step) -> Step | None:
        """Return a use of what a step gave, and plan another."""
        assert self.session is not None
        if (before.number, 0) not in self.session.got:
            return None
        target: Value = ("g", before.number, 0)
        if self.random.random() < 0.4:
            self._plans.append(lambda: self._poke(before))
        pick = self.random.random()
        made = self._unpack(before) if pick < 0.7 else None
        if made is not None:
            return made
        if pick < 0.3:
            return self.step(consts.HANDLE_DIR, target)
        if pick < 0.6:
            name = self.random.choice(("exposed_dump", "dump", "exposed_secret", "exposed_make"))
            return self.step(consts.HANDLE_CALLATTR, target, ("v", name), ("v", ()), ("v", ()))
        return self.random.choices(_STEPS, _WEIGHTS)[0](self, target)

    def _call(self, target: Value) -> Step:
        if self.random.random() < 0.8:
            target = self.callable_got() or target
        made = self.step(consts.HANDLE_CALL, target, self.values(), self.pairs())
        self._plans.append(lambda: self._poke(made))
        return made

    def _callattr(self, target: Value) -> Step:
        name: Value = ("v", self._attribute_name(target))
        made = self.step(consts.HANDLE_CALLATTR, target, name, self.values(), self.pairs())
        if self.random.random() < 0.5:
            self._plans.append(lambda: self._poke(made))
        return made

    def _new(self, target: Value) -> Step:
        """Begin to make an instance of a class by a constructor that can be read."""
        name = self.random.choice(("__new__", "__new__", *_MAKERS))
        made = self.step(consts.HANDLE_GETATTR, target, ("v", name))
        self._plans.append(lambda: self._follow(made))
        return made

    def _setattr(self, target: Value) -> Step:
        name: Value = ("v", self._attribute_name(target))
        return self.step(consts.HANDLE_SETATTR, target, name, self.value())

    def _delattr(self, target: Value) -> Step:
        return self.step(consts.HANDLE_DELATTR, target, ("v", self._attribute_name(target)))

    def _simple(self, target: Value) -> Step:
        handler = self.random.choice(
            (*(consts.HANDLE_REPR, consts.HANDLE_STR, consts.HANDLE_HASH, consts.HANDLE_DIR),)
        )
        return self.step(handler, target)

    def _pickle(self, target: Value) -> Step:
        if self.random.random() < 0.5:
            return self.step(consts.HANDLE_PICKLE_PARTS, target)
        return self.step(consts.HANDLE_PICKLE, target, ("v", self.random.randrange(6)))

    def _compare(self, target: Value) -> Step:
        op = self.random.choice(("__eq__", "__ne__", "__lt__", "__new__", "__cmp__", self.name()))
        return self.step(consts.HANDLE_CMP, target, self.value(), ("v", op))

    def _inspect(self, target: Value) -> Step:
        assert self.session is not None
        pack = self.session.got[target[1], target[2]]
        return self.step(consts.HANDLE_INSPECT, ("v", pack))

    def _iterate(self, target: Value) -> Step:
        pick, chance = self.random.randrange(4), self.random
        if pick == 0:
            return self.step(consts.HANDLE_BUFFITER, target, ("v", chance.choice((1, 5, -1, "1"))))
        if pick == 1:
            return self.step(consts.HANDLE_ITERATE, target, ("v", chance.randrange(5)), ("v", 5))
        count = ("v", chance.randrange(4))
        if pick == 2:
            return self.step(consts.HANDLE_CHUNK, target, count, count, ("v", chance.randrange(4)))
        return self.step(consts.HANDLE_REWIND, target, count)

    def _slice(self, target: Value) -> Step:
        names = ("__getslice__", "__getitem__", "__setitem__", "__new__", self.name())
        attempt, fallback = [("v", self.random.choice(names)) for _ in range(2)]
        stop = ("v", self.random.choice((None, 2)))
        return self.step(
            consts.HANDLE_OLDSLICING, target, attempt, fallback, ("v", 0), stop, self.values()
        )

    def _leave(self, target: Value) -> Step:
        error: Value = ("v", self.exception()) if self.random.random() < 0.7 else self.value()
        return self.step(consts.HANDLE_CTXEXIT, target, error)

    def _check(self, target: Value) -> Step:
        if self.random.random() < 0.5:
            return self.step(consts.HANDLE_SUBCLASSCHECK, target, self.value())
        assert self.session is not None
        pack = self.random.choice(list(self.session.got.values()))
        return self.step(consts.HANDLE_INSTANCECHECK, target, ("v", pack))

    def _climb(self, target: Value) -> Step:
        """Begin to have an object read what the peer may not."""
        chance = self.random
        assert self.session is not None
        text: Value = ("v", chance.choice(("{0._secret}", "_secret", "0._secret", *_LADDERS)))
        other = self.got() or text
        if chance.random() < 0.6:
            other = ("g", *self.session.latest[0])  # the root, as a rule
        args = chance.choice(((text,), (other,), (text, other), (other, text)))
        name = chance.choice(("", "", "format", "format_map", "vformat", "get_field", "substitute"))
        if name:
            made = self.step(consts.HANDLE_CALLATTR, target, ("v", name), ("t", args), ("v", ()))
        else:
            target = self.callable_got() or target
            made = self.step(consts.HANDLE_CALL, target, ("t", args), ("v", ()))
        self._plans.append(lambda: self._use(made))
        return made

    def _use(self, before: Step) -> Step | None:
        """Return a call of what a step gave with something of the victim's."""
        assert self.session is not None
        given = [key for key in self.session.latest if key[0] == before.number]
        target = self.got()
        if not given or target is None:
            return None
        if self.random.random() < 0.6:
            target = ("g", *self.session.latest[0])
        made: Value = ("g", *self.random.choice(given))
        return self.step(consts.HANDLE_CALL, made, ("t", (target,)), ("v", ()))

    def _snapshot(self, target: Value) -> Step:
        return self.step(consts.HANDLE_SNAPSHOT, target)

    def _chain(self, target: Value) -> Step:
        chance = self.random
        steps: list[Value] = []
        for index in range(chance.randrange(1, 5)):
            steps.append(self._chain_step(target, index))
        wanted = ("v", tuple(range(len(steps))))
        made = self.step(consts.HANDLE_CHAIN, ("t", tuple(steps)), wanted)
        self._plans.append(lambda: self._poke(made))
        return made

    def _chain_step(self, target: Value, index: int) -> Value:
        chance = self.random

        def operand(first: bool = False) -> Value:
            if index and chance.random() < 0.5:
                return ("v", (1, 0, chance.randrange(index)))
            return ("t", (("v", 0), target if first else self.value()))

        kind = chance.choice((0, 0, 1, 2, 2, 3, 4, 5))
        name = ("v", self._attribute_name(target))
        args = ("t", tuple(operand() for _ in range(chance.randrange(3))))
        parts: tuple[Value, ...]
        if kind == 0:
            parts = (operand(True), name)
        elif kind == 1:
            parts = (operand(True), args, ("v", ()))
        elif kind == 2:
            parts = (operand(True), name, args, ("v", ()))
        elif kind == 3:
            parts = (operand(True), name, operand())
        elif kind == 4:
            inner = ("t", (("v", 0), ("v", (1, 0, -1)), name))
            parts = (operand(True), ("t", (inner,)), ("v", (1, 0, 0)))
        else:
            parts = ()
        return ("t", (("v", kind), *parts))

    # -- what is known after a step

    def learn(self, step: Step, outcome: tuple[int, Any] | None) -> None:
        """Take note of the answer to a step."""
        if outcome is None or outcome[0] != 2:
            return
        if step.handler == consts.HANDLE_DIR and step.args[0][0] == "g":
            names = plain(outcome[1])
            if type(names) is tuple:
                known = [name for name in names if type(name) is str]
                self._known[step.args[0][1], step.args[0][2]] = known

    # -- answers

    def answer(self, handler: int, boxed: Any) -> Answer:
        """Return the answer to a request of the victim's, and note it with the current step."""
        before = []
        if self.random.random() < 0.08 and self.session is not None and self.session.latest:
            before.append(self._any())
        first = handler in (consts.HANDLE_HELLO, consts.HANDLE_GETROOT)
        if self.random.random() < (0.01 if first else 0.5 * (1 - self._answers_well)):
            made = Answer(3, self.exception(), before)
        else:
            made = Answer(2, self._answer(handler, boxed), before)
        made.asked = f"{HANDLERS.get(handler, handler)}{plain(boxed)!r:.120}"
        assert self.session is not None
        current = self.session.current
        if current is not None:
            current.answers.append(made)
        return made

    def _answer(self, handler: int, boxed: Any) -> Value:
        chance = self.random
        args = plain(boxed) or ()
        if handler == consts.HANDLE_INSPECT:
            if chance.random() < 0.1 * (1 - self._answers_well):
                return self.value()
            of = args[0][0] if args and type(args[0]) is tuple and args[0] else ""
            return ("v", self.description(of))
        if handler == consts.HANDLE_HELLO:
            return ("v", ALL_FEATURES if chance.random() < 0.6 else chance.getrandbits(11))
        if handler == consts.HANDLE_GETROOT and chance.random() < 0.97:
            return self.own(False)
        if chance.random() > self._answers_well:
            return self.value()
        if handler == consts.HANDLE_SNAPSHOT:
            return ("v", self.snapshot())
        if handler == consts.HANDLE_CHAIN:
            return self._chain_answer(args)
        if handler in (consts.HANDLE_REPR, consts.HANDLE_STR):
            return ("v", chance.choice((*_LADDERS, *_PATHS, "text")))
        if handler == consts.HANDLE_CMP and chance.random() < 0.85:
            return ("v", False)
        if handler in (consts.HANDLE_HASH, consts.HANDLE_CMP, consts.HANDLE_INSTANCECHECK):
            return ("v", chance.choice((1, True, False, 0, NotImplemented)))
        if handler == consts.HANDLE_DIR:
            return ("v", tuple(self.name() for _ in range(4)))
        if handler in (consts.HANDLE_PICKLE, consts.HANDLE_PICKLE_PARTS):
            data = chance.choice(_PICKLES)
            return ("v", data if handler == consts.HANDLE_PICKLE else (data, ()))
        if handler in (consts.HANDLE_ITERATE, consts.HANDLE_CHUNK):
            items = self._items()
            tail: tuple[Value, ...] = (("v", None), ("v", chance.random() < 0.8))
            if handler == consts.HANDLE_ITERATE:
                tail += (("v", 3), chance.choice((("v", None), self.own())))
            return ("t", (items, *tail))
        if handler == consts.HANDLE_BUFFITER:
            return self._items() if chance.random() < 0.4 else ("v", ())
        name = args[1] if len(args) > 1 and type(args[1]) is str else ""
        if handler == consts.HANDLE_GETATTR and name in _CALLED:
            return self._function(name)
        if handler in (consts.HANDLE_GETATTR, consts.HANDLE_CALLATTR):
            return self._attribute(name)
        if handler == consts.HANDLE_CALL:
            return self._attribute(self._purpose_of(boxed))
        return self.value()

    def _function(self, name: str) -> Value:
        """Return an object of this side that is called as ``name``."""
        made = self.own(False)
        self._purposes[made[1]] = name
        return made

    def _purpose_of(self, boxed: Any) -> str:
        """Return as what the object that a request calls was given."""
        try:
            return self._purposes.get(boxed[1][0][1], "")
        except (TypeError, IndexError):
            return ""

    def _items(self) -> Value:
        return ("t", tuple([self._file_name() for _ in range(self.random.randrange(4))]))

    def _file_name(self) -> Value:
        pick = self.random.random()
        if pick < 0.3:
            return ("v", self.random.choice(_PATHS))
        if pick < 0.5:
            return ("v", self.random.choice(("ok", "file", "a.txt")))
        if pick < 0.8:
            return ("o", (_PATH_LIKE, next(self._ids), next(self._ids)))
        return self.own() if pick < 0.85 else self.value()

    def _attribute(self, name: str) -> Value:
        """Return what an attribute, or a call of it, could be."""
        chance = self.random
        if name in ("isdir", "isfile", "exists", "__bool__", "__contains__"):
            return ("v", chance.random() < 0.6)
        if name in ("listdir", "keys", "values", "items", "path", "__iter__"):
            return self._items() if chance.random() < 0.5 else self.own(False)
        if name in ("read", "readline", "MAGIC_NUMBER", "__bytes__"):
            return ("v", chance.choice((b"", b"data", *_PICKLES)))
        if name in ("st_size", "fileno", "__len__", "__index__", "__int__", "tell", "__hash__"):
            return ("v", chance.choice((0, 1, 3, 4)))
        if name == "__fspath__":
            return ("v", chance.choice(("ok", "ok", *_ESCAPES, *_PATHS)))
        if name in ("join", "getcwd", "name", "__format__", "version", "basename"):
            return ("v", chance.choice((*_PATHS, "ok", "3.11.2 (x)", *_LADDERS)))
        if name in ("getmodule", "modules", "execute", "eval", "namespace", "builtins", "open"):
            return self._function("getmodule")
        if name == "__next__":
            return self._file_name()
        return self.own() if chance.random() < 0.85 else self.value()

    def _chain_answer(self, args: Any) -> Value:
        """Return outcomes of the steps of a chain, most of them of the kind that is wanted."""
        outcomes: list[Value] = []
        names: list[str] = []
        badly = min(0.06, 1 - self._answers_well)
        for step in args[0] if args and type(args[0]) is tuple else ():
            pick = self.random.random()
            names.append(_name_of(step, names))
            if pick < badly:
                outcomes.append(("v", (2, self.exception())))
            elif pick < 1.5 * badly:
                outcomes.append(("v", (self.random.choice((0, 3)),)))
            elif type(step) is tuple and step and step[0] == 4:
                outcomes.append(("t", (("v", 1), self._items())))
            elif type(step) is tuple and step and step[0] == 0 and names[-1] in _CALLED:
                outcomes.append(("t", (("v", 1), self._function(names[-1]))))
            else:
                outcomes.append(("t", (("v", 1), self._attribute(names[-1]))))
        return ("t", tuple(outcomes))


def _name_of(step: Any, names: list[str]) -> str:
    """Return the name that a step of a chain is about: of a call, that of what is called."""
    if type(step) is not tuple:
        return ""
    target = step[1] if len(step) > 1 else None
    if step[0] == 1 and type(target) is tuple and target[:2] == (1, 0) and len(target) == 3:
        return names[target[2]] if 0 <= target[2] < len(names) else ""
    return next((one for one in step if type(one) is str), "")


_CALLED: Final = frozenset(
    "isdir isfile exists listdir keys values items read readline fileno join getcwd basename "
    "getmodule execute eval open makedirs fstat dict range OrderedDict Decimal connect "
    "sleep".split()
)
"""Attributes that are functions, if the answer is plausible."""

_CALLABLE: Final = frozenset(
    {
        *("builtins.method", "builtins.function", "builtins.builtin_function_or_method"),
        *("builtins.method-wrapper", "functools.partial", "operator.attrgetter"),
        *("operator.methodcaller", "operator.itemgetter", "builtins.type", "enum.EnumType"),
    }
)
_CONTAINERS: Final = frozenset({"builtins.list", "builtins.tuple", "collections.deque"})

_PATH_LIKE: Final = "evil.PathLike"
_BASE_EXCEPTION: Final = ("builtins", "BaseException")
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Money": ("amount", "currency"),
    "Account": ("owner", "amount"),
    "Order": ("number", "point", "level"),
    "Point": ("x", "y"),
}
_ZONES: Final = ("UTC", "Europe/Berlin", "../../../etc/passwd", "/etc/passwd", "nowhere/here")
_DATE: Final = ("2026-01-02T03:04:05", 0)
_SIMPLE: Final[dict[str, tuple[Any, ...]]] = {
    "bytearray": (b"abc",),
    "range": (3,),
    "slice": (1, 2, 3),
    "ellipsis": (),
    "datetime": (*_DATE, "Europe/Berlin"),
    "time": ("03:04:05", 0, "../../../etc/passwd"),
    "date": ("2026-01-02",),
    "timedelta": (1, 2),
    "timezone": (3600, "x"),
    "Decimal": ("1.5",),
    "Fraction": (1, 2),
    "UUID": (bytes(16),),
    "array": ("i", "little", bytes(8)),
    "PosixPath": ("/etc/passwd",),
    "WindowsPath": ("C:\\x",),
    "PurePosixPath": ("a",),
    "PureWindowsPath": ("a",),
}
"""What stands for single values in a snapshot."""
_OBJECT_HANDLERS: Final = (
    *(consts.HANDLE_GETATTR, consts.HANDLE_CALL, consts.HANDLE_CALLATTR, consts.HANDLE_REPR),
    *(consts.HANDLE_CMP, consts.HANDLE_DIR, consts.HANDLE_SNAPSHOT, consts.HANDLE_ITERATE),
)
_STEPS: Final[list[Callable[[Attacker, Value], Step]]] = [
    *(Attacker._getattr, Attacker._call, Attacker._callattr, Attacker._new, Attacker._setattr),
    *(Attacker._delattr, Attacker._simple, Attacker._pickle, Attacker._compare),
    *(Attacker._inspect, Attacker._iterate, Attacker._slice, Attacker._leave, Attacker._check),
    *(Attacker._snapshot, Attacker._chain, Attacker._climb),
]
_WEIGHTS: Final = (22, 12, 20, 6, 3, 1, 8, 2, 5, 4, 8, 3, 5, 5, 3, 8, 6)


def _dumped(value: Any) -> bytes:
    from rpyc_like.wire.brine import format

    return format.dump(value)
