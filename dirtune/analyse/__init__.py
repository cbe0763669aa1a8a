"""Analyse measurements, with pure functions from data to data."""
