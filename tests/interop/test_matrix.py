"""The interop matrix: every implementation as client and as server, wherever ours takes part."""

from __future__ import annotations

import pytest

from tests.support.peers import AIO_CLIENTS, AIO_SERVERS, PEERS, is_ours, run_scenario, serving

CELLS = [
    (client, server)
    for client in (*PEERS, *AIO_CLIENTS)
    for server in (*PEERS, *AIO_SERVERS)
    if is_ours(client) or is_ours(server)
]


CASES = [(*cell, kind) for cell in CELLS for kind in ("service", "classic")]
# Without threads a classic server cannot do anything that waits for objects of its client.
CASES = [case for case in CASES if case[1:] != ("ours-aio-inline", "classic")]


@pytest.mark.parametrize(("client", "server", "kind"), CASES)
def test_scenario(client: str, server: str, kind: str) -> None:
    """The whole scenario passes, in seconds."""
    with serving(server, kind) as port:
        outcome = run_scenario(client, kind, port)
    print(outcome.stdout.rpartition("done")[2])
    assert outcome.returncode == 0, f"{outcome.stdout}\n{outcome.stderr[-6000:]}"
