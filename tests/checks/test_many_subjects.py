"""A fault of very many subjects is one finding that names a few of them, in every check."""

import dataclasses
import re
from pathlib import Path

import pytest

from dirtune import checks
from dirtune.checks import discovery, together
from dirtune.checks.audits import of_snapshot
from dirtune.collect.addresses import InterfaceAddress
from dirtune.render import audit as render
from dirtune.snapshot import take_all
from tests.checks import test_linear as linear
from tests.checks import test_scale as scale
from tests.checks.keepalived.directors import KEEPALIVED, instance, real
from tests.checks.keepalived.directors import server as virtual
from tests.checks.nodes import quiet, server
from tests.checks.reported import Host
from tests.keepalived.given import conf

MANY = 200
LONGEST = {"subject": 200, "message": 500, "title": 300}  # characters
MOST_FINDINGS, MOST_COMMANDS, MOST_LINES = 4, 65, 250
# Joins of a few texts: their number does not depend on the host's size.
BOUNDED = {
    "' and '.join(facts)": "net/neigh_overflow.py",
    '" and ".join(name for name in tools': "net/rules_drop.py",
    '"; ".join(fault.what for fault in faults)': "nic/rps_misuse.py",
    "' and '.join(ways)": "nic/pause_frames.py",
    "', '.join(reasons)": "ipvs/persistence_skew.py",
    '", ".join(options)': "irq/nobody_cared.py",
    '" and ".join(f"{v.interface}': "irq/queue_stacking.py",
}


@pytest.fixture(autouse=True)
def _what_holds_for_all():
    """Leave out what the other tests of checks hold, which takes much longer than these audits."""


def of_cpus():
    """A host whose MANY CPUs are slow, stolen, squeezed and drop packets."""
    samples = []
    for later in (0, 1):
        ticks = "".join(
            f"cpu{cpu} 0 0 {later * 100} {100 + later * 50} 0 0 {later * 50} {later * 50}\n"
            for cpu in range(MANY)
        )
        softnet = "".join(
            " ".join(
                f"{n:08x}" for n in (later * 10**6, later * 900, later * 900, *[0] * 9, cpu, 0, 0)
            )
            + "\n"
            for cpu in range(MANY)
        )
        head = "                    " + "".join(f" CPU{cpu}" for cpu in range(MANY)) + "\n"
        runs = "NET_RX: " + " ".join([str(later * 10**4)] * MANY) + "\n"
        files = {
            "/proc/stat": f"cpu 0 0 0 0\n{ticks}",
            "/proc/softirqs": head + runs,
            "/proc/net/softnet_stat": softnet,
            "/proc/cpuinfo": "processor : 0\nflags : constant_tsc\n",
            "/sys/class/net/eth0/statistics/rx_packets": str(later * 10**7),
        }
        for name in ("online", "possible"):
            files[f"/sys/devices/system/cpu/{name}"] = f"0-{MANY - 1}\n"
        for cpu in range(MANY):
            freq = f"/sys/devices/system/cpu/cpu{cpu}/cpufreq"
            files |= {
                f"{freq}/scaling_governor": "powersave\n",
                f"{freq}/scaling_driver": "acpi\n",
            }
            throttle = f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"
            files[f"{throttle}/core_throttle_count"] = f"{later * 9}\n"
        host = Host(nics={"eth0": "ixgbe"}, files=files, taken_s=10**6 + 10.0 * later)
        samples.append(host.recorded())
    return take_all(tuple(samples))


def of_interfaces():
    """A director with MANY interfaces whose rp_filter drops packets; all are captured."""
    nics = {f"veth{n}": "veth@virtual" for n in range(MANY)}
    samples = []
    for later in (0, 1):
        files = {
            "/proc/net/netstat": f"TcpExt: IPReversePathFilter\nTcpExt: {later * 900}\n",
            "/proc/sys/net/ipv4/conf/all/rp_filter": "0\n",
        }
        for name in nics:
            files[f"/proc/sys/net/ipv4/conf/{name}/rp_filter"] = "1\n"
            files[f"/sys/class/net/{name}/statistics/rx_packets"] = str(later * 10**6)
        rows = "".join(f"0 3 3 0003 {n + 2} 1 0 0 {900 + n}\n" for n in range(MANY))
        files["/proc/net/packet"] = "sk RefCnt Type Proto Iface R Rmem User Inode\n" + rows
        host = Host(
            table="TCP  198.18.0.1:80 rr\n -> 198.18.0.2:80 Route 1 0 0\n",
            netlink={},
            addresses="veth0 198.18.0.1/24",
            nics=nics,
            routes="\n".join(f"{name} 10.0.{n}.0/24" for n, name in enumerate(nics)),
            files=files,
            taken_s=100.0 + 10 * later,
        )
        samples.append(host.recorded())
    return take_all(tuple(samples))


