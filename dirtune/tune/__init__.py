"""The closed loop: measure, fix, measure the same traffic again, keep the fix or roll it back."""
