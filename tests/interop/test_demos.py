"""The programs in demos/ print the same with the real RPyC, but for the import's name."""

from __future__ import annotations

import pytest

from tests.support.demos import DEMOS, for_rpyc, run_both

WARNED = {
    "password_handshake": "failed to authenticate, rejecting connection: wrong name or password"
}
"""How a warning ends that a demo gives rise to; RPyC logs the same as information."""


@pytest.mark.parametrize("demo", DEMOS)
def test_same_output(demo: str) -> None:
    """A demo runs without an error on both, and prints the same."""
    ours, theirs = run_both(demo)
    warnings = ours.stderr.splitlines()
    assert (
        ours.returncode,
        [one for one in warnings if not one.endswith(WARNED.get(demo, "\n"))],
    ) == (0, [])
    assert theirs.returncode == 0, theirs.stderr
    assert ours.stdout == theirs.stdout
    assert len(ours.stdout.splitlines()) > 5


def test_all_ten() -> None:
    """Each kind of program is there; nothing but the name of imports is changed."""
    assert len(DEMOS) == 10
    assert for_rpyc("import rpyc_like as rpyc\nfrom rpyc_like.core import x  # rpyc_like\n") == (
        "import rpyc\nfrom rpyc.core import x  # rpyc_like\n"
    )
