"""The meaning of measurements: pure functions from data to data."""
