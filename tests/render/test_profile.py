"""The paper's table from a profile."""

from msgspec.structs import replace

from dirtune.analyse import profile_difference
from dirtune.analyse.bottleneck import Bottleneck
from dirtune.analyse.handlers import (
    HandlerCalls,
    HandlerCount,
    HandlerCounts,
    HandlerWindow,
)
from dirtune.analyse.phases import Phase
from dirtune.analyse.probed import (
    CpuWindow,
    Drops,
    DropWindow,
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
from dirtune.analyse.run import CpuShare, NodeCpu
from dirtune.analyse.work import Line, Work
from dirtune.render import profile


def node(name, role, user, system, idle, source="/proc/stat"):
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
        node("lb1", "director", (0, 0), (11.04, 5.81), (85.04, 17.43)),
        node("rs1", "real server", (25.34, 13.24), (53.77, 27.62), (18.66, 38.71), "cgroup"),
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
        ipvs=IpvsWindow(10.0, 1000, 990, 6_200_000, 9),
        softirqs=SoftirqWindow(
            10.0,
            (SoftirqTime("NET_RX", 0, 10, 50_000, 9, 5, 10_000, 9),),
            (NapiPolls("eth0", 9, 30, 1),),
            {},
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


def test_the_table():
    lines = profile.table(PROFILE).splitlines()

    assert lines[0] == (
        "offered 4200 connections/s, replies 3897.9/s; director 26 us of CPU per connection"
    )
    cells = [" ".join(line.split()) for line in lines]
    assert "lb1 director 0.0±0.0 11.0±5.8 85.0±17.4 1.0±0.2 3.0±0.5 2.0±1.5" in cells
    assert "rs1 real server 25.3±13.2 53.8±27.6 18.7±38.7 1.0±0.2 3.0±0.5 2.0±1.5" in cells
    # 39.396 ms over 2940 calls, and over 10 s
    assert "10 aic7xxx 2940 2940 13.4 0.39" in cells
    assert "Control group accounting, idle is the rest of their CPUs: rs1." in cells
    assert "No CPU times (a container that does not see its control group): c1." in cells
    assert "Not valid (noisy): steal." in cells


def test_few_cpus_are_shown_each_and_many_only_if_asked_for():
    row = "lb1 cpu0 0.0±0.0 11.0±5.8 85.0±17.4 1.0±0.2 3.0±0.5 2.0±1.5"
    many = replace(PROFILE, nodes=(with_cpus(8), PROFILE.nodes[1]))

    assert row in cells(profile.table(PROFILE))
    assert row in cells(profile.table(replace(PROFILE, nodes=(with_cpus(8),))))
    assert row not in cells(profile.table(many))
    assert row in cells(profile.table(many, verbose=True))
    assert "3.0±0.5 |" in profile.markdown(PROFILE)


def with_cpus(count):
    one = PROFILE.nodes[0]
    return replace(one, per_cpu={f"cpu{n}": one.per_cpu["cpu0"] for n in range(count)})


def test_a_state_that_is_not_known_is_no_zero():
    blind = replace(PROFILE.nodes[0], states={"user": CpuShare(5.0, 1.0)}, per_cpu={})
    (row,) = [r for r in cells(profile.table(replace(PROFILE, nodes=(blind,)))) if "lb1" in r]

    assert row == "lb1 director 5.0±1.0"


def test_the_tables_of_cpu_time_fit_a_terminal_of_100_columns():
    full = CpuShare(100.0, 10.0)
    states = dict.fromkeys(("user", "system", "idle", "irq", "softirq", "steal"), full)
    node_ = NodeCpu("real-server-1", "real server", states, {"cpu1151": states}, "/proc/stat", 9)
    shown = profile.table(Profile(seconds=9, nodes=(node_,)))

    assert max(map(len, shown.splitlines())) <= 100


def cells(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_what_the_director_did_and_what_it_cost():
    found = cells(profile.table(PROFILE))

    assert "Nothing on this director is at its limit." in found
    assert "IPVS: 2000.0 connections/s, 12000.0 packets/s" in found
    # 1.5 s of CPU on 20,000 connections and 120,000 packets.
    assert "CPU: 75 us per connection, 12.5 us per packet" in found
    assert "irq 10 (eth0, aic7xxx): 294.2 interrupts/s" in found
    assert "interrupts per packet: 0.02" in found
    assert "softnet: 0 dropped, 3 squeezed" in found
    assert "eth0: 4 packets found no room in the ring" in found
    assert "driver 9.00 45 7.5 stacks" in found


def test_what_the_probes_saw_and_cost():
    found = cells(profile.table(PROFILE))

    assert "svc->sched_lock spinlock ip_vs_rr_schedule 4 2.0 0.00" in found
    assert "NO_SOCKET tcp_v4_rcv 7" in found
    (hook,) = (line for line in found if line.startswith("ip_vs_in_hook: "))
    assert "1000 packets, 990 of them forwarded, 6.2 us each" in hook
    # 40 ms in 2 s
    assert "ipvs kprobes on ip_vs_in_hook 100 400000 2.000 taken off after 2 s" in found
    assert "irq raw tracepoints 1000 1000 0.010" in found
    assert "dirtune's own process: 0.20 % of a CPU" in found


def test_symbols_and_softirqs_are_asked_for():
    assert "e1000_clean" not in profile.table(PROFILE)
    found = cells(profile.table(PROFILE, verbose=True))

    assert "NET_RX 0 10 5.0 0.00 2.0" in found
    assert "eth0 9 30 1" in found
    assert "e1000_clean [e1000] 3 100.0" in found


def test_counts_alone_say_that_nothing_was_timed():
    counts = HandlerCounts(10.0, "tracefs", (HandlerCount(10, "aic7xxx", 5),), {}, {"10": 5})
    threads = (IrqThreadTime(10, "eth0", 7, 30_000_000),)
    probed = Probed(10.0, handler_counts=counts, threads=threads)
    found = cells(profile.table(replace(PROFILE, probed=probed)))

    assert "10 aic7xxx 5" in found
    assert "calls that returned IRQ_NONE: irq 10: 5" in found
    assert "Source: tracefs; nothing was timed." in found
    assert "10 eth0 7 0.30" in found


def test_the_difference_of_two_profiles():
    cheaper = replace(PROFILE.work, busy_percent=12.0, phases=(Phase("driver", 6.0, "stacks"),))
    found = profile_difference.of(PROFILE, replace(PROFILE, work=cheaper))
    changes = {change.what: change for change in found.changes}

    assert changes["CPU per connection"].before == 75.0
    assert changes["CPU per connection"].after == 60.0
    assert changes["CPU per connection"].ratio == 0.8
    assert (changes["phase IPVS"].before, changes["phase IPVS"].after) == (6.0, None)
    assert changes["lb1 idle"].ratio == 1.0
    shown = cells(profile.difference(found, markdown=False))
    assert "CPU per connection 75 60 0.8 us" in shown
    assert "phase IPVS 6 % of a CPU" in shown
