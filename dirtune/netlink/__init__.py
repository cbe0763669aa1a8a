"""What the kernel tells by messages instead of files: generic netlink, IPVS, ethtool."""
