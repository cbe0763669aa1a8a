"""One input for each renderer: what the golden files show. Every figure is made up."""

import dataclasses
from collections import Counter
from datetime import date

from msgspec.structs import replace

from dirtune.analyse import capacity, profile_difference
from dirtune.analyse.bottleneck import Bottleneck
from dirtune.analyse.doctor import Diagnosis, Feature, Ladder, Obstacle, Rung
from dirtune.analyse.failover import Failover
from dirtune.analyse.handlers import HandlerCalls, HandlerCount, HandlerCounts, HandlerWindow
from dirtune.analyse.phases import Phase
from dirtune.analyse.probed import (
    CpuWindow,
    Drops,
    DropWindow,
    HandlerDelay,
    IpvsWindow,
    IrqThreadTime,
    LockWaits,
    LockWindow,
    NapiPolls,
    ProbeCost,
    Probed,
    SoftirqTime,
    SoftirqWindow,
    Stack,
)
from dirtune.analyse.profile import Profile
from dirtune.analyse.reach import Reach
from dirtune.analyse.run import Comparison, CpuShare, Knee, NodeCpu
from dirtune.analyse.work import Line, Work
from dirtune.bench.check import Readiness
from dirtune.bench.ports_and_duration import TupleBudget, warnings
from dirtune.change import table
from dirtune.change.actions.add_address import AddAddress
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.set_affinity import SetAffinity
from dirtune.change.actions.set_nic import SetNic
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.unbind import Unbind
from dirtune.change.plan import Change, LeftOut, Plan, Refusal
from dirtune.change.preparation import Done
from dirtune.change.presets import judged, parse
from dirtune.checks import Cause, Check, Finding, Fix, Outcome, Role, Severity, Status, Waiver
from dirtune.checks.audits import Audit, Report
from dirtune.checks.difference import compare
from dirtune.checks.fleet import summary
from dirtune.checks.measures import InterruptRate, Measures
from dirtune.collect.ethtool import Card
from dirtune.collect.sysctls import Sysctls
from dirtune.lvs.diff import diff
from dirtune.lvs.drift import Difference
from dirtune.lvs.model import Destination, Numbers, Seen, Service, SyncDaemon, Table, Timeouts
from dirtune.render import tune
from dirtune.render.plan import Held
from dirtune.settings import Risk
from dirtune.watch.documents import Counts, Evidence, FiringDocument, Second, sentence
from tests.change.test_presets import FRESH
from tests.checks import machines
from tests.plans import plan_of
from tests.render.crowded import RUN

# A director whose NIC shares its line, and outcomes of every kind. The checks are no real ones:
# their words are theirs to change.

HOST = machines.at_rate(
    machines.host(
        "XT-PIC      i801_smbus, sym53c8xx, enp0s16",
        services=(machines.service(1, 3),),
        addresses=frozenset({machines.VIP, "198.18.0.1"}),
        sysctls=Sysctls(
            {f"net/ipv4/vs/{n}": "0" for n in ("expire_nodest_conn", "schedule_icmp")}
        ),
        handlers=machines.window(
            ("enp0s16", 2942, 0, 11_900),
            ("i801_smbus", 2942, 2942, 42_100),
            ("sym53c8xx", 11_768, 11_768, 13_400),
        ),
    ),
    200,
    packets=400,
)


def xtpic_mode():
    """Devices interrupt through the old PIC.

    ## What it does
    The check reports interrupt lines whose chip is XT-PIC.

    ## Why it matters
    The PIC has 15 lines for all devices, so devices share them. It delivers all of them
    to CPU 0.

    A second paragraph stands on the page alone.

    ## References
    - Documentation/core-api/irq/
    """


def shared_with_nic():
    """A NIC shares its interrupt line with other devices.

    ## Why it matters
    The kernel calls every handler on the line for every interrupt. Each handler must read a
    register of its own device to find that the interrupt was not meant for it.
    """


def schedule_icmp():
    """ICMP errors do not reach the real servers.

    ## Why it matters
    A client behind a small MTU waits until its connection times out.
    """


