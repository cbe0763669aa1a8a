import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.net.martian_replies import martian_replies
from dirtune.collect.kernel_log import parse_kernel_log
from tests.checks.machines import VIP, director, service

# As net/ipv4/route.c prints it: the destination, the source, the interface.
LOG = (
    f"[ 4001.100000] IPv4: martian source 203.0.113.20 from {VIP}, on dev eth1\n"
    "[ 4001.100010] ll header: 00000000: 52 54 00 00 00 01\n"
)


def outcome(log=LOG, *, forward="Route", **conf):
    known = {
        "all_rp_filter": 1,
        "eth1_rp_filter": 1,
        "all_accept_local": 0,
        "eth1_accept_local": 0,
    }
    values = {
        f"net/ipv4/conf/{name.partition('_')[0]}/{name.partition('_')[2]}": value
        for name, value in (known | conf).items()
        if value is not None
    }
    taken = director(service(1, forward=forward), sysctls=values, kernel_log=parse_kernel_log(log))
    return run((martian_replies,), taken)[0]


@pytest.mark.parametrize("forward", ["Route", "Tunnel"])
def test_replies_from_the_virtual_address_are_martian(forward):
    (finding,) = outcome(forward=forward).findings

    assert (finding.subject, finding.severity) == ("eth1", Severity.CRITICAL)
    assert f"replies from {VIP} to 203.0.113.20" in finding.message
    assert finding.fixes[0].commands[:3] == (
        "sysctl -w 'net.ipv4.conf.eth1.accept_local=1'",
        "sysctl -w 'net.ipv4.conf.eth1.rp_filter=0'",
        "sysctl -w 'net.ipv4.conf.all.rp_filter=0'",
    )


def test_a_name_that_a_user_chose_is_no_message():
    """fs/exec.c prints the path of a program, which any user may call anything, in quotes."""
    name = LOG.splitlines()[0].partition("IPv4: ")[2]
    log = f"[ 9.000000] process 'tmp/{name} is' started with executable stack\n"

    assert outcome(log).status is Status.PASSED


@pytest.mark.parametrize(
    "conf",
    [
        {"eth1_accept_local": 1},  # the reverse-path filter still drops them
        {"eth1_accept_local": 1, "eth1_rp_filter": 0},  # the greater value is in effect
        {"eth1_rp_filter": 0, "all_rp_filter": 0},
    ],
)
def test_one_setting_alone_is_not_enough(conf):
    assert outcome(**conf).status is Status.FINDING


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: outcome(eth1_accept_local=1, eth1_rp_filter=0, all_rp_filter=0),
        lambda: outcome(all_accept_local=1, eth1_rp_filter=0, all_rp_filter=0),
        lambda: outcome(LOG.replace(VIP, "192.0.2.9")),
        lambda: outcome(forward="Masq"),
        lambda: outcome(""),
    ],
)
def test_martians_that_are_no_replies_or_are_accepted(quiet):
    assert quiet().status is Status.PASSED


def test_an_unknown_filter_leaves_it_open():
    assert outcome(eth1_rp_filter=None).status is Status.INCONCLUSIVE
