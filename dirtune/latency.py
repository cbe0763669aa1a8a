"""Define the type of a latency that a load generator measured. Pure."""

import msgspec


class Latency(msgspec.Struct, frozen=True):
    """Mean, median and 99th percentile of the latency of replies, in milliseconds."""

    mean_ms: float
    p50_ms: float
    p99_ms: float
    of: str = "request"
    """What the load generator timed. `request`: from sending the request on an established
    connection to the end of the reply (h2load, wrk); the metric `connect_ms` is the time to
    connect. `connection`: from opening the connection to closing it (httperf)."""
