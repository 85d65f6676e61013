"""Which threads serve a connection."""