def of_virtual_servers():
    """A director whose keepalived has MANY services that are not in the table, nor their VIPs."""
    text = instance("virtual_router_id 7\nvirtual_ipaddress {\n198.18.9.9/32\n}") + "".join(
        virtual(real(f"198.18.1.{n}"), head=f"198.18.0.{n} 80") for n in range(1, MANY)
    )
    host = Host(table="TCP  198.18.3.1:80 rr\n", netlink={}, addresses="eth0 198.18.3.1/24")
    taken = take_all((host.recorded(),))
    return dataclasses.replace(taken, keepalived=conf(text), processes=KEEPALIVED)


def of_real_server(*, held):
    """A real server that should hold MANY virtual addresses; it *held* them where ARP asks."""
    vips = tuple(f"198.18.0.{n}" for n in range(20, 20 + MANY))
    plain = server()
    here = (InterfaceAddress("eth0", "198.18.0.11", 24, "global"),)
    here += tuple(InterfaceAddress("lo", vip, 32, "global") for vip in vips if held)
    return dataclasses.replace(
        plain,
        place=dataclasses.replace(plain.place, vips=vips),
        interface_addresses=here,
        addresses=frozenset(address.address for address in here),
        sysctls=quiet(),
    )


HOSTS = {
    "NICs": (lambda: linear.host(linear.of_nics, MANY), "nic/channels-low"),
    "interrupt lines": (lambda: linear.host(linear.of_lines, MANY), "irq/shared-with-nic"),
    "services": (lambda: linear.host(linear.of_services, MANY), "ipvs/conn-table-small"),
    "faulty services": (
        lambda: take_all(tuple(scale.samples(MANY, faulty=True))),
        "ipvs/no-destination",
    ),
    "CPUs": (of_cpus, "softirq/backlog-drops"),
    "interfaces": (of_interfaces, "net/rp-filter-director"),
    "virtual servers": (of_virtual_servers, "keepalived/drift"),
    "missing addresses": (lambda: of_real_server(held=False), "realserver/vip-missing"),
    "leaked addresses": (lambda: of_real_server(held=True), "realserver/arp-leak"),
}


@pytest.mark.parametrize("name", HOSTS)
def test_one_finding_names_a_few(name):
    make, reported = HOSTS[name]
    audit = of_snapshot(None, make(), discovery.all_checks())
    found = {o.check.id: o.findings for o in audit.outcomes if o.findings}

    assert [o.reason for o in audit.outcomes if o.status is checks.Status.ERROR] == []
    assert reported in found
    assert {i: len(f) for i, f in found.items() if len(f) > MOST_FINDINGS} == {}
    every = [(i, finding) for i, findings in found.items() for finding in findings]
    titles = [(i, "title", fix.title) for i, finding in every for fix in finding.fixes]
    texts = [(i, n, getattr(f, n)) for i, f in every for n in ("subject", "message")]
    assert [(i, n, len(t)) for i, n, t in (*texts, *titles) if len(t) > LONGEST[n]] == []
    rows = [(i, fix.id, len(fix.commands)) for i, f in every for fix in f.fixes]
    assert [row for row in rows if row[2] > MOST_COMMANDS] == []
    assert len(render.text(audit).splitlines()) < MOST_LINES


@pytest.mark.parametrize("name", ["faulty services", "virtual servers"])
def test_further_subjects_are_counted_in_the_message(name):
    make, _ = HOSTS[name]
    audit = of_snapshot(None, make(), discovery.all_checks())
    wide = [f for o in audit.outcomes for f in o.findings if f.also]

    assert wide
    assert all(f.also[0] in f.message and f.evidence["count"] == 1 + len(f.also) for f in wide)


def test_a_sentence_joins_names_through_a_function_that_limits_them():
    folder = Path(checks.__file__).parent
    join = re.compile(r"""["'](?:, | and |; )["']\.join\(""")
    rows = [
        f"{path.relative_to(folder)}: {row.strip()}"
        for path in folder.rglob("*.py")
        if path.name not in {"together.py", "difference.py"}
        for row in path.read_text().splitlines()
        if join.search(row) and not any(known in row for known in BOUNDED)
    ]

    assert rows == []


def test_more_names_than_a_sentence_lists():
    names = [f"eth{n}" for n in range(12)]

    assert together.listed(names[:8]) == "eth0, eth1, eth2, eth3, eth4, eth5, eth6 and eth7"
    assert together.listed(names).endswith("eth6, eth7 and 4 more")
    assert together.subjects(range(3)) == "0, 1, 2"
    assert together.subjects(names).endswith("eth7 and 4 more")
