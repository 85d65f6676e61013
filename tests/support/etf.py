"""Terms that a real VM wrote, and its verdicts on bytes made by hand."""

from __future__ import annotations

import base64
import gzip
from typing import NamedTuple

from .peers import ROOT

__all__ = ["Crafted", "Written", "corpus", "crafted"]

_FOLDER = ROOT / "tests" / "data" / "etf"


class Written(NamedTuple):
    """A term that OTP 25 wrote."""

    category: str
    name: str
    options: str
    data: bytes


class Crafted(NamedTuple):
    """Bytes made by hand, and what ``binary_to_term`` of OTP 25 said of them."""

    name: str
    data: bytes
    verdict: str
    used: int


def _rows(name: str) -> list[list[str]]:
    with gzip.open(_FOLDER / name, "rt", encoding="latin-1", newline="\n") as lines:
        return [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]


def corpus() -> list[Written]:
    """Returns all kinds of terms, in all ways in which they are written."""
    return [
        Written(category, name, options, base64.b64decode(data))
        for _, category, name, options, data, _ in _rows("corpus_otp25.tsv.gz")
    ]


def crafted() -> list[Crafted]:
    """Returns bytes that are mostly not terms."""
    return [
        Crafted(name, base64.b64decode(data), verdict, int(used))
        for _, name, data, verdict, used, _ in _rows("crafted_otp25.tsv.gz")
    ]
