"""Performance profiling and host tuning for Linux IPVS directors."""

__version__ = "0.1.0"
