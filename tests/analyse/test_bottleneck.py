"""The verdict in words: a resource is named only where it is at its limit."""

import re

import probed_window as window
import pytest
from msgspec.structs import replace

from dirtune.analyse import bottleneck, work
from dirtune.analyse.cpu import Sample
from dirtune.analyse.forecast import Waste
from dirtune.analyse.probed import (
    CpuWindow,
    IrqThreadTime,
    LockWaits,
    LockWindow,
    ProbeCost,
    Probed,
    UserSamples,
)
from dirtune.analyse.programs import Program
from dirtune.analyse.run import CpuShare, Forecast, NodeCpu
from dirtune.bench.judge import by_line
from dirtune.collect.softnet import SoftnetRow
from dirtune.collect.stat import parse_stat

CLEAN = SoftnetRow(0, 100, 0, 0, None, None)


def stat(*idle):
    rows = [f"cpu{n} 0 0 {1000 - i} {i} 0 0 0 0 0 0" for n, i in enumerate(idle)]
    total = f"cpu 0 0 {1000 * len(idle) - sum(idle)} {sum(idle)} 0 0 0 0 0 0"
    return parse_stat("\n".join((total, *rows)) + "\n")


def node(*idle, **states):
    def shares(i):
        base = {"user": 0.0, "system": 100 - i, "idle": i, "softirq": 80.0 if i < 20 else 5.0}
        return {name: CpuShare(value, 0.0) for name, value in {**base, **states}.items()}

    cpus = {f"cpu{n}": shares(i) for n, i in enumerate(idle)}
    return NodeCpu("lb1", "director", shares(sum(idle) / len(idle)), cpus, "/proc/stat", 10)


def done(lines=None, **changes):
    found = work.of_window(
        (
            Sample(0.0, stat(0, 0), lines={"10": 5}, ip_vs={"connections": 1, "packets_in": 7}),
            Sample(10.0, stat(0, 0), lines={"10": 9}, ip_vs={"connections": 11, "packets_in": 67}),
        ),
        node(50.0, 50.0),
        Probed(10.0),
        {"10": ("eth0",)},
        frozenset({"eth0"}),
    )
    return replace(found, **changes)


def found(who, work_done=None, probed=None, programs=()):
    return bottleneck.find(who, work_done or done(), probed or Probed(10.0), programs)


def test_a_line_whose_counts_were_set_back_is_not_known():
    # 10 would have run over at 429,496,725 a second, 11 did at 1 a second.
    first = Sample(0.0, stat(0, 0), lines={"10": 100, "11": 4_294_967_291})
    last = Sample(10.0, stat(0, 0), lines={"10": 50, "11": 5})
    found = work.of_window((first, last), node(50.0, 50.0), Probed(10.0), {}, frozenset())

    assert [(line.irq, line.interrupts) for line in found.lines] == [("11", 10)]
    assert by_line((first, last)) == {"11": 10}


def test_a_director_with_room_is_told_how_much():
    verdict = found(node(52.5, 90.0))

    assert verdict.resource == "none"
    assert {"cpu0,", "48", "2.0"} <= set(verdict.paragraph.split())


def test_a_full_cpu_beside_idle_ones_asks_for_spreading():
    verdict = found(node(1.0, 80.0))

    assert verdict.resource == "cpu0"
    assert "99 % busy (80 % in softirqs, 19 % in the rest of the kernel)" in verdict.paragraph
    assert "20 % busy" in verdict.paragraph
    assert "audit --select irq,nic,softirq" in verdict.paragraph


def test_full_cpus_everywhere_ask_for_less_work():
    verdict = found(node(1.0, 10.0))

    assert verdict.resource == "cpu0"
    assert "90 % busy or more" in verdict.paragraph
    assert "second director" in verdict.paragraph


