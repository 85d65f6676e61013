"""Erlang itself judges what the codec writes, in two releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rpyc_like.erlport import erlterms
from tests.support.erlang import SOURCES, VMS, compiled, frames, read_frames, run_erlang
from tests.support.etf import corpus, crafted


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("beams"), SOURCES / "judge.erl")


def judge(vm: str, beams: Path, *arguments: object) -> str:
    done = run_erlang(vm, beams, "judge", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def again(data: bytes, compressed: Any = False) -> bytes:
    value, rest = erlterms.decode(data)
    assert rest == b""
    return erlterms.encode(value, compressed)


def assert_same(vm: str, beams: Path, folder: Path, terms: list[bytes], level: Any = False) -> None:
    pairs = [one for term in terms for one in (term, again(term, level))]
    (folder / "pairs").write_bytes(frames(pairs))
    assert judge(vm, beams, "same", folder / "pairs") == f"{len(terms)} []\n"


@pytest.mark.parametrize("vm", VMS)
@pytest.mark.parametrize("level", [False, True, 9])
def test_corpus(vm: str, level: Any, beams: Path, tmp_path: Path) -> None:
    """What OTP 25 wrote comes back as the same terms, compressed or not."""
    assert_same(vm, beams, tmp_path, [entry.data for entry in corpus()], level)


@pytest.mark.parametrize("vm", VMS)
def test_written_by_this_release(vm: str, beams: Path, tmp_path: Path) -> None:
    """What this release makes of the same terms comes back as well."""
    (tmp_path / "in").write_bytes(frames(entry.data for entry in corpus()))
    judge(vm, beams, "rewrite", tmp_path / "in", tmp_path / "out")
    terms = read_frames(tmp_path / "out")
    assert len(terms) == len(corpus())
    assert_same(vm, beams, tmp_path, terms)


@pytest.mark.parametrize("vm", VMS)
def test_own_terms(vm: str, beams: Path, tmp_path: Path) -> None:
    """Pids, references, ports, funs and aliases of a living VM, in all minor versions."""
    judge(vm, beams, "own", tmp_path / "out")
    terms = read_frames(tmp_path / "out")
    assert len(terms) == 40
    assert_same(vm, beams, tmp_path, terms)


def test_local_terms(beams: Path, tmp_path: Path) -> None:
    """Terms in a VM's own format are kept as they are; OTP 25 has none."""
    judge("28", beams, "local", tmp_path / "out")
    terms = read_frames(tmp_path / "out")
    assert len(terms) == 8
    for term in terms:
        assert type(erlterms.decode(term)[0]) is erlterms.Local
        assert again(term) == term
        for end in range(7):
            with pytest.raises(erlterms.IncompleteData):
                erlterms.decode(term[:end])


DIFFERENT = {
    "zeros16_tag_73": "a reference to the VM's own table of atoms",
    "zeros16_tag_75": "a reference to the VM's own table of atoms",
    "local_ext": "a local term, which only the VM that wrote it can judge",
    "zeros16_tag_121": "a local term, which only the VM that wrote it can judge",
}
"""Where the verdicts differ, and why. The reference has the same table."""


def test_verdicts() -> None:
    """Bytes made by hand are refused and taken as OTP 25 does, but for four."""
    different = set()
    for entry in crafted():
        try:
            _, rest = erlterms.decode(entry.data)
        except ValueError:
            verdict = "badarg"
        else:
            verdict = "ok"
            used = len(entry.data) - len(rest)
            if entry.verdict == "ok" and entry.name != "ref_newer_0":  # counts 4 bytes too many
                assert used == entry.used, entry.name
        if verdict != entry.verdict:
            different.add(entry.name)
    assert different == set(DIFFERENT)


@pytest.mark.parametrize("vm", VMS)
def test_recorded_verdicts_are_true(vm: str, beams: Path, tmp_path: Path) -> None:
    """The verdicts in the file are those of the VM, but for bytes that would end the newer one."""
    entries = [entry for entry in crafted() if entry.name not in ("bits_0_0", "zeros16_tag_77")]
    (tmp_path / "in").write_bytes(frames(entry.data for entry in entries))
    verdicts = judge(vm, beams, "verdicts", tmp_path / "in").split()
    different = {
        entry.name
        for entry, verdict in zip(entries, verdicts, strict=True)
        if entry.verdict != verdict
    }
    assert different <= NEWER if vm == "28" else not different


NEWER: set[str] = set()
"""Where OTP 28 says something else than OTP 25."""


@pytest.mark.parametrize("vm", VMS)
def test_what_we_write(vm: str, beams: Path, tmp_path: Path) -> None:
    """Nothing we write is refused, or ends the VM."""
    values: list[Any] = [
        erlterms.BitBinary(b"", 0),
        erlterms.BitBinary(b"\xff", 3),
        erlterms.BitBinary(b"ab", 8),
        erlterms.Atom("é"),
        erlterms.Atom("Ł" * 255),
        [True, 1],
        [True, False],
        [1, 256, -1, 2**40, -(2**4000)],
        [1.5, -0.0],
        [0] * 70_000,
        "x" * 70_000,
        "Ł",
        {"b": 1, "a": 2, 3: None},
        erlterms.ImproperList([1], erlterms.Atom("x")),
        tuple(range(300)),
        erlterms.Map([(1, "a"), (1.0, "b"), (True, "c"), ([1], "d"), ({}, "e")]),
    ]
    (tmp_path / "in").write_bytes(frames(map(erlterms.encode, values)))
    assert judge(vm, beams, "verdicts", tmp_path / "in").split() == ["ok"] * len(values)
