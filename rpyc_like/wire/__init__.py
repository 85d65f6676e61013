"""What bytes mean: frames, messages, pending requests. No I/O, no clock, no locks."""

from __future__ import annotations
