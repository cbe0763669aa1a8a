"""The latency of replies, as load generators measure it. Pure."""

import msgspec


class Latency(msgspec.Struct, frozen=True):
    """Latency of replies in milliseconds, as the load generator measured it."""

    mean_ms: float
    p50_ms: float
    p99_ms: float
    of: str = "request"
    """The interval that was timed. `request`: from sending the request on an established
    connection to the end of the reply (h2load, wrk; the metric `connect_ms` is the time before
    that). `connection`: from opening the connection to closing it (httperf)."""
