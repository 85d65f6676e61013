"""Values and messages as bytes."""
