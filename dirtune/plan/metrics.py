"""List the metrics that a comparison can use, with unit and better direction. Pure."""

import msgspec


class Metric(msgspec.Struct, frozen=True):
    """The unit of a metric, and whether higher or lower is better."""

    unit: str
    better: str
    """`higher` or `lower`."""


METRICS = {
    "cpu_us_per_connection": Metric("us", "lower"),
    "cpu_us_per_packet": Metric("us", "lower"),
    "reply_rate": Metric("connections/s", "higher"),
    "interrupts_per_connection": Metric("1", "lower"),
    "packets_per_connection": Metric("1", "lower"),
    "connect_ms": Metric("ms", "lower"),
    "latency_p50_ms": Metric("ms", "lower"),
    "latency_p99_ms": Metric("ms", "lower"),
}
