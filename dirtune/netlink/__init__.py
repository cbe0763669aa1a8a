"""Kernel interfaces that exchange messages instead of files: generic netlink, IPVS, ethtool."""
