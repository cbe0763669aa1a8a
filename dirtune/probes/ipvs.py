"""The ipvs probe, which measures the time that IPVS takes per packet.

Source: the entry and the return of `ip_vs_in_hook` (net/netfilter/ipvs/ip_vs_core.c, Linux 5.14),
timed in the kernel by `ipvs.bpf.c`. fentry finds the function in the type information of the
module (Linux 5.11) or of the kernel; without it, and with bcc, the probe uses kprobes. Before 5.14
the function is `ip_vs_in`, which compilers inline but for the part after its first checks.
"""

from dataclasses import dataclass, field

from dirtune.analyse.probed import IpvsWindow
from dirtune.host import Host
from dirtune.probes import from_handlers
from dirtune.probes.from_handlers import Delays
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way, moved_slots


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's map at one moment, summed over all CPUs."""

    packets: int
    forwarded: int
    total_ns: int
    max_ns: int
    histogram: tuple[int, ...]
    after_handlers: Delays = field(default_factory=dict)


def read(bpf: Bpf, _: Host) -> Reading:
    """Return a copy of the probe's map, summed over all CPUs."""
    copies = bpf["ipvs_times"][0]
    return Reading(
        packets=sum(copy.packets for copy in copies),
        forwarded=sum(copy.forwarded for copy in copies),
        total_ns=sum(copy.total_ns for copy in copies),
        max_ns=max(copy.max_ns for copy in copies),
        histogram=tuple(map(sum, zip(*(copy.slots for copy in copies), strict=True))),
        after_handlers=from_handlers.read(bpf, "ipvs_delays"),
    )


def decode(before: Moment[Reading], after: Moment[Reading], _: Context) -> IpvsWindow:
    """Return the packets between two readings, and their times."""
    then, now = before.data, after.data
    return IpvsWindow(
        seconds=after.taken_s - before.taken_s,
        packets=now.packets - then.packets,
        forwarded=now.forwarded - then.forwarded,
        total_ns=now.total_ns - then.total_ns,
        max_ns=now.max_ns,
        histogram=moved_slots(now.histogram, then.histogram),
        after_handlers=from_handlers.decode(then.after_handlers, now.after_handlers),
    )


def _kprobes(function: str) -> Way:
    return Way(
        f"kprobes on {function}",
        (
            Point("kprobe", function, "dt_ipvs_in"),
            Point("kretprobe", function, "dt_ipvs_in_return"),
        ),
    )


PROBE = Probe(
    name="ipvs",
    window="ipvs",
    ways=(
        Way(
            "fentry",
            (
                Point("fentry", "ip_vs:ip_vs_in_hook", "dt_ipvs_hook"),
                Point("fentry", "ip_vs:ip_vs_in_hook", "dt_ipvs_hook_return"),
            ),
        ),
        _kprobes("ip_vs_in_hook"),
        _kprobes("ip_vs_in"),
        _kprobes("ip_vs_in.part.0"),
    ),
    read=read,
    decode=decode,
    sizes=from_handlers.SIZES,
)
