"""Runs small programs under all kinds of thread schedules, drawn from a seed; see scheduler.py."""
