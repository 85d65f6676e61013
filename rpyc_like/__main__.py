"""``python -m rpyc_like COMMAND``: one command with subcommands."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
