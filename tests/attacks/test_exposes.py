"""``python -m rpyc_like exposes`` shows what a client reaches: cases 89 and 90."""

from __future__ import annotations

import json
import subprocess
import sys
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import pytest

from rpyc_like.cli.main import main
from rpyc_like.core import consts
from rpyc_like.core.config import make_config
from rpyc_like.core.dispatch.policy import reachable
from rpyc_like.core.netref import is_netref
from rpyc_like.core.service import ClassicClient, ClassicService, Service
from rpyc_like.lib.guards.access_policy import LADDERS, UNREACHABLE
from rpyc_like.tools.exposes import Node, exposes

from . import exposed_services
from .exposed_services import SERVICES, Item, Silent, ran

HERE = "tests.attacks.exposed_services"

DANGEROUS = {*UNREACHABLE, "format", "format_map", "register", "func", "os", "json", "__call__"}
"""Names that a client asks every object for, whether it has them or not."""

SHOWN = make_config({})

LEAVES = (FunctionType, BuiltinFunctionType, MethodType)


def reached(
    server: Any, client: Any, root: Any
) -> dict[tuple[str, ...], tuple[set[str], set[str]]]:
    """Return what a client gets of each object, by the names that lead to it.

    That is the names under which there is something, and those that were not refused.
    """
    prefix = server._config["exposed_prefix"]
    found: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
    seen: list[Any] = []
    left: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while left:
        path, proxy = left.pop(0)
        obj = local(server, proxy)
        if any(obj is one for one in seen):
            continue
        seen.append(obj)
        kinds = [*type(obj).__mro__, *(obj.__mro__ if isinstance(obj, type) else ())]
        names = {*dir(obj), *DANGEROUS}.union(*map(vars, kinds), getattr(obj, "__dict__", ()))
        names |= {name.removeprefix(prefix) for name in names} - {""}
        got, allowed = found[path] = set(), set()
        for name in sorted(names):
            try:
                value = client.sync_request(consts.HANDLE_GETATTR, proxy, name)
            except AttributeError as error:
                if not str(error).startswith("cannot access"):
                    allowed.add(name)
                continue
            except ValueError:
                value = None  # of a property that fails
            got.add(name)
            if is_netref(value) and not name.startswith("__") and len(path) < 3:
                if not isinstance(local(server, value), LEAVES):
                    left.append(((*path, name), value))
    return found


def local(server: Any, proxy: Any) -> Any:
    """Return the object that a proxy stands for."""
    return server._local_objects[object.__getattribute__(proxy, "____id_pack__")]


def shown_at(node: Node, path: tuple[str, ...]) -> Node | None:
    """Return the node of a tree that a path leads to; None if it is not known what is there."""
    for name in path:
        node = node.same or node
        (node,) = [child for child in node.children if child.attribute == name] or [
            child for child in node.children if child.name == name
        ]
    return None if node.what.startswith("?") else node.same or node


def names_of(node: Node) -> set[str]:
    """Return the names that a node shows, under which a peer gets something."""
    attributes = [child for child in node.children if child.name[:1] not in ("(", "[")]
    return {*node.safe}.union(*({child.attribute, child.name} for child in attributes))


@pytest.mark.parametrize("name", SERVICES)
def test_it_agrees_with_what_a_client_reaches(name: str, pair: Any) -> None:
    """For each object that a client gets hold of, the tree shows exactly the names it gets."""
    service, config = SERVICES[name]
    root = service() if isinstance(service, type) else service

    class Root(Service):
        exposed_root = root

    client, server = pair(Root)
    proxy = client.root.exposed_root
    server._config.update(config)  # which is live
    tree = exposes(service, make_config(config))
    assert not tree.is_cut
    compared = 0
    for path, (got, allowed) in reached(server, client, proxy).items():
        node = shown_at(tree.root, path)
        if node is not None:
            assert got <= names_of(node), (path, got - names_of(node))
            assert names_of(node) <= got | allowed, (path, names_of(node) - got - allowed)
            compared += 1
    assert compared


