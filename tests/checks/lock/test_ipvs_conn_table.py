from dirtune.checks import Severity, Status
from dirtune.checks.lock.ipvs_conn_table import ipvs_conn_table
from tests.checks.lock.waiting import TABLE, at_rate, judged, probed, waits


def table(ms, connections=20_000, **more):
    locks = (
        waits(TABLE, "ip_vs_conn_new", ms - 10, waits=300, most_us=50),
        waits(TABLE, "ip_vs_conn_expire", 10, waits=100, most_us=70),
    )
    return judged(ipvs_conn_table, **probed(*locks, **more), **at_rate(connections))


def test_the_table_of_connections():
    (found,) = table(50).findings

    assert found.severity is Severity.HIGH
    assert found.message == (
        "CPUs waited 400 times for a lock in ip_vs_conn_new and ip_vs_conn_expire, 125.0 us on "
        "average and 5.0 % of softirq time in total, at 20,000 new connections/s"
    )
    assert found.evidence["max_wait_ns"] == 70_000
    assert found.evidence["percent_of_softirq_time"] == 5.0
    assert table(49).status is Status.PASSED


def test_few_new_connections_leave_the_table_open():
    found = table(500, connections=19_999)

    assert found.status is Status.INCONCLUSIVE
    unknown = judged(ipvs_conn_table, **probed(waits(TABLE, "ip_vs_conn_new", 500)))
    assert unknown.status is Status.INCONCLUSIVE


def test_windows_of_two_lengths_are_compared_by_the_second():
    # 50 ms in 5 s is 1 % of a second; softirqs took 1 s in 4 s, a quarter: 4 %.
    assert table(50, softirq_seconds=4.0).status is Status.PASSED
    assert table(50, softirq_seconds=5.0).status is Status.FINDING


def test_a_table_with_a_lock_in_each_bucket_is_not_judged():
    found = judged(ipvs_conn_table, sysctls={"conn_lfactor": -5}, **probed(), **at_rate(20_000))

    assert found.status is Status.NOT_APPLICABLE