def _outcome(status, reason=None, findings=(), name="x/y", function=None, *, cause=None, role=()):
    check = Check(name, Severity.LOW, "A", (), frozenset(role), traffic=False, function=function)
    return Outcome(check, status, reason, findings, cause)


PASSED = _outcome(Status.PASSED)
FOUND = _outcome(Status.FINDING, None, (Finding("s", Severity.LOW, "m"),))
IDLE = _outcome(
    Status.INCONCLUSIVE, "the host is idle: its NICs carried 0 packets/s", cause=Cause.IDLE
)
UNREAD = _outcome(Status.SKIPPED, "/proc/x: not on this host", cause=Cause.UNREAD)
ELSEWHERE = _outcome(
    Status.NOT_APPLICABLE,
    "this host is not a director",
    cause=Cause.OTHER_ROLE,
    role=(Role.DIRECTOR,),
)
_PIC = Finding(
    "irq 10",
    Severity.HIGH,
    "i801_smbus, sym53c8xx and enp0s16 interrupt CPU 0 through the old interrupt controller",
    {"irq": "10"},
    (Fix("ioapic", "Enable the IO-APIC (APIC mode) in the firmware", Risk.REBOOT),),
)
_SHARED = Finding(
    "irq 10",
    Severity.HIGH,
    "enp0s16 shares irq 10 with i801_smbus (SMBus) and sym53c8xx (storage); their handlers ran "
    "14,710 times for nothing and took 19.1 us each, 1.41 % of a CPU",
    {"irq": "10", "interrupts_per_second": 200.0, "wasted_cpu_percent": 1.408},
    (
        Fix(
            "unbind",
            "Unbind the devices on the line that nothing uses",
            Risk.DISRUPTIVE,
            ("echo 0000:00:14.0 > /sys/bus/pci/drivers/sym53c8xx/unbind",),
        ),
        Fix("slot", "Move the NIC to a slot with another interrupt pin", Risk.REBOOT),
    ),
    cause="irq/xtpic-mode",
)
_ICMP_LOST = Finding(
    "net.ipv4.vs",
    Severity.MEDIUM,
    "net.ipv4.vs.schedule_icmp is 0, so ICMP errors for clients of a virtual service are lost",
    fixes=(
        Fix(
            "sysctl",
            "Set net.ipv4.vs.schedule_icmp to 1",
            Risk.SAFE,
            ("sysctl -w net.ipv4.vs.schedule_icmp=1",),
            competes=("/etc/sysctl.d/50-lvs.conf", "keepalived"),
        ),
    ),
)
_WAIVED = Finding(
    "TCP 198.18.0.100:80",
    Severity.LOW,
    "rr ignores the weights 1 and 3",
    waived=Waiver("ipvs/weight-ignored", "the new machine is on trial", date(2026, 12, 31)),
)
AUDIT = Audit(
    {"name": "lb1", "kernel": "6.1.0-56-amd64", "guest": True, "samples": 2},
    ("director",),
    (
        _outcome(Status.PASSED, name="irq/msi-off"),
        _outcome(Status.FINDING, None, (_SHARED,), "irq/shared-with-nic", shared_with_nic),
        _outcome(Status.FINDING, None, (_PIC,), "irq/xtpic-mode", xtpic_mode),
        _outcome(Status.FINDING, None, (_ICMP_LOST,), "ipvs/schedule-icmp", schedule_icmp),
        _outcome(Status.FINDING, None, (_WAIVED,), "ipvs/weight-ignored"),
        _outcome(
            Status.SKIPPED,
            "/proc/net/ip_vs: permission denied",
            name="ipvs/sync-missing",
            cause=Cause.UNREAD,
        ),
        _outcome(Status.INCONCLUSIVE, IDLE.reason, name="softirq/time-squeeze", cause=Cause.IDLE),
        _outcome(
            Status.NOT_APPLICABLE,
            "this host is not a client",
            name="client/fd-limit",
            cause=Cause.OTHER_ROLE,
            role=(Role.CLIENT,),
        ),
        _outcome(Status.ERROR, "KeyError: 1", name="nic/pause-frames", cause=Cause.FAILED),
    ),
    measures=Measures(
        backlog_drops=159,
        time_squeezes=103,
        nic_losses={"eth0": 12.5},
        conntrack_entries=196_608,
        conntrack_limit=262_144,
        ipvs_connections=4_000_000,
        ipvs_entries=30_000,
        ipvs_buckets=4096,
        interrupts=(InterruptRate("10", ("i801_smbus", "sym53c8xx", "enp0s16"), 2942.0),),
        wasted={"10": 0.031},
    ),
)
OVERVIEWS = (
    ([PASSED], ["director"]),
    ([PASSED, FOUND], ["director"]),
    ([PASSED, PASSED, IDLE, UNREAD], ["director"]),
    ([PASSED, ELSEWHERE, ELSEWHERE], ["host"]),
    ([PASSED, UNREAD, UNREAD], ["host"]),
    ([IDLE], ["host"]),
    ([ELSEWHERE], ["host"]),
    ([_outcome(Status.ERROR, "KeyError: 1", cause=Cause.FAILED)], []),
)
"""Outcomes of checks and roles of the host."""
REPORT = Report((AUDIT,), (("lb2", "lb2: no route to host"),), None)
FOUND_NOTHING = dataclasses.replace(
    AUDIT, outcomes=tuple(o for o in AUDIT.outcomes if not o.findings), known=3
)
COUNTED = dataclasses.replace(
    HOST,
    earlier=None,
    taken_s=None,
    handlers=None,
    interrupts=dataclasses.replace(HOST.interrupts, unread=("c8xx, enp0s16 | <b>",)),
    handler_counts=HandlerCounts(
        10.0, "tracefs", (HandlerCount(10, "i801_smbus", 5),), {"10": 5}, {"10": 5}
    ),
)
DIFFERENCE = compare(
    HOST,
    dataclasses.replace(
        HOST,
        sysctls=Sysctls({"net/ipv4/vs/expire_nodest_conn": "1"}),
        interrupts=machines.line("IO-APIC   11-fasteoi   enp0s16"),
        ethtool={"enp0s16": Card(rings={"rx": 256})},
    ),
)
FLEET = summary(
    Report(
        (
            dataclasses.replace(FOUND_NOTHING, host={"name": "lb3"}),
            AUDIT,
            dataclasses.replace(FOUND_NOTHING, host={"name": "lb2"}),
        ),
        (("lb4", "lb4: connecting to 198.18.0.4 failed: Connection refused"),),
    ),
    {"lb": ("lb1", "lb2", "lb3", "lb4")},
    {
        "lb1": {"sysctl": {"net/core/netdev_budget": "300"}, "ethtool": None},
        "lb2": {"sysctl": {"net/core/netdev_budget": "600"}, "ethtool": {}},
        "lb3": {"sysctl": {"net/core/netdev_budget": "300"}, "ethtool": {}},
    },
)

