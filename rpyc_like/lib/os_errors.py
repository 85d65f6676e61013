"""Errors of the system with the name of what they are about, which the system does not say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["address_text", "naming"]


def address_text(host: object, port: object) -> str:
    """Return how errors show the address of a socket."""
    return f"{host} port {port}"


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Raise an OSError of the block again, of the same class and number, with a name in its text.

    Args:
        what: the address or path that the block uses.
    """
    try:
        yield
    except OSError as error:
        if str(what) in str(error):
            raise
        text = f"{error.strerror or error}: {what}"
        if error.errno is None:
            raise type(error)(text) from None
        raise type(error)(error.errno, text) from None
