"""What an attacker tries, and how it fails: one policy, one meter."""