def test_it_runs_no_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither properties, methods, constructors nor ``__getattr__`` of the service run."""
    ran.clear()
    assert main(["exposes", f"{HERE}:Silent", "--config", "allow_public_attrs=True"]) == 0
    tree = exposes(Silent, make_config({}))
    assert not ran
    nodes = {node.path: node.what for node in tree}
    assert nodes["computed"] == f"property -> {HERE}.Item"
    assert nodes["method()"] == f"instance of {HERE}.Item"
    assert nodes["*"] == "? (__getattr__ decides)"
    assert "property -> " in capsys.readouterr().out


def test_the_tree_says_which_rule_lets_through() -> None:
    """Each attribute has its rule: the prefix, safe, public."""
    tree = exposes(exposed_services.plain, make_config({"allow_public_attrs": True}))
    rules = {node.path: node.rule for node in tree}
    assert rules["own"] in ("exposed prefix", "public")
    assert {rules["cached"], rules["failing"]} == {"public"}
    assert "__eq__" in tree.root.safe
    assert not {"os", "module", "mro", "f_back", "_hidden"} & {*rules}


def test_annotations_are_followed(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts, optional classes and results are resolved; what is not annotated is ``?``."""
    nodes = {node.path: node.what for node in exposes(exposed_services.Shop, make_config({}))}
    assert nodes["make"] == f"function(name) -> {HERE}.Item"
    assert nodes["later()"] == f"instance of {HERE}.Item"
    assert nodes["anything"] == "function() -> ?"
    assert nodes["static"] == "function(number) -> builtins.int"
    assert nodes["Item"] == f"class {HERE}.Item"
    assert nodes["Item.owner"] == f"function(self) -> {HERE}.Shop"
    assert "static()" not in nodes


def test_annotations_are_not_evaluated() -> None:
    """What stands in an annotation is looked up by name and never run."""
    namespace: dict[str, Any] = {"ran": []}
    source = (
        "from __future__ import annotations\n"
        "def a() -> ran.append(1): ...\n"
        "def b() -> [ran.append(2) for _ in range(1)]: ...\n"
        "def c() -> (" + "(" * 50 + "int" + ")" * 50 + "): ...\n"
    )
    exec(source, namespace)

    class Given:
        exposed_a, exposed_b, exposed_c = (staticmethod(namespace[name]) for name in "abc")

    def long() -> None: ...

    long.__annotations__["return"] = "(" * 100_000
    Given.exposed_long = long  # type: ignore[attr-defined]
    nodes = {node.path: node.what for node in exposes(Given, make_config({}))}
    assert nodes["a"] == nodes["b"] == "function() -> ?"
    assert nodes["c"] == "function() -> builtins.int"
    assert nodes["long"].endswith("?")
    assert not namespace["ran"]


def test_ladders_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """What the table of the policy names is marked, and listed at the end."""
    assert main(["exposes", f"{HERE}:Careless"]) == 0
    output = capsys.readouterr().out
    tree = exposes(exposed_services.Careless, make_config({}))
    assert {node.path for node in tree.ladders} == {
        *("get", "os", "sys", "formatter", "attrgetter", "type"),
    }
    assert {node.ladder for node in tree.ladders} <= {row.policy for row in LADDERS}
    assert "get: builtins.getattr(...) -> ?  [exposed prefix] ! LADDER" in output
    assert "6 ladders found" in output


@pytest.mark.parametrize(
    ("pattern", "status"),
    [
        ("make", 1),
        ("exposed_make", 1),
        ("hidden", 0),
        ("make().price", 1),
        ("make.price", 1),
        ("make.parent.owner.make.price", 1),
        ("make.public", 0),
        ("Item.owner", 1),
        ("*price", 1),
        ("__class__", 0),
        ("__eq__", 1),
        ("make.__len__", 1),
        (f"{HERE}.Item", 1),
        ("os.system", 0),
    ],
)
def test_denied_names(pattern: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status tells whether a name, a path or an object of a full name is reachable."""
    assert main(["exposes", f"{HERE}:Shop", "--deny", pattern, "--deny", "nothing"]) == status
    assert (f"denied name {pattern!r} is reachable" in capsys.readouterr().err) == bool(status)


def test_unknown_results_are_counted_beside_denied_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who denies names is told that something was not looked at."""
    assert main(["exposes", f"{HERE}:Careless", "--deny", "nothing"]) == 0
    assert "not looked at: what is behind unknown results (?)" in capsys.readouterr().err
    main(["exposes", f"{HERE}:Careless"])
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "result"),
    [
        *((name, f"instance of {HERE}.Item") for name in ("known", "item", "of_class", "function")),
        *((name, "?") for name in ("unknown", "reference")),
    ],
)
def test_results_of_callables_in_c_are_shown(name: str, result: str) -> None:
    """What a partial object or a weak reference returns is followed, or unknown."""
    nodes = {node.path: node for node in exposes(exposed_services.callables, make_config({}))}
    assert nodes[f"{name}()"].what.startswith(result)


