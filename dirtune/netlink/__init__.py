"""Kernel interfaces that use messages instead of files: generic netlink, IPVS, ethtool."""
