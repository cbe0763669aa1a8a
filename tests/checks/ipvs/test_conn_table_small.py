import pytest

from dirtune.checks import Risk, Severity, Status, run
from dirtune.checks.ipvs.conn_table_small import conn_table_small
from dirtune.collect.ip_vs import Stats
from dirtune.collect.ip_vs_status import ConnectionTable
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.modules import Modules
from dirtune.settings import BootOption
from tests.checks.machines import detailed, director, service

LOADED = Modules(frozenset({"ip_vs"}), {})


def outcome(*loads, protocol="TCP", size=4096, **fields):
    plain = service(*[1] * len(loads), protocol=protocol, loads=loads)
    taken = director(plain, ip_vs_table_size=size, **{"modules": LOADED} | fields)
    return run((conn_table_small,), taken)[0]


@pytest.mark.parametrize(
    ("loads", "severity", "entries", "per_bucket"),
    [
        ([(30_000, 2_768)], Severity.MEDIUM, 32_768, 8),
        ([(65_536, 0), (65_000, 536)], Severity.HIGH, 131_072, 32),
    ],
)
def test_long_chains(loads, severity, entries, per_bucket):
    (found,) = outcome(*loads).findings

    assert found.severity is severity
    assert (found.evidence["entries"], found.evidence["buckets"]) == (entries, 4096)
    assert found.evidence["entries_per_bucket"] == per_bucket


def test_the_table_gets_a_bucket_for_each_entry():
    (fix,) = outcome((100_000, 0)).findings[0].fixes

    assert (fix.id, fix.risk) == ("raise-conn-tab-bits", Risk.DISRUPTIVE)
    assert fix.commands == (
        "echo 'options ip_vs conn_tab_bits=17' >> /etc/modprobe.d/dirtune.conf",
    )
    assert "131,072 buckets (1 MiB)" in fix.title


def test_a_built_in_ip_vs_takes_a_boot_option_and_no_more_than_20_bits():
    (fix,) = outcome((9_000_000, 0), modules=Modules(frozenset(), {})).findings[0].fixes

    assert (fix.id, fix.risk, fix.commands) == ("boot-conn-tab-bits", Risk.REBOOT, ())
    assert fix.settings == (BootOption(add="ip_vs.conn_tab_bits=20"),)
    assert "8 MiB" in fix.title


def test_templates_count_where_they_are_known():
    plain = service(1, loads=((20_000, 0),))
    known = Ipvs((detailed(plain, {"persistent": 12_768}),))

    assert outcome((20_000, 0)).status is Status.PASSED
    (found,) = outcome((20_000, 0), ipvs=known).findings
    assert (found.evidence["entries"], found.evidence["templates"]) == (32_768, 12_768)


def rated(rate, **fields):
    earlier = {"ip_vs_stats": Stats(0, 0, 0, 0, 0)}
    stats = Stats(10 * rate, 0, 0, 0, 0)
    return outcome((2_768, 100), ip_vs_stats=stats, earlier=earlier, **fields)


def test_entries_to_be_expected_at_this_rate():
    # 2,768 established and 250 a second that close for 120 s.
    (found,) = rated(250).findings

    assert found.evidence["expected_entries"] == 32_768
    assert found.evidence["entries_per_bucket"] == 8
    assert found.evidence["entries"] == 2_868


def test_the_fin_timeout_that_was_set_is_used():
    assert rated(250, ipvs=Ipvs((), {"tcp_fin": 30})).status is Status.PASSED


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome((8_192, 0)),
        lambda: outcome((32_767, 0)),
        lambda: rated(249),
        lambda: rated(250, protocol="UDP"),
    ],
)
def test_short_chains_are_quiet(quiet):
    assert quiet().status is Status.PASSED


def resizable(active, bits, size=256):
    parameters = {} if bits is None else {"ip_vs.conn_tab_bits": str(bits)}
    modules = Modules(frozenset({"ip_vs"}), parameters)
    return outcome((active, 0), sysctls={"conn_lfactor": -5}, size=size, modules=modules)


@pytest.mark.parametrize(
    ("active", "bits", "status"),
    [
        (90_000, 20, Status.PASSED),  # grows to 1,048,576 buckets
        (90_000, 12, Status.FINDING),  # 22 entries in each of 4,096 buckets
        (90_000, None, Status.INCONCLUSIVE),
        (2_000, None, Status.PASSED),
    ],
)
def test_a_table_that_resizes_itself_grows_to_conn_tab_bits(active, bits, status):
    assert resizable(active, bits).status is status


@pytest.mark.parametrize(
    ("factor", "status"),
    [
        (-8, Status.PASSED),
        (0, Status.PASSED),  # a bucket for each entry
        (2, Status.PASSED),  # 4 entries in a bucket
        (4, Status.FINDING),  # 90,000 >> 4 is 5,625, so 8,192 buckets: 11 entries in each
        (8, Status.FINDING),
    ],
)
def test_a_load_factor_that_keeps_the_table_small(factor, status):
    modules = Modules(frozenset({"ip_vs"}), {"ip_vs.conn_tab_bits": "20"})
    found = outcome((90_000, 0), sysctls={"conn_lfactor": factor}, size=256, modules=modules)

    assert found.status is status
    for finding in found.findings:
        (fix,) = finding.fixes
        assert fix.commands[0] == "sysctl -w 'net.ipv4.vs.conn_lfactor=-4'"
        assert finding.evidence["buckets"] == {4: 8192, 8: 512}[factor]


def chains(lengths, bits=10):
    modules = Modules(frozenset({"ip_vs"}), {"ip_vs.conn_tab_bits": str(bits)})
    fields = {"sysctls": {"conn_lfactor": -4}, "modules": modules}
    fields["ip_vs_status"] = ConnectionTable(4_000, 1_024, lengths)
    return outcome((4_000, 0), size=1_024, **fields)


def test_chains_that_the_kernel_says_are_long():
    (found,) = chains({1: 20, 4: 29, 7: 51}).findings

    assert (found.severity, found.fixes[0].id) == (Severity.MEDIUM, "raise-conn-tab-bits")
    assert "51 % of the used buckets" in found.message
    assert found.evidence["buckets_by_length"] == {"1": 20, "4": 29, "7": 51}


@pytest.mark.parametrize("lengths", [{}, {1: 100}, {1: 51, 7: 49}])
def test_short_chains_that_the_kernel_counts(lengths):
    assert chains(lengths).status is Status.PASSED


def test_a_size_that_is_not_known_skips_it():
    assert outcome((90_000, 0), size=None).status is Status.SKIPPED
