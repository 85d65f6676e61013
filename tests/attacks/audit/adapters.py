"""Hostile programs for EPC servers and Erlang services (see below)."""

from __future__ import annotations

from typing import Any


class Walk: ...


def run(kind: str, port: int, attacker: Any, token: bytes) -> Any: ...
