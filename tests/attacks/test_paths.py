"""Names, files and other values of a hostile peer that are checked and then used."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.cli.session import Completer
from rpyc_like.core import netref
from rpyc_like.core.iteration import prefetch
from rpyc_like.core.proxies import class_descriptions
from rpyc_like.errors import MalformedValue
from rpyc_like.lib import safe_paths
from rpyc_like.lib.brief import brief
from rpyc_like.lib.exact import exact, exact_count, exact_items
from rpyc_like.lib.safe_paths import Folder, create_new, join_name
from rpyc_like.utils import classic, helpers, zerodeploy

REFUSED = (TypeError, ValueError)


class Path2:
    """What a hostile peer has for ``os.path``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def join(self, folder: Any, name: Any) -> Any:
        return f"{folder}/{name}"

    def isdir(self, path: Any) -> Any:
        return self._world.isdir(path)

    def isfile(self, path: Any) -> Any:
        return self._world.isfile(path)


class File:
    """An open file of a hostile peer.

    Args:
        chunks: what reading gives, one after the other.
    """

    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks

    def fileno(self) -> int:
        return 0

    def read(self, count: int) -> Any:
        return next(self._chunks, b"")

    def close(self) -> None:
        """No-op: nothing is open."""


class World:
    """The modules of a hostile classic server."""

    def __init__(self) -> None:
        self.names: Any = []
        self.size: Any = 4
        self.isdir: Callable[[str], Any] = lambda path: path == "/data"
        self.isfile: Callable[[str], Any] = lambda path: path != "/data"
        self.open: Callable[..., Any] = lambda *args: File(iter([b"evil"]))

    def module(self, name: str) -> Any:
        fstat = lambda fd: SimpleNamespace(st_size=self.size)  # noqa: E731
        known: dict[str, Any] = {
            "os": SimpleNamespace(path=Path2(self), listdir=lambda path: self.names, fstat=fstat),
            "builtins": SimpleNamespace(open=lambda *args: self.open(*args)),
        }
        return known[name] if name in known else __import__(name, None, None, "*")


@pytest.fixture
def world() -> Iterator[tuple[World, Any]]:
    """A hostile classic server, and a connection to it."""
    found = World()

    class Hostile(rpyc.core.service.ClassicService):  # type: ignore[name-defined,misc]
        def getmodule(self, name: str) -> Any:
            return found.module(name)

    with rpyc.ThreadedServer(Hostile, port=0, protocol_config={"logger": None}) as server:
        server._start_in_thread()
        with classic.connect("127.0.0.1", server.port) as conn:
            yield found, conn


