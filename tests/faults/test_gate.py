"""What gets round a gate elsewhere: cases 37 to 47 of the list of faults.

The gate itself is walked through in ``tests/protocol/test_policy.py``.
"""

from __future__ import annotations

import copy
import json
import pickle
import threading
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.netref import is_netref
from rpyc_like.core.service import ClassicClient

from .conftest import Subject

DENIED = (
    "__class__ __dict__ __getattribute__ __reduce_ex__ __init__ __globals__ __code__ __closure__ "
    "__subclasses__ __mro__ f_globals gi_frame cr_frame tb_frame __self__ __func__ __wrapped__"
).split()


@pytest.mark.parametrize("name", DENIED)
@pytest.mark.parametrize("public", [False, True])
def test_cases_37_38_over_the_wire(attack: Any, name: str, public: bool) -> None:
    """The names that lead out are refused in every request that takes or implies one."""
    one = attack(allow_public_attrs=public, allow_setattr=True, allow_delattr=True)
    root = (3, one.root())
    requests: list[tuple[int, tuple[Any, ...]]] = [
        (4, (root, (1, name))),
        (4, (root, (1, name.encode()))),
        (8, (root, (1, name), (1, ()), (1, ()))),
        (6, (root, (1, name), (1, 5))),
        (5, (root, (1, name))),
        (11, (root, root, (1, name))),
        (18, (root, (1, name), (1, name), (1, 0), (1, 1), (1, ()))),
    ]
    for handler, boxed in requests:
        kind, error = one.ask(handler, (2, boxed))
        assert kind == "error", handler
        assert error[0] == ("builtins", "AttributeError"), (handler, error)
    assert one.works()


def test_case_39_what_is_told(attack: Any) -> None:
    """DIR and INSPECT of the root tell what is exposed or safe, and nothing else."""
    one = attack()
    one.victim._local_root.secret = 1
    root = one.root()
    _, (_, names) = one.ask(13, (2, ((3, root),)))
    assert "exposed_add" in names
    assert "secret" not in names
    shown = {n for n in names if not n.startswith(("exposed_", "__"))}
    assert shown == {n for n in shown if f"exposed_{n}" in names}
    _, (_, methods) = one.ask(16, (2, ((1, root),)))
    assert not [n for n, _ in methods if n == "on_connect" or n.startswith("_rpyc")]


def test_case_42_texts_are_texts(pair: Any) -> None:
    """What a peer sends as a text is exactly a str: it has no methods of its own to run."""
    got: list[Any] = []

    class Taking(rpyc.Service):
        def exposed_take(self, value: Any) -> None:
            got.append(value)

    class Text(str):
        def __format__(self, spec: str) -> str:
            return "its own code"

    client, _ = pair(Taking)
    client.root.take("{0.__class__}")
    client.root.take(Text("x"))
    assert type(got[0]) is str
    assert is_netref(got[1])


def test_case_43_calling_is_for_what_was_given(attack: Any) -> None:
    """A method may be called; what it belongs to, or leads to, is not given with it."""
    one = attack()
    _, (_, method) = one.ask(4, (2, ((3, one.root()), (1, "add"))))
    assert one.ask(7, (2, ((3, method), (1, (1, 2)), (1, ())))) == ("value", (1, 3))
    for name in ("__self__", "__func__", "__globals__", "__code__", "__call__"):
        assert one.ask(4, (2, ((3, method), (1, name))))[0] == "error"


class Pickled:
    """Runs code where it is unpickled."""

    ran = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        return run, ()

    def __len__(self) -> int:
        return 0


def run() -> int:
    Pickled.ran = True
    return 1


TOUCHES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda obj: pickle.loads(pickle.dumps(obj)),
    "json": json.dumps,
    "equal": lambda obj: obj == [1],
    "in": lambda obj: obj in [1, obj],
    "sorted": lambda obj: sorted([obj]),
    "reduce_ex": lambda obj: obj.__reduce_ex__(2),
    "reduce": lambda obj: obj.__reduce__(),
    "array": lambda obj: obj.__array__(),
    "str": str,
    "bool": bool,
}


