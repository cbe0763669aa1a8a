"""The paper's table from a profile."""

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import CpuShare, NodeCpu
from dirtune.render import profile


def node(name, role, user, system, idle, source="/proc/stat"):
    states = {
        "user": CpuShare(*user),
        "system": CpuShare(*system),
        "idle": CpuShare(*idle),
        "softirq": CpuShare(3.0, 0.5),
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
    handlers=HandlerWindow(
        10.0,
        (HandlerCalls(10, "aic7xxx", 2940, 2940, 0, 39_396_000, 39_396_000, 9),),
        {"10": 2942},
    ),
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
    assert "lb1 director 0.00 (0.00) 11.04 (5.81) 85.04 (17.43)" in cells
    assert "rs1 real server 25.34 (13.24) 53.77 (27.62) 18.66 (38.71)" in cells
    # 39.396 ms over 2940 calls
    assert "10 aic7xxx 2940 2940 13.4" in cells
    assert "Control group accounting, idle is the rest of their CPUs: rs1." in cells
    assert "No CPU times (a container that does not see its control group): c1." in cells
    assert "Not valid (noisy): steal." in cells


def test_per_cpu_details_are_asked_for():
    assert "softirq" not in profile.table(PROFILE)
    assert "| lb1 " in profile.markdown(PROFILE, verbose=True)
    assert "3.00 (0.50)" in profile.markdown(PROFILE, verbose=True)
