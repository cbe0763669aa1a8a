"""The closed loop: measure, fix, measure the same traffic again, keep or take back."""
