"""What a hostile peer sends to be written to disk is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

import rpyc_like as rpyc
from rpyc_like.utils import classic


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
