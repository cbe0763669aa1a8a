"""How long replies took, as generators count it. Pure."""

import msgspec


class Latency(msgspec.Struct, frozen=True):
    """Latency of replies in milliseconds as the generator counts it."""

    mean_ms: float
    p50_ms: float
    p99_ms: float
    of: str = "request"
    """`request`: from the request, when the connection stands, to the end of the reply (h2load,
    wrk; see `connect_ms` in the metrics). `connection`: of its whole life (httperf)."""
