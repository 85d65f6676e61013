"""Hours of mixed load with chaos: ``python -m tests.soak``."""
