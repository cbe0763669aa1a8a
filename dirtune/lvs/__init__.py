"""IPVS tables as data: the current one, the planned one and the steps between them."""
