"""The IPVS configurator."""
