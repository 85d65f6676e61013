"""Programs that the docs show as files run together, as a reader would run them.

Such a block starts with ```` ```py ```` (blocks of ``python`` belong to the page's one program, see
``test_examples.py``), and its first line is a comment with the name of the file.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.eventually import eventually

DOCS = Path(__file__).resolve().parents[2] / "docs"
PORT = "18861"
"""The port in the docs, for which the tests use a free one."""


def programs(page: str, folder: Path) -> dict[str, str]:
    """Write the programs of a page into a folder; return their texts by the names of the files."""
    found = re.findall(r"^```py\n# (\w+\.py)\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    texts = {name: text.replace(PORT, port) for name, text in found}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return texts


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    """Start one of the programs with this clone's package."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(folder: Path, name: str) -> str:
    """Run a program to its end; return what it prints."""
    with start(folder, name) as program:
        out, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    return out


@contextlib.contextmanager
def serving(folder: Path, name: str, text: str) -> Iterator[None]:
    """Run a server, which listens on the port in its text, while the block runs."""
    port = int(re.findall(r"port=(\d+)", text)[0])

    def listens() -> bool:
        assert server.poll() is None, server.communicate()[1]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with start(folder, name) as server:
        try:
            eventually(listens, f"{name} on port {port}")
            yield
        finally:
            server.kill()
            server.communicate()


def test_first_service_is_two_programs(tmp_path: Path) -> None:
    """The client of the tutorial prints what the tutorial says."""
    texts = programs("tutorial/first-steps.md", tmp_path)
    assert set(texts) == {"server.py", "client.py"}
    with serving(tmp_path, "server.py", texts["server.py"]):
        assert output(tmp_path, "client.py") == "3\n"


def test_program_for_a_child_process(tmp_path: Path) -> None:
    """The program that starts a child prints what the page on connecting says."""
    assert set(programs("howto/connect.md", tmp_path)) == {"worker.py", "parent.py"}
    assert output(tmp_path, "parent.py") == "42\n"


def test_examples_use_no_private_method_of_servers() -> None:
    """Examples start servers by public functions."""
    offenders = [
        page.name
        for page in DOCS.rglob("*.md")
        for example in re.findall(r"^```(?:py|python)\n(.*?)^```", page.read_text(), re.M | re.S)
        if "._start_in_thread(" in example
    ]
    assert offenders == []