def written(folder: Path) -> set[str]:
    """Return the paths of all that is below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# -- names


class Name:
    """A name that is another one when it is looked at again."""

    def __init__(self) -> None:
        self.looks = 0

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return str

    def _look(self) -> str:
        self.looks += 1
        return "ok" if self.looks == 1 else "../PWNED"

    def __fspath__(self) -> str:
        return self._look()

    def __str__(self) -> str:
        return self._look()

    def __eq__(self, other: object) -> bool:
        return other == "ok"

    def __ne__(self, other: object) -> bool:
        return other != "ok"

    def __hash__(self) -> int:
        return hash("ok")


class Text(str):
    """A text that is not exactly one."""


class Endless:
    """A listing without an end."""

    def __iter__(self) -> Iterator[str]:
        return iter(lambda: "x", None)


LISTINGS: list[Any] = [
    [Name()],
    [Text("ok")],
    [b"ok"],
    [5],
    [None],
    ["ok", ("..", "PWNED")],
    *([name] for name in ("", ".", "..", "../PWNED", "/tmp/PWNED", "a/../../PWNED", "a\\b")),
    *([name] for name in ("C:PWNED", "c:\\x", "\0", "a\0b", "a\nb", "a\x1b[2Jb", "\ud800", "‮x")),
    ["x" * 256],
    ["ok", "../PWNED"],
]


@pytest.mark.parametrize("names", LISTINGS, ids=range(len(LISTINGS)))
def test_names_do_not_lead_out_of_the_folder(
    world: tuple[World, Any], tmp_path: Path, names: Any
) -> None:
    """A name that is no plain file name ends the download, and nothing is written."""
    hostile, conn = world
    hostile.names = names
    with pytest.raises(Exception) as caught:
        classic.download(conn, "/data", str(tmp_path / "dest"))
    assert isinstance(caught.value, (*REFUSED, UnicodeError, rpyc.core.vinegar.GenericException))  # type: ignore[attr-defined]
    assert written(tmp_path) == set()


def test_the_filter_sees_texts(world: tuple[World, Any], tmp_path: Path) -> None:
    """A filter is asked about exact texts only, after they were checked."""
    hostile, conn = world
    seen: list[Any] = []
    hostile.names = ["ok", Name()]
    with pytest.raises(TypeError, match="expected a file name"):
        classic.download(conn, "/data", str(tmp_path / "dest"), filter=seen.append)
    hostile.names = ["ok", "other"]
    classic.download(conn, "/data", str(tmp_path / "dest"), filter=lambda name: seen.append(name))
    assert seen == ["ok", "other"]
    assert {type(one) for one in seen} == {str}


def test_plain_names_of_all_languages_arrive(world: tuple[World, Any], tmp_path: Path) -> None:
    """Names with spaces of any kind, joiners and other scripts are plain ones."""
    hostile, conn = world
    hostile.names = [
        "a b",
        "um 3.00\u202fPM.png",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u65e5\u672c",
        "..x",
        "-rf",
        "12:30",
    ]
    classic.download(conn, "/data", str(tmp_path / "dest"))
    assert written(tmp_path / "dest") == set(hostile.names)


def test_links_are_not_written_through(world: tuple[World, Any], tmp_path: Path) -> None:
    """A link in the destination leads nowhere, be it of a file, a folder, or to nothing."""
    hostile, conn = world
    outside, dest = tmp_path / "outside", tmp_path / "dest"
    outside.mkdir()
    dest.mkdir()
    (outside / "file").write_bytes(b"mine")
    (dest / "file").symlink_to(outside / "file")
    (dest / "folder").symlink_to(outside)
    (dest / "nothing").symlink_to(outside / "new")
    for name, is_dir in (("file", False), ("folder", True), ("nothing", False)):
        hostile.names = [name]
        hostile.isdir = lambda path, is_dir=is_dir: path == "/data" or is_dir  # type: ignore[misc]
        with pytest.raises(ValueError, match="link"):
            classic.download(conn, "/data", str(dest))
    assert (outside / "file").read_bytes() == b"mine"
    assert written(outside) == {"file"}


def test_a_link_that_is_put_there_meanwhile(tmp_path: Path) -> None:
    """A folder that is replaced with a link after it was opened stays the folder it was."""
    (tmp_path / "dest").mkdir()
    (tmp_path / "outside").mkdir()
    with Folder(tmp_path / "dest") as folder, folder.folder("inner") as inner:
        (tmp_path / "dest" / "inner").rename(tmp_path / "dest" / "moved")
        (tmp_path / "dest" / "inner").symlink_to(tmp_path / "outside")
        with inner.create("file") as file:
            file.write(b"x")
    assert written(tmp_path / "outside") == set()
    assert (tmp_path / "dest" / "moved" / "file").read_bytes() == b"x"


def test_what_is_no_file_is_not_written_to(tmp_path: Path) -> None:
    """A FIFO in the destination is refused, and nobody waits for its reader."""
    os.mkfifo(tmp_path / "fifo")
    with Folder(tmp_path) as folder:
        with pytest.raises(OSError, match="No such device"):
            folder.create("fifo")
        reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        with contextlib.closing(os.fdopen(reader, "rb")), pytest.raises(ValueError, match="a file"):
            folder.create("fifo")


def test_one_more_folder_for_ever(world: tuple[World, Any], tmp_path: Path) -> None:
    """A tree without an end ends the download, with an error that says so."""
    hostile, conn = world
    hostile.names = ["x"]
    hostile.isdir = lambda path: True
    with pytest.raises(ValueError, match="nested directories"):
        classic.download(conn, "/data", str(tmp_path / "dest"))


def test_large_directories(tmp_path: Path) -> None:
    """A directory has more files than one chain may have steps."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1, 302):
        (source / str(number)).write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch, classic.connect_thread() as conn:
        patch.setattr("rpyc_like.core.pipelining.chain_handler.MAX_STEPS", 400)
        patch.setattr("rpyc_like.utils.file_transfer._LOOKED_AT", 50)
        classic.upload(conn, str(source), str(tmp_path / "there"))
        classic.download(conn, str(tmp_path / "there"), str(tmp_path / "back"))
    assert written(tmp_path / "back") == written(source)


