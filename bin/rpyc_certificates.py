#!/usr/bin/env python3
"""Copies files to and from a classic server, from a clone or an installation."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from rpyc_like.cli.rpyc_certificates import main

if __name__ == "__main__":
    main()
