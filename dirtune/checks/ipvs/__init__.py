"""Checks of IPVS services."""