def test_a_listing_that_is_none(world: tuple[World, Any], tmp_path: Path) -> None:
    """A directory whose listing is not a list is refused."""
    hostile, conn = world
    hostile.names = 5
    with pytest.raises(Exception, match=r"iter|expected"):
        classic.download(conn, "/data", str(tmp_path / "dest"))
    assert written(tmp_path) == set()


def test_a_truth_that_changes(world: tuple[World, Any], tmp_path: Path) -> None:
    """Whether something is a directory is a bool, and asked once."""
    hostile, conn = world
    hostile.isdir = lambda path: Name()
    with pytest.raises(TypeError, match="expected an answer"):
        classic.download(conn, "/data", str(tmp_path / "dest"))
    assert written(tmp_path) == set()


# -- contents


class Bytes(bytes):
    """Bytes that are not exactly some."""


@pytest.mark.parametrize(
    "chunks",
    [["text"], [5], [None, b"x"], [Bytes(b"x")], [b"x" * (1 << 20), "x"], [b"x" * (2 << 20)]],
    ids=range(6),
)
def test_contents_are_bytes_of_the_size_asked_for(
    world: tuple[World, Any], tmp_path: Path, chunks: list[Any]
) -> None:
    """What a file gives is bytes, and no more than it was asked for."""
    hostile, conn = world
    hostile.size = 1 << 30
    hostile.open = lambda *args: File(iter(chunks))
    if chunks == [None, b"x"]:
        with pytest.raises(TypeError):
            classic.download_file(conn, "/file", str(tmp_path / "file"))
        return
    with pytest.raises(REFUSED, match="expected"):
        classic.download_file(conn, "/file", str(tmp_path / "file"))


@pytest.mark.parametrize("size", ["4", -1, None, Name()], ids=range(4))
def test_sizes_are_numbers(world: tuple[World, Any], tmp_path: Path, size: Any) -> None:
    """The size of a file is an int that is not negative."""
    hostile, conn = world
    hostile.size = size
    with pytest.raises(REFUSED, match="the size of a file"):
        classic.download_file(conn, "/file", str(tmp_path / "file"))
    assert written(tmp_path) == set()


def test_a_file_that_is_none(world: tuple[World, Any], tmp_path: Path) -> None:
    """What is opened is an object of the peer."""
    hostile, conn = world
    hostile.open = lambda *args: 5
    with pytest.raises((TypeError, AttributeError)):
        classic.download_file(conn, "/file", str(tmp_path / "file"))
    (tmp_path / "mine").write_bytes(b"x")
    with pytest.raises((TypeError, AttributeError)):
        classic.upload_file(conn, str(tmp_path / "mine"), "/file")


def test_pickles_are_bytes() -> None:
    """obtain() unpickles bytes, and makes no buffer of a number."""
    for answer in (pickle.dumps(1), (pickle.dumps(1),), (pickle.dumps(1), (1 << 40,)), ("x", ())):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rpyc_like.utils.classic.syncreq", lambda *args, a=answer: a)
            with classic.connect_thread() as conn, pytest.raises(REFUSED, match="expected"):
                classic.obtain(conn.builtins.list)


# -- other values


def test_chunks_of_items_are_bounded() -> None:
    """buffiter() takes tuples of no more items than it has asked for."""
    for answer in ([1], "x", Endless(), tuple(range(11))):
        with pytest.MonkeyPatch.context() as patch, classic.connect_thread() as conn:
            proxy = conn.builtins.list
            patch.setattr("rpyc_like.utils.helpers.syncreq", lambda *args, a=answer: a)
            with pytest.raises(REFUSED, match="expected"):
                list(helpers.buffiter(proxy, 10))


def test_a_proxy_that_says_it_is_asynchronous() -> None:
    """async_() believes its own type only."""

    class Liar:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            return helpers._Async

        def __call__(self) -> int:
            return 1

    class Service(rpyc.Service):
        def exposed_give(self) -> Any:
            return Liar()

    with rpyc.connect_thread(remote_service=Service) as conn:
        assert type(rpyc.async_(conn.root.give())) is helpers._Async


def test_completion_takes_texts() -> None:
    """Names that are completed in a session are texts; others are left out."""

    class Odd:
        def __dir__(self) -> list[Any]:
            return ["fine", Name(), 5]  # type: ignore[list-item]

    with classic.connect_thread() as conn:
        conn.execute("odd = None")
        names = Completer({"conn": conn}, conn)._names
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rpyc_like.cli.session.is_netref", lambda obj: True)
            assert names(Odd()) == ["fine"]


