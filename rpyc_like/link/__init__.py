"""Moving messages: streams, sending, receiving, waiting. Knows no protocol above framing."""

from __future__ import annotations
