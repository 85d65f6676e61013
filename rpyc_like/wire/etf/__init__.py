"""Erlang's external term format."""
