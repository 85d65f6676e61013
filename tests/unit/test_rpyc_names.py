"""RPyC's public names and signatures."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.names import misfit, problems

DEVIATIONS = [
    # There -q wants a value, and takes any for "quiet"; here it is a flag, as it was meant to be.
    "rpyc.cli.rpyc_registry.RegistryServer.quiet: parameter 'val' is missing",
]


def test_names_and_signatures() -> None:
    """Every name of RPyC's is there with a signature that fits, but for one that is wrong there."""
    if importlib.util.find_spec("plumbum") is None:
        pytest.skip("the commands need plumbum")
    assert problems() == DEVIATIONS


def test_signatures_are_compared() -> None:
    """A missing, moved or newly required parameter is noticed; more optional ones are not."""
    a, b = ["a", "POSITIONAL_OR_KEYWORD", False], ["b", "POSITIONAL_OR_KEYWORD", True]
    c = ["c", "KEYWORD_ONLY", True]
    assert misfit([a, b], [a, b]) is None
    assert misfit([a, b], [a, b, c]) is None
    assert misfit([a, b], [a]) == "parameter 'b' is missing"
    assert misfit([a, b], [b, a]) == "parameter 'a' is not at position 0"
    assert misfit([a, b], [a, ["b", "POSITIONAL_OR_KEYWORD", False]]) is not None
    assert misfit([a], [a, ["d", "KEYWORD_ONLY", False]]) == "parameter 'd' has no default"