def test_unknown_results_of_callables_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """``--strict`` fails if an object that is called in C may return anything."""
    assert main(["exposes", f"{HERE}:Referring", "--deny", "nowhere"]) == 0
    assert main(["exposes", f"{HERE}:Referring", "--strict", "--deny", "nowhere"]) == 1
    assert "(__call__ decides)" in capsys.readouterr().out


def test_ladders_that_the_configuration_allows() -> None:
    """What is said of a ladder is what happens to it."""
    tree = exposes(exposed_services.Careless, make_config({"allow_ladders": True}))
    assert {node.ladder for node in tree.ladders} == {
        "called and passed on, because allow_ladders is set"
    }


def test_denied_objects_in_containers(capsys: pytest.CaptureFixture[str]) -> None:
    """Functions are found by their full and by their short builtin name, in containers too."""
    arguments = ["exposes", f"{HERE}:containers"]
    assert main([*arguments, "--deny", "eval"]) == 1
    assert main([*arguments, "--deny", "builtins.eval"]) == 1
    assert main([*arguments, "--deny", "exec"]) == 0
    assert "dict['b']" in capsys.readouterr().err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON."""
    status = main(
        ["exposes", f"{HERE}:Careless", "--json", "--deny", "get", "--config", "connid='x'"]
    )
    output = json.loads(capsys.readouterr().out)
    assert status == 1
    assert {"get", "os"} <= {*output["ladders"]}
    assert output["denied"][0] == {"name": "get", "path": "get"}
    assert {"path", "name", "rule", "what", "safe", "children"} <= {*output["root"]}
    assert not output["full_control"]


def test_classic(capsys: pytest.CaptureFixture[str]) -> None:
    """``--classic`` has the settings of a classic client; classic services give everything."""
    assert main(["exposes", f"{HERE}:Item", "--deny", "public"]) == 0
    assert main(["exposes", f"{HERE}:Item", "--classic", "--deny", "public"]) == 1
    service = f"{ClassicService.__module__}:ClassicService"
    assert main(["exposes", service]) == 0
    assert "full control" in capsys.readouterr().out
    assert main(["exposes", service, "--deny", "x"]) == 1
    assert main(["exposes", f"{HERE}:Item", "--config", "allow_all_attrs=True"]) == 0
    assert "full control" in capsys.readouterr().out


def test_classes_that_decide_themselves() -> None:
    """Of an object with ``_rpyc_getattr`` nothing is known."""
    (child,) = exposes(ClassicClient, make_config({})).root.children
    assert child.what == "? (_rpyc_getattr decides)"


def test_the_tree_is_bounded() -> None:
    """There is an end to objects and to depth, and the tree says that it is cut."""
    deep: Any = Item()
    for _ in range(50):
        deep = [deep]

    class Wide:
        exposed_deep = deep

    for number in range(200):
        setattr(Wide, f"exposed_{number}", number)
    tree = exposes(Wide, make_config({}), max_nodes=50)
    assert tree.is_cut
    assert len([*tree]) <= 51
    tree = exposes(Wide, make_config({}), max_depth=5)
    assert tree.is_cut


@pytest.mark.parametrize(
    "arguments",
    [
        ["exposes", "no_such_module:X"],
        ["exposes", "json:no_such_name"],
        ["exposes", "json"],
        ["exposes", f"{HERE}:Shop", "--config", "no_such_key=1"],
        ["exposes", f"{HERE}:Shop", "--config", "allow_getattr"],
        ["exposes", f"{HERE}:Shop", "--config", "allow_getattr=open('x')"],
        ["no_such_command"],
        [],
    ],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is not understood ends with status 2 and a line about it."""
    try:
        status = main(arguments)
    except SystemExit as error:
        status = int(str(error.code))
    assert status == 2
    assert capsys.readouterr().err


