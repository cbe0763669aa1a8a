"""The drops probe, which counts the packets that the kernel drops, by function and reason.

Source: raw tracepoint `kfree_skb` (net/core/skbuff.c), summed in the kernel by `drops.bpf.c`. From
Linux 5.17 on, the third argument of the tracepoint is the reason. The numbers of the reasons
differ between kernels, so their names are read from the event's format file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dirtune.analyse.probed import Drops, DropWindow
from dirtune.errors import SourceMissing, SourceRefused
from dirtune.formats import parsing
from dirtune.host import Host
from dirtune.probes.probe import Bpf, Context, Moment, Point, Probe, Way

_FORMATS = tuple(
    f"{folder}/events/skb/kfree_skb/format"
    for folder in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
)
_EVENT = "skb:kfree_skb"


@dataclass(frozen=True, slots=True)
class Reading:
    """The probe's maps at one moment."""

    drops: Mapping[tuple[int, int], int]
    """The number of packets, by location and number of the reason."""
    reasons: Mapping[int, str] | None
    """The names of the reasons by number; None if this kernel does not name them."""
    lost: int


def read(bpf: Bpf, host: Host) -> Reading:
    """Return a copy of the probe's maps and the names of the reasons."""
    counts = {(k.location, k.reason): sum(copies) for k, copies in bpf["drop_counts"].items()}
    return Reading(counts, read_reasons(host), sum(bpf["drop_lost"][0]))


def read_reasons(host: Host) -> Mapping[int, str] | None:
    """Return the names of the reasons by number; None if the event has no reasons."""
    for path in _FORMATS:
        try:
            return parse_reasons(host.read(path))
        except (SourceMissing, SourceRefused):
            continue
    return None


@parsing("kfree_skb/format")
def parse_reasons(text: str) -> Mapping[int, str] | None:
    """Return the names of the reasons by number, from the text of the event's `format` file."""
    if "REC->reason" not in text:
        return None
    return {int(n): name for n, name in re.findall(r'\{ *(\d+), *"([A-Z0-9_]+)" *\}', text)}


def decode(before: Moment[Reading], after: Moment[Reading], context: Context) -> DropWindow:
    """Return the packets that were dropped between two readings."""
    sums: dict[tuple[str, str], int] = {}
    symbols = context.symbols()
    names = after.data.reasons
    for (location, reason), now in after.data.drops.items():
        moved = now - before.data.drops.get((location, reason), 0)
        if not moved:
            continue
        # The location is a return address, and a call may be the last instruction of a function.
        where = symbols.at(location - 1) or f"{location:#x}"
        why = "" if names is None else names.get(reason, str(reason))
        sums[why, where] = sums.get((why, where), 0) + moved
    rows = sorted(sums.items(), key=lambda row: (-row[1], row[0]))
    return DropWindow(
        seconds=after.taken_s - before.taken_s,
        drops=tuple(Drops(*key, packets) for key, packets in rows),
        lost=after.data.lost - before.data.lost,
    )


PROBE = Probe(
    name="drops",
    window="drops",
    ways=(
        Way(
            "raw tracepoint",
            (Point("tracepoint", _EVENT, "dt_drop_skb_reason", field="reason"),),
        ),
        Way("raw tracepoint without reasons", (Point("tracepoint", _EVENT, "dt_drop_skb"),)),
    ),
    read=read,
    decode=decode,
    sizes={"DROP_MAX": 1024},
)
