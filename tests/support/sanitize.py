"""Runs the fuzz corpus through a build of the compiled core with sanitizers.

``python -m tests.support.sanitize``: the extension is compiled with AddressSanitizer and
UndefinedBehaviorSanitizer in a folder of its own; a fault ends the run with a report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = "-fsanitize=address,undefined"
FLAGS = f"{SANITIZERS} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
TESTS = [
    "tests/fuzz",
    "tests/property/test_native.py",
    "tests/property/test_native_adapters.py",
    "tests/unit/test_waiting.py",
    "tests/unit/test_waiting_stress.py",
]

REPLAY = """
import pytest, sys
from rpyc_like.lib import native
assert native.codec is not None and native.codec.__file__.startswith(sys.argv[1]), native.codec
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


def library(name: str) -> str:
    """Returns where the compiler has a library of its own."""
    done = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        unwanted = shutil.ignore_patterns(".*", "__pycache__", "*.so", "_build", "build")
        shutil.copytree(ROOT, copy, ignore=unwanted)
        env = {**os.environ, "CFLAGS": FLAGS, "LDFLAGS": SANITIZERS}
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(build, cwd=copy, env=env, check=True)
        env |= {
            "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so.6')}",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": str(copy),
            "RPYC_LIKE_IMPL": "native",
        }
        done = subprocess.run(
            [sys.executable, "-c", REPLAY, str(copy), *TESTS], cwd=copy, env=env, check=False
        )
    print("no fault found" if not done.returncode else f"failed ({done.returncode})")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
