"""Brine: the serialisation of plain immutable values on the RPyC wire."""
