"""What a profile shows of figures; golden/profile-*.txt hold its words."""

from msgspec.structs import replace

from dirtune.analyse.profile import Profile
from dirtune.analyse.run import CpuShare, NodeCpu
from dirtune.render import profile
from tests.render.inputs import COUNTS_ALONE, PROFILE, PROFILES_DIFFER


def cells(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_figures_of_each_row():
    found = cells(profile.table(PROFILE, verbose=True))

    assert "rs1 real server 25.3±13.2 53.8±27.6 18.7±38.7 1.0±0.2 3.0±0.5 2.0±1.5" in found
    # 39.396 ms over 2940 calls, and over 10 s
    assert "10 aic7xxx 2940 2940 13.4 0.39" in found
    # 0.9 s over 20,000 connections and 120,000 packets
    assert "driver 9.00 45 7.5 stacks" in found
    assert "svc->sched_lock spinlock ip_vs_rr_schedule 4 2.0 0.00" in found
    assert "NO_SOCKET tcp_v4_rcv 7" in found
    assert "NET_RX 0 10 5.0 0.00 2.0" in found
    assert "backlog 2 2 0" in found
    assert "eth0 8193 rx 0, tx 0 9 30 1" in found
    # 125 us in 5 softirqs, and 480 us until the first packet of 4 of them
    assert "10 eth0 5 25.0 90 120.0 200" in found
    assert "11 eth1 1 20.0 20" in found
    assert "e1000_clean [e1000] 3 100.0" in found
    assert "irq raw tracepoints 1000 1000 0.010" in found
    # 40 ms in 2 s
    assert any(row.startswith("ipvs kprobes on ip_vs_in_hook 100 400000 2.000 ") for row in found)
    # 1.5 s of CPU on 20,000 connections and 120,000 packets
    assert PROFILE.work.cpu_us_per_connection == 75
    assert PROFILE.work.cpu_us_per_packet == 12.5


def test_counts_alone_have_no_times():
    found = cells(profile.table(COUNTS_ALONE))

    assert "10 aic7xxx 5" in found
    assert "10 eth0 7 0.30" in found  # 30 ms of a thread in 10 s


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


def test_symbols_are_asked_for():
    assert "e1000_clean" not in profile.table(PROFILE)


def test_the_difference_of_two_profiles():
    changes = {change.what: change for change in PROFILES_DIFFER.changes}

    assert changes["CPU per connection"].before == 75.0
    assert changes["CPU per connection"].after == 60.0
    assert changes["CPU per connection"].ratio == 0.8
    assert (changes["phase IPVS"].before, changes["phase IPVS"].after) == (6.0, None)
    assert changes["lb1 idle"].ratio == 1.0
    shown = cells(profile.difference(PROFILES_DIFFER, markdown=False))
    assert "CPU per connection 75 60 0.800 us" in shown
    assert "phase IPVS 6 % of a CPU" in shown
