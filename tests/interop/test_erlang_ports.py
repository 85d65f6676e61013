"""A real Erlang VM opens ports whose programs use erlport 0.6's names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rpyc_like.erlport.erlterms import Atom, BitBinary, decode, encode
from tests.support.erlang import SOURCES, VMS, compiled, run_erlang

HANDLERS = {"blocking": SOURCES / "handlers.py", "asyncio": SOURCES / "handlers_aio.py"}
STDIO = (Atom("use_stdio"), {"use_stdio": True})
NOUSE = (Atom("nouse_stdio"), {})
EXIT = Atom("exit")


@pytest.fixture(params=HANDLERS, autouse=True)
def handlers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that Erlang starts: a blocking one, or one with asyncio."""
    monkeypatch.setitem(HANDLERS, "this", HANDLERS[request.param])


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("beams"), SOURCES / "drive.erl")


def drive(
    beams: Path,
    folder: Path,
    steps: list[Any],
    packet: int = 4,
    way: Any = STDIO,
    vm: str = "25",
    script: Path | None = None,
) -> list[Any]:
    """Has Erlang run a program as a port; returns what that sent, decoded."""
    option, arguments = way
    arguments = {"packet": packet, **arguments}
    command = [str(script or HANDLERS["this"]), repr(arguments)]
    options = [(Atom("packet"), packet), option]
    term = (sys.executable, command, options, steps)
    (folder / "in").write_bytes(encode(term))
    done = run_erlang(vm, beams, "drive", folder / "in", folder / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    got, _ = decode((folder / "out").read_bytes())
    return [decode(one[1])[0] if one[0] == "data" else one for one in got]


def send(*terms: Any) -> list[Any]:
    return [(Atom("send"), term) for term in terms]


def wait(count: int) -> tuple[Atom, int]:
    return (Atom("wait"), count)


def call(name: str, *args: Any) -> Any:
    return (Atom(name), *args)


ERROR = Atom("error")


@pytest.mark.parametrize("vm", VMS)
@pytest.mark.parametrize("way", [STDIO, NOUSE], ids=["stdio", "3-4"])
@pytest.mark.parametrize("packet", [1, 2, 4])
def test_values(vm: str, way: Any, packet: int, beams: Path, tmp_path: Path) -> None:
    """All kinds of values, in both releases, over both pairs of descriptors, in all packets."""
    values: list[Any] = [
        *(1, -1, 2**70, 1.5, Atom("name"), Atom("Ł"), None, True, (), (1, (2,)), [], [1, 2]),
        *([1, Atom("x")], b"", b"binary", BitBinary(b"\xf0", 4), [True, 1]),
    ]
    steps = send(*(call("echo", value) for value in values))
    got = drive(beams, tmp_path, [*steps, wait(len(values))], packet, way, vm)
    assert got == values
    assert [type(one) for one in got] == [type(value) for value in values]


def test_texts(beams: Path, tmp_path: Path) -> None:
    steps = send(call("hello", "Łódź"), call("echo", {"b": 1, "a": 2}), call("bits"))
    assert drive(beams, tmp_path, [*steps, wait(3)]) == [
        list(map(ord, "Hello, Łódź")),
        [(list(b"a"), 2), (list(b"b"), 1)],
        b"\xf0",
    ]


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (1, (ERROR, Atom("badarg"))),
        ((), (ERROR, Atom("badarg"))),
        ((1, 2), (ERROR, Atom("badarg"))),
        (True, (ERROR, Atom("badarg"))),
        (Atom("missing"), (ERROR, Atom("undef"))),
        (call("echo"), (ERROR, Atom("function_clause"))),
        (Atom("nothing"), None),
    ],
    ids=repr,
)
def test_error_replies(request_: Any, reply: Any, beams: Path, tmp_path: Path) -> None:
    got = drive(beams, tmp_path, [*send(request_, call("echo", 1)), wait(2)])
    assert got == [reply, 1]


@pytest.mark.parametrize(
    ("request_", "kind", "text"),
    [
        (Atom("fails"), "builtins.KeyError", "'a key'"),
        (Atom("wrong"), "builtins.ValueError", "unsupported data type: <class 'object'>"),
        (call("long", 70_000), "rpyc_like.errors.LocalProtocolError", "frame of 70006 bytes"),
    ],
    ids=repr,
)
def test_exceptions_are_told(
    request_: Any, kind: str, text: str, beams: Path, tmp_path: Path
) -> None:
    """And the program goes on."""
    steps = [*send(request_, call("echo", 1)), wait(2)]
    (error, (what, (name, message, stack))), after = drive(beams, tmp_path, steps, packet=2)
    assert (error, what, name, after) == ("error", "exception", kind, 1)
    assert bytes(message).decode().startswith(text)
    assert all(len(entry) == 4 for entry in stack)


