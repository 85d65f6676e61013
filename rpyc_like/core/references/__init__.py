"""What each side has lent to the other, and what is counted of it."""
