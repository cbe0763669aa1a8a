import re
from collections.abc import Mapping

from dirtune.checks import Finding, Fix, Risk, Severity, Verdicts, check, uncounted
from dirtune.checks.counters import rises
from dirtune.checks.nic import ports
from dirtune.checks.remedies import commands
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot

_PER_SECOND = 10.0  # frames
# Intel's; mlx5's; bnx2x, ena's and others'; i40e's (`port.link_xoff_rx`) and ice's.
_FRAMES = re.compile(
    r"(?P<way>[rt]x)_(?:flow_control_xo(?:n|ff)|pause_ctrl_phy|global_pause|pause(?:_frames)?"
    r"|pause_storm\w*)|(?:port\.)?link_xo(?:n|ff)_(?P<ending>[rt]x)(?:\.nic)?"
)
_LOSSLESS = re.compile(r"(?:port\.)?[rt]x_prio(?:rity)?_?\d_(?:pause|xo(?:n|ff))(?:\.nic)?"
                       r"|[rt]x_pfc\w*")  # fmt: skip


@check(
    "nic/pause-frames",
    severity=Severity.INFO,
    trust="C",
    needs=("interfaces", "ethtool"),
)
def pause_frames(snapshot: Snapshot) -> Verdicts:
    """A NIC sends or receives pause frames, so flow control stalls traffic.

    ## What it does
    The check reports a NIC if one of its counters of pause frames rose by 10/s or more between the
    samples. Links with priority flow control (a lossless fabric for RoCE or storage) are not
    reported, because they pause on purpose.

    ## Why it matters
    A received pause frame stops everything that the NIC sends, for every virtual address. A sent
    pause frame shows that this host does not accept packets as fast as they arrive: the switch
    then drops them, and other hosts may lose packets too.

    ## Remediation
    First find the cause: a busy CPU or a short ring (`softirq/rx-imbalance`,
    `nic/ring-below-max`), or a slow host at the other end. `ethtool -A IF rx off tx off` turns
    flow control off, and takes the link down for a moment.

    ## Known problems
    The check does not read whether flow control is on. Drivers use many names for these counters,
    and the check does not know all of them. The threshold is a rule of thumb.

    ## References
    - ethtool(8), `-a` and `-A`
    """
    for port in ports(snapshot):
        risen = rises(snapshot, port.name)
        if risen is None or not snapshot.seconds:
            yield uncounted(
                snapshot, f"the driver's counters of {port.name} were not read in both samples"
            )
        elif not any(rise for name, rise in risen.items() if _LOSSLESS.fullmatch(name)):
            rates = _rates(risen, snapshot.seconds)
            if any(rate >= _PER_SECOND for rate in rates.values()):
                yield _finding(snapshot, port, rates)


def _rates(risen: Mapping[str, int], seconds: float) -> Mapping[str, float]:
    return {name: n / seconds for name, n in risen.items() if n and _FRAMES.fullmatch(name)}


def _finding(snapshot: Snapshot, port: Interface, rates: Mapping[str, float]) -> Finding:
    most = {"rx": 0.0, "tx": 0.0}
    for name, rate in rates.items():
        match = _FRAMES.fullmatch(name)
        way = (match["way"] or match["ending"]) if match else "rx"
        most[way] = max(most[way], rate)
    verbs = (("rx", "receives"), ("tx", "sends"))
    ways = [f"{verb} {most[way]:,.0f}" for way, verb in verbs if most[way] >= _PER_SECOND]
    row = ("ethtool", "-A", port.name, "rx", "off", "tx", "off")
    off = "Turn flow control off, which takes the link down for a moment"
    return Finding(
        subject=port.name,
        severity=Severity.INFO,
        message=f"{port.name} {' and '.join(ways)} pause frames/s",
        evidence={"per_second": {name: round(rate, 1) for name, rate in sorted(rates.items())}},
        fixes=(
            Fix(
                "find-the-slow-end",
                "Find the busy CPU, short ring or slow peer that causes the pause frames",
                Risk.SAFE,
            ),
            commands(snapshot, "turn-flow-control-off", off, (row,), risk=Risk.DISRUPTIVE),
        ),
    )
