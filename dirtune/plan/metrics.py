"""The numbers of a trial by which arms are compared, and what they mean. Pure."""

import msgspec


class Metric(msgspec.Struct, frozen=True):
    """The meaning of a trial's number."""

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