# Runs without some of the crowded line's.

WITHOUT_TRIALS = replace(RUN, trials=(), comparisons=())
UNFINISHED = replace(
    WITHOUT_TRIALS,
    **dict.fromkeys(("verdict", "forecast", "scenario", "finished")),
    **{name: {} for name in ("handlers", "audits", "inventory")},
    **dict.fromkeys(("steps", "notes"), ()),
)
OUTCOMES = ((0.796, 0.823), (0.790, 1.020), (0.900, 0.950), (0.600, 0.700))
"""Intervals that were measured where 0.772 to 0.811 was foreseen."""

# A window of probes.


def _node(name, role, user, system, idle, source="/proc/stat"):
    states = {
        "user": CpuShare(*user),
        "system": CpuShare(*system),
        "idle": CpuShare(*idle),
        "irq": CpuShare(1.0, 0.2),
        "softirq": CpuShare(3.0, 0.5),
        "steal": CpuShare(2.0, 1.5),
    }
    return NodeCpu(name, role, states, {"cpu0": states}, source, 10)


PROFILE = Profile(
    seconds=10,
    # Figure 16, one real server
    nodes=(
        _node("lb1", "director", (0, 0), (11.04, 5.81), (85.04, 17.43)),
        _node("rs1", "real server", (25.34, 13.24), (53.77, 27.62), (18.66, 38.71), "cgroup"),
    ),
    offered_rate=4200,
    reply_rate=3897.9,
    metrics={"cpu_us_per_connection": 26.3},
    work=Work(
        seconds=10.0,
        cpus=1,
        busy_percent=15.0,
        connections=20_000,
        packets=120_000,
        lines=(Line("10", ("eth0", "aic7xxx"), 2942, nic=True),),
        softnet_dropped=0,
        softnet_squeezed=3,
        device_drops={"eth0": 4},
        phases=(Phase("driver", 9.0, "stacks"), Phase("IPVS", 6.0, "stacks")),
        wasted=(),
        forecast=None,
    ),
    probed=Probed(
        seconds=10.0,
        handlers=HandlerWindow(
            10.0,
            (HandlerCalls(10, "aic7xxx", 2940, 2940, 0, 39_396_000, 39_396_000, 9),),
            {"10": 2942},
        ),
        locks=LockWindow(
            10.0, (LockWaits("svc->sched_lock", "spinlock", "ip_vs_rr_schedule", (), 4, 8000, 9),)
        ),
        drops=DropWindow(10.0, (Drops("NO_SOCKET", "tcp_v4_rcv", 7),)),
        ipvs=IpvsWindow(
            10.0,
            1000,
            990,
            6_200_000,
            9,
            after_handlers=(HandlerDelay(10, "eth0", 4, 480_000, 200_000),),
        ),
        softirqs=SoftirqWindow(
            10.0,
            (SoftirqTime("NET_RX", 0, 10, 50_000, 9, 5, 10_000, 9),),
            (NapiPolls("", 2, 2, 0), NapiPolls("eth0", 9, 30, 1, 8193, ("rx 0", "tx 0"))),
            {},
            after_handlers=(
                HandlerDelay(10, "eth0", 5, 125_000, 90_000),
                HandlerDelay(11, "eth1", 1, 20_000, 20_000),
            ),
        ),
        cpu=CpuWindow(10.0, 99, (Stack(0, ("a", "e1000_clean [e1000]"), False, 3),)),
        own_ns=20_000_000,
        costs=(
            ProbeCost("irq", "raw tracepoints", 10.0, 1_000_000, 1000),
            ProbeCost("ipvs", "kprobes on ip_vs_in_hook", 2.0, 40_000_000, 100, shed=True),
        ),
    ),
    bottleneck=Bottleneck("none", "Nothing on this director is at its limit."),
    missing=("c1",),
    validity="noisy",
    reason="steal",
)
COUNTS_ALONE = replace(
    PROFILE,
    nodes=(),
    work=None,
    bottleneck=None,
    validity=None,
    probed=Probed(
        10.0,
        handler_counts=HandlerCounts(
            10.0, "tracefs", (HandlerCount(10, "aic7xxx", 5),), {}, {"10": 5}
        ),
        threads=(IrqThreadTime(10, "eth0", 7, 30_000_000),),
        locks=LockWindow(10.0, ()),
        drops=DropWindow(10.0, ()),
        costs=(ProbeCost("locks", "tracepoints", 10.0, None, None),),
    ),
)
PROFILES_DIFFER = profile_difference.of(
    PROFILE,
    replace(
        PROFILE,
        work=replace(PROFILE.work, busy_percent=12.0, phases=(Phase("driver", 6.0, "stacks"),)),
    ),
)