def of_cpu0(probed=None, programs=(), **states):
    """The verdict on cpu0 at 95 % and more with these *states*, beside a CPU that is idle."""
    shares = {name: CpuShare(float(value), 0.0) for name, value in states.items()}
    idle = {"user": CpuShare(1.0, 0.0), "system": CpuShare(1.0, 0.0), "idle": CpuShare(98.0, 0.0)}
    cpus = {"cpu0": shares, "cpu1": idle}
    return found(
        NodeCpu("lb1", "director", idle, cpus, "/proc/stat", 10), probed=probed, programs=programs
    )


def test_a_cpu_that_programs_fill_is_not_told_to_spread_interrupts():
    verdict = of_cpu0(user=93, system=2, softirq=0, irq=0, idle=5)

    assert verdict.resource == "cpu0"
    assert "95 % busy (93 % user, 2 % in the rest of the kernel)" in verdict.paragraph
    assert "User programs fill cpu0" in verdict.paragraph
    assert "`top -H`" in verdict.paragraph
    assert "Spread" not in verdict.paragraph


def test_a_cpu_that_the_kernel_fills_for_programs():
    verdict = of_cpu0(user=10, system=86, softirq=3, irq=1, idle=4)

    assert "System calls and kernel threads fill cpu0" in verdict.paragraph
    assert "Spread" not in verdict.paragraph


@pytest.mark.parametrize(
    "states",
    [
        {"user": 5, "system": 91, "softirq": 60, "irq": 25},
        {"user": 30, "system": 66, "softirq": 0, "irq": 0, "unaccounted": 60},
    ],
    ids=["counted", "charged to nobody"],
)
def test_a_cpu_that_interrupts_fill_is_told_to_spread_them(states):
    assert "Spread the queues" in of_cpu0(idle=4, **states).paragraph


def test_threads_of_interrupts_are_interrupts():
    # 6 s of 10 s: most of the 86 % that count as system.
    threads = (IrqThreadTime(10, "eth0", 9, 6_000_000_000),)
    verdict = of_cpu0(Probed(10.0, threads=threads), user=10, system=86, softirq=0, idle=4)

    assert "Spread the queues" in verdict.paragraph


def test_the_programs_on_the_full_cpu_are_those_that_ran_there():
    # 990 samples of each CPU. gzip ended in the window, and xz runs on the idle CPU.
    ran = (("xz", 1, 700), ("gzip", 0, 600), ("perl", 0, 300), ("sh", 0, 9))
    window = CpuWindow(10.0, 99, (), 0, tuple(UserSamples(cpu, name, n) for name, cpu, n in ran))
    elsewhere = (Program("xz", False, 70.7), Program("perl", False, 30.3))
    verdict = of_cpu0(
        Probed(10.0, cpu=window), elsewhere, user=93, system=2, softirq=0, irq=0, idle=5
    )

    assert "The busiest programs are gzip (61 %) and perl (30 %), in per cent of one CPU" in (
        verdict.paragraph
    )


NGINX, PERL = Program("nginx", False, 122.0), Program("perl", False, 40.0)
KSOFTIRQD = Program("ksoftirqd/0", True, 150.0)
BUSY = {"user": CpuShare(84.0, 0.0), "system": CpuShare(16.0, 0.0), "softirq": CpuShare(0.0, 0.0)}


def test_programs_that_fill_every_cpu_are_named_by_their_share_of_all():
    cpus = {"cpu0": BUSY, "cpu1": BUSY}
    who = NodeCpu("lb1", "host", BUSY, cpus, "/proc/stat", 10)
    verdict = found(who, programs=(KSOFTIRQD, NGINX, PERL, Program("sshd", False, 1.0)))

    assert verdict.resource == "cpu0"
    assert "Both CPUs are busy: user programs use 84 %" in verdict.paragraph
    # 122 and 40 % of one CPU, of two; a thread of the kernel is no user program.
    assert "nginx (61 %) and perl (20 %), in per cent of all CPUs" in verdict.paragraph
    assert "Tuning interrupts will not help" in verdict.paragraph
    assert not {"ksoftirqd", "sshd", "Spread"} & set(re.split(r"\W", verdict.paragraph))


