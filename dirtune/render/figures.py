"""Format figures and names of metrics for a report."""

from collections.abc import Sequence

NONE = "-"
"""The text that is printed for a missing value."""


def number(value: float | None, digits: int = 4) -> str:
    """Return *value* as text with *digits* significant digits; an integer is printed in full."""
    if value is None:
        return NONE
    if isinstance(value, int) or (value.is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def metric_name(name: str) -> str:
    """Return the printed name of a metric or counter, such as `CPU us per connection`."""
    return name.replace("_", " ").replace("cpu", "CPU")


def mean(values: Sequence[float]) -> float | None:
    """Return the mean of *values*; None if *values* is empty."""
    return sum(values) / len(values) if values else None


def in_ratio(ratio: float | None) -> str:
    """Return *ratio* as text with three decimals."""
    return NONE if ratio is None else f"{ratio:.3f}"


def in_interval(interval: tuple[float, float] | None) -> str:
    """Return the two ends of *interval* as text with three decimals."""
    return NONE if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def in_percent(share: float | None, digits: int = 1) -> str:
    """Return *share* (0 to 1) as a percentage with *digits* decimals."""
    return NONE if share is None else f"{100 * share:.{digits}f} %"