# A session of the closed loop.

_FOUND = Comparison(
    metric="cpu_us_per_connection",
    unit="us",
    better="lower",
    before=(),
    after=(),
    pairs=8,
    ratio=0.8123,
    interval=(0.79, 0.8345),
    test="sign-flip",
    p=0.008,
    noise_floor=None,
    minimum_detectable_effect=0.02,
    verdict="improved",
    reason=None,
)
_KEPT = tune.Row(
    "nic/ring-below-max",
    "disruptive",
    "kept",
    "`improved` is kept",
    "../20260101-000000",
    ("give eth0 rx 4096 instead of 256",),
    _FOUND,
    "Improved: CPU time per connection changed to 0.812 times its earlier value.",
    journal="20260101T000000.000000Z",
)
_OUT = tune.Row("irq/xtpic-mode", "reboot", "left out", "takes boots to judge", None)
_OPEN = tune.Row("ipvs/sysctl-lost", "safe", None, "", None)
SESSION = tune.Results(
    "lb1", "lb1", "2026-01-01", "dirtune tune", None, (_KEPT, _OUT, _OPEN), ("a note",)
)
WAITING = replace(SESSION, rows=(_OPEN,), notes=(), waits="boot lb1, then --resume")
NOTHING_TO_TUNE = replace(SESSION, rows=(), notes=())

