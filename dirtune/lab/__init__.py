"""The director lab: a real director on one machine."""
