"""Run trials under load, and store their results as runs."""