# What a machine can do.

_BCC = Obstacle("bcc's Python module is not here", "apt install python3-bpfcc")
_IPVS = Obstacle("IPVS is not loaded", "modprobe ip_vs")
_NOTE = Obstacle("no BTF", "boot another kernel")
_WAITS = Rung("prebuilt", "waits", (Obstacle("no tracepoint", "boot Linux 5.19"),))


def _diagnosis(*obstacles):
    return Diagnosis(
        "6.1.0",
        (
            Feature("audit", works=True, what="judge", obstacles=()),
            Feature("probe", works=not obstacles, what="measure", obstacles=obstacles),
        ),
        (
            Ladder(
                "irq",
                "tracefs" if obstacles else "prebuilt",
                (
                    Rung("prebuilt", "time of each handler", obstacles),
                    Rung("tracefs", "calls of each handler", ()),
                    Rung("proc", "calls inferred", (Obstacle("below", "not said"),)),
                ),
            ),
            Ladder("locks", "kprobes", (_WAITS, Rung("kprobes", "waits for spin locks", ()))),
            Ladder("ipvs", None, (Rung("kprobes", "time", (*obstacles, _IPVS)),)),
        ),
        (_NOTE,),
    )


DIAGNOSES = (_diagnosis(_BCC), _diagnosis())

# A plan of fixes, and what came of it.

_RINGS = SetNic("enp0s16", "rings", {"rx": 256}, {"rx": 4096})
_ICMP = SetValue("/proc/sys/net/ipv4/vs/schedule_icmp", "0", "1")
_SYSCTLS = PutFile("/etc/sysctl.d/99-dirtune.conf", None, "net.ipv4.vs.schedule_icmp = 1\n")
_KEPT_FILE = Change(
    _SYSCTLS, Risk.SAFE, "ipvs/schedule-icmp", "sysctl",
    "keep net.ipv4.vs.schedule_icmp in /etc/sysctl.d/99-dirtune.conf", lasting=True,
)  # fmt: skip
FIXES = Plan(
    (
        Change(
            _ICMP, Risk.SAFE, "ipvs/schedule-icmp", "sysctl",
            "set net.ipv4.vs.schedule_icmp to 1 instead of 0", ("/etc/sysctl.d/50-lvs.conf",),
        ),
        Change(
            _RINGS, Risk.DISRUPTIVE, "nic/ring-below-max", "ring",
            "give enp0s16 rx 4096 instead of 256",
        ),
        Change(
            Unbind("0000:00:14.0", "sym53c8xx", "10", "sym53c8xx"), Risk.DISRUPTIVE,
            "irq/shared-with-nic", "unbind-partners", "take 0000:00:14.0 from sym53c8xx",
        ),
        Change(
            SetAffinity("24", "0", "1"), Risk.SAFE, "irq/queue-stacking", "affinity",
            "send interrupt 24 to CPU 1 instead of 0", ("irqbalance",),
        ),
        _KEPT_FILE,
    ),
    (
        Refusal(
            "irq/shared-with-nic", "unbind-partners", "0000:00:1f.2",
            "drives /dev/sda, which is mounted", "disk",
        ),
        Refusal("ipvs/sync-missing", "sync", "the sync daemon", "is keepalived's to start"),
    ),
)  # fmt: skip
LASTING = Plan((_KEPT_FILE,), FIXES.refusals)
LEFT_OUT = (LeftOut("coalesce", "disruptive", "nic/coalescing-off"),)
NOTES = ("2 of 98 checks could not be decided (2 for too little traffic)",)
JOURNAL = "20260102T100000.000000Z"
HELD = (
    Held(JOURNAL, FIXES.changes[0], holds=True),
    Held(JOURNAL, FIXES.changes[3], holds=False, by=("irqbalance",)),
)

