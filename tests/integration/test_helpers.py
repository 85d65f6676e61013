"""The helpers and classic tools that programs written for RPyC use."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.utils.helpers import BgServingThread, buffiter, classpartial, restricted
from tests.support.joining import join

MakePair = Callable[..., Any]


class Subject(rpyc.Service):
    """Has things to iterate over, and calls back."""

    def __init__(self, first: int = 1, second: int = 2) -> None:
        self.values = (first, second)
        self.narrow = restricted(self, ["values", "later"], ["later"])
        self.later = 0
        self.secret = "s"

    def exposed_values(self) -> Any:
        return self.values

    def exposed_numbers(self, count: int) -> list[int]:
        return list(range(count))

    def exposed_view(self) -> Any:
        return self.narrow

    def exposed_call_later(self, func: Any, seconds: float) -> None:
        def run() -> None:
            time.sleep(seconds)
            func(time.monotonic())

        threading.Thread(target=run).start()


def test_buffiter(pair: MakePair) -> None:
    """Items come in growing chunks, in order, and none is lost."""
    client, server = pair(Subject)
    numbers = client.root.numbers(2500)
    asked: list[int] = []
    original = server._HANDLERS[consts.HANDLE_BUFFITER]

    def counting(conn: Any, obj: Any, count: int) -> Any:
        asked.append(count)
        return original(conn, obj, count)

    server._HANDLERS[consts.HANDLE_BUFFITER] = counting
    assert list(buffiter(numbers)) == list(range(2500))
    assert asked[:8] == [10, 20, 40, 80, 160, 320, 640, 1000]
    asked.clear()
    assert list(buffiter(numbers, chunk=1000, max_chunk=2000, factor=1.5)) == list(range(2500))
    assert asked == [1000, 1500, 2000]
    assert list(buffiter(client.root.numbers(0))) == []
    assert list(buffiter([1, 2])) == [1, 2]
    for options in ({"factor": 0.5}, {"chunk": 0}):
        with pytest.raises(ValueError, match="must be >= 1"):
            buffiter(numbers, **options)  # type: ignore[arg-type]


def test_restricted(pair: MakePair) -> None:
    """A view gives the names it was made for, here and to a peer, whatever the configuration."""
    config = {"allow_all_attrs": True, "allow_setattr": True, "allow_delattr": True}
    client, server = pair(Subject, there_config=config)
    view = client.root.view()
    assert view.values == (1, 2)
    view.later = 5
    assert server._local_root.later == 5
    for name in ("secret", "__class__", "__dict__", "_obj", "_readable"):
        with pytest.raises(AttributeError):
            client.sync_request(consts.HANDLE_GETATTR, view, name)
    with pytest.raises(AttributeError):
        view.values = (3, 4)
    with pytest.raises(AttributeError):
        del view.values
    assert list(client.sync_request(consts.HANDLE_DIR, view)) == ["later", "values"]
    local = restricted(server._local_root, ["values"])
    assert local.values == (1, 2)
    with pytest.raises(AttributeError):
        _ = local.secret
    local.values = (5, 6)  # what is readable is writable, unless told otherwise
    assert server._local_root.values == (5, 6)


def test_classpartial(pair: MakePair) -> None:
    """A service class takes arguments though nobody passes any when it is made."""
    service = classpartial(Subject, 7, second=8)
    assert service.__name__ == "Subject"
    assert issubclass(service, Subject)
    client, _ = pair(service)
    assert client.root.values() == (7, 8)
    assert client.root.get_service_name() == "SUBJECT"


def test_serving_in_the_background(pair: MakePair) -> None:
    """Callbacks arrive at once while the program does something else, and requests still work."""
    client, _ = pair(Subject)
    thread = BgServingThread(client)
    arrived: list[tuple[float, float]] = []
    done = threading.Event()

    def callback(sent: float) -> None:
        arrived.append((sent, time.monotonic()))
        done.set()

    for _ in range(5):
        done.clear()
        client.root.call_later(callback, 0.02)
        assert done.wait(60)
        assert client.root.values() == (1, 2)
    thread.stop()
    thread.stop()
    delays = sorted(received - sent for sent, received in arrived)
    assert delays[2] < 0.05
    assert BgServingThread.SERVE_INTERVAL == 0.0


def test_the_background_thread_tells_the_end(pair: MakePair) -> None:
    """The callback is called when the connection ends by itself, and not when it is stopped."""
    client, server = pair(Subject)
    ended = threading.Event()
    thread = BgServingThread(client, ended.set, serve_interval=0, sleep_interval=0)
    client.ping()
    server.close()
    assert ended.wait(60)
    thread.stop()
    client, _ = pair(Subject)
    ended.clear()
    thread = BgServingThread(client, ended.set)
    thread.stop()
    client.close()
    assert not ended.wait(0.2)


@pytest.fixture(scope="module")
def classic() -> Any:
    conn = rpyc.classic.connect_subproc()
    yield conn
    conn.close()
    conn.proc.wait(60)


def test_redirected_output(classic: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What the other side prints appears here, while it is asked to."""
    before = classic.modules.sys.stdout
    with rpyc.classic.redirected_stdio(classic):
        classic.execute("print('from there')")
        classic.execute("import sys; print('an error', file=sys.stderr)")
    captured = capsys.readouterr()
    assert captured.out == "from there\n"
    assert captured.err == "an error\n"
    assert classic.modules.sys.stdout == before


