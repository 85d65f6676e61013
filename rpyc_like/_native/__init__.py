"""The compiled core: optional, and reached through :mod:`rpyc_like.lib.native` only."""
