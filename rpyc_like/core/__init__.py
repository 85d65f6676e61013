"""The Python-object protocol: values, references, services, connections."""

from __future__ import annotations
