"""Serving what a peer asks for."""
