"""Names that decide over files: keys, certificates and authorities are never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from rpyc_like.cli.rpyc_certificates import Certificates
from rpyc_like.lib import safe_paths
from rpyc_like.utils import certificates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an authority."""
    certificates.make_authority(tmp_path / "pki")
    return tmp_path / "pki"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, and what they hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


NAMES = [
    *("ca", "CA", "Ca", "cA", "ca.", "ca ", "\uff43\uff41", "", ".", "..", "/etc/x", "../x", "a/b"),
    *("a\\b", "a\0b", "a\nb", "\x1b[2J", "x" * 252, "\ud800"),
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_that_are_no_file_names(folder: Path, name: str) -> None:
    """A name that collides with the authority or leads elsewhere is refused; nothing is written."""
    before = contents(folder.parent)
    with pytest.raises(ValueError):
        certificates.make_client(folder, name)
    with pytest.raises(ValueError):
        certificates.make_server(folder, [name, "localhost"])
    assert contents(folder.parent) == before


@pytest.mark.parametrize("name", [5, b"ann", Path("ann"), ("ann",)], ids=range(4))
def test_names_are_texts(folder: Path, name: Any) -> None:
    """Something else than a text is a ValueError."""
    before = contents(folder.parent)
    with pytest.raises(ValueError):
        certificates.make_client(folder, name)
    assert contents(folder.parent) == before


def test_no_authority_is_replaced(folder: Path) -> None:
    """A second authority is an error, also where only one file of the first one is left."""
    before = contents(folder)
    with pytest.raises(FileExistsError, match="there is an authority"):
        certificates.make_authority(folder)
    assert contents(folder) == before
    for left in ("ca.key", "ca.pem"):
        for name, content in before.items():
            (folder / name).write_bytes(content)
        gone = folder / ("ca.pem" if left == "ca.key" else "ca.key")
        gone.unlink()
        with pytest.raises(FileExistsError, match="there is an authority"):
            certificates.make_authority(folder)
        assert contents(folder) == {left: before[left]}


def test_no_pair_is_replaced(folder: Path) -> None:
    """A second pair of a name is an error, also if one of its files is left, or another case."""
    key, certificate = certificates.make_client(folder, "ann")
    before = contents(folder)
    for make in (
        lambda: certificates.make_client(folder, "ann"),
        lambda: certificates.make_server(folder, ["ann"]),
    ):
        with pytest.raises(FileExistsError):
            make()
        assert contents(folder) == before
    certificates.make_server(folder, ["a:b"])
    with pytest.raises(FileExistsError):
        certificates.make_server(folder, ["a*b"])  # whose files would have the same names
    key.unlink()
    before = contents(folder)
    with pytest.raises(FileExistsError):
        certificates.make_client(folder, "ann")
    assert contents(folder) == before
    certificate.unlink()
    certificates.make_client(folder, "ann")


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    """A link that stands where a file is to be made is an error."""
    outside = tmp_path / "outside"
    (folder / "ann.key").symlink_to(outside)
    (folder / "bob.pem").symlink_to(outside)
    for name in ("ann", "bob"):
        with pytest.raises((FileExistsError, ValueError)):
            certificates.make_client(folder, name)
    assert not outside.exists()
    assert not (folder / "bob.key").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "ca.key").symlink_to(outside)
    with pytest.raises(FileExistsError):
        certificates.make_authority(empty)
    assert not outside.exists()


def test_permissions_from_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are opened for the user only, exclusively, whatever the umask says."""
    opened: list[tuple[str, int, int]] = []
    real = os.open

    def record(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        opened.append((str(path), flags, mode))
        return real(path, flags, mode, **options)

    monkeypatch.setattr(safe_paths.os, "open", record)
    before = os.umask(0)
    try:
        certificates.make_client(folder, "ann")
        certificates.make_authority(folder / "other")
    finally:
        os.umask(before)
    assert len(opened) == 4
    for path, flags, mode in opened:
        assert flags & os.O_EXCL
        assert flags & os.O_NOFOLLOW
        assert mode == (0o600 if path.endswith(".key") else 0o644)
        assert stat.S_IMODE(os.stat(path).st_mode) == mode


def test_half_made_pairs_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a certificate cannot be written, its key is not left either."""
    before = contents(folder)
    real = certificates.create_new

    def failing(path: Path, data: bytes, mode: int) -> None:
        if path.suffix == ".pem":
            raise OSError(28, "No space left on device")
        real(path, data, mode)

    monkeypatch.setattr(certificates, "create_new", failing)
    with pytest.raises(OSError, match="No space"):
        certificates.make_client(folder, "ann")
    assert contents(folder) == before


def test_a_file_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    """A new file that is not whole does not stay."""
    with pytest.raises(TypeError):
        safe_paths.create_new(tmp_path / "a", "text", 0o600)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "arguments",
    [["ca"], ["client", "ca"], ["client", "../x"], ["server", "CA"], ["client", "ann"]],
    ids=range(5),
)
def test_commands_replace_nothing(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands end with a line about what was expected."""
    certificates.make_client(folder, "ann")
    before = contents(folder.parent)
    command = ["rpyc_certificates", arguments[0], "-d", str(folder), *arguments[1:]]
    _, status = Certificates.run(command, exit=False)
    assert status == 0 or "Traceback" not in capsys.readouterr().err
    assert contents(folder.parent) == before


def test_token_replaces_nothing(tmp_path: Path) -> None:
    """The file of a token is new, for this user only, and no link is followed."""
    token, link = tmp_path / "token", tmp_path / "link"
    token.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    for path in (token, link):
        Certificates.run(["rpyc_certificates", "token", str(path)], exit=False)
    assert token.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    Certificates.run(["rpyc_certificates", "token", str(tmp_path / "new")], exit=False)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
