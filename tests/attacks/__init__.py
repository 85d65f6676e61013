"""Attacks of a hostile peer: what each kind must not achieve."""
