"""The kernel's answers that come as messages and not as files: generic netlink, IPVS, ethtool."""