def test_programs_that_fill_one_cpu_are_named_by_their_share_of_one():
    three = (NGINX, PERL, Program("php", False, 9.0))
    verdict = of_cpu0(programs=three, user=93, system=2, softirq=0, irq=0, idle=5)

    assert "nginx (122 %), perl (40 %) and php (9 %), in per cent of one CPU" in verdict.paragraph


def test_programs_that_do_not_explain_the_load_are_not_named():
    # What filled the CPU has ended: 30 % of it is known.
    few = (Program("nginx", False, 30.0),)
    verdict = of_cpu0(programs=few, user=93, system=2, softirq=0, irq=0, idle=5)

    assert "nginx" not in verdict.paragraph
    assert "`top -H`" in verdict.paragraph


def test_a_cpu_that_interrupts_fill_names_no_program():
    assert "nginx" not in found(node(1.0, 3.0), programs=(NGINX,)).paragraph


def test_a_cpu_that_the_hypervisor_takes_is_its_alone():
    verdict = of_cpu0(user=10, system=25, softirq=20, idle=0, steal=65)

    assert verdict.resource == "steal"
    assert "65 % of the time of cpu0, which is 35 % busy" in verdict.paragraph


def test_one_cpu_alone_is_told_so():
    assert "the only CPU" in found(node(2.0)).paragraph


def test_time_that_was_stolen_comes_before_what_it_makes_look_full():
    verdict = found(node(0.0, 0.0, steal=30.0))

    assert verdict.resource == "steal"


def test_time_stolen_from_one_cpu_comes_before_another_that_is_full():
    uneven = node(1.0, 50.0, steal=12.0)
    full = uneven.per_cpu["cpu0"] | {"steal": CpuShare(2.0, 0.0)}
    robbed = uneven.per_cpu["cpu1"] | {"steal": CpuShare(22.0, 0.0)}

    assert found(replace(uneven, per_cpu={"cpu0": full, "cpu1": robbed})).resource == "steal"


def test_stolen_time_is_not_busy_time():
    assert bottleneck.hottest(node(40.0, 50.0, steal=5.0)) == ("cpu0", pytest.approx(55.0))


def test_a_full_backlog_a_full_ring_and_a_lock_are_named():
    assert found(node(50.0), done(softnet_dropped=3)).resource == "backlog"
    assert found(node(50.0), done(device_drops={"eth0": 2, "eth1": 9})).resource == "ring eth1"
    held = LockWaits("svc->sched_lock", "spinlock", "ip_vs_rr_schedule", (), 5, 600_000_000, 9)
    locked = Probed(10.0, locks=LockWindow(10.0, (held,)))
    assert found(node(50.0), probed=locked).resource == "lock svc->sched_lock"


def test_who_sleeps_for_a_mutex_holds_up_no_cpu():
    held = LockWaits("__ip_vs_mutex", "mutex", "do_ip_vs_set_ctl", (), 2, 9_000_000_000, 9)
    asleep = Probed(10.0, locks=LockWindow(10.0, (held,)))

    assert found(node(50.0), probed=asleep).resource == "none"


def test_a_lock_below_a_twentieth_of_a_cpu_is_no_limit():
    held = LockWaits("l", "spinlock", "f", (), 5, 499_000_000, 9)

    assert found(node(50.0), probed=Probed(10.0, locks=LockWindow(10.0, (held,)))).resource == (
        "none"
    )


def test_without_cpu_times_nothing_is_claimed():
    blind = NodeCpu("lb1", "director", {}, {}, "cgroup", 3)

    assert found(blind).resource == "unknown"


def test_what_a_shared_line_wastes_is_said_with_its_forecast():
    waste = Waste(10, ("aic7xxx",), 9000, 9000, 9000, 100_000_000, 200_000_000, 1.0)
    forecast = Forecast((10,), ("aic7xxx",), 1.0, 9.0, 0.952, (0.94, 0.96), "")
    verdict = found(node(50.0), done(wasted=(waste,), forecast=forecast))

    assert (
        "On irq 10 the handlers of aic7xxx ran 9,000 times for nothing, which took 1.0 % of a CPU"
        in (verdict.paragraph)
    )
    assert "save 4.8 % of the CPU time per connection" in verdict.paragraph


