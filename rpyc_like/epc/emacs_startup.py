"""Starting under Emacs, which takes the first output of a program for its port."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from ..lib.threads import spawn

__all__ = ["held_output", "when_stdin_ends"]


@contextlib.contextmanager
def held_output() -> Iterator[TextIO]:
    """Holds back what is printed in the block, by Python or not, and yields standard output.

    Import what may be noisy inside, and print the port to what is yielded. What was held back goes
    to standard error afterwards.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as held, open(os.dup(1), "w") as stdout:
        os.dup2(held.fileno(), 1)
        os.dup2(held.fileno(), 2)
        try:
            yield stdout
        finally:
            for stream in (stdout, sys.stdout, sys.stderr):
                stream.flush()
            for number, fd in enumerate(kept, 1):
                os.dup2(fd, number)
                os.close(fd)
            held.seek(0)
            sys.stderr.write(held.read().decode("utf-8", "replace"))
            sys.stderr.flush()


def when_stdin_ends(func: Callable[[], Any]) -> None:
    """Calls ``func`` in a thread when standard input has ended: whoever started us is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        func()

    spawn(watch)
