"""Erlang: ports and the external term format, over the same connection layer as everything else."""
