"""IPVS as data: what is there, what is wanted, the steps between, and the kernel's door to it."""
