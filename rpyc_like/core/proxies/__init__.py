"""Proxies of remote objects, and classes of them."""
