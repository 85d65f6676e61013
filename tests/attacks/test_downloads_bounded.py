"""What a hostile peer sends to be written to disk is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

import rpyc_like as rpyc
from rpyc_like.utils import classic, file_transfer


def test_more_bytes_than_wanted_are_refused(tmp_path: Path) -> None:
    """A download ends at `max_size` bytes of all files together, and the error names it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / name).write_bytes(bytes(1000))
    with rpyc.classic.connect_thread() as conn:
        with pytest.raises(ValueError, match="'max_size'"):
            classic.download(conn, str(source), str(tmp_path / "there"), max_size=2999)
        with pytest.raises(ValueError, match="'max_size'"):
            classic.download(conn, str(source / "a"), str(tmp_path / "one"), max_size=999)
        classic.download(conn, str(source), str(tmp_path / "all"), max_size=3000)
    assert sum(one.stat().st_size for one in (tmp_path / "there").iterdir()) < 3000
    assert len(list((tmp_path / "all").iterdir())) == 3


def test_more_entries_than_wanted_are_refused(tmp_path: Path) -> None:
    """Entries of all directories of the tree count, before they are made."""
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    for name in "abc":
        (source / "inner" / name).touch()
    with rpyc.classic.connect_thread() as conn:
        with pytest.raises(ValueError, match="'max_entries'"):
            classic.download(conn, str(source), str(tmp_path / "there"), max_entries=3)
        classic.download(conn, str(source), str(tmp_path / "all"), max_entries=4)
    assert not list((tmp_path / "there").rglob("[abc]"))


@pytest.mark.parametrize("count", [4, 5, 6, 8, 9])
def test_names_of_a_large_directory_come_in_slices(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map has a limit of items, a directory has none but `max_entries`."""
    monkeypatch.setattr(file_transfer, "_LISTED", 4)
    source = tmp_path / "source"
    source.mkdir()
    names = {f"file{number}" for number in range(count)}
    for name in names:
        (source / name).touch()
    with rpyc.classic.connect_thread() as conn:
        classic.download(conn, str(source), str(tmp_path / "all"), max_entries=count)
        with pytest.raises(ValueError, match="'max_entries'"):
            classic.download(conn, str(source), str(tmp_path / "less"), max_entries=count - 1)
    assert {one.name for one in (tmp_path / "all").iterdir()} == names


def test_a_directory_of_more_than_a_map_takes_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """150,000 names are taken, in their order."""
    names = [str(number) for number in range(150_000)]
    with rpyc.classic.connect_thread() as conn:
        monkeypatch.setattr("os.listdir", lambda path: names)
        bounds = file_transfer._Bounds(None, None)
        assert file_transfer._names_in(conn, "anywhere", bounds) == names
