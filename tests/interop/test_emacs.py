"""A real Emacs: it starts Python and calls it, Python calls it, Python is its client."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.handler import EPCError, ReturnError
from tests.support.eventually import eventually
from tests.support.peers import INTEROP, OURS, ROOT, environment
from tests.support.processes import is_alive
from tests.support.programs import program

DEMOS = ROOT / "demos" / "emacs"
SERVER = INTEROP / "emacs_server.py"
KINDS = ["EPCServer", "ThreadingEPCServer", "asyncio"]

PRELUDE = """
(setq debug-on-error nil)
(require 'epc)
(setq epc:accept-process-timeout 10) ; milliseconds, as often as the next one says
(setq epc:accept-process-timeout-count 3000)
(defun say (&rest values) (princ (mapconcat (lambda (v) (format "%S" v)) values " ")) (terpri))
(defun attempt (function)
  (condition-case err (funcall function) (error (list 'failed (format "%S" err)))))
"""


def emacs(code: str, *arguments: str, limit: float = 60) -> list[str]:
    """Runs code in a batch Emacs and returns what it printed."""
    command = [program("emacs"), "--batch", "--eval", f"(progn {PRELUDE} {code})", *arguments]
    done = subprocess.run(
        command, env=environment(OURS), capture_output=True, text=True, timeout=limit, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def start(kind: str) -> str:
    return f'(setq epc (epc:start-epc "{sys.executable}" (list "{SERVER}" "{kind}")))'


def call(name: str, arguments: str) -> str:
    return f"(say (attempt (lambda () (epc:call-sync epc '{name} {arguments}))))"


VALUES = [
    ("1", "1"),
    ("-5", "-5"),
    ("1267650600228229401496703205376", "1267650600228229401496703205376"),
    ("1.5", "1.5"),
    ("1.0e+INF", "1.0e+INF"),
    ("nil", "nil"),
    ("t", "t"),
    ('"text"', '"text"'),
    (r'"quote \" backslash \\ tab \t"', '"quote \\" backslash \\\\ tab \t"'),
    ('"\u65e5\u672c \U0001f600"', '"\u65e5\u672c \U0001f600"'),
    ("'symbol", "symbol"),
    ("'path.join", "path\\.join"),
    (r"'with\ space", r"with\ space"),
    ("':keyword", ":keyword"),
    ('(intern "12")', r"\12"),
    ('(intern "")', "##"),
    ('\'(1 (2 (3)) "x")', '(1 (2 (3)) "x")'),
    ("'(a . b)", "(a . b)"),
    ("'((a . 1) (b . (2 3)))", "((a . 1) (b 2 3))"),
    ("[1 [2] (3)]", "[1 [2] (3)]"),
    ("''quoted", "'quoted"),
    ("'#'car", "#'car"),
    ("'`(a ,b ,@c)", "`(a ,b ,@c)"),
    ("?a", "97"),
    ("(propertize \"abc\" 'face 'bold)", '"abc"'),
    ("(make-bool-vector 5 t)", '#&5"\x1f"'),
    ("(string-to-unibyte (string 97 98))", '"ab"'),
    ('"a\\200b"', '"a\\200b"'),
    ('(make-symbol "u")', "u"),
    ('(intern "-1.5e3")', r"\-1\.5e3"),
    ('(intern ".")', r"\."),
    ("0.0e+NaN", "0.0e+NaN"),
    ("'(function car)", "#'car"),
    ("'(quote x y)", "(quote x y)"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_values(kind: str) -> None:
    """Values of every kind go to Python and come back."""
    calls = " ".join(call("echo", f"(list {value})") for value, _ in VALUES)
    lines = emacs(f"{start(kind)} {calls} (epc:stop-epc epc)")
    assert lines == [f"({printed})" for _, printed in VALUES]


def test_char_tables_and_byte_code() -> None:
    """A char-table, printed over several lines, and a compiled function go there and come back."""
    lines = emacs(
        f"{start('EPCServer')}"
        "(let ((table (make-char-table 'foo))) (aset table ?a 5)"
        " (say (equal table (car (epc:call-sync epc 'echo (list table))))))"
        "(let ((compiled (byte-compile (lambda (x) (+ x 1)))))"
        " (say (funcall (car (epc:call-sync epc 'echo (list compiled))) 41)))"
        "(epc:stop-epc epc)"
    )
    assert lines == ["t", "42"]


def test_hash_tables_and_records() -> None:
    """Hash tables and records, which other servers cannot read, go there and come back."""
    lines = emacs(
        f"{start('EPCServer')}"
        "(setq table (make-hash-table :test 'equal)) (puthash \"k\" '(1 2) table)"
        "(setq back (car (epc:call-sync epc 'echo (list table))))"
        '(say (hash-table-p back) (gethash "k" back))'
        "(require 'cl-lib) (cl-defstruct point x y)"
        "(setq back (car (epc:call-sync epc 'echo (list (make-point :x 1 :y 2)))))"
        "(say (point-p back) (point-y back)) (epc:stop-epc epc)"
    )
    assert lines == ["t (1 2)", "t 2"]


@pytest.mark.parametrize("kind", KINDS)
def test_calls(kind: str) -> None:
    """Errors, methods, deferred calls, and calls back to Emacs, nested."""
    lines = emacs(
        f"{start(kind)}"
        '(epc:define-method epc \'add (lambda (a b) (+ a b)) "numbers" "Adds.")'
        '(epc:define-method epc \'boom (lambda () (error "from Emacs")))'
        "(epc:define-method epc 'through"
        " (lambda (name number) (epc:call-sync epc 'ask (list name number 1))))"
        + call("fail", '(list "no")')
        + call("missing", "nil")
        + call("ask", "(list 'add 2 3)")
        + call("ask", "(list 'boom)")
        + call("ask_twice", "(list 'add 4)")
        + call("describe", "(list 'a.b)")
        + call("unprintable", "nil")
        + call("echo", "(list (current-buffer))")
        + call("echo", '"ab"')
        + "(say (sort (mapcar (lambda (m) (symbol-name (car m)))"
        " (epc:sync epc (epc:query-methods-deferred epc))) 'string<))"
        "(setq got nil)"
        "(deferred:$ (epc:call-deferred epc 'echo '(1 2))"
        " (deferred:nextc it (lambda (x) (setq got x))))"
        "(while (not got) (accept-process-output nil 0.05)) (say got)"
        "(say (epc:live-p epc)) (epc:stop-epc epc)"
    )
    assert "ValueError('no')" in lines[0]
    assert "missing" in lines[1]
    assert lines[2] == "5"
    assert "from Emacs" in lines[3]
    assert lines[4] == "5"
    assert "Symbol" in lines[5]
    assert "a.b" in lines[5]
    assert "1.0e+INF" in lines[6]
    assert "failed" in lines[7]
    assert "readable" in lines[7]
    assert lines[8] == '("a" "b")'
    assert lines[9] == '("ask" "ask_twice" "describe" "echo" "fail" "unprintable")'
    assert lines[10] == "(1 2)"
    assert lines[11] != "nil"


EMACS_SERVER = """
(advice-add 'make-network-process :filter-args (lambda (args) (plist-put args :nowait nil)))
(require 'epcs)
(setq server (epcs:server-start
  (lambda (mngr)
    (epc:define-method mngr 'add (lambda (a b) (+ a b)) "a b" "Adds.")
    (epc:define-method mngr 'fail (lambda () (error "text")))
    (epc:define-method mngr 'echo (lambda (&rest args) args))
    (let ((manager mngr))
      (epc:define-method mngr 'back (lambda (n) (epc:call-sync manager 'double (list n))))))))
(while t (accept-process-output nil 0.02))
"""


@pytest.fixture
def emacs_port() -> Iterator[int]:
    """A batch Emacs that serves EPC."""
    command = [program("emacs"), "--batch", "--eval", f"(progn {PRELUDE} {EMACS_SERVER})"]
    proc = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert proc.stderr is not None
    line = ""
    end = time.monotonic() + 20
    while not line.strip().isdigit() and time.monotonic() < end:
        line = proc.stderr.readline()
    yield int(line)
    proc.kill()
    proc.communicate()


def test_python_is_the_client(emacs_port: int) -> None:
    """Python calls an Emacs that serves, and is called back."""
    client = EPCClient()
    client.logger.setLevel(100)
    client.register_function(lambda n: 2 * n, "double")
    client.connect(("127.0.0.1", emacs_port))
    with client:
        assert client.call_sync("add", [2, 3], timeout=10) == 5
        with pytest.raises(ReturnError, match="text"):
            client.call_sync("fail", [], timeout=10)
        with pytest.raises(EPCError, match="No such method"):
            client.call_sync("nothing", [], timeout=10)
        value = [1, 'a"b\\c\n\u65e5', [True, [], 2.5], {"k": "v"}]
        got = client.call_sync("echo", value, timeout=10)
        assert got[:3] == value[:3]
        assert client.call_sync("back", [21], timeout=10) == 42
        names = {row[0].value() for row in client.methods_sync(timeout=10)}
        assert names == {"add", "fail", "echo", "back"}
        results = [client.async_call("add", n, 1) for n in range(50)]
        assert [result.value for result in results] == [n + 1 for n in range(50)]


def test_large_values() -> None:
    """A large text goes both ways."""
    lines = emacs(
        f"{start('EPCServer')}"
        "(setq text (make-string 2000000 ?x))"
        "(say (equal (list text) (epc:call-sync epc 'echo (list text)))) (epc:stop-epc epc)"
    )
    assert lines == ["t"]


def test_the_process_ends(tmp_path: Path) -> None:
    """Stopping the connection ends the Python process."""
    (line,) = emacs(
        f"{start('ThreadingEPCServer')}"
        "(say (process-id (epc:manager-server-process epc))) (epc:stop-epc epc)"
    )
    eventually(lambda: not is_alive(int(line)), "the end of the process")


def demo(name: str, *before: str) -> list[str]:
    """Runs a demo as its README says, and returns what it printed."""
    done = subprocess.run(
        [*before, program("emacs"), "--batch", "-l", str(DEMOS / name)],
        env={**environment(OURS), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_demo_echo() -> None:
    """The demo in which Emacs starts an echo server and both call each other."""
    lines = demo("echo.el")
    echoes = [line.removeprefix("echo ").split(" -> ") for line in lines if " -> " in line]
    assert len(echoes) == 6
    assert all(there == back for there, back in echoes)
    assert "Emacs adds for Python: 6" in lines
    assert any(line.startswith("an error: ") and "ZeroDivisionError" in line for line in lines)
    assert "method echo: Returns its arguments." in lines
    assert lines[-1] == "stopped"


def test_demo_window() -> None:
    """The demo in which Emacs opens a window of Python's and hears from its button."""
    try:
        import tkinter  # noqa: F401 - whether it is there
    except ImportError:
        assert "CI" not in os.environ, "tkinter is missing"
        pytest.skip("tkinter is missing: install python3-tk")
    lines = demo("window.el", program("xvfb-run"), "-a")
    assert lines == ["the window is open", r'heard ("typed \"text\"")', "closed"]
