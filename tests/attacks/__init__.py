"""What an attacker with nothing but a socket tries."""
