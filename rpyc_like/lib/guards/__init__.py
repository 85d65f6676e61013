"""What a peer may do with an object, and what a call of the library may cost."""
