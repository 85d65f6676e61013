"""What a hostile peer tries, and how it fails."""
