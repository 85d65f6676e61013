"""What remote objects do, beside what local ones do: ``transparency.py local|PACKAGE PORT``.

Prints a JSON object: the name of each behaviour and what came out. The same program runs on the
objects themselves, on RPyC's proxies and on ours.
"""

import collections.abc
import importlib
import json
import os
import sys

BEHAVIOURS = {}
"""Names of behaviours in groups, and functions of the module ``subjects``, here or there."""


def behaviour(group, /, **funcs):
    for name, func in funcs.items():
        BEHAVIOURS[f"{group}: {name.replace('_', ' ')}"] = func


def raised(func):
    try:
        func()
    except BaseException as error:
        return error
    return None


# What is compared is plain: text, numbers, tuples of them.

behaviour(
    "attributes",
    of_a_module=lambda s: s.closed is s.closed,
    of_an_instance=lambda s: (s.weather.kelvin, s.point.x, s.Slotted(5).value),
    property=lambda s: s.weather.hot,
    descriptor=lambda s: s.weather.degrees,
    class_method=lambda s: s.Weather.make().kelvin,
    static_method=lambda s: s.weather.unit(),
    set_and_delete=lambda s: change(s.Weather()),
    set_a_slot=lambda s: change_slot(s.Slotted(1)),
    missing=lambda s: type(raised(lambda: s.weather.nothing)).__name__,
    hasattr=lambda s: (hasattr(s.weather, "hot"), hasattr(s.weather, "cold")),
    getattr_with_default=lambda s: getattr(s.weather, "cold", 5),
    dir=lambda s: "kelvin" in dir(s.weather) and "degrees" in dir(s.weather),
    doc=lambda s: s.fail_from.__doc__ is None and s.Celsius.__doc__,
    class_name=lambda s: (s.weather.__class__.__name__, s.Weather.__name__, type(s.red).__name__),
    module_of_a_class=lambda s: s.Weather.__module__,
)


def change(obj):
    obj.kelvin = 5
    obj.extra = 6
    del obj.kelvin
    return (obj.extra, hasattr(obj, "kelvin"))


def change_slot(obj):
    obj.value = 9
    return (obj.value, type(raised(lambda: setattr(obj, "other", 1))).__name__)


