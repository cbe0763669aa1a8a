"""Compute the rates of each second in a ring of moments. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from dirtune.collect import interrupts, ip_vs, net_dev, softnet, stat
from dirtune.errors import ParseError
from dirtune.watch.decision import values
from dirtune.watch.documents import Second
from dirtune.watch.metrics import BY_NAME, Metric, Reading, Readings
from dirtune.watch.moment import Moment

RING = (stat.SOURCE, softnet.SOURCE, net_dev.SOURCE, ip_vs.PERCPU_SOURCE, interrupts.SOURCE)
"""The files that the ring keeps, even if no condition reads them."""
_SUSPENDED_S = 0.5
_BUSY, _SOFTIRQ = BY_NAME["cpu.busy"], BY_NAME["cpu.softirq"]


def readings(metric: Metric, moment: Moment) -> Readings | None:
    """Return the readings of *metric* at *moment*; None if a source is missing or unreadable."""
    texts = [moment.texts.get(source) for source in metric.sources]
    if None in texts:
        return None
    try:
        return metric.parse(*(text.decode("utf-8", "backslashreplace") for text in texts if text))
    except ParseError:
        return None


def suspended(earlier: Moment, later: Moment) -> bool:
    """Return whether the host was suspended between two moments."""
    awake_s = later.at_s - earlier.at_s
    return later.boot_s - earlier.boot_s - awake_s > _SUSPENDED_S


def seconds(moments: Sequence[Moment], metrics: Sequence[Metric]) -> Iterator[Second]:
    """Yield the rates between each two of *moments*, with the values of the watched *metrics*."""
    for earlier, later in pairwise(moments):
        lasted_s = later.at_s - earlier.at_s
        if lasted_s > 0 and not suspended(earlier, later):
            yield _second(earlier, later, lasted_s, moments[-1].at_s - later.at_s, metrics)


def _second(
    earlier: Moment, later: Moment, lasted_s: float, before_s: float, metrics: Sequence[Metric]
) -> Second:
    def of(metric: Metric) -> dict[str, float]:
        now = readings(metric, later)
        return {} if now is None else values(metric, readings(metric, earlier), now, lasted_s)

    def host(name: str) -> float | None:
        return _rounded(of(BY_NAME[name]).get(""))

    softirq = {cpu: share for cpu, share in of(_SOFTIRQ).items() if cpu}
    worst = max(softirq, key=lambda cpu: softirq[cpu], default=None)
    return Second(
        datetime.fromtimestamp(later.wall_s, UTC).isoformat(timespec="milliseconds"),
        round(before_s, 3),
        round(lasted_s, 3),
        _rounded(of(_BUSY).get("")),
        None if worst is None else _rounded(softirq[worst]),
        None if worst is None else int(worst),
        _rounded(of(_INTERRUPTS).get("")),
        host("softnet.dropped"),
        host("softnet.time_squeeze"),
        host("net.rx_packets"),
        host("net.rx_dropped"),
        host("ipvs.connections"),
        {metric.name: {n: round(v, 3) for n, v in of(metric).items()} for metric in metrics},
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _interrupts(text: str) -> Mapping[str, Reading]:
    table = interrupts.parse_interrupts(text)
    return {line.irq: Reading(line.total) for line in table.numbered}


_INTERRUPTS = Metric("interrupts", "interrupts of devices", interrupts.SOURCES, _interrupts)
