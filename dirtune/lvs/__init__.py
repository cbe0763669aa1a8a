"""IPVS as data: the current table, the planned one, the steps between them, and the kernel."""
