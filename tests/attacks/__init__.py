"""What an attacker with nothing but a socket tries: one module for each kind of break."""