def test_exceptions_where_there_is_no_room(beams: Path, tmp_path: Path) -> None:
    """Without text and stack."""
    got = drive(beams, tmp_path, [*send(Atom("fails_at_length")), wait(1)], packet=1)
    assert got == [(ERROR, (Atom("exception"), (Atom("builtins.KeyError"), [], [])))]


def test_generators_and_silence(beams: Path, tmp_path: Path) -> None:
    steps = send(call("many", 2), Atom("silent"), call("many", 0), call("many", 3))
    *got, failed = drive(beams, tmp_path, [*steps, wait(6)])
    assert got == [0, 1, 0, 1, 2]
    assert failed[1][1][0] == "builtins.RuntimeError"


@pytest.mark.parametrize("way", [STDIO, NOUSE], ids=["stdio", "3-4"])
def test_prints_do_no_harm(way: Any, beams: Path, tmp_path: Path) -> None:
    got = drive(beams, tmp_path, [*send(Atom("prints"), call("echo", 1)), wait(2)], way=way)
    assert got == ["printed", 1]


def test_broken_frames(beams: Path, tmp_path: Path) -> None:
    """What is no term is told, and the next request is served."""
    broken = [b"", b"\x83", b"\x83l\xff\xff\xff\xff", b"\x82a\1", b"\x83\xff", b"\x83P\0\0\0\5xx"]
    steps: list[Any] = [(Atom("raw"), one) for one in broken]
    got = drive(beams, tmp_path, [*steps, *send(call("echo", 1)), wait(len(broken) + 1)])
    assert got == [(ERROR, Atom("badarg"))] * len(broken) + [1]


def test_many_large_requests_in_a_row(beams: Path, tmp_path: Path) -> None:
    """Frames that arrive in pieces, with others right behind them: none is lost."""
    values = [bytes([number]) * 300_000 for number in range(20)]
    steps = send(*(call("echo", value) for value in values))
    assert drive(beams, tmp_path, [*steps, wait(20)]) == values


def test_order_and_a_slow_one(beams: Path, tmp_path: Path) -> None:
    """Replies are in order, and what was answered does not wait for a slow request behind it."""
    steps = send(*(call("echo", number) for number in range(50)), call("sleeps", 0.5))
    got = drive(beams, tmp_path, [*steps, wait(50), (Atom("sleep"), 0), wait(1)])
    assert got == [*range(50), "slept"]


def test_asking_erlang(beams: Path, tmp_path: Path) -> None:
    """A handler asks Erlang; answers may come in any order, and requests meanwhile."""
    steps = [*send(call("asks", Atom("m"), Atom("f"), [1, 2])), wait(1)]
    steps += [*send(call("echo", 1)), wait(1)]
    steps += [*send((Atom("r"), 0, Atom("answer"))), wait(1)]
    steps += [*send(call("asks_later", 2)), wait(2)]
    steps += [*send((Atom("r"), 2, 20), (Atom("r"), 1, 10)), wait(1)]
    steps += [*send(call("asks", Atom("m"), Atom("g"), [])), wait(1)]
    steps += [*send((Atom("e"), 3, Atom("reason"))), wait(1)]
    steps += [*send((Atom("r"), 9, 9)), wait(1)]
    question = (Atom("C"), 0, Atom("m"), Atom("f"), [1, 2], Atom("N"))
    got = drive(beams, tmp_path, steps)
    assert got[:3] == [question, 1, "answer"]
    assert [one[1] for one in got[3:5]] == [1, 2]
    assert got[5] == [10, 20]
    assert got[7][1][1][0] == "rpyc_like.erlport.errors.CallError"
    assert got[8] == (ERROR, Atom("undef"))


@pytest.mark.parametrize("way", [STDIO, NOUSE], ids=["stdio", "3-4"])
def test_the_end(way: Any, beams: Path, tmp_path: Path) -> None:
    """The program ends when the port is closed, or as a handler says."""
    got = drive(beams, tmp_path, [*send(call("echo", 1), call("exits", 3)), EXIT], way=way)
    assert got == [1, (Atom("exit_status"), 3)]


def test_ends_with_erlang(beams: Path, tmp_path: Path) -> None:
    """Closing the port, also in the middle of things, ends the program at once and cleanly."""
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, pathlib\n"
        "from rpyc_like.erlport import Port, Protocol\n"
        "class Echo(Protocol):\n"
        "    def handle_echo(self, value): return value\n"
        "Echo().run(Port(**eval(sys.argv[1])))\n"
        "pathlib.Path(__file__).with_name('ended').write_text('cleanly')\n"
    )
    steps = [*send(call("echo", 1)), wait(1), Atom("close"), (Atom("sleep"), 1000)]
    assert drive(beams, tmp_path, steps, script=script) == [1]
    assert (tmp_path / "ended").read_text() == "cleanly"
