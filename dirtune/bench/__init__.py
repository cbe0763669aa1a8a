"""Load, trials and runs."""
