"""Measure a director, apply a fix, measure again, and keep the fix or roll it back."""
