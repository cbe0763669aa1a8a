import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.sysctl_lost import sysctl_lost
from dirtune.collect.settings_files import SettingsFiles
from tests.checks.machines import director, program, service

FILE = "/etc/sysctl.d/70-lvs.conf"
VS, CT = "net/ipv4/vs/", "net/netfilter/nf_conntrack_"


def outcome(name, wanted, live, *, modules=(), processes=()):
    files = SettingsFiles({name: (wanted, FILE)}, frozenset(modules), {}, None)
    settings = {"net/core/somaxconn": 1} | ({} if live is None else {name: live})
    programs = None if processes is None else tuple(program(each) for each in processes)
    taken = director(service(1), sysctls=settings, settings_files=files, processes=programs)
    return run((sysctl_lost,), taken)[0]


@pytest.mark.parametrize(
    ("name", "wanted", "live", "severity"),
    [
        (f"{VS}conntrack", "1", "0", Severity.HIGH),
        (f"{VS}expire_nodest_conn", "1", "0", Severity.HIGH),
        (f"{VS}conn_reuse_mode", "0", "1", Severity.HIGH),
        (f"{VS}drop_entry", "0", "2", Severity.HIGH),
        (f"{VS}sync_threshold", "0 50", "3\t50", Severity.HIGH),
        (f"{VS}schedule_icmp", "1", "0", Severity.HIGH),
        (f"{VS}amemthresh", "131072", "1024", Severity.MEDIUM),
        (f"{CT}max", "1048576", "262144", Severity.MEDIUM),
        (f"{CT}buckets", "262144", "65536", Severity.MEDIUM),
    ],
)
def test_a_file_says_something_else(name, wanted, live, severity):
    (found,) = outcome(name, wanted, live).findings

    dotted = name.replace("/", ".")
    assert (found.subject, found.severity) == (dotted, severity)
    assert found.evidence["live"] == live.replace("\t", " ")
    assert (found.evidence["file"], found.evidence["configured"]) == (FILE, wanted)
    assert found.fixes[0].commands[0] == f"sysctl -w '{dotted}={wanted}'"


def test_the_module_is_loaded_before_the_files_are_read():
    commands = outcome(f"{VS}conntrack", "1", "0").findings[0].fixes[0].commands
    known = outcome(f"{VS}conntrack", "1", "0", modules=("ip_vs",)).findings[0].fixes[0].commands
    other = outcome(f"{CT}max", "5", "4").findings[0].fixes[0].commands

    assert commands[1] == "echo ip_vs > /etc/modules-load.d/ipvs.conf"
    assert len(known) == 1
    assert other[1] == "echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf"


@pytest.mark.parametrize(
    ("name", "wanted", "live"),
    [
        (f"{VS}conntrack", "1", "1"),
        (f"{VS}sync_threshold", "3 50", "3\t50"),
        (f"{VS}drop_packet", "1", "2"),
        (f"{CT}buckets", "100000", "100352"),
        (f"{VS}conn_lfactor", "-5", None),
        (f"{CT}acct", "1", None),
        ("net/core/somaxconn", "4096", "128"),
    ],
)
def test_the_same_and_what_is_not_ours_is_quiet(name, wanted, live):
    assert outcome(name, wanted, live).status is Status.PASSED


def test_buckets_are_never_rounded_down_or_by_more_than_a_page():
    assert outcome(f"{CT}buckets", "100000", "99999").status is Status.FINDING
    assert outcome(f"{CT}buckets", "100000", "100512").status is Status.FINDING


@pytest.mark.parametrize("name", ["conntrack", "conn_reuse_mode", "expire_quiescent_template"])
def test_kube_proxy_sets_these_itself(name):
    assert outcome(f"{VS}{name}", "0", "1", processes=("kube-proxy",)).status is Status.PASSED
    assert outcome(f"{VS}{name}", "0", "1", processes=None).status is Status.INCONCLUSIVE


def test_kube_proxy_sets_no_more_than_that_and_keepalived_none():
    amemthresh, conntrack = f"{VS}amemthresh", f"{VS}conntrack"

    assert outcome(amemthresh, "1", "2", processes=("kube-proxy",)).status is Status.FINDING
    assert outcome(conntrack, "1", "0", processes=("keepalived",)).status is Status.FINDING


def test_without_files_it_is_skipped():
    assert run((sysctl_lost,), director(service(1)))[0].status is Status.SKIPPED
