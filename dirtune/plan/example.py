"""Provide an example of a plan file as a starting point. Pure."""

EXAMPLE = """\
# Traffic from two clients through a director to two real servers.
title = "One director, two real servers"

[director]
host = "lb1"                 # a name for ssh; "local" is this machine
# address = "198.18.0.1"     # real servers behind NAT send their replies here

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

[[real_servers]]             # `lvs apply` prepares them with the dirtune on each of them
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
rates = [200, 400]           # connections/s, all clients together
profile = "standard"         # ramp 10 s, hold 130 s, window 60 s | lab | ci
timeout = "1s"
repeats = 3                  # at each rate of a sweep
pairs = 8                    # in a comparison; a verdict needs 6 or more
# at_most = 16               # measure as many pairs again if the first 8 do not decide

[settle]
idle = 95                    # the director must be idle for this per cent of the time
seconds = 3                  # in a row
max = "130s"

[compare]
primary = "cpu_us_per_connection"

# rates = [320, 400, 460]    # 0.8, 1.0 and 1.15 times the knee; the first rate decides
# covariate = "packets_per_connection"  # compare at equal values of what no fix changes
# peak_trials = 2            # with and without the fix; they fill the director's CPU
# [knee]                     # find the highest rate that loses no more than this share
# loss = [1e-4]
# [controls]                 # trials that show whether the director is the limit
# direct = true              # the load bypasses the director
# routed = true              # the director only routes the load, without IPVS
# router = "198.18.0.1"      # the director's address on the clients' network
# null_server = true         # each client loads a server on itself: the clients' ceiling
# link = true                # NetPIPE between the first client and the first real server
# [matrix]                   # try every combination, in alternating order
# scheduler = ["rr", "wlc"]
# real_servers = [1, 2]
# clients = [1, 2]           # if one client achieves as much as two, clients are not the limit
# [price]
# currency = "USD"
# director = 2500
"""