def test_waste_that_is_next_to_nothing_is_not_mentioned():
    waste = Waste(10, ("aic7xxx",), 90, 90, 90, 1_000_000, 2_000_000, 0.01)

    assert "irq 10" not in found(node(50.0), done(wasted=(waste,))).paragraph


def test_a_probe_that_was_taken_off_is_told():
    shed = Probed(
        10.0,
        max_overhead_percent=1.0,
        costs=(ProbeCost("ipvs", "kprobes", 3.0, 90_000_000, 9, shed=True),),
    )

    assert "The ipvs probe was detached after 3 s" in found(node(50.0), probed=shed).paragraph


# Work


def test_work_is_the_difference_of_the_first_and_the_last_sample():
    first = Sample(
        0.0,
        stat(0, 0),
        lines={"10": 2**32 - 5, "11": 4},
        ip_vs={"connections": 100, "packets_in": 600, "packets_out": 50},
        softnet=(CLEAN, SoftnetRow(1, 5, 2**32 - 1, 7, None, None)),
        devices={"eth0": {"rx_fifo_errors": 2}, "lo": {"rx_fifo_errors": 0}},
    )
    last = Sample(
        10.0,
        stat(500, 1000),
        lines={"10": 1195, "11": 4, "12": 8},
        ip_vs={"connections": 2100, "packets_in": 10_600, "packets_out": 2050},
        softnet=(CLEAN, SoftnetRow(1, 50, 2, 9, None, None)),
        devices={"eth0": {"rx_fifo_errors": 9}, "eth1": {"rx_fifo_errors": 9}},
    )
    found = work.of_window(
        (first, last),
        node(50.0, 100.0),
        Probed(10.0),
        {"10": ("eth0", "aic7xxx")},
        frozenset({"eth0"}),
    )

    assert [(line.irq, line.interrupts, line.nic) for line in found.lines] == [("10", 1200, True)]
    # 10,000 in and, as real servers behind NAT answer, 2,000 out.
    assert (found.connections, found.packets) == (2000, 12_000)
    assert (found.softnet_dropped, found.softnet_squeezed) == (3, 2)
    assert found.device_drops == {"eth0": 7}
    # 20 s of CPU less the 5 and 10 that were idle: 5 s on 2,000 connections.
    assert found.busy_percent == pytest.approx(50.0)
    assert found.cpu_us_per_connection == pytest.approx(2500.0)
    assert found.cpu_us_per_packet == pytest.approx(5e6 / 12_000)
    assert found.interrupts_per_packet == pytest.approx(0.1)


def test_a_host_without_ipvs_has_no_cost_per_connection():
    found = replace(done(), connections=None, packets=None)

    assert found.cpu_us_per_connection is None
    assert found.interrupts_per_packet is None


def test_the_forecast_is_of_the_probe_s_own_window():
    # In 5 s 1,000 connections at 2,500 us each; the probe's 10 s have 2,000 of them, and 200 ms
    # of needless calls: 100 us each, a twenty-fifth.
    first = Sample(0.0, stat(0, 0), ip_vs={"connections": 0, "packets_in": 0})
    last = Sample(5.0, stat(250, 500), ip_vs={"connections": 1000, "packets_in": 6000})
    done = work.of_window(
        (first, last),
        node(50.0, 100.0, user=10.0),
        replace(window.PROBED, cpu=None),
        {"10": ("eth0", "aic7xxx")},
        frozenset({"eth0"}),
    )

    assert done.cpu_us_per_connection == pytest.approx(2500)
    assert done.forecast.wasted_us_per_connection == pytest.approx(100)
    assert done.forecast.ratio == pytest.approx(0.96)
    # A tenth of two CPUs is a fifth of one.
    (user,) = (phase for phase in done.phases if phase.name == "user")
    assert user.percent == pytest.approx(20)