class Outcomes:
    """A peer that answers a chain of steps with what it is told to."""

    def __init__(self, outcomes: Any) -> None:
        self.outcomes = outcomes


class Index:
    """A number that is another one when it is used."""

    def __eq__(self, other: object) -> bool:
        return other == 0

    def __hash__(self) -> int:
        return 0

    def __index__(self) -> int:
        return -1


@pytest.mark.parametrize(
    "outcomes",
    [
        *(((1, 5), (4, one)) for one in (Index(), True, 7, None, -1)),
        *([], ((1, 5), (1,)), (5, 6), ((True, 5), (1, 5)), ((1, 5),)),
    ],
    ids=range(10),
)
def test_outcomes_of_chains_are_exact(outcomes: Any) -> None:
    """The outcome of a step that a hostile peer sends is plain data of the right shape."""

    class Service(rpyc.Service):
        exposed_value = 5

    def chain(conn: Any, steps: Any, wanted: Any) -> Any:
        return outcomes

    with rpyc.connect_thread(remote_service=Service) as conn:
        conn.root
        with pytest.MonkeyPatch.context() as patch:
            from rpyc_like.core.pipelining import chain_sender

            kept = chain_sender._settle
            patch.setattr(
                chain_sender, "_settle", lambda conn, steps, _: kept(conn, steps, outcomes)
            )
            p = conn.pipeline()
            value = p.root.value
            with pytest.raises(MalformedValue):
                p.fetch(value.real)


