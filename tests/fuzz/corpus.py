"""The inputs that the fuzzer found interesting: a file for each target, an input in each line."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

__all__ = ["load", "save"]

FOLDER = Path(__file__).parent / "corpus"


def load(name: str) -> list[bytes]:
    """Returns the inputs of a target."""
    path = FOLDER / f"{name}.txt"
    return [b64decode(line) for line in path.read_text().split()] if path.exists() else []


def save(name: str, inputs: Iterable[bytes]) -> None:
    """Keeps inputs, each once."""
    FOLDER.mkdir(exist_ok=True)
    lines = sorted({b64encode(data).decode() for data in inputs if data}, key=lambda x: (len(x), x))
    (FOLDER / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
