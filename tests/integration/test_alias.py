"""``import rpyc`` answered by this package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.peers import OURS, ROOT, environment, path_of

PROGRAM = """
import importlib, sys
import rpyc
import rpyc.utils.server
from rpyc.core import protocol
from rpyc.utils.helpers import buffiter
import rpyc_like, rpyc_like.core.protocol
assert rpyc is rpyc_like
assert protocol is rpyc_like.core.protocol and rpyc.core.protocol is protocol
assert sys.modules["rpyc.utils.server"] is rpyc_like.utils.server
assert importlib.import_module("rpyc.core.async").AsyncResult is rpyc.AsyncResult
assert rpyc_like.core.protocol.__spec__.name == "rpyc_like.core.protocol"
try:
    import rpyc.nonsense
except ModuleNotFoundError as error:
    assert "rpyc.nonsense" in str(error), error
conn = rpyc.classic.connect_thread()
assert conn.modules["rpyc.lib.compat"].pickle.dumps(1)
print(rpyc.__version__[0], sys.argv[1:], __name__)
"""


def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = environment(OURS)
    if path is not None:
        env["PYTHONPATH"] = f"{path}:{env['PYTHONPATH']}"
    return subprocess.run(
        [sys.executable, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd="/",
    )


def test_ways_to_run(tmp_path: Path) -> None:
    """A file, a module and code run under the alias, with their arguments."""
    (tmp_path / "old_program.py").write_text(PROGRAM)
    expected = "6 ['a', '-b'] __main__\n"
    alias = ("-m", "rpyc_like.alias")
    by_file = run(*alias, str(tmp_path / "old_program.py"), "a", "-b")
    by_module = run(*alias, "-m", "old_program", "a", "-b", path=str(tmp_path))
    by_code = run(*alias, "-c", PROGRAM, "a", "-b")
    folder = run(*alias, "--path").stdout.strip()
    by_path = run(str(tmp_path / "old_program.py"), "a", "-b", path=folder)
    for done in (by_file, by_module, by_code, by_path):
        assert (done.stdout, done.stderr) == (expected, "")


def test_never_by_itself() -> None:
    """Installing or importing this package does not answer ``import rpyc``."""
    done = run("-S", "-c", "import rpyc_like.alias, rpyc")
    assert "No module named 'rpyc'" in done.stderr
    assert run("-m", "rpyc_like.alias").returncode == 2


def test_the_real_one_is_not_replaced() -> None:
    """A program that has imported the real rpyc is told that it is too late."""
    code = "import rpyc; from rpyc_like import alias; alias.install()"
    done = run("-c", code, path=str(path_of("rpyc-6.0.2")))
    assert "expected no rpyc yet" in done.stderr


def test_an_alias_program_with_a_real_peer() -> None:
    """A program under the alias works with the real rpyc on the other side."""
    server = ROOT / "bin" / "rpyc_classic.py"
    assert server.exists()
    code = (
        "import rpyc, sys\n"
        "conn = rpyc.utils.factory.connect_subproc([sys.executable, '-u', '-c', "
        "'import sys; sys.path.insert(0, sys.argv[1]); import rpyc; "
        "rpyc.utils.factory.connect_stdpipes(rpyc.core.service.SlaveService).serve_all()', "
        "sys.argv[1]], rpyc.classic.SlaveService)\n"
        "print(conn.modules.rpyc.__version__, rpyc.__name__)\n"
        "conn.close()"
    )
    done = run("-m", "rpyc_like.alias", "-c", code, str(path_of("rpyc-6.0.2")))
    assert done.stdout == "6.0.2 rpyc_like\n", done.stderr


@pytest.mark.parametrize("name", ["rpyc_classic", "rpyc_registry"])
def test_commands_exist_under_both_names(name: str) -> None:
    """``python -m rpyc.cli.rpyc_classic`` runs too."""
    done = run("-m", "rpyc_like.alias", "-m", f"rpyc.cli.{name}", "--help")
    assert "Switches:" in done.stdout, done.stderr


def test_erlport_alias() -> None:
    """Programs that say ``import erlport`` get the modules of its 1.x."""
    code = "import erlport, erlport.erlang, erlport.erlterms; print(erlport.Atom(b'x'))"
    command = [sys.executable, "-m", "rpyc_like.alias", "--erlport", "-c", code]
    done = subprocess.run(
        command, env=environment(OURS), capture_output=True, text=True, check=True
    )
    assert done.stdout == "Atom(b'x')\n"
    command = [sys.executable, "-m", "rpyc_like.alias", "--erlport", "--path"]
    folder = subprocess.run(
        command, env=environment(OURS), capture_output=True, text=True, check=True
    ).stdout.strip()
    env = environment(OURS)
    env["PYTHONPATH"] += os.pathsep + folder
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Atom(b'x')\n"
