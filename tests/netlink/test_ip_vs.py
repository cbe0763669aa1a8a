"""Names and numbers against a second copy of the kernel's header: pyroute2's, and this one's."""

import re
from pathlib import Path

import pytest
from pyroute2.netlink.generic import ipvs

from dirtune.netlink import ip_vs

HEADER = Path("/usr/include/linux/ip_vs.h")
# Attributes that headers before Linux 4.3 or 5.3 lack.
DAEMON = "STATE MCAST_IFN SYNC_ID SYNC_MAXLEN MCAST_GROUP MCAST_GROUP6 MCAST_PORT MCAST_TTL"
KINDS = {
    "IPVS_CMD_ATTR_": (ip_vs.CommandAttributes, ipvs.ipvsmsg.nla_map),
    "IPVS_SVC_ATTR_": (ip_vs.ServiceAttributes, ipvs.ipvsmsg.service.nla_map),
    "IPVS_DEST_ATTR_": (ip_vs.DestAttributes, ipvs.ipvsmsg.dest.nla_map),
    "IPVS_STATS_ATTR_": (ip_vs.StatsAttributes, ipvs.ipvsstats.stats64.nla_map),
    "IPVS_DAEMON_ATTR_": (
        ip_vs.DaemonAttributes,
        [("UNSPEC", ""), *((f"IPVS_DAEMON_ATTR_{name}", "") for name in DAEMON.split())],
    ),
}


@pytest.mark.parametrize("prefix", KINDS)
def test_fields_stand_in_the_order_of_the_kernels_attributes(prefix):
    kind, known = KINDS[prefix]

    assert [prefix + field.upper() for field in kind._fields] == [name for name, _ in known[1:]]


def test_constants_are_those_of_pyroute2():
    numbers = {name: n for _, known in KINDS.values() for n, (name, _) in enumerate(known)}
    numbers |= {name: value for name, value in vars(ipvs).items() if name.startswith("IPVS_CMD_")}
    ours = {name: value for name, value in vars(ip_vs).items() if re.match("IPVS_[A-Z]+_", name)}
    del ours["IPVS_GENL_NAME"], ours["IPVS_GENL_VERSION"]

    assert len(ours) > 40
    assert ours == {name: numbers[name] for name in ours}
    assert (ip_vs.IPVS_GENL_NAME, ip_vs.IPVS_GENL_VERSION) == (ipvs.GENL_NAME, ipvs.GENL_VERSION)


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers are not installed")
def test_constants_are_those_of_the_kernels_header():
    plain = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    numbers = {}
    for body in re.findall(r"enum\s*\{(.*?)\}", plain, re.DOTALL):
        names = [name.strip() for name in body.split(",") if name.strip()]
        numbers |= {name: number for number, name in enumerate(names) if name.isidentifier()}

    ours = {name: value for name, value in vars(ip_vs).items() if name in numbers}
    assert len(ours) > 40
    assert ours == {name: numbers[name] for name in ours}