def test_as_a_program() -> None:
    """``python -m rpyc_like exposes`` prints the tree."""
    arguments = [sys.executable, "-m", "rpyc_like", "exposes", "rpyc_like:VoidService"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "get_service_name" in done.stdout
    assert "0 ladders found" in done.stdout


def test_a_cut_tree_denies_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A name may be below where a tree was cut, and the status says so."""
    assert main(["exposes", f"{HERE}:Shop", "--max-nodes", "1", "--deny", "nothing"]) == 1
    assert "the tree was cut" in capsys.readouterr().err


def test_a_misspelt_key_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    """The error says that the key is unknown, and which one is near."""
    with pytest.raises(SystemExit):
        main(["exposes", f"{HERE}:Shop", "--config", "allow_pulbic_attrs=True"])
    error = capsys.readouterr().err
    assert "unknown configuration key 'allow_pulbic_attrs'" in error
    assert "did you mean 'allow_public_attrs'?" in error


@pytest.mark.parametrize("name", ["ordered", "default", "deque", "set", "frozen", "long", "keys"])
def test_items_of_every_container_are_looked_at(name: str) -> None:
    """What stands in any container is found, wherever it stands, without asking its class."""
    tree = exposes(exposed_services.MoreContainers, make_config({}))
    found = [node for node in tree if node.path.startswith(f"{name}[") and node.ladder]
    assert [node.object for node in found] == ["builtins.eval"]


@pytest.mark.parametrize("name", ["generator", "iterator", "own", "default"])
def test_items_that_are_not_known_are_marked(name: str) -> None:
    """What an iterator or a class of the program gives is unknown."""
    nodes = {node.path: node.what for node in exposes(exposed_services.MoreContainers, {**SHOWN})}
    assert nodes[f"{name}[...]"].startswith("?")


def test_more_items_than_are_shown_cut_the_tree() -> None:
    """A container with too many objects is marked, so that nothing counts as denied."""

    class Long:
        exposed_long = [Item() for _ in range(1000)]

    assert exposes(Long, make_config({})).is_cut


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("frozen().item", "Item"),
        ("slotted().item", "Item"),
        ("declared", "Item"),
        ("here.item", "Item"),
        ("called()", "Item"),
        ("mine()", "Annotated"),
    ],
)
def test_what_classes_declare_is_followed(path: str, kind: str) -> None:
    """Annotations of frozen dataclasses, slots, classes and ``__call__`` lead further."""
    nodes = {node.path: node for node in exposes(exposed_services.Annotated, {**SHOWN})}
    assert f"{HERE}.{kind}" in nodes[path].what
    if kind == "Item":
        assert f"{path}.price" in nodes or nodes[path].note.startswith("see ")


@pytest.mark.parametrize("name", ["callback", "iterator", "cls", "protocol"])
def test_interfaces_tell_nothing(name: str) -> None:
    """A result that is annotated with an interface or as a class is unknown."""
    nodes = {node.path: node.what for node in exposes(exposed_services.Annotated, {**SHOWN})}
    assert nodes[name] == "function() -> ?"
    assert nodes.get(f"{name}()") in (None, "some object")


def test_a_property_in_place_of_the_dictionary_is_not_run() -> None:
    """Of a class whose ``__dict__`` is a property, what its instances have is unknown."""

    class Sly:
        def __init__(self) -> None:
            self.exposed_x = Item()

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            ran.append("dict")
            return {}

    ran.clear()
    sly = Sly()
    (child,) = exposes(sly, make_config({})).root.children
    assert child.what.startswith("?")
    assert reachable(make_config({}), sly, "x") == ("exposed_x", sly.exposed_x, "exposed prefix")
    assert not ran


def test_a_module_that_exits(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that ends the program while it is imported is one that cannot be loaded."""
    (tmp_path / "exits_at_once.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["exposes", "exits_at_once:Service", "--deny", "x"]) == 2


@pytest.mark.parametrize(
    "setting",
    ["exposed_prefix=5", "safe_attrs=None", "safe_attrs=5", "allow_getattr='no'"],
)
def test_settings_of_the_wrong_type(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that would mean something else than it seems is refused."""
    with pytest.raises(SystemExit, match="2"):
        main(["exposes", f"{HERE}:Shop", "--config", setting])
    assert "expected a " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max-nodes", "--max-depth"])
def test_bounds_are_positive(option: str) -> None:
    """A tree without nodes is no answer."""
    with pytest.raises(SystemExit, match="2"):
        main(["exposes", f"{HERE}:Shop", option, "-1"])
