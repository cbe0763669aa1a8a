from dirtune.checks import Severity, Status, run
from dirtune.checks.memory.conn_footprint import conn_footprint
from dirtune.collect.ip_vs import Destination, Service, Stats
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot


def table(active, *, rate=0, total=1 << 30, **settings):
    destination = Destination("198.18.0.11", 80, "Route", 1, active, 0)
    service = Service("TCP", "198.18.0.100", 80, None, "rr", destinations=(destination,))
    values = {f"net/ipv4/vs/{name}": str(value) for name, value in settings.items()}
    before, after = (Stats(n, 0, 0, 0, 0) for n in (0, rate * 10))
    return run(
        (conn_footprint,),
        Snapshot(
            services=(service,),
            meminfo={"MemTotal": total},
            sysctls=Sysctls(values),
            ip_vs_stats=after,
            taken_s=20.0,
            earlier=Snapshot(ip_vs_stats=before, taken_s=10.0),
        ),
    )[0]


# Half of 1 GiB is 536,870,912 bytes: 1,677,722 entries of 320 bytes, 932,068 of 576.
def test_half_of_the_memory():
    (found,) = table(1_677_722, conntrack=0).findings

    assert (found.severity, found.subject) == (Severity.HIGH, "connection table")
    assert found.evidence["projected_entries"] == 1_677_722
    assert found.evidence["percent"] == 50.0
    assert table(1_677_721, conntrack=0).status is Status.PASSED
    assert table(932_068, conntrack=1).status is Status.FINDING
    assert table(932_067, conntrack=1).status is Status.PASSED
    assert table(932_068).status is Status.INCONCLUSIVE, "whether they are tracked is not known"


def test_what_the_rate_will_come_to():
    # 27,963 a second live for 60 s of SYN_RECV at least.
    (found,) = table(10, rate=27_963, conntrack=0).findings

    assert found.evidence["projected_entries"] == 1_677_780
    assert table(10, rate=27_900, conntrack=0).status is Status.PASSED


def test_the_default_limit_of_newer_kernels_limits_nothing():
    (found,) = table(1_677_722, conntrack=0, conn_max=1 << 30).findings

    assert "conn_max = 1,073,741,824" in found.message


def test_a_limit_below_half_of_the_memory_limits_what_will_come():
    assert table(10, rate=27_963, conntrack=0, conn_max=1_600_000).status is Status.PASSED
    assert table(10, rate=27_963, conntrack=0, conn_max=1_677_722).status is Status.FINDING
