"""See :mod:`rpyc_like.erlport.v1.cli`."""

from __future__ import annotations

import sys

from ..alias import install
from .v1.cli import main

if __name__ == "__main__":
    install("erlport")
    sys.exit(main(sys.argv[1:]))
