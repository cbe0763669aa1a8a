"""Read keepalived.conf(5), keepalived's grammar included, without its secrets."""
