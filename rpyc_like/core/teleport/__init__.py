"""Functions sent to the other side as code."""
