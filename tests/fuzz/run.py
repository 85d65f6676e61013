"""One run of atheris: ``python -m tests.fuzz.run TARGET FOLDER [libFuzzer options]``.

``python -m tests.fuzz`` starts it.
"""

from __future__ import annotations

import logging
import sys

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["rpyc_like"]):
    from . import targets


def main() -> None:
    name, folder, *options = sys.argv[1:]
    logging.getLogger("rpyc_like").setLevel(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *options, folder], lambda data: targets.check(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
