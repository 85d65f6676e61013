"""Runs a program under the alias: ``python -m rpyc_like.alias (FILE | -m MODULE | -c CODE)``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from . import install, path

_USAGE = """\
usage: python -m rpyc_like.alias FILE [arguments]
       python -m rpyc_like.alias -m MODULE [arguments]
       python -m rpyc_like.alias -c CODE [arguments]
       python -m rpyc_like.alias --path
with --epc or --erlport in front: the same for programs that import epc or erlport (1.x)
"""


def main(arguments: list[str]) -> int:
    """Does what the arguments say."""
    name = "rpyc"
    if arguments[:1] in (["--epc"], ["--erlport"]):
        name, arguments = arguments[0][2:], arguments[1:]
    if arguments == ["--path"]:
        print(path(name))
        return 0
    needed = 2 if arguments[:1] in (["-m"], ["-c"]) else 1
    if len(arguments) < needed or arguments[0] in ("-h", "--help"):
        sys.stderr.write(_USAGE)
        return 2
    install(name)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = ""
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path[0] = ""
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