def test_interact(
    classic: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter of the other side reads from this keyboard."""
    classic.namespace["answer"] = 42
    monkeypatch.setattr(sys, "stdin", io.StringIO("print(answer + 1)\n"))
    rpyc.classic.interact(classic)
    assert "43" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("print(mine * 2)\n"))
    rpyc.classic.interact(classic, {"mine": 21})
    assert "42" in capsys.readouterr().out


def test_post_mortem(
    classic: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debugger looks at the frame where a remote call failed."""
    classic.execute("def broken(divisor):\n    local = 'remote value'\n    return 1 / divisor\n")
    with pytest.raises(ZeroDivisionError):
        classic.namespace["broken"](0)
    monkeypatch.setattr(sys, "stdin", io.StringIO("p local\nq\n"))
    rpyc.classic.pm(classic)
    assert "remote value" in capsys.readouterr().out


def test_uploading_a_package(classic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package or a module of this side can be imported there."""
    package = tmp_path / "here" / "parcel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .inner import value\n")
    (package / "inner.py").write_text("value = 5\n")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "copied").write_text("not to be copied")
    (tmp_path / "here" / "letter.py").write_text("text = 'dear'\n")
    monkeypatch.syspath_prepend(tmp_path / "here")
    import letter  # type: ignore[import-not-found]
    import parcel  # type: ignore[import-not-found]

    there = tmp_path / "there"
    classic.modules.sys.path.insert(0, str(there))
    original = classic.modules.sysconfig.get_path
    classic.modules.sysconfig.get_path = lambda name: str(there)
    try:
        rpyc.classic.upload_package(classic, parcel)
        rpyc.classic.upload_module(classic, letter)
    finally:
        classic.modules.sysconfig.get_path = original
    assert classic.modules.parcel.value == 5
    assert classic.modules.letter.text == "dear"
    assert not (there / "parcel" / "__pycache__" / "copied").exists()
    rpyc.classic.upload_package(classic, parcel, str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "inner.py").read_text() == "value = 5\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_connect_multiprocess() -> None:
    """A classic server in a process of its own, with names to begin with."""
    conn = rpyc.classic.connect_multiprocess(args={"x": 5, "items": [1]})
    try:
        assert conn.eval("x") == 5
        conn.execute("items.append(x)")
        assert conn.eval("items") == [1, 5]
        assert conn.modules.os.getpid() == conn.proc.pid
    finally:
        conn.close()
    join(conn.proc)


def test_mock_classic_connection() -> None:
    """The same names, without another side."""
    conn = rpyc.classic.MockClassicConnection()
    assert conn.eval("1 + 1") == 2
    conn.execute("x = 3")
    assert conn.namespace["x"] == 3
    assert conn.modules.os.path is conn.modules["os.path"]
    assert conn.builtin.len is len
    assert conn.builtins is conn.builtin
    assert conn.teleport(test_mock_classic_connection) is test_mock_classic_connection
    assert conn.root.getmodule("os").getpid() > 0


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_packages_go_to_other_pythons(version: str, tmp_path: Path) -> None:
    """upload_package finds the place for packages on any Python, also where distutils is gone."""
    from plumbum import local

    from rpyc_like.utils.zerodeploy import DeployedServer
    from tests.interop import deployed_service
    from tests.support.peers import find_interpreter

    python = find_interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    made = subprocess.run(
        [python, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=False
    )
    if made.returncode:
        pytest.skip(f"Python {version} makes no environments")
    with DeployedServer(local, python_executable=str(tmp_path / "venv" / "bin" / "python")) as far:
        conn = far.classic_connect()
        rpyc.classic.upload_package(conn, deployed_service)
        rpyc.classic.upload_package(conn, rpyc.lib)
        found = list((tmp_path / "venv").rglob("site-packages/tests/interop/deployed_service.py"))
        assert len(found) == 1
        assert list((tmp_path / "venv").rglob("site-packages/rpyc_like/lib/timing.py"))
        conn.modules.sys.path.insert(0, str(found[0].parent))
        assert conn.modules.deployed_service.Thermometer().exposed_read() == 21.5


def test_options_are_accepted_everywhere() -> None:
    """Whatever connects over a network takes ``timeout`` and ``nodelay``."""
    factory, classic = rpyc.utils.factory, rpyc.classic
    for home, names in (
        (factory, "connect unix_connect ssl_connect ssh_connect connect_by_service"),
        (classic, "connect unix_connect ssl_connect ssh_connect"),
    ):
        for name in names.split():
            assert {"timeout", "nodelay"} <= {*inspect.signature(getattr(home, name)).parameters}
