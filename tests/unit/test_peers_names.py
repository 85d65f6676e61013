"""The peers' public names and signatures."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.names import misfit, problems

DEVIATIONS = [
    # There -q wants a value, and takes any for "quiet"; here it is a flag, as it was meant to be.
    "rpyc.cli.rpyc_registry.RegistryServer.quiet: parameter 'val' is missing",
]
EPC_DEVIATIONS = [
    # What is no part of python-epc's face: its call manager takes replies itself and stands alone,
    # its modules have imported helpers, and its _send takes anything, in order to fail later.
    "epc.handler.EPCCallManager: parameter 'peer' has no default",
    "epc.handler.EPCCallManager.handle_epc_error: not there",
    "epc.handler.EPCCallManager.handle_return: not there",
    "epc.handler.EPCCallManager.handle_return_error: not there",
    "epc.handler.EPCHandler._send: parameter 'kind' has no default",
    "epc.handler.LockingDict: not there",
    "epc.handler.autolog: not there",
    "epc.handler.callwith: not there",
    "epc.handler.newthread: not there",
    "epc.server.EPCHandler._send: parameter 'kind' has no default",
    "epc.server.autolog: not there",
    "epc.server.deprecated: not there",
]


def test_rpyc() -> None:
    """Every name of RPyC's is there with a signature that fits, but for one that is wrong there."""
    if importlib.util.find_spec("plumbum") is None:
        pytest.skip("the commands need plumbum")
    assert problems("rpyc") == DEVIATIONS


def test_python_epc() -> None:
    """Every name of python-epc's face is there with a signature that fits."""
    assert problems("epc") == EPC_DEVIATIONS


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
