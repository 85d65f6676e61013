#!/usr/bin/env python3
"""Starts the registry from a clone or an installation."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from rpyc_like.cli.rpyc_registry import main

if __name__ == "__main__":
    main()
