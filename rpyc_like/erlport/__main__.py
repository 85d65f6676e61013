"""See :mod:`rpyc_like.erlport.modern.cli`."""

from __future__ import annotations

import sys

from ..alias import install
from .modern.cli import main

if __name__ == "__main__":
    install("erlport")
    sys.exit(main(sys.argv[1:]))
