"""The interop matrix: every implementation as client and as server, wherever ours takes part."""

from __future__ import annotations

import pytest

from tests.support.peers import PEERS, is_ours, run_scenario, serving

CELLS = [
    (client, server) for client in PEERS for server in PEERS if is_ours(client) or is_ours(server)
]


@pytest.mark.parametrize("kind", ["service", "classic"])
@pytest.mark.parametrize(("client", "server"), CELLS)
def test_scenario(client: str, server: str, kind: str) -> None:
    """The whole scenario passes, in seconds."""
    with serving(server, kind) as port:
        outcome = run_scenario(client, kind, port)
    print(outcome.stdout.rpartition("done")[2])
    assert outcome.returncode == 0, f"{outcome.stdout}\n{outcome.stderr[-6000:]}"
