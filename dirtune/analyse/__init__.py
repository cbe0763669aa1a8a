"""What measurements mean: pure functions from data to data."""