# An IPVS table, what a plan wants of it, and its real servers.

_WEB = Service(
    "tcp", "198.18.0.100", 80, "wlc",
    persistent_s=300, netmask="255.255.255.0",
    destinations=(
        Destination("198.18.0.11", 80, "dr", 5),
        Destination(
            "198.18.0.12", 80, "tun", upper=1000, lower=800, tunnel="gue", tunnel_port=6080
        ),
    ),
)  # fmt: skip
_MARK = Service(
    "fwmark", "", 7, "mh", 6, flags=0x10, destinations=(Destination("fd00::2", 0, "nat"),)
)
IPVS = Table(
    (_WEB, _MARK),
    Timeouts(900, 120, 300),
    (SyncDaemon("master", "eth1", 4), SyncDaemon("backup", "eth1", 4)),
)
WANTED = Table(
    (
        replace(
            _WEB,
            scheduler="wrr",
            destinations=(
                replace(_WEB.destinations[0], weight=1, forwarding="nat"),
                Destination("198.18.0.13", 80, "dr"),
            ),
        ),
        Service("udp", "198.18.0.100", 53, "sh", flags=0x14),
    ),
    Timeouts(900, 60, 300),
    (SyncDaemon("master", "eth1", 4, maxlen=1024),),
)
STEPS = diff(IPVS, WANTED)
CHANGES = table.Changes(("ip_vs_sh",), table.edits(IPVS, WANTED, drain_s=30))
_NUMBERS = Numbers(2080, 10398, 0, 686295, 0, 3, 20, 0, 1500, 0)
COUNTS = tuple(
    Seen(_NUMBERS, tuple(((2, 5, 1), _NUMBERS) for _ in service.destinations))
    for service in IPVS.services
)
REAL_SERVER = Plan(
    (
        Change(
            AddAddress("lo", "198.18.0.100/32"), Risk.SAFE, "realserver/vip-missing", "vip",
            "put 198.18.0.100/32 on lo",
        ),
        Change(
            SetValue("/proc/sys/net/ipv4/conf/all/arp_ignore", "0", "1"), Risk.SAFE,
            "realserver/arp-leak", "arp", "set net.ipv4.conf.all.arp_ignore to 1 instead of 0",
        ),
    ),
    (Refusal("realserver/nat-gateway", "route", "default route", "leads to your ssh", "gateway"),),
)  # fmt: skip
DONE = {"rs1": Done(JOURNAL, tuple(c.title for c in REAL_SERVER.changes)), "rs2": Done(None, ())}
REACH = Reach(
    "TCP 198.18.0.100:80", {"rs1": None, "rs2": "no answer: does it listen on port 80?"},
    ("rs3",), 8, 1, 2,
)  # fmt: skip
UNASKED = Reach("TCP 198.18.0.100:80", {}, (), 0, 0)
PRESETS = {
    "rs1": tuple(judged(frozenset({"real server"}), parse(FRESH))),
    "c1": tuple(judged(frozenset({"client"}), parse("open-files unlimited\n"))),
}

# What searches for the highest rate came to.

