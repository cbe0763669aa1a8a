"""A plan file to start from. Pure."""

EXAMPLE = """\
# Traffic from two clients through a director to two real servers.
title = "One director, two real servers"

[director]
host = "lb1"                 # a name for ssh; "local" is this machine
# address = "198.18.0.1"     # where real servers behind NAT send their answers

[[services]]
vip = "198.18.0.100"
port = 80
scheduler = "rr"
  [[services.destinations]]
  node = "rs1"
  forwarding = "dr"          # nat | dr | tun
  [[services.destinations]]
  node = "rs2"
  forwarding = "dr"

[[real_servers]]             # `lvs apply` prepares them by the dirtune on each
name = "rs1"
host = "rs1"
address = "198.18.0.11"
[[real_servers]]
name = "rs2"
host = "rs2"
address = "198.18.0.12"

[[clients]]
host = "c1"
[[clients]]
host = "c2"

[load]
generator = "h2load"         # h2load | httperf | wrk (peak probe only) | command
rates = [200, 400]           # connections/s over all clients
profile = "standard"         # ramp 10 s, hold 130 s, window 60 s | lab | ci
timeout = "1s"
repeats = 3                  # at each rate of a sweep
pairs = 8                    # of a comparison

[settle]
idle = 95                    # per cent, of the director
seconds = 3                  # in a row
max = "130s"

[compare]
primary = "cpu_us_per_connection"

# rates = [320, 400, 460]    # 0.8, 1.0 and 1.15 of the knee; the first is decided by
# [knee]                     # the highest rate at which no more than this share is lost
# loss = [1e-4]
# [controls]                 # the load past the director, routed by it, and the clients' own
# direct = true
# routed = true
# router = "198.18.0.1"      # the director's address on the clients' network
# null_server = true
# link = true                # NetPIPE between the first client and the first real server
# [matrix]                   # every combination, in an order that alternates
# scheduler = ["rr", "wlc"]
# real_servers = [1, 2]
# clients = [1, 2]           # where one makes as much as both, it is not they that limit
# [price]
# currency = "USD"
# director = 2500
"""