def operators(s):
    n = s.number
    return (
        *(n + 1, n - 1, n * 1, n @ 1, n / 1, n // 1, n % 1, n**1, n << 1, n >> 1, n & 1, n | 1),
        *(n ^ 1, 1 + n, 1 - n, 1 * n, 1 @ n, 1 / n, 1 // n, 1 % n, 1**n, 1 << n, 1 >> n),
        *(1 & n, 1 | n, 1 ^ n, -n, +n, abs(n), ~n, divmod(n, 2), divmod(2, n)),
    )


def in_place(s):
    out = []
    for op in ("+=", "-=", "*=", "@=", "/=", "//=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^="):
        space = {"n": s.number}
        exec(f"n {op} 1", space)
        out.append(space["n"])
    return out


def conversions(s):
    import math
    import operator

    n = s.number
    return (
        *(int(n), float(n), complex(n), operator.index(n), round(n), round(n, 2), math.trunc(n)),
        *(math.floor(n), math.ceil(n), bytes(n), os.fspath(n), format(n, "x"), hex(n), bool(n)),
        *(list(reversed(n)), operator.length_hint(n), range(10)[n], "abcdefgh"[n]),
    )


behaviour(
    "operators",
    of_numbers=operators,
    in_place=in_place,
    conversions=conversions,
    call=lambda s: s.number(1, a=2),
    of_decimals=lambda s: (str(s.price + 1), str(1 + s.price), s.price > 1, float(s.price)),
    list_plus_list=lambda s: list(s.numbers() + [4]),  # noqa: RUF005
    list_plus_remote_list=lambda s: list(s.numbers() + s.numbers()),
    local_list_plus_remote_list=lambda s: list([4] + s.numbers()),  # noqa: RUF005
    list_times_number=lambda s: list(s.numbers() * 2),
    list_extended_in_place=lambda s: iadd(s.numbers()),
    dict_or_dict=lambda s: dict(s.mapping() | {"c": 3})["c"],
    local_dict_or_dict=lambda s: dict({"c": 3} | s.mapping())["c"],
    set_operations=lambda s: sorted(s.frozen() | {3}),
    local_set_operations=lambda s: sorted({1, 2, 3} - s.frozen()),
    slices=lambda s: (list(s.numbers()[1:]), list(s.stack[::2])),
    item_assignment=lambda s: assign(s.numbers(), s.mapping()),
    path_division=lambda s: str(s.path / "c"),
)


def iadd(numbers):
    numbers += [4]
    numbers *= 2
    return list(numbers)


def assign(numbers, mapping):
    numbers[0] = 9
    del numbers[1]
    mapping["c"] = 5
    del mapping["a"]
    return (list(numbers), sorted(mapping))


behaviour(
    "comparison",
    equal_remote_lists=lambda s: s.numbers() == s.numbers(),
    remote_list_and_local_list=lambda s: s.numbers() == [3, 1, 2],
    local_list_and_remote_list=lambda s: s.numbers() == [3, 1, 2],
    unequal_lists=lambda s: (s.numbers() != [3, 1, 2], s.numbers() == [1]),
    remote_dict_and_local_dict=lambda s: s.mapping() == {"a": 1, "b": [2]},
    order_of_lists=lambda s: (s.numbers() < [4], s.numbers() < [4], s.numbers() >= [9]),
    dataclasses_of_equal_values=lambda s: (s.point == s.Point(1, 2), s.point < s.Point(2)),
    named_tuple_and_tuple=lambda s: (s.pair == (1, 2), s.pair == (1, 2), s.pair < (2,)),
    enum_members=lambda s: (s.red == s.Color.RED, s.red is s.Color.RED, s.red != s.Color.BLUE),
    int_enum_and_int=lambda s: (s.high == 2, s.high == 2, s.high > 1, s.high + 1),
    int_enum_and_local_int_enum=lambda s: s.socket.AF_INET == sockets().AF_INET,
    in_a_list=lambda s: (s.point in [s.point], 3 in s.numbers(), 9 in s.numbers()),
    hash_of_equal_objects=lambda s: hash(s.point) == hash(s.Point(1, 2)),
    key_of_a_dict=lambda s: {s.point: 5}[s.Point(1, 2)],
    hash_of_a_list=lambda s: type(raised(lambda: hash(s.numbers()))).__name__,
    identity=lambda s: (s.lock is s.lock, s.is_same(s.lock, s.lock)),
    sorted=lambda s: [p.x for p in sorted([s.Point(2), s.Point(1)])],
)


def sockets():
    import socket

    return socket


behaviour(
    "iteration",
    list=lambda s: list(s.numbers()),
    dict=lambda s: sorted(s.mapping()),
    items=lambda s: dict(s.Dictionary(a=1).items()),
    generator=lambda s: list(s.count()),
    generator_value=lambda s: delegate(s),
    send_to_a_generator=lambda s: send(s.count()),
    close_a_generator=lambda s: close(s),
    throw_a_local_exception=lambda s: throw(s.throw_inside(), ValueError("x")),
    throw_an_exception_class=lambda s: throw(s.throw_inside(), ValueError),
    unpacking=lambda s: first_of(*s.pair),
    keyword_unpacking=lambda s: s.Point(**s.Dictionary(x=1, y=2)).y,
    file_lines=lambda s: list(s.make_file()),
    zip_and_enumerate=lambda s: list(zip(s.numbers(), enumerate(s.stack))),
    enum_class=lambda s: [member.name for member in s.Color],
    class_with_iter=lambda s: list(s.Registered),
    string_join=lambda s: "".join(s.counter),
    max_and_sum=lambda s: (max(s.numbers()), sum(s.numbers_array), len(s.queue)),
)


def first_of(left, right):
    return (left, right)


def delegate(s):
    def outer():
        got = yield from s.count(1)
        yield got

    return list(outer())


def send(generator):
    return (next(generator), generator.send("a"), generator.send("b"))


def close(s):
    before = len(s.closed)
    generator = s.stubborn()
    next(generator)
    generator.close()
    return len(s.closed) - before


def throw(generator, error):
    next(generator)
    return generator.throw(error)


behaviour(
    "classes",
    isinstance_of_a_remote_class=lambda s: (
        isinstance(s.point, s.Point),
        isinstance(s.pair, s.Point),
    ),
    isinstance_of_a_remote_base=lambda s: isinstance(s.Square(), s.Shape),
    isinstance_of_a_built_in=lambda s: (
        isinstance(s.numbers(), list),
        isinstance(s.mapping(), list),
    ),
    isinstance_of_a_derived_dict=lambda s: (
        isinstance(s.dictionary, dict),
        isinstance(s.pair, tuple),
    ),
    isinstance_of_a_known_base=lambda s: isinstance(s.red, known().Enum),
    isinstance_of_an_abc=lambda s: (
        isinstance(s.stack, collections.abc.MutableSequence),
        isinstance(s.dictionary, collections.abc.Mapping),
        isinstance(s.point, collections.abc.Iterable),
    ),
    isinstance_of_a_structural_abc=lambda s: (
        isinstance(s.count(), collections.abc.Iterator),
        isinstance(s.number, collections.abc.Hashable),
        isinstance(s.Sized(), collections.abc.Sized),
    ),
    local_object_of_a_remote_class=lambda s: (isinstance(5, s.int), isinstance("x", s.int)),
    issubclass_of_remote_classes=lambda s: (
        issubclass(s.Square, s.Shape),
        issubclass(s.Shape, s.Square),
    ),
    issubclass_of_a_built_in=lambda s: (
        issubclass(s.Dictionary, dict),
        issubclass(s.Pair, tuple),
        issubclass(s.Level, int),
    ),
    issubclass_of_an_abc=lambda s: issubclass(s.Stack, collections.abc.Sequence),
    isinstance_type=lambda s: (isinstance(s.Point, type), isinstance(s.point, type)),
    class_of_an_instance=lambda s: s.point.__class__ is s.Point,
    abstract_class=lambda s: type(raised(lambda: s.Shape())).__name__,
    truth_of_a_class=lambda s: (bool(s.Sized), bool(s.Sized())),
    metaclass_operators=lambda s: (len(s.Registered), s.Registered[3], 1 in s.Registered),
    enum_lookup=lambda s: (s.Color["RED"].value, s.Color(2).name, len(s.Color), s.red in s.Color),
    subscripted=lambda s: str(s.list_class()[int]) == "list[int]",
    callable=lambda s: (
        callable(s.numbers()),
        callable(s.mapping()),
        callable(s.fail),
        callable(s.Point),
    ),
    callable_instance=lambda s: (callable(s.number), callable(s.point)),
    make_an_instance=lambda s: s.Point(y=4, x=3).y,
)


def known():
    import enum

    return enum


behaviour(
    "with",
    value=lambda s: with_value(s),
    no_exception=lambda s: with_error(s.Manager(), None),
    a_local_exception=lambda s: with_error(s.Manager(), KeyError("k")),
    a_local_exception_that_goes_on=lambda s: with_error(s.Manager(False), KeyError("k")),
    an_exception_of_the_owner=lambda s: with_remote_error(s),
    generated=lambda s: with_generated(s, None),
    generated_with_an_exception=lambda s: with_generated(s, ValueError("v")),
    generated_with_an_own_exception=lambda s: with_own(s),
    transaction=lambda s: transaction(s),
    file=lambda s: with_file(s),
    lock=lambda s: with_lock(s),
)


def with_value(s):
    with s.generated([]) as value:
        return value


def with_error(manager, error):
    escaped = None
    try:
        with manager:
            if error is not None:
                raise error
    except Exception as caught:
        escaped = type(caught).__name__
    return (
        manager.seen[0],
        manager.seen[1],
        manager.seen[2].split("\n")[0],
        manager.seen[3],
        escaped,
    )


def with_remote_error(s):
    manager = s.Manager()
    with manager:
        s.fail()
    return (manager.seen[0], manager.seen[2].split("\n")[0])


def with_generated(s, error):
    log = []
    with s.generated(log):
        if error is not None:
            raise error
    return log


def with_own(s):
    log = []
    with s.generated(log):
        s.fail("own")
    return log


def transaction(s):
    db = s.connect()
    error = None
    try:
        with db:
            db.execute("insert into t values (1)")
            raise KeyError("undo")
    except KeyError as caught:
        error = caught.args
    return (error, db.execute("select count(*) from t").fetchone())


def with_file(s):
    with s.make_file() as file:
        text = file.read()
    return (text, file.closed)


def with_lock(s):
    with s.lock:
        inside = s.lock.locked()
    return (inside, s.lock.locked())


def plain_text(error):
    return str(error).split("\n")[0]


def caught_by(func, *names):
    """Returns which of some exception classes, named through the remote module, catches first."""

    def run(s):
        for name in names:
            try:
                func(s)
            except getattr(s, name) as error:
                return (name, plain_text(error))
            except BaseException:
                continue
        return None

    return run


behaviour(
    "exceptions",
    built_in=lambda s: catch_built_in(s),
    named_through_the_module=caught_by(lambda s: s.fail(), "AppError"),
    base_named_through_the_module=caught_by(lambda s: s.fail("n", s.NarrowError), "AppError"),
    another_one_does_not_catch=caught_by(lambda s: s.fail(), "NarrowError", "AppError"),
    of_a_library=lambda s: catch_database(s),
    built_in_named_through_builtins=lambda s: catch_through_builtins(s),
    caught_by_a_built_in_base=lambda s: isinstance(
        raised(lambda: s.fail("n", s.NarrowError)), ValueError
    ),
    attributes=lambda s: (raised(s.fail_from).code, raised(s.fail_from).args[0]),
    cause=lambda s: [
        type(raised(s.fail_from).__cause__).__name__,
        plain_text(raised(s.fail_from).__cause__),
    ],
    context=lambda s: type(raised(s.fail_within).__context__).__name__,
    suppressed_context=lambda s: raised(s.fail_from).__suppress_context__,
    notes=lambda s: getattr(raised(s.fail_with_notes), "__notes__", None),
    add_note=lambda s: noted(raised(s.fail)),
    group=lambda s: [type(one).__name__ for one in raised(s.fail_group).exceptions],
    unicode_error=lambda s: raised(s.fail_unicode).start,
    os_error=lambda s: (raised(s.fail_os).errno == 2, raised(s.fail_os).filename),
    from_a_callback=lambda s: type(raised(lambda: s.apply(local_failure))).__name__,
    both_tracebacks=lambda s: both_sides(s),
    isinstance_exception=lambda s: isinstance(raised(s.fail), Exception),
    issubclass_exception=lambda s: (
        issubclass(s.AppError, Exception),
        issubclass(s.NarrowError, s.AppError),
    ),
    exit_of_the_peer_is_an_error=lambda s: isinstance(raised(s.leave), BaseException),
    pickled=lambda s: type(pickled(raised(s.fail_os))).__name__,
    str_of_a_surrogate=lambda s: s.surrogate(),
)


def local_failure():
    raise LookupError("here")


def catch_built_in(s):
    try:
        s.mapping()["missing"]
    except KeyError as error:
        return error.args


def catch_database(s):
    db = s.connect()
    try:
        db.execute("no sql")
    except s.sqlite3.Error as error:
        return type(error).__name__.rpartition(".")[2]
    except Exception:
        return "not caught"


def catch_through_builtins(s):
    try:
        s.mapping()["missing"]
    except s.LookupError as error:
        return error.args


def noted(error):
    error.add_note("one more")
    return error.__notes__


def both_sides(s):
    import traceback

    def local_frame():
        s.apply(lambda: s.fail())

    text = "".join(traceback.format_exception(raised(local_frame)))
    return ("local_frame" in text, "in fail" in text)


def pickled(error):
    import pickle

    return pickle.loads(pickle.dumps(error))


behaviour(
    "representation",
    repr=lambda s: (repr(s.point), repr(s.numbers()), repr(s.red), repr(s.pair)),
    str=lambda s: (str(s.price), str(s.path), str(s.mapping())),
    repr_of_a_class=lambda s: repr(s.Point),
    format=lambda s: (f"{s.price:>8}", f"{s.number:abc}"),
    percent=lambda s: "%s %r" % (s.pair[0], s.red),
    json=lambda s: type(raised(lambda: json.dumps(s.point))).__name__,
    copy=lambda s: copied(s),
)


def copied(s):
    import copy

    return copy.copy(s.number).value


class Local:
    """The module itself, with the names that the behaviours need from elsewhere."""

    def __init__(self, module, modules):
        self._module = module
        self._modules = modules

    def __getattr__(self, name):
        if name in ("socket", "sqlite3", "collections"):
            return self._modules(name)
        if name in ("int", "LookupError"):
            return getattr(self._modules("builtins"), name)
        return getattr(self._module, name)

    def frozen(self):
        return self._modules("builtins").set((1, 2))

    def list_class(self):
        return self._modules("builtins").list


def run(subjects):
    outcomes = {}
    for name, func in BEHAVIOURS.items():
        try:
            outcomes[name] = repr(func(subjects))
        except BaseException as error:
            outcomes[name] = f"{type(error).__name__}: {plain_text(error)[:100]}"
    return outcomes


def main():
    package, port = sys.argv[1:]
    if package == "local":
        module, modules = importlib.import_module("subjects"), importlib.import_module
        outcomes = run(Local(module, modules))
    else:
        rpyc = importlib.import_module(package)
        conn = rpyc.classic.connect("127.0.0.1", int(port))
        outcomes = run(Local(conn.modules["subjects"], conn.modules.__getitem__))
        conn.close()
    json.dump(outcomes, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