@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("allowed", [False, True])
def test_case_44_no_code_of_the_peer_runs(pair: Any, touch: str, allowed: bool) -> None:
    """Whatever a server does with an object that it was passed, the client's pickle never runs."""
    errors: list[BaseException] = []

    class Helpful(rpyc.Service):
        def exposed_touch(self, obj: Any) -> None:
            try:
                TOUCHES[touch](obj)
            except Exception as error:
                errors.append(error)

    Pickled.ran = False
    config = {"allow_pickle": allowed}
    client, _ = pair(Helpful, there_config=config, here_config={**config, "allow_all_attrs": True})
    client.root.touch(Pickled())
    assert not Pickled.ran
    if touch in ("copy", "deepcopy", "pickle", "reduce_ex"):
        assert "allow_implicit_pickle" in str(errors[0])


def test_case_45_a_proxy_is_never_a_text(pair: Any, attack: Any) -> None:
    """A proxy that claims to be a str is no name, no handler and no count."""

    class Liar:
        __class__ = str  # type: ignore[assignment]

        def startswith(self, prefix: str) -> bool:
            return True

    one = attack()
    root = (3, one.root())
    for claimed in ("builtins.str", "builtins.int"):
        liar = (4, (claimed, 7, 8))
        assert one.ask(4, (2, (root, liar)))[0] == "error"
        assert one.ask(17, (2, (root, liar)))[0] == "error"
    client, _ = pair(Subject)
    with pytest.raises(TypeError, match="must be a string"):
        client.sync_request(4, client.root, Liar())
    assert one.works()


def test_case_46_a_classic_client_gives_nothing(pair: Any) -> None:
    """The server gets stand-ins of the client's root, and of its objects what is safe."""
    client, server = pair(rpyc.ClassicService, ClassicClient)
    outcomes: dict[str, Any] = {}

    def attempt(name: str, func: Any) -> None:
        try:
            outcomes[name] = func()
        except Exception as error:
            outcomes[name] = type(error).__name__

    class Mine:
        public = 1
        _private = 2

        def __fspath__(self) -> str:
            return "/path"

        def __matmul__(self, other: int) -> int:
            return other

    client.root.namespace["mine"] = Mine()
    mine = server._local_root.namespace["mine"]

    def run_attack() -> None:
        root = server.root
        for name in ("getmodule", "eval", "execute"):
            attempt(name, lambda name=name: getattr(root, name)("os"))
        attempt("namespace", lambda: root.namespace)
        attempt("getconn", lambda: root.getconn())
        attempt("on_connect", lambda: root.on_connect)
        attempt("set on the root", lambda: setattr(root, "x", 1))
        attempt("public", lambda: mine.public)
        attempt("private", lambda: mine._private)
        attempt("set", lambda: setattr(mine, "public", 5))
        attempt("delete", lambda: delattr(mine, "public"))
        attempt("class", lambda: server.sync_request(4, mine, "__class__"))
        attempt("init", lambda: server.sync_request(4, mine, "__init__"))
        attempt("name", lambda: client_name(server, mine))
        attempt("matmul", lambda: mine @ 3)
        attempt("path", lambda: __import__("os").fspath(mine))

    def client_name(conn: Any, obj: Any) -> Any:
        return conn.sync_request(4, obj, "__module__")

    thread = threading.Thread(target=run_attack)
    thread.start()
    while thread.is_alive():
        client.serve(0.01)
    assert outcomes == {
        **dict.fromkeys(("getmodule", "eval", "execute", "namespace", "getconn")),
        "on_connect": "AccessDenied",
        "set on the root": "AccessDenied",
        "public": 1,
        "private": "AccessDenied",
        "set": "AccessDenied",
        "delete": "AccessDenied",
        "class": "AccessDenied",
        "init": "AccessDenied",
        "name": __name__,
        "matmul": 3,
        "path": "/path",
    }


def test_case_47_explicit_copies(pair: Any) -> None:
    """Copies by pickle are for connections that allow them, on both sides."""

    class Giving(rpyc.Service):
        def exposed_give(self) -> Any:
            return [1]

    client, _ = pair(Giving, there_config={"allow_pickle": True})
    with pytest.raises(ValueError, match="allow_obtain"):
        rpyc.classic.obtain(client.root.give())
    client, _ = pair(Giving, here_config={"allow_obtain": True})
    with pytest.raises(ValueError, match="allow_pickle"):
        rpyc.classic.obtain(client.root.give())
    client, _ = pair(rpyc.ClassicService, ClassicClient)
    assert rpyc.classic.obtain(client.root.eval("[1, 2]")) == [1, 2]
    there = rpyc.classic.deliver(client, [3])
    assert is_netref(there)
    assert there == [3]