_KNEE = Knee(1e-4, "", 297.0, 300.0, "system", capacity.ended("system", 1e-4, 40_000), True, 9, 1)
KNEES = (
    _KNEE,
    replace(_KNEE, above=None, limit="clients", reason=capacity.ended("clients", 1e-4, 40_000)),
    replace(_KNEE, above=None, limit="range", reason=capacity.ended("range", 1e-4, 2_000)),
    replace(_KNEE, rate=None, above=100.0, reason=capacity.ended("system", 1e-4, 0)),
)

# Whether a plan can be carried out.

READY = Readiness(
    nodes={
        "lb1": None,
        "rs1": "rs1: no route to host",
        "c1": "h2load is not installed. Run: apt install nghttp2-client",
    },
    versions={"lb1": {"kernel": "6.1.0-56-amd64", "ipvsadm": "v1.31"}},
    clocks_ms={"lb1": -1140.2, "rs1": None},
    vip="2 from 198.18.0.99",
    forced=False,
    tuples=TupleBudget(600.0, 235.0, 537.6, 2),
    warnings=warnings(plan_of(rates=[600])),
    sweep_trials=12,
    sweep_s=480.0,
    pairs_s=1800.0,
)
TWO_LOOKS = replace(READY, pairs=8, at_most=16, pairs_at_most_s=3600.0)

FAILOVER = Failover(
    offered_rate=100.0,
    seconds=35.0,
    timeout_s=1.0,
    command="dirtune lab reboot lb1 --power-cut",
    command_s=5.02,
    intended=3500,
    attempted=3500,
    replied=3120,
    failed={"timeout": 1, "connect": 379},
    silence_s=3.684,
    silence_at_s=5.31,
    usual_silence_s=0.041,
    recovered=True,
)
FAILOVERS = (
    FAILOVER,
    replace(FAILOVER, silence_s=29.69, recovered=False, replied=531, failed={"connect": 2969}),
    replace(
        FAILOVER,
        attempted=None,
        silence_s=None,
        silence_at_s=None,
        usual_silence_s=None,
        recovered=False,
        failed={},
        problems=("c1: it ended early\x1b[2J",),
    ),
)

DRIFT = (
    Difference(
        "TCP 198.18.0.100:80 -> 198.18.0.11:80",
        "checker-down",
        "TCP 198.18.0.100:80 -> 198.18.0.11:80 is not in the kernel, because its health check "
        "fails.",
    ),
    Difference(
        "UDP 198.18.0.100:53",
        "not-reloaded",
        "UDP 198.18.0.100:53 is in the kernel, but not in keepalived.conf.",
    ),
)
"""Differences between keepalived's configuration and the IPVS table."""

CONDITION = "softnet.dropped > 0/s on any"
FIRINGS = (
    FiringDocument("drops", CONDITION, "1", 37.0, "/s", 1.0),
    FiringDocument("drops", CONDITION, "3", 4.0, "/s", 1.0),
)
WATCHED = (
    Evidence(
        "2026-12-01T03:00:00.000+00:00",
        "lb1",
        "1.0",
        "6.1.0-57-amd64",
        FIRINGS,
        (CONDITION, "irq 24 > 50000/s"),
        ("before.jsonl", "audit.json", "profile.json"),
        ("The snapshot was not kept: no space left on device.",),
    ),
    sentence(FIRINGS, {CONDITION: "CPU"}),
    (
        Second(
            "2026-12-01T03:00:00.000+00:00",
            0.0,
            1.0,
            busy_percent=71.4,
            softirq_percent=97.0,
            softirq_cpu=1,
            softnet_dropped_per_second=41.0,
            rx_packets_per_second=152_340.0,
            watched={"softnet.dropped": {"1": 37.0, "3": 4.0}},
        ),
        Second("2026-12-01T02:59:59.000+00:00", 1.0, 1.0, softnet_dropped_per_second=0.0),
    ),
)
FIRED = Counts(Counter({"drops": 2}), captures=1, failed=1, last_s=1_796_094_000.0)
"""A firing of `dirtune watch`, the two seconds before it, and its counters."""