class Liar:
    """Something that says it is of another class.

    Args:
        kind: the class that it says.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self._kind


def test_chunks_of_containers_are_exact() -> None:
    """The items of a container that a peer sends are in real tuples, with real numbers."""
    right: list[Any] = [("item",), None, True, 1, None]
    assert prefetch._checked(tuple(right), 5) == tuple(right)
    for place, kind in enumerate((tuple, tuple, bool, int)):
        wrong = [*right[:place], Liar(kind), *right[place + 1 :]]
        with pytest.raises(MalformedValue):
            prefetch._checked(tuple(wrong), 5)


def test_descriptions_of_classes_are_exact() -> None:
    """The description of a class is in real tuples: other iterables could have no end."""
    bases, method = (("m", "C"),), ("f", None)
    right = bases, ("__len__",), (("f",), (), (), (("a", "m", (), ()),))
    told = class_descriptions.split_description((method, (class_descriptions.DESCRIPTION, right)))
    assert told.functions.methods == ("f",)
    names, special, (methods, *_, inner) = right
    endless = Endless()
    for wrong in (
        endless,
        (endless, special),
        ((endless,), special),
        (names, endless),
        (names, special, endless),
        (names, special, (endless, (), (), ())),
        (names, special, (methods, (), (), endless)),
        (names, special, (methods, (), (), (endless,))),
        (names, special, (methods, (), (), ((*inner[0][:2], endless, ()),))),
    ):
        with pytest.raises(MalformedValue):
            class_descriptions.split_description((method, (class_descriptions.DESCRIPTION, wrong)))


def test_contents_of_arrays_are_exact() -> None:
    """An array is made of bytes and numbers, not of what a peer's objects say they are."""
    pytest.importorskip("numpy")
    wrong: list[tuple[Any, Any, Any]] = [
        (Liar(str), (1,), b"\0" * 8),
        ("<i8", (True,), b"\0" * 8),
        ("<i8", Liar(tuple), b"\0" * 8),
        ("<i8", (1,), 1 << 40),
        ("<i8", (1,), Liar(bytes)),
    ]
    for dtype, shape, data in wrong:
        array = SimpleNamespace(
            dtype=SimpleNamespace(str=dtype), shape=shape, tobytes=lambda data=data: data
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rpyc_like.core.netref.syncreq", lambda *args, a=array: a)
            with pytest.raises(TypeError, match="expected"):
                netref._array_method("__array__")(None)


# -- words of a program on another machine


def deployed(output: bytes) -> zerodeploy.DeployedServer:
    """Return a deployment whose far side has printed ``output``."""
    server = zerodeploy.DeployedServer.__new__(zerodeploy.DeployedServer)
    proc = SimpleNamespace(
        stdout=io.BytesIO(output),
        stderr=io.BytesIO(b""),
        stdin=io.BytesIO(),
        wait=lambda timeout=None: 1,
        poll=lambda: 1,
        kill=lambda: None,
    )
    server.proc = None
    server._connections = []
    server.remote_machine = "machine"
    server.remote_port = None
    server._python = None
    server._python_executable = SimpleNamespace()
    server._step = "connecting to the machine"
    server._command = lambda *args: SimpleNamespace(popen=lambda **options: proc)  # type: ignore[method-assign]
    server._start(b"")
    return server


STARTING = b"rpyc_like-step starting the server\n"


@pytest.mark.parametrize(
    "line",
    ["٣٣٣٣".encode(), b"0", b"65536", b"99999", b"x" * (64 << 10) + b"1234", b"1234567"],
    ids=range(6),
)
def test_ports_are_exact(line: bytes) -> None:
    """The port that a far side tells is a number of a port in ASCII digits."""
    with pytest.raises(rpyc.errors.DeploymentError):
        deployed(STARTING + line + b"\n")
    assert deployed(STARTING + b"1234\n").remote_port == 1234


def test_lines_of_the_far_side_are_bounded() -> None:
    """A line without an end is not kept."""
    asked: list[int] = []

    class Output(io.BytesIO):
        def readline(self, size: int = -1) -> bytes:  # type: ignore[override]
            asked.append(size)
            return super().readline(size)

    from rpyc_like.utils.tunnels import StderrTail

    assert StderrTail(Output(b"x" * 200_000)).get() == "x" * 2000
    assert asked
    assert all(0 < size <= 64 << 10 for size in asked)


# -- the helpers themselves


def test_exact_values() -> None:
    """What passes is of one type; an error shows what came, and calls nothing of it."""

    class Loud:
        def __repr__(self) -> str:
            raise AssertionError

    assert exact("x", str, "a name") == "x"
    assert exact_count(3, "a count") == 3
    assert exact_items(("a",), str, "a name") == ["a"]
    for bad in (Text("x"), Loud(), True):
        with pytest.raises(TypeError, match=r"expected a count \(int\) from the peer, got"):
            exact_count(bad, "a count")
    with pytest.raises(ValueError, match="from 0 to 5"):
        exact_count(6, "a count", 5)
    with pytest.raises(TypeError, match="expected a list"):
        exact_items(Loud(), str, "a name")
    assert len(brief("x" * 10_000)) < 200
    assert len(brief(1 << 100_000)) < 200
    assert brief(Text("x")) == "Text('x')"


def test_a_new_file_is_new(tmp_path: Path) -> None:
    """A file that must be new has its permissions from the start and replaces nothing."""
    create_new(tmp_path / "a", b"x", 0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("a", "link"):
        with pytest.raises(FileExistsError):
            create_new(tmp_path / name, b"y", 0o600)
    assert (tmp_path / "a").read_bytes() == b"x"
    assert not (tmp_path / "nowhere").exists()


def test_join_name(tmp_path: Path) -> None:
    """A plain name gives the path of an entry."""
    assert join_name(tmp_path, "name") == str(tmp_path / "name")
    with pytest.raises(TypeError):
        join_name(tmp_path, Path("name"))


def test_rpyc_copy_says_what_was_refused(world: tuple[World, Any], tmp_path: Path) -> None:
    """The command ends with one printable line."""
    hostile, conn = world
    hostile.names = ["../PWNED\x1b[2J"]
    port = conn._channel.stream.sock.getpeername()[1]
    done = subprocess.run(
        [sys.executable, "-m", "rpyc_like.cli.rpyc_copy", "-p", str(port), "127.0.0.1:/data", "d"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "expected a plain file name" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr
    assert threading.active_count()


DEVICES = ["con", "NUL", "aux.txt", "Com1", "lpt9.tar.gz", "com\u00b9", "prn .x", "CONIN$"]
ENDINGS = ["...", "a.", "a ", "a. ."]


@pytest.mark.parametrize("name", [*DEVICES, *ENDINGS])
def test_names_of_devices_are_refused_on_windows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They open a device there, or an entry of another name; elsewhere they are plain names."""
    monkeypatch.setattr(safe_paths, "_WINDOWS", False)
    assert join_name(tmp_path, name) == os.path.join(tmp_path, name)
    monkeypatch.setattr(safe_paths, "_WINDOWS", True)
    with pytest.raises(ValueError, match=r"device|ends with a dot or a space"):
        join_name(tmp_path, name)


@pytest.mark.parametrize("name", ["console", "com", "a.con", "com10", ".x", "auxiliary.txt"])
def test_names_like_those_of_devices_are_plain(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the part before the first dot names a device."""
    monkeypatch.setattr(safe_paths, "_WINDOWS", True)
    assert join_name(tmp_path, name) == os.path.join(tmp_path, name)
